"""What media flows did in an interval: peak throughput, video frames, freezes, requests and their answers.

The kernel keeps ``struct detail`` for flows of media applications and tells each closed chunk by a
ring; here both become columns by flow number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.kernel.dataplane import DataPlane

__all__ = ["Media", "MediaInterval"]

_UNIT_BITS = 128 * 8  # SLOT_UNIT_SHIFT of detail.h
_SLOTS_PER_S = 10


@dataclass(frozen=True, slots=True)
class MediaInterval:
    """Columns by flow number, sorted; flows that keep no detail are not in it."""

    number: NDArray[np.uint64]
    peak_bps: NDArray[np.float32]  # downlink, over the fullest 100 ms that ended in the interval
    frames: NDArray[np.uint32]  # downlink video frames that ended
    frozen_ms: NDArray[np.uint32]
    chunks: NDArray[np.uint32]  # requests whose answer was complete
    chunk_octets: NDArray[np.uint64]

    def column(self, name: str, numbers: NDArray[np.uint64]) -> NDArray[np.generic]:
        """Return column *name* for flow *numbers*; 0 for those without detail."""
        values: NDArray[np.generic] = getattr(self, name)
        if not len(self.number):
            return np.zeros(len(numbers), values.dtype)
        at = np.minimum(np.searchsorted(self.number, numbers), len(self.number) - 1)
        return np.where(self.number[at] == numbers, values[at], 0).astype(values.dtype)


class Media:
    """Remembers the counts of the interval before."""

    def __init__(self) -> None:
        self._before: MediaInterval | None = None

    def read(self, plane: DataPlane) -> MediaInterval:
        """Return what happened since the last call."""
        number, detail = plane.read_details()
        order = np.argsort(number)
        number, detail = number[order], detail[order]
        closed = plane.read_chunks()
        at = np.searchsorted(number, closed["number"])
        inside = at < len(number)
        inside[inside] = number[at[inside]] == closed["number"][inside]
        total = MediaInterval(
            number,
            detail["peak"] * np.float32(_UNIT_BITS * _SLOTS_PER_S),
            detail["frames"],
            detail["frozen_ms"],
            np.bincount(at[inside], minlength=len(number)).astype(np.uint32),
            np.bincount(at[inside], closed["bytes"][inside], len(number)).astype(np.uint64),
        )
        before, self._before = self._before, total
        if before is None:
            return total
        return MediaInterval(
            number,
            total.peak_bps,
            _grown(total.frames, before.column("frames", number)),
            _grown(total.frozen_ms, before.column("frozen_ms", number)),
            total.chunks,
            total.chunk_octets,
        )


def _grown(now: NDArray[np.uint32], before: NDArray[np.generic]) -> NDArray[np.uint32]:
    """Return the growth of a counter; one that began anew has grown by what it says."""
    old = before.astype(np.uint32)
    return np.where(now >= old, now - old, now)
