"""Drives the estimates of a session in steps of a second, as the function does: answers closed and under way."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from nf.qoe.video import session
from nf.qoe.video.columns import STATE, Answers, Estimates, Seen
from nf.qoe.video.profile import DEFAULT, Profile

__all__ = ["at", "run"]

_EPOCH = 1e6  # sessions begin at so many seconds


def _answers(parts: list[tuple[int, NDArray[np.float64]]]) -> Answers:
    rows = np.concatenate([np.full(len(c), i, np.intp) for i, c in parts] or [np.zeros(0, np.intp)])
    columns = np.vstack([c for _, c in parts] or [np.zeros((0, 4))])
    request, first, last = (columns[:, k] + _EPOCH for k in range(3))
    return Answers(rows, request, first, last, columns[:, 3], np.ones(len(rows)), np.full(len(rows), 500.0))


def at(chunks: NDArray[np.float64], before_s: float, now_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the answers closed in (before, now] and those under way at *now_s*, as they stand then.

    An answer is closed by the next request after its last byte.
    """
    closed_at = np.r_[np.maximum(chunks[1:, 0], chunks[:-1, 2]), np.inf]
    closed = chunks[(closed_at > before_s) & (closed_at <= now_s)]
    open_ = chunks[(chunks[:, 0] <= now_s) & (closed_at > now_s)].copy()
    took = np.maximum(open_[:, 2] - open_[:, 1], 1e-3)
    share = np.clip((now_s - open_[:, 1]) / took, 0, 1)
    open_[:, 3] *= share
    open_[:, 2] = np.where(share > 0, np.minimum(open_[:, 2], now_s), np.nan)
    open_[:, 1] = np.where(share > 0, open_[:, 1], np.nan)
    return closed, open_


def run(
    some: Sequence[NDArray[np.float64]],
    seconds: float,
    told: Callable[[float, Estimates], None],
    profile: Profile = DEFAULT,
) -> NDArray[np.void]:
    """Step through sessions of chunks (n, 4) side by side, a row each, and hand each second to *told*."""
    state, unknown = np.zeros(len(some), STATE), np.full(len(some), np.nan)
    for now in np.arange(1.0, seconds + 1):  # every row begins with its own first request after 0
        parts = [at(chunks, now - 1, now) for chunks in some]
        closed, under_way = (_answers([(i, p[k]) for i, p in enumerate(parts) if len(p[k])]) for k in (0, 1))
        state, estimates = session.advance(state, Seen(now + _EPOCH, closed, under_way, unknown), profile)
        told(float(now), estimates)
    return state
