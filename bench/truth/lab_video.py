"""Players of the lab: start-up, stalls, rate, level, and live against on demand, beside the player's own account."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bench.figure import Figure
from bench.truth.lab_sets import LabSet, Row, said
from bench.truth.players import apart

__all__ = ["figures", "main_rows", "matched", "spans"]

_CLASSES = ("video", "live-video")
_BEGIN_S, _END_S = 3.0, 2.0
_SETTLED_S, _LAST_S, _EACH_S = (
    20.0,
    20.0,
    5.0,
)  # rates are compared from then on, with what was fetched lately, so often
_NEAR, _NEAR_BPS = 0.1, 1e5
Span = tuple[float, float]


@dataclass
class _Judged:
    """Agreement of the records with all players, collected session by session."""

    startups: list[float] = field(default_factory=list)
    hits: int = 0
    told: int = 0
    true: int = 0
    ratios: list[bool] = field(default_factory=list)
    rates: list[bool] = field(default_factory=list)
    levels: list[bool] = field(default_factory=list)
    live: list[tuple[bool, bool]] = field(default_factory=list)  # true, told
    unmeasured: int = 0


def main_rows(rows: list[Row], classes: tuple[str, ...]) -> list[Row]:
    """Return the rows of the application of *classes* that moved most."""
    octets: dict[tuple[str, str], int] = {}
    for row in rows:
        if row["class"] in classes:
            key = row["class"], row["app"]
            octets[key] = octets.get(key, 0) + row["dl_bytes"]
    most = max(octets, key=lambda key: octets[key], default=None)
    return [row for row in rows if (row["class"], row["app"]) == most]


def spans(rows: list[Row], column: str) -> list[Span]:
    """Return when something lasted, by the seconds of it in each interval; runs of full intervals are one."""
    found: list[Span] = []
    for row in rows:
        seconds = row.get(column, np.nan)
        if seconds > 0:
            end, length = row["end_s"], row["interval_ms"] / 1000
            joins = bool(found) and end - length - found[-1][1] < 1e-3
            if joins:
                found[-1] = found[-1][0], end - length + seconds
            else:
                found.append((end - seconds, end))
    return found


def matched(true: list[Span], told: list[Span], begin_s: float, end_s: float) -> int:
    """Return how many of *true* have one of *told* near both of their ends."""
    left, hits = list(told), 0
    for begin, end in true:
        near = [t for t in left if abs(t[0] - begin) <= begin_s and abs(t[1] - end) <= end_s]
        if near:
            left.remove(near[0])
            hits += 1
    return hits


def _last(rows: list[Row], column: str) -> float:
    known = [row[column] for row in rows if not np.isnan(row.get(column, np.nan))]
    return float(known[-1]) if known else float("nan")


def _session(judged: _Judged, some: LabSet, rows: list[Row]) -> None:
    truth = some.truth
    rows = main_rows(rows, _CLASSES)
    if not rows or truth["startup_s"] is None:
        judged.unmeasured += 1
        return
    judged.startups.append(abs(_last(rows, "startup_s") - truth["startup_s"]))
    true = apart([(begin, end) for begin, end in truth["stalls"]])
    told = apart(spans(rows, "stalled_s"))
    judged.hits += matched(true, told, _BEGIN_S, _END_S)
    judged.true, judged.told = judged.true + len(true), judged.told + len(told)
    judged.ratios.append(abs(_last(rows, "stall_ratio") - (truth["stall_ratio"] or 0.0)) <= 0.01)
    judged.rates += _rates(truth, rows)
    judged.levels += _levels(truth, rows)
    live = any(row["class"] == "live-video" or row.get("live", 0) == 1 for row in rows)
    judged.live.append((bool(some.options.get("live")), live))


def _rates(truth: Row, rows: list[Row]) -> list[bool]:
    """Compare the media rate with what the player fetched in the last 20 s, sound included."""
    found, next_s = [], truth["first_request"] + _SETTLED_S
    pieces = [(s["end"], s["octets"], s["content_s"] if s["height"] else 0.0) for s in truth["segments"]]
    for row in rows:
        if row["end_s"] < next_s:
            continue
        next_s = row["end_s"] + _EACH_S
        lately = [p for p in pieces if row["end_s"] - _LAST_S < p[0] <= row["end_s"]]
        content = sum(p[2] for p in lately)
        if content > 0:
            bps = 8 * sum(p[1] for p in lately) / content
            found.append(bool(abs(row.get("media_bps", np.nan) - bps) <= max(_NEAR * bps, _NEAR_BPS)))
    return found


def _levels(truth: Row, rows: list[Row]) -> list[bool]:
    """Compare the level with what the player was fetching then: it is what an answer's size can tell."""
    samples = [(s["t"], s["level"]) for s in truth["told"] if "event" not in s and s.get("level")]
    times = np.array([t for t, _ in samples])
    found = []
    for row in rows:
        at = int(np.searchsorted(times, row["end_s"])) - 1
        height = row.get("video_height", np.nan)
        if at >= 0 and not np.isnan(height):
            found.append(bool(height == samples[at][1]))
    return found


def _share(values: list[bool]) -> float:
    return float(np.mean(values)) if values else float("nan")


def figures(sets: list[LabSet], replayed: Callable[[LabSet], list[Row]]) -> list[Figure]:
    """Return the rows of players."""
    judged = _Judged()
    for some in sets:
        _session(judged, some, replayed(some))
    startups = np.array(judged.startups)
    f1 = 2 * judged.hits / max(judged.true + judged.told, 1)
    cases = {"sessions": float(len(sets)), "not measurable": judged.unmeasured / max(len(sets), 1)}
    stalls = cases | {"stalls": float(judged.true), "told": float(judged.told), "right": float(judged.hits)}
    note = (
        f"{said(sets)}; tolerances are far over that. What is missed hangs on the content of an answer"
        " where the player never rests, and on sound beside the picture"
    )
    right = [a == b for a, b in judged.live]
    live = {f"recall {name}": _share([b == a for a, b in judged.live if a is want]) for name, want in _KINDS}
    found = [
        Figure("lab: video start-up, median", float(np.nanmedian(startups)), "s", 0.3, cases, note),
        Figure("lab: video stalls, F1", f1, "", 0.92, stalls, note, more=True),
        Figure("lab: video stall ratio within a point", _share(judged.ratios), "share", 0.85, cases, note, more=True),
        Figure("lab: video bitrate", _share(judged.rates), "share", 0.90, cases, note, more=True),
        Figure("lab: video level, each second", _share(judged.levels), "share", 0.93, cases, note, more=True),
    ]
    if any(a for a, _ in judged.live) and not all(a for a, _ in judged.live):
        found.append(Figure("lab: live against on demand", _share(right), "share", 0.96, cases | live, note, more=True))
    return found


_KINDS = (("live", True), ("on demand", False))
