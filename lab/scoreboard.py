"""The demonstration's conclusions from the records it hears: the table, the comparison, the verdict.

Values in, values out; times are seconds since the demonstration began. A record is a mapping with
the columns of `feed.records.RECORD_COLUMNS` and ``class``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Any

from rich.table import Table
from rich.text import Text

from feed.happened import happened, rate

__all__ = ["Row", "Scoreboard", "plain_table", "rich_table", "short"]

_FRESH_S = 12.0  # a row without news for so long leaves the table: two batches of the demonstration, and a bit
_BARS = " ▁▂▃▄▅▆▇█"
_HISTORY = 6


@dataclass(slots=True)
class Row:
    """State of one (subscriber, application) now."""

    subscriber: str
    app: str
    app_class: str
    heard_s: float = 0.0
    last: Mapping[str, Any] = field(default_factory=dict)
    mos: float = math.nan
    history: list[float] = field(default_factory=list)


class Scoreboard:
    """All records so far. *names* maps pseudonyms that are expected to what the lab calls them."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.rows: dict[tuple[str, str], Row] = {}
        self.records = 0
        self.scores: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)  # (subscriber, class)
        self.access_ms: dict[str, list[tuple[float, float]]] = defaultdict(list)  # by subscriber
        self.heard: dict[str, float] = {}  # class: time of its last record

    def feed(self, record: Mapping[str, Any], at_s: float) -> None:
        """Take one record."""
        self.records += 1
        subscriber, app, app_class = record["subscriber"], record["app"] or "?", record["class"]
        row = self.rows.setdefault((subscriber, app), Row(subscriber, app, app_class))
        row.last, row.heard_s, row.app_class = record, at_s, app_class
        self.heard[app_class] = at_s
        access_ms = record["rtt_access_ms"]
        if access_ms is not None and not math.isnan(access_ms):
            self.access_ms[subscriber].append((at_s, access_ms))
        mos = record["mos"]
        if mos is not None and not math.isnan(mos):
            row.mos = mos
            row.history = [*row.history[1 - _HISTORY :], mos]
            self.scores[subscriber, app_class].append((at_s, mos))

    def fresh(self, now_s: float) -> list[Row]:
        """Return the rows that have news, in the order of the names."""
        rows = [r for r in self.rows.values() if now_s - r.heard_s <= _FRESH_S and r.subscriber in self.names]
        order = {pseudonym: n for n, pseudonym in enumerate(self.names)}
        return sorted(rows, key=lambda r: (order[r.subscriber], r.app))

    def mean(self, subscriber: str, app_class: str, from_s: float, to_s: float) -> float:
        """Return the mean score of a subscriber and class in a time, NaN without one."""
        return _mean(m for t, m in self.scores.get((subscriber, app_class), ()) if from_s <= t < to_s)

    def access_delay_ms(self, subscriber: str, from_s: float, to_s: float) -> float:
        """Return the median round trip between probe and UE in a time, NaN without one."""
        found = [ms for t, ms in self.access_ms.get(subscriber, ()) if from_s <= t < to_s]
        return median(found) if found else math.nan

    def classes(self, subscriber: str) -> list[str]:
        """Return the classes in which a subscriber was scored."""
        return sorted(c for s, c in self.scores if s == subscriber)

    def last_heard(self, app_class: str) -> float:
        """Return the time at which a class was last heard of, -inf if never."""
        return self.heard.get(app_class, -math.inf)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return fmean(found) if found else math.nan


def short(subscriber: str) -> str:
    """Return a pseudonym as it fits a table; a name that is none stays whole."""
    return subscriber[:8] if len(subscriber) == 32 else subscriber


def _number(value: Any, form: str) -> str:
    return "-" if value is None or math.isnan(value) else format(value, form)


def _loss(record: Mapping[str, Any]) -> str:
    known = [v for v in (record["loss_ul"], record["loss_dl"]) if v is not None and not math.isnan(v)]
    return f"{max(known) * 100:.1f}%" if known else "-"


def _cells(row: Row) -> tuple[str, ...]:
    r = row.last
    return (
        short(row.subscriber),
        row.app,
        row.app_class,
        rate(r["dl_bps"]),
        rate(r["ul_bps"]),
        _number(r["rtt_access_ms"], ".0f"),
        _number(r["rtt_core_ms"], ".0f"),
        _loss(r),
        _number(row.mos, ".2f"),
    )


_HEADS = ("subscriber", "app", "class", "down", "up", "access", "core", "loss", "MOS")


def rich_table(rows: list[Row], title: str, marked: str = "") -> Table:
    """Return the live table (rates in Mbit/s, round trips in ms); the subscriber *marked* stands out."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        expand=False,
        pad_edge=False,
        box=None,
        padding=(0, 1, 0, 0),
    )
    for n, head in enumerate(_HEADS):
        table.add_column(head, justify="right" if n >= 3 else "left", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("suspect", no_wrap=True)
    table.add_column(Text("what happened", no_wrap=True))  # the one that a narrow terminal cuts
    before = ""
    for row in rows:
        *cells, mos = _cells(row)
        colour = "dim" if math.isnan(row.mos) else "green" if row.mos >= 4 else "yellow" if row.mos >= 3 else "red"
        who = cells[0] if row.subscriber != before else ""
        before = row.subscriber
        bars = "".join(_BARS[max(1, min(8, round((m - 1) * 2)))] for m in row.history)
        table.add_row(
            Text(who, style="bold red" if row.subscriber == marked else "bold"),
            *cells[1:],
            Text(mos, style=colour),
            Text(bars, style=colour),
            str(row.last["suspect"]),
            Text(happened(row.last), no_wrap=True, overflow="ellipsis"),
        )
    return table


def plain_table(rows: list[Row]) -> str:
    """Return the same, in the same units, without control codes: for a pipe or a log."""
    heads = (*_HEADS, "suspect", "what happened")
    lines = [heads, *((*_cells(r), str(r.last["suspect"]), happened(r.last)) for r in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            c.rjust(w) if 3 <= i < 9 else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
