"""Records to facts, facts to hours and minutes, values to buckets: sums over groups of rows, in numpy.

A file is read a column of a group at a time, and sums are made for so many groups at a time, so that memory is that of
a column and of these, however many rows there are; a column is read again for the next ones. The sums of a column are
one bincount; what a group is, is found once. Everything here is what `history.store.views` says in SQL of records that
are not rolled up yet, and a test holds the two equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from feed import buckets
from feed.columns import Coded
from feed.records import RECORD_COLUMNS
from history.store.layout import HOUR_MS, MINUTE_MS
from history.store.schema import Values, table_of
from history.tables import DIMENSIONS, LEVELS, MEASURES, SUMS

__all__ = ["buckets_of", "counts_of", "facts_of_facts", "facts_of_records", "minutes_of_facts"]

_ROWS = 262_144  # of facts by minute that are summed over subscribers at a time
_PART = 32_768  # rows of facts that are put together at a time, and groups that are summed at a time
_PAUSE_MS = 10 * MINUTE_MS  # as `sessions` of history/tables.py says
_POOR = 3.0  # a score below it is poor or bad (ITU-T P.800)
_LARGE = 1 << 40  # of a key that is put together; it is made small again before it can overflow

Rows = NDArray[np.int64] | slice


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


SumsOf = Callable[[_Groups, Rows], Mapping[str, NDArray[np.float64]]]


def _grouped(keys: Iterable[tuple[str, Values]]) -> _Groups:
    """Return the groups of rows that are equal in all of *keys*, in their order; a key is not needed after the next."""
    key, size = np.zeros(1, np.int64), 1
    coded: list[tuple[str, NDArray[Any], NDArray[Any]]] = []
    for name, values in keys:
        codes, distinct = _ranked(values)
        coded.append((name, codes.astype(np.min_scalar_type(len(distinct))), distinct))
        if size * len(distinct) > _LARGE:
            _, key = np.unique(key, return_inverse=True)
            size = int(key.max(initial=0)) + 1
        key = key * len(distinct) + codes  # of the first one as many as there are rows
        size *= max(1, len(distinct))
    _, first, of = np.unique(key, return_index=True, return_inverse=True)
    return _Groups(
        of.astype(np.int64, copy=False), len(first), {name: _picked(d, codes[first]) for name, codes, d in coded}
    )


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


class _Source:
    """Rows of files, read a column at a time: all, or in each group of a file those of *chosen* (None: all of it)."""

    def __init__(self, files: Sequence[Any], chosen: Mapping[tuple[int, int], NDArray[np.int64] | None]) -> None:
        self._files, self._chosen = files, chosen
        self._names = [set(file.schema_arrow.names) for file in files]
        self.rows = sum(
            files[at].metadata.row_group(number).num_rows if rows is None else len(rows)
            for (at, number), rows in chosen.items()
        )

    @classmethod
    def whole(cls, file: Any) -> _Source:
        """Return all rows of a file."""
        return cls([file], dict.fromkeys((0, number) for number in range(file.num_row_groups)))

    def _pieces(self, name: str) -> Iterator[tuple[Any, int]]:
        """Yield of each group what it has of a column, or None, and its rows."""
        for (at, number), rows in self._chosen.items():
            count = self._files[at].metadata.row_group(number).num_rows if rows is None else len(rows)
            if name not in self._names[at]:
                yield None, count
                continue
            column = self._files[at].read_row_group(number, [name], use_threads=False).column(0)
            yield column if rows is None else column.take(pa.array(rows)), count

    def number(self, name: str) -> NDArray[Any]:
        """Return a column of numbers; what is missing is NaN."""
        parts = [np.full(rows, np.nan) if part is None else part.to_numpy() for part, rows in self._pieces(name)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def time_ms(self) -> NDArray[np.int64]:
        """Return the column ``t_ms``, in which nothing is missing."""
        at_ms: NDArray[np.int64] = np.nan_to_num(self.number("t_ms")).astype(np.int64, copy=False)
        return at_ms

    def text(self, name: str) -> Coded:
        """Return a column of text; what is missing is empty."""
        numbers: dict[str, int] = {}
        parts = []
        for part, rows in self._pieces(name):
            coded = _text(part, rows)
            known = np.array([numbers.setdefault(value, len(numbers)) for value in coded.values], np.int32)
            parts.append(known[coded.index])
        return Coded(list(numbers), np.concatenate(parts) if parts else np.zeros(0, np.int32))

    def key(self, name: str) -> Values:
        """Return a column, of whichever kind."""
        (kind, *_) = (file.schema_arrow.field(name).type for file in self._files if name in file.schema_arrow.names)
        return self.text(name) if pa.types.is_dictionary(kind) or pa.types.is_string(kind) else self.number(name)

    def keys(self, begin: Callable[[NDArray[Any]], NDArray[np.int64]], *before: str) -> Iterator[tuple[str, Values]]:
        """Yield columns of text, the *begin* of the spans of rows, and the columns of DIMENSIONS."""
        for name in before:
            yield name, self.text(name)
        yield "t_ms", begin(self.time_ms())
        for name in DIMENSIONS:
            yield name, self.text(name)


def _text(column: Any, rows: int) -> Coded:
    """Return a column as the distinct texts that it has, and their numbers."""
    if column is None or not rows:
        return Coded([""], np.zeros(rows, np.int32))
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    joined = column.unify_dictionaries().combine_chunks()
    joined = joined if isinstance(joined, pa.Array) else joined.chunk(0)
    index = joined.indices.fill_null(len(joined.dictionary)) if joined.null_count else joined.indices
    index = index.to_numpy()
    there = np.unique(index)  # of rows that were chosen others of the dictionary are not there
    values = [*joined.dictionary.take(pa.array(there[there < len(joined.dictionary)])).to_pylist()]
    values += [""] * (len(there) - len(values))
    return Coded(values, np.searchsorted(there, index))


def _opened(paths: Sequence[Path], within: ExitStack) -> list[Any]:
    return [within.enter_context(pq.ParquetFile(path)) for path in paths]


# -- records -------------------------------------------------------------------


def _begin(t_ms: NDArray[Any], span_ms: int) -> NDArray[np.int64]:
    """Return the begin of the span in which intervals ended."""
    at: NDArray[np.int64] = (np.nan_to_num(t_ms).astype(np.int64) - 1) // span_ms * span_ms
    return at


def facts_of_records(path: Path) -> Iterator[Any]:
    """Yield the facts of a file of records by minute, as tables in the order of subscribers."""
    with ExitStack() as opened:
        source = _Source.whole(_opened([path], opened)[0])
        groups = _grouped(source.keys(lambda t_ms: _begin(t_ms, MINUTE_MS), "subscriber"))
        yield from _tables("facts", groups, MINUTE_MS, partial(_sums_of_records, source))


def _sums_of_records(source: _Source, groups: _Groups, rows: Rows) -> dict[str, NDArray[np.float64]]:
    active = source.number("interval_ms")[rows]
    sums = {"records": groups.sums(), "active_ms": groups.sums(active)}
    for name in ("ul_bytes", "dl_bytes", "stalled_s", "stalls", "freezes"):
        sums[name] = groups.sums(source.number(name)[rows])
    sums["peak_dl_bps"] = groups.largest(source.number("dl_bps")[rows])
    suspect = source.text("suspect")
    for name in SUMS:
        if name.startswith("suspect_"):
            side = name.removeprefix("suspect_")
            number = suspect.values.index(side) if side in suspect.values else -1
            sums[name] = groups.sums((suspect.index == number)[rows])
    for name in MEASURES:
        values = source.number(name)[rows]
        there = ~np.isnan(values)
        sums[f"{name}_n"] = groups.sums(there)
        sums[f"{name}_sum"] = groups.sums(values)
        if name == "mos":
            sums["bad"] = groups.sums(values < _POOR)
    height, below = source.number("video_height")[rows], 0
    for lines in LEVELS:
        most = lines if lines < max(LEVELS) else np.inf
        sums[f"level_{lines}_ms"] = groups.sums(np.where((height > below) & (height <= most), active, 0))
        below = lines
    return {**sums, "sessions": np.zeros(groups.count)}  # an hour has the minutes beside each other: `_begun`


def buckets_of(path: Path) -> Iterator[Any]:
    """Yield the counts of values of a file of records by hour, dimensions and bucket."""
    with ExitStack() as opened:
        source = _Source.whole(_opened([path], opened)[0])
        groups = _grouped(source.keys(lambda t_ms: _begin(t_ms, HOUR_MS)))
        for name in (*MEASURES, "dl_bps"):
            values = source.number(name)
            there = np.flatnonzero(~np.isnan(values))
            if not len(there):
                continue
            number = buckets.number(values[there], RECORD_COLUMNS[name].unit).astype(np.int64)
            del values
            width = int(number.max()) + 1
            cells, count = np.unique(groups.of[there] * width + number, return_counts=True)
            del there, number
            for at in range(0, len(cells), _PART):
                yield _cells(name, groups, cells[at : at + _PART], width, count[at : at + _PART])


def _cells(measure: str, groups: _Groups, cells: NDArray[np.int64], width: int, count: NDArray[np.int64]) -> Any:
    """Return counts as a table; a cell is the number of a group times *width*, and that of a bucket."""
    of = cells // width
    columns = {key: _taken(values, of) for key, values in groups.keys.items()}
    columns |= {
        "span_ms": np.full(len(cells), HOUR_MS),
        "measure": Coded([measure], np.zeros(len(cells), np.int32)),
        "bucket": cells % width,
        "n": count,
    }
    return table_of("buckets", columns, len(cells))


def _taken(values: Values, rows: NDArray[np.int64]) -> Values:
    return Coded(values.values, values.index[rows]) if isinstance(values, Coded) else np.asarray(values)[rows]


# -- facts ---------------------------------------------------------------------


def facts_of_facts(paths: Sequence[Path], span_ms: int) -> Iterator[Any]:
    """Yield the facts of files of facts by minute, each group once, by minute or by hour; subscribers in order."""
    with ExitStack() as opened:
        files = _opened(paths, opened)
        for low, high in _parts(files):
            source = _of_subscribers(files, low, high)
            groups = _grouped(source.keys(lambda t_ms: t_ms // span_ms * span_ms, "subscriber"))
            begun = _begun(source) if span_ms == HOUR_MS else np.zeros(source.rows)
            yield from _tables("facts", groups, span_ms, partial(_sums_of_facts, source, begun))


def _begun(source: _Source) -> NDArray[np.float64]:
    """Return 1 for each row with which a session begins: a minute of a subscriber and application after ten without.

    One that is there in the first minute of an hour goes on from the hour before.
    """
    t_ms = source.time_ms()
    of = _grouped((name, source.text(name)) for name in ("subscriber", "app_class", "app")).of
    order = np.lexsort((t_ms, of))
    t_ms, of = t_ms[order], of[order]
    first = np.append(True, np.diff(of) != 0)[: source.rows]
    after = np.append(0, np.diff(t_ms))[: source.rows] > _PAUSE_MS
    begun = np.zeros(source.rows)
    begun[order] = np.where(first, t_ms % HOUR_MS >= MINUTE_MS, after)
    begun[source.number("span_ms") != MINUTE_MS] = 0  # an hour has its sessions already
    return begun


def _parts(files: Sequence[Any]) -> list[tuple[str, str | None]]:
    """Return spans of subscribers' names, each of which has few enough rows, as (first, first of the next)."""
    names = set[str]()
    for subscribers in _by_group(files, "subscriber"):
        names.update(subscribers.values)
    ordered = sorted(names)
    parts = -(-sum(file.metadata.num_rows for file in files) // _PART)
    borders = [ordered[i * len(ordered) // parts] for i in range(1, parts)] if ordered else []
    begins = [*dict.fromkeys(["", *borders])]
    return list(zip(begins, [*begins[1:], None], strict=True))


def _of_subscribers(files: Sequence[Any], low: str, high: str | None) -> _Source:
    """Return the rows of subscribers with names from *low* to before *high*; other groups are not read."""
    chosen: dict[tuple[int, int], NDArray[np.int64] | None] = {}
    for at, file in enumerate(files):
        which = file.schema_arrow.names.index("subscriber")
        for number in range(file.num_row_groups):
            told = file.metadata.row_group(number).column(which).statistics
            if told is not None and told.has_min_max and (told.max < low or (high is not None and told.min >= high)):
                continue
            column = file.read_row_group(number, ["subscriber"], use_threads=False).column(0)
            names = _text(column, len(column))
            wanted = np.array([low <= name and (high is None or name < high) for name in names.values], np.bool_)
            if len(rows := np.flatnonzero(wanted[names.index])):
                chosen[at, number] = rows
    return _Source(files, chosen)


def minutes_of_facts(path: Path) -> Iterator[Any]:
    """Yield the sums over subscribers of a file of facts by minute.

    A subscriber is once in the file with a minute and dimensions, so that rows are subscribers.
    """
    with ExitStack() as opened:
        files = _opened([path], opened)
        times, counts = np.unique(_Source.whole(files[0]).time_ms(), return_counts=True)
        part = np.cumsum(counts) // _ROWS
        for some in (times[part == number] for number in np.unique(part)):
            source = _of_times(files, int(some[0]), int(some[-1]))
            groups = _grouped(source.keys(lambda t_ms: t_ms))
            yield from _tables("minutes", groups, MINUTE_MS, partial(_sums_of_facts, source, None))


def _of_times(files: Sequence[Any], first_ms: int, last_ms: int) -> _Source:
    chosen: dict[tuple[int, int], NDArray[np.int64] | None] = {}
    for number in range(files[0].num_row_groups):
        t_ms = np.nan_to_num(files[0].read_row_group(number, ["t_ms"], use_threads=False).column(0).to_numpy())
        if len(rows := np.flatnonzero((t_ms >= first_ms) & (t_ms <= last_ms))):
            chosen[0, number] = rows
    return _Source(files, chosen)


def _sums_of_facts(
    source: _Source, begun: NDArray[np.float64] | None, groups: _Groups, rows: Rows
) -> dict[str, NDArray[np.float64]]:
    sums = {
        name: groups.largest(source.number(name)[rows])
        if name == "peak_dl_bps"
        else groups.sums(source.number(name)[rows])
        for name in SUMS
    }
    if begun is None:
        return {"subscribers": groups.sums(), **sums}
    return {**sums, "sessions": sums["sessions"] + groups.sums(begun[rows])}


def counts_of(paths: Sequence[Path]) -> Iterator[Any]:
    """Yield the sums of the counts of several files of buckets, each cell once; measures in order."""
    with ExitStack() as opened:
        files = _opened(paths, opened)
        names = dict.fromkeys(name for file in files for name in file.schema_arrow.names if name != "n")
        rows, where = Counter[str](), dict[str, list[tuple[int, int]]]()
        for at, file in enumerate(files):
            for number, measures in enumerate(_by_group([file], "measure")):
                rows.update(dict(zip(measures.values, np.bincount(measures.index).tolist(), strict=True)))
                for measure in measures.values:
                    where.setdefault(measure, []).append((at, number))
        for measure in sorted(rows):
            parts = -(-rows[measure] // _ROWS)
            for part in range(parts):
                source = _of_measure(files, where[measure], measure, parts, part)
                groups = _grouped((name, source.key(name)) for name in names)
                counts = groups.sums(source.number("n")).astype(np.int64)
                yield table_of("buckets", {**groups.keys, "n": counts}, groups.count)


def _by_group(files: Sequence[Any], name: str) -> Iterator[Coded]:
    """Yield a column of text of each group of each file."""
    for file in files:
        for number in range(file.num_row_groups):
            column = file.read_row_group(number, [name], use_threads=False).column(0)
            yield _text(column, len(column))


def _of_measure(files: Sequence[Any], where: Sequence[tuple[int, int]], measure: str, parts: int, part: int) -> _Source:
    """Return the counts of a measure, which is in these groups of files: of each so many buckets one."""
    chosen: dict[tuple[int, int], NDArray[np.int64] | None] = {}
    for at, number in where:
        group = files[at].read_row_group(number, ["measure", "bucket"], use_threads=False)
        measures = _text(group.column("measure"), len(group))
        wanted = (measures.index == measures.values.index(measure)) & (
            group.column("bucket").to_numpy() % parts == part
        )
        if len(rows := np.flatnonzero(wanted)):
            chosen[at, number] = rows
    return _Source(files, chosen)


def _tables(table: str, groups: _Groups, span_ms: int, sums_of: SumsOf) -> Iterator[Any]:
    """Yield a table of sums, in pieces of so many groups; *sums_of* makes those of a piece, from its rows."""
    for first in range(0, groups.count, _PART):
        yield _table(table, groups, (first, min(first + _PART, groups.count)), span_ms, sums_of)


def _table(table: str, groups: _Groups, part: tuple[int, int], span_ms: int, sums_of: SumsOf) -> Any:
    """Return the sums of groups from one to before another, as a table."""
    first, last = part
    rows: Rows = slice(None)
    if last - first < groups.count:
        rows = np.flatnonzero((groups.of >= first) & (groups.of < last))
    some = _Groups(groups.of[rows] - first, last - first, {})
    columns = {name: _taken(values, np.arange(first, last)) for name, values in groups.keys.items()}
    columns |= {
        name: values if _is_float(name) else np.rint(values).astype(np.int64)
        for name, values in sums_of(some, rows).items()
    }
    columns["span_ms"] = np.full(last - first, span_ms)
    return table_of(table, columns, last - first)


def _is_float(name: str) -> bool:
    return name in SUMS and SUMS[name].dtype.startswith("f")
