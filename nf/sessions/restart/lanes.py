"""Numbers for the sessions of each signalling listener, and the PFCP trackers left by the previous process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["Lanes"]

_LANE = 1_000_000_000  # keys of sessions of one listener: those of two must differ


class Lanes:
    """Lanes of numbers: each new listener gets its own, above all those of the previous process."""

    def __init__(self) -> None:
        self._next = 0
        self._left: dict[str, Any] = {}  # dumped PFCP trackers that wait for their interface

    def recall(self, trackers: Mapping[str, Any], last_number: int) -> None:
        """Keep the previous process's PFCP trackers for the listeners; *last_number* is their largest key."""
        self._left, self._next = dict(trackers), last_number // _LANE + 1

    def take(self, interface: str) -> tuple[int, Any | None]:
        """Return the number before the first of a new listener, and the dumped tracker that it goes on with."""
        lane, self._next = self._next, self._next + 1
        return lane * _LANE, self._left.pop(interface, None)
