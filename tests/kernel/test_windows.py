"""Windows of TCP that hold up the sender: of a receiver that reads slowly, and none of one that reads at once."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from nf.flows.media import Media, MediaInterval
from tests.kernel.packets import SERVER, UE, downlink, ether, uplink
from tests.kernel.rig import ROLES, Rig

APP, S = 9, 1_000_000
SEGMENT = 1400
FIRST = 4_294_960_000  # sequence numbers come round soon
Packet = tuple[int, bool, int, int, int]  # us, down, seq or ack, octets, window


@dataclass
class Reader:
    """A receiver of *buffer* bytes who reads *bps*, and a sender of *most* bytes a round where the window permits."""

    buffer: int
    bps: float
    scale: int = 7
    most: int = 40_000

    def packets(self, seconds: float) -> Iterator[Packet]:
        """Yield packets, one round of 20 ms after the other."""
        sent = acked = 0
        read = 0.0
        edge = self.buffer
        for at in range(0, int(seconds * S), 20_000):
            begun = sent
            while min(edge, begun + self.most) - sent >= SEGMENT:
                yield at + sent % 997, True, FIRST + sent, SEGMENT, 0xFFFF
                sent += SEGMENT
                if sent // SEGMENT % 2 == 0:
                    acked = sent
                    edge = max(edge, int(read) + self.buffer)
                    yield at + 1000 + sent % 997, False, FIRST + acked, 0, edge - acked >> self.scale
            read = min(read + self.bps / 8 * 0.02, sent)
            acked, edge = sent, max(edge, int(read) + self.buffer)
            yield at + 10_000, False, FIRST + acked, 0, edge - acked >> self.scale


@dataclass
class Windows:
    """The rule in words: zero, a quarter of the largest, or three quarters of it and filled but for a segment."""

    top: int = 0
    most: int = 0
    scale: int = 0
    closed: int = 0

    def ack(self, ack: int, window: int) -> None:
        flight = self.top - ack
        self.most = max(self.most, window)
        self.scale += bool(window) and window << self.scale < flight
        filled = 0 <= (window << self.scale) - flight < 1460
        self.closed += window <= self.most / 4 or (window <= self.most * 3 / 4 and filled)


Play = Callable[[list[Packet]], tuple[MediaInterval, Windows]]


@pytest.fixture(params=["n6", "n3"], ids=["as it is", "in GTP-U"])
def play(rig: Rig, request: pytest.FixtureRequest) -> Play:
    """Return a player of packets of one flow, which tells its interval and what the twin of the rule says."""
    role, port = request.param, iter(range(41_000, 42_000))

    @functools.cache
    def template(down: bool, ue_port: int, octets: int) -> tuple[bytes, int]:
        ends = {"src": SERVER, "dst": UE} if down else {"src": UE, "dst": SERVER}
        ports = {"sport": 443, "dport": ue_port} if down else {"sport": ue_port, "dport": 443}
        packet = IP(**ends) / TCP(**ports, flags="A", seq=0x5A5A5A5A) / Raw(bytes(octets))
        whole = ether(packet if role == "n6" else downlink(packet) if down else uplink(packet))
        return whole, whole.index(b"ZZZZ")

    def frame(down: bool, ue_port: int, seq: int, ack: int, octets: int, window: int) -> bytes:
        whole, at = template(down, ue_port, octets)
        head = struct.pack("!II", seq % 2**32, ack % 2**32) + whole[at + 8 : at + 10] + struct.pack("!H", window)
        return whole[:at] + head + whole[at + len(head) :]  # nobody reads its check sum

    def run(packets: list[Packet]) -> tuple[MediaInterval, Windows]:
        plane, twin, ue_port = rig.plane, Windows(), next(port)
        plane.set_policies({}, [APP], [APP])
        start_us = rig.now_ns // 1000 + S
        plane.run(frame(False, ue_port, 5, FIRST, 1, 0xFFFF), start_us * 1000, ROLES[role])
        keys, flows = plane.read_flows()
        newest = flows["number"] == flows["number"].max()
        plane.put_verdicts(keys[newest], flows["number"][newest], np.array([APP], np.uint16), np.ones(1, np.bool_))
        for at_us, down, number, octets, window in packets:
            one = frame(down, ue_port, *((number, 6) if down else (6, number)), octets, window)
            plane.run(one, (start_us + S + at_us) * 1000, ROLES[role])
            if down:
                twin.top = max(twin.top, number + octets)
            else:
                twin.ack(number, window)
        rig.now_ns = plane.now_ns()
        end_us = start_us + S + packets[-1][0]
        numbers = np.sort(plane.read_flows()[1]["number"])
        return Media(len(plane.details)).update(numbers, plane.details.moved(), plane.read_chunks(), end_us), twin

    return run


class TestWindows:
    """The share of windows that hold up the sender tells a receiver who limits."""

    @pytest.mark.parametrize(
        ("reader", "holds_up"),
        [
            (Reader(65_536, 1e6), True),
            (Reader(36_000, 1e6, scale=0), True),
            (Reader(1 << 20, 100e6), False),
            (Reader(262_144, 100e6, scale=10), False),
        ],
        ids=["slow", "slow, no scale", "at once", "at once, large scale"],
    )
    def test_the_share(self, play: Play, reader: Reader, holds_up: bool) -> None:
        packets = sorted(reader.packets(1.2), key=lambda one: one[0])
        found, twin = play(packets)

        acks = sum(not down for _, down, *_ in packets)
        assert found.closed_windows[0].tolist() == [twin.closed, 0]
        assert (twin.closed >= acks / 2) if holds_up else (twin.closed == 0)

    def test_zero_is_closed_and_resets_are_none(self, play: Play) -> None:
        found, _ = play([(0, True, FIRST, SEGMENT, 0xFFFF), *((n, False, FIRST + SEGMENT, 0, 0) for n in range(1, 4))])
        assert found.closed_windows[0].tolist() == [3, 0]
