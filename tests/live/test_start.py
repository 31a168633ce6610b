"""A function starts with the configuration that it has, also when a port of it is away."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.net import Net, inside
from lab.operator import exporter, interfaces, key_pair
from nf.kernel import links
from nf.settings import Interface, Role
from tests.live.conftest import wait_until
from tests.live.switchboard import ip

N3 = Interface("n3", Role.N3)


@pytest.fixture
def home() -> Iterator[str]:
    with Net() as net:
        net.add("host")
        with inside(net.path("host")):
            yield net.path("host")


@contextlib.contextmanager
def function(folder: Path) -> Iterator[Path]:
    """Run ``snf run`` in the namespace of the caller and return its log."""
    words = [sys.executable, "-m", "mgmt.cli.main", "run", "--state-dir", folder / "state", "--users", folder / "users"]
    words += ["--startup", folder / "startup.xml", "--netconf", "127.0.0.1:1831"]
    log = folder / "log"
    with log.open("w") as file, subprocess.Popen(words, stdout=file, stderr=file) as child:
        try:
            wait_until(lambda: "NETCONF on" in log.read_text() or child.poll() is not None, "it answers or ends", 90)
            yield log
        finally:
            child.terminate()
            child.wait()


def plug() -> None:
    ip("link", "add", "n3", "type", "veth", "peer", "name", "gnb")
    for end in ("n3", "gnb"):
        ip("link", "set", end, "up")


class TestStart:
    """A first start refuses a port that is not there, as it may be a typing error; a later one waits for it."""

    def test_it_waits_for_a_port_of_its_stored_configuration(self, home, tmp_path):
        (tmp_path / "users").write_text(f"operator {key_pair(tmp_path / 'key')} operator\n", encoding="ascii")
        ports = interfaces({"n3": "n3"}) + exporter("ipc:///tmp/snf-start.sock")
        (tmp_path / "startup.xml").write_text(f"<config>{ports}</config>", encoding="ascii")
        with function(tmp_path) as log:
            assert "No interface has the name n3" in log.read_text()
            assert "NETCONF on" not in log.read_text()
        plug()
        with function(tmp_path) as log:
            assert links.find(N3).xdp_program, log.read_text()
        ip("link", "del", "n3")

        with function(tmp_path) as log:
            assert "n3: No interface has the name n3; it is attached when the device is there" in log.read_text()
            plug()
            wait_until(lambda: "n3: attached again, to n3" in log.read_text(), "it is attached", 30)
            assert links.find(N3).xdp_program


class TestBus:
    """The bus is bound where the configuration has it, and nowhere else before."""

    def test_another_process_may_have_the_default_port(self, home, tmp_path):
        (tmp_path / "users").write_text(f"operator {key_pair(tmp_path / 'key')} operator\n", encoding="ascii")
        plug()
        ports = interfaces({"n3": "n3"}) + exporter("tcp://127.0.0.1:5557")
        (tmp_path / "startup.xml").write_text(f"<config>{ports}</config>", encoding="ascii")

        with socket.create_server(("127.0.0.1", 5556)), function(tmp_path) as log:
            assert "publishing on tcp://127.0.0.1:5557" in log.read_text()
            with socket.create_connection(("127.0.0.1", 5557), 10):
                pass

    def test_without_a_configuration_it_is_bound_at_its_default(self, home, tmp_path):
        (tmp_path / "users").write_text(f"operator {key_pair(tmp_path / 'key')} operator\n", encoding="ascii")
        (tmp_path / "startup.xml").write_text("<config/>", encoding="ascii")
        with function(tmp_path), socket.create_connection(("127.0.0.1", 5556), 10):
            pass
