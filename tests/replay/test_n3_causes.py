"""Chats at several gNBs, whose N3 or radio becomes slow: packets in tunnels and echoes, through the kernel program."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bench.truth.causes import _chat
from bench.truth.paths import _ETHERNET, START_S, Net, Ue
from lab.impair import Impairment
from nf.replay.records import record_rows

UPF = "10.9.0.1"
ECHOING, MUTE, OTHER = "10.9.1.1", "10.9.2.1", "10.9.3.1"  # gNBs; only the first one answers echoes
AT = {ECHOING: 2, MUTE: 4, OTHER: 8}  # subscribers
USUAL, SLOW = Impairment(delay_ms=10), Impairment(delay_ms=160)
ECHO_S = 3.0
ON_N3, ON_RADIO, ON_MUTE, END_S = (30.0, 42.0), (50.0, 62.0), (70.0, 82.0), 86.0
SETTLED_S = 6.0  # two windows of a round trip's least


def outer(src: str, dst: str, kind: int, teid: int, body: bytes, sequence: int | None = None) -> bytes:
    """Return an IPv4 packet of GTP-U (TS 29.281, 5.1)."""
    numbered = b"" if sequence is None else struct.pack("!HBB", sequence, 0, 0)
    gtp = struct.pack("!BBHI", 0x30 | 2 * bool(numbered), kind, len(numbered + body), teid) + numbered + body
    ends = b"".join(bytes(map(int, end.split("."))) for end in (src, dst))
    head = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(gtp), 0, 0x4000, 64, 17, 0) + ends
    return head + struct.pack("!HHHH", 2152, 2152, 8 + len(gtp), 0) + gtp


@dataclass
class Tunnelled(Ue):
    """A subscriber whose packets pass the probe in his tunnels."""

    gnb: str = ""
    teid: int = 0

    def pass_on(self, down: bool, packet: bytes, wire: int, deliver: Callable[[], None]) -> None:
        ends = (UPF, self.gnb) if down else (self.gnb, UPF)
        inner = packet + bytes(wire - len(packet))
        super().pass_on(down, outer(*ends, 255, self.teid + down, inner), wire + 36, deliver)


def begun(net: Net) -> list[Tunnelled]:
    ues = []
    for gnb, n in AT.items():
        for _ in range(n):
            number = len(ues)
            plain = Ue.make(net, number, USUAL, Impairment(delay_ms=5))
            ue = Tunnelled(net, plain.address, plain.access, plain.core, gnb=gnb, teid=256 * (number + 1))
            net.at(0.1 + 0.05 * number, lambda ue=ue: _chat(ue))
            ues.append(ue)
    return ues


def asked(net: Net, until_s: float, n3_ms: Callable[[], float]) -> None:
    """Send echoes of the UPF to one gNB."""

    def passes(src: str, dst: str, kind: int, number: int, body: bytes = b"") -> None:
        frame = _ETHERNET + outer(src, dst, kind, 0, body, number)
        net.frames.append((net.now_s, frame, len(frame)))

    def ask(number: int) -> None:
        passes(UPF, ECHOING, 1, number)
        net.after(n3_ms() / 1000, lambda: passes(ECHOING, UPF, 2, number, bytes([14, 0])))
        if net.now_s + ECHO_S < until_s:
            net.after(ECHO_S, lambda: ask(number + 1))

    ask(1)


@pytest.fixture(scope="module")
def bad(replay: Any, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The rows of chats with a bad score."""
    net = Net()
    ues = begun(net)
    echoing, mute = ([ue for ue in ues if ue.gnb == gnb] for gnb in (ECHOING, MUTE))

    def impaired(some: list[Tunnelled], span_s: tuple[float, float]) -> None:
        for at_s, how in zip(span_s, (SLOW, USUAL), strict=True):
            net.at(at_s, lambda how=how: [ue.impair("access", how) for ue in some])

    impaired(echoing, ON_N3)
    impaired(echoing[:1], ON_RADIO)
    impaired(mute[:3], ON_MUTE)
    asked(net, END_S, lambda: 2.0 + 300 * (ON_N3[0] <= net.now_s < ON_N3[1]))
    net.run(END_S)
    path = tmp_path_factory.mktemp("n3") / "chats.pcap"
    net.write(path)
    rows = [row for row in record_rows(replay(path).batches) if row["class"] == "messaging"]
    assert {row["gnb"] for row in rows} == set(AT)
    return [{**row, "s": row["t_ms"] / 1000 - START_S} for row in rows if row["mos"] < 4]


def during(rows: list[dict[str, Any]], gnb: str, span_s: tuple[float, float]) -> list[dict[str, Any]]:
    return [row for row in rows if row["gnb"] == gnb and span_s[0] + SETTLED_S < row["s"] <= span_s[1]]


class TestN3:
    """The segment before the gNB is named where something tells it from a radio."""

    def test_echoes_that_take_longer_name_it(self, bad):
        told = during(bad, ECHOING, ON_N3)

        assert len({row["subscriber"] for row in told}) == AT[ECHOING]
        assert {(row["suspect"], row["suspect_by"]) for row in told} == {("n3", "echo")}
        assert all(250 < row["suspect_value"] <= 302 and row["suspect_confidence"] > 0.8 for row in told)

    def test_a_radio_behind_echoes_as_usual_is_the_access(self, bad):
        told = during(bad, ECHOING, ON_RADIO)

        assert len({row["subscriber"] for row in told}) == 1
        assert {(row["suspect"], row["suspect_by"]) for row in told} == {("access", "delay")}

    def test_without_echoes_three_of_four_at_one_gnb_name_it(self, bad):
        told = during(bad, MUTE, ON_MUTE)

        assert len({row["subscriber"] for row in told}) == 3
        assert {(row["suspect"], row["suspect_by"]) for row in told} == {("n3", "neighbours")}
        assert {round(row["suspect_confidence"], 2) for row in told} == {0.75}

    def test_nobody_else_is_bad(self, bad):
        spans = ((ECHOING, ON_N3), (ECHOING, ON_RADIO), (MUTE, ON_MUTE))
        others = [
            row
            for row in bad
            if row["s"] > 10 and not any(row["gnb"] == gnb and a < row["s"] <= b + 6 for gnb, (a, b) in spans)
        ]

        assert others == []
