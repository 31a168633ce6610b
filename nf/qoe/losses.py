"""The loss of a stream as it is now: a long memory while it is steady, a short one when it changes.

A score of loss over one second is mostly noise (2 % of 50 packets is one, or none, or three), and one over a minute
tells yesterday's weather. Two fading sums are kept of packets expected, lost and runs of lost ones. The long one is the
answer, and takes the short one's place when runs come too often for it, or have not come for too long.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array
from nf.qoe.states import copied

__all__ = ["TOO_LONG", "TOO_OFTEN", "WINDOW", "follow", "forget", "forgive", "known", "loss", "run"]

WINDOW = np.dtype([("fast", "f4", (3,)), ("slow", "f4", (3,)), ("clean", "f4")])
"""Expected, lost, runs of both sums; packets expected since the last loss. All zero: nothing known yet."""

FAST_S, SLOW_S = 3.0, 30.0  # time constants (own): the reaction of a user interface, and half a minute of a call
TOO_OFTEN = 2.0  # standard deviations of the number of runs in the short sum, beyond which loss has grown (own)
# Runs that should have come since the last one: with so many, e^-4 = 2 % is the chance that loss goes on unseen (own).
TOO_LONG = 4.0

_EXPECTED, _LOST, _RUNS = range(3)


def follow(before: NDArray[np.void], expected: Array, lost: Array, runs: Array, interval_s: float) -> NDArray[np.void]:
    """Return the windows after an interval; all arguments have one shape. *lost* is below 0 for packets that were late.

    A number of runs that is not known may be the number of lost packets: loss at random.
    """
    counts = np.stack([expected, lost, runs], axis=-1)
    after = copied(before)
    for name, constant_s in (("fast", FAST_S), ("slow", SLOW_S)):
        after[name] = before[name] * np.exp(-interval_s / constant_s) + counts
    after["clean"] = np.where(lost > 0, 0.0, before["clean"] + expected)
    rate = before["slow"][..., _RUNS] / np.maximum(before["slow"][..., _EXPECTED], 1.0)
    should = rate * after["fast"][..., _EXPECTED]
    grown = after["fast"][..., _RUNS] - should > TOO_OFTEN * np.sqrt(should + 1)
    ended = rate * after["clean"] > TOO_LONG
    # Packets of this interval are the new ones: the short sum still has packets of the time before it.
    worse = lost * after["fast"][..., _EXPECTED] > after["fast"][..., _LOST] * expected
    new = np.where(worse[..., None], counts, after["fast"])
    after["slow"] = np.where(grown[..., None], new, after["slow"])
    nothing_lost = np.stack([after["clean"], np.zeros_like(rate), np.zeros_like(rate)], axis=-1)
    after["slow"] = np.where(ended[..., None], nothing_lost, after["slow"])
    after["fast"] = np.where(ended[..., None], nothing_lost, after["fast"])
    return after


def forgive(window: NDArray[np.void], rows: NDArray[np.bool_]) -> None:
    """Take the loss of some windows as over, in place."""
    for name in ("fast", "slow"):
        for column in (_LOST, _RUNS):
            window[name][..., column] = np.where(rows, 0.0, window[name][..., column])


def forget(window: NDArray[np.void], rows: NDArray[np.bool_]) -> None:
    """Clear some windows, of which nothing is known then, in place."""
    for name in ("fast", "slow"):
        window[name] = np.where(rows[..., None], 0.0, window[name])
    window["clean"] = np.where(rows, 0.0, window["clean"])


def known(window: NDArray[np.void]) -> NDArray[np.bool_]:
    """Return the mask of windows that have counted packets."""
    mask: NDArray[np.bool_] = window["slow"][..., _EXPECTED] >= 1
    return mask


def loss(window: NDArray[np.void]) -> Array:
    """Return the ratio of lost packets, 0..1; NaN where none were expected."""
    sums = window["slow"].astype(np.float64)
    ratio = np.clip(sums[..., _LOST] / np.maximum(sums[..., _EXPECTED], 1.0), 0.0, 1.0)
    return np.where(known(window), ratio, np.nan)


def run(window: NDArray[np.void]) -> Array:
    """Return the mean length of a run of lost packets, at least 1."""
    sums = window["slow"].astype(np.float64)
    length: Array = np.maximum(sums[..., _LOST], 0.0) / np.maximum(sums[..., _RUNS], 1e-3)
    return np.maximum(length, 1.0)
