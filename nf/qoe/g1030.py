"""Waiting time to a MOS as in ITU-T G.1030, annex A: perceived quality falls with the logarithm of time."""

from __future__ import annotations

import numpy as np

from nf.qoe.inputs import Array

__all__ = ["FAST_S", "MEDIUM_S", "SLOW_S", "waiting"]

# The time at which nobody is content any more, by what the user has come to expect (G.1030, annex A).
FAST_S, MEDIUM_S, SLOW_S = 6.0, 15.0, 60.0


def waiting(time_s: Array, *, longest_s: float = MEDIUM_S) -> Array:
    """Return the MOS of a session that takes *time_s*: 5 up to the shortest noticed time, 1 from *longest_s* on."""
    shortest_s = 0.003 * longest_s + 0.12
    slope = 4 / np.log(shortest_s / longest_s)
    time_s = np.clip(time_s, shortest_s, longest_s)
    mos: Array = np.clip(slope * (np.log(time_s) - np.log(shortest_s)) + 5, 1.0, 5.0)
    return mos
