"""Flows of eight classes, and of none of them, as packets in time: generated from parameters that vary widely.

The processes are made of segments that a player asks for and buffers (lab/player.py; Requet, MMSys 2019;
ReCLive, CNSM 2021), frames and speech of calls (RFC 3551; Sharma et al., IMC 2023), ticks of games (G.1072, 7), pages
of tens of objects with a median near 15 kB, and bulk. They are a model of applications and not applications: figures
on them prove the estimator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.columns import PACKET
from nf.naming.class_model import CLASSES

__all__ = ["KINDS", "Flow", "make", "rows_of"]

Rng = np.random.Generator
_ACK = 0x10


@dataclass(frozen=True, slots=True)
class Flow:
    """Packets by time: seconds, whether from the UE, bytes of payload. ``rtp``: its packets have RTP's header."""

    kind: str
    tcp: bool
    rtp: bool
    at_s: NDArray[np.float64]
    up: NDArray[np.bool_]
    length: NDArray[np.int64]


@dataclass(slots=True)
class _Line:
    """The network of one flow: round trip, rates, size of a full packet, and what was sent."""

    rng: Rng
    tcp: bool
    rtt_s: float
    down_bps: float
    up_bps: float
    full: int
    parts: list[tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]]

    def put(self, at_s: NDArray[np.float64], up: bool, length: NDArray[np.int64]) -> None:
        late = np.abs(self.rng.normal(0, 0.0015, len(at_s)))
        self.parts.append((at_s + late, np.full(len(at_s), up), length))

    def one(self, at_s: float, up: bool, length: int) -> None:
        self.put(np.array([at_s]), up, np.array([length]))

    def bulk(self, at_s: float, octets: float, up: bool = False) -> float:
        """Send *octets* at the line's rate, the other side acknowledging; return when it is over."""
        n = max(1, round(octets / self.full))
        rate = (self.up_bps if up else self.down_bps) / 8
        slow = np.minimum(1.0, 0.15 + np.arange(n) / 60)  # the window opens
        gaps = self.full / rate / slow * self.rng.gamma(2, 0.5, n)
        at = at_s + np.cumsum(gaps)
        length = np.full(n, self.full)
        length[-1] = max(40, int(octets % self.full))
        self.put(at, up, length)
        every = int(self.rng.integers(2, 4)) if self.tcp else int(self.rng.integers(2, 11))
        acks = at[::every] + 0.001
        self.put(acks, not up, np.zeros(len(acks), np.int64) if self.tcp else self.rng.integers(26, 45, len(acks)))
        return float(at[-1])

    def ask(self, at_s: float, octets: float) -> float:
        """Send a request of a few hundred bytes, and its answer; return when it is over."""
        self.one(at_s, True, int(self.rng.integers(120, 900)))
        return self.bulk(at_s + self.rtt_s * self.rng.uniform(1, 1.6), octets)


def _video(line: _Line, end_s: float) -> None:
    r = line.rng
    bitrate = min(r.lognormal(np.log(2.2e6), 0.8), 0.7 * line.down_bps)
    segment_s = r.choice([2.0, 4.0, 5.0, 6.0, 10.0])
    full_s = r.uniform(2, 8) * segment_s if r.random() < 0.5 else r.uniform(10, 60)
    now, shown_from, loaded_s = 0.05, 0.05, 0.0
    while now < end_s:
        ahead = loaded_s - max(0.0, now - shown_from)
        if ahead > full_s:
            now += max(segment_s * r.uniform(0.8, 1.2), ahead - full_s)
            continue
        now = line.ask(now, bitrate / 8 * segment_s * r.lognormal(0, 0.25))
        if r.random() < 0.3:  # audio comes with it
            now = line.ask(now, 16_000 * segment_s)
        loaded_s += segment_s
        now += r.uniform(0.005, 0.08)


def _live(line: _Line, end_s: float) -> None:
    r = line.rng
    bitrate = min(r.lognormal(np.log(2.5e6), 0.6), 0.6 * line.down_bps)
    segment_s, now = r.choice([0.5, 1.0, 2.0, 2.0, 4.0]), 0.05
    if r.random() < 0.3:  # pushed frame by frame
        at = np.arange(0, end_s, 1 / r.choice([25, 30, 50]))
        for t in at:
            line.bulk(float(t), bitrate / 8 * float(at[1]) * r.lognormal(0, 0.35))
        return
    for _ in range(int(r.integers(1, 4))):
        now = line.ask(now, bitrate / 8 * segment_s)
    while now < end_s:
        over = line.ask(now, bitrate / 8 * segment_s * r.lognormal(0, 0.15))
        now = max(now + segment_s * r.uniform(0.95, 1.05), over + 0.02)


