"""Single rules of media flows against others' figures: jitter by tshark, which flows have a detail, and since when."""

from __future__ import annotations

import random
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw
from scapy.utils import wrpcap

from nf.abi import DETAIL_LATE
from tests.kernel.packets import SERVER, UE, ether, udp
from tests.kernel.rig import Rig

APP, MS = 9, 1_000_000


def spoken(seed: int, lost: float, spread_us: int) -> list[tuple[int, bytes]]:
    """Return G.711 of six seconds: microseconds and payloads, some of which are lost and all a little late."""
    r = random.Random(seed)
    packets = [
        (20_000 * n + r.randrange(spread_us), struct.pack("!BBHII", 0x80, 0, n, 160 * n, 0xCAFE) + bytes(160))
        for n in range(300)
    ]
    return [packet for n, packet in enumerate(packets) if n < 2 or r.random() >= lost]


def of_tshark(packets: list[tuple[int, bytes]], path: Path) -> tuple[int, float, float]:
    """Return packets lost, and the mean and the largest jitter in milliseconds."""
    frames = []
    for at_us, payload in packets:
        frame: Any = IP(src=SERVER, dst=UE) / UDP(sport=5004, dport=40_000) / Raw(payload)
        frame.time = at_us / 1e6
        frames.append(frame)
    wrpcap(str(path), frames)
    told = subprocess.run(
        ["tshark", "-r", str(path), "-q", "-o", "rtp.heuristic_rtp:TRUE", "-z", "rtp,streams"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    (line,) = [line.split("0x0000CAFE")[1].split() for line in told.splitlines() if "0x0000CAFE" in line]
    figures = line[:-1] if line[-1] == "X" else line  # the mark of a stream with losses
    return int(figures[2]), float(figures[-2]), float(figures[-1])


class TestJitter:
    """RFC 3550, A.8, as tshark computes it of the same packets."""

    @pytest.mark.parametrize(("lost", "spread_us"), [(0.0, 1), (0.0, 15_000), (0.05, 15_000), (0.02, 60_000)])
    def test_mean_and_maximum(self, rig: Rig, tmp_path: Path, lost: float, spread_us: int) -> None:
        packets = spoken(7, lost, spread_us)
        packets.sort(key=lambda packet: packet[0])
        jitters = []
        rig.plane.set_policies({}, detailed=[0])
        start_ns = rig.now_ns + MS
        rig.run(ether(udp(1)), "n6")
        for at_us, payload in packets:
            packet = IP(src=SERVER, dst=UE) / UDP(sport=443, dport=40_000) / Raw(payload)
            rig.run(ether(packet), "n6", start_ns + at_us * 1000 - rig.now_ns)
            (detail,) = rig.plane.details.present().states
            jitters.append((detail["more"]["rtp"]["way"]["jitter_q4"][1] >> 4) / 1000)
        flow = rig.flow()
        lost_now = int(flow["rtp_expected"][1]) - int(flow["rtp_received"][1])
        due_lost, mean, most = of_tshark(packets, tmp_path / "call.pcap")

        assert lost_now == due_lost
        assert abs(np.mean(jitters[1:]) - mean) < 0.3
        assert abs(max(jitters) - most) < 1


class TestWithoutAName:
    """A flow without a name has a detail once it moved as much as media do: a hundred packets with a payload."""

    def test_it_begins_late(self, rig: Rig) -> None:
        rig.plane.set_policies({}, grown=[0])
        for _ in range(100):
            rig.run(ether(udp(200)), "n6")
        assert len(rig.plane.details.present().numbers) == 0
        rig.run(ether(udp(200)), "n6")

        (detail,) = rig.plane.details.present().states
        assert detail["up_sizes"].tolist() == [0, 1, 0, 0]
        assert detail["flags"] & DETAIL_LATE

    def test_questions_for_names_are_no_media(self, rig: Rig) -> None:
        rig.plane.set_policies({}, grown=[0])
        for _ in range(120):
            rig.run(ether(udp(40, dport=53)), "n6")

        assert len(rig.plane.details.present().numbers) == 0


class TestEarly:
    """A detail that began with its flow, or while its first hello went by, is not late."""

    @pytest.mark.parametrize(("before", "late"), [(0, False), (9, False), (10, True)])
    def test_payload_packets_before_it(self, rig: Rig, before: int, late: bool) -> None:
        rig.plane.set_policies({})
        for _ in range(before):
            rig.run(ether(udp(200)), "n6")
        rig.plane.set_policies({}, detailed=[0])
        rig.run(ether(udp(200)), "n6")

        (detail,) = rig.plane.details.present().states
        assert bool(detail["flags"] & DETAIL_LATE) == late


class TestEchoes:
    """Of a game's packets few come back, and these time the way: they are found among sixty others a second."""

    def test_four_requests_a_second_among_inputs(self, rig: Rig) -> None:
        rig.plane.set_policies({}, detailed=[0])
        sent = [(at, False, struct.pack("!2sIH", b"IN", n, 0) + bytes(40)) for n, at in enumerate(range(0, 10_000, 16))]
        for n, at in enumerate(range(3, 10_000, 250)):
            sent += [(at, False, struct.pack("!II", n, 7) + bytes(8)), (at + 40, True, struct.pack("!II", n, 7))]
        start_ns = rig.now_ns + MS
        for at_ms, down, payload in sorted(sent):
            ends = {"src": SERVER, "dst": UE} if down else {"src": UE, "dst": SERVER}
            ports = {"sport": 5100, "dport": 40_000} if down else {"sport": 40_000, "dport": 5100}
            rig.run(ether(IP(**ends) / UDP(**ports) / Raw(payload)), "n6", start_ns + at_ms * MS - rig.now_ns)

        (detail,) = rig.plane.details.present().states
        echo = detail["more"]["echo"][0]
        assert echo["n"] >= 30  # of forty
        assert echo["sum_us"] == 40_000 * echo["n"]
