"""Downloads and uploads: the logarithm of the goodput (our own form; there is no standard)."""

from __future__ import annotations

import numpy as np

from nf.qoe import transfer
from nf.qoe.inputs import Array, Inputs

__all__ = ["score"]

LEAST_BYTES = 1e6  # in the last seconds, or a transfer that never rests: a short one measures slow start only (own)
WORST_BPS = 0.1e6  # the rate that gets 1 (own)
PLAN_BPS = 20e6  # the rate that gets 5 (own, until a plan can be configured)


def score(r: Inputs) -> Array:
    """Return the MOS, 1..5, of the faster direction; NaN where no bulk transfer runs."""
    told = (r.bulk_octets >= LEAST_BYTES) | (r.busy >= transfer.BUSY)
    goodput = np.fmax.reduce(np.where(told, r.goodput_bps, np.nan), axis=1)
    mos: Array = np.clip(1 + 4 * np.log(np.maximum(goodput, 1.0) / WORST_BPS) / np.log(PLAN_BPS / WORST_BPS), 1, 5)
    return mos
