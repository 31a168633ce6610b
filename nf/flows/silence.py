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

_BLOCK = 65_536  # places; their columns fit the second-level cache


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

    def due(self, idle_s: float, now_ns: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the places of the flows that were silent for *idle_s*, and of those that may be over.

        The latter were silent for `SILENT_S` since the last call, and are returned once: a silent flow does not change.
        """
        since_us = min((now_ns - self._asked_ns) // 1000, 0x7FFF_FFFF)
        self._asked_ns = now_ns
        idle, silent = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
        for first in range(0, len(self._last_us), _BLOCK):
            here = self._here[first : first + _BLOCK]
            age = _low_us(now_ns) - self._last_us[first : first + _BLOCK]
            idle.append(np.flatnonzero((age > np.uint32(idle_s * 1e6)) & here) + first)
            age -= np.uint32(SILENT_S * 1e6 + 1)
            silent.append(np.flatnonzero((age < np.uint32(since_us)) & here) + first)
        return np.concatenate(idle), np.concatenate(silent)


def _low_us(now_ns: int) -> np.uint32:
    return np.uint32(now_ns // 1000 & 0xFFFF_FFFF)
