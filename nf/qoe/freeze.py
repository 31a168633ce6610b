"""Pauses of a real-time stream: a direction that stands still, from when to when, and what that costs.

A stream that comes no more is a freeze while it lasts, although nothing of it passes. Both directions that end together
are the end of a call, which nobody suffers from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array, known_or
from nf.qoe.realtime import Seen, ages_s
from nf.qoe.states import copied
from nf.qoe.streaming import STALL_WEIGHT

__all__ = ["SILENCE", "Limits", "Silence", "ended", "factor", "follow", "kept_s", "standing"]

SILENCE = np.dtype([("last_s", "f8", (2,)), ("rate", "f4", (2,)), ("told_s", "f4", (2,))])
"""Last payload of each direction (0: none yet), its packets a second while it flows, and what of the pause that is open
was told already."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From when to when a pause counts; own values, which docs/qoe.md explains."""

    least_s: tuple[float, float]  # of UPLINK, DOWNLINK: a shorter pause is none
    stream_pps: float = 5.0  # packets a second of a direction that is a stream
    together_s: float = 1.0  # both directions that end within it have ended
    alone_s: float = 5.0  # a pause counts so long after the last packet of any direction
    longest_s: float = 30.0  # longer pauses are a microphone or a camera that was turned off
    rate_s: float = 2.0  # time constant of the rate


@dataclass(frozen=True, slots=True)
class Silence:
    """Pauses of n rows, (n, 2) by direction."""

    now_s: Array  # time of this interval in the pause that is open at its end
    told_s: Array  # of a pause that ended in this interval: what was told of it before; 0 where none ended
    ended_s: Array  # and its length, at most
    begun: NDArray[np.bool_]  # the pause is told for the first time
    open: NDArray[np.bool_]


def follow(before: NDArray[np.void], seen: Seen, limits: Limits) -> tuple[NDArray[np.void], Silence]:
    """Return the state, (n,) of SILENCE, and the pauses of an interval."""
    after = copied(before)
    age = ages_s(seen)
    passed = ~np.isnan(age)
    after["last_s"] = np.where(passed, seen.now_s - known_or(age, 0), before["last_s"])
    fade = np.exp(-seen.interval_s / limits.rate_s)
    now = seen.packets / seen.interval_s
    mean = before["rate"] * fade + (1 - fade) * now
    after["rate"] = np.where(before["last_s"] > 0, np.where(passed, mean, before["rate"]), now)
    is_open = standing(after, seen.now_s, limits)
    pause_s = seen.now_s - after["last_s"]
    now_s = np.where(is_open, np.minimum(pause_s, seen.interval_s), 0.0)
    goes_on = is_open & ~passed
    told_s = np.where(goes_on, 0.0, before["told_s"].astype(np.float64))
    ended_s = np.where(told_s > 0, seen.now_s - before["last_s"], 0.0)
    after["told_s"] = np.where(goes_on, before["told_s"], 0.0) + now_s
    return after, Silence(now_s, told_s, ended_s, is_open & ~(goes_on & (before["told_s"] > 0)), is_open)


def kept_s(since_s: Array, silence: Silence, interval_s: float) -> Array:
    """Return since when a delay is known, (n, 2), as if the time of a pause had not passed: in one nothing tells it."""
    still = silence.open[:, 0] | silence.open[:, 1]
    kept: Array = np.where(still[:, None] & (since_s > 0), since_s + interval_s, since_s)
    return kept


def standing(state: NDArray[np.void], now_s: float, limits: Limits) -> NDArray[np.bool_]:
    """Return the mask, (n, 2), of directions that stand still now."""
    last = state["last_s"]
    pause = now_s - last
    stream = (last > 0) & (state["rate"] >= limits.stream_pps)
    still = pause > np.array(limits.least_s)
    goes_on = ~ended(state, now_s, limits) & (np.minimum(pause[:, 0], pause[:, 1]) <= limits.alone_s)
    mask: NDArray[np.bool_] = stream & still & (pause <= limits.longest_s) & goes_on[:, None]
    return mask


def ended(state: NDArray[np.void], now_s: float, limits: Limits) -> NDArray[np.bool_]:
    """Return the mask, (n,), of streams whose directions ended together: somebody hung up."""
    last, stream = state["last_s"], state["rate"] >= limits.stream_pps
    both = stream[:, 0] & stream[:, 1] & (np.abs(last[:, 0] - last[:, 1]) <= limits.together_s)
    mask: NDArray[np.bool_] = both & (now_s - np.maximum(last[:, 0], last[:, 1]) > min(limits.least_s))
    return mask


def factor(frozen: Array) -> Array:
    """Return the factor of a MOS: the stalling term of the streaming model for a share *frozen* of time."""
    return np.exp(-10 * STALL_WEIGHT * frozen)
