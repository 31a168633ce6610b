"""The kernel's columns of media flows are those of an offline twin, bit for bit: as packets are, and in GTP-U."""

from __future__ import annotations

import functools
import random
import struct
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from nf.flows.media import Chunks, Media, MediaInterval
from tests.kernel.media_twin import DOWN, UP, Twin
from tests.kernel.packets import SERVER, UE, downlink, ether, uplink
from tests.kernel.rig import ROLES, Rig

APP, S = 9, 1_000_000
VIDEO, AUDIO, RETRANSMISSION = 0xA1, 0xB2, 0xC3
Packets = list[tuple[int, int, bytes]]  # microseconds, way, payload


def rtp(seq: int, stamp: int, ssrc: int, size: int, *, pt: int = 96, marker: bool = False, padding: int = 0) -> bytes:
    """Return an RTP packet of *size* bytes, the last *padding* of which are padding."""
    head = struct.pack("!BBHII", 0xA0 if padding else 0x80, pt | marker << 7, seq % 65536, stamp % (1 << 32), ssrc)
    return head + bytes(max(size - 12 - padding, 0)) + (bytes(padding - 1) + bytes([padding]) if padding else b"")


def call(seed: int) -> Packets:
    """Return a call of sound and picture down and sound up, with losses, copies, late packets, probes and reports."""
    r = random.Random(seed)
    out: Packets = []
    seq, lost = r.randrange(65536), r.choice((0, 0.005, 0.05))
    for n in range(r.randrange(150, 300)):
        at = 33_333 * n + r.randrange(8_000) + (700_000 if n > 80 else 0)
        key, filled = n % 60 == 0 or r.random() < 0.03, r.random() < 0.5
        octets = r.randrange(12_000, 20_000) if key else r.randrange(400, 5_000)
        most = 1100 if filled else -(-octets // -(-octets // 1100))
        sizes = [min(most, octets - done) + 12 for done in range(0, octets, most)]
        for i, size in enumerate(sizes):
            packet = rtp(seq, 3000 * n, VIDEO, size, marker=i == len(sizes) - 1 and r.random() < 0.95)
            seq += 1
            chance = r.random()
            if chance < lost:
                if r.random() < 0.5:
                    out.append((at + 60_000, DOWN, rtp(seq, 3000 * n, RETRANSMISSION, size + 2, pt=97)))
            else:
                out.append((at + 300 * i + (40_000 if chance > 0.99 else 0), DOWN, packet))
        if r.random() < 0.05:
            out.append((at + 9_000, DOWN, rtp(seq, 3000 * n, VIDEO, 255, padding=243)))
            seq += 1
    for n in range(400):
        for way in (UP, DOWN):
            if r.random() > lost:
                at = 20_000 * n + r.randrange(5_000)
                out.append(
                    (at, way, rtp(n, 960 * n if way else 160 * n, AUDIO + way, 90 + n % 30, pt=111 if way else 0))
                )
    return out + reports(r)


def reports(r: random.Random) -> Packets:
    """Return reports of both ends, some encrypted, and one with a description behind it."""
    out: Packets = []
    ntp, sent = 0, {UP: 0, DOWN: 0}
    for n in range(8):
        for way in (UP, DOWN):
            at, ntp = S * n + 400_000 * way + r.randrange(90_000), ntp + r.randrange(1 << 40)
            about = AUDIO + 1 - way
            other = struct.pack("!6I", 0x77, 0, 5, 6, 0, 0)
            block = struct.pack("!6I", about, r.randrange(n + 1), 50 * n, r.randrange(500), sent[1 - way], 6_000)
            sent[way] = (ntp >> 16) & 0xFFFF_FFFF
            sender = struct.pack("!Q3I", ntp, 0, 0, 0)
            body = struct.pack("!BBHI", 0x82, 200, 18, AUDIO + way) + sender + other + block
            body += struct.pack("!BBHII", 0x81, 202, 2, AUDIO + way, 0) if r.random() < 0.5 else b""
            out.append((at, way, body + (bytes(14) if r.random() < 0.2 else b"")))
    return out


def game(seed: int) -> Packets:
    """Return a game whose server repeats the number of a request, with lost ticks, spikes and doubled numbers."""
    r = random.Random(seed)
    out: Packets = []
    at = 0
    for n in range(300):
        at += 33_000 + r.randrange(4_000) + (r.randrange(150_000, 900_000) if r.random() < 0.02 else 0)
        number = struct.pack("!Q", n // (2 if r.random() < 0.1 else 1) * 0x10001)
        out.append((at, UP, number + bytes(r.randrange(10, 60))))
        if r.random() < 0.95:
            out.append((at + r.randrange(20_000, 60_000), DOWN, number + bytes(r.randrange(20, 500))))
    return out


def pages(seed: int) -> Packets:
    """Return requests, large and small, again and behind one another, and answers that come late or never."""
    r = random.Random(seed)
    out: Packets = []
    at = 0
    for _ in range(60):
        at += r.randrange(15_000, 3_000_000)
        for _ in range(r.choice((1, 1, 1, 2, 3))):
            out.append((at, UP, bytes(r.choice((40, 75, 180, 299, 301, 600)))))
            at += r.randrange(1, 40_000)
        if r.random() < 0.2:
            continue
        for _ in range(r.choice((1, 2, 8, 30))):
            at += r.choice((300, 300, 2_000, 900_000))
            out.append((at, DOWN, bytes(r.choice((30, 60, 61, 1200, 1400)))))
    return out


@pytest.fixture(params=["n6", "n3"], ids=["as it is", "in GTP-U"])
def play(rig: Rig, request: pytest.FixtureRequest) -> Callable[[Packets, bool], tuple[MediaInterval, int]]:
    """Return a player of packets of one flow, which tells its one interval and the time of its end."""
    role = request.param

    @functools.cache
    def head_of(way: int, length: int, udp: bool) -> bytes:
        ports = {"sport": 443, "dport": 40_000} if way else {"sport": 40_000, "dport": 443}
        head = UDP(**ports) if udp else TCP(**ports, flags="PA")
        packet: Any = IP(src=SERVER, dst=UE) if way else IP(src=UE, dst=SERVER)
        packet = packet / head / Raw(bytes(length))
        return ether(packet if role == "n6" else downlink(packet) if way else uplink(packet))[:-length]

    def frame(way: int, payload: bytes, udp: bool) -> bytes:
        return head_of(way, len(payload), udp) + payload  # nobody reads its check sum

    def run(packets: Packets, udp: bool, rounds: bool = False) -> tuple[MediaInterval, int]:
        """Play *packets*, or in the middle of them *rounds* the low half of the clock comes round."""
        plane = rig.plane
        plane.set_policies({}, [] if udp else [APP], [APP])
        start_us = rig.now_ns // 1000 + S
        if rounds:
            start_us += -(start_us + S + packets[-1][0] // 2) % (1 << 32)
        plane.run(frame(UP, b"\0", udp), start_us * 1000, ROLES[role])
        keys, flows = plane.read_flows()
        plane.put_verdicts(keys, flows["number"], np.array([APP], np.uint16), np.ones(1, np.bool_))
        for at_us, way, payload in packets:
            plane.run(frame(way, payload, udp), (start_us + S + at_us) * 1000, ROLES[role])
        rig.now_ns = plane.now_ns()
        end_us = start_us + S + packets[-1][0] + 77
        flows = plane.read_flows()[1]["number"]
        return Media(len(plane.details)).update(flows, plane.details.moved(), plane.read_chunks(), end_us), start_us + S

    return run


def differences(found: MediaInterval, twin: Twin, end: int) -> dict[str, Any]:
    """Return what the kernel says otherwise than the twin, by column."""
    told = {name: (getattr(found, name)[0].tolist(), due) for name, due in twin.columns(end).items()}
    chunks = [getattr(found.closed, f.name).tolist() for f in fields(Chunks)[1:]]
    told["closed"] = [list(row) for row in zip(*chunks, strict=True)], twin.closed(end)
    return {name: both for name, both in told.items() if both[0] != both[1]}


class TestTwin:
    """Both say the same of the same packets."""

    @pytest.mark.parametrize(("seed", "rounds"), [(0, False), (1, False), (2, False), (1, True)])
    @pytest.mark.parametrize(("make", "udp"), [(call, True), (game, True), (pages, False)])
    def test_all_columns(self, play: Any, make: Callable[[int], Packets], udp: bool, seed: int, rounds: bool) -> None:
        packets = sorted(make(seed), key=lambda packet: packet[0])
        found, start = play(packets, udp, rounds)
        twin = Twin(udp=udp)
        for at, way, payload in packets:
            twin.packet(start + at, way, payload)

        assert not rounds or start >> 32 < (start + packets[-1][0]) >> 32
        assert not differences(found, twin, start + packets[-1][0] + 77)
