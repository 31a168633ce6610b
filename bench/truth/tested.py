"""The sequences of subjective tests as a player on a network would have shown them: requests and answers.

A player asks for segments of 5 s, one after the other, rests when its buffer is full, and stands still where the
sequence did: the network answers nothing from the time when that segment is asked for. What it knew is the test's
truth; the product's estimates see the answers alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.truth.fit_mos import Sequences
from bench.truth.stepping import run
from nf.qoe.inputs import Array
from nf.qoe.video.columns import Estimates
from nf.qoe.video.profile import DEFAULT
from nf.qoe.video.viewers import VIEWERS

__all__ = ["Estimated", "chunks", "estimated"]

_SEGMENT_S, _TARGET_S = 5, 30.0
_ROUND_TRIP_S, _FASTER, _SOON_S = 0.05, 1.6, 0.5  # of the network; a player asks for no more than it carries well
_SOUND_BPS = 64e3
_LADDER_BPS = (
    0.0,
    450e3,
    450e3,
    1.5e6,
    1.5e6,
)  # between the rates of 240, 480 and 1080, the only levels of these tests
_HEIGHTS = (240, 480, 1080)


@dataclass(frozen=True, slots=True)
class Estimated:
    """Estimates of each sequence, and what was true."""

    mos: Array
    stalled_s: Array
    stood_s: Array
    level_right: Array  # share of the seconds


def chunks(some: Sequences, i: int) -> tuple[NDArray[np.float64], float]:
    """Return the requests and answers (n, 4) of one sequence, and when it ends, from the first request at 1 s."""
    bps = some.bps[i][~np.isnan(some.bps[i])]
    waits = dict(some.stalls[i])
    due = 1.0 + waits.pop(0, _SOON_S)  # when content at 0 is shown
    now, shown, rows = 1.0, 0.0, []
    for begin in range(0, len(bps), _SEGMENT_S):
        part = bps[begin : begin + _SEGMENT_S]
        octets = float(part.sum() + _SOUND_BPS * len(part)) / 8
        late = [at for at in waits if begin <= at < begin + _SEGMENT_S]
        took = 8 * octets / (_FASTER * (part.mean() + _SOUND_BPS))
        last = now + took if begin else due
        if late:
            due += waits.pop(late[0])
            last = due + begin
        last = min(last, due + begin) if begin else last
        first = last - min(took, last - now - _ROUND_TRIP_S)
        rows.append((now, first, last, octets))
        shown = begin + len(part)
        now = max(last + 0.005, due + shown - _TARGET_S)
    return np.array(rows), due + len(bps)


def estimated(some: Sequences, *, ladder: bool = False) -> Estimated:
    """Return what the product says of *some* at their ends, with *ladder* told the rates of the tests' levels."""
    parts = [chunks(some, i) for i in range(len(some.mos))]
    ends = np.array([end for _, end in parts])
    profile = replace(DEFAULT, ladder_bps=_LADDER_BPS) if ladder else DEFAULT
    at = np.ceil(ends).astype(int) - 1
    seen: list[Estimates] = []
    run([rows for rows, _ in parts], int(at.max()) + 1, lambda _, e: seen.append(e), profile)
    rows = np.arange(len(at))
    heights = np.array([e.video_height for e in seen])
    stalled = np.nan_to_num(np.array([e.stalled_s for e in seen]))
    mos = np.array([e.mos_session for e in seen])[at, rows]
    mos = mos + VIEWERS.phone * some.phone * (5 - mos) * (mos - 1) / 4
    stood = [sum(length for at, length in s if at > 0) for s in some.stalls]
    right = [_right(heights[: at[i] + 1, i], some, i) for i in range(len(at))]
    return Estimated(mos, np.array([stalled[: at[i], i].sum() for i in rows]), np.array(stood, float), np.array(right))


def _right(told: Array, some: Sequences, i: int) -> float:
    """Return the share of time at the levels that were played, as far as it agrees."""
    true = some.height[i][~np.isnan(some.height[i])]
    told = told[~np.isnan(told)]
    shares = [(np.isclose(true, h).mean(), np.isclose(told, h).mean() if len(told) else 0) for h in _HEIGHTS]
    return float(sum(min(a, b) for a, b in shares))
