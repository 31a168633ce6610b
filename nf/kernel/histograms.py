"""Delays as the programs count them: by place, measure and length (bpf/histogram.h). User space reads differences."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from nf.abi import SNF_BUCKETS, SNF_DELAYS
from nf.kernel.maps import Map

__all__ = ["Histograms"]

Grown = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.uint32]]


class Histograms:
    """The map ``delay_counts``, which is shared with the programs; its length is the number of places."""

    def __init__(self, counts: Map) -> None:
        self._memory = mmap.mmap(counts.fd, len(counts) * counts.value.itemsize, mmap.MAP_SHARED)
        self._counts = np.frombuffer(self._memory, np.uint32).reshape(len(counts), SNF_DELAYS, SNF_BUCKETS)
        self._before = np.zeros((0, SNF_DELAYS, SNF_BUCKETS), np.uint32)

    def __len__(self) -> int:
        return len(self._counts)

    def clear(self) -> None:
        """Forget what a process counted that is gone: nobody knows how much of it was told, or of which place it is."""
        self._counts[:] = 0
        self._before = self._before[:0]

    def grown(self, places: int) -> Grown:
        """Return (place, measure, bucket, delays) of each bucket of the first *places* that grew since the last call.

        There are as many places as then, or more.
        Counts come round after 2^32, and so does their difference.
        """
        now = self._counts[:places].copy()
        grown = now.copy()
        grown[: len(self._before)] -= self._before
        self._before = now
        place, measure, bucket = np.nonzero(grown)
        return place, measure, bucket, grown[place, measure, bucket]

    def close(self) -> None:
        """Unmap the memory that is shared with the kernel."""
        del self._counts
        self._memory.close()
