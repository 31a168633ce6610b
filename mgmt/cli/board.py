"""State of the screens of ``snf watch`` and ``snf top``: messages in, rows out; no bus, no clock, no terminal.

A row is one (function, subscriber, class, application): its last record and the scores before it. Heartbeats say of
each function since when it runs, and how many sessions it knows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from feed.wire import CHANGE_SCHEMA, FLOW_SCHEMA, HEALTH_SCHEMA, QOE_SCHEMA, Message, rows_of
from mgmt.cli.cells import printable, value
from mgmt.cli.view import SORTS

__all__ = ["Beat", "Board", "Row"]

HISTORY = 8  # scores a row shows
_FORGET_S = 30.0  # a row without a record for so long is gone; a batch waits 10 s by default
_UNKNOWN = ("ue-", "teid-", "ue:", "teid:")  # how the names of those begin of whom no IMSI is known (docs/feed.md)


@dataclass(slots=True)
class Row:
    """One (function, subscriber, class, application) and its last record."""

    record: dict[str, Any]
    app_class: str
    nf: str
    seen_s: float
    scores: deque[float | None] = field(default_factory=lambda: deque(maxlen=HISTORY))

    @property
    def subscriber(self) -> str:
        """The key of the subscriber."""
        return str(self.record.get("subscriber"))

    @property
    def unknown(self) -> bool:
        """Say if no signalling named the subscriber."""
        return self.subscriber.startswith(_UNKNOWN)


@dataclass(frozen=True, slots=True)
class Beat:
    """The last words of a function about itself, and their time."""

    seen_s: float
    uptime_s: float = 0.0
    sessions: int = 0
    partial: int = 0  # of the sessions: their tunnels alone are known
    intervals: int = 0
    next_batch_s: float | None = None  # 0: no records wait; None: an older function, which does not say

    @classmethod
    def of(cls, message: Message, now_s: float) -> Beat:
        """Return what a heartbeat says."""
        row = next(iter(rows_of(message)), {})

        def count(name: str) -> int:
            return int(value(row, name) or 0)

        wait_ms = value(row, "next_batch_ms")
        return cls(
            now_s,
            count("uptime_ms") / 1e3,
            count("sessions"),
            count("partial_sessions"),
            count("intervals"),
            None if wait_ms is None else wait_ms / 1e3,
        )


class Board:
    """The rows by key, the flows of a followed subscriber, and the last heartbeat of each function.

    *forget_s*: a row without a record for so long is gone; None keeps all, as of a feed that was saved.
    """

    def __init__(self, forget_s: float | None = _FORGET_S) -> None:
        self._forget_s = forget_s
        self.rows: dict[tuple[str, str, str, str], Row] = {}
        self.flows: list[dict[str, Any]] = []
        self.beats: dict[str, Beat] = {}
        self.records = 0  # rows of records so far
        self.last_ms = 0.0  # the newest time of a record
        self._flows_seen_s = 0.0
        self._mark = ""  # of a change, the last one

    def feed(self, message: Message, now_s: float) -> None:
        """Take a message."""
        schema, nf = message.header.schema, message.header.nf
        if schema == FLOW_SCHEMA:
            self.flows, self._flows_seen_s = rows_of(message) or self.flows, now_s
        elif schema == HEALTH_SCHEMA:
            self.beats[nf] = Beat.of(message, now_s)
        elif schema == CHANGE_SCHEMA:
            for row in rows_of(message):
                when = clock(value(row, "t_ms") or 0)
                self._mark = f"{when} {printable(row.get('who') or '?')} marked: {printable(row.get('text') or '-')}"
        elif schema == QOE_SCHEMA:
            for record in sorted(rows_of(message), key=lambda r: value(r, "t_ms") or 0):
                self._put(record, message, now_s)

    @property
    def banner(self) -> str:
        """News of all rows that a reader has to know; empty when there is none."""
        sessions, partial = self.sessions
        nameless = f"{partial} of {sessions} sessions began before the function: nameless until they attach anew"
        return "  ".join(filter(None, (nameless if partial else "", self._mark)))

    @property
    def mark(self) -> str:
        """The last mark of a change, in words."""
        return self._mark

    @property
    def sessions(self) -> tuple[int, int]:
        """Sessions that the functions know, and those of them of which only tunnels are known."""
        return sum(b.sessions for b in self.beats.values()), sum(b.partial for b in self.beats.values())

    def _put(self, record: dict[str, Any], message: Message, now_s: float) -> None:
        nf, app_class = message.header.nf, str(record.get("class") or message.app_class)
        key = (nf, str(record.get("subscriber")), app_class, str(record.get("app")))
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = Row(record, app_class, nf, now_s)
        row.record, row.seen_s = record, now_s
        row.scores.append(value(record, "mos"))
        self.records += 1
        self.last_ms = max(self.last_ms, value(record, "t_ms") or 0)

    def fresh(self, now_s: float, sort: str = "subscriber", group: str | None = None) -> list[Row]:
        """Return the rows heard of lately in an order of `SORTS`, by groups of *group* first; forget the others."""
        if self._forget_s is not None:
            self.rows = {k: r for k, r in self.rows.items() if now_s - r.seen_s <= self._forget_s}
            if now_s - self._flows_seen_s > self._forget_s:
                self.flows = []
        ordered = [self.rows[k] for k in sorted(self.rows)]
        column, largest = SORTS[sort]
        with_it = [r for r in ordered if part(r, column) not in (None, "")]
        ordered = [
            *sorted(with_it, key=lambda r: part(r, column), reverse=largest),
            *(r for r in ordered if part(r, column) in (None, "")),
        ]
        if group is not None:
            ordered.sort(key=lambda r: str(part(r, SORTS[group][0]) or ""))
        return ordered


def part(row: Row, column: str) -> Any:
    """Return what a row has of a column of `SORTS`; None when it is missing."""
    if column == "class":
        return row.app_class
    if column == "nf":
        return row.nf
    if column == "loss":
        return max((v for n in ("loss_ul", "loss_dl") if (v := value(row.record, n)) is not None), default=None)
    if column in ("subscriber", "app", "gnb", "slice"):
        return str(row.record.get(column) or "")
    return value(row.record, column)


def clock(t_ms: float) -> str:
    """Return a time as the clock on the wall shows it; empty for none."""
    try:
        return datetime.fromtimestamp(t_ms / 1000).strftime("%H:%M:%S") if t_ms else ""
    except (ValueError, OverflowError, OSError):  # of a year that there is not
        return ""
