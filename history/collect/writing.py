"""Rows that wait become files: all of a writing or none of it, at the moment at which the ledger is saved.

A writing has files of several tables and hours. They are written aside as rows come, closed, named, and then the
ledger is saved; what fails before that leaves nothing, and the messages that it held are told as a gap. A full disk
ends the writing so, and what comes is counted and dropped until there is room: memory is no place to wait for it.
"""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from history.collect.intake import Waiting, rows_of_gaps
from history.collect.ledger import Ledger
from history.collect.sequences import Gap, Sequences
from history.store.files import Draft, sync_folder
from history.store.layout import HOUR_MS, place
from history.store.schema import Values

__all__ = ["RESERVE_BYTES", "Writing"]

RESERVE_BYTES = 16 << 20  # left free: the state file, and rows that say what was lost, have to find room
_MOST_GAPS = 100_000  # that wait to be written
_AGAIN_S = 1.0  # between two looks at a full disk
_TELL_S = 60.0  # between two sentences about it
_GROUP = 32_768  # rows of all columns that wait in memory, some 10 MB, before they go into a file
_LARGE = 524_288  # rows after which a writing ends before its time, so that a file can be rolled up in little memory

_Runs = dict[tuple[str, str, str], list[list[int]]]  # topics: first number, messages, begin and end of each run


