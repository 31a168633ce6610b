"""The whole picture of ``snf watch`` and ``snf top``, as lines that fit a terminal; values in, texts out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from rich.text import Text

from mgmt.cli.board import HISTORY, Board, Row, clock
from mgmt.cli.cells import printable
from mgmt.cli.tables import Records, flow_lines, headings_of
from mgmt.cli.view import KEYS, View
from mgmt.cli.why import reasons

__all__ = ["screen"]

_SORT_WORDS = {
    "score": "worst score first",
    "time": "newest first",
    **{name: f"most {name} first" for name in ("up", "down", "loss")},
    **{name: f"longest {name} first" for name in ("access", "core")},
}
_LEGEND = (
    ({"up", "down"}, "up, down: bit/s"),
    ({"access", "core"}, "access, core: round trip, ms"),
    ({"loss"}, "loss: of the worse direction"),
    ({"scores"}, f"scores: the last {HISTORY}, newest right"),
)
_LEAST_LINES = 3  # of rows, or of flows with their head
_WORDS = "words: docs/words.md"


def screen(
    board: Board,
    now_s: float,
    view: View,
    *,
    width: int | None = None,
    height: int | None = None,
    title: str = "",
    waiting: str = "",
    notes: Iterable[str] = (),
    keys: bool = False,
) -> list[Text]:
    """Return the lines; None for *width* and *height*: as many as there are.

    *waiting* stands in the place of rows while there are none. Rows that do not fit are counted.
    """
    rows = board.fresh(now_s, view.sort, view.group)
    below = [Text(f" {line}", "yellow") for note in notes if note for line in _wrapped(note, width)]
    if keys:
        below.append(_keys(width))
    top = [_title(board, rows, view, title, width)]
    if not rows:
        middle = [Text(f" {line}") for line in _wrapped(waiting, width)] if waiting else []
        return _within([*top, Text(), *middle, Text(), *below])[: None if height is None else height - 1]
    flows = [Text(" flows of the subscriber", "bold"), *flow_lines(board.flows, width)] if board.flows else []
    if height is not None:
        flows = flows[: max(_LEAST_LINES, height // 3)]
    told = _reasons(rows, width) if view.why else []
    room = height
    while True:
        table, legend = _table(board, rows, view, width, room)
        lines = _within([*top, Text(), *table, Text(), *flows, Text(), *told, *legend, *below])
        if height is None or room is None:
            return lines
        over = len(lines) - (height - 1)  # the cursor has the last line
        if over <= 0 or room <= _LEAST_LINES:
            return lines[: height - 1]
        room = max(_LEAST_LINES, min(room, len(rows)) - over)


def _table(
    board: Board, rows: Sequence[Row], view: View, width: int | None, room: int | None
) -> tuple[list[Text], list[Text]]:
    """Return *room* rows at most, those of unknown subscribers apart, and the legend of their columns."""
    unknown = [row for row in rows if row.unknown]
    known = [row for row in rows if not row.unknown]
    most = min((n for n in (room, view.limit) if n is not None), default=len(rows))
    kept = min(len(unknown), max(most // 3, most - len(known)))  # the unknown have a third, or what is left
    shown, strangers = known[: max(1, most - kept)], unknown[:kept]
    records = Records([*shown, *strangers], width, view.whole)
    headings = headings_of(known, view.group) if view.group else {}
    lines = [*records.layout.head(), *records.lines(shown, view.group, headings)]
    lines += _more(len(known) - len(shown), "rows")
    if unknown:
        lines += [Text(), *(Text(f" {line}", "bold") for line in _wrapped(_strangers(board, unknown), width))]
        lines += [*records.lines(strangers), *_more(len(unknown) - len(strangers), "of them")]
    titles = set(records.layout.titles)
    said = "   ".join([text for names, text in _LEGEND if names & titles] + [_WORDS])
    return lines, [Text(f" {line}", "dim") for line in _wrapped(said, width)]


def _more(count: int, what: str) -> list[Text]:
    return [Text(f" and {count:,} more {what}", "dim")] if count > 0 else []


def _strangers(board: Board, unknown: Sequence[Row]) -> str:
    """Return why these subscribers have no name."""
    count = len({row.subscriber for row in unknown})
    head = f"Not known, {count}: "
    sessions, partial = board.sessions
    if partial:
        return f"{head}attached before the probe ({partial:,} of {sessions:,} sessions); named when they attach anew."
    if board.beats and not sessions:
        return f"{head}no signalling was read so far, so nobody has a name. See snf sessions, and the role of N4."
    return f"{head}attached before the probe, or where it does not read the signalling."


def _title(board: Board, rows: Sequence[Row], view: View, title: str, width: int | None) -> Text:
    functions = sorted({printable(row.nf) for row in rows} | {printable(nf) for nf in board.beats})
    parts = [title, clock(board.last_ms), ", ".join(functions)]
    if rows:
        subscribers = len({row.subscriber for row in rows})
        parts.append(f"{len(rows):,} row{'s' * (len(rows) != 1)}, {subscribers:,} subscriber{'s' * (subscribers != 1)}")
        parts.append(_SORT_WORDS.get(view.sort, f"by {view.sort}"))
        parts += [f"grouped by {view.group}"] if view.group else []
    line = Text(" " + "   ".join(filter(None, parts)), "bold")
    if width is not None:
        line.truncate(width, overflow="ellipsis")
    return line


def _keys(width: int | None) -> Text:
    line = Text(" ")
    for key, what in KEYS.items():
        line.append(key, "bold reverse").append(f" {what}   ", "dim")
    line.rstrip()
    if width is not None:
        line.truncate(width)
    return line


def _reasons(rows: Sequence[Row], width: int | None) -> list[Text]:
    told = [f"{title} is - in {count:,} row{'s' * (count != 1)}: {said}." for title, count, said in reasons(rows)]
    told = [text.replace("application is -", "application is in brackets", 1) for text in told]
    return [Text(f" {line}", "cyan") for text in told or ["Nothing is missing."] for line in _wrapped(text, width)]


def _wrapped(text: str, width: int | None) -> list[str]:
    return [text] if width is None else textwrap.wrap(text, max(20, width - 2), break_long_words=True) or [""]


def _within(lines: Sequence[Text]) -> list[Text]:
    """Return the lines with one empty one where there are several, and none at the end."""
    found = [line for n, line in enumerate(lines) if line.plain or (n and lines[n - 1].plain)]
    while found and not found[-1].plain:
        found.pop()
    return found
