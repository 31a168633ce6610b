"""Signalling behind whatever a mirror puts before it: the same in a replay and on a live port."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III
from scapy.contrib.gtp import GTP_U_Header
from scapy.contrib.mpls import MPLS, EoMCW
from scapy.layers.inet import GRE, IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

from gtp.events import Identity, SessionEvent, SessionUp
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan
from lab.wait import comes_true, slowness
from nf.n4 import N4Listener
from nf.signalling import Signalling, may_signal
from tests.sessions.wires import wait_for_carrier

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
PLAN = SessionPlan(
    "192.0.2.1", 11, Identity(imsi="001010000000001"), "10.45.0.2", ("192.0.2.10", 0xA1), ("192.0.2.20", 0xB2)
)
N4 = UDP(sport=8805, dport=8805)
TO_UPF = IP(src="192.0.2.1", dst="192.0.2.10", id=5) / N4 / Raw(build.establishment_request(1, PLAN))
TO_SMF = IP(src="192.0.2.10", dst="192.0.2.1", id=6) / N4 / Raw(build.establishment_response(1, 11, "192.0.2.10", 22))
EXCHANGE6 = (
    IPv6(src="2001:db8::1", dst="2001:db8::10") / N4 / Raw(build.establishment_request(1, PLAN)),
    IPv6(src="2001:db8::10", dst="2001:db8::1") / N4 / Raw(build.establishment_response(1, 11, "192.0.2.10", 22)),
)
TAP, SENSOR = "198.51.100.1", "198.51.100.2"
OUTER, OUTER6 = IP(src=TAP, dst=SENSOR), IPv6(src="2001:db8:a::1", dst="2001:db8:a::2")
WAIT_S = 10.0
Wrap = Callable[[Packet], Packet]


def sgt(packet: Packet) -> Packet:
    """Return *packet* behind a tag of Cisco TrustSec: ethertype, version, length, option, group, ethertype."""
    kind = 0x86DD if IPv6 in packet else 0x0800
    return ETHER.copy() / Raw(b"\x01\x01\0\x01\0\x2a" + kind.to_bytes(2, "big") + bytes(packet))


def typed(frame: Packet, kind: int) -> Packet:
    """Return *frame* with another ethertype."""
    frame = frame.copy()
    frame[Ether].type = kind
    return frame


def labels(packet: Packet, count: int) -> Packet:
    """Return *packet* behind so many MPLS labels."""
    for i in range(count):
        packet = MPLS(label=100 + i, s=int(i == 0)) / packet
    return typed(ETHER / packet, 0x8847)


def ppp(packet: Packet) -> Packet:
    """Return *packet* in a PPPoE session."""
    return ETHER / PPPoE(sessionid=1) / PPP(proto=0x57 if IPv6 in packet else 0x21) / packet


def vxlan(packet: Packet) -> Packet:
    """Return *packet* in an Ethernet frame in VXLAN."""
    return OUTER / UDP(sport=50000, dport=4789) / VXLAN(vni=7) / ETHER / packet


WRAPS: dict[str, Wrap] = {
    "nothing": lambda p: ETHER / p,
    "one tag": lambda p: ETHER / Dot1Q(vlan=5) / p,
    "two tags": lambda p: ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / p,
    "five tags": lambda p: ETHER / Dot1AD() / Dot1Q() / Dot1Q() / Dot1Q() / Dot1Q() / p,
    "a group tag": lambda p: typed(sgt(p), 0x8909),
    "PPPoE": ppp,
    "a label": lambda p: labels(p, 1),
    "three labels": lambda p: labels(p, 3),
    "a pseudowire": lambda p: labels(EoMCW() / ETHER / p, 2),
    "a pseudowire without control word": lambda p: labels(ETHER / p, 1),
    "VXLAN": lambda p: ETHER / vxlan(p),
    "VXLAN over IPv6": lambda p: ETHER / OUTER6 / UDP(sport=50000, dport=4789) / VXLAN(vni=7) / ETHER / p,
    "VXLAN behind a tag, with a tag inside": lambda p: ETHER / Dot1Q(vlan=3) / vxlan(Dot1Q(vlan=4) / p),
    "GRE": lambda p: ETHER / OUTER / GRE(proto=0x86DD if IPv6 in p else 0x0800) / p,
    "GRE with a key and a number": lambda p: (
        ETHER / OUTER / GRE(proto=0x6558, key_present=1, key=9, seqnum_present=1, seqence_number=1) / ETHER / p
    ),
    "GRE over IPv6": lambda p: ETHER / OUTER6 / GRE(proto=0x6558) / ETHER / p,
    "MPLS in GRE": lambda p: ETHER / OUTER / GRE(proto=0x8847) / MPLS(label=16, s=1) / p,
    "ERSPAN I": lambda p: ETHER / OUTER / GRE(proto=0x88BE) / Raw(bytes(ETHER / p)),
    "ERSPAN II": lambda p: ETHER / OUTER / GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II() / ETHER / p,
    "ERSPAN III": lambda p: ETHER / OUTER / GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III() / ETHER / p,
    "ERSPAN III with the platform's part": lambda p: (
        ETHER / OUTER / GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(o=1) / Raw(bytes(8) + bytes(ETHER / p))
    ),
    "VXLAN in VXLAN": lambda p: ETHER / vxlan(vxlan(p)),
}


def parts(wrap: Wrap, fragsize: int = 64) -> list[bytes]:
    """Return the exchange in fragments, each of them wrapped."""
    return [bytes(wrap(part)) for packet in (TO_UPF, TO_SMF) for part in fragment(packet, fragsize)]


def told(frames: Sequence[bytes]) -> list[SessionEvent]:
    """Return what a replay hears: frames that may hold signalling go to the trackers."""
    signalling = Signalling()
    return [event for frame in frames if may_signal(frame) for event in signalling.frame(frame, 1.0)]


class TestReplay:
    """A session is heard of behind each of them, in one packet and in fragments, of IPv4 and IPv6."""

    @pytest.mark.parametrize("name", WRAPS)
    def test_ipv4(self, name: str) -> None:
        (event,) = told([bytes(WRAPS[name](packet)) for packet in (TO_UPF, TO_SMF)])

        assert isinstance(event, SessionUp)
        assert event.session.ue_ipv4 == "10.45.0.2"

    @pytest.mark.parametrize("name", WRAPS)
    def test_ipv6(self, name: str) -> None:
        (event,) = told([bytes(WRAPS[name](packet)) for packet in EXCHANGE6])

        assert isinstance(event, SessionUp)

    @pytest.mark.parametrize("name", WRAPS)
    def test_fragments(self, name: str) -> None:
        assert len(told(parts(WRAPS[name]))) == 1

    def test_fragments_of_the_tunnel(self) -> None:
        frames = [bytes(ETHER / part) for p in (TO_UPF, TO_SMF) for part in fragment(vxlan(p), 96)]

        assert len(frames) > 4
        assert len(told(frames)) == 1

    def test_what_a_subscriber_sends_in_his_tunnel_is_none(self) -> None:
        tunnel = IP(src="192.0.2.20", dst="192.0.2.10") / UDP(sport=2152, dport=2152) / GTP_U_Header(teid=0xA1)

        assert not told([bytes(ETHER / tunnel / p) for p in (TO_UPF, TO_SMF)])

    def test_frames_of_every_kind_that_are_cut_anywhere_are_no_trouble(self) -> None:
        for wrap in WRAPS.values():
            frame = bytes(wrap(TO_UPF))
            assert not told([frame[:cut] for cut in range(14, len(frame))])

    def test_traffic_is_not_looked_at(self) -> None:
        tcp = IP(src="10.45.0.2", dst="192.0.2.80") / TCP(sport=8805, dport=443) / Raw(bytes(32))

        assert not [name for name, wrap in WRAPS.items() if may_signal(bytes(wrap(tcp)))]


class Port:
    """A veth pair in which the listener sits at the far end."""

    def __init__(self) -> None:
        self.near, self.far = f"n4w{os.getpid()}", f"n4x{os.getpid()}"
        self.events: list[SessionEvent] = []
        self._came = threading.Condition()
        self._ip("link", "add", self.near, "type", "veth", "peer", "name", self.far)
        for end in (self.near, self.far):
            Path(f"/proc/sys/net/ipv6/conf/{end}/disable_ipv6").write_text("1")
            self._ip("link", "set", end, "up")
        wait_for_carrier(self.near, self.far)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.bind((self.near, 0))
        self.listener = N4Listener(self.far, self._hear)
        self.listener.start()

    def _ip(self, *words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    def _hear(self, events: list[SessionEvent]) -> None:
        with self._came:
            self.events += events
            self._came.notify_all()

    def send(self, *frames: Any, heard: int) -> None:
        """Put frames in and wait until so many were heard in all: two CPUs may change the order of what is sent."""
        for frame in frames:
            self._socket.send(bytes(frame))
        comes_true(lambda: self.listener.counters["n4_frames"] >= heard, WAIT_S)

    def wait(self) -> list[SessionEvent]:
        with self._came:
            self._came.wait_for(lambda: self.events, WAIT_S * slowness())
        return self.events

    def close(self) -> None:
        self.listener.stop()
        self._socket.close()
        subprocess.run(["ip", "link", "del", self.near], check=False, capture_output=True)


@pytest.fixture
def port() -> Iterator[Port]:
    port = Port()
    yield port
    port.close()


class TestLive:
    """A port hears the same; the filter of its socket keeps the rest away."""

    @pytest.mark.parametrize("name", WRAPS)
    def test_it_is_heard(self, port: Port, name: str) -> None:
        wrap = WRAPS[name]
        tcp = IP(src="10.45.0.2", dst="192.0.2.80") / TCP(sport=40000, dport=443) / Raw(bytes(32))
        dns = IP(src="10.45.0.2", dst="192.0.2.80") / UDP(sport=40000, dport=53) / Raw(bytes(32))
        port.send(wrap(tcp), wrap(dns), wrap(TO_UPF), heard=1)
        port.send(wrap(tcp), wrap(TO_SMF), heard=2)

        assert len(port.wait()) == 1
        assert port.listener.counters["n4_frames"] == 2

    def test_fragments_of_the_tunnel_are(self, port: Port) -> None:
        there, back = (fragment(ETHER / vxlan(p), 96) for p in (TO_UPF, TO_SMF))
        port.send(*there, heard=len(there))
        port.send(*back, heard=len(there) + len(back))

        assert len(port.wait()) == 1
