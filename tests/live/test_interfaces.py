"""Needs of an interface so that nothing on it goes unseen: VLAN tags in the frame, jumbo frames, a monitor's port."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator

import pytest
from bcc import BPF
from scapy.contrib.gtp import GTP_U_Header
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from lab.net import Net, inside
from lab.wait import slowness
from nf.errors import AttachRefused
from nf.kernel import devices, links, source, xdp
from nf.kernel.dataplane import DataPlane
from nf.settings import Action, Interface, Limits, Mode, Monitor, Role
from tests.live.conftest import wait_until

SMALL = Limits(flows=1024, sessions=64)
N3 = Interface("n3", Role.N3)
ETH_ALL = 3  # ETH_P_ALL of include/uapi/linux/if_ether.h
CHILD = """
import signal, sys
from lab.net import child_of_the_lab
child_of_the_lab(sys.argv[1])
from nf.kernel.dataplane import DataPlane
from tests.live.test_interfaces import N3, SMALL
plane = DataPlane(SMALL)
plane.attach(N3)
print("ready", flush=True)
signal.pause()
"""


def gtpu(size: int, *tags: Dot1Q) -> bytes:
    """Return an uplink frame with *size* bytes of a UE's payload."""
    outer = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    for tag in tags:
        outer /= tag
    tunnel = outer / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=2152, dport=2152) / GTP_U_Header(teid=1)
    return bytes(tunnel / IP(src="10.45.0.1", dst="198.51.100.7") / UDP(sport=40000, dport=9999) / Raw(bytes(size)))


class Ports:
    """A namespace with three pairs of devices; frames are put in at one end and taken out at another."""

    def __init__(self, net: Net, mtu: int) -> None:
        net.add("host")
        for one, two in (("gnb", "n3"), ("n6", "dn"), ("mon", "dpi")):
            net.veth(("host", one), ("host", two), mtu=mtu)
        self.path = net.path("host")
        self.net = net

    def send(self, frame: bytes, device: str = "gnb") -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
            s.bind((device, 0))
            s.send(frame)

    def listen(self, device: str) -> socket.socket:
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_ALL))
        s.bind((device, ETH_ALL))
        s.settimeout(20 * slowness())
        # A veth takes redirected frames when NAPI runs on it, which GRO asks for.
        subprocess.run(["ethtool", "-K", device, "gro", "on"], check=True, capture_output=True)
        return s


@pytest.fixture
def ports(request) -> Iterator[Ports]:
    """Devices of the MTU that the test asks for."""
    with Net() as net:
        made = Ports(net, getattr(request, "param", 1500))
        with inside(made.path):
            yield made


@pytest.fixture
def plane(ports) -> Iterator[DataPlane]:
    """A data plane inside the namespace."""
    made = DataPlane(SMALL)
    yield made
    made.close()


def counters(plane: DataPlane) -> dict[str, int]:
    return plane.read_counters("n3")


def features(device: str) -> str:
    """Return what ethtool says of VLAN tags of received frames: on or off."""
    shown = subprocess.run(["ethtool", "-k", device], capture_output=True, text=True, check=True).stdout
    (line,) = (x for x in shown.splitlines() if x.strip().startswith("rx-vlan-offload:"))
    return line.split()[1]


