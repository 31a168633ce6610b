"""Reading BPF ring buffers of equal records as columns.

Layout: kernel/bpf/ringbuf.c. The consumer's page is mapped for writing; the producer's page and
the data, which the kernel maps twice in a row so that no record wraps, for reading only.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nf.kernel.rows import copied, joined, rows_at

__all__ = ["Ring", "Rings"]

_BUSY_OR_DISCARD = 0xC000_0000  # BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT


class Ring:
    """One ring buffer whose records are all of *record*, whose size is a multiple of 8."""

    def __init__(self, fd: int, size: int, record: np.dtype[np.void]) -> None:
        page = mmap.PAGESIZE
        self._consumer_map = mmap.mmap(fd, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0)
        self._producer_map = mmap.mmap(fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        self._consumer = np.frombuffer(self._consumer_map, np.uint64, 1)
        self._producer = np.frombuffer(self._producer_map, np.uint64, 1)
        self._mask = size - 1
        self._page = page
        self._entry = np.dtype([("length", "<u4"), ("page", "<u4"), ("record", record)])
        self._nothing = np.empty(0, record)

    def read(self, limit: int = 1 << 20) -> NDArray[np.void]:
        """Return a copy of the records that are complete, at most *limit*, and free their room."""
        at, head = int(self._consumer[0]), int(self._producer[0])
        if at == head:
            return self._nothing
        n = min((head - at) // self._entry.itemsize, limit)
        view = np.frombuffer(self._producer_map, self._entry, n, self._page + (at & self._mask))
        unfinished = np.flatnonzero(view["length"] & _BUSY_OR_DISCARD)
        if len(unfinished):
            view = view[: unfinished[0]]
        records = copied(view["record"])
        self._consumer[0] = at + len(records) * self._entry.itemsize
        return records

    def close(self) -> None:
        """Unmap both halves."""
        del self._consumer, self._producer
        self._consumer_map.close()
        self._producer_map.close()


class Rings:
    """The rings of one kind of record, one a CPU."""

    def __init__(self, fds: Sequence[int], size: int, record: np.dtype[np.void]) -> None:
        self._rings = [Ring(fd, size, record) for fd in fds]
        self._timed = "at_ns" in (record.names or ())

    def read(self) -> NDArray[np.void]:
        """Return the records of all CPUs, by their time where they have one."""
        read = [ring.read() for ring in self._rings]
        full = [records for records in read if len(records)]
        if len(full) < 2:
            return full[0] if full else read[0]
        records = joined(full)
        return rows_at(records, np.argsort(records["at_ns"], kind="stable")) if self._timed else records

    def close(self) -> None:
        """Unmap all."""
        for ring in self._rings:
            ring.close()
