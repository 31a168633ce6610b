"""Buckets of a distribution: sixteen a power of two, so that a value is known to 3 %, with integers alone.

The kernel counts delays so (`bpf/histogram.h`), and the history counts the values of records so, in a unit small enough
for whole numbers (`UNITS`). Values from 0 to 15 have a bucket each; from 16 on, the bucket is the position of the
highest bit and the four bits behind it: that of HdrHistogram with sixteen sub-buckets (G. Tene). Scores have buckets
of a tenth instead.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

__all__ = ["UNITS", "middle", "number"]

_SUB_BITS = 4
_SUBS = 1 << _SUB_BITS
_SCORE = "1..5"
_MOST = 2.0**62  # of units: it fits eight bytes, and no value of a network is as large

UNITS: Mapping[str, float] = {
    "ms": 1e3,  # microseconds
    "s": 1e3,  # milliseconds
    "ratio": 1e6,  # parts per million
    "bit/s": 1.0,
    "pixel": 1.0,
    "1/s": 10.0,
    "byte": 1.0,
    _SCORE: 10.0,
}
"""What a value of a unit is multiplied with before it is counted."""


def number(values: NDArray[np.floating], unit: str) -> NDArray[np.int32]:
    """Return the bucket of each value; values must not be missing. Below 0 is 0. A score's is its tenths."""
    scaled = np.clip(np.asarray(values, np.float64), 0, _MOST) * UNITS[unit]
    whole = np.floor(np.minimum(scaled, _MOST) + 1e-6).astype(np.int64)
    if unit == _SCORE:
        return whole.astype(np.int32)
    exponent = np.frexp(whole.astype(np.float64))[1].astype(np.int64) - 1  # position of the highest bit; -1 of 0
    shift = np.maximum(exponent - _SUB_BITS, 0)
    return np.where(whole < _SUBS, whole, (shift << _SUB_BITS) + (whole >> shift)).astype(np.int32)


def middle(buckets: NDArray[np.integer], unit: str) -> NDArray[np.float64]:
    """Return the value in the middle of each bucket, in *unit*."""
    if unit == _SCORE:
        return (np.asarray(buckets, np.float64) + 0.5) / UNITS[unit]
    bucket = np.asarray(buckets, np.int64)
    shift = np.maximum(bucket >> _SUB_BITS, 1) - 1
    lower = (bucket - (shift << _SUB_BITS)).astype(np.float64) * 2.0**shift
    values: NDArray[np.float64] = (lower + (2.0**shift - 1) / 2) / UNITS[unit]
    return values
