"""Tables of ``snf watch`` and ``snf top``: values in, tables out; no bus, no clock, no terminal.

A row is one (subscriber, application): its last record and the scores before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from feed.happened import happened
from feed.wire import CHANGE_SCHEMA, FLOW_SCHEMA, HEALTH_SCHEMA, QOE_SCHEMA, Message, rows_of

__all__ = ["Board", "Row", "bar", "printable", "rate", "screen", "short"]

SATISFIED, DISSATISFIED = 4.03, 3.10  # MOS at R = 80 and R = 60 (ITU-T G.107, table B.1)
_BARS = "▁▂▃▄▅▆▇█"
_HISTORY = 8  # scores a row shows
_FORGET_S = 30.0  # a row without a record for so long is gone; a batch waits 10 s by default
_IP_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}


@dataclass(slots=True)
class Row:
    """One (function, subscriber, application) and its last record."""

    record: dict[str, Any]
    app_class: str
    seen_s: float
    scores: deque[float | None] = field(default_factory=lambda: deque(maxlen=_HISTORY))


class Board:
    """The rows by key, and the flows of a followed subscriber."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str, str], Row] = {}
        self.flows: list[dict[str, Any]] = []
        self._flows_seen_s = 0.0
        self._partial = (0, 0)  # sessions, and those that began before the function
        self._mark = ""  # of a change, the last one

    def feed(self, message: Message, now_s: float) -> None:
        """Take a message."""
        if message.header.schema == FLOW_SCHEMA:
            self.flows, self._flows_seen_s = rows_of(message), now_s
        elif message.header.schema == HEALTH_SCHEMA:
            for row in rows_of(message)[:1]:
                self._partial = int(_count(row, "sessions")), int(_count(row, "partial_sessions"))
        elif message.header.schema == CHANGE_SCHEMA:
            for row in rows_of(message):
                when = datetime.fromtimestamp(_count(row, "t_ms") / 1000).strftime("%H:%M:%S")
                self._mark = f"{when} {printable(row.get('who') or '?')} marked: {printable(row.get('text') or '-')}"
        elif message.header.schema == QOE_SCHEMA:
            for record in sorted(rows_of(message), key=lambda r: _value(r, "t_ms") or 0):
                self._put(record, message, now_s)

    @property
    def banner(self) -> str:
        """News of all rows that a reader has to know; empty when there is none."""
        sessions, partial = self._partial
        nameless = f"{partial} of {sessions} sessions began before the function: nameless until they attach anew"
        return "  ".join(filter(None, (nameless if partial else "", self._mark)))

    def _put(self, record: dict[str, Any], message: Message, now_s: float) -> None:
        app_class = str(record.get("class") or message.app_class)
        key = (message.header.nf, str(record.get("subscriber")), app_class, str(record.get("app")))
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = Row(record, app_class, now_s)
        row.record, row.seen_s = record, now_s
        row.scores.append(_value(record, "mos"))

    def fresh(self, now_s: float, worst_first: bool = False) -> list[Row]:
        """Return the rows heard of lately, by subscriber and application or by score; forget the others."""
        self.rows = {k: r for k, r in self.rows.items() if now_s - r.seen_s <= _FORGET_S}
        if now_s - self._flows_seen_s > _FORGET_S:
            self.flows = []
        ordered = [self.rows[k] for k in sorted(self.rows)]
        if worst_first:  # rows without a score last: nothing is known to be wrong with them
            ordered.sort(key=lambda r: (_value(r.record, "mos") is None, _value(r.record, "mos") or 0))
        return ordered


def _value(record: dict[str, Any], name: str) -> float | None:
    """Return a number of a row, or None when it is missing or, from another version, no number."""
    value = record.get(name)
    return value if isinstance(value, int | float) else None


def _count(record: dict[str, Any], name: str) -> float:
    return _value(record, name) or 0


# -- cells -------------------------------------------------------------------


def short(subscriber: str) -> str:
    """Return eight digits of a pseudonym, with what says before them that the subscriber is unknown."""
    kind, dash, digits = printable(subscriber).rpartition("-")
    return kind + dash + digits[:8]


def rate(bps: float | None) -> str:
    """Return a bit rate in at most six characters."""
    if bps is None:
        return "-"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if bps >= size * 0.9995:
            value = bps / size
            return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"
    return f"{bps:.0f}"


def bar(scores: Sequence[float | None]) -> Text:
    """Return one bar a score, 1 the lowest and 5 the full block, each in its colour; a dot where none is known."""
    text = Text()
    for score in scores:
        if score is None:
            text.append("·", "dim")
        else:
            step = round((min(max(score, 1.0), 5.0) - 1) / 4 * (len(_BARS) - 1))
            text.append(_BARS[step], _colour(score))
    return text


def _colour(score: float) -> str:
    return "green" if score >= SATISFIED else "yellow" if score >= DISSATISFIED else "bold red"


