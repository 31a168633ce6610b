"""Domain suffixes as the kernel looks them up: by the FNV-1a hash of their bytes from the last to the first.

FNV-1a: draft-eastlake-fnv, 64 bits. `bpf/names.h` computes the same over a host name and asks at each label boundary.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.abi import NAMING_ASK, SNF_NAME, SNF_PROBES
from nf.errors import BadSignatures
from nf.kernel.source import SUFFIX_SLOTS

__all__ = ["SuffixTables", "slots", "suffix_hashes", "suffix_table"]

_OFFSET, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)


def suffix_hashes(names: list[str]) -> NDArray[np.uint64]:
    """Return the hash of each name, a column at a time."""
    if not names:
        return np.zeros(0, np.uint64)
    backwards = np.array([name.encode("ascii")[::-1] for name in names])
    letters = backwards.view(np.uint8).reshape(len(names), -1)
    lengths = np.array([len(name) for name in names])
    hashes = np.full(len(names), _OFFSET)
    for at in range(letters.shape[1]):
        step = (hashes ^ letters[:, at].astype(np.uint64)) * _PRIME  # modulo 2**64
        hashes = np.where(at < lengths, step, hashes)
    return hashes


def suffix_table(apps: Mapping[str, int], ask: Iterable[str] = ()) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
    """Return (hashes, applications), each hash once.

    *ask* are suffixes whose names user space reads. So are names of two suffixes that have one hash.
    """
    table = {**apps, **dict.fromkeys(ask, NAMING_ASK)}
    names = [name for name in table if len(name) <= SNF_NAME]
    hashes, at, count = np.unique(suffix_hashes(names), return_index=True, return_counts=True)
    values = np.array([table[name] for name in names], np.uint16)[at] if names else np.zeros(0, np.uint16)
    return hashes, np.where(count > 1, np.uint16(NAMING_ASK), values)


def slots(
    hashes: NDArray[np.uint64], values: NDArray[np.uint16], dtype: np.dtype[Any], networks: Iterable[int] = ()
) -> NDArray[np.void] | None:
    """Return a table of ``struct suffix`` with each hash at one of its SNF_PROBES places, the first that was free.

    *networks* are the applications whose suffixes are of an owner of several. None when SUFFIX_SLOTS are not enough.
    """
    size = 64
    while size < min(4 * len(hashes), SUFFIX_SLOTS):
        size *= 2
    while size <= SUFFIX_SLOTS:
        table, left = np.zeros(size, dtype), np.arange(len(hashes))
        for probe in range(SNF_PROBES):
            step = hashes[left] >> np.uint64(32) | np.uint64(1)
            at = ((hashes[left] + np.uint64(probe) * step) % np.uint64(size)).astype(np.intp)
            free = np.flatnonzero(table["hash"][at] == 0)
            _, first = np.unique(at[free], return_index=True)
            placed = free[first]
            table["hash"][at[placed]], table["app"][at[placed]] = hashes[left[placed]], values[left[placed]]
            left = np.delete(left, placed)
        if not len(left):
            table["network"] = np.isin(table["app"], list(networks)) & (table["hash"] > 0)
            return table
        size *= 2
    return None


class SuffixTables:
    """The map `suffixes` (``struct suffix``); *control* says which of its two tables is in use."""

    def __init__(self, fd: int, dtype: np.dtype[Any], control: NDArray[np.void]) -> None:
        self._map = mmap.mmap(fd, 2 * SUFFIX_SLOTS * dtype.itemsize, mmap.MAP_SHARED)
        self._tables = np.frombuffer(self._map, dtype).reshape(2, SUFFIX_SLOTS)
        self._control = control

    def write(self, apps: Mapping[str, int], ask: Iterable[str], networks: Iterable[int]) -> None:
        """Make these the suffixes (`suffix_table`) from the next packet on; raises BadSignatures for too many."""
        hashes, values = suffix_table(apps, ask)
        table = slots(hashes, values, self._tables.dtype, networks)
        if table is None:
            raise BadSignatures(f"{len(hashes):,} domains are more than the kernel takes.", "Name fewer domains.")
        which = 0 if int(self._control["suffixes"][0]) >> 32 else 1
        self._tables[which, : len(table)] = table
        self._control["suffixes"] = which * SUFFIX_SLOTS << 32 | len(table) - 1

    def close(self) -> None:
        """Unmap the memory that is shared with the kernel."""
        del self._tables, self._control
        self._map.close()
