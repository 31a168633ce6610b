"""Keeping of sessions over a restart: the previous process's file is read once, and written anew now and then.

Without a key that the next process will have, too, nothing is written. A file that cannot be written is logged; the
function goes on.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nf.kernel.tell import Tell
from nf.sessions.restart.keep import SOURCES, recall, remember
from nf.sessions.restart.lanes import Lanes
from nf.sessions.restart.restore import put_back, restore
from nf.sessions.store import BindingStore

__all__ = ["REMEMBER_S", "Keeper", "Kept", "collector_paused"]

log = logging.getLogger(__name__)

REMEMBER_S = 60.0  # between two writings of all sessions
Kept = tuple[bytes, BindingStore, Mapping[str, Any]]  # key, sessions, and what dumps the tracker of each interface


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from looking again and again at many new objects that stay."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


class Keeper:
    """The file of sessions of one function; *path* None: there is none. *now_s* is the function's clock."""

    def __init__(self, path: Path | None, lanes: Lanes, now_s: Callable[[], float]) -> None:
        self._path, self._lanes, self._now_s = path, lanes, now_s
        self._recalled = path is None
        self._writing = threading.Lock()

    def recall(self, key: bytes, store: BindingStore, plane: Tell) -> None:
        """Take the previous process's sessions back, at the first call only; the caller guards both tables."""
        found = None if self._recalled or self._path is None else recall(self._path, key, self._now_s())
        self._recalled = True
        if found is None:
            return
        began = time.monotonic()
        with collector_paused():
            for records in found.sessions():
                put_back(plane, restore(store, found.constants, records, SOURCES))
        self._lanes.recall(found.trackers, found.last_number)
        log.info("%d sessions known again in %.1f s", len(store), time.monotonic() - began)

    def remember(self, kept: Kept) -> None:
        """Write the sessions down, if there is a key."""
        path, (key, store, trackers) = self._path, kept
        if path is None or not key:
            return
        with self._writing:
            try:
                remember(path, key, store, trackers, self._now_s())
            except OSError as error:
                log.warning("%s cannot be written: %s", path, error.strerror)

    def remember_often(self, stop: threading.Event, kept: Callable[[], Kept]) -> None:
        """Write them each minute until *stop*."""
        while not stop.wait(REMEMBER_S):
            self.remember(kept())

    def close(self, kept: Kept) -> None:
        """Write them a last time."""
        self.remember(kept)
        self._path = None
