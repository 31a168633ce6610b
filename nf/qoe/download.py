"""Downloads and uploads: the logarithm of the goodput (our own form; there is no standard)."""

from __future__ import annotations

import numpy as np

from nf.qoe.inputs import Array, Inputs

__all__ = ["score"]

WORST_BPS = 0.1e6  # the rate that gets 1 (own)
PLAN_BPS = 20e6  # the rate that gets 5 (own, until a plan can be configured)


def score(r: Inputs) -> Array:
    """Return the MOS, 1..5, of the faster direction; NaN where no bulk transfer runs."""
    goodput = np.fmax(r.goodput_bps[:, 0], r.goodput_bps[:, 1])
    return np.clip(1 + 4 * np.log(np.maximum(goodput, 1.0) / WORST_BPS) / np.log(PLAN_BPS / WORST_BPS), 1, 5)
