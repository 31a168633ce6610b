"""Inputs of a command are checked before anything is compiled or loaded: one sentence, exit status 2."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from mgmt.cli import main as cli
from nf.capture import archive
from nf.errors import SnfError
from nf.kernel.programs import Programs

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"


_pieces = archive._gzip


@pytest.fixture
def loaded(monkeypatch):
    """Prevent every compilation; note each maker of the kernel programs and refuse it."""
    asked = []

    def make(self, *_args, **_more):
        asked.append(self)
        raise SnfError("Here the programs would be made.")

    monkeypatch.setitem(sys.modules, "bcc", None)
    monkeypatch.setattr(Programs, "__init__", make)
    for name in ("no_core_dumps", "privilege.begin", "privilege.forget_low_ports"):  # for all tests of this process
        monkeypatch.setattr(f"mgmt.cli.run.{name}", lambda *_: None)
    return asked


@pytest.fixture
def snf(loaded, capsys, monkeypatch, tmp_path):
    """Run ``snf``; return what it says to standard error, which is one sentence, and check its status."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object, status: int = 2) -> str:
        with pytest.raises(SystemExit) as end:
            cli.main([str(w) for w in words])
        said = capsys.readouterr()
        assert end.value.code == status, said
        assert said.out == ""
        assert said.err.startswith("snf: ")
        assert said.err.count("\n") == 1, said.err
        return said.err

    return run


@pytest.fixture
def files(tmp_path, key_pair):
    """Good and bad inputs of all commands."""
    key = key_pair("input")
    public = key.with_suffix(".pub").read_text()
    (tmp_path / "users").write_text(f"alice {public}")
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(bytes(range(128, 256)))
    (tmp_path / "bad.xml").write_text("<config><interfaces>")
    (tmp_path / "unknown.xml").write_text('<config><nothing xmlns="urn:example:nothing"/></config>')
    (tmp_path / "cut.pcap").write_bytes(b"\xd4\xc3\xb2\xa1\x02\x00")
    (tmp_path / "packed.pcap.gz").write_bytes(b"\x1f\x8b\x08\x00")
    (tmp_path / "README.gz").write_bytes(gzip.compress(README.read_bytes()))
    (tmp_path / "curve").write_text("server_key=short\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loose").write_text(key.read_text())
    (tmp_path / "loose").chmod(0o644)
    wrpcap(str(tmp_path / "good.pcap"), [Ether()])
    (tmp_path / "key").write_text(key.read_text())
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "key.pub").write_text(public)
    return tmp_path


