"""Rows to the servers of a ClickHouse cluster by HTTP: in batches, again until they are there, none of them twice.

What is sent is closed files of what was published, and of gaps, so the backlog of a server that is down is the history
itself, as long as it is kept. Sums are made there. A message of the feed (function, boot, class, sequence number, and
day of its rows; of gaps a row) is for one server, by a hash;
before a batch goes to it, the server is asked which of the batch's messages it has, since after a kill on either side
nobody else knows. A batch is one block of one partition, which ClickHouse takes as a whole or not at all. FOLDER has a
file beside the tables with the numbers of files that were sent, so that they are not asked about again.
Who was erased from the files is erased on each server, after what was sent of him before.

A server that is added, or leaves, gets other messages: that is to be done while nothing waits.
"""

from __future__ import annotations

import gzip
import json
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feed.errors import SnfError
from history.collect.erasing import STATE_OF_SINK, handed_on, later, names_of
from history.collect.intake import UNFIT
from history.collect.ledger import last_number
from history.sinks.schema import SENT, creates
from history.store.layout import Closed, closed
from history.tables import TABLES

__all__ = ["ClickHouse"]

_ROWS = 200_000  # of a batch, well inside of one block (max_insert_block_size is 1,048,576)
_TIMEOUT_S = 60.0
_AGAIN_S = 5.0  # between two passes, and before a server that failed is asked again
_DAY_MS = 86_400_000
_NAMES = 2000  # of subscribers in a statement, which has 256 KiB at most (max_query_size)
_ERASED = tuple(table for table in SENT if {"subscriber", "t_ms"} <= TABLES[table].keys())
_MESSAGE = ("nf", "boot", "seq")
_KEYS = {"records": ("nf", "boot", "seq", "app_class"), "gaps": (*_MESSAGE, "t_ms", "topic", "messages", "why")}
_UNREACHABLE = (OSError, urllib.error.URLError, TimeoutError)

Span = tuple[int, int, int]  # hour of a file and its numbers; files of two hours can have the same


class _Refused(Exception):
    """A server answered, and did not take it; the text is its own."""


@dataclass(slots=True)
class _Server:
    """One server: numbers of files that it has all of its rows of, erasures that it took, and what was said of it."""

    url: str
    sent: dict[str, set[Span]] = field(default_factory=lambda: {table: set() for table in SENT})
    erased: set[str] = field(default_factory=set)
    said: dict[str, str] = field(default_factory=dict)


