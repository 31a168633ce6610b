"""Names and folders of the store: FOLDER/TABLE/date=YYYY-MM-DD/hour=HH/[SPAN-]FIRST-LAST.parquet, in UTC.

FIRST and LAST are numbers that the collector counts up, one each time it writes; a file that was made of others has
the first number of the first and the last number of the last. So the name says what a file stands for: one whose
numbers lie within those of another of the same folder and span is of no account, which is how a crash between writing
the sum and removing its parts is no double count.

The hour is that of the last row of a message, which is in one file as a whole: rows of the last seconds of an hour can
be in the folder of the next one. Files of `facts` and `minutes` have their span before the numbers.

What lists files raises OSError where a folder may not be read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

__all__ = [
    "FOLDER",
    "HOUR",
    "HOUR_MS",
    "MINUTE",
    "MINUTE_MS",
    "Closed",
    "closed",
    "files_of_hour",
    "hours",
    "in_force",
    "place",
]

FOLDER = Path("/var/lib/supernetflow-collector")
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
MINUTE, HOUR = "minute", "hour"

_NAME = re.compile(r"(?:(minute|hour)-)?(\d{10})-(\d{10})\.parquet")
_HOUR = re.compile(r"hour=(\d\d)")
_DATE = re.compile(r"date=(\d{4})-(\d\d)-(\d\d)")


@dataclass(frozen=True, slots=True)
class Closed:
    """A file that is whole, by its name."""

    path: Path
    table: str
    hour_ms: int  # begin of its hour
    span: str  # minute, hour, or nothing
    first: int
    last: int

    def stands_for(self, other: Closed) -> bool:
        """Say whether all of *other*, of the same hour, is in this one, too."""
        return self.first <= other.first and other.last <= self.last


def place(folder: Path, table: str, hour_ms: int, span: str, first: int, last: int) -> Closed:
    """Return the file that a table has, or would have, for these numbers of an hour."""
    at = datetime.fromtimestamp(hour_ms // HOUR_MS * 3600, UTC)
    name = f"{span and span + '-'}{first:010d}-{last:010d}.parquet"
    path = folder / table / f"date={at:%Y-%m-%d}" / f"hour={at:%H}" / name
    return Closed(path, table, hour_ms // HOUR_MS * HOUR_MS, span, first, last)


def hours(folder: Path, table: str) -> Iterator[tuple[int, Path]]:
    """Yield the begin of each hour that a table has a folder for, in ms, and the folder."""
    for day in _folders(folder / table):
        if not (date := _DATE.fullmatch(day.name)):
            continue
        for each in _folders(day):
            if not (hour := _HOUR.fullmatch(each.name)):
                continue
            year, month, number = map(int, date.groups())
            try:
                at = datetime(year, month, number, int(hour[1]), tzinfo=UTC)
            except ValueError:
                continue
            yield int(at.timestamp()) * 1000, each


def _folders(path: Path) -> list[Path]:
    return [path / name for name in _names(path) if "=" in name]


def _names(path: Path) -> list[str]:
    """Return what is in a folder. Raises OSError for one that may not be read, which is not an empty one."""
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []  # not there, no folder, or gone between two looks


def closed(folder: Path, table: str, since_ms: int | None = None, until_ms: int | None = None) -> list[Closed]:
    """Return the files of a table that count, those with rows from *since_ms* to *until_ms* among them, in order."""
    found: list[Closed] = []
    for hour_ms, where in hours(folder, table):
        if since_ms is not None and hour_ms + HOUR_MS <= since_ms:
            continue
        if until_ms is not None and hour_ms - HOUR_MS >= until_ms:  # the last rows of an hour are in the next folder
            continue
        found += in_force(_files(table, hour_ms, where))
    return found


def files_of_hour(folder: Path, table: str, hour_ms: int) -> list[Closed]:
    """Return all files of a table of an hour, those that another one stands for among them."""
    return _files(table, hour_ms, place(folder, table, hour_ms, "", 0, 0).path.parent)


def _files(table: str, hour_ms: int, where: Path) -> list[Closed]:
    parts = ((_NAME.fullmatch(name), name) for name in _names(where))
    return [Closed(where / name, table, hour_ms, m[1] or "", int(m[2]), int(m[3])) for m, name in parts if m]


def in_force(files: list[Closed]) -> list[Closed]:
    """Return those of the files of one hour that no other one stands for."""
    kept: list[Closed] = []
    for file in sorted(files, key=lambda f: (f.span, f.first, -f.last)):
        # Ranges never cross: the one before, if it is of the span, is the only one that can stand for this one.
        if kept and kept[-1].span == file.span and kept[-1].stands_for(file):
            continue
        kept.append(file)
    return kept