def _talk(line: _Line, end_s: float, up: bool, every_s: float, size: int) -> None:
    r = line.rng
    at = np.arange(r.uniform(0, every_s), end_s, every_s)
    if r.random() < 0.4:  # silence is a packet now and then (RFC 3389)
        spoken = np.repeat(r.random(len(at) // 50 + 1) < 0.55, 50)[: len(at)]
        at = at[spoken | (np.arange(len(at)) % 8 == 0)]
    line.put(at, up, np.maximum(20, r.normal(size, size * 0.15, len(at))).astype(np.int64))


def _voice(line: _Line, end_s: float) -> None:
    r = line.rng
    every_s, size = r.choice([0.02, 0.02, 0.02, 0.04, 0.06]), int(r.uniform(40, 190))
    for up in (True, False):
        _talk(line, end_s, up, every_s, size)


def _camera(line: _Line, end_s: float, up: bool, bps: float) -> None:
    r = line.rng
    fps = r.choice([12, 15, 20, 24, 30])
    most = int(r.integers(950, 1220))
    for t in np.arange(r.uniform(0, 0.1), end_s, 1 / fps):
        octets = bps / 8 / fps * r.lognormal(0, 0.35) * (5 if r.random() < 0.01 else 1)
        n = max(1, int(np.ceil(octets / most)))
        line.put(t + np.arange(n) * 0.0004, up, np.full(n, max(120, int(octets / n))))


def _conference(line: _Line, end_s: float) -> None:
    r = line.rng
    size = int(r.uniform(70, 170))
    for up in (True, False):
        _talk(line, end_s, up, 0.02, size)
    shown = r.random()
    if shown < 0.85:
        _camera(line, end_s, False, min(r.lognormal(np.log(9e5), 0.7), 0.8 * line.down_bps))
    if shown > 0.15:
        _camera(line, end_s, True, min(r.lognormal(np.log(6e5), 0.6), 0.8 * line.up_bps))


def _game(line: _Line, end_s: float) -> None:
    r = line.rng
    if r.random() < 0.15:  # rendered far away
        _camera(line, end_s, False, min(r.uniform(4e6, 2e7), 0.8 * line.down_bps))
        at = np.arange(0, end_s, 1 / r.uniform(50, 250))
        line.put(at, True, r.integers(40, 140, len(at)))
        return
    for up in (True, False):
        pps = r.uniform(4, 20) if line.tcp else r.choice([10, 15, 20, 30, 60, 64, 128]) * r.uniform(0.9, 1.1)
        size, spread = (r.uniform(25, 110) if up else r.uniform(45, 420)), r.choice([0.02, 0.3, 0.5])
        gaps = np.maximum(0.0005, r.normal(1 / pps, r.uniform(0.02, 0.25) / pps, int(end_s * pps)))
        line.put(np.cumsum(gaps), up, np.maximum(12, r.lognormal(np.log(size), spread, len(gaps))).astype(np.int64))


def _chat(line: _Line, end_s: float) -> None:
    r = line.rng
    now = r.uniform(0, 1)
    pause_s = r.uniform(1.0, 9.0)
    while now < end_s:
        up = r.random() < 0.5
        for _ in range(int(r.integers(1, 4))):
            line.one(now, up, int(r.integers(40, 480)))
            line.one(now + line.rtt_s, not up, int(r.integers(25, 160)))
            now += r.uniform(0.05, 0.6)
        if r.random() < 0.04:
            line.bulk(now, r.uniform(15e3, 250e3), up)
        now += r.exponential(pause_s)


def _web(line: _Line, end_s: float) -> None:
    r = line.rng
    now = 0.1
    while now < end_s:
        over = now
        for _ in range(int(r.integers(2, 25))):
            over = max(over, line.ask(now, min(r.lognormal(np.log(15e3), 1.3), 2e6)))
            now = over if r.random() < 0.4 else now + r.uniform(0.005, 0.1)
        now = over + r.lognormal(np.log(6), 0.8)


def _download(line: _Line, end_s: float) -> None:
    r = line.rng
    line.one(0.05, True, int(r.integers(150, 700)))
    at = 0.05 + line.rtt_s
    file = r.lognormal(np.log(3e6), 1.2) if r.random() < 0.5 else np.inf  # one after the other, asked for each
    left = file
    while at < end_s:  # a rate that wanders with the cell
        if left <= 0:
            left, at = file, at + r.uniform(0.01, 0.8)
            line.one(at, True, int(r.integers(150, 700)))
        left -= line.down_bps / 8 * 0.7
        line.down_bps *= float(np.clip(r.lognormal(0, 0.15), 0.6, 1.6))
        line.down_bps = float(np.clip(line.down_bps, 1e6, 1.2e8))
        at = line.bulk(at, line.down_bps / 8 * 0.7)


def _other(line: _Line, end_s: float) -> None:
    """Play something else: things, shells, file sharing, or a tunnel in which everything is."""
    r = line.rng
    match int(r.integers(4)):
        case 0:
            at = np.arange(r.uniform(0, 2), end_s, r.uniform(2, 20))
            line.put(at, True, r.integers(20, 300, len(at)))
            line.put(at + line.rtt_s, False, r.integers(0, 120, len(at)))
        case 1:
            at = np.cumsum(r.gamma(1.2, 0.18, int(end_s * 4)))
            line.put(at, True, np.full(len(at), 36))
            line.put(at + line.rtt_s, False, r.choice([36, 36, 36, 120, 700], len(at)))
        case 2:
            for up in (True, False):
                now = 0.0
                while now < end_s:
                    now = line.bulk(now, r.uniform(16e3, 4e5), up) + r.exponential(0.3)
        case _:
            makers = (_video, _web, _voice, _chat, _game, _conference)
            for i in r.choice(len(makers), 2, replace=False).tolist():
                makers[i](line, end_s)


_MAKERS: dict[str, Callable[[_Line, float], None]] = {
    **dict(zip(CLASSES, (_video, _live, _conference, _voice, _game, _chat, _web, _download), strict=True)),
    "none": _other,
}
KINDS = tuple(_MAKERS)
_UDP_SHARE = {"video": 0.5, "live-video": 0.3, "conferencing": 0.97, "voice": 1.0, "gaming": 0.85, "messaging": 0.1,
              "web": 0.4, "download": 0.25, "none": 0.5}  # fmt: skip


_RTP_SHARE = {"voice": 0.6, "conferencing": 0.6, "gaming": 0.05}


def rows_of(flow: Flow, ue: int, server: int, sport: int, dport: int = 443) -> NDArray[np.void]:
    """Return a flow as rows of `bench.columns.PACKET`, whose payload is at 0 of some bytes."""
    rows = np.zeros(len(flow.at_s), PACKET)
    rows["at_us"], rows["up"], rows["length"] = flow.at_s * 1e6, flow.up, flow.length
    rows["tcp"], rows["flags"], rows["ue"], rows["server"] = flow.tcp, _ACK, ue, server
    rows["sport"], rows["dport"] = sport, dport
    for side in (True, False):  # a sequence of its own for each direction
        mine = flow.up == side
        rows["seq"][mine] = np.cumsum(flow.length[mine]) - flow.length[mine] + 1
    return rows


def make(kind: str, rng: Rng, *, longest_s: float = 60.0) -> Flow:
    """Return a flow of a kind of KINDS: 8 s to *longest_s* of it."""
    tcp = bool(rng.random() >= _UDP_SHARE[kind])
    down_bps = float(np.clip(rng.lognormal(np.log(2e7), 0.9), 1.5e6, 1e8))
    line = _Line(rng, tcp, float(rng.uniform(0.012, 0.16)), down_bps, down_bps * rng.uniform(0.1, 0.6),
                 int(rng.integers(1180, 1400)), [])  # fmt: skip
    end_s = float(rng.uniform(8, longest_s))
    _MAKERS[kind](line, end_s)
    at_s, up, length = (np.concatenate(c) for c in zip(*line.parts, strict=True))
    order = np.argsort(at_s, kind="stable")
    order = order[at_s[order] < end_s]
    rtp = not tcp and rng.random() < _RTP_SHARE.get(kind, 0.0)
    return Flow(kind, tcp, rtp, at_s[order], up[order], length[order])
