"""The flow table as user space sees it: memory that it shares with the programs (bpf/flow_table.h).

A flow has a place for as long as it is in the table, and a number that no other flow ever has. The programs mark a
place with the interval in which its flow last had a packet, so that what moved is found without looking at the rest. A
flow that is to leave is held first: no packet finds it any more, and when none can still be counting in it, its last
counts are read and the place is free.
"""

from __future__ import annotations

import mmap
import time
from collections import deque

import numpy as np
from numpy.typing import NDArray

from nf.abi import FLOW_FREE, FLOW_HELD, FLOW_READY, FLOW_STATE, NO_PLACE, SNF_FLOWS
from nf.kernel.maps import Map
from nf.kernel.rows import rows_at

__all__ = ["FlowTable", "Places"]

Places = NDArray[np.intp]

_HOLD_S = 0.1  # a packet is looked at for some microseconds
_GOLDEN_64 = np.uint64(0x9E37_79B9_7F4A_7C15)  # GOLDEN_64 of flow_table.h
_HIGH = np.uint64(32)


class FlowTable:
    """The maps ``flow_buckets`` and ``flows``. *control* is the mapped ``struct control``.

    *at_once*: no packet passes while this process does something else, as in a replay, and what is held is free.
    """

    def __init__(self, buckets: Map, flows: Map, control: NDArray[np.void], *, at_once: bool) -> None:
        self._maps = [mmap.mmap(m.fd, len(m) * m.value.itemsize, mmap.MAP_SHARED) for m in (buckets, flows)]
        table = np.frombuffer(self._maps[0], buckets.value)
        self._states = np.frombuffer(self._maps[1], flows.value)
        self._tags, self._moved, self._keys = table["tags"], table["moved"], table["keys"]
        self._verdicts = table["verdicts"].view(np.uint64)
        self.verdict = table["verdicts"].dtype  # struct verdict
        self._control = control
        self._hold_s = 0.0 if at_once else _HOLD_S
        self._held: deque[tuple[float, Places]] = deque()
        self._epoch = int(control["epoch"][0])  # of the last call of `moved`
        self.evicted(np.flatnonzero(self._tags & FLOW_STATE == FLOW_HELD).astype(np.uint32))  # by a process that died

    def __len__(self) -> int:
        """Return how many places there are."""
        return len(self._states)

    # -- what is there -----------------------------------------------------

    def present(self) -> Places:
        """Return the places of all flows."""
        places: Places = np.flatnonzero(self._tags & FLOW_STATE == FLOW_READY)
        return places

    def occupied(self) -> Places:
        """Return the places of all flows, of those as well that are held."""
        return self._with_a_flow(np.arange(len(self)))

    def moved(self) -> tuple[Places, Places]:
        """Return the places of flows that had packets since the last call, and those of flows that may have had some.

        A program writes its mark before it counts, perhaps at the very end of an interval: so flows that are marked
        with the interval before may have moved. No other flow did. Those that are held are among them: when their time
        is over, only what a packet counted meanwhile is new.
        """
        epoch, marks = int(self._control["epoch"][0]), np.ascontiguousarray(self._moved)
        before, self._epoch = self._epoch, epoch
        now, late = np.flatnonzero(marks == epoch & 0xFF), np.zeros(0, np.intp)
        if before != epoch:
            late = np.flatnonzero(marks == before & 0xFF)
        return self._with_a_flow(now), self._with_a_flow(late)

    def _with_a_flow(self, places: Places) -> Places:
        state = self._tag(places) & FLOW_STATE
        there: Places = places[(state == FLOW_READY) | (state == FLOW_HELD)]
        return there

    def _ready(self, places: Places) -> Places:
        ready: Places = places[self._tag(places) & FLOW_STATE == FLOW_READY]
        return ready

    def at(self, places: Places) -> tuple[NDArray[np.void], NDArray[np.void]]:
        """Return copies of the (keys, states) at places."""
        bucket, n = np.divmod(places, SNF_FLOWS)
        keys = np.ascontiguousarray(self._keys.view("V16")[bucket, n]).view(self._keys.dtype)
        return keys, rows_at(self._states, places)

    def numbers(self, places: Places) -> NDArray[np.uint64]:
        """Return the numbers of the flows at places."""
        found: NDArray[np.uint64] = self._states["number"][places]
        return found

    def packets(self, places: Places) -> NDArray[np.uint32]:
        """Return (n, 2): the packets of the flows at places by direction."""
        found: NDArray[np.uint32] = self._states["packets"][places]
        return found

    def find(self, keys: NDArray[np.void]) -> Places:
        """Return the place of each key, -1 where the table has no flow of it."""
        found = np.full(len(keys), -1, np.intp)
        if not len(keys):
            return found
        buckets, tags = self._places(keys)
        row, second, n = np.nonzero(self._tags[buckets] == tags[:, None, None])
        bucket = buckets[row, second]
        there = np.ascontiguousarray(self._keys.view("V16")[bucket, n])
        same = there == np.ascontiguousarray(keys).view("V16")[row]
        found[row[same]] = (bucket * SNF_FLOWS + n)[same]
        return found

    def _places(self, keys: NDArray[np.void]) -> tuple[NDArray[np.intp], NDArray[np.uint32]]:
        """Return the (n, 2) buckets of keys, and their tags, as hash_flow() does."""
        words = np.ascontiguousarray(keys).view(np.uint32).reshape(-1, 4).astype(np.uint64)
        numbers, count = self._control["flow_hash"][0], np.uint64(len(self._tags))
        h = numbers[0] + (words * numbers[1:]).sum(axis=1, dtype=np.uint64)
        tags = (h >> _HIGH).astype(np.uint32) | np.uint32(FLOW_READY)
        buckets = []
        for _ in range(2):
            h = (h ^ h >> _HIGH) * _GOLDEN_64
            buckets.append((h >> _HIGH) * count >> _HIGH)
        return np.stack(buckets, axis=1).astype(np.intp), tags

    def _tag(self, places: Places) -> NDArray[np.uint32]:
        found: NDArray[np.uint32] = self._tags[np.divmod(places, SNF_FLOWS)]
        return found

    # -- what user space says ----------------------------------------------

    def answer(
        self, places: Places, numbers: NDArray[np.uint64], apps: NDArray[np.uint16], final: NDArray[np.bool_]
    ) -> None:
        """Answer about flows at places: columns of their numbers, applications, and whether that is the last word."""
        values = np.zeros(len(places), self.verdict)
        values["flow"] = numbers & np.uint64(0xFFFF_FFFF)
        values["app"], values["final"] = apps, final
        self._verdicts[np.divmod(places, SNF_FLOWS)] = values.view(np.uint64)  # one store each
        self._control["answers"] += 1

    # -- flows that leave --------------------------------------------------

    def hold(self, places: Places) -> None:
        """Take flows out of the table: no packet finds them from now on."""
        places = self._ready(places)
        if len(places):
            self._tags[np.divmod(places, SNF_FLOWS)] = FLOW_HELD
            self._held.append((time.monotonic(), places))

    def evicted(self, places: NDArray[np.uint32]) -> None:
        """Take note of places that the programs hold (``struct evicted``)."""
        held = places[places != NO_PLACE].astype(np.intp)
        if len(held):
            self._held.append((time.monotonic(), held))

    def due(self) -> Places:
        """Return the held places in which no packet can be counting any more; `free` is to be called with them."""
        until, due = time.monotonic() - self._hold_s, []
        while self._held and self._held[0][0] <= until:
            due.append(self._held.popleft()[1])
        if not due:
            return np.zeros(0, np.intp)
        places = np.unique(np.concatenate(due))  # user space and a program may have held one at the same moment
        held: Places = places[self._tag(places) == FLOW_HELD]
        return held

    def free(self, places: Places) -> None:
        """Make room for other flows at places that were `due`."""
        self._tags[np.divmod(places, SNF_FLOWS)] = FLOW_FREE

    def close(self) -> None:
        """Unmap the memory that is shared with the kernel."""
        del self._tags, self._moved, self._keys, self._verdicts, self._states, self._control
        for mapped in self._maps:
            mapped.close()
