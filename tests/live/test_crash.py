"""A process that is killed and started again with the four capabilities of a hardened service, and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from nf.kernel import bpffs, links
from tests.live.wire import Wire, wire

ROOT = Path(__file__).resolve().parents[2]
FOUR = "-all,+bpf,+net_admin,+perfmon,+net_raw"
MAC, UPF, UE = "02:00:00:00:00:01", "192.0.2.2", "10.45.0.1"

CHILD = """
import json
import sys
from nf.service import Service
from nf.settings import Settings
from tests.live.test_life import BUMP
with Service() as service:
    service.apply(Settings(), BUMP)
    plane = service.plane
    for line in sys.stdin:
        counters, payloads = plane.read_counters(), plane.read_payloads()
        ports = payloads["key"]["port_a"].byteswap()  # of the UE, whose address is the lower one
        told = {"taken_over": plane.taken_over, "payloads": sorted(set(ports.tolist()))}
        print(json.dumps(told | {name: counters[name] for name in ("frames", "handed_off")}), flush=True)
"""


def payload(port: int) -> bytes:
    """Return a frame of a new flow whose payload nobody in the kernel can name."""
    outer = Ether(src=MAC, dst=MAC) / IP(src="192.0.2.1", dst=UPF) / UDP(sport=2152, dport=2152)
    tunnel = GTP_U_Header(teid=0x100, gtp_type=255, E=1, next_ex=0x85) / GTPPDUSessionContainer(type=1, QFI=9)
    return bytes(outer / tunnel / IP(src=UE, dst="198.51.100.7") / UDP(sport=port, dport=9999) / Raw(bytes(64)))


class Function:
    """A function in a process of its own, in the namespace of the wire, under four capabilities."""

    def __init__(self, path: str) -> None:
        words = ["nsenter", f"--net={path}", "setpriv", f"--bounding-set={FOUR}", sys.executable, "-c", CHILD]
        self._process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self) -> dict[str, object]:
        """Return what it counts, and the ports of the payloads that came since it was asked last."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told: dict[str, object] = json.loads(self._process.stdout.readline() or '"it ended"')
        return told

    def kill(self) -> None:
        """End it as the kernel does when memory is short."""
        self._process.kill()
        self._process.wait()

    def end(self) -> int:
        """Wait until it ends by itself; return its exit status."""
        self._process.communicate()
        return self._process.returncode


@contextmanager
def function(wire: Wire) -> Iterator[Function]:
    started = Function(wire.path)
    try:
        yield started
    finally:
        started.kill()


@pytest.fixture
def bump() -> Iterator[Wire]:
    with wire() as made:
        yield made


class TestRestart:
    """CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_NET_RAW are enough to take over what was left."""

    def test_counters_go_on_and_nothing_waits_for_the_process(self, bump):
        with function(bump) as first:
            assert first.ask()["taken_over"] is False
            bump.send(payload(40_000), 64)
            before = first.ask()
            assert before["payloads"] == [40_000]
            first.kill()

            bump.send(payload(41_000), 64)  # nobody reads, and yet the payload is handed over
            with function(bump) as second:
                after = second.ask()
                bump.send(payload(42_000), 64)
                later = second.ask()
                assert second.end() == 0

        assert (after["taken_over"], after["frames"], later["frames"]) == (True, 128, 192)
        assert after["payloads"] == [41_000]
        assert later["payloads"] == [42_000]
        assert int(str(after["handed_off"])) > int(str(before["handed_off"]))
        assert bump.seen() == bump.sent() == 192

    def test_a_stop_leaves_no_name(self, bump):
        root = bpffs.home()
        assert root is not None
        with function(bump) as once:
            once.ask()
            here = list(root.glob(f"{bump_number(bump)}-*"))
            assert once.end() == 0

        assert len(here) == 1
        assert not here[0].exists()
        assert {link.name for link in links.links() if link.xdp_program} == {"source", "sink"}

    def test_names_of_a_namespace_that_is_gone_are_swept(self):
        with wire() as gone, function(gone) as killed:
            killed.ask()
            number = bump_number(gone)
            killed.kill()
        lone = links.locks() / f"{number}-7.pins"  # of one that was killed before it named anything
        lone.touch()
        bpffs.sweep()

        root = bpffs.home()
        assert root is not None
        assert not list(root.glob(f"{number}-*"))
        assert not list(links.locks().glob(f"{number}-*.pins"))


def bump_number(bump: Wire) -> int:
    """Return the number of the wire's namespace, which begins the names of its maps."""
    return Path(bump.path).stat().st_ino
