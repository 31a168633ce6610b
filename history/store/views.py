"""The SQL of the tables over closed files, for DuckDB: one view a table, and what `facts` is.

`facts` are hours where an hour was rolled up, else minutes, else records that are summed in the query: by the numbers
in the names of files each record is in one of the three. `minutes` are files where they were rolled up, and else the
minutes of facts summed over subscribers. A record is of the minute in which its interval ended.

The lists of files are made with the text, so a view is of the moment. Between the two a file may be merged away: then
DuckDB says that it is not there (`duckdb.IOException`), and the views have to be made again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from history.store.layout import HOUR, MINUTE, MINUTE_MS, Closed, closed
from history.tables import DIMENSIONS, LEVELS, MEASURES, PLACES, SUMS, TABLES

__all__ = ["of_one_kind", "statements"]

_TYPES = {
    "str": "VARCHAR",
    "u1": "UTINYINT",
    "u4": "UINTEGER",
    "u8": "BIGINT",
    "i4": "INTEGER",
    "i8": "BIGINT",
    "f4": "FLOAT",
    "f8": "DOUBLE",
}
_FIRST = re.compile(r"read_parquet\(\['([^']+)'")  # the first file of a list
_POOR = 3  # a score below it is poor or bad (ITU-T P.800)
_BELOW = dict(zip(LEVELS, (0, *LEVELS), strict=False))  # lines of a level to those of the one below it
_SIDES = tuple(name.removeprefix("suspect_") for name in SUMS if name.startswith("suspect_"))


def statements(folder: Path, since_ms: int | None = None, until_ms: int | None = None) -> Iterator[str]:
    """Yield a CREATE VIEW for each table, of the files with rows from *since_ms* to *until_ms*."""

    def files(table: str) -> list[Closed]:
        return closed(folder, table, since_ms, until_ms)

    for table in TABLES:
        if table not in ("facts", "minutes"):
            yield _view(table, _read(table, files(table)))
    facts, records, minutes = files("facts"), files("records"), files("minutes")
    by_hour = [file for file in facts if file.span == HOUR]
    by_minute = [file for file in facts if file.span == MINUTE]
    yield _view("facts", _facts(by_hour, _beside(by_minute, by_hour), _beside(records, facts)))
    # Each minute that no file of minutes has, of whatever is there of it.
    rest = _facts([], _beside(by_minute, minutes), _beside(records, [*by_minute, *minutes]))
    yield _view("minutes", f"{_read('minutes', minutes)} UNION ALL BY NAME {_summed_over_subscribers(rest)}")


def of_one_kind(folder: Path, text: str) -> str:
    """Return text of views that takes the columns of each list's first file for those of all, as far as that is right.

    It spares looking into each file before it is read. The first one has to have all columns of its table: what others
    have more, DuckDB leaves out without a word. Where they have less it raises an error, and the text as it was is to
    be asked. Columns that no table has are not seen by this one.
    """
    if all(_is_whole(folder, Path(first)) for first in _FIRST.findall(text)):
        return text.replace("union_by_name = true", "union_by_name = false")
    return text


@lru_cache(1024)
def _is_whole(folder: Path, file: Path) -> bool:
    """Say whether a file has all columns of its table, as one of a version before has not."""
    try:
        there = pq.read_schema(file).names
    except (OSError, pa.ArrowInvalid):  # merged away meanwhile, or damaged: the question will say so
        return False
    return TABLES[file.relative_to(folder).parts[0]].keys() <= {*there}


def _beside(files: Iterable[Closed], sums: Sequence[Closed]) -> list[Closed]:
    """Return the files that none of *sums* stands for."""
    by_hour: dict[int, list[Closed]] = {}
    for file in sums:
        by_hour.setdefault(file.hour_ms, []).append(file)
    return [file for file in files if not any(s.stands_for(file) for s in by_hour.get(file.hour_ms, ()))]


def _view(table: str, select: str) -> str:
    return f"CREATE OR REPLACE VIEW {table} AS {select}"


def _read(table: str, files: Sequence[Closed]) -> str:
    """Return a SELECT of the rows of files: dimensions that were not known yet when a file was written are empty."""
    columns = {**TABLES[table], **(PLACES if table == "records" else {})}
    typed = ", ".join(f"CAST(NULL AS {_TYPES[c.dtype]}) AS {_name(name)}" for name, c in columns.items())
    empty = f"SELECT {typed} WHERE false"
    if not files:
        return empty
    told = ", ".join(f"coalesce({_name(n)}, '') AS {_name(n)}" for n in DIMENSIONS if n in columns)
    paths = ", ".join("'" + str(file.path).replace("'", "''") + "'" for file in files)
    rows = f"SELECT * FROM read_parquet([{paths}], union_by_name = true, hive_partitioning = false)"
    both = f"{empty} UNION ALL BY NAME {rows}"
    return f"SELECT * REPLACE ({told}) FROM ({both})" if told else f"SELECT * FROM ({both})"


def _name(column: str) -> str:
    return f'"{column}"'


def _facts(by_hour: Sequence[Closed], by_minute: Sequence[Closed], records: Sequence[Closed]) -> str:
    rolled = _read("facts", [*by_hour, *by_minute])
    return f"{rolled} UNION ALL BY NAME {_summed(_read('records', records))}" if records else rolled


def _keys(*names: str) -> str:
    return ", ".join(_name(name) for name in (*names, *DIMENSIONS))


def _summed(records: str) -> str:
    """Return a SELECT of the facts of records, by minute."""
    t_ms = f"(t_ms - 1) // {MINUTE_MS} * {MINUTE_MS}"
    sums = ", ".join(f"CAST({_of_records(name)} AS {_TYPES[c.dtype]}) AS {_name(name)}" for name, c in SUMS.items())
    return (
        f"SELECT {t_ms} AS t_ms, CAST({MINUTE_MS} AS UINTEGER) AS span_ms, {_keys('subscriber')}, {sums} "
        f"FROM ({records}) GROUP BY {t_ms}, {_keys('subscriber')}"
    )


def _of_records(name: str) -> str:
    """Return the aggregate that makes a column of SUMS out of records."""
    measure, _, kind = name.rpartition("_")
    if measure in MEASURES and kind == "sum":
        return f"coalesce(sum(CAST({_name(measure)} AS DOUBLE)), 0)"
    if measure in MEASURES and kind == "n":
        return f"count({_name(measure)})"
    if name.startswith("suspect_") and name.removeprefix("suspect_") in _SIDES:
        return f"sum(CASE WHEN suspect = '{name.removeprefix('suspect_')}' THEN 1 ELSE 0 END)"
    for lines, below in _BELOW.items():
        if name == f"level_{lines}_ms":
            most = f" AND video_height <= {lines}" if lines < max(LEVELS) else ""
            return f"sum(CASE WHEN video_height > {below}{most} THEN interval_ms ELSE 0 END)"
    return {
        "sessions": "0",  # of records that are not rolled up yet nobody has looked at the minutes before
        "records": "count(*)",
        "active_ms": "sum(interval_ms)",
        "peak_dl_bps": "coalesce(max(dl_bps), 0)",
        "bad": f"sum(CASE WHEN mos < {_POOR} THEN 1 ELSE 0 END)",
    }.get(name, f"coalesce(sum({_name(name)}), 0)")


def _summed_over_subscribers(facts: str) -> str:
    sums = ", ".join(
        f"CAST({'max' if name == 'peak_dl_bps' else 'sum'}({_name(name)}) AS {_TYPES[c.dtype]}) AS {_name(name)}"
        for name, c in SUMS.items()
    )
    return (
        f"SELECT t_ms, span_ms, {_keys()}, CAST(count(DISTINCT subscriber) AS UINTEGER) AS subscribers, {sums} "
        f"FROM ({facts}) GROUP BY t_ms, span_ms, {_keys()}"
    )