class TestReplay:
    """``snf replay`` looks at captures, results and key before it makes the programs."""

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ([README], "README.md is not a capture"),
            (["nowhere.pcap"], "nowhere.pcap"),
            (["folder"], "is a directory"),
            (["empty"], "is empty"),
            (["cut.pcap"], "cut.pcap"),
            (["packed.pcap.gz"], "unpacks to nothing"),
            (["README.gz"], "README.gz is not a capture"),
            (["good.pcap", README], "README.md"),
            (["good.pcap", "--flows", "flows.xlsx"], ".csv"),
            (["good.pcap", "--qoe", "nowhere/q.csv"], "nowhere"),
            (["good.pcap", "--sessions", "folder"], "folder"),
            (["good.pcap", "--events", "a.csv", "--flows", "a.csv"], "one file"),
            (["good.pcap", "--role", "n9"], "n9"),
            (["good.pcap", "--role", "n3", "--role", "n6"], "2 roles for 1"),
            (["good.pcap", "--interval", "0"], "--interval"),
            (["good.pcap", "--interval", "nan"], "nan"),
            (["good.pcap", "--key", "empty"], "empty"),
            (["good.pcap", "--key", "folder"], "directory"),
            (["good.pcap", "--config", "nowhere.xml"], "nowhere.xml"),
            (["good.pcap", "--config", "bad.xml"], "XML"),
            (["good.pcap", "--config", "unknown.xml"], "unknown.xml cannot be used"),
            ([], "CAPTURES"),
            (["good.pcap", "--speed", "3"], "--speed"),
        ],
        ids=str,
    )
    def test_refusal(self, snf, files, loaded, words, says):
        assert says in snf("replay", *words)
        assert loaded == []

    def test_a_startup_configuration_is_told_with_its_line_and_how_much_more_is_wrong(self, snf, files, loaded):
        capture = "<capture xmlns='urn:supernetflow:yang:snf-interfaces'><role>n3</role>{}</capture>"
        entry = (
            "<interface><name>{}</name><type xmlns:i='urn:ietf:params:xml:ns:yang:iana-if-type'>i:ethernetCsmacd</type>"
        )
        wrong = entry.format("a") + capture.format("\n<mode>sideways</mode>") + "</interface>"
        wrong += entry.format("a b") + capture.format("") + "</interface>"
        spaces = "<config><interfaces xmlns='urn:ietf:params:xml:ns:yang:ietf-interfaces'>{}</interfaces></config>"
        (files / "wrong.xml").write_text(spaces.format(wrong))
        said = snf("run", "--state-dir", "s", "--users", "users", "--startup", "wrong.xml", "--netconf", "127.0.0.1:0")
        assert "wrong.xml:2: " in said
        assert " 1 more: snf config check --here wrong.xml" in said
        assert loaded == []

    def test_a_port_that_is_not_here_may_come(self, snf, files, loaded):
        (files / "absent.xml").write_text(
            "<config><interfaces xmlns='urn:ietf:params:xml:ns:yang:ietf-interfaces'><interface><name>snf-absent</name>"
            "<type xmlns:i='urn:ietf:params:xml:ns:yang:iana-if-type'>i:ethernetCsmacd</type>"
            "<capture xmlns='urn:supernetflow:yang:snf-interfaces'><role>n3</role></capture>"
            "</interface></interfaces></config>"
        )
        words = ["run", "--state-dir", "s", "--users", "users", "--startup", "absent.xml", "--netconf", "127.0.0.1:0"]
        assert "No interface has the name snf-absent" in snf(*words, status=os.EX_TEMPFAIL)
        assert loaded == []

    def test_good_input_comes_to_the_programs(self, snf, files, loaded):
        assert "the programs would be made" in snf("replay", "good.pcap", "--flows", "f.csv", "--key", "key")
        assert len(loaded) == 1

    def test_of_an_archive_only_the_beginning_is_unpacked(self, snf, files, loaded, monkeypatch):
        whole = (files / "good.pcap").read_bytes() + bytes(64 << 20)
        (files / "large.pcap.gz").write_bytes(gzip.compress(whole))
        unpacked = []
        monkeypatch.setattr("nf.capture.archive._gzip", lambda *a: (unpacked.append(p) or p for p in _pieces(*a)))

        snf("replay", "large.pcap.gz")

        assert len(loaded) == 1
        assert sum(map(len, unpacked)) < 4 << 20


