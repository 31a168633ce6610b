"""The tick of a game's server, and the ticks that did not come.

A server sends at regular times, so that what should have come in a while is that while over the tick. The tick is the
mean of the distances near their median, and is remembered: where half of the packets are lost the median is two ticks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import DOWNLINK, Array
from nf.qoe.realtime import Seen
from nf.qoe.states import copied

__all__ = ["TICKS", "follow", "loss", "tick_ms"]

TICKS = np.dtype(
    [
        ("sum_ms", "f4"),
        ("n", "f4"),
        ("other_s", "f4"),
        ("fast", "f4", (2,)),
        ("slow", "f4", (2,)),
        ("surplus", "f4"),
        ("echoes", "f4"),
        ("near", "f4"),
        ("apart", "?"),
        ("begun", "?"),
    ]
)
"""Distances near the median and their number, fading; for how long another tick was seen; ticks that were due and that
came, in a short and a long memory; in the short one packets beyond those that were due, packets that are echoes or came
back, and distances near the median; whether these are packets beside the ticks."""

LEAST_MS, MOST_MS = 6.0, 130.0  # ticks of 8 to 128 a second, with a margin
REGULAR = 0.4  # share of the distances near their median, or there is no tick (own)
# A tick is learned where most distances are one, or where the packets of a second are as many as it says: of two
# streams that interleave, neither holds (own).
STEADY, WHOLE = 0.65, 0.03
# Echoes are packets of their own between the ticks, and not ticks that are echoes as well, where they are at most this
# share of the ticks, and the distances near the median are as many as that makes: an echo of its own takes one or none,
# one that is a tick would leave two more. Fewer are those of a server that is not regular (own).
RARE, MOST_OVER, LEAST_OVER, SLACK = 0.3, 0.5, 1.5, 3.0
MORE = 3.0  # packets beyond the ticks that were due, in the short memory, are others between them (own)
SAME = 0.1  # relative distance up to which a tick is the same
CHANGED_S, MULTIPLE_S = 3.0, 15.0  # until another tick is believed; one of twice the length may be loss (own)
FAST_S, SLOW_S = 4.0, 20.0  # time constants of the memories (own)
CHANGE_TICKS = 1.5  # both memories may differ by a tick at each end of the interval, and by chance


def follow(before: NDArray[np.void], seen: Seen, counted: NDArray[np.bool_]) -> NDArray[np.void]:
    """Return the state, (n,) of TICKS; intervals that are not *counted* are those of a pause that is told otherwise."""
    after = copied(before)
    n, sum_ms = (seen.tick_n[:, DOWNLINK].astype(np.float64), seen.tick_sum_us[:, DOWNLINK] / 1000)
    now_ms = sum_ms / np.maximum(n, 1)
    came = seen.packets[:, DOWNLINK].astype(np.float64)
    regular = (n >= REGULAR * came) & (n >= 2) & (now_ms >= LEAST_MS) & (now_ms <= MOST_MS)
    mean_ms = before["sum_ms"] / np.maximum(before["n"], 1e-3)
    ratio = now_ms / np.maximum(mean_ms, 1e-3)
    same = regular & (np.abs(ratio - 1) <= SAME)
    multiple = (ratio > 1 + SAME) & (np.abs(ratio - np.round(ratio)) <= SAME)
    other_s = np.where(same, 0.0, before["other_s"] + np.where(regular, seen.interval_s, 0.0))
    steady = (n >= STEADY * came) | (np.abs(came * now_ms / (1000 * seen.interval_s) - 1) <= WHOLE)
    new = regular & steady & ~same & ((before["n"] == 0) | (other_s >= np.where(multiple, MULTIPLE_S, CHANGED_S)))
    fade = np.exp(-seen.interval_s / SLOW_S)
    for name, value in (("sum_ms", sum_ms), ("n", n)):
        grown = before[name] * fade + value
        after[name] = np.where(new, value, np.where(same, grown, before[name]))
    after["other_s"] = np.where(new, 0.0, other_s)
    echoes = seen.echo_n.sum(axis=1).astype(np.float64)
    # Half of the echoes leave a distance between 3/4 and 1 of a tick, which shortens the mean of those near it.
    longer = 1 + np.where(before["apart"], before["echoes"] / np.maximum(before["near"], 1.0), 0.0) / 16
    due = 1000 * seen.interval_s / np.maximum(tick_ms(after) * longer, LEAST_MS)
    # The first interval holds the beginning, of which no one knows the time.
    judged = counted & before["begun"] & ~np.isnan(due)
    for name, value in (("surplus", came - due), ("echoes", echoes), ("near", n)):
        fading = before[name] * np.exp(-seen.interval_s / FAST_S) + np.where(judged, np.nan_to_num(value), 0.0)
        after[name] = np.where(new, 0.0, fading)
    lately = before["fast"][:, 0] * np.exp(-seen.interval_s / FAST_S) + np.where(judged, np.nan_to_num(due), 0.0)
    apart, wild = _apart(after, lately)
    after["apart"] = apart
    # Distances that vary are no lost ticks. Packets between two ticks (an echo, a message) take one distance near the
    # median each, a lost tick takes two: with N due, P that came and n near, N - P = L - E and P - n = L + 2 E.
    lost = np.maximum((2 * due - came - n) / 3, 0.0)
    own = np.minimum(came - echoes, due)
    ticked = np.select([apart, wild, after["surplus"] > MORE], [own, came, due - lost], came)
    counts = np.stack([due, ticked], axis=1) * judged[:, None]
    for name, constant_s in (("fast", FAST_S), ("slow", SLOW_S)):
        fading = before[name] * np.exp(-seen.interval_s / constant_s) + np.nan_to_num(counts)
        after[name] = np.where(new[:, None], 0.0, np.where(counted[:, None], fading, before[name]))
    ratio_of = [1 - after[m][:, 1] / np.maximum(after[m][:, 0], 1e-3) for m in ("fast", "slow")]
    missing = after["fast"][:, 0] * np.abs(ratio_of[0] - ratio_of[1])
    by_chance = CHANGE_TICKS + CHANGE_TICKS * np.sqrt(after["fast"][:, 0] * np.clip(ratio_of[1], 0, 1))
    after["slow"] = np.where((missing > by_chance)[:, None], after["fast"], after["slow"])
    after["begun"] = before["begun"] | (came > 0)
    return after


def _apart(state: NDArray[np.void], due: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say of which games echoes are packets beside the ticks, and of which distances vary too much to tell.

    It is told by the short memory, in which *due* ticks were due.
    """
    echoes = np.maximum(state["echoes"].astype(np.float64), 1e-3)
    lost = np.clip((echoes - state["surplus"]) / np.maximum(due, 1.0), 0.0, 1.0)  # of the ticks, if they are
    left = due * (1 - lost) ** 2  # distances of which both ends came
    over, slack = (state["near"] - left) / echoes, SLACK / echoes
    rare = (state["echoes"] > 0) & (echoes <= RARE * due)
    apart: NDArray[np.bool_] = rare & (over <= MOST_OVER + slack) & (over >= -LEAST_OVER - slack)
    return apart, rare & (over < -LEAST_OVER - slack)


def tick_ms(state: NDArray[np.void]) -> Array:
    """Return the mean distance of the server's packets, (n,); NaN without a regular one."""
    known = state["n"] > 0
    return np.where(known, state["sum_ms"] / np.where(known, state["n"], 1.0), np.nan).astype(np.float64)


def loss(state: NDArray[np.void]) -> Array:
    """Return the ratio of ticks that did not come, (n,), 0..1; NaN where none was due."""
    due, came = state["slow"][:, 0].astype(np.float64), state["slow"][:, 1]
    return np.where(due >= 1, np.clip(1 - came / np.maximum(due, 1), 0, 1), np.nan)
