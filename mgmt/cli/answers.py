"""Tables of ``snf query``: rows in, a table for a terminal out. Wide when piped; columns leave by rank, keys never."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mgmt.cli.cells import DISSATISFIED, SATISFIED, printable

__all__ = ["show"]

_BETWEEN = 3  # what SIMPLE_HEAD has between two columns: two of padding, and one for a line that it does not draw
_EDGES = 2
_NONE = Text("-", "dim")


@dataclass(frozen=True, slots=True)
class _Form:
    """The head of a column, its text, and its rank: those with the highest leave a narrow terminal first."""

    head: str
    text: Callable[[Any], Text]
    rank: int = 5


def _plain(value: Any) -> Text:
    return Text(printable(value)) if value != "" else _NONE


def _count(value: Any) -> Text:
    return Text(f"{value:,.0f}")


def _digits(number: int) -> Callable[[Any], Text]:
    return lambda value: Text(f"{value:.{number}f}")


def _score(value: Any) -> Text:
    return Text(f"{value:.2f}", "green" if value >= SATISFIED else "yellow" if value >= DISSATISFIED else "bold red")


def _share(value: Any) -> Text:
    return Text(f"{value:.1%}")


def _time(value: Any) -> Text:
    return Text(datetime.fromtimestamp(value / 1000).strftime("%Y-%m-%d %H:%M"))


def _day(value: Any) -> Text:
    return Text(datetime.fromtimestamp(value / 1000).strftime("%Y-%m-%d"))


def _scaled(value: Any) -> Text:
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return Text(f"{value / size:.1f} {unit}")
    return Text(f"{value:.0f}")


def _effect(value: Any) -> Text:
    return Text(f"{value:+.2f}")


def _found(value: Any) -> Text:
    return Text("found", "bold") if value else Text("")


_FORMS: Mapping[str, _Form] = {
    "value": _Form("", _plain, 0),
    "kind": _Form("", _plain, 0),
    "subscriber": _Form("subscriber", _plain, 0),
    "dimension": _Form("", _plain, 0),
    "t_ms": _Form("time", _time, 0),
    "first_ms": _Form("first day", _day, 1),
    "last_ms": _Form("last day", _day, 1),
    "since_ms": _Form("from", _time, 2),
    "until_ms": _Form("to", _time, 2),
    "span_ms": _Form("minutes", lambda value: Text(f"{value / 60_000:.0f}"), 9),
    "days": _Form("bad days", _count, 0),
    "score": _Form("score", _score, 0),
    "mean": _Form("mean", _digits(2), 4),
    "p20": _Form("p20", _digits(2), 1),
    "p50": _Form("p50", _digits(2), 1),
    "p80": _Form("p80", _digits(2), 1),
    "score_p10": _Form("p10", _score, 3),
    "score_p50": _Form("p50", _score, 4),
    "bad_share": _Form("bad", _share, 1),
    "suspect": _Form("suspect", _plain, 1),
    "suspect_share": _Form("share", _share, 6),
    "subscribers": _Form("subscribers", _count, 3),
    "scored": _Form("scores", _count, 4),
    "records": _Form("records", _count, 7),
    "bad": _Form("bad", _count, 3),
    "rtt_access_ms": _Form("access ms", _digits(0), 3),
    "rtt_core_ms": _Form("core ms", _digits(0), 5),
    "loss_dl": _Form("loss down", _share, 5),
    "bytes": _Form("bytes", _scaled, 6),
    "bps": _Form("bit/s", _scaled, 3),
    "users": _Form("uses", _digits(1), 4),
    "minutes": _Form("minutes", _count, 5),
    "minutes_busy": _Form("busy", _count, 4),
    "hours": _Form("hours", _digits(1), 2),
    "sessions": _Form("sessions", _count, 2),
    "peak": _Form("peak", _digits(1), 2),
    "active_s": _Form("active s", _count, 4),
    "stalled_s": _Form("stalled s", _digits(0), 7),
    "before": _Form("before", _digits(2), 1),
    "after": _Form("after", _digits(2), 1),
    "effect": _Form("effect", _effect, 0),
    "low": _Form("from", _effect, 2),
    "high": _Form("to", _effect, 2),
    "found": _Form("", _found, 0),
}
_HEADS = {
    "app": "application",
    "app_class": "class",
    "gnb": "gNB",
    "dnn": "DNN",
    "hour": "hour (UTC)",
    "nf": "function",
}


def show(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str, heads: Mapping[str, str]) -> None:
    """Print rows; *heads* has the heads of columns that differ from question to question."""
    console = Console()
    cells = [[_cell(name, value) for name, value in zip(columns, row, strict=True)] for row in rows]
    names = [_head(name, heads) for name in columns]
    widths = [max(cell_len(head), *(cell_len(row[i].plain) for row in cells)) for i, head in enumerate(names)]
    kept = list(range(len(columns)))
    while console.is_terminal and _width([widths[i] for i in kept]) > console.width:
        last = max(kept, key=lambda i: (_rank(columns[i]), i))
        if not _rank(columns[last]):
            break
        kept.remove(last)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)
    for i in kept:
        number = any(isinstance(row[i], (int, float)) and not isinstance(row[i], bool) for row in rows)
        # Text that does not fit is not cut: a part of a name is another name.
        table.add_column(
            names[i],
            justify="right" if number else "left",
            no_wrap=True,
            overflow="ellipsis" if number else "ignore",
        )
    for row in cells:
        table.add_row(*(row[i] for i in kept))
    first, *more = title.split("\n")
    console.print(Text(printable(first), "bold"), soft_wrap=True)
    for line in more:
        console.print(Text(printable(line), "dim"), soft_wrap=True)
    console.width = max(console.width, _width([widths[i] for i in kept]))  # else rich cuts names
    console.print(table, soft_wrap=True)
    if len(kept) < len(columns):
        gone = ", ".join(names[i] or columns[i] for i in range(len(columns)) if i not in kept)
        console.print(Text(f"This terminal is too narrow for: {gone}.", "dim"), soft_wrap=True)


def _width(widths: Sequence[int]) -> int:
    """Return how wide a table with columns of these widths is."""
    return sum(widths) + _BETWEEN * (len(widths) - 1) + _EDGES


def _head(name: str, heads: Mapping[str, str]) -> str:
    head = heads.get(name, _FORMS[name].head if name in _FORMS else name)
    return _HEADS.get(head, head)


def _rank(name: str) -> int:
    return _FORMS[name].rank if name in _FORMS else 5


def _cell(name: str, value: Any) -> Text:
    if value is None:
        return _NONE
    try:
        return (_FORMS[name].text if name in _FORMS else _plain)(value)
    except (TypeError, ValueError, OverflowError, OSError):
        return _plain(value)  # somebody's own SQL has other values under these names
