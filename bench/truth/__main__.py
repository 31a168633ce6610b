"""Figures of the estimates beside the truth of the data at hand: ``python -m bench.truth [PART ...]``.

They are printed with their goals, and join those that are in bench/accuracy.json. The lab's truth is judged where there
are labelled sets (SNF_TRUTH_SETS, or where `make truth` puts them); elsewhere its stored figures stay, and are named.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path

from bench import rig
from bench.figure import Figure
from bench.truth import absent, causes, lab, marks, mos, realtime, video, web
from nf.errors import SnfError

_FILE = Path(__file__).parents[1] / "accuracy.json"
_PARTS = {
    "pages": web.figures,
    "streaming": mos.figures,
    "video": video.figures,
    "calls and games": realtime.figures,
    "marks": marks.figures,
    "causes": causes.figures,
    "lab": lab.figures,
}


def _line(figure: Figure) -> str:
    word = "met" if figure.met else "not met"
    sign = ">=" if figure.more else "<="
    return f"{figure.name:58} {figure.value:9.3f} {figure.unit:7} {sign} {figure.goal:<8g} {word}"


def _told(cases: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in cases.items())


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
            print(_line(figure))
            print(f"    {_told(figure.cases)}{'; ' if figure.cases and figure.note else ''}{figure.note}")
        found += told
        if not told:
            print(f"{name}: no data here; the figures of bench/accuracy.json stay as they are")
    names = {figure.name for figure in found}
    kept = [row for row in json.loads(_FILE.read_text()) if row["name"] not in names] if _FILE.is_file() else []
    kept = [row for row in kept if row["value"] is not None]
    rows = kept + [dataclasses.asdict(f) | {"met": f.met} for f in found]
    for row in absent.missing(row["name"] for row in rows):
        rows.append(row.row())
        if not sys.argv[1:]:
            print(f"{row.name:58} {'-':>9} {row.unit:7} {'>=' if row.more else '<='} {row.goal:<8g} not measured")
            print(f"    {row.note}")
    _FILE.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{sum(f.met for f in found)} of {len(found)} goals met, {time.monotonic() - begun:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
