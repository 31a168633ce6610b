"""Tables of the screens: records and flows as lines of text. Each title of a column is explained in docs/words.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from rich.text import Text

from feed.happened import happened
from mgmt.cli.board import HISTORY, Row, clock, part
from mgmt.cli.cells import MISSING, bar, labels, loss, number, printable, rate, score, value
from mgmt.cli.layout import Column, Layout
from mgmt.cli.view import SORTS

__all__ = ["FLOWS", "RECORDS", "Records", "flow_lines", "headings_of"]

_IP_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}

RECORDS = (
    Column("subscriber", False, 10, 64),
    Column("function", False, 8, 16, 2),
    Column("application", False, 11, 15),
    Column("class", False, 5, 12, 5),
    Column("gNB", False, 3, 15, 10),
    Column("slice", False, 5, 10, 9),
    Column("time", False, 8, 8, 8),
    Column("up", True, 6, 6, 7),
    Column("down", True, 6, 6),
    Column("access", True, 6, 6, 3),
    Column("core", True, 5, 5, 6),
    Column("loss", True, 6, 6, 4),
    Column("MOS", True, 4, 4),
    Column("scores", False, HISTORY, HISTORY, 1),
    Column("suspect", False, 7, 7),
    Column("what happened", False, 13, 200),
)
"""Columns of records; the last one is there when anything happened."""

FLOWS = (
    Column("proto", False, 5, 5, 3),
    Column("server", False, 6, 47),
    Column("application", False, 11, 15, 4),
    Column("QFI", True, 3, 3, 6),
    Column("up", True, 6, 6, 7),
    Column("down", True, 6, 6),
    Column("retr.", True, 5, 5, 5),
    Column("access", True, 6, 6, 1),
    Column("core", True, 5, 5, 2),
    Column("name", False, 4, 60),
)
"""Columns of the flows of a followed subscriber."""

_SUBSCRIBER, _FUNCTION, _GNB, _SLICE = 0, 1, 4, 5
_NONE: Mapping[str, str] = MappingProxyType({})


class Records:
    """The records as a table of one width: known subscribers and others have the same columns.

    *width* None: as wide as it is. *whole*: keys of subscribers are not shortened, which they are not either where
    there is room.
    """

    def __init__(self, rows: Sequence[Row], width: int | None, whole: bool = False) -> None:
        short = {} if whole or width is None else labels(row.subscriber for row in rows)
        told = [_cells(row) for row in rows]
        functions = {row.nf for row in rows}
        left_out = {n for n in (_GNB, _SLICE) if not any(cells[n].plain for cells in told)}
        if width is not None and len(functions) < 2:
            left_out.add(_FUNCTION)  # it stands above the table
        kept = [n for n in range(len(RECORDS)) if n not in left_out]
        columns = [RECORDS[n] for n in kept]
        wide = [[cells[n] for n in kept] for cells in told]
        layout = Layout(columns, wide, width)
        at = columns.index(RECORDS[_SUBSCRIBER])
        if short and (layout.titles != [c.title for c in columns] or not _roomy(layout, columns, wide)):
            for row, cells in zip(rows, wide, strict=True):
                cells[at] = Text(short[row.subscriber])
            layout = Layout(columns, wide, width)
        self.layout = layout
        self._cells = {id(row): cells for row, cells in zip(rows, wide, strict=True)}
        self._at = at

    def lines(self, rows: Sequence[Row], group: str | None = None, headings: Mapping[str, str] = _NONE) -> list[Text]:
        """Return the lines of some of the rows; a subscriber's name is bright where it changes.

        Where *group*, a key of `SORTS`, changes, stands the heading of the group.
        """
        found, before, of = [], "", None
        for row in rows:
            if group is not None and (here := group_of(row, group)) != of:
                of, before = here, ""
                found.append(self.layout.cut(Text(headings[here], "bold")))
            cells = list(self._cells[id(row)])
            cells[self._at] = cells[self._at].copy()
            cells[self._at].stylize("dim" if row.subscriber == before else "bold cyan")
            before = row.subscriber
            found.append(self.layout.line(cells))
        return found


def _roomy(layout: Layout, columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> bool:
    """Say whether the words of the last column are whole, so that keys may be too."""
    longest = max((row[-1].cell_len for row in cells), default=0)
    return longest == 0 or layout.shows(len(columns) - 1, longest)


def group_of(row: Row, group: str) -> str:
    """Return the name of the group of a row."""
    return str(part(row, SORTS[group][0]) or MISSING)


def headings_of(rows: Sequence[Row], group: str) -> dict[str, str]:
    """Return a heading for each group: rows, mean score and rate together."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(group_of(row, group), []).append(row)
    return {name: _heading(name, each) for name, each in groups.items()}


def _heading(name: str, rows: Sequence[Row]) -> str:
    scores = [v for row in rows if (v := value(row.record, "mos")) is not None]
    mean = f"mean score {sum(scores) / len(scores):.2f}" if scores else "no score"
    down = rate(sum(value(row.record, "dl_bps") or 0 for row in rows))
    down += "bit/s" if down[-1:].isalpha() else " bit/s"
    return f" ▸ {printable(name)}: {len(rows)} row{'s' if len(rows) > 1 else ''}, {mean}, {down} down"


def _cells(row: Row) -> list[Text]:
    r, app_class = row.record, printable(row.app_class)
    return [
        Text(printable(row.subscriber)),
        Text(printable(row.nf)),
        Text(printable(r.get("app") or f"({app_class})")),
        Text(app_class),
        Text(printable(r.get("gnb") or "")),
        Text(printable(r.get("slice") or "")),
        Text(clock(value(r, "t_ms") or 0) or MISSING),
        Text(rate(value(r, "ul_bps"))),
        Text(rate(value(r, "dl_bps"))),
        Text(number(value(r, "rtt_access_ms"))),
        Text(number(value(r, "rtt_core_ms"))),
        loss(r),
        score(value(r, "mos")),
        bar(list(row.scores)),
        Text(printable(r.get("suspect") or ""), "yellow"),
        Text(printable(happened(r))),
    ]


# -- flows ---------------------------------------------------------------------------


def flow_lines(flows: Sequence[dict[str, Any]], width: int | None) -> list[Text]:
    """Return the flows of a followed subscriber, the largest first, with a head."""
    ordered = sorted(flows, key=lambda f: -((value(f, "ul_bytes") or 0) + (value(f, "dl_bytes") or 0)))
    cells = [[Text(text(flow)) for text in _FLOW_CELLS.values()] for flow in ordered]
    layout = Layout(FLOWS, cells, width)
    return [*layout.head(), *map(layout.line, cells)]


def _per_s(name: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda f: rate((value(f, name) or 0) * 8e3 / max(1, value(f, "interval_ms") or 0))


_FLOW_CELLS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "proto": lambda f: _IP_PROTOCOLS.get(n := int(value(f, "proto") or 0), str(n)),
    "server": lambda f: printable(f.get("remote") or MISSING),
    "application": lambda f: printable(f.get("app") or MISSING),
    "QFI": lambda f: number(value(f, "qfi") or None),
    "up": _per_s("ul_bytes"),
    "down": _per_s("dl_bytes"),
    "retr.": lambda f: number((value(f, "retrans_ul") or 0) + (value(f, "retrans_dl") or 0)),
    "access": lambda f: number(value(f, "rtt_access_ms")),
    "core": lambda f: number(value(f, "rtt_core_ms")),
    "name": lambda f: printable(f.get("name") or MISSING),
}
