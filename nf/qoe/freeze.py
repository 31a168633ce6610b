"""The cost of a pause in a real-time stream."""

from __future__ import annotations

import numpy as np

from nf.qoe.inputs import Array, known_or
from nf.qoe.streaming import STALL_WEIGHT

__all__ = ["factor", "share"]

# A frame is frozen when it stays longer than three mean gaps, and than the mean gap and 150 ms
# (W3C webrtc-stats, freezeCount). Here on packets: their mean gap is shorter, the second bound decides.
FROZEN_GAPS = 3.0
FROZEN_MS = 150.0


def share(gap_mean_ms: Array, gap_max_ms: Array, interval_s: float) -> Array:
    """Return the share of the interval, 0..1, that the longest pause took beyond the mean gap; 0 if it was short.

    Any shape; NaN gaps count as no pause.
    """
    mean, longest = known_or(gap_mean_ms, 0), known_or(gap_max_ms, 0)
    beyond = longest - np.maximum(FROZEN_GAPS * mean, mean + FROZEN_MS)
    return np.clip(np.where(beyond > 0, longest - mean, 0) / (1000 * interval_s), 0, 1)


def factor(frozen: Array) -> Array:
    """Return the factor of a MOS: the stalling term of the streaming model for a share *frozen* of time."""
    return np.exp(-10 * STALL_WEIGHT * frozen)
