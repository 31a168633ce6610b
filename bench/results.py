"""The file of figures, and the tables that the documentation makes of it.

    results.json      latest measurement, here: name, value, unit, goal, met, cases, note and more of each figure; goal
                      is the one that was applied, stated the one that it was scaled from, if it was; yardstick the
                      milliseconds that bench/yardstick.py took in the same run
    documented.json   figures that the documents quote, so that measuring changes nothing that is read

``python -m bench.results``, or ``python -m bench --docs``, makes the first the second and writes the tables into
docs/performance.md and docs/scaling.md, between their marks.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import re
import tomllib
from pathlib import Path
from typing import Any

from bench import model_table
from bench.figure import Figure
from bench.yardstick import Yardstick

__all__ = ["DOCS", "FILE", "QUOTED", "UNEXPLAINED", "document", "goal_of", "machine", "render", "rows", "write"]

FILE = Path(__file__).with_name("results.json")
QUOTED = FILE.with_name("documented.json")
REASONS = FILE.with_name("reasons.toml")
UNEXPLAINED = "no reason is written down for this miss in bench/reasons.toml."
_DOCS = FILE.parent.parent / "docs"
DOCS = (_DOCS / "performance.md", _DOCS / "scaling.md")
_MARK = re.compile(r"(<!-- bench: ([\w. -]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def machine() -> str:
    """Return a description of the machine that the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    info = dict(line.partition(":")[::2] for line in reversed(lines) if ":" in line)
    field = {k.strip(): v.strip() for k, v in info.items()}
    model = field.get("model name", platform.machine())
    if "cpu family" in field:
        model += f" (family {field['cpu family']}, model {field['model']})"
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{model}, {os.cpu_count()} CPUs, {gigabytes:.0f} GB, Linux {platform.release()}"


def rows(file: Path | None = None) -> list[dict[str, Any]]:
    """Return the figures of a file; without one, those that the documents quote."""
    path = QUOTED if file is None else file
    loaded: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return loaded


def write(family: str, figures: list[Figure], yardstick: Yardstick | None = None) -> None:
    """Put the figures of a family in the place of its older ones, with the yardstick of their run."""
    more = {"machine": machine(), "yardstick": dataclasses.asdict(yardstick) if yardstick else None, "bench": family}
    made = [dataclasses.asdict(f) | {"met": f.met} | more for f in figures]
    old = rows(FILE)
    at = next((i for i, row in enumerate(old) if row.get("bench") == family), len(old))
    rest = [row for row in old if row.get("bench") != family]
    FILE.write_text(json.dumps(rest[:at] + made + rest[at:], indent=1) + "\n")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def goal_of(goal: float, stated: float | None, unit: str = "") -> str:
    """Return a goal in words, and the one that it was scaled from, if it was."""
    return f"{goal:g}{unit}" if stated is None else f"{_number(goal)}{unit}, scaled from {stated:g}{unit}"


def _figures(families: list[str]) -> str:
    out = ["| figure | measured | goal | |", "|---|---|---|---|"]
    for row in rows():
        if row["bench"] in families:
            sign, unit = ("≥" if row["more"] else "≤"), "" if row["unit"] == "ratio" else f" {row['unit']}"
            met = "met" if row["met"] else "**missed**"
            goal = goal_of(row["goal"], row.get("stated"), unit)
            out.append(f"| {row['name']} | {_number(row['value'])}{unit} | {sign} {goal} | {met} |")
    return "\n".join(out)


def _cases(families: list[str]) -> str:
    out, seen = ["| case | measured |", "|---|---|"], set[str]()
    for row in rows():
        if row["bench"] in families:
            for name, value in row["cases"].items():
                text = f"| {name} | {_number(value)} |"
                if text not in seen:
                    out.append(text)
                seen.add(text)
    return "\n".join(out)


def _notes() -> str:
    return "\n".join(f"- {n}" for n in dict.fromkeys(f"`{row['bench']}`: {row['note']}" for row in rows()))


def _misses() -> str:
    out = []
    for row in rows():
        if not row["met"]:
            out.append(f"- **{row['name']}**: {reason(row['name'])}")
    return "\n".join(out) or "None."


def reason(name: str) -> str:
    """Return the reason for a missed goal from bench/reasons.toml, or `UNEXPLAINED`."""
    reasons: dict[str, str] = tomllib.loads(REASONS.read_text())
    return next((text for start, text in reasons.items() if name.startswith(start)), UNEXPLAINED)


def _machines() -> str:
    """Return a line a machine, with its yardstick where a row has one."""
    lines: dict[str, str] = {}
    for row in rows():
        known = Yardstick(**row["yardstick"]) if row.get("yardstick") else None
        machine_ = str(row["machine"])
        if known and not lines.get(machine_):
            lines[machine_] = f"; yardstick: {known}"
        lines.setdefault(machine_, "")
    return "\n".join(f"{name}{measured}" for name, measured in lines.items())


def render(text: str) -> str:
    """Return a document with the text between ``<!-- bench: WHAT -->`` and ``<!-- end -->`` made anew.

    WHAT is ``figures NAME ...``, ``cases NAME ...``, ``notes``, ``misses``, ``model`` or ``machine``; names are those
    of the scripts.
    """

    def block(mark: re.Match[str]) -> str:
        kind, *families = mark[2].split()
        match kind:
            case "figures":
                body = _figures(families)
            case "cases":
                body = _cases(families)
            case "notes":
                body = _notes()
            case "misses":
                body = _misses()
            case "model":
                body = model_table.table(rows())
            case "machine":
                body = _machines()
            case _:
                raise ValueError(f"no table is named {kind}")
        return f"{mark[1]}{body}\n{mark[3]}"

    return _MARK.sub(block, text)


def document() -> None:
    """Quote the latest figures in the documents."""
    QUOTED.write_bytes(FILE.read_bytes())
    for path in DOCS:
        path.write_text(render(path.read_text()))


if __name__ == "__main__":
    document()
