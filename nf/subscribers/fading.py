"""Memory per key between intervals: fading sums and recent minima; bounded, all in columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nf.flows.search import at
from nf.qoe.inputs import Array

__all__ = ["FadingSums", "KeyTable", "RecentMinima"]

Keys = NDArray[np.int64]


class KeyTable:
    """Rows of floats by key. A row that was not seen for *horizon_s* leaves.

    Full: the keys that were not seen for the longest time leave; of equals, the larger ones.
    """

    def __init__(self, columns: int, horizon_s: float, capacity: int) -> None:
        self.horizon_s, self.capacity = horizon_s, capacity
        self.evicted = 0  # keys that left because the table was full
        self.keys: Keys = np.zeros(0, np.int64)  # sorted
        self._rows = np.zeros((0, columns))
        self._seen_s = np.zeros(0)

    def __len__(self) -> int:
        return len(self.keys)

    def get(self, keys: Keys) -> tuple[NDArray[np.bool_], Array, Array]:
        """Return which of the sorted distinct *keys* are known, and of those the rows and when they were seen."""
        rows, known = at(self.keys, keys)
        return known, self._rows[rows[known]], self._seen_s[rows[known]]

    def put(self, keys: Keys, rows: Array, now_s: float) -> None:
        """Write the rows of sorted distinct *keys*, and drop what is old or too much."""
        place, known = at(self.keys, keys)
        self._rows[place[known]], self._seen_s[place[known]] = rows[known], now_s
        keep = now_s - self._seen_s <= self.horizon_s
        if known.all() and keep.all():
            return
        all_keys = np.concatenate([self.keys[keep], keys[~known]])
        all_rows = np.concatenate([self._rows[keep], rows[~known]])
        seen_s = np.concatenate([self._seen_s[keep], np.full(np.count_nonzero(~known), now_s)])
        order = np.argsort(all_keys)
        if len(order) > self.capacity:
            self.evicted += len(order) - self.capacity
            youngest = np.lexsort((all_keys, -seen_s))[: self.capacity]
            order = youngest[np.argsort(all_keys[youngest])]
        self.keys, self._rows, self._seen_s = all_keys[order], all_rows[order], seen_s[order]


class FadingSums(KeyTable):
    """Sums, k for each key, that fade exponentially with time constants *tau_s*, one per column."""

    HORIZON_TAUS = 6.0  # a sum without additions for so long has faded to 0.25 %

    def __init__(self, tau_s: Array, capacity: int = 262_144) -> None:
        self.tau_s = np.asarray(tau_s, np.float64)
        super().__init__(len(self.tau_s), self.HORIZON_TAUS * float(self.tau_s.max()), capacity)

    def add(self, keys: Keys, values: Array, now_s: float) -> Array:
        """Add *values* (n, k) to the sums of sorted distinct *keys* (n,), and return these sums at *now_s*."""
        known, old, seen_s = self.get(keys)
        sums = values.astype(np.float64)
        age_s = np.maximum(now_s - seen_s, 0)[:, None]
        sums[known] += old * np.exp(-age_s / self.tau_s)
        self.put(keys, sums, now_s)
        return sums


class RecentMinima(KeyTable):
    """The least value and the number of samples of each key over the last one to two times *window_s*.

    Time is cut into windows; a key holds the minimum and the count of the current and the last one.
    """

    def __init__(self, window_s: float, capacity: int = 262_144) -> None:
        self.window_s = window_s
        super().__init__(5, 2 * window_s, capacity)  # window number; its minimum and count; those of the one before

    def add(self, keys: Keys, values: Array, counts: Array, now_s: float) -> tuple[Array, Array]:
        """Take the minimum *values* (n,) of *counts* (n,) samples; return minimum (infinite if none) and count.

        *keys* are sorted and distinct; a value whose count is 0 is ignored.
        """
        window = now_s // self.window_s
        rows = np.tile([window, np.inf, 0.0, np.inf, 0.0], (len(keys), 1))
        known, old, _ = self.get(keys)
        age = np.maximum(window - old[:, 0], 0)[:, None]  # in windows
        empty = np.array([np.inf, 0.0, np.inf, 0.0])
        moved = np.concatenate([np.broadcast_to(empty[:2], (len(old), 2)), old[:, 1:3]], axis=1)
        rows[known, 1:] = np.where(age == 0, old[:, 1:], np.where(age == 1, moved, empty))
        rows[:, 1] = np.where(counts > 0, np.minimum(rows[:, 1], values), rows[:, 1])
        rows[:, 2] += counts
        self.put(keys, rows, now_s)
        return np.minimum(rows[:, 1], rows[:, 3]), rows[:, 2] + rows[:, 4]