class ClickHouse:
    """A sink of one folder. Used by one thread; *say* gets a sentence when a server fails or is back."""

    def __init__(self, folder: Path, servers: Sequence[str], say: Callable[[str], None]) -> None:
        for url in servers:
            if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
                raise SnfError(f"{url} is no address of a ClickHouse server.", "Write it as http://HOST:8123.")
        self._folder, self._say = folder, say
        self._servers = [_Server(url.rstrip("/")) for url in servers]
        self._load()

    def make_tables(self, cluster: str) -> None:
        """Make the tables that are not there yet on each server. Raises SnfError when one cannot."""
        for server in self._servers:
            try:
                for text in creates(cluster):
                    _ask(server.url, text)
            except (_Refused, *_UNREACHABLE) as error:
                raise SnfError(f"{server.url} makes no tables: {_reason(error)}") from None

    def run(self, stop: threading.Event, cluster: str) -> None:
        """Make the tables when all servers answer, then send what is closed, until *stop*."""
        made, told = False, ""
        while not stop.is_set():
            try:
                if not made:
                    self.make_tables(cluster)
                    made = True
                self.send()
            except SnfError as error:
                if str(error) != told:
                    self._say(told := str(error))
            except (OSError, pa.ArrowException) as error:  # a full disk, a damaged file: the collector goes on
                if str(error) != told:
                    self._say(f"The sink waits: {(told := str(error)).splitlines()[0]}")
            stop.wait(_AGAIN_S)

    def send(self) -> int:
        """Send what is closed and was not sent; return how many files, erasures with them, wait for a server yet."""
        self._save()  # from here on the collector leaves whom it erases
        files = self._files()
        left = self._erase()
        for number, server in enumerate(self._servers):
            waiting = [file for table in SENT for file in files[table] if _span(file) not in server.sent[table]]
            left += len(waiting) - self._to(number, server, waiting)
            for table in SENT:
                there = {_span(file) for file in files[table]}
                sent = server.sent[table]
                server.sent[table] = {span for span in sent if any(_within(span, each) for each in there)}
            self._save()
        return left

    def _files(self) -> dict[str, list[Closed]]:
        """Return the files that stay: one of a writing that did not come to its end goes when the collector starts."""
        last = last_number(self._folder)
        files = {table: closed(self._folder, table) for table in SENT}
        return {t: [file for file in each if last is None or file.first <= last] for t, each in files.items()}

    def _to(self, number: int, server: _Server, files: Sequence[Closed]) -> int:
        for done, file in enumerate(files):
            try:
                for rows, day in _batches(file, number, len(self._servers)):
                    _insert(server.url, file.table, rows, day)
            except FileNotFoundError:
                continue  # merged or deleted meanwhile; the next pass sees what is there
            except (_Refused, *_UNREACHABLE) as error:
                self._tell(server, "takes rows", f"takes nothing: {_reason(error)} What waits is kept.")
                return done
            self._tell(server, "takes rows")
            server.sent[file.table].add(_span(file))
            self._save()
        return len(files)

    def _erase(self) -> int:
        """Erase on each server whom the collector erased; return how many erasures wait for a server yet."""
        paths = handed_on(self._folder)
        wanted = [(f"{path.name}:{n}", part) for path in paths for n, part in enumerate(_parts(self._names(path)))]
        for server in self._servers:
            try:
                self._erase_on(server, [each for each in wanted if each[0] not in server.erased])
            except (_Refused, *_UNREACHABLE) as error:
                self._tell(server, "erases", f"erases nobody: {_reason(error)} It is tried again.")
                continue
            self._tell(server, "erases")
        done = set.intersection(*(server.erased for server in self._servers))
        left = [path for path in paths if any(name not in done for name, _ in wanted if name.startswith(path.name))]
        for path in set(paths) - set(left):
            path.unlink()
        for server in self._servers:
            server.erased &= {name for name, _ in wanted if any(name.startswith(path.name) for path in left)}
        return len(left)

    def _names(self, path: Path) -> Mapping[str, int]:
        """Return whom a file names. One that nobody can read must not keep others from being erased."""
        try:
            return names_of(path)
        except (*UNFIT, AttributeError):
            self._say(f"{path} names nobody, and is removed. Ask anew for whom it was: snf collect erase NAME.")
            return {}

    def _erase_on(self, server: _Server, waiting: Sequence[tuple[str, Mapping[str, int]]]) -> None:
        """Send as much of what waits as a statement takes, unless one is on its way: 18.16 makes two one wrong one."""
        if not waiting or _is_erasing(server.url):
            return
        names, until_ms = list[str](), dict[str, int]()
        for name, part in waiting:
            if names and len(until_ms) + len(part) > _NAMES:
                break
            names.append(name)
            until_ms = later(until_ms, part.items())
        for table in _ERASED:
            _ask(server.url, f"ALTER TABLE {table}_local DELETE WHERE {_rows_of(until_ms)}")
        server.erased.update(names)
        self._save()

    def _tell(self, server: _Server, what: str, trouble: str = "") -> None:
        """Say that a server does not do something, or does it again; each once."""
        if trouble != server.said.get(what, ""):
            self._say(f"{server.url} {trouble or f'{what} again.'}")
            server.said[what] = trouble

    def _load(self) -> None:
        try:
            kept = json.loads((self._folder / STATE_OF_SINK).read_text())
            for server in self._servers:
                own = kept.get(server.url, {})
                server.erased = set(map(str, own.get("erased", ())))
                for table in SENT:
                    server.sent[table] = {
                        (int(hour), int(first), int(last)) for hour, first, last in own.get(table, ())
                    }
        except (OSError, ValueError, TypeError, AttributeError):
            return  # all files are asked about once more

    def _save(self) -> None:
        aside = self._folder / f".{STATE_OF_SINK}.tmp"
        sent = {s.url: {table: sorted(spans) for table, spans in s.sent.items()} for s in self._servers}
        aside.write_text(json.dumps({s.url: sent[s.url] | {"erased": sorted(s.erased)} for s in self._servers}))
        os.replace(aside, self._folder / STATE_OF_SINK)


def _span(file: Closed) -> Span:
    return file.hour_ms, file.first, file.last


def _within(inner: Span, outer: Span) -> bool:
    return inner[0] == outer[0] and outer[1] <= inner[1] and inner[2] <= outer[2]


def _batches(file: Closed, number: int, servers: int) -> Iterator[tuple[pa.Table, int]]:
    """Yield the rows of a file for a server, a day at a time and whole messages together, and the day in ms."""
    rows = pq.read_table(file.path)
    days = rows["t_ms"].to_numpy().astype(np.int64) // _DAY_MS
    keys = list(zip(*(rows[name].to_pylist() for name in _key(file.table)), days.tolist(), strict=True))
    codes: dict[tuple[Any, ...], int] = {}
    of = np.array([codes.setdefault(key, len(codes)) for key in keys], np.int64)
    order = sorted((key for key in codes if _server_of(key, servers) == number), key=lambda key: (key[-1], codes[key]))
    sizes = np.bincount(of, minlength=len(codes))
    batch: list[int] = []
    size, day = 0, None
    for key in order:
        code = codes[key]
        if batch and (key[-1] != day or size + sizes[code] > _ROWS):
            yield rows.filter(pa.array(np.isin(of, batch))), int(day or 0) * _DAY_MS
            batch, size = [], 0
        batch.append(code)
        size, day = size + int(sizes[code]), key[-1]
    if batch:
        yield rows.filter(pa.array(np.isin(of, batch))), int(day or 0) * _DAY_MS


