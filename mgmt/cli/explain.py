"""``snf explain``: the grounds of a flow's application, of a running function or of a replay's files.

Over NETCONF it is the operation ``explain-flow`` (`mgmt.netconf.explain`).
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mgmt.netconf.explain import PROTOCOLS, question_of
from nf.errors import SnfError
from nf.naming.explain import Ground

__all__ = ["flow_of", "grounds_of", "rows_of", "show"]


def flow_of(words: Sequence[str]) -> dict[str, str]:
    """Return the parameters of a text such as ``tcp 10.45.0.2:40000 192.0.2.1:443``. Raises SnfError."""
    remedy = "Write a flow as: tcp 10.45.0.2:40000 192.0.2.1:443, IPv6 addresses in brackets."
    if len(words) != 3:
        raise SnfError(f"A flow is a protocol and two ends; this is {len(words)} words.", remedy)
    found = {"protocol": words[0].lower()}
    for prefix, text in (("", words[1]), ("other-", words[2])):
        address, _, port = text.rpartition(":")
        found[f"{prefix}address"], found[f"{prefix}port"] = address.strip("[]"), port
    try:
        question_of(found)
    except ValueError as error:
        raise SnfError(f"The {error} of {' '.join(words)} is none.", remedy) from None
    return found


# -- of a replay ----------------------------------------------------------------


def rows_of(where: Path, words: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of a replay's flows that *words* name, by ends or by number; *where* is the file or its folder.

    Raises SnfError when there is no such file or row.
    """
    files = sorted(p for p in where.iterdir() if p.suffix in _READERS) if where.is_dir() else [where]
    rows = [row for path in files for row in _read(path)]
    if not rows:
        raise SnfError(f"No flows with evidence are in {where}.", "Make the file with: snf replay CAPTURE --flows FILE")
    if len(words) == 1 and words[0].isdigit():
        found = [row for row in rows if str(row["number"]) == words[0]]
    else:
        flow = flow_of(words)
        ends = {(flow["address"], flow["port"]), (flow["other-address"], flow["other-port"])}
        proto = str(PROTOCOLS[flow["protocol"]])
        found = [r for r in rows if str(r["proto"]) == proto and _ends(r) == ends]
    if not found:
        raise SnfError(f"No flow {' '.join(words)} is in {where}.", "Give its ends, or its column number.")
    return found


def _ends(row: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(str(row["src"]), str(row["sport"])), (str(row["dst"]), str(row["dport"]))}


def _read(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in _READERS[path.suffix](file):
                if not isinstance(row, dict) or "app_evidence" not in row:
                    return
                yield row
    except (OSError, UnicodeDecodeError, ValueError, KeyError):
        raise SnfError(f"{path} is no file of flows.", "Make it with: snf replay CAPTURE --flows FILE") from None


_READERS: dict[str, Any] = {
    ".csv": csv.DictReader,
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), lambda file: map(json.loads, file)),
}


# -- for people -----------------------------------------------------------------


def show(console: Console, title: str, grounds: Sequence[Ground]) -> None:
    """Print the grounds of one flow."""
    table = Table("", "ground", "application", "%", "finding", box=None, header_style="bold", title=Text(title),
                  title_justify="left")  # fmt: skip
    for g in grounds:
        sure = str(g.confidence) if g.confidence else ""
        table.add_row("*" if g.decides else "", g.ground, g.application, sure, Text(g.finding))
    console.print(table)


def grounds_of(row: Mapping[str, Any]) -> list[Ground]:
    """Return the grounds that a row of a replay tells."""
    out: list[Ground] = []
    for part in str(row["app_evidence"]).split("; "):
        decides = part.startswith("* ")
        ground, colon, finding = part.removeprefix("* ").partition(": ")
        if not colon:  # the rest of a finding that holds the separator
            last = out.pop()
            out.append(Ground(last.ground, f"{last.finding}; {part}", last.application, last.confidence, last.decides))
            continue
        app, sure = (str(row["app"]), int(row["app_confidence"] or 0)) if decides else ("", 0)
        out.append(Ground(ground, finding, app, sure, decides))
    return out
