"""Sums over the last seconds per key: exponentially fading, bounded, all in columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array

__all__ = ["FadingSums"]

HORIZON_TAUS = 6.0  # a sum left alone so many time constants has faded to 0.25 % and is forgotten


class FadingSums:
    """For each key k sums that fade with time constants *tau_s*, one a column.

    Full: the keys that were not seen for the longest time leave; of equals, the larger ones.
    """

    def __init__(self, tau_s: Array, capacity: int = 262_144) -> None:
        self.tau_s, self.capacity = np.asarray(tau_s, np.float64), capacity
        self.evicted = 0  # keys that left because the memory was full
        self.keys: NDArray[np.int64] = np.zeros(0, np.int64)  # sorted
        self._sums = np.zeros((0, len(self.tau_s)))
        self._seen_s = np.zeros(0)

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, keys: NDArray[np.int64], values: Array, now_s: float) -> Array:
        """Add *values* (n, k) to the sums of sorted distinct *keys* (n,), and return these sums at *now_s*."""
        at = np.minimum(np.searchsorted(self.keys, keys), max(len(self.keys) - 1, 0))
        known = self.keys[at] == keys if len(self.keys) else np.zeros(len(keys), np.bool_)
        sums = values.astype(np.float64)
        old = at[known]
        age_s = np.maximum(now_s - self._seen_s[old], 0)[:, None]
        sums[known] += self._sums[old] * np.exp(-age_s / self.tau_s)
        self._sums[old], self._seen_s[old] = sums[known], now_s
        self._insert(keys[~known], sums[~known], now_s)
        return sums

    def _insert(self, keys: NDArray[np.int64], sums: Array, now_s: float) -> None:
        keep = now_s - self._seen_s <= HORIZON_TAUS * self.tau_s.max()
        if not len(keys) and keep.all():
            return
        all_keys = np.concatenate([self.keys[keep], keys])
        all_sums = np.concatenate([self._sums[keep], sums])
        seen_s = np.concatenate([self._seen_s[keep], np.full(len(keys), now_s)])
        order = np.argsort(all_keys)
        if len(order) > self.capacity:
            self.evicted += len(order) - self.capacity
            youngest = np.lexsort((all_keys, -seen_s))[: self.capacity]
            order = youngest[np.argsort(all_keys[youngest])]
        self.keys, self._sums, self._seen_s = all_keys[order], all_sums[order], seen_s[order]
