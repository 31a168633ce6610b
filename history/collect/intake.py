"""Messages as rows of tables, and rows that wait to be written, in columns as they came.

Nothing is done to a row: columns of a message stand one behind the other until there are enough of them, and text is
coded anew, by its distinct values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed import wire
from feed.columns import Coded
from history.collect.erasing import later
from history.collect.sequences import Gap
from history.store.schema import BadColumn, Values, check, narrow, table_of

__all__ = ["UNFIT", "Waiting", "health_of", "names_of_purge", "rows_of_gaps", "rows_of_message", "tables"]

tables: Mapping[str, str] = {
    wire.QOE_SCHEMA: "records",
    wire.CHANGE_SCHEMA: "marks",
    wire.DELAY_SCHEMA: "delays",
    wire.ALARM_SCHEMA: "alarms",
}
"""The table of each schema that is kept as it comes."""

UNFIT = (ValueError, TypeError, ArithmeticError)
"""What numpy and Python say of values that do not fit; BadColumn is one of them."""
_MOST = 1 << 63  # eight bytes are signed in a file
_NEVER = frozenset({"imsi"})  # a column that no table of ours has, whoever sends it


def rows_of_message(message: wire.CodedMessage) -> tuple[str, dict[str, Values]]:
    """Return the table of a message and its columns there. Raises BadColumn."""
    header, rows = message.header, message.header.rows
    table = tables[header.schema]
    columns: dict[str, Values] = {name: c for name, c in message.columns.items() if name.lower() not in _NEVER}
    columns |= _function(header, rows)
    if table == "records":
        columns["app_class"] = _same(message.topic.split("/")[2], rows)
        columns["epoch"] = np.broadcast_to(np.int64(header.epoch), rows)  # of the key that gave the names
    check(table, columns)
    return table, columns


def health_of(message: wire.CodedMessage, came_ms: int) -> dict[str, Values]:
    """Return the one row of a heartbeat, whose columns but those of topics are equal in all rows. Raises BadColumn.

    Its time is what it says, or *came_ms* where that is no time that a file has room for.
    """
    end_ms = message.header.t_end * 1e3
    at_ms = round(end_ms) if 0 <= end_ms < _MOST else came_ms  # NaN is in no range
    columns: dict[str, Values] = {}
    for name, column in message.columns.items():
        if name in ("topic", "next_seq"):
            continue
        columns[name] = Coded(column.values, column.index[:1]) if isinstance(column, Coded) else column[:1]
    columns |= {**_function(message.header, 1), "t_ms": np.array([at_ms], np.int64)}
    check("health", columns)
    return columns


def names_of_purge(message: wire.CodedMessage) -> dict[str, int]:
    """Return the names of who is to be erased, and the time in ms up to which. Raises BadColumn."""
    names, times = message.columns.get("subscriber"), message.columns.get("t_ms")
    if not isinstance(names, Coded) or not isinstance(times, np.ndarray) or times.dtype.kind not in "iu":
        raise BadColumn("there are no names, or no times")
    check("health", {"t_ms": times})
    return later({}, ((names.values[at], int(t)) for at, t in zip(names.index.tolist(), times.tolist(), strict=True)))


def rows_of_gaps(gaps: Sequence[Gap]) -> dict[str, Values]:
    """Return gaps as columns of their table."""
    numbers = ("seq", "t_ms", "messages", "since_ms", "until_ms")
    return {
        name: np.array([max(0, getattr(gap, name)) for gap in gaps], np.int64)
        if name in numbers
        else [getattr(gap, name) for gap in gaps]
        for name in Gap.__slots__
    }


def _function(header: wire.Header, rows: int) -> dict[str, Values]:
    return {
        "nf": _same(header.nf, rows),
        "boot": _same(header.boot, rows),
        "seq": np.broadcast_to(np.int64(header.seq), rows),
    }


def _same(text: str, rows: int) -> Coded:
    return Coded([text], np.broadcast_to(np.uint8(0), rows))


class Waiting:
    """Rows of one table that wait; ``rows`` is their number."""

    def __init__(self, table: str) -> None:
        self.table, self.rows = table, 0
        self._pieces: list[tuple[int, dict[str, Values]]] = []

    def add(self, columns: Mapping[str, Values], rows: int) -> None:
        """Take columns of one length, which `check` passed."""
        self._pieces.append((rows, {name: narrow(self.table, name, values) for name, values in columns.items()}))
        self.rows += rows

    def take(self) -> Any:
        """Return all rows as a pyarrow table, and have none any more."""
        pieces, rows = self._pieces, self.rows
        self._pieces, self.rows = [], 0
        names = dict.fromkeys(name for _, columns in pieces for name in columns)
        return table_of(self.table, {name: _joined(name, pieces) for name in names}, rows)


def _joined(name: str, pieces: Sequence[tuple[int, dict[str, Values]]]) -> Values:
    """Return a column of all pieces, which have it no more: so that it is in memory once."""
    parts = [(rows, columns.pop(name, None)) for rows, columns in pieces]
    if any(part is not None and not isinstance(part, np.ndarray) for _, part in parts):
        return _joined_text(parts)
    return np.concatenate(
        [np.full(rows, np.nan, np.float32) if part is None else np.asarray(part) for rows, part in parts]
    )


def _joined_text(parts: Sequence[tuple[int, Values | None]]) -> Coded:
    numbers: dict[str, int] = {}
    index: list[Any] = []
    for rows, part in parts:
        if part is None:
            index.append(np.full(rows, numbers.setdefault("", len(numbers)), np.int32))
            continue
        if isinstance(part, Coded):
            coded = part
        else:  # numbers: of another version in which the column was that, or without a value in any row
            texts = part if not isinstance(part, np.ndarray) else _texts(part)
            coded = Coded(list(texts), np.arange(rows))
        table = np.array([numbers.setdefault(value, len(numbers)) for value in coded.values], np.int32)
        index.append(table[coded.index])
    return Coded(list(numbers), np.concatenate(index))


def _texts(values: NDArray[Any]) -> list[str]:
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), np.bool_)
    return ["" if nothing else str(value) for value, nothing in zip(values.tolist(), missing.tolist(), strict=True)]
