"""``snf change``: scores before and after marks of change, from records that were kept as JSON lines.

The lines are those of ``snf watch --output json``, which have marks between the records, and of ``snf replay --qoe``.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from feed.change import CONFIDENCE, DIMENSIONS, LEAST_SUBSCRIBERS, Effect, Mark, before_and_after
from feed.records import CHANGE_COLUMNS, Columns
from mgmt.cli.cells import printable
from nf.errors import SnfError

__all__ = ["read", "show"]

_RECORD = ("t_ms", "interval_ms", "mos", "subscriber", *DIMENSIONS)
_NUMBERS = _RECORD[:3]
_HEADS = {"app": "application", "gnb": "gNB", "dnn": "DNN", "slice": "slice"}


def read(lines: Iterable[str]) -> tuple[Columns, list[Mark]]:
    """Return the columns that `before_and_after` reads, and the marks, each once. Raises SnfError with the line."""
    columns: dict[str, list[Any]] = defaultdict(list)
    marks: dict[Mark, None] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line.strip() else {}
            if "mos" in row:
                for name in _RECORD:
                    columns[name].append(row.get(name))
            elif row.keys() >= CHANGE_COLUMNS.keys():
                words = {name: str(row[name]) for name in CHANGE_COLUMNS if name != "t_ms"}
                marks[Mark(float(row["t_ms"]) / 1000, **words)] = None
        except (ValueError, TypeError, AttributeError):
            remedy = "Give what snf watch --output json or snf replay --qoe FILE.jsonl wrote."
            raise SnfError(f"Line {number} is no record of the feed.", remedy) from None
    return {name: _column(name, columns[name]) for name in _RECORD}, list(marks)


def _column(name: str, values: Sequence[Any]) -> Any:
    if name in _NUMBERS:
        return np.array([math.nan if v is None else v for v in values], np.float64)
    return ["" if v is None else str(v) for v in values]


def show(records: Columns, marks: Sequence[Mark], output: str) -> None:
    """Print the effects of each mark, as a table or as JSON lines. Raises SnfError when there is none to show."""
    if not marks:
        raise SnfError("There is no mark of a change.", "Give its time: --at 2026-11-29T12:30:00.")
    if not len(records["mos"]):
        raise SnfError("There are no records.", "Give what snf watch --output json wrote while the mark came.")
    console = Console()
    for mark in sorted(marks, key=lambda m: m.at_s):
        effects = before_and_after(records, mark)
        if output == "json":
            for effect in effects:
                row = {"t_ms": round(mark.at_s * 1000), "text": mark.text, **asdict(effect)}
                plain = {
                    name: None if isinstance(value, float) and math.isnan(value) else value
                    for name, value in row.items()
                }
                print(json.dumps(plain, separators=(",", ":"), allow_nan=False))
        else:
            _print(console, mark, effects)


def _print(console: Console, mark: Mark, effects: Sequence[Effect]) -> None:
    when = datetime.fromtimestamp(mark.at_s).strftime("%Y-%m-%d %H:%M:%S")
    scope = ", ".join(f"{_HEADS[name]} {getattr(mark, name)}" for name in DIMENSIONS if getattr(mark, name))
    by = f" by {mark.who}" if mark.who else ""
    title = f"{when}{by}: {mark.text or 'a change'}" + (f" ({scope})" if scope else "")
    console.print(Text(printable(title), "bold"), soft_wrap=True)
    judged = [e for e in effects if e.subscribers >= LEAST_SUBSCRIBERS]
    if judged:
        console.print(_table(judged))
    small = len(effects) - len(judged)
    told = f" {small} groups have fewer than {LEAST_SUBSCRIBERS} subscribers on both sides." if small else ""
    if not any(e.found for e in effects):
        told = f" Nothing was found.{told}"
    console.print(Text(f"{told} The intervals hold together with {CONFIDENCE:.0%}.".strip(), "dim"), soft_wrap=True)


def _table(effects: Sequence[Effect]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("", "subscribers", "before", "after", "effect", "interval", ""):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for e in effects:
        colour = "" if not e.found else "bold red" if e.effect < 0 else "green"
        table.add_row(
            Text(f"{_HEADS[e.dimension]} {printable(e.value)}"),
            str(e.subscribers),
            f"{e.before:.2f}",
            f"{e.after:.2f}",
            Text(f"{e.effect:+.2f}", colour),
            f"{e.low:+.2f} to {e.high:+.2f}",
            Text("found" if e.found else "", colour),
        )
    return table
