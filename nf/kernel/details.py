"""The details of media flows as user space sees them: memory that the programs write (bpf/detail_table.h).

A flow has a place in a set of a few for as long as none of the others needs it more, and the set marks it with the
interval in which the flow last had a packet. So the few that moved are found by one look at the marks, without a
system call for each. User space only reads: any process that has the descriptors of the maps may do so beside others.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.abi import SNF_DETAILS
from nf.kernel.maps import Map
from nf.kernel.rows import rows_at

__all__ = ["DetailTable", "Details"]


@dataclass(frozen=True, slots=True)
class Details:
    """Copies of details, a row a flow."""

    epoch: int  # the interval that was going on
    places: NDArray[np.intp]
    numbers: NDArray[np.uint64]  # of the flows
    states: NDArray[np.void]  # struct detail


class DetailTable:
    """The maps ``detail_sets`` and ``details``. *control* is the mapped ``struct control``."""

    def __init__(self, sets: Map, details: Map, control: NDArray[np.void]) -> None:
        self._maps = [
            mmap.mmap(m.fd, len(m) * m.value.itemsize, mmap.MAP_SHARED, mmap.PROT_READ) for m in (sets, details)
        ]
        table = np.frombuffer(self._maps[0], sets.value)
        self._numbers = table["numbers"]
        self._marks = table.view(np.uint64).reshape(len(table), -1)[:, SNF_DETAILS]  # with `busy`, a word a set
        self._states = np.frombuffer(self._maps[1], details.value)
        self._control = control
        self._epoch = int(control["epoch"][0])  # of the last call of `moved`

    def __len__(self) -> int:
        """Return how many places there are."""
        return len(self._states)

    @property
    def used(self) -> int:
        """The places that are somebody's, counted: of flows that are quiet as well, until another one needs theirs."""
        return int(np.count_nonzero(self._numbers))

    def present(self) -> Details:
        """Return the details of all flows that have one."""
        sets, at = np.nonzero(self._numbers)
        return self._at(sets * SNF_DETAILS + at)

    def moved(self) -> Details:
        """Return the details of flows that had packets since the last call, and of some that had none.

        A program writes its mark before it counts, perhaps at the very end of an interval: so flows that are marked
        with the interval before may have moved. No other flow did.
        """
        epoch = int(self._control["epoch"][0])
        before, self._epoch = self._epoch, epoch
        marks = np.ascontiguousarray(self._marks).view(np.uint8)
        marked = marks == epoch & 0xFF
        if before != epoch:
            marked |= marks == before & 0xFF
        sets, at = np.divmod(np.flatnonzero(marked), np.uint64(0).itemsize)
        return self._at((sets * SNF_DETAILS + at)[at < SNF_DETAILS])

    def _at(self, places: NDArray[np.intp]) -> Details:
        """Return the details at places that are somebody's, and were the same flow's before and after the copy."""
        at = np.divmod(places, SNF_DETAILS)
        numbers = self._numbers[at]
        states = rows_at(self._states, places)
        same = np.flatnonzero((self._numbers[at] == numbers) & (numbers > 0))
        return Details(int(self._control["epoch"][0]), places[same], numbers[same], rows_at(states, same))

    def close(self) -> None:
        """Unmap the memory that is shared with the kernel."""
        del self._numbers, self._marks, self._states, self._control
        for mapped in self._maps:
            mapped.close()
