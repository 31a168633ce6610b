"""One map of the kernel as numpy sees it: typed keys and values, whole tables or one entry at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.kernel import objects, syscall

__all__ = ["Map"]

_PER_CPU = {5, 6, 10}  # enum bpf_map_type: percpu hash, percpu array, LRU percpu hash
_ARRAYS = {2, 6}
_POSSIBLE = Path("/sys/devices/system/cpu/possible")


def possible_cpus() -> int:
    """Return how many values an entry of a per-CPU map has: one for each CPU that this machine can have."""
    try:
        last = _POSSIBLE.read_text().strip().split(",")[-1].split("-")[-1]
        return int(last) + 1
    except (OSError, ValueError):
        return os.cpu_count() or 1


class Map:
    """A map by its descriptor, which it does not own. Values of per-CPU maps have one more axis, of the CPUs."""

    def __init__(self, name: str, fd: int, kind: int, entries: int, key: np.dtype[Any], value: np.dtype[Any]) -> None:
        self.name, self.fd, self.entries = name, fd, entries
        self.key, self.value = key, value
        self._array = kind in _ARRAYS
        self._cell = np.dtype((value, (possible_cpus(),))) if kind in _PER_CPU else value

    def __len__(self) -> int:
        return self.entries

    def _key(self, key: Any) -> NDArray[Any]:
        return np.array([key], self.key)

    def get(self, key: Any) -> Any:
        """Return a copy of the value of *key*, zeros when there is none."""
        return objects.read_element(self.fd, self._key(key), self._cell)[0]

    def put(self, key: Any, value: Any) -> None:
        """Write one entry; raises OSError when the map is full."""
        cell = np.zeros(1, self._cell)
        cell[0] = value
        objects.write_element(self.fd, self._key(key), cell)

    def delete(self, key: Any) -> None:
        """Delete one entry, if it is there."""
        objects.delete_element(self.fd, self._key(key))

    def zeros(self) -> Any:
        """Return an empty value, to be filled and put."""
        return np.zeros(1, self._cell)[0]

    def read(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return all (keys, values); of a per-CPU map, whose values are of whole 8 bytes, those of each CPU."""
        return syscall.read_map(self.fd, self.key, self._cell, min(self.entries + 1, 65_536))  # one call sees the end

    def values(self) -> Iterator[Any]:
        """Yield the value of each place of an array."""
        for place in range(self.entries):
            yield self.get(place)

    def clear(self) -> None:
        """Delete all entries of a hash map."""
        syscall.clear(self.fd, self.key, self.value)
