"""Closed files of a folder, and tables of DuckDB over them; nothing here writes.

`FOLDER/TABLE/date=YYYY-MM-DD/hour=HH/*.parquet` (UTC); a name that begins with a dot is not closed yet. Of `facts` and
`minutes` an hour that was rolled up (``hour-*``) counts instead of its minutes (``minute-*``).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feed.errors import SnfError
from feed.records import Column
from history.tables import TABLES

__all__ = ["check", "closed", "relation"]

_ROLLED = ("facts", "minutes")
_TYPES = {"str": "varchar", "f": "double"}  # other numbers are signed, as the engines have in common


def check(folder: Path) -> None:
    """Raise SnfError in one sentence when a folder has no history."""
    if not folder.is_dir():
        what = "is no folder" if folder.exists() else "is not there"
        raise SnfError(f"{folder} {what}.", "Give the folder that snf collect writes to: --folder FOLDER.")
    try:
        names = {entry.name for entry in os.scandir(folder)}
    except PermissionError:
        raise SnfError(f"{folder} cannot be read by this user.", "Ask its owner, or run as root.") from None
    if not names & TABLES.keys():
        raise SnfError(f"{folder} has no history yet.", "Give the folder that snf collect writes to: --folder FOLDER.")


def closed(folder: Path, table: str, since_ms: int | None = None, until_ms: int | None = None) -> list[str]:
    """Return the closed files of a table whose hours are in a span of time, in order."""
    first, last = (
        _partition(ms) if ms is not None else None for ms in (since_ms, None if until_ms is None else until_ms - 1)
    )
    found: list[str] = []
    for date in _names(folder / table, "date="):
        if (first and date < first[0]) or (last and date > last[0]):
            continue
        for hour in _names(folder / table / date, "hour="):
            if (first and (date, hour) < first) or (last and (date, hour) > last):
                continue
            place = folder / table / date / hour
            there = [n for n in _names(place) if n.endswith(".parquet") and not n.startswith(".")]
            rolled = [n for n in there if n.startswith("hour-")] if table in _ROLLED else []
            found += [str(place / n) for n in rolled or there]
    return found


def _partition(ms: int) -> tuple[str, str]:
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return f"date={moment:%Y-%m-%d}", f"hour={moment:%H}"


def _names(folder: Path, begin: str = "") -> Iterator[str]:
    try:
        yield from sorted(entry.name for entry in os.scandir(folder) if entry.name.startswith(begin))
    except FileNotFoundError:
        return  # no such table yet, or a partition that retention took meanwhile


def relation(connection: Any, table: str, files: Sequence[str], *, alike: bool = True) -> str:
    """Return a select that is the table: its columns, or what stands for them where files have none of a name.

    Columns that a publisher had beside these follow. Whole numbers are signed with 64 bits, as engines have in common.
    Files that are *alike* all have the columns of the last one, which spares looking into each of them first.
    """
    wanted = TABLES[table]
    if not files:
        columns = ", ".join(f"cast(null as {_type(column)}) as {name}" for name, column in wanted.items())
        return f"select {columns} where false"
    listed = ", ".join(_literal(name) for name in reversed(files))  # the columns are those of the first
    source = f"read_parquet([{listed}], union_by_name={not alike}, hive_partitioning=false)"
    there = [row[0] for row in connection.execute(f"describe select * from {source}").fetchall()]
    selected = [_column(name, column, name in there) for name, column in wanted.items()]
    selected += [_identifier(name) for name in there if name not in wanted]
    return f"select {', '.join(selected)} from {source}"


def _column(name: str, column: Column, there: bool) -> str:
    if not there:
        absent = "''" if column.dtype == "str" else "null" if column.dtype.startswith("f") else "0"
        return f"cast({absent} as {_type(column)}) as {name}"
    return f"cast({name} as {_type(column)}) as {name}"


def _type(column: Column) -> str:
    return _TYPES.get(column.dtype, _TYPES.get(column.dtype[0], "bigint"))


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
