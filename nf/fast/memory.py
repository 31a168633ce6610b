"""The memory of keys between intervals (``memory.h``): where rows are, what is old, and what leaves when it is full."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.fast.library import Library, address

__all__ = ["Memory"]

_LEAST_ROOM = 1024  # rows
_SPARE = 3  # halves of the rows there are: so often forgotten ones are cleared away

_Array = NDArray[np.float64]


class Memory:
    """Fading sums and a recent minimum of each key, as `nf.subscribers.fading.Remembered` has them.

    *tau_s* are the time constants of the sums, *window_s* is the window of the minimum, both as there; a key that was
    not seen for *horizon_s* leaves. Full: the keys that were not seen for longest leave; of equals, the larger ones.
    """

    def __init__(self, library: Library, tau_s: _Array, window_s: float, horizon_s: float, capacity: int) -> None:
        self.capacity = capacity
        self.evicted = 0  # keys that left because the memory was full
        self._library, self._tau_s, self._window_s, self._horizon_s = library, tau_s, window_s, horizon_s
        self._width = library.number("snf_remembered_bytes") // 8 + len(tau_s)  # words of a row
        self._rows = np.zeros((0, self._width), np.uint64)
        self._index = np.zeros(2, np.uint32)
        self._stored = 0  # rows, those that are forgotten among them
        self._first = 0  # number of the oldest call that has a row
        # Of each call from that on: its time, the rows that were last seen in it, and whether they are forgotten.
        self._at_s: _Array = np.zeros(0)
        self._seen: NDArray[np.int64] = np.zeros(0, np.int64)
        self._gone: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def __len__(self) -> int:
        return int(self._seen[~self._gone].sum())

    @property
    def keys(self) -> NDArray[np.int64]:
        """Return the keys that are remembered, sorted."""
        keys: NDArray[np.int64] = self._keys()[self._alive()]
        return np.sort(keys)

    def add(
        self, keys: NDArray[np.int64], now_s: float, sums: _Array, least: _Array, samples: _Array
    ) -> tuple[_Array, _Array, _Array]:
        """Take what is new of distinct *keys* (n,), and return what is remembered of them at *now_s*.

        *sums* (n, k) are added to the sums; *least* (n,) is the minimum of *samples* (n,) samples, and ignored where
        these are 0.
        """
        n, k = len(keys), len(self._tau_s)
        self._make_room(n)
        out: dict[str, NDArray[Any]] = {
            "key": np.ascontiguousarray(keys, np.int64),
            "sums": np.array(sums, np.float64, order="C"),
            "least": np.array(least, np.float64, order="C"),
            "samples": np.array(samples, np.float64, order="C"),
        }
        if out["sums"].shape != (n, k) or any(len(out[name]) != n for name in ("least", "samples")):
            raise ValueError(f"{n} keys want sums of shape ({n}, {k}) and as many minima")
        memory, left, kept = self._pointers(now_s)
        given = (ctypes.c_void_p * len(out))(
            *(address(out[name]) for name, _, _ in self._library.columns("snf_recalled_columns").columns)
        )
        self._stored = self._library.function("snf_remember")(
            ctypes.byref(memory), ctypes.c_uint64(self._stored), ctypes.c_uint64(k),
            ctypes.c_uint64(len(self._index) - 1), ctypes.c_uint64(self._first),
            ctypes.c_uint64(self._first + len(self._at_s)), ctypes.c_double(now_s // self._window_s),
            ctypes.byref(given), ctypes.c_uint64(n),
        )  # fmt: skip
        del kept
        self._seen = np.concatenate([self._seen - left, [n]])
        self._at_s, self._gone = np.concatenate([self._at_s, [now_s]]), np.concatenate([self._gone, [False]])
        self._forget(now_s)
        return out["sums"], out["least"], out["samples"]

    def _pointers(self, now_s: float) -> tuple[ctypes.Array[ctypes.c_void_p], NDArray[np.int64], list[_Array]]:
        """Return the C struct, the column of it that is written, and what is to be kept as long."""
        weight = np.ones((len(self._at_s), max(len(self._tau_s), 1)))
        if len(self._tau_s):
            age_s = np.maximum(now_s - self._at_s, 0)[:, None]
            weight = np.exp(-age_s / self._tau_s)
        weight[self._gone] = -1
        left = np.zeros(len(self._at_s), np.int64)
        arrays: dict[str, NDArray[Any]] = {"rows": self._rows, "index": self._index, "weight": weight, "left": left}
        names = [name for name, _, _ in self._library.columns("snf_memory_columns").columns]
        return (ctypes.c_void_p * len(names))(*(address(arrays[name]) for name in names)), left, [weight]

    def _keys(self) -> NDArray[np.int64]:
        return self._rows[: self._stored, 0].view(np.int64)

    def _alive(self) -> NDArray[np.bool_]:
        """Say which rows are remembered."""
        call = self._rows[: self._stored, 1].astype(np.int64) - self._first
        alive: NDArray[np.bool_] = call >= 0
        alive[alive] = ~self._gone[call[alive]]
        return alive

    def _make_room(self, n: int) -> None:
        """Make room for n more rows, in the place of forgotten ones or in more memory."""
        if self._stored + n <= len(self._rows):
            return
        self._keep(self._alive(), n)

    def _keep(self, stays: NDArray[np.bool_], more: int = 0) -> None:
        """Move the rows that stay together, with room for *more*."""
        kept = self._rows[: self._stored][stays]
        wanted = max(_SPARE * (len(kept) + more) // 2, _LEAST_ROOM)
        if wanted > len(self._rows):
            self._rows = np.zeros((wanted, self._width), np.uint64)
            self._index = np.zeros(1 << (3 * wanted // 2).bit_length(), np.uint32)  # two thirds are taken at most
        else:
            self._index.fill(0)
        self._rows[: len(kept)] = kept
        self._stored = len(kept)
        memory, _, kept_too = self._pointers(0.0)
        self._library.function("snf_remember_index")(
            ctypes.byref(memory), ctypes.c_uint64(self._stored), ctypes.c_uint64(len(self._tau_s)),
            ctypes.c_uint64(len(self._index) - 1),
        )  # fmt: skip
        del kept_too

    def _forget(self, now_s: float) -> None:
        """Forget what is old, and what is too much."""
        self._gone |= now_s - self._at_s > self._horizon_s
        if len(self) > self.capacity:
            self._evict()
        over = self._gone | (self._seen == 0)
        first = int(over.argmin()) if not over.all() else len(over)
        self._at_s, self._seen, self._gone = self._at_s[first:], self._seen[first:], self._gone[first:]
        self._first += first

    def _evict(self) -> None:
        alive = np.flatnonzero(self._alive())
        self.evicted += len(alive) - self.capacity
        call = self._rows[alive, 1].astype(np.int64) - self._first
        youngest = alive[np.lexsort((self._keys()[alive], -self._at_s[call]))[: self.capacity]]
        stays = np.zeros(self._stored, np.bool_)
        stays[youngest] = True
        self._seen = np.bincount(self._rows[youngest, 1].astype(np.int64) - self._first, minlength=len(self._seen))
        self._keep(stays)
