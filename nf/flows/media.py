"""Media flows of an interval: peak throughput, video frames, freezes, requests and their answers.

The kernel keeps ``struct detail`` for flows of media applications and reports each closed chunk in a
ring; here both become columns by flow number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.abi import SLOT_UNIT_SHIFT, SLOT_US
from nf.flows.search import at, values_at

__all__ = ["Media", "MediaInterval"]

_PEAK_BPS = np.float32((8 << SLOT_UNIT_SHIFT) * 1_000_000 // SLOT_US)  # unit of struct detail's peak


@dataclass(frozen=True, slots=True)
class MediaInterval:
    """Columns by flow number, sorted; flows without ``struct detail`` are not in it."""

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
    """The counts of the last read, kept while somebody reads media flows."""

    def __init__(self) -> None:
        self._before: tuple[NDArray[np.uint64], NDArray[np.void]] | None = None

    def forget(self) -> None:
        """Forget the counts, as nobody reads: the next `update` covers only the interval that is going on."""
        self._before = None

    def update(
        self, details: tuple[NDArray[np.uint64], NDArray[np.void]], closed: NDArray[np.void], epoch: int
    ) -> MediaInterval:
        """Return the counts since the last call, or without one those of the interval *epoch* that is going on.

        *details* are flow numbers with the ``struct detail`` of each; *closed* are the chunks (``struct chunk``) since.
        """
        number, detail = details
        order = np.argsort(number)
        number, detail = number[order], detail[order]
        rows, inside = at(number, closed["number"])
        now = detail["epoch"] == epoch & 0xFFFF  # other flows had no packet in it
        before, self._before = self._before, (number, detail)
        return MediaInterval(
            number,
            np.where(now, detail["peak"] * _PEAK_BPS, np.float32(0)),
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
    """Return the growth of a counter since its last read; if it was not read, since its interval began.

    The kernel keeps the low half of its value at that begin in the column *begin*.
    """
    since = np.where(now, detail[name].astype(np.uint16) - detail[begin], 0).astype(np.uint32)
    if before is None or not len(before[0]):
        return since
    rows, known = at(before[0], number)
    old = before[1][name][rows]
    return np.where(known & (detail[name] >= old), detail[name] - old, since).astype(np.uint32)
