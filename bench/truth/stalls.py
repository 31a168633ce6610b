"""Stalls, start-up and bitrate of simulated players, estimated second by second and judged by their truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.truth.players import Played, apart, some
from bench.truth.stepping import run
from nf.qoe.video.columns import Estimates
from nf.qoe.video.profile import DEFAULT, Profile

__all__ = ["Judged", "judge"]

_SECONDS, _BEGIN_S, _END_S = 180, 3.0, 2.0


@dataclass(frozen=True, slots=True)
class Judged:
    """Agreement of estimates and truth, over all sessions."""

    f1: float
    stalls: int
    ratio: float  # share of sessions whose stall ratio is within a point
    startup_s: float  # median error
    bitrate: float  # share of moments within 10 % or 100 kbit/s of what was fetched in the last 20 s


def judge(n: int, seed: int, known: bool) -> Judged:
    """Return how *n* sessions were judged; with *known* the service's segment length is in the profile."""
    sessions = some(n, seed, _SECONDS)
    hits = told = true = 0
    ratios, startups, rates = [], [], []
    for segment_s in sorted({s for s, _ in sessions}):
        group = [played for s, played in sessions if s == segment_s]
        own = Profile(
            segment_s=segment_s if known else DEFAULT.segment_s,
            segment_known=known,
            startup_answers=1,
            startup_octets=1e12,
            show_s=0.0,  # a simulated player shows what it has at once,
            left_s=0.0,  # and plays all of it
        )
        rows: list[Estimates] = []
        run([p.chunks for p in group], _SECONDS, lambda _, e, rows=rows: rows.append(e), own)  # type: ignore[misc]
        stalled = np.nan_to_num(np.array([e.stalled_s for e in rows]))
        for i, played in enumerate(group):
            truth, found = apart(list(played.stalls)), apart(_spans(stalled[:, i]))
            hits += _matched(truth, found)
            told, true = told + len(found), true + len(truth)
            startup = rows[-1].startup_s[i]
            startups.append(abs(startup - played.startup_s))
            ratios.append(abs(stalled[:, i].sum() - sum(e - b for b, e in played.stalls)) / _SECONDS <= 0.01)
            rates += _rates(played, np.array([e.media_bps[i] for e in rows]))
    f1 = 2 * hits / max(told + true, 1)
    return Judged(f1, true, float(np.mean(ratios)), float(np.nanmedian(startups)), float(np.mean(rates)))


def _spans(stalled: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return one span a second with a stall; one that ends within its second has its part at the second's begin."""
    goes_on = np.r_[stalled[1:] > 0, False]
    return [
        (k + 1 - s, float(k + 1)) if goes_on[k] or k == 0 or stalled[k - 1] == 0 else (float(k), k + float(s))
        for k, s in enumerate(stalled)
        if s > 0
    ]


def _matched(truth: list[tuple[float, float]], found: list[tuple[float, float]]) -> int:
    left, hits = list(found), 0
    for begin, end in truth:
        near = [f for f in left if abs(f[0] - begin) <= _BEGIN_S and abs(f[1] - end) <= _END_S]
        if near:
            left.remove(near[0])
            hits += 1
    return hits


def _rates(played: Played, told_bps: NDArray[np.float64]) -> list[bool]:
    truth = [(played.rate_bps(s), told_bps[s - 1]) for s in range(20, _SECONDS, 5)]
    return [bool(abs(told - bps) <= max(0.1 * bps, 1e5)) for bps, told in truth if np.isfinite(bps)]