def _key(table: str) -> tuple[str, ...]:
    """Return the columns that rows of a message have in common, and no other row has."""
    return _KEYS.get(table, _MESSAGE)


def _server_of(key: tuple[Any, ...], servers: int) -> int:
    return zlib.crc32(repr(key).encode()) % servers


def _insert(url: str, table: str, rows: pa.Table, day_ms: int) -> None:
    """Send those rows whose messages the server has not. Raises _Refused or what is unreachable."""
    there = _there(url, table, rows, day_ms)
    if there:
        keys = zip(*(rows[name].to_pylist() for name in _key(table)), strict=True)
        rows = rows.filter(pa.array([key not in there for key in keys]))
    if rows.num_rows:
        insert = f"INSERT INTO {table}_local ({', '.join(TABLES[table])}) FORMAT TabSeparated"
        _ask(url, insert, gzip.compress(_lines(table, rows), 1))


def _there(url: str, table: str, rows: pa.Table, day_ms: int) -> set[tuple[Any, ...]]:
    """Return which messages of a batch the server has."""
    boots = ", ".join(f"'{_escaped_literal(boot)}'" for boot in pc.unique(rows["boot"].cast(pa.string())).to_pylist())
    span = pc.min_max(rows["seq"]).as_py()
    names = _key(table)
    text = (
        f"SELECT DISTINCT {', '.join(names)} FROM {table}_local WHERE t_ms >= {day_ms} AND t_ms < {day_ms + _DAY_MS} "
        f"AND seq >= {span['min']} AND seq <= {span['max']} AND boot IN ({boots}) FORMAT JSONCompact"
    )
    found = json.loads(_ask(url, text))["data"]
    kinds = [str if TABLES[table][name].dtype == "str" else int for name in names]
    return {tuple(kind(value) for kind, value in zip(kinds, row, strict=True)) for row in found}


def _parts(until_ms: Mapping[str, int]) -> Iterator[Mapping[str, int]]:
    """Yield names and until when, so many at a time as a statement takes."""
    names = sorted(until_ms)
    for at in range(0, len(names), _NAMES):
        yield {name: until_ms[name] for name in names[at : at + _NAMES]}


def _rows_of(until_ms: Mapping[str, int]) -> str:
    """Return the condition of the rows of subscribers, each up to a time."""
    names = ", ".join(f"'{_escaped_literal(name)}'" for name in until_ms)
    limits = ", ".join(str(limit_ms) for limit_ms in until_ms.values())
    return f"t_ms <= transform(subscriber, [{names}], [{limits}], 0)"


def _is_erasing(url: str) -> bool:
    """Say whether a server has not come to the end of an erasing; it rewrites its parts by itself."""
    tables = ", ".join(f"'{table}_local'" for table in _ERASED)
    text = f"SELECT count() FROM system.mutations WHERE database = currentDatabase() AND table IN ({tables})"
    return _ask(url, f"{text} AND NOT is_done").strip() != "0"


def _escaped_literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")


def _lines(table: str, rows: pa.Table) -> bytes:
    """Return rows in ClickHouse's TabSeparated: escaped text, and \\N where a float is missing."""
    columns = []
    for name, column in TABLES[table].items():
        # Other tables than records have no missing floats; one that is missing all the same is 0 there.
        missing = "\\N" if table == "records" and column.dtype.startswith("f") else "0"
        if name not in rows.column_names:
            columns.append(pa.array(["" if column.dtype == "str" else missing] * rows.num_rows))
            continue
        values = rows[name].combine_chunks()
        if column.dtype.startswith("f"):
            values = values.cast(pa.float64())  # whose text is the value of four bytes itself, not a shorter one
        values = values.cast(pa.string())
        if column.dtype == "str":
            for raw, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n")):
                values = pc.replace_substring(values, raw, escaped)
            columns.append(pc.fill_null(values, ""))
        else:
            columns.append(pc.fill_null(values, missing))
    joined = pc.binary_join_element_wise(*columns, "\t")
    return "".join(f"{line}\n" for line in joined.to_pylist()).encode()


def _ask(url: str, text: str, packed: bytes = b"") -> str:
    """Return a server's answer; with *packed*, which is the rows of an insert, the text goes in the address."""
    address = f"{url}/?{urllib.parse.urlencode({'query': text})}" if packed else f"{url}/"
    headers = {"Content-Encoding": "gzip"} if packed else {}
    request = urllib.request.Request(address, data=packed or text.encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            found: str = answer.read().decode()
            return found
    except urllib.error.HTTPError as error:
        raise _Refused(error.read(500).decode(errors="replace")) from None


def _reason(error: Exception) -> str:
    """Return a sentence without rows: ClickHouse repeats parts of what it could not read."""
    if isinstance(error, _Refused):
        return f"it says {str(error).partition(',')[0][:40]}."
    return f"{getattr(error, 'reason', error)}."