def printable(text: object) -> str:
    """Return a text without control characters: names come from the network, and may hold escape sequences."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def _number(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _loss(record: dict[str, Any]) -> Text:
    known = [v for v in (_value(record, "loss_ul"), _value(record, "loss_dl")) if v is not None]
    if not known:
        return Text("-", "dim")
    return Text(f"{max(known) * 100:.1f}%", "red" if max(known) >= 0.02 else "")


def _score(score: float | None) -> Text:
    return Text("-", "dim") if score is None else Text(f"{score:.2f}", _colour(score))


# -- tables ------------------------------------------------------------------

# Name, side, least and most characters, and rank: a narrow terminal goes without those of the highest ranks; the last
# column, which says what happened, has what is left.
_COLUMNS = (
    ("subscriber", "left", 10, 14, 0),
    ("application", "left", 11, 15, 0),
    ("class", "left", 5, 12, 4),
    ("up", "right", 6, 6, 6),
    ("down", "right", 6, 6, 0),
    ("access", "right", 6, 6, 2),
    ("core", "right", 5, 5, 5),
    ("loss", "right", 6, 6, 3),
    ("MOS", "right", 4, 4, 0),
    ("", "left", _HISTORY, _HISTORY, 1),
    ("suspect", "left", 7, 7, 0),
)
_WORDS_LEAST = 36  # characters of what happened for which other columns make room
_EDGES = 2
_LEGEND = " up, down: bit/s   access, core: round trip in ms   loss: the worse direction"


class RecordsTable:
    """The records as a table that is as wide as there is room, with the columns that fit."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._cells = [_cells(row) for row in rows]
        self._words = [printable(happened(row.record)) for row in rows]
        before = ""
        for subscriber, *_ in self._cells:
            subscriber.stylize("dim" if subscriber.plain == before else "bold cyan")
            before = subscriber.plain

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        widths = [self._width(n, low, high) for n, (_, _, low, high, _) in enumerate(_COLUMNS)]
        longest = max((cell_len(text) for text in self._words), default=0)
        taken, least = list(range(len(_COLUMNS))), min(longest, _WORDS_LEAST)
        ranked = sorted((n for n, column in enumerate(_COLUMNS) if column[4]), key=lambda n: _COLUMNS[n][4])

        def left() -> int:
            return options.max_width - _EDGES - sum(widths[n] + 1 for n in taken)

        while ranked and left() < least:
            taken.remove(ranked.pop())
        table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
        for n in taken:
            name, side, low, high, _ = _COLUMNS[n]
            table.add_column(name, justify=side, min_width=low, max_width=high, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
        if longest:
            room = max(1, min(left(), longest))
            table.add_column("what happened", width=room, no_wrap=True, overflow="ellipsis")
        for cells, words in zip(self._cells, self._words, strict=True):
            table.add_row(*(cells[n] for n in taken), *([Text(words)] if longest else ()))
        yield table

    def _width(self, column: int, low: int, high: int) -> int:
        return min(high, max([low, *(cell_len(cells[column].plain) for cells in self._cells)]))


def _cells(row: Row) -> list[Text]:
    r, app_class = row.record, printable(row.app_class)
    return [
        Text(short(str(r.get("subscriber")))),
        Text(printable(r.get("app") or f"({app_class})")),
        Text(app_class),
        Text(rate(_value(r, "ul_bps"))),
        Text(rate(_value(r, "dl_bps"))),
        Text(_number(_value(r, "rtt_access_ms"))),
        Text(_number(_value(r, "rtt_core_ms"))),
        _loss(r),
        _score(_value(r, "mos")),
        bar(list(row.scores)),
        Text(printable(r.get("suspect") or ""), "yellow"),
    ]


def flows_table(flows: Sequence[dict[str, Any]]) -> Table:
    """Return the flows of a followed subscriber, the largest first, as a table of at most 100 columns."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, title="flows", title_justify="left")
    for name in ("proto", "server", "name", "application"):
        table.add_column(name, no_wrap=True, overflow="ellipsis", max_width={"server": 28, "name": 22}.get(name, 12))
    for name in ("QFI", "up", "down", "retr.", "access", "core"):
        table.add_column(name, justify="right", no_wrap=True)
    for f in sorted(flows, key=lambda f: -(_count(f, "ul_bytes") + _count(f, "dl_bytes"))):
        per_s = 8e3 / max(1, _count(f, "interval_ms"))
        proto = int(_count(f, "proto"))
        table.add_row(
            _IP_PROTOCOLS.get(proto, str(proto)),
            Text(printable(f.get("remote") or "-")),
            Text(printable(f.get("name") or "-")),
            Text(printable(f.get("app") or "-")),
            _number(_value(f, "qfi") or None),
            rate(_count(f, "ul_bytes") * per_s),
            rate(_count(f, "dl_bytes") * per_s),
            _number(_count(f, "retrans_ul") + _count(f, "retrans_dl")),
            _number(_value(f, "rtt_access_ms")),
            _number(_value(f, "rtt_core_ms")),
        )
    return table


def screen(board: Board, now_s: float, worst_first: bool, height: int, note: str = "") -> RenderableType:
    """Return the whole picture in at most *height* lines; rows that do not fit are counted."""
    rows = board.fresh(now_s, worst_first)
    room = max(1, height - 9)
    flows = board.flows[: room // 2] if board.flows else []
    shown = rows[: max(1, room - len(flows) - (4 if flows else 0))]
    parts: list[RenderableType] = [RecordsTable(shown)]
    if len(shown) < len(rows):
        parts.append(Text(f" and {len(rows) - len(shown)} more rows", "dim"))
    if flows:
        parts.append(flows_table(flows))
    parts.append(Text(_LEGEND, "dim"))
    if note:
        parts.append(Text(f" {note}", "yellow"))
    return Group(*parts)
