"""Figures of the estimates beside the truth of the data at hand: ``python -m bench.truth [PART ...]``.

They are printed with their goals, and join those that are in bench/accuracy.json. The lab's truth is judged where there
are labelled sets (SNF_TRUTH_SETS, or where `make truth` puts them); elsewhere its stored figures stay, and are named.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from typing import Any

from bench import rig, stored
from bench.figure import Figure
from bench.truth import absent, causes, lab, marks, mos, realtime, video, web, webrtc
from nf.errors import SnfError

_LAB = "lab: "  # begins the names of figures whose truth is a labelled set
_PARTS = {
    "pages": web.figures,
    "streaming": mos.figures,
    "video": video.figures,
    "calls and games": realtime.figures,
    "marks": marks.figures,
    "causes": causes.figures,
    "lab": lab.figures,
}


def _met(met: bool) -> str:
    return "met" if met else "not met"


def _told(cases: dict[str, float], note: str) -> str:
    shown = ", ".join(f"{name} {value:g}" for name, value in cases.items())
    return f"    {shown}{'; ' if shown and note else ''}{note}"


def _show_others(rows: list[dict[str, Any]], absences: list[absent.Absent]) -> None:
    """Print what was measured before, where its data were, and what cannot be measured with any data at hand."""
    for row in rows:
        if row["name"].startswith(_LAB):
            print(stored.line(row, f"{_met(row['met'])}, as it was measured before: its labelled sets are not here"))
            print(_told(row["cases"], row["note"]))
        elif row["name"].startswith(webrtc.FIGURES):
            print(stored.line(row, f"{_met(row['met'])}, as it was measured before: this host was late for a frame"))
            print(_told(row["cases"], row["note"]))
    for absence in absences:
        print(stored.line(absence.row(), "not measured"))
        print(f"    {absence.note}")


def main() -> int:
    """Print the figures and write them down; return 0, or 1 when the data are not there."""
    begun, found = time.monotonic(), list[Figure]()
    unknown = set(sys.argv[1:]) - set(_PARTS)
    if unknown:
        print(f"There is no part {', '.join(sorted(unknown))}. Parts: {', '.join(_PARTS)}.", file=sys.stderr)
        return 1
    for name, figures in _PARTS.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        rig.progress(f"estimates of {name}")
        try:
            told = figures()
        except SnfError as error:
            print(error, file=sys.stderr)
            return 1
        rig.progress("")
        for figure in told:
            print(stored.line(dataclasses.asdict(figure), _met(figure.met)))
            print(_told(figure.cases, figure.note))
        found += told
    before = stored.kept()
    measured = {figure.name for figure in found}
    others = [row for row in before if row["name"] not in measured]
    absences = absent.missing([*measured, *(row["name"] for row in others)])
    stored.keep(found, [row.row() for row in absences])
    if not sys.argv[1:]:
        _show_others(others, absences)
    print(f"{sum(f.met for f in found)} of {len(found)} goals met, {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
