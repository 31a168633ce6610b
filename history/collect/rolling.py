"""Records to facts, facts to hours and minutes, values to buckets: sums over groups of rows, in numpy.

A file is read a column at a time, so that memory is that of a column and of the groups. The sums of a column are one
bincount; what a group is, is found once. Everything here is what `history.store.views` says in SQL of records that are
not rolled up yet, and a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feed import buckets
from feed.columns import Coded
from feed.records import RECORD_COLUMNS
from history.store.layout import HOUR_MS, MINUTE_MS
from history.store.schema import Values, table_of
from history.tables import DIMENSIONS, LEVELS, MEASURES, SUMS

__all__ = ["buckets_of", "counts_of", "facts_of_facts", "facts_of_records", "minutes_of_facts"]

_TOGETHER = 262_144  # rows of facts that are in memory at a time
_PAUSE_MS = 10 * MINUTE_MS  # as `sessions` of history/tables.py says
_POOR = 3.0  # a score below it is poor or bad (ITU-T P.800)
_LARGE = 1 << 40  # of a key that is put together; it is made small again before it can overflow

Column = Callable[[str], Any]  # the pyarrow array of a column, or None


@dataclass(frozen=True, slots=True)
class _Groups:
    """Groups of rows: ``of`` is the group of each row, ``keys`` the columns that rows of a group have in common."""

    of: NDArray[np.int64]
    count: int
    keys: Mapping[str, Values]

    def sums(self, values: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Return the sum of each group; without values the number of its rows. NaN counts as nothing."""
        weights = None if values is None else np.nan_to_num(values.astype(np.float64, copy=False))
        return np.bincount(self.of, weights, self.count).astype(np.float64, copy=False)

    def largest(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the largest value of each group, 0 at least."""
        found = np.zeros(self.count)
        np.maximum.at(found, self.of, np.nan_to_num(values.astype(np.float64, copy=False)))
        return found


def _grouped(keys: Sequence[tuple[str, Values]]) -> _Groups:
    """Return the groups of rows that are equal in all of *keys*, in their order."""
    key, size = np.zeros(len(keys[0][1]), np.int64), 1
    coded: list[tuple[str, NDArray[Any], NDArray[Any]]] = []
    for name, values in keys:
        codes, distinct = _ranked(values)
        coded.append((name, codes, distinct))
        if size * len(distinct) > _LARGE:
            _, key = np.unique(key, return_inverse=True)
            size = int(key.max(initial=0)) + 1
        key = key * len(distinct) + codes
        size *= max(1, len(distinct))
    _, first, of = np.unique(key, return_index=True, return_inverse=True)
    return _Groups(of.astype(np.int64), len(first), {name: _picked(d, codes[first]) for name, codes, d in coded})


def _ranked(values: Values) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the rank of each row's value among the distinct ones, and these in order."""
    if not isinstance(values, Coded):
        distinct, codes = np.unique(np.asarray(values), return_inverse=True)
        return codes.astype(np.int64), distinct
    names = np.array(values.values, object)
    order = np.argsort(names, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return rank[values.index], names[order]


def _picked(distinct: NDArray[Any], codes: NDArray[Any]) -> Values:
    return Coded(distinct.tolist(), codes) if distinct.dtype == object else distinct[codes]


# -- columns of files ----------------------------------------------------------


def _columns_of(path: Path) -> tuple[Column, int]:
    """Return what reads a column of a file, and its rows."""
    file = pq.ParquetFile(path)  # text comes as the dictionaries that it was written as
    names = set(file.schema_arrow.names)

    def column(name: str) -> Any:
        return file.read([name], use_threads=False).column(0) if name in names else None

    return column, file.metadata.num_rows


def _text(column: Any, rows: int) -> Coded:
    if column is None:
        return Coded([""], np.zeros(rows, np.int32))
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    joined = column.unify_dictionaries().combine_chunks()
    joined = joined if isinstance(joined, pa.Array) else joined.chunk(0) if joined.num_chunks else None
    if joined is None:
        return Coded([""], np.zeros(rows, np.int32))
    index = joined.indices.fill_null(len(joined.dictionary)) if joined.null_count else joined.indices
    return Coded(
        [*joined.dictionary.to_pylist(), ""] if joined.null_count else joined.dictionary.to_pylist(), index.to_numpy()
    )


def _number(column: Any, rows: int) -> NDArray[Any]:
    if column is None:
        return np.full(rows, np.nan)
    values: NDArray[Any] = column.to_numpy()  # nulls become NaN
    return values


# -- records -------------------------------------------------------------------


def _begin(t_ms: NDArray[Any], span_ms: int) -> NDArray[np.int64]:
    """Return the begin of the span in which intervals ended."""
    at: NDArray[np.int64] = (np.nan_to_num(t_ms).astype(np.int64) - 1) // span_ms * span_ms
    return at


def facts_of_records(path: Path) -> Iterator[Any]:
    """Yield the facts of a file of records by minute, as tables in the order of subscribers."""
    column, rows = _columns_of(path)
    texts = [(name, _text(column(name), rows)) for name in ("subscriber", *DIMENSIONS)]
    groups = _grouped([texts[0], ("t_ms", _begin(_number(column("t_ms"), rows), MINUTE_MS)), *texts[1:]])
    del texts
    yield from _tables("facts", groups, MINUTE_MS, _sums_of_records(column, rows, groups))


def _sums_of_records(column: Column, rows: int, groups: _Groups) -> dict[str, NDArray[np.float64]]:
    sums = {"records": groups.sums(), "active_ms": groups.sums(_number(column("interval_ms"), rows))}
    for name in ("ul_bytes", "dl_bytes", "stalled_s", "stalls", "freezes"):
        sums[name] = groups.sums(_number(column(name), rows))
    sums["peak_dl_bps"] = groups.largest(_number(column("dl_bps"), rows))
    suspect = _text(column("suspect"), rows)
    for name in SUMS:
        if name.startswith("suspect_"):
            side = name.removeprefix("suspect_")
            number = suspect.values.index(side) if side in suspect.values else -1
            sums[name] = groups.sums(suspect.index == number)
    for name in MEASURES:
        values = _number(column(name), rows)
        there = ~np.isnan(values)
        sums[f"{name}_n"] = groups.sums(there)
        sums[f"{name}_sum"] = groups.sums(values)
        if name == "mos":
            sums["bad"] = groups.sums(values < _POOR)
    height, active, below = _number(column("video_height"), rows), _number(column("interval_ms"), rows), 0
    for lines in LEVELS:
        most = lines if lines < max(LEVELS) else np.inf
        sums[f"level_{lines}_ms"] = groups.sums(np.where((height > below) & (height <= most), active, 0))
        below = lines
    return {**sums, "sessions": np.zeros(groups.count)}  # an hour has the minutes beside each other: `_begun`


def buckets_of(path: Path) -> Iterator[Any]:
    """Yield the counts of values of a file of records by hour, dimensions and bucket."""
    column, rows = _columns_of(path)
    texts = [(name, _text(column(name), rows)) for name in DIMENSIONS]
    groups = _grouped([("t_ms", _begin(_number(column("t_ms"), rows), HOUR_MS)), *texts])
    for name in (*MEASURES, "dl_bps"):
        values = _number(column(name), rows)
        there = np.flatnonzero(~np.isnan(values))
        if not len(there):
            continue
        number = buckets.number(values[there], RECORD_COLUMNS[name].unit).astype(np.int64)
        width = int(number.max()) + 1
        cells, count = np.unique(groups.of[there] * width + number, return_counts=True)
        of = cells // width
        columns = {key: _taken(values_, of) for key, values_ in groups.keys.items()}
        columns |= {
            "span_ms": np.full(len(cells), HOUR_MS),
            "measure": Coded([name], np.zeros(len(cells), np.int32)),
            "bucket": cells % width,
            "n": count,
        }
        yield table_of("buckets", columns, len(cells))


def _taken(values: Values, rows: NDArray[np.int64]) -> Values:
    return Coded(values.values, values.index[rows]) if isinstance(values, Coded) else np.asarray(values)[rows]


# -- facts ---------------------------------------------------------------------


def facts_of_facts(paths: Sequence[Path], span_ms: int) -> Iterator[Any]:
    """Yield the facts of files of facts by minute, each group once, by minute or by hour; subscribers in order."""
    for low, high in _parts(paths):
        column, rows = _selected(paths, _between(low, high))
        texts = [(name, _text(column(name), rows)) for name in ("subscriber", *DIMENSIONS)]
        begin = np.nan_to_num(_number(column("t_ms"), rows)).astype(np.int64) // span_ms * span_ms
        groups = _grouped([texts[0], ("t_ms", begin), *texts[1:]])
        sums = _sums_of_facts(column, rows, groups)
        if span_ms == HOUR_MS:
            sums["sessions"] += groups.sums(_begun(column, rows, dict(texts)))
        yield from _tables("facts", groups, span_ms, sums)


def _begun(column: Column, rows: int, texts: Mapping[str, Values]) -> NDArray[np.float64]:
    """Return 1 for each row with which a session begins: a minute of a subscriber and application after ten without.

    One that is there in the first minute of an hour goes on from the hour before.
    """
    t_ms = np.nan_to_num(_number(column("t_ms"), rows)).astype(np.int64)
    of = _grouped([(name, texts[name]) for name in ("subscriber", "app_class", "app")]).of
    order = np.lexsort((t_ms, of))
    t_ms, of = t_ms[order], of[order]
    first = np.append(True, np.diff(of) != 0)[:rows]
    after = np.append(0, np.diff(t_ms))[:rows] > _PAUSE_MS
    begun = np.zeros(rows)
    begun[order] = np.where(first, t_ms % HOUR_MS >= MINUTE_MS, after)
    begun[_number(column("span_ms"), rows) != MINUTE_MS] = 0  # an hour has its sessions already
    return begun


def _parts(paths: Sequence[Path]) -> list[tuple[str, str | None]]:
    """Return spans of subscribers' names, each of which has few enough rows, as (first, first of the next)."""
    rows, names = 0, set[str]()
    for path in paths:
        column, of_file = _columns_of(path)
        rows += of_file
        names.update(_text(column("subscriber"), of_file).values)
    ordered = sorted(names)
    parts = -(-rows // _TOGETHER)
    borders = [ordered[i * len(ordered) // parts] for i in range(1, parts)] if ordered else []
    begins = [*dict.fromkeys(["", *borders])]
    return list(zip(begins, [*begins[1:], None], strict=True))


def _between(low: str, high: str | None) -> Any:
    chosen = pc.field("subscriber") >= low
    return chosen if high is None else chosen & (pc.field("subscriber") < high)


def _selected(paths: Sequence[Path], chosen: Any) -> tuple[Column, int]:
    tables = [pq.read_table(path, filters=chosen, use_threads=False) for path in paths]
    table = pa.concat_tables(tables, promote_options="default")

    def column(name: str) -> Any:
        return table.column(name) if name in table.column_names else None

    return column, table.num_rows


def minutes_of_facts(path: Path) -> Iterator[Any]:
    """Yield the sums over subscribers of a file of facts by minute, in which each subscriber is once a minute."""
    column, rows = _columns_of(path)
    times = np.unique(np.nan_to_num(_number(column("t_ms"), rows)).astype(np.int64))
    parts = max(1, -(-rows // _TOGETHER))
    for some in np.array_split(times, min(parts, max(1, len(times)))):
        if not len(some):
            continue
        chosen = (pc.field("t_ms") >= int(some[0])) & (pc.field("t_ms") <= int(some[-1]))
        column, rows = _selected([path], chosen)
        texts = [(name, _text(column(name), rows)) for name in DIMENSIONS]
        groups = _grouped([("t_ms", _number(column("t_ms"), rows)), *texts])
        who = _grouped([("t_ms", _number(column("t_ms"), rows)), *texts, ("s", _text(column("subscriber"), rows))])
        first = np.zeros(rows, np.bool_)
        first[np.unique(who.of, return_index=True)[1]] = True
        sums = {"subscribers": groups.sums(first), **_sums_of_facts(column, rows, groups)}
        yield from _tables("minutes", groups, MINUTE_MS, sums)


def _sums_of_facts(column: Column, rows: int, groups: _Groups) -> dict[str, NDArray[np.float64]]:
    return {
        name: groups.largest(_number(column(name), rows))
        if name == "peak_dl_bps"
        else groups.sums(_number(column(name), rows))
        for name in SUMS
    }


def counts_of(paths: Sequence[Path]) -> Iterator[Any]:
    """Yield the sums of the counts of several files of buckets, each cell once."""
    tables = [pq.read_table(path, use_threads=False) for path in paths]
    whole = pa.concat_tables(tables, promote_options="default")
    names = [name for name in whole.column_names if name != "n"]
    keys = [(name, _key(whole.column(name), whole.num_rows)) for name in names]
    groups = _grouped(keys)
    counts = groups.sums(_number(whole.column("n"), whole.num_rows)).astype(np.int64)
    yield table_of("buckets", {**groups.keys, "n": counts}, groups.count)


def _key(column: Any, rows: int) -> Values:
    is_text = pa.types.is_dictionary(column.type) or pa.types.is_string(column.type)
    return _text(column, rows) if is_text else _number(column, rows)


def _tables(table: str, groups: _Groups, span_ms: int, sums: Mapping[str, NDArray[np.float64]]) -> Iterator[Any]:
    """Yield a table of sums, in pieces."""
    for first in range(0, groups.count, _TOGETHER):
        rows = np.arange(first, min(first + _TOGETHER, groups.count))
        columns = {name: _taken(values, rows) for name, values in groups.keys.items()}
        columns |= {
            name: values[rows] if _is_float(name) else np.rint(values[rows]).astype(np.int64)
            for name, values in sums.items()
        }
        columns["span_ms"] = np.full(len(rows), span_ms)
        yield table_of(table, columns, len(rows))


def _is_float(name: str) -> bool:
    return name in SUMS and SUMS[name].dtype.startswith("f")
