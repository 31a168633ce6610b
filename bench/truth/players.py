"""A simulation of adaptive players over real throughput traces: requests and answers, and what the player knew.

It stands in until players of the lab tell their own truth; each figure made from it is named a simulation. The
player asks for one segment after another, takes the highest level under 0.8 of the rate of the last ones, rests when
its buffer is full, begins with one segment and goes on after a stall with one.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.truth.sessions import DATA

__all__ = ["LADDERS", "Played", "apart", "play", "some", "traces"]

LADDERS = {
    "lean": (120e3, 260e3, 480e3, 1.0e6, 2.2e6, 4.2e6),
    "h264": (150e3, 300e3, 600e3, 1.2e6, 2.6e6, 5.0e6),
    "three": (400e3, 1.1e6, 3.5e6),
}
_RTT_S, _SAFETY, _VARIES = 0.05, 0.8, 0.15


@dataclass(frozen=True, slots=True)
class Played:
    """One simulated session: *chunks* (n, 4) as those of `Session`, and the truth of its player."""

    chunks: NDArray[np.float64]
    content_s: NDArray[np.float64]  # of each chunk
    startup_s: float
    stalls: tuple[tuple[float, float], ...]
    seconds: float

    def rate_bps(self, at_s: float, last_s: float = 20.0) -> float:
        """Return the media rate of what was fetched in the *last_s* before *at_s*."""
        rows = (self.chunks[:, 2] <= at_s) & (self.chunks[:, 2] > at_s - last_s)
        return float(8 * self.chunks[rows, 3].sum() / max(self.content_s[rows].sum(), 1e-9)) if rows.any() else np.nan


@cache
def traces() -> tuple[NDArray[np.float64], ...]:
    """Return the throughput traces in bit/s, one value a second, those of 4G first."""

    def read() -> Iterator[tuple[str, NDArray[np.float64]]]:
        with tarfile.open(DATA / "net_traces_5g" / "lumos5g_4g_5g_1s_mbps.tar.gz") as tar:
            for member in sorted(tar.getmembers(), key=lambda m: m.name):
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None:
                    rows = np.array([float(line.split()[-1]) for line in io.TextIOWrapper(file) if line.strip()])
                    yield member.name, 1e6 * rows[np.isfinite(rows)]

    return tuple(trace for _, trace in read() if len(trace) >= 60)


def play(
    trace_bps: NDArray[np.float64],
    ladder: tuple[float, ...],
    segment_s: float,
    target_s: float,
    length_s: float,
    seed: int,
) -> Played:
    """Return one session of at most *length_s* of wall time; a buffer of *target_s* is full."""
    rng = np.random.default_rng(seed)
    heard = np.r_[0, np.cumsum(np.maximum(np.tile(trace_bps, 1 + int(2 * length_s / len(trace_bps))), 1e3))] / 8
    clock = np.arange(len(heard), dtype=float)
    now, content, begun, chunks, each = 1.0, 0.0, float("nan"), [], []
    stalls: list[tuple[float, float]] = []
    empty_at, rate = float("nan"), trace_bps[0] * 0.5
    while now < length_s:
        level = max([bps for bps in ladder if bps <= _SAFETY * rate], default=ladder[0])
        octets = level * segment_s / 8 * rng.uniform(1 - _VARIES, 1 + _VARIES) + 2000
        first = now + _RTT_S
        last = float(np.interp(np.interp(first, clock, heard) + octets, heard, clock))
        chunks.append((now, first, last, octets))
        each.append(segment_s)
        rate = 0.5 * rate + 0.5 * 8 * octets / max(last - now, 1e-3)
        if np.isnan(begun):
            begun, empty_at = last, last
        if last > empty_at:
            stalls.append((empty_at, last))
            empty_at = last
        content += segment_s
        empty_at += segment_s
        now = max(last + 0.005, empty_at - target_s)
    kept = tuple((b, min(e, length_s)) for b, e in stalls if b < length_s)
    return Played(np.array(chunks), np.array(each), begun - 1.0, kept, length_s)


def some(n: int, seed: int, seconds: int = 180) -> list[tuple[int, Played]]:
    """Return *n* sessions with the seconds of their segments: ladders, buffers, traces and outages by *seed*."""
    rng, found = np.random.default_rng(seed), []
    for i in range(n):
        segment_s = (2, 4, 6, 10)[i // 3 % 4]
        trace = traces()[rng.integers(len(traces()))] * rng.choice([0.01, 0.03, 0.1, 0.3])
        trace = np.tile(trace, 1 + seconds // len(trace))[:seconds]
        for _ in range(rng.integers(0, 3)):
            begin = rng.integers(20, seconds - 20)
            trace[begin : begin + rng.integers(10, 50)] *= 0.002
        target_s = max(int(rng.choice([12, 30, 60])), 2 * segment_s)
        ladder = LADDERS[list(LADDERS)[i % 3]]
        found.append((segment_s, play(trace, ladder, segment_s, target_s, seconds, i)))
    return found


def apart(spans: list[tuple[float, float]], least_s: float = 1.0, gap_s: float = 2.5) -> list[tuple[float, float]]:
    """Return stalls over *least_s*, those parted by less than *gap_s* as one: a viewer sees no more between them."""
    joined: list[list[float]] = []
    for begin, end in spans:
        if joined and begin - joined[-1][1] < gap_s:
            joined[-1][1] = end
        else:
            joined.append([begin, end])
    return [(begin, end) for begin, end in joined if end - begin > least_s]