class TestRun:
    """``snf run`` looks at users, keys, configuration and address before it makes the programs."""

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ([], "--users"),
            (["--users", "nowhere"], "nowhere"),
            (["--users", "folder"], "folder"),
            (["--users", README], "README.md"),
            (["--users", "binary"], "binary"),
            (["--users", "users", "--host-key", README], "README.md"),
            (["--users", "users", "--host-key", "loose"], "chmod 600"),
            (["--users", "users", "--startup", README], "XML"),
            (["--users", "users", "--startup", "bad.xml"], "XML"),
            (["--users", "users", "--startup", "binary"], "binary is not text"),
            (["--users", "users", "--startup", "empty"], "XML"),
            (["--users", "users", "--startup", "unknown.xml"], "startup configuration cannot be used"),
            (["--users", "users", "--state-dir", "good.pcap"], "good.pcap"),
            (["--users", "users", "--netconf", "830"], "830"),
            (["--users", "users", "--netconf", "127.0.0.1:²"], "ADDRESS:PORT"),
            (["--users", "users", "--netconf", "127.0.0.1:65536"], "65536"),
        ],
        ids=str,
    )
    def test_refusal(self, snf, files, loaded, words, says):
        state = [] if "--state-dir" in words else ["--state-dir", "state"]
        assert says in snf("run", *state, *words)
        assert loaded == []

    def test_a_low_port_without_the_right_to_it(self):
        program = "from mgmt.netconf.ssh.access import listening_socket; listening_socket('127.0.0.1', 830, 1)"
        words = ["setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]
        done = subprocess.run(
            [*words, sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
        )

        assert "needs CAP_NET_BIND_SERVICE" in done.stderr

    def test_a_port_that_is_taken(self, snf, files, loaded):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            where = f"127.0.0.1:{taken.getsockname()[1]}"
            words = ["run", "--state-dir", "state", "--users", "users", "--netconf", where]
            assert "in use" in snf(*words, status=os.EX_TEMPFAIL)
        assert loaded == []

    def test_an_address_that_is_not_here_may_come(self, snf, files, loaded):
        words = ["run", "--state-dir", "state", "--users", "users", "--netconf", "192.0.2.77:0"]
        assert "cannot listen at 192.0.2.77" in snf(*words, status=os.EX_TEMPFAIL)
        assert loaded == []

    def test_a_stored_configuration_that_is_damaged(self, snf, files, loaded):
        (files / "state").mkdir()
        (files / "state" / "running.xml").write_text("<config/>")
        assert "whole" in snf("run", "--state-dir", "state", "--users", "users", "--netconf", "127.0.0.1:0")
        assert loaded == []

    def test_good_input_comes_to_the_programs(self, snf, files, loaded):
        words = ["--state-dir", "state", "--users", "users", "--host-key", "key", "--netconf", "127.0.0.1:0"]
        assert "the programs would be made" in snf("run", *words)
        assert len(loaded) == 1


class TestClients:
    """A command that asks a running function looks at its keys and values before it connects."""

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (["sessions", "--key", README], "README.md is no private key"),
            (["sessions", "--key", "binary"], "binary is not text"),
            (["sessions", "--key", "key", "--host-key", "empty"], "empty is no public key"),
            (["sessions", "--key", "key", "--host-key", README], "README.md is no public key"),
            (["sessions", "--key", "key", "--teid", "many"], "many"),
            (["sessions", "--key", "key", "--address", "10.45.0"], "10.45.0"),
            (["sessions", "--key", "key", "--tunnel", "upf"], "upf"),
            (["sessions", "--key", "key", "--source", "rumour"], "rumour"),
            (["sessions", "--key", "key", "--limit", "0"], "--limit"),
            (["sessions", "--key", "key", "--output", "xml"], "xml"),
            (["sessions", "--key", "key", "--netconf", "here"], "here"),
            (["explain", "tcp", "10.45.0.2:1", "--user", "a", "--key", "key"], "two ends"),
            (["explain", "icmp", "10.45.0.2:1", "192.0.2.1:2", "--user", "a", "--key", "key"], "protocol"),
            (["explain", "1", "--replay", "nowhere.csv"], "nowhere.csv"),
            (["explain", "1", "--replay", README], "README.md"),
            (["explain", "1", "--replay", "folder"], "folder"),
            (["explain", "tcp", "10.45.0.2:1", "192.0.2.1:2", "--user", "a", "--key", README], "README.md"),
            (["watch", "--curve", README], "server_key"),
            (["watch", "--curve", "curve"], "server_key"),
            (["watch", "--curve", "binary"], "binary is not text"),
            (["watch", "--endpoint", "nonsense"], "nonsense"),
            (["watch", "--seconds", "-1"], "-1"),
            (["watch", "--seconds", "nan"], "nan"),
            (["top", "--output", "xml"], "xml"),
            (["top", "--curve", "folder"], "folder"),
            (["doctor", "--loudly"], "--loudly"),
            (["lint"], "lint"),
        ],
        ids=str,
    )
    def test_refusal(self, snf, files, loaded, words, says):
        assert says in snf(*words)
        assert loaded == []
