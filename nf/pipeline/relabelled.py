"""Sessions whose label may be another than those know who asked for it."""

from __future__ import annotations

import threading

__all__ = ["Relabelled"]


class Relabelled:
    """Numbers of sessions that changed, for two that ask at times of their own; any thread may say so."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._for_homes: list[int] = []
        self._for_shards: list[int] = []

    def note(self, sessions: list[int]) -> None:
        """Take note of some."""
        with self._lock:
            self._for_homes.extend(sessions)
            self._for_shards.extend(sessions)

    def for_homes(self) -> list[int]:
        """Return those since the last call."""
        with self._lock:
            found, self._for_homes = self._for_homes, []
            return found

    def for_shards(self) -> list[int]:
        """Return those since the last call."""
        with self._lock:
            found, self._for_shards = self._for_shards, []
            return found
