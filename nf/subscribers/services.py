"""Lengths of the segments of services, as the sessions of all subscribers told them: for the first minute of the next.

A service packages its content in segments of one length. A session that rested often enough tells it once; when
sessions say something else, the new length replaces the old one as soon as more of them say it (majority vote).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array
from nf.subscribers.lately import APP_BITS

__all__ = ["Segments"]

_ALIKE = 0.12  # of a length: so far apart two sessions say the same (own)
_AGREE, _MOST = 2, 20  # sessions before the others are told; votes that are kept


class Segments:
    """Columns by application, as many as there can be."""

    def __init__(self) -> None:
        self._length_s = np.full(1 << APP_BITS, np.nan, np.float32)
        self._votes = np.zeros(1 << APP_BITS, np.int8)

    def of(self, keys: NDArray[np.int64]) -> Array:
        """Return the length (n,) of the segments of the applications of rows; NaN while too few have told it."""
        app = keys & ((1 << APP_BITS) - 1)
        return np.where(self._votes[app] >= _AGREE, self._length_s[app], np.nan).astype(np.float64)

    def told(self, keys: NDArray[np.int64], length_s: Array) -> None:
        """Take the lengths that sessions have just told, one a row; NaN: nothing."""
        rows = np.flatnonzero(~np.isnan(length_s))
        _, one = np.unique(keys[rows] & ((1 << APP_BITS) - 1), return_index=True)  # of a service one an interval
        app, said = keys[rows[one]] & ((1 << APP_BITS) - 1), length_s[rows[one]]
        alike = np.abs(said - self._length_s[app]) <= _ALIKE * said
        votes = self._votes[app] + np.where(alike, 1, -1)
        other = votes < 0
        self._length_s[app] = np.where(other, said, self._length_s[app])
        self._votes[app] = np.clip(np.where(other, 1, votes), 0, _MOST)
