"""A request's parameters become values that a question takes: times, names of columns from a list, text of filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from feed.errors import SnfError
from feed.records import APP_CLASSES

__all__ = ["FILTERS", "GROUPS", "Asked", "read"]

GROUPS = ("subscriber", "app", "gnb", "slice")
"""Columns that the page ranks."""

FILTERS = ("app_class", "app", "gnb", "slice", "dnn", "nf")
"""Columns that a view may be narrowed to one value of."""

HOUR_MS = 3_600_000
_DEFAULT_MS = 24 * HOUR_MS
_LONGEST_TEXT = 255  # characters; names of applications, networks and places are shorter (TS 23.003, 9.1: DNN 100)
_MOST_ROWS = 1000
_LATEST_MS = 253_402_300_800_000  # the year 10000, which no ISO 8601 date of four digits is in


@dataclass(frozen=True, slots=True)
class Asked:
    """Time from ``since_ms`` to before ``until_ms``, what is ranked, how many rows, and values that columns have."""

    since_ms: int
    until_ms: int
    by: str = "subscriber"
    limit: int = 100
    only: Mapping[str, str] = field(default_factory=dict)


def read(words: Mapping[str, str], newest_ms: int) -> Asked:
    """Return what the parameters ask for; without times it is the day before *newest_ms*. Raises SnfError."""
    until = _number(words, "until", newest_ms)
    since = _number(words, "since", until - _DEFAULT_MS)
    if since >= until:
        raise SnfError("The time range ends before it begins.", "Give a later end.")
    by = words.get("by", GROUPS[0])
    if by not in GROUPS:
        raise SnfError("That is no column to rank.", f"It is one of {', '.join(GROUPS)}.")
    only = {name: words[name] for name in FILTERS if words.get(name)}
    if any(len(text) > _LONGEST_TEXT for text in only.values()):
        raise SnfError(f"A filter has more than {_LONGEST_TEXT} characters.", "Give a whole name.")
    if only.get("app_class", APP_CLASSES[0]) not in APP_CLASSES:
        raise SnfError("There is no such class of applications.", f"It is one of {', '.join(APP_CLASSES)}.")
    limit = _number(words, "limit", 100)
    if not 1 <= limit <= _MOST_ROWS:
        raise SnfError(f"A table has 1 to {_MOST_ROWS} rows.", "Ask for fewer, and narrow by filters.")
    return Asked(max(since, 0), until, by, limit, only)


def _number(words: Mapping[str, str], name: str, default: int) -> int:
    text = words.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or int(text[:16]) > _LATEST_MS or len(text) > 15:
        raise SnfError(f"The parameter {name} is no number of that kind.", "Times are milliseconds since 1970.")
    return int(text)
