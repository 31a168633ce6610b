"""Messages that somebody saved, as a folder that answers questions: files of records and marks, and the sums of them.

A saved feed has no numbers of messages, so what is missing of it is not known. A row that no file has room for is left
out and counted: anybody can write such a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from feed.wire import CHANGE_SCHEMA, QOE_SCHEMA, Message
from history.collect.upkeep import tend
from history.store.files import write
from history.store.layout import HOUR_MS, hours, place
from history.store.schema import BadColumn, table_of

__all__ = ["Put", "put"]

_TABLES = {QOE_SCHEMA: "records", CHANGE_SCHEMA: "marks"}
_ROWS = 65_536  # that wait for their file
_OVER_MS = 3 * HOUR_MS  # after its begin an hour is rolled up
_LAST_MS = 253_402_300_800_000  # the year 10000, for which there is no folder

Hours = dict[tuple[str, int], list[Any]]


@dataclass(slots=True)
class Put:
    """Records that were written, begin and end of them in ms, and rows that were left out."""

    records: int = 0
    first_ms: int = _LAST_MS
    last_ms: int = 0
    left_out: int = 0


def put(messages: Iterable[Message], folder: Path) -> Put:
    """Write messages into files of a folder, and roll them up. Raises OSError."""
    done, waiting = Put(), Hours()
    rows = number = 0
    for message in messages:
        name = _TABLES.get(message.header.schema)
        if name is None:
            continue
        kept = list(_fitting(name, _columns(name, message), message.header.rows))
        done.left_out += message.header.rows - sum(table.num_rows for table in kept)
        for table in kept:
            t_ms = table.column("t_ms").to_numpy()
            if name == "records":
                done.records += table.num_rows
                done.first_ms, done.last_ms = min(done.first_ms, t_ms.min()), max(done.last_ms, t_ms.max())
            of = t_ms // HOUR_MS * HOUR_MS
            for hour_ms in np.unique(of).tolist():
                waiting.setdefault((name, hour_ms), []).append(table.filter(pa.array(of == hour_ms)))
        rows += message.header.rows
        if rows >= _ROWS:
            number, rows = _written(folder, waiting, number), 0
    _written(folder, waiting, number)
    for name in ("records", "facts", "buckets"):
        for hour_ms, _ in list(hours(folder, name)):
            tend(folder, name, hour_ms, hour_ms + _OVER_MS)
    return done


def _columns(name: str, message: Message) -> dict[str, Any]:
    header, count = message.header, message.header.rows
    columns: dict[str, Any] = dict(message.columns)
    columns |= {"nf": [header.nf] * count, "boot": [header.boot] * count, "seq": np.full(count, header.seq)}
    if name == "records":
        columns["app_class"] = [message.app_class] * count
    return columns


def _fitting(name: str, columns: Mapping[str, Any], count: int) -> Iterator[Any]:
    """Yield tables of the rows that fit: halves of what does not, down to the row that it is about."""
    try:
        t_ms = np.asarray(columns["t_ms"], np.int64)
        if not ((t_ms > 0) & (t_ms < _LAST_MS)).all():
            raise BadColumn("a time is none")
        yield table_of(name, columns, count)
    except BadColumn:
        if count > 1:
            middle = count // 2
            yield from _fitting(name, {key: c[:middle] for key, c in columns.items()}, middle)
            yield from _fitting(name, {key: c[middle:] for key, c in columns.items()}, count - middle)


def _written(folder: Path, waiting: Hours, number: int) -> int:
    for (name, hour_ms), parts in waiting.items():
        number += 1
        whole = pa.concat_tables(parts).unify_dictionaries()
        write(place(folder, name, hour_ms, "", number, number).path, whole.schema, [whole])
    waiting.clear()
    return number
