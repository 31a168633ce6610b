"""Care of files that are written: merging, rolling up, removing what is old or too much.

Each step makes one file, whose name says what it stands for, and then removes what it stands for. So a step that was
broken off is begun again, and one that was done is not: nothing is noted anywhere but in the names.

    records    small files of an hour become one, and that one becomes facts by minute, and counts by bucket
    facts      minutes of an hour that is over become hours, and sums over all subscribers by minute
    the rest   files of an hour that is over, or many of one, become one

A file of facts has the numbers of the files of records that it is of. That is why records are merged before they are
rolled up and never after.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from history.collect import rolling
from history.store.files import write
from history.store.layout import HOUR, HOUR_MS, MINUTE, MINUTE_MS, Closed, closed, files_of_hour, hours, in_force, place
from history.store.schema import schema_of
from history.tables import TABLES

__all__ = ["CLOCKS_MS", "LAST", "Keep", "keep", "set_aside", "tend"]

_TOGETHER = 262_144  # rows of records that are merged into one file, and of one rolling
_GROUP = 65_536  # rows of a group of a merged file
_RIPE_S = 300.0  # age at which records are rolled up, however few they are
_LATE_MS = 600_000  # after the end of an hour: batches, clocks and a collector that was away are late
_MANY = 30  # files of an hour that are merged before it is over
CLOCKS_MS = 86_400_000  # by which a publisher's clock may be wrong and its rows are in the hours that it says
_PAST_MS = 3 * CLOCKS_MS
LAST = 10**10 - 1  # of the numbers that a name has room for


@dataclass(frozen=True, slots=True)
class Keep:
    """Ages to which each kind is kept, in seconds, and how much there may be of all."""

    records_s: float = 3 * 86_400
    minutes_s: float = 14 * 86_400  # facts by minute, and what functions said of themselves
    hours_s: float = 400 * 86_400  # the rest
    disk_bytes: int = 50 * 10**9


def tend(folder: Path, table: str, hour_ms: int, now_ms: int, number: int = LAST) -> bool:
    """Do what is to be done with a table of an hour; return whether it will need no more of it by itself.

    Files of a writing after that of *number* are left alone: they have their names, but the state file does not know
    them yet. A file that was made of one of them would stand for a number that is given anew after a crash.

    Raises OSError when the disk does not take it; what was begun is begun again another time.
    """
    over = now_ms >= hour_ms + HOUR_MS + _LATE_MS
    every = _written(folder, table, hour_ms, number)
    _remove(set(every) - set(in_force(every)))
    if table == "records":
        _roll(folder, hour_ms, over, number)
    elif table == "facts":
        if over:
            _end_hour(folder, hour_ms, number)
    elif table != "minutes":
        _merge_rest(folder, table, hour_ms, over, number)
    return over


def _written(folder: Path, table: str, hour_ms: int, number: int) -> list[Closed]:
    return [file for file in files_of_hour(folder, table, hour_ms) if file.last <= number]


def _remove(files: Iterable[Closed]) -> None:
    for file in files:
        file.path.unlink(missing_ok=True)


# -- records -------------------------------------------------------------------


def _roll(folder: Path, hour_ms: int, over: bool, number: int) -> None:
    rolled = in_force(files_of_hour(folder, "facts", hour_ms))
    files = in_force(_written(folder, "records", hour_ms, number))
    waiting = [file for file in files if not any(sums.stands_for(file) for sums in rolled)]
    counted = in_force(files_of_hour(folder, "buckets", hour_ms))
    for some, rows in _groups(waiting, counted):
        age_s = time.time() - min(file.path.stat().st_mtime for file in some)
        if not (over or age_s >= _RIPE_S or rows >= _TOGETHER // 2):
            continue
        one = some[0] if len(some) == 1 else _merged(folder, some)
        if not any(file.stands_for(one) for file in counted):
            counts = place(folder, "buckets", hour_ms, "", one.first, one.last)
            write(counts.path, schema_of("buckets"), rolling.buckets_of(one.path))
        facts = place(folder, "facts", hour_ms, MINUTE, one.first, one.last)
        write(facts.path, schema_of("facts"), rolling.facts_of_records(one.path))


def _groups(files: Sequence[Closed], counted: Sequence[Closed]) -> Iterator[tuple[list[Closed], int]]:
    """Yield files that follow each other and are merged, and their rows.

    One that is *counted* in buckets is merged with no other, which is not: its facts could not be written, and the
    buckets may be one file with others by now.
    """
    some: list[Closed] = []
    together = 0
    for file in files:
        rows = pq.read_metadata(file.path).num_rows
        alone = any(counts.stands_for(file) for counts in counted)
        if some and (alone or together + rows > _TOGETHER):
            yield some, together
            some, together = [], 0
        if alone:
            yield [file], rows
            continue
        some.append(file)
        together += rows
    if some:
        yield some, together


def _merged(folder: Path, files: Sequence[Closed]) -> Closed:
    """Write files that follow each other as one; return it, and remove them."""
    first = files[0]
    one = place(folder, first.table, first.hour_ms, first.span, first.first, files[-1].last)
    schema = _schema([pq.read_schema(file.path) for file in files])
    write(one.path, schema, _together(files, schema))
    _remove(files)
    return one


def _schema(schemas: Sequence[Any]) -> Any:
    """Return the columns of all files. One of no table that is text in some and numbers in others is text."""
    kinds: dict[str, set[bool]] = {}
    for field in (field for schema in schemas for field in schema):
        kinds.setdefault(field.name, set()).add(_is_text(field.type))
    mixed = {name for name, kind in kinds.items() if len(kind) > 1}
    alike = [pa.schema([_as_text(field) if field.name in mixed else field for field in schema]) for schema in schemas]
    return pa.unify_schemas(alike, promote_options="permissive")


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_dictionary(kind))


def _as_text(field: Any) -> Any:
    return field if _is_text(field.type) else field.with_type(pa.dictionary(pa.int32(), pa.string()))


def _together(files: Sequence[Closed], schema: Any) -> Iterator[Any]:
    """Yield the rows of files as large groups."""
    waiting: list[Any] = []
    rows = 0
    for file in files:
        with pq.ParquetFile(file.path) as source:
            for number in range(source.num_row_groups):
                count = source.metadata.row_group(number).num_rows
                if waiting and rows + count > _GROUP:
                    yield _one(waiting, schema)
                    rows = 0
                waiting.append(source.read_row_group(number, use_threads=False))
                rows += count
    if waiting:
        yield _one(waiting, schema)


def _one(tables: list[Any], schema: Any) -> Any:
    """Return tables as one, with one dictionary for each text; *tables* are none any more."""
    whole = pa.concat_tables([_filled(table, schema) for table in tables])
    tables.clear()
    return whole.unify_dictionaries()


def _filled(table: Any, schema: Any) -> Any:
    """Return a table with all columns of *schema*; those that it has not are null."""
    if table.schema.names == schema.names and table.schema.types == schema.types:
        return table
    columns = [
        _cast(table.column(field.name), field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _cast(column: Any, kind: Any) -> Any:
    if pa.types.is_dictionary(kind) and not _is_text(column.type):  # no number becomes a dictionary at once
        column = column.cast(pa.string()).dictionary_encode()
    return column.cast(kind)


# -- the other tables ----------------------------------------------------------


def _end_hour(folder: Path, hour_ms: int, number: int) -> None:
    """Roll facts by minute up that no file of facts by hour stands for."""
    files = in_force(_written(folder, "facts", hour_ms, number))
    hours = [file for file in files if file.span == HOUR]
    waiting = [f for f in files if f.span == MINUTE and not any(hour.stands_for(f) for hour in hours)]
    if not waiting:
        return
    numbers = (waiting[0].first, waiting[-1].last)
    one = place(folder, "facts", hour_ms, MINUTE, *numbers)
    if len(waiting) > 1:
        write(one.path, schema_of("facts"), rolling.facts_of_facts([file.path for file in waiting], MINUTE_MS))
        _remove(waiting)
    sums = place(folder, "minutes", hour_ms, MINUTE, *numbers)
    write(sums.path, schema_of("minutes"), rolling.minutes_of_facts(one.path))
    by_hour = place(folder, "facts", hour_ms, HOUR, *numbers)
    write(by_hour.path, schema_of("facts"), rolling.facts_of_facts([one.path], HOUR_MS))


def _merge_rest(folder: Path, table: str, hour_ms: int, over: bool, number: int) -> None:
    files = in_force(_written(folder, table, hour_ms, number))
    if len(files) < 2 or not (over or len(files) >= _MANY):
        return
    if table != "buckets":
        _merged(folder, files)
        return
    one = place(folder, table, hour_ms, "", files[0].first, files[-1].last)
    write(one.path, schema_of(table), rolling.counts_of([file.path for file in files]))
    _remove(files)


# -- what is kept ----------------------------------------------------------------


def keep(folder: Path, wanted: Keep, now_ms: int) -> int:
    """Remove what is older than is wanted, and of more than is wanted the oldest; return the bytes that are left.

    What nobody has summed yet, as of a collector that was away for days, may be as old as the sums that it becomes. Of
    too much, records go first, then facts by minute, then the rest: what is smallest says most.
    """
    ages_ms = [age_s * 1e3 for age_s in (wanted.records_s, wanted.minutes_s, wanted.hours_s)]
    kept: list[tuple[int, int, int, str, int]] = []  # rank, hour, number, path, bytes: in the order in which they go
    files = {table: closed(folder, table) for table in TABLES}
    sums: dict[int, list[Closed]] = {}
    for file in files["facts"]:
        sums.setdefault(file.hour_ms, []).append(file)
    for file in (file for table in TABLES for file in files[table]):
        summed = _is_summed(file, sums.get(file.hour_ms, ()))
        if file.hour_ms + HOUR_MS + ages_ms[_rank(file) if summed else _rank(file) + 1] < now_ms:
            file.path.unlink(missing_ok=True)
            continue
        with suppress(FileNotFoundError):
            kept.append((_rank(file), file.hour_ms, file.first, str(file.path), file.path.stat().st_size))
    left = sum(size for *_, size in kept)
    for _, hour_ms, _, path, size in sorted(kept):
        if left <= wanted.disk_bytes:
            break
        if hour_ms + 2 * HOUR_MS <= now_ms:  # of this hour and the one before, sums are not made yet
            Path(path).unlink(missing_ok=True)
            left -= size
    _remove_empty(folder, now_ms)
    return left


def _is_summed(file: Closed, sums: Sequence[Closed]) -> bool:
    """Say whether one of *sums*, facts of its hour, stands for records, or hours for minutes; others need none."""
    if file.table == "facts" and file.span == MINUTE:
        sums = [each for each in sums if each.span == HOUR]
    elif file.table != "records":
        return True
    return any(each.stands_for(file) for each in sums)


def _rank(file: Closed) -> int:
    """Return how soon a file goes: 0 first."""
    if file.table == "records":
        return 0
    return 1 if file.table == "health" or (file.table == "facts" and file.span == MINUTE) else 2


def _remove_empty(folder: Path, now_ms: int) -> None:
    """Remove folders without files, of hours into which nobody writes any more."""
    for table in TABLES:
        for hour_ms, where in hours(folder, table):
            if hour_ms + _PAST_MS < now_ms:
                with suppress(OSError):
                    where.rmdir()
                    where.parent.rmdir()


def set_aside(folder: Path, table: str, hour_ms: int) -> list[Closed]:
    """Give files of an hour that cannot be read another name, so that no reader meets them; return them."""
    damaged = []
    for file in files_of_hour(folder, table, hour_ms):
        try:
            source = pq.ParquetFile(file.path)
            for number in range(source.num_row_groups):
                source.read_row_group(number, use_threads=False)
        except FileNotFoundError:
            continue
        except (pa.ArrowException, OSError, ValueError):
            file.path.rename(file.path.with_name(f".damaged-{file.path.name}"))
            damaged.append(file)
    return damaged
