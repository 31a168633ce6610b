"""Memory per key between intervals: fading sums and recent minima; bounded, all in columns.

`memory` makes one: the compiled pass, or its reference here where that is not there (`nf.fast`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.fast.library import loaded
from nf.fast.memory import Memory
from nf.flows.search import at
from nf.qoe.inputs import Array

__all__ = ["KeyTable", "Remembered", "memory"]

Keys = NDArray[np.int64]


class KeyTable:
    """Rows by key, of the kind of *empty*. A row that was not seen for *horizon_s* leaves.

    Full: the keys that were not seen for the longest time leave; of equals, the larger ones.
    """

    def __init__(self, empty: NDArray[Any], horizon_s: float, capacity: int) -> None:
        self.horizon_s, self.capacity = horizon_s, capacity
        self.evicted = 0  # keys that left because the table was full
        self.keys: Keys = np.zeros(0, np.int64)  # sorted
        self.rows = empty[:0]
        self._seen_s = np.zeros(0)

    def __len__(self) -> int:
        return len(self.keys)

    def clear(self) -> None:
        """Forget all keys."""
        self.keys, self.rows, self._seen_s = self.keys[:0], self.rows[:0], self._seen_s[:0]

    def get(self, keys: Keys) -> tuple[NDArray[np.bool_], NDArray[Any], Array]:
        """Return which of the sorted distinct *keys* are known, and of those the rows and when they were seen."""
        rows, known = at(self.keys, keys)
        return known, self.rows[rows[known]], self._seen_s[rows[known]]

    def put(self, keys: Keys, rows: NDArray[Any], now_s: float) -> None:
        """Write the rows of sorted distinct *keys*, and drop what is old or too much."""
        place, known = at(self.keys, keys)
        self.rows[place[known]], self._seen_s[place[known]] = rows[known], now_s
        keep = now_s - self._seen_s <= self.horizon_s
        if known.all() and keep.all():
            return
        all_keys = np.concatenate([self.keys[keep], keys[~known]])
        all_rows = np.concatenate([self.rows[keep], rows[~known]])
        seen_s = np.concatenate([self._seen_s[keep], np.full(np.count_nonzero(~known), now_s)])
        order = np.argsort(all_keys)
        if len(order) > self.capacity:
            self.evicted += len(order) - self.capacity
            youngest = np.lexsort((all_keys, -seen_s))[: self.capacity]
            order = youngest[np.argsort(all_keys[youngest])]
        self.keys, self.rows, self._seen_s = all_keys[order], all_rows[order], seen_s[order]


class Remembered(KeyTable):
    """Fading sums and a recent minimum of each key: the reference of `nf.fast.memory`.

    Each sum fades exponentially with its time constant of *tau_s*. For the minimum, time is cut into windows of
    *window_s*; a key holds the least value and the number of samples of the current window and the last one.
    """

    HORIZON_TAUS = 6.0  # a sum without additions for so long has faded to 0.25 %

    def __init__(self, tau_s: Array, window_s: float, capacity: int) -> None:
        self._tau_s, self._window_s = np.asarray(tau_s, np.float64), window_s
        columns = len(self._tau_s) + 5  # number of the window; its minimum and samples; those of the one before
        super().__init__(np.zeros((0, columns)), horizon_s(self._tau_s, window_s), capacity)

    def add(self, keys: Keys, now_s: float, sums: Array, least: Array, samples: Array) -> tuple[Array, Array, Array]:
        """Take what is new of *keys* (n,), sorted and distinct; return what is remembered of them at *now_s*.

        *sums* (n, k) are added to the sums; *least* (n,) is the minimum of *samples* (n,) samples, and ignored where
        these are 0. The minimum is infinite where there is none.
        """
        known, old, seen_s = self.get(keys)
        sums = sums.astype(np.float64)
        age_s = np.maximum(now_s - seen_s, 0)[:, None]
        sums[known] += old[:, : len(self._tau_s)] * np.exp(-age_s / self._tau_s)
        window = now_s // self._window_s
        rows = np.tile([window, np.inf, 0.0, np.inf, 0.0], (len(keys), 1))
        was = old[:, len(self._tau_s) :]
        age = np.maximum(window - was[:, 0], 0)[:, None]  # in windows
        empty = np.array([np.inf, 0.0, np.inf, 0.0])
        moved = np.concatenate([np.broadcast_to(empty[:2], (len(was), 2)), was[:, 1:3]], axis=1)
        rows[known, 1:] = np.where(age == 0, was[:, 1:], np.where(age == 1, moved, empty))
        rows[:, 1] = np.where(samples > 0, np.minimum(rows[:, 1], least), rows[:, 1])
        rows[:, 2] += samples
        self.put(keys, np.hstack([sums, rows]), now_s)
        return sums, np.minimum(rows[:, 1], rows[:, 3]), rows[:, 2] + rows[:, 4]


def horizon_s(tau_s: Array, window_s: float) -> float:
    """Return how long a key is remembered that is not seen."""
    return max(Remembered.HORIZON_TAUS * float(tau_s.max(initial=0.0)), 2 * window_s)


def memory(tau_s: Array, window_s: float, capacity: int) -> Remembered | Memory:
    """Return an empty memory; both kinds give the same to the last bit."""
    library = loaded()
    if library is None:
        return Remembered(tau_s, window_s, capacity)
    return Memory(library, tau_s, window_s, horizon_s(tau_s, window_s), capacity)
