"""The last revisions on disk, the journal, and what a start makes of what it finds."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree

from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.store.config_file import KEPT, Revision, Store
from mgmt.netconf.store.datastore import Datastore
from tests.mgmt import killed
from tests.mgmt.raw import ask, tag_of, wrapped
from tests.mgmt.raw import names as words


@pytest.fixture
def session(datastore):
    return datastore.open_session("alice")


@pytest.fixture
def commit(datastore, session, config, policy):
    def make(name: str) -> None:
        datastore.edit(session, config(policy(name)), "replace")
        datastore.commit(session)

    return make


def names(datastore: Datastore) -> list[str]:
    return [policy.name for policy in datastore.settings.policies]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("running*")}


class TestKept:
    """The last revisions are there with their time, their user and what they changed."""

    def test_who_when_and_what(self, datastore, commit):
        commit("a")
        (revision,) = datastore.revisions()
        assert (revision.number, revision.user) == (1, "alice")
        assert revision.changed == ("/snf-policies:policies/policy",)
        assert revision.time.endswith("Z")

    def test_a_start_knows_them_again(self, datastore, commit, recorder):
        for name in "abc":
            commit(name)
        assert Datastore(datastore.state_dir, recorder).revisions() == datastore.revisions()

    def test_the_oldest_go(self, datastore, commit):
        for number in range(KEPT + 3):
            commit(f"p{number}")
        assert [r.number for r in datastore.revisions()] == list(range(KEPT + 3, 3, -1))
        assert files(datastore.state_dir) == {"running.xml"} | {f"running.{n}.xml" for n in range(4, KEPT + 4)}

    def test_the_journal_does_not_grow(self, tmp_path):
        store = Store(tmp_path)
        for number in range(1, 1500):
            store.write(Revision(number), b"<x/>")
            store.put_in_force()
            store.done()
        assert (tmp_path / "journal").stat().st_size < 1 << 17

    def test_a_name_of_a_user_is_no_markup(self, tmp_path):
        store = Store(tmp_path)
        revision = Revision(1, "2026-11-29T00:00:00Z", '--> <x> " &', ("/a:b",))
        store.write(revision, b"<x/>")
        store.put_in_force()
        etree.fromstring((tmp_path / "running.xml").read_bytes())
        assert store.load().about == revision


class TestRollBack:
    """One of the last revisions comes in force again, as a new one."""

    def test_it_is_a_new_revision(self, datastore, session, commit):
        for name in "ab":
            commit(name)
        datastore.roll_back(session, 1)
        assert (names(datastore), datastore.revision) == (["a"], 3)
        assert etree.tostring(datastore.read("candidate")) == etree.tostring(datastore.read("running"))

    def test_one_that_is_not_kept_is_an_invalid_value(self, datastore, session, commit):
        commit("a")
        with pytest.raises(RpcError) as caught:
            datastore.roll_back(session, 7)
        assert (caught.value.tag, caught.value.info) == ("invalid-value", (("bad-element", "revision"),))

    @pytest.mark.parametrize("target", ["running", "candidate"])
    def test_a_lock_of_another_session_keeps_it_out(self, datastore, session, commit, target):
        for name in "ab":
            commit(name)
        datastore.lock(datastore.open_session(), target)
        with pytest.raises(RpcError) as caught:
            datastore.roll_back(session, 1)
        assert (caught.value.tag, names(datastore)) == ("in-use", ["b"])

    def test_changes_in_candidate_stay(self, datastore, session, commit, config, policy):
        for name in "ab":
            commit(name)
        datastore.edit(session, config(policy("c", application="c")))
        datastore.roll_back(session, 1)
        datastore.commit(session)
        assert names(datastore) == ["b", "c"]


class TestOverSsh:
    """The module snf-revisions."""

    SPACE = "urn:supernetflow:yang:snf-revisions"

    def rollback(self, channel, number: object) -> str:
        return tag_of(ask(channel, f'<rollback xmlns="{self.SPACE}"><revision>{number}</revision></rollback>'))

    def test_the_revisions_and_the_way_back(self, bench, policy, libyang_reads):
        with bench.manager() as client:
            for name in "ab":
                client.edit_config(wrapped(policy(name)), target="candidate", default_operation="replace")
                client.commit()
            data = client.get(filter=f'<filter><revisions xmlns="{self.SPACE}"/></filter>').data_ele
            libyang_reads(data)
        assert (words(data, "current"), words(data, "number")) == (["2"], ["2", "1"])
        assert words(data, "user") == ["alice", "alice"]
        assert words(data, "changed") == ["/snf-policies:policies/policy"] * 2
        with bench.channel() as channel:
            assert self.rollback(channel, 1) == "ok"
        assert names(bench.datastore) == ["a"]

    @pytest.mark.parametrize("number", ["7", "-1", "x", "", str(1 << 64)])
    def test_what_is_no_revision(self, bench, number):
        with bench.channel() as channel:
            assert self.rollback(channel, number) == "invalid-value"
            assert tag_of(ask(channel, f'<rollback xmlns="{self.SPACE}"/>')) == "missing-element"


class TestUpgrade:
    """The files of a version before are read: a revision without time and user, and the one before it."""

    def old(self, folder: Path, name: str, revision: int, body: bytes) -> None:
        head = Revision(revision).head(body).split(b" {")[0] + b" -->\n"
        (folder / name).write_bytes(head + body)

    def test_both_become_revisions(self, datastore, tmp_path, commit, recorder):
        folder = tmp_path / "old"
        folder.mkdir()
        bodies = []
        for name in "ab":
            commit(name)
            bodies.append(Store(datastore.state_dir).load().body)
        self.old(folder, "running.previous.xml", 41, bodies[0])
        self.old(folder, "running.xml", 42, bodies[1])

        again = Datastore(folder, recorder)

        assert (names(again), [r.number for r in again.revisions()]) == (["b"], [42, 41])
        again.roll_back(again.open_session(), 41)
        assert names(again) == ["a"]
        assert files(folder) == {"running.xml", "running.41.xml", "running.42.xml", "running.43.xml"}


class TestBackup:
    """A copy of an older revision in the place of the one in force is what the next start begins with."""

    def test_the_later_revisions_stay(self, datastore, commit, recorder):
        for name in "abc":
            commit(name)
        folder = datastore.state_dir
        backup = (folder / "running.1.xml").read_bytes()
        (folder / "running.xml").write_bytes(backup)  # through the name it shares with revision 3

        again = Datastore(folder, recorder)

        assert names(again) == ["a"]
        owner = again.open_session()
        again.roll_back(owner, 2)
        assert (names(again), again.revision) == (["b"], 3)


class TestRecovery:
    """A start after SIGKILL at any step has the old or the new configuration, and clears up the rest."""

    @pytest.mark.parametrize("step", killed.STEPS)
    def test_killed_at_a_step(self, tmp_path, step):
        killed.begin(tmp_path)
        assert killed.change(tmp_path, step) == -signal.SIGKILL
        found = killed.after(tmp_path)
        assert found == killed.EXPECTED[step], found

    def test_a_journal_cut_anywhere_is_read(self, datastore, commit, recorder):
        commit("a")
        journal = datastore.state_dir / "journal"
        whole = journal.read_bytes()
        assert [json.loads(line)["step"] for line in whole.splitlines()] == ["written", "in force"]
        for cut in range(0, len(whole), 7):
            journal.write_bytes(whole[:cut])
            assert names(Datastore(datastore.state_dir, recorder)) == ["a"]

    def test_check_start_changes_no_file(self, tmp_path):
        killed.begin(tmp_path)
        killed.change(tmp_path, "written")
        before = {path.name: path.read_bytes() for path in tmp_path.glob("state/*")}
        done = subprocess.run(
            [sys.executable, "-c", CHECK, str(tmp_path / "state")], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert {path.name: path.read_bytes() for path in tmp_path.glob("state/*")} == before


CHECK = """
import sys
from pathlib import Path
from mgmt.netconf.store.datastore import check_start
check_start(Path(sys.argv[1]))
"""
