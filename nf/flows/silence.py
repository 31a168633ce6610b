"""The silence of the flow in each place of the table, which leaves in time.

One column of times, as long as the table, is all that grows with it: what an interval costs for flows without a packet
is one comparison of that column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.flows.book import age_us
from nf.flows.over import SILENT_S

__all__ = ["Silence"]


class Silence:
    """The last packets of the flows in so many *places*, by the low half of the microsecond clock (``abi.h``)."""

    def __init__(self, places: int) -> None:
        self._last_us, self._here = np.zeros(places, np.uint32), np.zeros(places, np.bool_)
        self._asked_ns = 0  # when silent flows were last asked whether they are over

    def __len__(self) -> int:
        """Return how many flows there are."""
        return int(np.count_nonzero(self._here))

    def note(self, places: NDArray[np.intp], flows: NDArray[np.void], now_ns: int) -> None:
        """Record the last packets of flows as their states say them."""
        self._last_us[places] = _low_us(now_ns) - age_us(flows, now_ns)
        self._here[places] = True

    def leave(self, places: NDArray[Any]) -> None:
        """Forget flows."""
        self._here[places] = False

    def idle(self, seconds: float, now_ns: int) -> NDArray[np.intp]:
        """Return the places of the flows that were silent for so long."""
        return np.flatnonzero((_low_us(now_ns) - self._last_us > np.uint32(seconds * 1e6)) & self._here)

    def perhaps_over(self, now_ns: int) -> NDArray[np.intp]:
        """Return the places of the flows that were silent for `SILENT_S` since the last call, each once.

        A silent flow does not change, so it is asked once whether it is over.
        """
        age = _low_us(now_ns) - self._last_us - np.uint32(SILENT_S * 1e6) - np.uint32(1)
        since_us = min((now_ns - self._asked_ns) // 1000, 0x7FFF_FFFF)
        self._asked_ns = now_ns
        return np.flatnonzero((age < np.uint32(since_us)) & self._here)


def _low_us(now_ns: int) -> np.uint32:
    return np.uint32(now_ns // 1000 & 0xFFFF_FFFF)
