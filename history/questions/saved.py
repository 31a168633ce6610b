"""Messages that somebody saved, as a folder that answers questions: files of records and marks, and the sums of them.

A saved feed has no numbers of messages, so what is missing of it is not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from feed.wire import CHANGE_SCHEMA, QOE_SCHEMA, Message
from history.collect.upkeep import tend
from history.store.files import write
from history.store.layout import HOUR_MS, hours, place
from history.store.schema import table_of

__all__ = ["put"]

_TABLES = {QOE_SCHEMA: "records", CHANGE_SCHEMA: "marks"}
_ROWS = 65_536  # that wait for their file
_OVER_MS = 3 * HOUR_MS  # after its begin an hour is rolled up

Hours = dict[tuple[str, int], list[Any]]


def put(messages: Iterable[Message], folder: Path) -> tuple[int, int] | None:
    """Write messages into files; return begin and end of their records in ms, None without any. Raises OSError."""
    waiting: Hours = {}
    rows = number = 0
    first_ms, last_ms = 1 << 62, -1
    for message in messages:
        table = _TABLES.get(message.header.schema)
        if table is None:
            continue
        if table == "records":
            t_ms = np.asarray(message.columns["t_ms"], np.int64)
            first_ms, last_ms = min(first_ms, int(t_ms.min())), max(last_ms, int(t_ms.max()))
        for hour_ms, part in _by_hour(table, message):
            waiting.setdefault((table, hour_ms), []).append(part)
        rows += message.header.rows
        if rows >= _ROWS:
            number, rows = _written(folder, waiting, number), 0
    _written(folder, waiting, number)
    for table in ("records", "facts", "buckets"):
        for hour_ms, _ in list(hours(folder, table)):
            tend(folder, table, hour_ms, hour_ms + _OVER_MS)
    return (first_ms, last_ms) if last_ms >= 0 else None


def _by_hour(table: str, message: Message) -> Iterable[tuple[int, Any]]:
    """Yield the rows of each hour, as a reader looks for them by it."""
    count, header = message.header.rows, message.header
    columns = {name: column for name, column in message.columns.items() if name != "seq"}
    columns |= {"nf": [header.nf] * count, "boot": [header.boot] * count, "seq": np.full(count, header.seq)}
    if table == "records":
        columns["app_class"] = [message.app_class] * count
    made = table_of(table, columns, count)
    of = np.asarray(message.columns["t_ms"], np.int64) // HOUR_MS * HOUR_MS
    for hour_ms in np.unique(of).tolist():
        yield hour_ms, made.filter(pa.array(of == hour_ms))


def _written(folder: Path, waiting: Hours, number: int) -> int:
    for (table, hour_ms), parts in waiting.items():
        number += 1
        whole = pa.concat_tables(parts).unify_dictionaries()
        write(place(folder, table, hour_ms, "", number, number).path, whole.schema, [whole])
    waiting.clear()
    return number
