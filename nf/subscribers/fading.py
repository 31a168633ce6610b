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
from nf.kernel.rows import opaque, rows_at
from nf.qoe.inputs import Array

__all__ = ["KeyTable", "Remembered", "memory"]

Keys = NDArray[np.int64]


class KeyTable:
    """Rows by key, of the kind of *empty*. A row that was not seen for *horizon_s* leaves.

    Full: the keys that were not seen for the longest time leave; of equals, the larger ones. Rows stay where they were
    written first, so that keys that come and go move no others.
    """

    def __init__(self, empty: NDArray[Any], horizon_s: float, capacity: int) -> None:
        self.horizon_s, self.capacity = horizon_s, capacity
        self.evicted = 0  # keys that left because the table was full
        self._rows = empty[:0]
        self._free: NDArray[np.intp] = np.zeros(0, np.intp)  # places of rows that no key has
        self.keys: Keys = np.zeros(0, np.int64)  # sorted
        self._place: NDArray[np.intp] = np.zeros(0, np.intp)  # of the row of each key
        self._seen_s = np.zeros(0)

    def __len__(self) -> int:
        return len(self.keys)

    def clear(self) -> None:
        """Forget all keys."""
        self.keys, self._place, self._free = self.keys[:0], self._place[:0], self._free[:0]
        self._seen_s, self._rows = self._seen_s[:0], np.zeros((0, *self._rows.shape[1:]), self._rows.dtype)

    def get(self, keys: Keys) -> tuple[NDArray[np.bool_], NDArray[Any], Array]:
        """Return which of the sorted distinct *keys* are known, and of those the rows and when they were seen."""
        at_key, known = at(self.keys, keys)
        at_key = at_key[known]
        return known, self.rows_of(at_key), self._seen_s[at_key]

    def recall(self, keys: Keys) -> NDArray[Any]:
        """Return the rows of the sorted distinct *keys*, zeros of those that are not known."""
        known, rows, _ = self.get(keys)
        if len(rows) == len(keys):
            return rows
        out = np.zeros((len(keys), *rows.shape[1:]), rows.dtype)
        _bytes(out)[known] = _bytes(rows)
        return out

    def rows_of(self, at_key: NDArray[np.intp], field: str | None = None) -> NDArray[Any]:
        """Return the rows of the keys that are at indices of `keys`, or one *field* of them."""
        place = self._place[at_key]
        return _taken(self._rows, place) if field is None else self._rows[field][place]

    def put(self, keys: Keys, rows: NDArray[Any], now_s: float) -> None:
        """Write the rows of sorted distinct *keys*, and drop what is old or too much."""
        at_key, known = at(self.keys, keys)
        if known.all():
            self._write(self._place[at_key], rows)
            self._seen_s[at_key] = now_s
        else:
            self._seen_s[at_key[known]] = now_s
            self._add(keys, rows, known, now_s)
        keep = now_s - self._seen_s <= self.horizon_s
        if not keep.all():
            self._keep(keep)
        if len(self.keys) > self.capacity:
            self._evict()

    def drop(self, at_key: NDArray[np.intp]) -> None:
        """Forget the keys at indices of `keys`, and what their rows held."""
        self._rows[self._place[at_key]] = np.zeros(1, self._rows.dtype)
        keep = np.ones(len(self.keys), np.bool_)
        keep[at_key] = False
        self._keep(keep)

    def _write(self, place: NDArray[np.intp], rows: NDArray[Any]) -> None:
        _bytes(self._rows)[place] = _bytes(np.ascontiguousarray(rows, self._rows.dtype))

    def _add(self, keys: Keys, rows: NDArray[Any], known: NDArray[np.bool_], now_s: float) -> None:
        """Write rows, of which some have a key that is not there yet."""
        new = np.flatnonzero(~known)
        missing = len(new) - len(self._free)
        if missing > 0:
            had, more = len(self._rows), max(missing, len(self._rows) // 2)
            grown = np.zeros((had + more, *self._rows.shape[1:]), self._rows.dtype)
            _bytes(grown)[:had] = _bytes(self._rows)
            self._rows, self._free = grown, np.concatenate([self._free, np.arange(had, had + more)])
        before = np.searchsorted(self.keys, keys[new])
        self.keys = np.insert(self.keys, before, keys[new])
        self._seen_s = np.insert(self._seen_s, before, now_s)
        self._place = np.insert(self._place, before, self._free[: len(new)])
        self._free = self._free[len(new) :]
        self._write(self._place[at(self.keys, keys)[0]], rows)

    def _keep(self, keep: NDArray[np.bool_]) -> None:
        self._free = np.concatenate([self._free, self._place[~keep]])
        self.keys, self._place, self._seen_s = self.keys[keep], self._place[keep], self._seen_s[keep]

    def _evict(self) -> None:
        self.evicted += len(self.keys) - self.capacity
        keep = np.zeros(len(self.keys), np.bool_)
        keep[np.lexsort((self.keys, -self._seen_s))[: self.capacity]] = True
        self._keep(keep)


def _bytes(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the same rows without fields, where they have any: they are copied as bytes then, which is far faster."""
    return opaque(rows) if rows.dtype.names and not rows.dtype.hasobject else rows


def _taken(rows: NDArray[Any], place: NDArray[np.intp]) -> NDArray[Any]:
    return rows_at(rows, place) if rows.dtype.names and not rows.dtype.hasobject else rows[place]


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
