"""``snf get``, ``set``, ``diff``, ``commit`` and ``discard`` against a server."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from lxml import etree

from lab.wait import slowness
from mgmt.cli import events
from mgmt.cli.main import main
from mgmt.cli.netconf_client import connect
from mgmt.cli.paths import completions, leaves, parse_path
from nf.errors import SnfError

ROOT = Path(__file__).resolve().parents[2]
A = "/snf-policies:policies/policy[name='a']"
N3 = "/ietf-interfaces:interfaces/interface[name='n3']"


class Run(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def snf(bench, profile_folder, monkeypatch, capsys) -> Callable[..., Run]:
    """Run a command as alice, who has met the server."""
    for name, value in (("NETCONF", f"127.0.0.1:{bench.server.port}"), ("USER", "alice"), ("KEY", str(bench.key))):
        monkeypatch.setenv(f"SNF_{name}", value)
    monkeypatch.setenv("SNF_HOST_KEY", str(bench.datastore.state_dir / "ssh_host_key.pub"))

    def run(*words: object) -> Run:
        status = 0
        try:
            main([str(word) for word in words])
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capsys.readouterr()
        return Run(status, said.out, said.err)

    return run


def set_policy(snf, name: str = "a", application: str = "youtube") -> Run:
    path = f"/policies/policy[name='{name}']"
    return snf("set", f"{path}/application", application, f"{path}/action", "inspect")


class TestAChange:
    """A change is in candidate until a commit puts it in force."""

    def test_from_set_to_commit(self, snf, bench):
        assert set_policy(snf) == (0, "", "")
        assert bench.datastore.settings.policies == ()
        shown = snf("diff")
        assert shown.out.splitlines() == [f"+ {A}/application  youtube", f"+ {A}/action  inspect"]
        assert snf("commit") == (0, "", "")
        assert [p.name for p in bench.datastore.settings.policies] == ["a"]
        assert snf("diff") == (0, "", "")

    def test_several_changes_are_one_edit_or_none(self, snf):
        set_policy(snf)
        run = snf("set", f"{A}/application", "netflix", f"{A}/action", "dance")
        assert run.status == 2
        assert "youtube" in snf("get", f"{A}/application", "--source", "candidate").out

    def test_a_changed_value_has_both_sides(self, snf):
        set_policy(snf)
        snf("commit")
        snf("set", f"{A}/application", "netflix")
        assert snf("diff").out.splitlines() == [f"- {A}/application  youtube", f"+ {A}/application  netflix"]
        row = {"path": f"{A}/application", "old": "youtube", "new": "netflix"}
        assert [json.loads(line) for line in snf("diff", "--output", "json").out.splitlines()] == [row]

    def test_deleting(self, snf, bench):
        set_policy(snf, "a")
        set_policy(snf, "b", "netflix")
        snf("commit")
        assert snf("set", "--delete", A).status == 0
        assert snf("diff").out.splitlines() == [f"- {A}/application  youtube", f"- {A}/action  inspect"]
        snf("commit")
        assert [p.name for p in bench.datastore.settings.policies] == ["b"]

    def test_discard_drops_it(self, snf):
        set_policy(snf)
        assert snf("discard").status == 0
        assert snf("diff").out == ""

    def test_an_identity_of_another_module_and_an_augment(self, snf, bench):
        run = snf("set", f"{N3}/type", "iana-if-type:ethernetCsmacd", f"{N3}/capture/role", "n3")
        assert run.status == 0, run.err
        snf("commit")
        assert f"{N3}/type" in snf("get", N3, "--source", "running").out
        assert "iana-if-type:ethernetCsmacd" in snf("get", N3, "--source", "running").out

    def test_a_leaf_list(self, snf, bench):
        peer = "/subscribers/pfcp-peer[.='10.100.4.0/24']"
        snf("set", peer, "", "/subscribers/pfcp-peer", "10.100.5.0/24")
        snf("commit")
        assert sorted(map(str, bench.datastore.settings.pfcp_peers)) == ["10.100.4.0/24", "10.100.5.0/24"]
        snf("set", "--delete", peer)
        snf("commit")
        assert list(map(str, bench.datastore.settings.pfcp_peers)) == ["10.100.5.0/24"]


class TestFiles:
    """A value can be XML of a file: of one node, or of all."""

    def test_what_get_writes_set_reads(self, snf, tmp_path, bench):
        set_policy(snf, "a")
        set_policy(snf, "b", "netflix")
        snf("commit")
        backup = tmp_path / "backup.xml"
        backup.write_text(snf("get", "/", "--source", "running", "--output", "xml").out)
        set_policy(snf, "c", "whatsapp")
        snf("commit")
        assert snf("set", "/", f"@{backup}", "--replace").status == 0
        snf("commit")
        assert [p.name for p in bench.datastore.settings.policies] == ["a", "b"]

    def test_one_node_merged_or_replaced(self, snf, tmp_path, policy):
        set_policy(snf)
        snf("set", f"{A}/subscriber-group", "gold")
        one = tmp_path / "one.xml"
        one.write_text(etree.tostring(etree.fromstring(policy("a", application="netflix"))[0], encoding="unicode"))
        snf("set", A, f"@{one}")
        assert leaf(snf, "subscriber-group") == "gold"
        snf("set", A, f"@{one}", "--replace")
        assert leaf(snf, "subscriber-group") is None
        assert leaf(snf, "application") == "netflix"

    def test_standard_input(self, snf, policy, monkeypatch):
        monkeypatch.setattr(sys, "stdin", io.StringIO(policy("z")))
        assert snf("set", "/", "@-").status == 0
        assert "[name='z']" in snf("diff").out


def leaf(snf, name: str) -> str | None:
    run = snf("get", f"{A}/{name}", "--source", "candidate")
    return run.out.split()[-1] if run.status == 0 else None


class TestReading:
    """``snf get`` shows values by path, or the node in another form."""

    def test_a_table_of_paths(self, snf):
        set_policy(snf)
        snf("commit")
        rows = [line.split() for line in snf("get", A, "--source", "running").out.splitlines()]
        assert rows == [[f"{A}/application", "youtube"], [f"{A}/action", "inspect"]]

    def test_state_is_there_as_well(self, snf):
        snf("set", f"{N3}/type", "iana-if-type:ethernetCsmacd", f"{N3}/capture/role", "n3")
        snf("commit")
        run = snf("get", "/ietf-interfaces:interfaces/interface[name='n3']/oper-status")
        assert run.out.split() == [f"{N3}/oper-status", "up"]

    @pytest.mark.clause("RFC 7951")
    def test_json_has_types_and_lists(self, snf):
        set_policy(snf)
        snf("set", f"{A}/snap-length", "128")
        found = json.loads(snf("get", "/policies", "--source", "candidate", "--output", "json").out)
        (entry,) = found["snf-policies:policies"]["policy"]
        assert (entry["name"], entry["snap-length"]) == ("a", 128)

    def test_all_of_it_in_each_form(self, snf):
        set_policy(snf)
        snf("commit")
        assert f"{A}/action" in snf("get").out
        assert "ietf-netconf-monitoring:netconf-state" in json.loads(snf("get", "--output", "json").out)
        assert snf("get", "/", "--output", "xml").out.startswith("<data")

    def test_several_paths(self, snf):
        for name in "abc":
            set_policy(snf, name)
        run = snf("get", A, "/policies/policy[name='c']/action", "--source", "candidate")
        c = "/snf-policies:policies/policy[name='c']"
        assert [line.split()[0] for line in run.out.splitlines()] == [f"{A}/application", f"{A}/action", f"{c}/action"]


class TestRefusals:
    """A refusal is one sentence with the path, and status 2."""

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["get", "/nowhere"], "no nowhere at /"),
            (["get", "/policies/policy[name='a']/colour"], "no colour at /policies/policy[name='a']"),
            (["get", "policies"], "is no path"),
            (["get", "/policies/policy[id='3']"], "keys: name"),
            (["get", "/policies[name='3']"], "no keys"),
            (["get", "/policies/policy[name='nobody']"], "Nothing is at /policies/policy[name='nobody']"),
            (["set"], "nothing to set"),
            (["set", "/policies"], "/policies has no value"),
            (["set", "/policies/policy", ""], "is a list"),
            (["set", "/policies/policy/action", "inspect"], "needs its key name"),
            (["set", "/policies/policy[name='a']/name", "b"], "is a key"),
            (["set", "/", "3"], "has no value"),
            (["set", "/", "@/nonexistent"], "/nonexistent cannot be read"),
            (["set", "/", f"@{ROOT / 'README.md'}"], "not well-formed XML"),
            (["set", "--delete", "/"], "cannot be deleted"),
            (["set", "--delete", A], "(/snf-policies:policies/snf-policies:policy[snf-policies:name='a'])"),
            (["set", f"{A}/action", "dance"], "/snf-policies:policies/"),
            (["set", "/snf-function:state/started", "3"], "state"),
            (["commit", "now"], "now"),
        ],
        ids=str,
    )
    def test_in_a_sentence(self, snf, words, says):
        run = snf(*words)
        assert run.status == 2
        assert says in run.err
        assert run.err.count("\n") == 1
        assert run.err.startswith("snf: ")

    def test_a_commit_that_is_refused_names_the_path(self, snf):
        snf("set", f"{A}/application", "youtube", f"{A}/action", "truncate")
        run = snf("commit")
        assert run.status == 2
        assert "needs the leaf snap-length" in run.err
        assert "snf-policies:policy[snf-policies:name='a']" in run.err


class TestPaths:
    """A path is read as errors write it, with modules or without."""

    def test_the_path_of_an_error_can_be_given_back(self, snf):
        set_policy(snf)
        run = snf("get", "/snf-policies:policies/snf-policies:policy[snf-policies:name='a']", "--source", "candidate")
        assert run.status == 0, run.err

    @pytest.mark.parametrize("value", ["it's", 'say "a"', "a]b", "a/b"])
    def test_a_key_with_marks(self, model, value):
        quote = '"' if "'" in value else "'"
        path = parse_path(model, f"/policies/policy[name={quote}{value}{quote}]/action")
        assert path[1].keys == {"name": value}

    def test_what_the_modules_do_not_know_is_a_sentence(self, model):
        with pytest.raises(SnfError, match="modules of this version"):
            leaves(model, [etree.fromstring("<new xmlns='urn:x'/>")])


class TestCompletion:
    """The shell completes commands, options and paths."""

    def test_paths_from_the_modules(self, model):
        assert list(completions(model, "/pol")) == ["/policies"]
        assert list(completions(model, "/snf-pol")) == ["/snf-policies:policies"]
        assert "/policies/policy[name='a']/action" in completions(model, "/policies/policy[name='a']/")
        assert list(completions(model, "/nowhere/")) == []

    def complete(self, line: str) -> list[str]:
        words = line.split()
        more = {"_SNF_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
        run = subprocess.run(
            [Path(sys.executable).parent / "snf"],
            env={**os.environ, **more},
            capture_output=True,
            text=True,
            check=True,
        )
        return [item.partition(",")[2] for item in run.stdout.splitlines()]

    def test_as_a_shell_asks(self):
        assert self.complete("snf dis") == ["discard"]
        assert self.complete("snf get --out") == ["--output"]
        assert self.complete("snf get /pol") == ["/policies"]

    def test_the_line_of_the_documentation_is_what_bash_takes(self):
        line = next(x for x in (ROOT / "docs" / "commands.md").read_text().splitlines() if "bash_source" in x).strip()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        script = f"{line}; complete -p snf"
        run = subprocess.run(
            ["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
        )
        assert "_snf_completion" in run.stdout, run.stderr


class TestConfirmed:
    """A commit that has to be confirmed is undone when nobody does; another session of the same user may."""

    def test_confirmed_in_time(self, snf, bench):
        set_policy(snf)
        first = snf("commit", "--confirmed", 600)
        assert (first.status, "snf commit --confirm" in first.err) == (0, True)
        assert snf("commit", "--confirm") == (0, "", "")
        assert [p.name for p in bench.datastore.settings.policies] == ["a"]
        assert snf("commit", "--cancel").err == "snf: No confirmed commit has this persist-id.\n"

    def test_cancelled(self, snf, bench):
        set_policy(snf)
        snf("commit", "--confirmed", 600)
        assert [p.name for p in bench.datastore.settings.policies] == ["a"]
        assert snf("commit", "--cancel") == (0, "", "")
        assert bench.datastore.settings.policies == ()

    def test_not_confirmed(self, snf, bench):
        set_policy(snf)
        snf("commit", "--confirmed", 1)
        assert bench.settles(lambda: bench.datastore.settings.policies == ())


class TestRollback:
    """An earlier revision comes in force again, as a new one."""

    def test_to_the_one_before_and_to_one_by_number(self, snf, bench):
        set_policy(snf, "a")
        snf("commit")
        first = bench.datastore.revision
        set_policy(snf, "b", "netflix")
        snf("commit")
        told = snf("rollback")
        assert (told.status, f"Revision {first} is in force" in told.err) == (0, True)
        assert [p.name for p in bench.datastore.settings.policies] == ["a"]
        assert snf("rollback", first + 1) == (0, "", "")
        assert [p.name for p in bench.datastore.settings.policies] == ["a", "b"]

    def test_refusals_are_sentences(self, snf):
        assert "keeps no earlier revision" in snf("rollback").err
        assert snf("rollback", 4711).err.count("\n") == 1


class TestWatching:
    """A change is told as it comes, with who made it and where."""

    @pytest.fixture
    def told(self, bench, policy, capsys) -> Callable[[str], str]:
        def run(output: str) -> str:
            with connect("127.0.0.1", bench.server.port, "alice", bench.key) as client:
                client.subscribe()
                client.change(policy("a"))
                heard = iter(lambda: client.event(30 * slowness()), None)
                found = [next(event for event in heard if is_change(event))]
                events.watch(lambda _: found.pop() if found else None, output, 0.1)
            return capsys.readouterr().out

        def is_change(event) -> bool:
            return event.find("{*}netconf-config-change") is not None

        return run

    def test_as_json(self, told):
        (change,) = map(json.loads, told("json").splitlines())
        assert change["event"] == "netconf-config-change"
        assert change["changed-by"]["username"] == "alice"
        assert change["time"].startswith("20")

    def test_as_lines(self, told):
        (line,) = told("table").splitlines()
        assert line.split()[1] == "netconf-config-change"
        assert "username=alice" in line

    def test_the_command_ends_after_its_seconds(self, snf):
        assert snf("watch-config", "--seconds", 0.1) == (0, "", "")
