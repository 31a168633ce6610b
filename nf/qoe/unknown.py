"""Traffic without a name: it has no score, as its user's expectation is not known."""

from __future__ import annotations

import numpy as np

from nf.qoe.inputs import Array, Inputs

__all__ = ["score"]


def score(r: Inputs) -> Array:
    """Return NaN for each row."""
    return np.full(len(r), np.nan)
