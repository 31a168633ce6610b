"""``snf config check`` says all that is wrong with a configuration, and changes nothing."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from mgmt.cli.main import main
from mgmt.netconf.model.yang_model import yang_dir

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((yang_dir() / "examples").glob("*.xml"))
# Of the examples of 2026-11-23: everybody knows it.
PUBLISHED = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A configuration with keys of its own."""
    main(["keys", str(tmp_path / "made"), "-f", str(yang_dir() / "examples" / "probe-mirror.xml")])
    return tmp_path / "made" / "probe-mirror.xml"


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]):
    """Run ``snf config check``; return its status and the faults in JSON, without what this host lacks."""

    def run(path: Path, *words: str) -> tuple[int, list[dict]]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(["config", "check", str(path), "--output", "json", *words])
        told = json.loads(capsys.readouterr().out)
        assert told["ok"] is (end.value.code == 0)
        return end.value.code, [f for f in told["faults"] if "No interface has" not in f["message"]]

    return run


def line_of(text: str, path: Path) -> int:
    return path.read_text().partition(text)[0].count("\n") + 1


def plant(path: Path, old: str, new: str) -> None:
    """Put a fault into a configuration, in the place of the first *old*."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def interface(name: str, capture: str) -> str:
    return (
        f'<interface><name>{name}</name><type xmlns:i="urn:ietf:params:xml:ns:yang:iana-if-type">'
        f"i:ethernetCsmacd</type>"
        f'<capture xmlns="urn:supernetflow:yang:snf-interfaces">{capture}</capture></interface>'
    )


END = "</interface>\n  </interfaces>"
INLINE = "<role>n3</role><mode>inline</mode><peer>{}</peer>"
SAME = "<role>n3</role><mac-address>02:00:00:00:00:03</mac-address>"
FAULTS = {  # what is planted, where, and what is said of it
    "unknown element": ("<epoch>1</epoch>", "<epoche>1</epoche>", "no epoche here"),
    "unknown module": ("<privacy ", '<nothing xmlns="urn:example"/><privacy ', "namespace of nothing"),
    "a number that is none": ("<epoch>1</epoch>", "<epoch>one</epoch>", "epoch"),
    "an element twice": ("<epoch>1</epoch>", "<epoch>1</epoch><epoch>2</epoch>", "epoch is there twice"),
    "a must": ("<role>n4</role>", "<role>n4</role><mode>local</mode>", "its mode is mirror"),
    "a must of two ports": ("<role>n3</role>", INLINE.format("n6"), "not in mode inline"),
    "a reference": ("<role>n3</role>", INLINE.format("n9"), "refers to something"),
    "a leaf that is missing": ("<role>n4</role>", "", "role has to be given"),
    "two roles": (END, f"</interface>{interface('n6', '<role>n3</role>')}</interfaces>", "two roles, n6 and n3"),
    "an address twice": (END, f"</interface>{interface('b', SAME)}</interfaces>", "has this MAC address"),
    "a name with a space": ("<name>n4</name>", "<name>n 4</name>", "no spaces"),
    "a name that is too long": ("<name>n4</name>", "<name>enp3s0f0np0-mirror</name>", "1 to 15 characters"),
    "a zone": ("tcp://*:5556", "tcp://[fe80::1%n4]:5556", "tcp://ADDRESS:PORT"),
    "a topic of another": ("<topic>qoe.v1/</topic>", "<topic>qoe.v1/b/</topic>", "topic is one of another function"),
}


class TestOneFault:
    """Each kind of fault is told by its line, once, and nothing else is."""

    @pytest.mark.parametrize("name", FAULTS)
    def test_it_is_said(self, name: str, good: Path, check):
        old, new, said = FAULTS[name]
        assert check(good) == (0, [])
        plant(good, old, new)

        status, faults = check(good)

        assert status == 1
        told = [f for f in faults if said in f["message"]]
        assert len(told) == 1, faults
        assert faults == told
        assert faults[0]["line"] > 0

    def test_xml_that_ends_early(self, good: Path, check):
        good.write_text(good.read_text().replace("</config>", ""))

        status, (fault,) = check(good)

        assert status == 1
        assert "not well-formed" in fault["message"]
        assert fault["line"] > 100

    def test_a_key_of_an_example(self, good: Path, check):
        key = re.search("<key>(.*)</key>", good.read_text())[1]
        plant(good, key, PUBLISHED)

        status, (fault,) = check(good)

        assert (status, fault["line"]) == (1, line_of("<key>", good))
        assert "everybody can read" in fault["message"]
        assert PUBLISHED not in json.dumps(fault)

    def test_two_keys_that_are_no_pair(self, good: Path, check, tmp_path: Path):
        main(["keys", str(tmp_path / "others")])
        other = re.search("secret_key=(.*)", (tmp_path / "others/publisher.curve").read_text())[1]
        mine = re.search("<secret-key>(.*)</secret-key>", good.read_text())[1]
        plant(good, mine, other.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))

        status, (fault,) = check(good)

        assert status == 1
        assert "does not belong" in fault["message"]

    def test_a_file_of_keys_that_everybody_can_read(self, good: Path, check):
        good.chmod(0o644)
        status, (fault,) = check(good)
        assert status == 1
        assert fault["remedy"] == f"chmod o= {good}"

    def test_a_key_beside_it_that_everybody_can_read(self, good: Path, check):
        (good.parent / "keys").mkdir()
        (good.parent / "keys" / "a.curve").touch(0o644)
        (good.parent / "keys" / "a.curve").chmod(0o644)
        status, (fault,) = check(good)
        assert status == 1
        assert "a.curve" in fault["message"]

    def test_an_identity_is_not_repeated(self, good: Path, check):
        opted = (
            '<opt-outs xmlns="urn:supernetflow:yang:snf-opt-out"><subscriber><imsi>{}</imsi>{}</subscriber></opt-outs>'
        )
        plant(good, "</config>", opted.format("001010000000001", "<wrong/>") + "</config>")

        status, faults = check(good)

        assert status == 1
        assert "0000000001" not in json.dumps(faults)


class TestUsers:
    """The users file beside it, or the one that is named, is looked at line by line."""

    def test_each_line_that_is_wrong(self, good: Path, check, tmp_path: Path):
        users = tmp_path / "users"
        users.write_text('alice ssh-ed25519\n\nbob group="a b" ssh-ed25519 AAAA\ncarol ssh-rsa AAAA\n')

        status, faults = check(good, "--users", str(users))

        assert status == 1
        assert [re.search(r"Line (\d)", f["message"])[1] for f in faults] == ["1", "3", "4"]

    def test_nobody_who_may_do_everything_is_a_warning(self, good: Path, check, tmp_path: Path):
        key = "AAAAC3NzaC1lZDI1NTE5AAAAIA" + "A" * 42
        (good.parent / "users").write_text(f"alice ssh-ed25519 {key}\n")

        status, (fault,) = check(good)

        assert status == 0
        assert fault["severity"] == "warning"
        assert "group admin" in fault["message"]


class TestSeveral:
    """Faults are told together, in the order of their lines, without what follows from them."""

    def test_all_of_it(self, good: Path, check):
        for name in ("unknown element", "a must", "a reference", "a zone", "unknown module"):
            plant(good, *FAULTS[name][:2])

        status, faults = check(good)

        assert status == 1
        assert [FAULTS[n][2] in f["message"] for n, f in zip(
            ("a reference", "a must", "a zone", "unknown module", "unknown element"), faults, strict=True
        )] == [True] * 5  # fmt: skip
        assert [f["line"] for f in faults] == sorted(f["line"] for f in faults)

    @pytest.mark.parametrize(
        ("capture", "said"),
        [
            ("<role>n4</role><mode>local</mode><colour>red</colour>", ["its mode is mirror", "no colour"]),
            ("<role>n4</role><mode>local</mode><xdp-mode>fast</xdp-mode>", ["its mode is mirror", "xdp-mode"]),
            ("<colour>red</colour>", ["role has to be given", "no colour"]),
            ("<mode>inline</mode><peer>nowhere</peer>", ["role has to be given", "refers to something"]),
        ],
    )
    def test_faults_in_one_container_do_not_hide_each_other(self, capture: str, said: list[str], good: Path, check):
        plant(good, "<role>n4</role>", capture)
        status, faults = check(good)
        assert status == 1
        assert len(faults) == len(said), faults
        assert all(any(part in f["message"] for f in faults) for part in said), faults

    @pytest.mark.parametrize(
        ("capture", "said"),
        [
            ("<rolle>n4</rolle>", "no rolle"),
            ("<role>n5</role>", "role is not"),
            ("<role>n4</role><moode>inline</moode><peer>n3</peer>", "no moode"),
            ("<role>n3</role><mode>inline</mode><per>n6</per>", "no per here"),
        ],
    )
    def test_what_follows_from_a_name_that_nobody_knows_is_not_told(self, capture: str, said: str, good: Path, check):
        plant(good, "<role>n4</role>", capture)
        status, (fault,) = check(good)
        assert status == 1
        assert said in fault["message"]

    def test_a_file_of_faults_alone_is_read_to_a_hundred(self, good: Path, capsys: pytest.CaptureFixture[str]):
        plant(good, "</config>", "<a/>" * 20_000 + "</config>")
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(["config", "check", str(good)])
        lines = capsys.readouterr().out.splitlines()
        assert "100 errors or more" in lines[-1]
        assert len(lines) < 110

    @pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
    def test_each_place_of_an_example_and_nothing_else(self, path: Path, check):
        status, faults = check(path)
        places = re.findall(r">(@[a-z-]+@)<", path.read_text())
        wrong = [f["message"] for f in faults if f["severity"] == "error"]
        assert status == 1
        assert wrong == [f"No key is here but {place}." for place in places]

    def test_a_person_sees_places_and_a_sum(self, good: Path, capsys: pytest.CaptureFixture[str]):
        plant(good, *FAULTS["a must"][:2])
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(["config", "check", str(good)])
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(f"{good}:{line_of('<role>n4', good) - 1}: An N4 interface is listened to only")
        assert lines[-1] == f"{good} cannot be used: 1 error, 3 warnings."

    def test_a_document_of_one_line_is_told_by_its_paths(self, good: Path, capsys: pytest.CaptureFixture[str]):
        plant(good, *FAULTS["a must"][:2])
        head, _, body = good.read_text().partition("?>")
        good.write_text(re.sub(r"\s*\n\s*", " ", re.sub("<!--.*?-->", "", f"{head}?>{body}", flags=re.DOTALL)))
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(["config", "check", str(good)])
        where = "/ietf-interfaces:interfaces/interface[name='n4']/snf-interfaces:capture"
        assert f"its mode is mirror ({where})." in capsys.readouterr().out

    def test_a_group_of_commands_alone_says_which_there_are(self, capsys: pytest.CaptureFixture[str]):
        with pytest.raises(SystemExit) as end:
            main(["config"])
        said = capsys.readouterr()
        assert (end.value.code, said.err) == (2, "")
        assert "check" in said.out


class TestPorts:
    """A port that this host lacks is a warning, unless the file is for this host."""

    def test_a_port_that_is_not_here(self, good: Path, capsys: pytest.CaptureFixture[str]):
        for words, status, severity in (([], 0, "warning"), (["--here"], 1, "error")):
            capsys.readouterr()
            with pytest.raises(SystemExit) as end:
                main(["config", "check", str(good), "--output", "json", *words])
            told = json.loads(capsys.readouterr().out)["faults"]
            assert end.value.code == status
            assert [(f["severity"], f["line"] > 0) for f in told] == [(severity, True)] * 3

    def test_each_place_of_the_bus_is_looked_at(self, good: Path, check):
        further = "<listener><name>noc</name><endpoint>tcp://198.51.100.7:5557</endpoint></listener>"
        plant(good, "</exporter>", f"{further}</exporter>")
        status, faults = check(good, "--here")
        assert status == 1
        assert ["198.51.100.7:5557" in f["message"] for f in faults].count(True) == 1

    @pytest.mark.parametrize(
        ("endpoint", "says"),
        [
            ("tcp://127.0.0.1:999", "the function keeps no right to a port below 1024"),
            ("ipc:///nowhere/bus", "/nowhere is no folder"),
        ],
    )
    def test_a_place_that_the_function_could_not_take_with_all_that_root_may(self, good: Path, check, endpoint, says):
        plant(good, "</exporter>", f"<listener><name>noc</name><endpoint>{endpoint}</endpoint></listener></exporter>")
        status, faults = check(good, "--here")
        assert status == 1
        assert [says in f["message"] for f in faults].count(True) == 1


class TestCost:
    """It takes less than a second of a processor, and neither bcc nor a compiler."""

    def test_less_than_a_second(self, good: Path):
        program = (
            "import sys\nfrom mgmt.cli.main import main\n"
            "try: main(['config', 'check', sys.argv[1]])\n"
            "finally: assert not {'bcc', 'netconf', 'paramiko', 'scapy'} & sys.modules.keys()"
        )
        used_s = min(self.seconds(program, good) for _ in range(3))
        assert used_s < 1.0

    def seconds(self, program: str, good: Path) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run = subprocess.run(
            [sys.executable, "-c", program, good], cwd=ROOT, capture_output=True, text=True, check=False
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert run.returncode == 0, run.stderr
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    def test_another_user_can_do_it(self, good: Path):
        for path in (good, *good.parents[:1]):
            os.chmod(path, 0o755 if path.is_dir() else 0o640)
            os.chown(path, 65534, 65534)
        words = [
            "setpriv",
            "--reuid=65534",
            "--clear-groups",
            "--bounding-set=-all",
            sys.executable,
            "-m",
            "mgmt.cli.main",
        ]
        run = subprocess.run(
            [*words, "config", "check", "probe-mirror.xml"], cwd=good.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "can be used" in run.stdout, run.stdout + run.stderr
