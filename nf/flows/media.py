"""Media flows of an interval: peak throughput, video frames, freezes, requests and their answers.

The kernel keeps ``struct detail`` for flows of media applications and reports each closed chunk in a
ring; here both become columns by flow number, in each interval and for each flow: nothing here depends on
whether somebody follows its subscriber.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.abi import SLOT_UNIT_SHIFT, SLOT_US
from nf.flows.search import at, values_at
from nf.kernel.details import Details
from nf.kernel.rows import joined, rows_at

__all__ = ["COUNTED", "NO_MEDIA", "Media", "MediaInterval"]

_PEAK_BPS = np.float32((8 << SLOT_UNIT_SHIFT) * 1_000_000 // SLOT_US)  # unit of struct detail's peak


@dataclass(frozen=True, slots=True)
class MediaInterval:
    """Activity of media flows in an interval: columns (n,) by flow number, sorted.

    In it are flows that had packets in the interval and that the kernel keeps ``struct detail`` of: those of video,
    live video, conferencing and gaming whose policy inspects them, as long as the table of details has a place. For all
    others `column` says 0. Counts are those since the interval before, and none is told twice or left out: all
    intervals of a flow add up to what the kernel counted since its detail began. Frames and freezes are counted of
    conferencing and gaming over UDP only. Directions are as seen from the UE.
    """

    number: NDArray[np.uint64]
    peak_bps: NDArray[np.float32]  # downlink, over the fullest 100 ms that ended in the interval
    frames: NDArray[np.uint32]  # downlink video frames that ended
    frozen_ms: NDArray[np.uint32]
    chunks: NDArray[np.uint32]  # requests whose answer was complete
    chunk_octets: NDArray[np.uint64]  # payload bytes of these answers

    def __len__(self) -> int:
        return len(self.number)

    def column(self, name: str, numbers: NDArray[np.uint64]) -> NDArray[np.generic]:
        """Return column *name* for flow *numbers*; 0 for those without detail."""
        values: NDArray[np.generic] = getattr(self, name)
        return values_at(self.number, values, numbers)


_NO_COUNT = np.zeros(0, np.uint32)
NO_MEDIA = MediaInterval(
    np.zeros(0, np.uint64), np.zeros(0, np.float32), _NO_COUNT, _NO_COUNT, _NO_COUNT, np.zeros(0, np.uint64)
)


COUNTED = np.dtype([("number", "u8"), ("begun_us", "u4"), ("frames", "u4"), ("frozen_ms", "u4"), ("pad", "u4")])
"""Counts of a place in the table of details when it was read."""


class Media:
    """The counts of the last read, by the place of a flow in the table of details, which has so many *places*.

    They are in *before*, rows of COUNTED, where that is given: in memory that outlives this process, the next one goes
    on where it was.
    """

    def __init__(self, places: int, before: NDArray[np.void] | None = None) -> None:
        self._before = np.zeros(places, COUNTED) if before is None else before  # memory is taken as places are used
        self._early: NDArray[np.void] | None = None  # chunks whose flow had no packet in the interval that was read

    def begin(self, read: Details) -> None:
        """Take counts as those that the next update compares with: nobody saw when they came."""
        self._before["number"][read.places] = read.numbers
        for name in ("begun_us", "frames", "frozen_ms"):
            self._before[name][read.places] = read.states[name]

    def update(self, flows: NDArray[np.uint64], read: Details, closed: NDArray[np.void]) -> MediaInterval:
        """Return what *flows* did: sorted numbers of those that had packets in the interval.

        *read* are the details, and *closed* the chunks (``struct chunk``) since the last call, both read after the flow
        table. What they have of a flow that is not in *flows* came between: it is of the next interval, as the packets
        are that brought it.
        """
        place, there = at(flows, read.numbers)
        mine = np.flatnonzero(there)
        read = Details(read.epoch, read.places[mine], read.numbers[mine], rows_at(read.states, mine))
        closed = self._of(flows, closed)
        row, chunk = place[mine], at(flows, closed["number"])[0]
        told = np.zeros(len(flows), np.bool_)
        told[row], told[chunk] = True, True
        number, of_flow = flows[told], np.cumsum(told) - 1
        row, chunk = of_flow[row], of_flow[chunk]
        now = read.states["epoch"] == read.epoch & 0xFFFF  # others had no packet in it
        before = rows_at(self._before, read.places)
        known = (before["number"] == read.numbers) & (before["begun_us"] == read.states["begun_us"])
        peak_bps = np.zeros(len(number), np.float32)
        peak_bps[row] = np.where(now, read.states["peak"] * _PEAK_BPS, np.float32(0))
        frames, frozen_ms = (np.zeros(len(number), np.uint32) for _ in range(2))
        frames[row] = read.states["frames"] - np.where(known, before["frames"], np.uint32(0))
        frozen_ms[row] = read.states["frozen_ms"] - np.where(known, before["frozen_ms"], np.uint32(0))
        self.begin(read)
        return MediaInterval(
            number,
            peak_bps,
            frames,
            frozen_ms,
            np.bincount(chunk, minlength=len(number)).astype(np.uint32),
            np.bincount(chunk, closed["bytes"], len(number)).astype(np.uint64),
        )

    def _of(self, flows: NDArray[np.uint64], closed: NDArray[np.void]) -> NDArray[np.void]:
        """Return the chunks of flows, with those that came too early for the interval before."""
        mine = at(flows, closed["number"])[1]
        early, self._early = self._early, rows_at(closed, ~mine)
        mine_now = rows_at(closed, mine)
        if early is None or not len(early):
            return mine_now
        return joined([rows_at(early, at(flows, early["number"])[1]), mine_now])