class TestTags:
    """The card is told to leave VLAN tags in the frame while a program reads it, and told back afterwards."""

    def test_the_offload_is_off_while_attached(self, ports, plane):
        assert features("n3") == "on"

        assert not plane.attach(N3).rx_vlan
        assert features("n3") == "off"
        plane.detach("n3")

        assert features("n3") == "on"

    def test_an_offload_that_was_off_stays_off(self, ports, plane):
        assert not devices.set_rx_vlan("n3", False)
        plane.attach(N3)
        plane.detach("n3")

        assert features("n3") == "off"

    def test_what_was_noted_of_another_device_of_that_number_does_not_count(self, ports, plane):
        assert not devices.set_rx_vlan("n3", False)
        number = links.find(N3).ifindex
        lock = links.locks() / f"{os.stat('/proc/self/ns/net').st_ino}-{number}.lock"
        lock.write_text("4711\naddress 02:00:00:00:00:99\nrx-vlan\npromisc")

        plane.attach(N3)
        plane.detach("n3")

        assert features("n3") == "off"
        assert not lock.exists()

    def test_it_is_restored_after_a_process_was_killed(self, ports):
        words = [sys.executable, "-c", CHILD, ports.path]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            os.kill(child.pid, signal.SIGKILL)
        assert features("n3") == "off"

        plane = DataPlane(SMALL)
        plane.attach(N3)
        plane.close()

        assert features("n3") == "on"
        shown = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, check=True).stdout)
        assert not [d["ifname"] for d in shown if "xdp" in d]

    def test_a_tagged_frame_is_read(self, ports, plane):
        plane.attach(N3)
        ports.send(gtpu(50, Dot1Q(vlan=7)))

        wait_until(lambda: counters(plane)["counted"] == 1, "the frame is counted")


@pytest.mark.parametrize("ports", [9000], indirect=True)
class TestJumbo:
    """A jumbo frame is read as a whole, and passes an inline pair as a whole; what cannot be is said."""

    def test_its_length_is_that_of_all_buffers(self, ports, plane):
        attached = plane.attach(N3)
        frame = gtpu(8000)
        ports.send(frame)
        wait_until(lambda: counters(plane)["frames"] == 1, "the frame is counted")

        assert attached.mtu_limit == 0
        assert counters(plane)["octets"] == len(frame)
        assert counters(plane)["counted_octets"] == 20 + 8 + 8000

    def test_it_passes_an_inline_pair(self, ports, plane):
        plane.attach(Interface("n3", Role.N3, Mode.INLINE, peer="n6"))
        plane.attach(Interface("n6", Role.N6, Mode.INLINE, peer="n3"))
        with ports.listen("dn") as far:
            ports.send(gtpu(8000))
            assert far.recv(10_000) == gtpu(8000)


class TestMonitor:
    """An existing DPI box gets what the policies let through."""

    def test_inner_packets_cut_to_the_snap_length(self, ports, plane):
        plane.attach(N3)
        plane.set_monitor(Monitor("mon", decapsulate=True))
        plane.set_policies({0: (Action.TRUNCATE, 100)})
        frame = gtpu(1000)
        with ports.listen("dpi") as dpi:
            ports.send(frame)
            got = dpi.recv(2048)

        assert got == (frame[:14] + frame[14 + 20 + 8 + 8 :])[:100]
        assert counters(plane)["monitor_saved"] == len(frame) - 100
        assert struct.unpack_from("!H", got, 12) == (0x0800,)

    def test_it_is_none_of_the_captured_ones(self, ports, plane):
        plane.attach(N3)
        with pytest.raises(AttachRefused, match="n3 is read already"):
            plane.set_monitor(Monitor("n3"))
        with pytest.raises(AttachRefused, match="No interface has the name dpi9"):
            plane.set_monitor(Monitor("dpi9"))


class TestForeignProgram:
    """A program of others is left alone, and the command that is named takes it off."""

    @pytest.mark.parametrize("flags", [xdp.DRIVER, xdp.GENERIC], ids=["native", "generic"])
    def test_the_remedy_works(self, ports, plane, flags):
        source.use_shim()
        others = BPF(text="int pass(struct xdp_md *ctx) { return XDP_PASS; }", cflags=["-w"])
        assert xdp.set_program(socket.if_nametoindex("n3"), others.load_func(b"pass", BPF.XDP).fd, flags) == ""

        with pytest.raises(AttachRefused, match="already has the XDP program") as refused:
            plane.attach(N3)
        command = re.search(r"ip link set dev \S+ \w+ off", str(refused.value))
        assert command
        subprocess.run(command[0].split(), check=True)

        plane.attach(N3)
        assert plane.attached
