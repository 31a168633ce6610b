"""Questions, their parameters, and the text of SQL that an engine gets: `fill` is a pure function of checked values.

A text has places in braces. A piece of it that is needed in several places, as the oldest engine has no WITH, stands
above it behind a line ``--: NAME`` and is put where ``{NAME}`` is. NAME.ENGINE.sql is another text for one engine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from feed.change import LEAST_SUBSCRIBERS
from feed.errors import SnfError
from history.tables import DIMENSIONS, LEVELS, MEASURES

__all__ = ["DAY_MS", "FILTERS", "HOUR_MS", "QUESTIONS", "Asked", "Question", "fill", "quoted"]

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
FILTERS = ("subscriber", *DIMENSIONS)
_PLACES = tuple(DIMENSIONS)
_FOLDER = Path(__file__).parent
_MOST_ROWS = 1_000_000
_HIGH_IS_GOOD = ("mos", "video_height", "fps", "speed_bps")
_HOUR = "cast((t_ms % 86400000 - t_ms % 3600000) / 3600000 as bigint)"


@dataclass(frozen=True, slots=True)
class Question:
    """One question: what it says, its tables, what its rows can be by, its filters and numbers with their defaults."""

    says: str
    tables: tuple[str, ...]
    by: tuple[str, ...] = ()
    filters: tuple[str, ...] = FILTERS
    numbers: Mapping[str, int] = field(default_factory=dict)
    needs: str = ""  # a filter without which it is none
    days: int = 1  # that are asked of when nobody says since when


QUESTIONS: Mapping[str, Question] = {
    "worst": Question(
        "who, or where, is worst: the lowest mean score first",
        ("facts",),
        ("subscriber", "app", "gnb", "slice", "dnn", "app_class", "rat", "tai", "cell", "nf"),
        numbers={"limit": 20, "least": 10},
    ),
    "subscriber": Question(
        "one subscriber, hour by hour and application by application", ("facts",), needs="subscriber",
        numbers={"limit": 100},
    ),
    "busy": Question(
        "a measure in the busiest tenth of the minutes: what one minute of five is beyond",
        ("minutes",),
        ("gnb", "slice", "app", "dnn", "app_class", "rat", "tai", "cell", "nf"),
        _PLACES,
        {"limit": 20},
        days=7,
    ),
    "change": Question(
        "scores before and after a mark, in the same hours, with an interval of confidence", ("facts",),
        numbers={"limit": 1000, "least": LEAST_SUBSCRIBERS}, days=7,
    ),
    "apps": Question(
        "applications, with what their users had of them", ("facts", "buckets"), filters=_PLACES,
        numbers={"limit": 50},
    ),
    "habits": Question(
        "hours, sessions and peak of viewers and players",
        ("facts", "minutes"),
        ("app", "level", "hour", "gnb", "slice"),
        _PLACES,
        {"limit": 50},
        days=7,
    ),
    "churn": Question(
        "subscribers with bad days one after another", ("facts",), days=30,
        numbers={"limit": 50, "least": 10, "days": 3},
    ),
    "gaps": Question("parts of the past that are missing", ("gaps",), filters=("nf",), numbers={"limit": 100}, days=7),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """Parameters of one question; what is empty or not there has its default. Times are milliseconds of the epoch."""

    since_ms: int
    until_ms: int
    by: str = ""
    measure: str = "mos"
    mark_ms: int | None = None
    filters: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)


def fill(name: str, asked: Asked, engine: str = "duckdb") -> str:
    """Return the text of a question with its parameters in it. Raises SnfError when they do not go with it."""
    question = QUESTIONS.get(name)
    if question is None:
        raise SnfError(f"There is no question {name}.", f"Questions are {', '.join(QUESTIONS)}.")
    values = _values(name, question, asked)
    pieces = _pieces(name, engine)
    text = pieces.pop("question")
    for _ in range(len(pieces) + 1):  # a piece may have another one in it
        text = re.sub(r"\{(\w+)\}", lambda m: pieces.get(m[1], m[0]), text)
    return re.sub(r"\{(\w+)\}", lambda m: values[m[1]], text)


def quoted(text: str) -> str:
    """Return a literal of SQL. Raises SnfError for what no engine would read as it is meant."""
    if "\\" in text or not text.isprintable():  # a backslash is itself in DuckDB, and an escape in the others
        raise SnfError("A filter has a character that no name has.", "Give it without backslashes and control marks.")
    return "'" + text.replace("'", "''") + "'"


def _pieces(name: str, engine: str) -> dict[str, str]:
    own = _FOLDER / f"{name}.{engine}.sql"
    text = (own if own.is_file() else _FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    head, *rest = re.split(r"^--: (\w+)\n", text, flags=re.MULTILINE)
    named = dict(zip(rest[::2], rest[1::2], strict=True)) if rest else {"question": head}
    return {key: re.sub(r"^--.*\n", "", piece, flags=re.MULTILINE).strip() for key, piece in named.items()}


def _values(name: str, question: Question, asked: Asked) -> dict[str, str]:
    """Return what stands in each place. Raises SnfError for what the question does not have."""
    by = asked.by or next(iter(question.by), "")
    if asked.by and asked.by not in question.by:
        remedy = f"It can be by {', '.join(question.by)}." if question.by else "Ask it without."
        raise SnfError(f"The question {name} is not by {asked.by}.", remedy)
    if asked.measure not in MEASURES:
        raise SnfError(f"There is no measure {asked.measure}.", f"Measures are {', '.join(MEASURES)}.")
    for key in asked.filters:
        if key not in question.filters:
            remedy = f"It has {', '.join(question.filters)}."
            raise SnfError(f"The question {name} has no filter {key}.", remedy)
    if question.needs and not asked.filters.get(question.needs):
        raise SnfError(f"The question {name} is about one {question.needs}.", f"Name it: --{question.needs} NAME.")
    numbers = {key: _number(name, key, asked.numbers.get(key, default)) for key, default in question.numbers.items()}
    if extra := asked.numbers.keys() - question.numbers.keys():
        raise SnfError(f"The question {name} has no {min(extra)}.", f"It has {', '.join(question.numbers)}.")
    if asked.until_ms <= asked.since_ms:
        raise SnfError("The time ends before it begins.", "Give --since before --until.")
    scope = " and ".join(f"{key} = {quoted(value)}" for key, value in asked.filters.items()) or "1 = 1"
    return {
        "since_ms": str(asked.since_ms),
        "until_ms": str(asked.until_ms),
        "by": by,
        "filters": scope,
        "place_filters": scope,
        "gap_filters": scope,
        "subscriber": quoted(asked.filters.get("subscriber", "")),
        "measure": asked.measure,
        "in_tenths": str(int(asked.measure == "mos")),
        "high_is_good": str(int(asked.measure in _HIGH_IS_GOOD)),
        **numbers,
        **(_habit(by) if name == "habits" else {}),
        **(_around(asked) if name == "change" else {}),
    }


def _number(name: str, key: str, value: int) -> str:
    if not 1 <= value <= _MOST_ROWS:
        raise SnfError(f"The question {name} takes no {key} of {value}.", f"Give 1 to {_MOST_ROWS:,}.")
    return str(value)


def _habit(by: str) -> dict[str, str]:
    """Return how spans are shared: whole, or by the level of the picture."""
    if by != "level":
        group, order = {"hour": (_HOUR, "value")}.get(by, (by, "hours desc, value"))
        return {"group": group, "levels": "select 1 as one, 0 as level", "part_ms": "active_ms", "order": order}
    known = " - ".join(f"level_{lines}_ms" for lines in LEVELS)
    cases = " ".join(f"when level = {lines} then level_{lines}_ms" for lines in LEVELS)
    levels = "select 1 as one, 0 as level" + "".join(f" union all select 1, {lines}" for lines in LEVELS)
    part = f"case {cases} else greatest(active_ms - {known}, 0) end"
    return {"group": "level", "levels": levels, "part_ms": part, "order": "value"}


def _around(asked: Asked) -> dict[str, str]:
    """Return the two sides of a mark: after it whole days, or less than one in hours, and the days before in the same
    hours. Raises SnfError when no hour is over since."""
    if asked.mark_ms is None:
        raise SnfError(
            "There is no mark of a change.", "Give its time: --at 2026-11-29T12:30:00, or mark one: snf mark."
        )
    after = -(-asked.mark_ms // HOUR_MS) * HOUR_MS
    length = (asked.until_ms - after) // HOUR_MS * HOUR_MS
    before = (after - asked.since_ms) // DAY_MS * DAY_MS
    if length <= 0 or before <= 0:
        raise SnfError(
            "A whole hour after the mark and a day before it are needed.",
            "Ask later, or with other --since and --until.",
        )
    if length > DAY_MS:
        length = length // DAY_MS * DAY_MS
    return {
        "mark_ms": str(asked.mark_ms),
        "after_ms": str(after),
        "first_ms": str(after - before),
        "until_ms": str(after + length),
        "hours_ms": str(min(length, DAY_MS)),
    }
