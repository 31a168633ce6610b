"""Rows of the table of goals that no data at hand can fill: they stand in it as not measured, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["ABSENT", "Absent", "missing"]


@dataclass(frozen=True, slots=True)
class Absent:
    """A figure without a value; the names are those that `bench.figure.Figure` has where it is measured."""

    name: str
    unit: str
    goal: float
    note: str
    more: bool = False

    def row(self) -> dict[str, Any]:
        """Return the row of bench/accuracy.json: as that of a figure, without a value."""
        return asdict(self) | {"value": None, "cases": {}, "stated": None, "met": False}


_LIVE = "no list of lab/truth/sets.toml has a live player, so no set can tell it from one on demand"
_BROWSERS = "labelled calls of browsers are made by `make truth`, and none is at hand; their headers are then taken off"
_APART = "that part of the data is kept apart for acceptance"

ABSENT = (
    Absent("lab: live against on demand", "share", 0.96, _LIVE, more=True),
    Absent("lab: live level", "share", 0.93, _LIVE, more=True),
    Absent("fps of Chromium by lengths, steady", "1/s", 0.3, _BROWSERS),
    Absent("fps of Chromium by lengths, shaped", "1/s", 1.0, _BROWSERS),
    Absent("fps of Chromium by lengths, after the rate rose", "1/s", 1.0, _BROWSERS),
    Absent(
        "video stalls in mid-play, real sessions",
        "share",
        1.0,
        "none of the 29 labelled sessions has a buffering event after its first picture; the kind is judged on players "
        "of the lab and of the simulation",
        more=True,
    ),
    Absent(
        "streaming MOS, another test", "RMSE", 0.57, "no test but TR04 and TR06 is at hand; another's rows join mos.csv"
    ),
    Absent("video level, other networks", "share", 0.85, _APART, more=True),
    Absent("page time, other sites, median error", "%", 15.0, _APART),
    Absent(
        "cloud gaming and calls: decoded freeze against a decoder",
        "F1",
        0.85,
        "no set has a decoder's own frames: `lab: call frozen seconds, F1` is against getStats of the browser",
        more=True,
    ),
)


def missing(measured: Iterable[str]) -> list[Absent]:
    """Return the rows that are not among the names of figures that were measured, now or before."""
    names = set(measured)
    return [row for row in ABSENT if row.name not in names]
