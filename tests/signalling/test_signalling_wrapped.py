"""Signalling behind whatever a mirror puts before it: the same in a replay and on a live port."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from scapy.contrib.gtp import GTP_U_Header
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from gtp.events import Identity, SessionEvent, SessionUp
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan
from lab.wait import comes_true, slowness
from nf.signalling.tap import N4Listener
from nf.signalling.trackers import Signalling, may_signal
from tests.kernel.wraps import ETHER, WRAPS, Wrap, vxlan
from tests.signalling.wires import wait_for_carrier

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
WAIT_S = 10.0


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
