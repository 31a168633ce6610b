"""What media flows did in an interval: peak throughput, video frames, freezes, requests and their answers.

The kernel keeps ``struct detail`` for flows of media applications and tells each closed chunk by a
ring; here both become columns by flow number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.flows.search import at, values_at

__all__ = ["Media", "MediaInterval"]

_UNIT_BITS = 128 * 8  # SLOT_UNIT_SHIFT of media.h
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
        return values_at(self.number, values, numbers)


class Media:
    """Remembers the counts of the interval before, while somebody reads them."""

    def __init__(self) -> None:
        self._before: tuple[NDArray[np.uint64], NDArray[np.void]] | None = None

    def forget(self) -> None:
        """Nobody reads: the next `update` is of its own interval alone."""
        self._before = None

    def update(
        self, details: tuple[NDArray[np.uint64], NDArray[np.void]], closed: NDArray[np.void], epoch: int
    ) -> MediaInterval:
        """Return what happened since the last call, or without one in the interval *epoch* that is going on.

        *details* are flow numbers with ``struct detail`` of each; *closed* the chunks (``struct chunk``) since then.
        """
        number, detail = details
        order = np.argsort(number)
        number, detail = number[order], detail[order]
        rows, inside = at(number, closed["number"])
        now = detail["epoch"] == epoch & 0xFFFF  # the others had no packet in it
        before, self._before = self._before, (number, detail)
        return MediaInterval(
            number,
            np.where(now, detail["peak"] * np.float32(_UNIT_BITS * _SLOTS_PER_S), np.float32(0)),
            _grown("frames", "frames_before", number, detail, now, before),
            _grown("frozen_ms", "frozen_before", number, detail, now, before),
            np.bincount(rows[inside], minlength=len(number)).astype(np.uint32),
            np.bincount(rows[inside], closed["bytes"][inside], len(number)).astype(np.uint64),
        )


def _grown(
    name: str,
    begin: str,
    number: NDArray[np.uint64],
    detail: NDArray[np.void],
    now: NDArray[np.bool_],
    before: tuple[NDArray[np.uint64], NDArray[np.void]] | None,
) -> NDArray[np.uint32]:
    """Return the growth of a counter since it was read, or where it was not since its interval began.

    The kernel keeps the low half of what it was then.
    """
    since = np.where(now, detail[name].astype(np.uint16) - detail[begin], 0).astype(np.uint32)
    if before is None or not len(before[0]):
        return since
    rows, known = at(before[0], number)
    old = before[1][name][rows]
    return np.where(known & (detail[name] >= old), detail[name] - old, since).astype(np.uint32)
