"""``snf init`` makes a first configuration with keys of its own, or says why not and changes nothing."""

from __future__ import annotations

import os
import pty
import re
import shlex
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.net import Net, inside
from mgmt.cli import inputs
from mgmt.cli.main import main
from nf.settings import Mode, Role

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGYrPZNHX//xbP1GP4dmsp//NxaALCsteT8lU+LwJ6h7 alice@noc\n"
MAC = "02:00:00:00:00:33"
# Of the examples of 2026-11-23: everybody knows it.
PUBLISHED = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """A host with two ports and one that carries its own traffic; the test runs there."""
    with Net() as net:
        net.add("host")
        net.add("far")
        for port in ("n3", "n6", "own"):
            net.veth(("host", port), ("far", f"{port}-far"))
        path = net.path("host")
        with inside(path):
            subprocess.run(["ip", "link", "set", "n3", "address", MAC], check=True)
            subprocess.run(["ip", "address", "add", "192.0.2.1/24", "dev", "own"], check=True)
            yield path


@pytest.fixture
def folder(host: str, tmp_path: Path) -> Path:
    (tmp_path / "alice.pub").write_text(PUBLIC)
    (tmp_path / "alice").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    return tmp_path / "made"


@pytest.fixture
def init(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run ``snf init``; return what it says."""
    monkeypatch.chdir(folder.parent)

    def run(*words: str) -> str:
        main(["init", "--dir", str(folder), "--state-dir", str(folder / "state"), *words])
        return capsys.readouterr().out

    return run


USER = ("--user", "alice=alice.pub")


class TestMade:
    """The configuration is one that the function takes, and a client of the bus can read."""

    def test_a_mirror_port_by_name_and_one_by_address(self, init, folder: Path):
        init("--n3", MAC, "--n6", "n6", *USER, "--client", "noc")

        settings = inputs.configuration(folder / "startup.xml")
        assert {(i.name, i.role, i.mode, i.mac) for i in settings.interfaces} == {
            ("n3", Role.N3, Mode.MIRROR, MAC),
            ("n6", Role.N6, Mode.MIRROR, ""),
        }
        (consumer,) = settings.export.curve.consumers
        client = inputs.curve_keys(folder / "keys" / "noc.curve")
        assert (client.public_key, client.server_key) == (consumer.key, settings.export.curve.public_key)
        assert len(settings.privacy.key) == 32

    def test_the_check_finds_nothing_wrong(self, init, folder: Path, capsys: pytest.CaptureFixture[str]):
        init("--inline-n3", "n3,n6", *USER)
        with pytest.raises(SystemExit) as end:
            main(["config", "check", "--here", str(folder / "startup.xml")])
        assert (end.value.code, capsys.readouterr().out.count("\n")) == (0, 1)

    def test_an_inline_pair(self, init, folder: Path):
        init("--inline-n6", f"{MAC},n6", *USER)
        ports = {i.name: (i.mode, i.peer) for i in inputs.configuration(folder / "startup.xml").interfaces}
        assert ports == {"n6-a": (Mode.INLINE, "n6"), "n6": (Mode.INLINE, "n6-a")}

    def test_a_upf_s_host_that_is_read_both_ways_and_a_port_with_everything(self, init, folder: Path):
        init("--local", "--both", "--n3", "n3", "--mixed", "n6", "--n4", "lo", *USER)
        ports = {(i.name, i.role, i.mode, i.sent) for i in inputs.configuration(folder / "startup.xml").interfaces}
        assert ports == {
            ("n3", Role.N3, Mode.LOCAL, True),
            ("n6", Role.MIXED, Mode.LOCAL, True),
            ("lo", Role.N4, Mode.MIRROR, False),
        }

    def test_the_function_has_a_name_in_its_feed(self, init, folder: Path):
        init("--n3", "n3", *USER, "--name", "probe-7")
        assert inputs.configuration(folder / "startup.xml").nf_id == "probe-7"

    def test_what_to_type_next_goes_to_a_shell_as_it_is(self, host: str, tmp_path: Path, capsys):
        (tmp_path / "alice.pub").write_text(PUBLIC)
        place = tmp_path / "with space"
        main(["init", "--dir", str(place), "--n3", "n3", "--user", f"alice={tmp_path}/alice.pub"])
        (run,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("  snf run"))
        assert shlex.split(run)[2:] == ["--users", f"{place}/users", "--startup", f"{place}/startup.xml"]

    def test_the_first_user_may_do_everything(self, init, folder: Path):
        init("--n3", "n3", *USER, "--user", "bob=alice.pub")
        lines = (folder / "users").read_text().splitlines()
        assert lines == [f'alice group="admin" {PUBLIC.strip()}', f"bob {PUBLIC.strip()}"]

    def test_nobody_else_can_read_it(self, init, folder: Path):
        init("--n3", "n3", *USER)
        modes = {stat.S_IMODE(path.stat().st_mode) & 0o7 for path in (folder, *folder.rglob("*"))}
        assert modes == {0}

    def test_it_says_what_to_do_next(self, init, folder: Path):
        said = init("--n3", "n3", *USER, "--endpoint", "tcp://*:6000")
        assert f"snf run --users {folder}/users --startup {folder}/startup.xml" in said
        assert f"snf watch --curve {folder}/keys/watch.curve --endpoint tcp://127.0.0.1:6000" in said
        assert "snf sessions --user alice --key alice" in said


class TestAgain:
    """The same command is no error; another one changes nothing of what is there."""

    def content(self, folder: Path) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def test_the_same_changes_nothing(self, init, folder: Path):
        init("--n3", "n3", *USER)
        before = self.content(folder)

        assert "nothing is changed" in init("--n3", "n3", *USER)
        assert self.content(folder) == before

    def test_after_an_interruption_it_goes_on_with_the_same_keys(self, init, folder: Path):
        init("--n3", "n3", *USER)
        before = self.content(folder)
        (folder / "startup.xml").unlink()

        init("--n3", "n3", *USER)
        assert self.content(folder) == before

    def test_of_several_at_once_one_makes_it(self, folder: Path):
        words = [sys.executable, "-m", "mgmt.cli.main", "init", "--dir", str(folder), "--n3", "n3"]
        words += ["--user", f"alice={folder.parent / 'alice.pub'}"]
        begun = [subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(4)]

        said = [process.communicate()[0] for process in begun]

        assert [process.returncode for process in begun] == [0] * 4
        assert sorted(text.startswith("Made in") for text in said) == [False, False, False, True]
        assert sum("has all of this already" in text for text in said) == 3

    def test_a_client_given_twice_is_one(self, init, folder: Path):
        init("--n3", "n3", *USER, "--client", "noc", "--client", "noc")
        assert (folder / "startup.xml").read_text().count("<consumer>") == 1

    def test_the_bus_of_the_running_function_is_no_obstacle(self, init, folder: Path):
        with socket.create_server(("127.0.0.1", 5556)):
            assert "Made in" in init("--n3", "n3", *USER)

    def test_another_one_is_refused(self, init, folder: Path, capsys: pytest.CaptureFixture[str]):
        init("--n3", "n3", *USER)
        before = self.content(folder)

        with pytest.raises(SystemExit):
            init("--n3", "n6", *USER)
        assert "there already, and differs" in capsys.readouterr().err
        assert self.content(folder) == before


class TestRefused:
    """Wrong input is told in one sentence, and nothing is made."""

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (USER, "No port is given"),
            (("--n3", "n3"), "No user is given"),
            (("--n3", "nowhere", *USER), "name nowhere"),
            (("--both", "--n3", "n3", *USER), "give --local too"),
            (("--local", "--both", "--mixed", "lo", *USER), "receives all that it sends"),
            (("--n3", "02:00:00:00:00:99", *USER), "address 02:00:00:00:00:99"),
            (("--n3", "n 3", *USER), "no spaces"),
            (("--n3", "enp3s0f0np0-mirror", *USER), "1 to 15 characters"),
            (("--n3", "n3", "--n6", "n3", *USER), "two roles, n3 and n6"),
            (("--n3", "n3", "--n6", MAC, *USER), "two roles, n3 and n6"),
            (("--n3", "n3", "--n3", "n3", *USER), "the role n3 twice"),
            (("--n3", "n3", "--n4", "n3", *USER), "two roles, n3 and n4"),
            (("--inline-n3", "n3,n6", "--n6", "n6", *USER), "two roles, n6 and n3"),
            (("--inline-n3", "n3", *USER), "A,B"),
            (("--inline-n3", "n3,n3", *USER), "is one port"),
            (("--n3", "own", *USER), "carries this host's own traffic"),
            (("--n3", "lo", *USER), "lo"),
            (("--n3", "n3", "--user", "alice"), "no user with a key"),
            (("--n3", "n3", "--user", "al ice=alice.pub"), "no user with a key"),
            (("--n3", "n3", "--user", "alice=nowhere.pub"), "nowhere.pub cannot be read"),
            (("--n3", "n3", "--user", "alice=alice"), "private key"),
            (("--n3", "n3", *USER, *USER), "given twice"),
            (("--n3", "n3", "--user", "alice=README"), "README"),
            (("--n3", "n3", *USER, "--client", "a client"), "no name for a client"),
            (("--n3", "n3", *USER, "--client", "publisher"), "no name for a client"),
            (("--n3", "n3", *USER, "--endpoint", "tcp://[fe80::1%n3]:5556"), "zone"),
            (("--n3", "n3", *USER, "--endpoint", "5556"), "tcp://ADDRESS:PORT"),
            (("--n3", "n3", *USER, "--endpoint", "tcp://*:65536"), "tcp://ADDRESS:PORT"),
            (("--n3", "n3", *USER, "--endpoint", "tcp://198.51.100.7:5556"), "an address of this host"),
            (("--n3", "n3", *USER, "--endpoint", "tcp://"), "An endpoint is tcp://ADDRESS:PORT or ipc://PATH."),
            (("--n3", "n3", *USER, "--name", "x" * 65), "A name has 1 to 64 characters."),
            (("--n3", "n3", *USER, "--endpoint", "tcp://*:830"), "keeps no right to a port below 1024"),
            (("--n3", "n3", *USER, "--endpoint", "tcp://*:0"), "no port that a consumer could know"),
            (("--n3", "n3", *USER, "--endpoint", "ipc:///nowhere/bus"), "/nowhere is no folder"),
            (("--n3", "n3", *USER, "--name", "probe 1"), "name"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_before_anything_is_made(self, words, says, init, folder: Path, capsys: pytest.CaptureFixture[str]):
        with pytest.raises(SystemExit) as end:
            init(*words)
        said = capsys.readouterr()
        assert end.value.code == 2
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert says in said.err
        assert not folder.exists()

    @pytest.mark.parametrize(
        ("content", "mode", "says"),
        [(PUBLISHED, 0o600, "of an example"), ("c2VjcmV0", 0o644, "Everybody on this host can read")],
    )
    def test_a_key_that_is_known_to_others(self, content, mode, says, init, folder: Path, capsys):
        (folder / "keys").mkdir(parents=True)
        (folder / "keys" / "pseudonyms.key").write_text(content)
        (folder / "keys" / "pseudonyms.key").chmod(mode)

        with pytest.raises(SystemExit):
            init("--n3", "n3", *USER)

        assert says in capsys.readouterr().err
        assert [path.name for path in folder.rglob("*") if path.is_file()] == ["pseudonyms.key"]

    def test_the_ports_of_another_host_are_taken_when_that_is_said(self, init, folder: Path):
        init("--n3", "nowhere", *USER, "--elsewhere")
        assert (folder / "startup.xml").exists()


class TestTerminal:
    """On a terminal it shows the ports and asks for what was not given."""

    def test_a_person_answers(self, host: str, folder: Path):
        ours, theirs = pty.openpty()
        words = [sys.executable, "-m", "mgmt.cli.main", "init", "--dir", str(folder)]
        with subprocess.Popen(words, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs) as run:
            os.close(theirs)
            shown = ""
            for answer in ("n3", "n6", "", "", "alice", str(folder.parent / "alice.pub")):
                shown += self.until(ours, ": ")
                os.write(ours, answer.encode() + b"\n")
            shown += self.until(ours, "\n", at_the_end=True)
        os.close(ours)

        assert run.returncode == 0, shown
        assert re.search(rf"n3 +{MAC}", shown)
        assert re.search(r"own .*has 192\.0\.2\.1", shown)
        roles = {i.name: i.role for i in inputs.configuration(folder / "startup.xml").interfaces}
        assert roles == {"n3": Role.N3, "n6": Role.N6}

    def until(self, terminal: int, end: str, *, at_the_end: bool = False) -> str:
        shown = ""
        while at_the_end or not shown.endswith(end):
            try:
                shown += os.read(terminal, 4096).decode()
            except OSError:  # the other side is closed
                break
        return shown


class TestOfTheService:
    """Its files are root's and the group of the service can read them, where there is one."""

    def test_owner_and_mode(self, host: str, folder: Path):
        groups = folder.parent / "group"
        groups.write_text(Path("/etc/group").read_text() + "\n", encoding="utf-8")
        kept = [line for line in groups.read_text().splitlines() if not line.startswith("supernetflow:")]
        groups.write_text("\n".join([*kept, "supernetflow:x:64321:", ""]))
        words = [sys.executable, "-m", "mgmt.cli.main", "init", "--dir", str(folder), "--n3", "n3"]
        words += ["--user", f"alice={folder.parent}/alice.pub"]
        command = ["unshare", "--mount", "sh", "-c", f'mount --bind {groups} /etc/group && exec "$@"', "sh", *words]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

        for path in (folder, *folder.rglob("*")):
            about = path.stat()
            assert (about.st_uid, about.st_gid) == (0, 64321)
            assert stat.S_IMODE(about.st_mode) == (0o750 if path.is_dir() else 0o640)
