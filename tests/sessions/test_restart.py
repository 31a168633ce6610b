"""A function that is killed and started again knows the PFCP sessions that it knew, and follows them on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from gtp.events import Identity
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan
from lab.wait import comes_true
from nf.service import Service
from nf.sessions.restart.keep import recall
from nf.settings import Export, Interface, Privacy, Role, Settings

IMSI, SMF, UPF, GNB = "001010000000001", "192.0.2.1", "192.0.2.10", "192.0.2.20"
PLAN = SessionPlan(SMF, 11, Identity(imsi=IMSI), "10.45.0.2", (UPF, 0xA1), (GNB, 0xB2))
ESTABLISHED = build.establishment_request(1, PLAN), build.establishment_response(1, 11, UPF, 22)
DELETED = build.deletion_request(2, 22), build.deletion_response(2, 11)
KEY = b"k" * 32
WAIT_S = 20.0

CHILD = """
import sys
from pathlib import Path
import nf.service
from nf.sessions.restart import keeper
from nf.settings import Settings
from tests.sessions.test_restart import settings
keeper.REMEMBER_S = 0.1
with nf.service.Service(Path(sys.argv[2])) as service:
    service.apply(Settings(), settings(sys.argv[1]))
    print("ready", flush=True)
    service.run()
"""


def settings(ifname: str) -> Settings:
    export = Export(endpoint=f"ipc:///tmp/snf-restart-{ifname}.sock")
    return Settings(interfaces=(Interface(ifname, Role.N4),), privacy=Privacy(key=KEY), export=export)


def wait_until(condition) -> None:
    assert comes_true(condition, WAIT_S), "it does not come"


@pytest.fixture
def ends():
    """Both ends of a veth pair."""
    near, far = f"rs4a{os.getpid()}", f"rs4b{os.getpid()}"
    subprocess.run(["ip", "link", "add", near, "type", "veth", "peer", "name", far], check=True)
    for end in (near, far):
        subprocess.run(["ip", "link", "set", end, "up"], check=True)
    yield near, far
    subprocess.run(["ip", "link", "del", near], check=False)
    Path(settings(near).export.endpoint.removeprefix("ipc://")).unlink(missing_ok=True)


def say(far: str, request: bytes, response: bytes) -> None:
    ether, ports = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02"), UDP(sport=8805, dport=8805)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((far, 0))
        raw.send(bytes(ether / IP(src=SMF, dst=UPF) / ports / request))
        raw.send(bytes(ether / IP(src=UPF, dst=SMF) / ports / response))


class TestKilled:
    """SIGKILL, and a new start a moment later."""

    def test_its_sessions_are_known_and_end_as_they_should(self, ends, tmp_path):
        near, far = ends
        path: Path = tmp_path / "sessions.snapshot"
        with subprocess.Popen([sys.executable, "-c", CHILD, near, path], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            say(far, *ESTABLISHED)
            written = path.stat().st_size if path.exists() else 0
            wait_until(lambda: path.exists() and path.stat().st_size > written + 50)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()

        with Service(path) as service:
            service.apply(Settings(), settings(near))
            (binding,) = service.store.by_imsi(IMSI)
            assert service.store.by_tunnel(UPF, 0xA1) is service.store.by_tunnel(GNB, 0xB2) is binding
            assert len(service.plane.sessions) == 3, "two tunnels and an address are in the kernel"
            say(far, *DELETED)
            wait_until(lambda: not len(service.store))
            wait_until(lambda: not len(service.plane.sessions))
        assert list(recall(path, KEY, time.time()).sessions()) == [], "a clean stop writes them down, too"

    def test_without_a_key_nothing_is_written_and_the_kernel_knows(self, ends, tmp_path):
        near, far = ends
        path = tmp_path / "sessions.snapshot"
        with Service(path) as service:
            service.apply(Settings(), Settings(interfaces=settings(near).interfaces, export=settings(near).export))
            for n in range(1, 6):
                plan = replace(PLAN, cp_seid=n, ue_ipv4=f"10.45.0.{n}", uplink=(UPF, n), downlink=(GNB, n))
                say(far, build.establishment_request(n, plan), build.establishment_response(n, n, UPF, n))
                wait_until(lambda: len(service.plane.sessions) == 3 * n)  # noqa: B023
        assert not path.exists()
