"""A saved feed: JSON lines that ``snf watch --output json`` or ``snf replay --qoe`` wrote, as messages again.

Lines come from a file or a pipe, also from one that is written still: what is there is yielded at once.
"""

from __future__ import annotations

import json
import os
import selectors
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from feed.records import CHANGE_COLUMNS, FLOW_COLUMNS, RECORD_COLUMNS, Column
from feed.wire import CHANGE_SCHEMA, FLOW_SCHEMA, QOE_SCHEMA, Header, Message

__all__ = ["Saved"]

_CHUNK_BYTES = 1 << 18
_LONGEST_LINE = 1 << 20  # a record has some 2,000 characters
_TABLES: Mapping[str, Mapping[str, Column]] = {
    QOE_SCHEMA: RECORD_COLUMNS,
    FLOW_SCHEMA: FLOW_COLUMNS,
    CHANGE_SCHEMA: CHANGE_COLUMNS,
}


@dataclass(slots=True)
class Saved:
    """A reader of one descriptor. ``records`` counts rows of records, ``others`` lines that are no row of a feed."""

    descriptor: int
    records: int = 0
    others: int = 0
    _rest: bytes = field(default=b"")

    def messages(self, seconds: float | None = None, quiet_s: float = 1.0) -> Iterator[Message | None]:
        """Yield messages until the end, or for *seconds*, and None whenever nothing came for *quiet_s*."""
        end_s = None if seconds is None else time.monotonic() + seconds
        with selectors.DefaultSelector() as waiter:
            try:
                waiter.register(self.descriptor, selectors.EVENT_READ)
            except PermissionError:  # epoll(7): a file on a disk, which is always ready
                waiter.close()
            while end_s is None or time.monotonic() < end_s:
                if waiter.get_map() and not waiter.select(quiet_s):
                    yield None
                    continue
                read = os.read(self.descriptor, _CHUNK_BYTES)
                yield from self._decoded(read)
                if not read:
                    return

    def _decoded(self, read: bytes) -> Iterator[Message]:
        *lines, self._rest = (self._rest + read).split(b"\n")
        if not read:
            lines, self._rest = [*lines, self._rest], b""
        elif len(self._rest) > _LONGEST_LINE:
            self._rest, self.others = b"", self.others + 1
        rows = [row for line in lines if line.strip() and (row := self._row(line)) is not None]
        for (schema, nf, of), group in groupby(rows, _kind):
            yield _message(schema, nf, of, list(group))

    def _row(self, line: bytes) -> dict[str, Any] | None:
        try:
            row = json.loads(line)
        except ValueError:  # also of text that is no UTF-8
            row = None
        if not isinstance(row, dict) or not _schema(row):
            self.others += 1
            return None
        self.records += "mos" in row
        return row


def _schema(row: Mapping[str, Any]) -> str:
    if "mos" in row and "subscriber" in row:
        return QOE_SCHEMA
    if "remote" in row:
        return FLOW_SCHEMA
    return CHANGE_SCHEMA if row.keys() >= CHANGE_COLUMNS.keys() else ""


def _kind(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return schema and function of a row, and the class of a record or the subscriber of a flow."""
    schema = _schema(row)
    of = {QOE_SCHEMA: "class", FLOW_SCHEMA: "subscriber"}.get(schema, "")
    return schema, str(row.get("nf") or ""), str(row.get(of) or "")


def _message(schema: str, nf: str, of: str, rows: list[dict[str, Any]]) -> Message:
    family = {QOE_SCHEMA: "qoe.v1", FLOW_SCHEMA: "sub.v1", CHANGE_SCHEMA: "change.v1"}[schema]
    topic = "".join(f"{part}/" for part in (family, nf, *([of] if of else [])))
    columns = {name: _column(column, [row.get(name) for row in rows]) for name, column in _TABLES[schema].items()}
    ends = np.asarray(columns["t_ms"], np.float64) / 1e3
    return Message(topic, Header(schema, nf, "", 0, float(ends.min()), float(ends.max()), len(rows)), columns)


def _column(column: Column, values: Iterable[Any]) -> Any:
    if column.dtype == "str":
        return ["" if value is None else str(value) for value in values]
    numbers = [value if isinstance(value, int | float) and not isinstance(value, bool) else None for value in values]
    if column.dtype.startswith("f"):
        return np.array([np.nan if number is None else number for number in numbers], np.float64)
    return np.array([0 if n is None or not abs(n) < 1 << 62 else int(n) for n in numbers], np.int64)