class Writing:
    """Rows of tables by hour on their way to the disk. Used by one thread.

    ``full`` says that the disk takes nothing: then `miss` is what is left to do with a message.
    """

    def __init__(self, folder: Path, ledger: Ledger, sequences: Sequences, say: Callable[[str], None]) -> None:
        self.folder, self.ledger, self.sequences = folder, ledger, sequences
        self.full = False
        self.files = self.missed = self.written_rows = 0
        self.unwritten = 0  # messages that the disk did not take, all of them; `missed` are those since it was full
        self.number = ledger.number  # of the last writing that came to its end
        self._say = say
        self._number = ledger.number
        self._waiting: dict[tuple[str, int], Waiting] = {}
        self._drafts: dict[tuple[str, int], tuple[Draft, Any]] = {}  # and its schema
        self._done: list[tuple[tuple[str, int], Draft]] = []  # of which no more rows come
        self._held: _Runs = {}
        self._full: _Runs = {}  # of what the disk did not take
        self._gaps: list[Gap] = []
        self._rows = 0
        self._told_s = self._failed_s = -math.inf

    @property
    def large(self) -> bool:
        """Say whether so many rows are in this writing that it should end."""
        return self._rows >= _LARGE

    def hold(self, nf: str, boot: str, topic: str, seq: int, span_ms: tuple[int, int]) -> None:
        """Note that the rows of a message come with this writing, and are lost with it."""
        _count(self._held, (nf, boot, topic), seq, 1, span_ms)

    def lose(self, nf: str, boot: str, topic: str, seq: int, span_ms: tuple[int, int]) -> None:
        """Note a message that came while the disk was full."""
        self.missed += 1
        self.unwritten += 1
        _count(self._full, (nf, boot, topic), seq, 1, span_ms)

    def add(self, table: str, hour_ms: int, columns: Mapping[str, Values], rows: int) -> None:
        """Take rows of a table for an hour."""
        key = (table, hour_ms // HOUR_MS * HOUR_MS)
        waiting = self._waiting.get(key) or self._waiting.setdefault(key, Waiting(table))
        waiting.add(columns, rows)
        self._rows += rows
        if waiting.rows >= _GROUP:
            try:
                self._spill(key, waiting)
            except OSError as error:
                self._fail(error)

    def miss(self, gap: Gap) -> None:
        """Take a gap, to be written when something can be; a publisher of nonsense must not fill the memory."""
        if len(self._gaps) < _MOST_GAPS:
            self._gaps.append(gap)

    def commit(self) -> set[tuple[str, int]]:
        """Write what waits; return the tables and hours that got a file. A failure is told, and leaves nothing."""
        for gap in self.sequences.take_gaps():
            self.miss(gap)
        if self.full or not (self._rows or self._gaps or self._held or self._full):
            return set()
        named: list[Path] = []
        try:
            if self.free_bytes() < RESERVE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written = self._name(named)
        except OSError as error:
            for path in named:
                path.unlink(missing_ok=True)
            self._fail(error)
            return set()
        self.files += len(named)
        self.written_rows += self._rows
        self._begin_anew()
        self._gaps, self._full = [], {}
        return written

    def _name(self, named: list[Path]) -> set[tuple[str, int]]:
        """Close all files, give them their names, which are appended to *named*, and save the ledger."""
        for key, waiting in self._waiting.items():
            self._spill(key, waiting)
        self._write_gaps(round(time.time() * 1e3))
        drafts = [*self._done, *((key, draft) for key, (draft, _) in self._drafts.items())]
        for _, draft in drafts:
            draft.close()
        for _, draft in drafts:
            draft.publish()
            named.append(draft.path)
        for where in {parent for path in named for parent in path.parents[:3]}:
            sync_folder(where)
        self.ledger.number, self.ledger.sequences = self._number, self.sequences.kept()
        self.ledger.save(self.folder)
        self.number = self._number
        return {key for key, _ in drafts}

    def look_again(self) -> None:
        """While the disk was full: see now and then whether it has room again, and tell."""
        if not self.full or time.monotonic() - self._failed_s < _AGAIN_S or self.free_bytes() < 2 * RESERVE_BYTES:
            return
        self.full = False
        self._say(f"The disk has room again; {self.missed} messages were not written, as the table gaps tells.")
        self.missed = 0

    def free_bytes(self) -> int:
        """Return the bytes that the disk has left for us."""
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize

    def _spill(self, key: tuple[str, int], waiting: Waiting) -> None:
        if not waiting.rows:
            return
        table = waiting.take()
        draft, schema = self._drafts.get(key, (None, None))
        if draft is None or not table.schema.equals(schema):
            if draft is not None:
                self._done.append((key, draft))
            self._number += 1
            draft = Draft(place(self.folder, key[0], key[1], "", self._number, self._number).path, table.schema)
            self._drafts[key] = (draft, table.schema)
        draft.write(table)

    def _write_gaps(self, now_ms: int) -> None:
        full = [
            Gap(nf, boot, seq, now_ms, topic, messages, since_ms, until_ms, "full")
            for (nf, boot, topic), runs in self._full.items()
            for seq, messages, since_ms, until_ms in runs
        ]
        if gaps := [*self._gaps, *full]:
            waiting = Waiting("gaps")
            waiting.add(rows_of_gaps(gaps), len(gaps))
            self._spill(("gaps", now_ms // HOUR_MS * HOUR_MS), waiting)

    def _fail(self, error: OSError) -> None:
        for draft in (*(draft for _, draft in self._done), *(draft for draft, _ in self._drafts.values())):
            draft.discard()
        self._number = self.ledger.number
        for key, runs in self._held.items():
            for seq, messages, since_ms, until_ms in runs:
                self.missed += messages
                self.unwritten += messages
                _count(self._full, key, seq, messages, (since_ms, until_ms))
        self._begin_anew()
        self.full, self._failed_s = True, time.monotonic()
        if self._failed_s - self._told_s >= _TELL_S:
            self._told_s = self._failed_s
            why = os.strerror(error.errno) if error.errno else "it cannot be written"
            self._say(f"The disk of {self.folder} takes nothing: {why}. Nothing is kept until it does.")

    def _begin_anew(self) -> None:
        self._waiting, self._drafts, self._done, self._held, self._rows = {}, {}, [], {}, 0


def _count(of: _Runs, key: tuple[str, str, str], seq: int, messages: int, span_ms: tuple[int, int]) -> None:
    """Note messages: in one row with those before, unless others, which were not of these, are between them."""
    runs = of.setdefault(key, [])
    if not runs or runs[-1][0] + runs[-1][1] != seq:
        runs.append([seq, messages, *span_ms])
        return
    last = runs[-1]
    last[1] += messages
    last[2], last[3] = min(last[2], span_ms[0]), max(last[3], span_ms[1])
