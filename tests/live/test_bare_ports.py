"""Ports without Ethernet header: a TUN as ogstun is read as it is, and so is its copy on an Ethernet port."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from scapy.contrib.gtp import GTP_U_Header
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from lab.net import Net, inside
from nf import doctor
from nf.errors import AttachRefused
from nf.kernel import links
from nf.kernel.dataplane import DataPlane
from nf.settings import Encapsulation, Interface, Limits, Mode, Role, XdpMode
from nf.signalling.tap import N4Listener
from tests.live.conftest import wait_until

SMALL = Limits(flows=1024, sessions=64)
TUN_SET_LINK, ARPHRD_TUNNEL = 0x400454CD, 768  # the latter of include/uapi/linux/if_arp.h
TUN_SET_IFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000  # include/uapi/linux/if_tun.h
UP4 = IP(src="10.45.0.2", dst="192.0.2.80") / UDP(sport=40000, dport=443) / Raw(bytes(100))
UP6 = IPv6(src="2001:db8:45::2", dst="2001:db8::80") / TCP(sport=40000, dport=443) / Raw(bytes(100))
TUNNEL = IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=2152, dport=2152) / GTP_U_Header(teid=1) / UP4


class Tun:
    """A TUN whose other end is this process, and an Ethernet port to copy it to."""

    def __init__(self, net: Net) -> None:
        net.add("host")
        net.veth(("host", "copy"), ("host", "n6"))
        self.path = net.path("host")
        with inside(self.path):
            self.fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(self.fd, TUN_SET_IFF, struct.pack("16sH22x", b"ogstun", IFF_TUN | IFF_NO_PI))
            ip("link", "set", "ogstun", "up")

    def send(self, packet: Packet) -> None:
        """Send a packet through the device, as one that the UPF took out of a tunnel."""
        os.write(self.fd, bytes(packet))


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def tun() -> Iterator[Tun]:
    """A namespace with the device."""
    with Net() as net:
        made = Tun(net)
        with inside(made.path):
            yield made
        os.close(made.fd)


@pytest.fixture
def plane(tun: Tun) -> Iterator[DataPlane]:
    """A data plane inside the namespace."""
    made = DataPlane(SMALL)
    yield made
    made.close()


def counted(plane: DataPlane, name: str, packets: int) -> dict[str, int]:
    """Wait until so many packets are counted, and return the counters of the port."""
    wait_until(lambda: plane.read_counters(name)["counted"] == packets, "the packets are counted")
    return plane.read_counters(name)


class TestTun:
    """Packets begin with their IP header, and are counted as on any port."""

    @pytest.mark.parametrize("xdp", [XdpMode.AUTO, XdpMode.GENERIC])
    @pytest.mark.parametrize("mode", [Mode.LOCAL, Mode.MIRROR])
    def test_n6_is_read(self, tun: Tun, plane: DataPlane, mode: Mode, xdp: XdpMode) -> None:
        plane.attach(Interface("ogstun", Role.N6, mode, xdp=xdp))
        tun.send(UP4)
        tun.send(UP6)

        counters = counted(plane, "ogstun", 2)
        assert counters["octets"] == counters["counted_octets"] == len(UP4) + len(UP6)
        assert counters["dropped" if mode is Mode.MIRROR else "passed"] == 2

    def test_n3_is_read(self, tun: Tun, plane: DataPlane) -> None:
        plane.attach(Interface("ogstun", Role.N3, Mode.LOCAL))
        tun.send(TUNNEL)

        assert counted(plane, "ogstun", 1)["counted_octets"] == len(UP4)

    def test_a_role_changes_in_place(self, tun: Tun, plane: DataPlane) -> None:
        plane.attach(Interface("ogstun", Role.N3, Mode.LOCAL))
        assert plane.change(Interface("ogstun", Role.N6, Mode.LOCAL))
        tun.send(UP4)

        assert counted(plane, "ogstun", 1)["not_gtpu"] == 0

    def test_inline_is_refused_with_the_remedy(self, tun: Tun, plane: DataPlane) -> None:
        with pytest.raises(AttachRefused, match="ogstun has no Ethernet header") as caught:
            plane.attach(Interface("ogstun", Role.N6, Mode.INLINE, peer="n6"))

        assert "mode local" in caught.value.remedy
        assert not plane.attached

    def test_the_doctor_tells(self, tun: Tun) -> None:
        (link,) = [link for link in links.links() if link.name == "ogstun"]

        assert "no Ethernet header" in doctor.describe_link(link).detail

    def test_signalling_on_it_is_heard(self, tun: Tun) -> None:
        listener = N4Listener("ogstun", lambda events: None, bare=True)
        listener.start()
        tun.send(UP4)
        tun.send(IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=8805, dport=8805) / Raw(bytes(40)))
        wait_until(lambda: sum(listener.signalling.pfcp.counters.values()) > 0, "it is heard")
        listener.stop()

        assert listener.counters["n4_frames"] == 1


class TestOthers:
    """A device whose frames are of a form that is not read is refused."""

    def test_with_a_sentence(self, tun: Tun, plane: DataPlane) -> None:
        ip("link", "set", "ogstun", "down")
        fcntl.ioctl(tun.fd, TUN_SET_LINK, ARPHRD_TUNNEL)
        with pytest.raises(AttachRefused, match="ogstun is of the link type ipip") as caught:
            plane.attach(Interface("ogstun", Role.N6))

        assert caught.value.remedy


class TestCopies:
    """A copy of the TUN on an Ethernet port has no Ethernet header either."""

    @pytest.fixture
    def copied(self, tun: Tun) -> Any:
        """Copy what the TUN receives as `tc` does."""
        mirror = "filter add dev ogstun ingress protocol all u32 match u32 0 0 action mirred egress mirror dev copy"
        for words in ("qdisc add dev ogstun clsact", mirror):
            subprocess.run(["tc", *words.split()], check=True, capture_output=True)
        return tun

    @pytest.mark.parametrize("encapsulation", [None, Encapsulation.RAW_IP], ids=["auto", "raw-ip"])
    def test_it_is_read(self, copied: Tun, plane: DataPlane, encapsulation: Encapsulation | None) -> None:
        plane.attach(Interface("n6", Role.N6, encapsulation=encapsulation))
        copied.send(UP4)
        copied.send(UP6)

        assert counted(plane, "n6", 2)["counted_octets"] == len(UP4) + len(UP6)

    def test_it_is_told_where_it_is_not_read(self, copied: Tun, plane: DataPlane) -> None:
        plane.attach(Interface("n6", Role.N6, encapsulation=Encapsulation.NONE))
        copied.send(UP4)

        wait_until(lambda: plane.read_counters("n6")["not_ip"] == 1, "it is told")
