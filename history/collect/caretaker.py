"""The second thread of a collector: it tends files that are written, keeps to age and size, and erases.

It touches closed files alone, and the first thread makes new ones alone, so that neither waits for the other. Whatever
it could not do, because the disk is full or it was killed, it finds undone and does later.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from history.collect.erasing import erase, later, names_of, write_names
from history.collect.intake import UNFIT
from history.collect.sequences import Gap
from history.collect.upkeep import Keep, keep, set_aside, tend
from history.store.layout import HOUR_MS, hours
from history.tables import TABLES

__all__ = ["Caretaker", "request"]

_REQUEST = ".erase-"  # begin of the name of a file with subscribers to be erased: name and until when, in JSON
_TURN_S = 1.0
_TEND_S = 10.0
_KEEP_S = 60.0
_TELL_S = 600.0  # between two sentences on the same trouble
_ORDER = {table: number for number, table in enumerate(TABLES)}  # records before what is made of them


class Caretaker(threading.Thread):
    """Tends a folder until it is stopped.

    *flush* has the other thread write what waits, and returns when it did: then no row of whom is to be erased waits.
    *number* is that of the last writing that the state file knows; what is newer is not merged.
    """

    def __init__(
        self, folder: Path, wanted: Keep, say: Callable[[str], None], flush: Callable[[], None], number: int
    ) -> None:
        super().__init__(name="caretaker", daemon=True)
        self.folder, self.wanted = folder, wanted
        self.bytes_kept = 0
        self.erased: queue.SimpleQueue[Mapping[str, int]] = queue.SimpleQueue()  # names that are gone, and until when
        self.damaged: queue.SimpleQueue[Gap] = queue.SimpleQueue()
        self._say, self._flush = say, flush
        self._names: queue.SimpleQueue[Mapping[str, int]] = queue.SimpleQueue()
        self._lock = threading.Lock()  # of _dirty and _number
        self._number = number
        self._dirty = {(table, hour_ms) for table in TABLES for hour_ms, _ in hours(folder, table)}
        self._stop_ = threading.Event()
        self._told_s: dict[str, float] = {}

    def changed(self, which: Iterable[tuple[str, int]], number: int = 0) -> None:
        """Note tables and hours that got files, and the number of their writing, which came to its end."""
        with self._lock:
            self._dirty.update(which)
            self._number = max(self._number, number)

    def erase(self, until_ms: Mapping[str, int]) -> None:
        """Have subscribers erased, each up to a time; they come back in ``erased``."""
        self._names.put(until_ms)

    def stop(self) -> None:
        """End at the next file, and wait for that."""
        self._stop_.set()
        self.join()

    def run(self) -> None:
        """Do one thing after the other."""
        tended_s = kept_s = -_KEEP_S
        while not self._stop_.wait(_TURN_S):
            self._guarded("erasing", self._erase_wanted)
            if time.monotonic() - kept_s >= _KEEP_S:
                kept_s = time.monotonic()
                self._guarded("removing old files", self._keep)
            if time.monotonic() - tended_s >= _TEND_S:
                tended_s = time.monotonic()
                self._tend()

    def _guarded(self, what: str, work: Callable[[], None]) -> bool:
        try:
            work()
        except (OSError, pa.ArrowException, *UNFIT, LookupError, AttributeError, MemoryError) as error:
            if time.monotonic() - self._told_s.get(what, -_TELL_S) >= _TELL_S:
                self._told_s[what] = time.monotonic()
                why = getattr(error, "strerror", None) or type(error).__name__
                self._say(f"Of the files in {self.folder}, {what} failed: {why}. It is tried again.")
            return False
        return True

    def _keep(self) -> None:
        self.bytes_kept = keep(self.folder, self.wanted, round(time.time() * 1e3))

    def _tend(self) -> None:
        with self._lock:
            dirty = sorted(self._dirty, key=lambda each: (_ORDER[each[0]], each[1]))
        for table, hour_ms in dirty:
            if self._stop_.is_set():
                return
            with self._lock:
                self._dirty.discard((table, hour_ms))
            if self._guarded(f"merging {table}", lambda t=table, h=hour_ms: self._tend_one(t, h)):  # type: ignore[misc]
                continue
            self._set_aside(table, hour_ms)
            self.changed([(table, hour_ms)])

    def _tend_one(self, table: str, hour_ms: int) -> None:
        now_ms = round(time.time() * 1e3)
        with self._lock:
            number = self._number
        if not tend(self.folder, table, hour_ms, now_ms, number):
            self.changed([(table, hour_ms)])
        elif table == "records":
            self.changed([("facts", hour_ms), ("buckets", hour_ms)])

    def _set_aside(self, table: str, hour_ms: int) -> None:
        for file in set_aside(self.folder, table, hour_ms):
            where = str(file.path.parent.relative_to(self.folder))
            self._say(f"A file of {where} cannot be read; it is set aside under a name that begins with .damaged-.")
            now_ms = round(time.time() * 1e3)
            self.damaged.put(Gap("", "", 0, now_ms, where, 0, hour_ms, hour_ms + HOUR_MS, "damaged"))

    def _erase_wanted(self) -> None:
        wanted: dict[str, int] = {}
        requests = list(self.folder.glob(f"{_REQUEST}*.json"))
        for path in requests:
            wanted = later(wanted, self._requested(path).items())
        with suppress(queue.Empty):
            while True:
                wanted = later(wanted, self._names.get_nowait().items())
        if not wanted and not requests:
            return
        try:
            self._flush()
            rows, files = erase(self.folder, wanted)
        except OSError:
            self._names.put(wanted)
            raise
        for path in requests:
            path.unlink(missing_ok=True)
        self.erased.put(wanted)
        self._say(f"{len(wanted)} names of subscribers were erased: {rows} rows in {files} files.")

    def _requested(self, path: Path) -> Mapping[str, int]:
        """Return the names of a request. One that nobody can read must not keep others from being erased."""
        try:
            return names_of(path)
        except (*UNFIT, AttributeError):
            self._say(f"{path} is no request to erase, and is removed. Ask anew: snf collect erase NAME.")
            return {}


def request(folder: Path, names: Sequence[str], until_ms: int) -> Path:
    """Write down that subscribers are to be erased, for whoever collects into *folder*; return the file."""
    path = folder / f"{_REQUEST}{os.urandom(8).hex()}.json"
    write_names(path, dict.fromkeys(names, until_ms))
    return path
