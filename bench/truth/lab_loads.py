"""Pages and downloads of the lab beside the browser's and the sockets' own account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from bench.figure import Figure
from bench.truth.lab_sets import LabSet, Row, said
from bench.truth.lab_video import main_rows
from bench.truth.web import rank_correlation

__all__ = ["downloads", "pages"]

_TOLD_S = 4.0  # a page is told some seconds after its load
_NEAR, _NEAR_MS = 0.1, 5.0
Replayed = Callable[[LabSet], list[Row]]


def pages(sets: list[LabSet], replayed: Replayed) -> list[Figure]:
    """Return the error of page times and their rank correlation."""
    true, told, missed = list[float](), list[float](), 0
    for some in sets:
        rows = [r for r in replayed(some) if r["class"] == "web" and r.get("pages", 0) > 0]
        ended = {r["end_s"]: r["page_s"] for r in rows}  # of the subscriber: one in all rows of the web
        loads = sorted(some.truth["pages"], key=lambda page: page["begin"])
        for i, page in enumerate(loads):
            until = loads[i + 1]["begin"] + _TOLD_S if i + 1 < len(loads) else np.inf
            mine = [t for t, s in ended.items() if page["begin"] < t - s / 2 and t <= until and t >= page["load"]]
            if mine:
                true.append(page["page_s"])
                told.append(ended.pop(max(mine, key=lambda t: ended[t])))  # polls after it are told as small ones
            else:
                missed += 1
    if len(true) < 2:
        return []
    a, b = np.array(true), np.array(told)
    errors = 100 * np.abs(b - a) / a
    cases = {
        "pages": float(len(true) + missed),
        "not told": round(missed / (len(true) + missed), 3),
        "p90 %": round(float(np.percentile(errors, 90)), 1),
    }
    note = (
        f"{said(sets)}; pages with late objects and polls after load, which are told as part of the page where they"
        " follow soon"
    )
    return [
        Figure("lab: page time with traffic after load, median error", float(np.median(errors)), "%", 12, cases, note),
        Figure(
            "lab: page time with traffic after load, rank correlation",
            rank_correlation(a, b),
            "",
            0.90,
            cases,
            note,
            True,
        ),
    ]


def downloads(sets: list[LabSet], replayed: Replayed) -> list[Figure]:
    """Return speed and limit of downloads, and round trips beside TCP_INFO of the server."""
    speeds, limits, least, means = list[float](), list[bool](), list[float](), list[bool]()
    unmeasured = 0
    for some in sets:
        rows = main_rows(replayed(some), ("download",))
        known = [r for r in rows if not np.isnan(r.get("speed_bps", np.nan))]
        if not known:
            unmeasured += 1
            continue
        truth = some.truth
        speed = float(np.median([r["speed_bps"] for r in known]))
        speeds.append(100 * abs(speed - truth["speed_bps"]) / truth["speed_bps"])
        words = Counter(r["limit"] for r in known if r.get("limit"))
        limits.append(bool(words) and words.most_common(1)[0][0] == truth["limit"])
        _trips(some, rows, least, means)
    if not speeds:
        return []
    note = said(sets)
    cases = {"downloads": float(len(sets)), "not measurable": unmeasured / len(sets)}
    found = [
        Figure("lab: download speed, median error", float(np.median(speeds)), "%", 10, cases, note),
        Figure("lab: download limit", float(np.mean(limits)), "share", 0.90, cases, note, True),
    ]
    if least:
        trips = {"downloads": float(len(least)), "p90 ms": round(float(np.percentile(least, 90)), 2)}
        found.append(Figure("lab: least round trip against TCP_INFO", float(np.median(least)), "ms", 0.1, trips, note))
    if means:
        smoothed = f"{note}; TCP_INFO tells a smoothed mean, which lags behind a queue that moves"
        seconds = {"seconds": float(len(means))}
        found.append(
            Figure(
                "lab: mean round trip against TCP_INFO", float(np.mean(means)), "share", 0.95, seconds, smoothed, True
            )
        )
    return found


def _trips(some: LabSet, rows: list[Row], least: list[float], means: list[bool]) -> None:
    """Compare both halves of the round trip with the server's sockets."""
    readings = some.truth["far"]["readings"]
    core = [r["rtt_min_core_ms"] for r in rows if not np.isnan(r["rtt_min_core_ms"])]
    access = [r["rtt_min_access_ms"] for r in rows if not np.isnan(r["rtt_min_access_ms"])]
    if not core or not access or not readings:
        return
    beyond = min(core)
    least.append(abs(min(access) + beyond - min(r["min_rtt_ms"] for r in readings if r["min_rtt_ms"] > 0)))
    for row in rows:
        told = [r["rtt_ms"] for r in readings if row["end_s"] - 1 < r["t"] <= row["end_s"]]
        if told and not np.isnan(row["rtt_access_ms"]) and some.timely(row["end_s"]):
            true, mine = float(np.mean(told)), row["rtt_access_ms"] + beyond
            means.append(bool(abs(mine - true) <= max(_NEAR * true, _NEAR_MS)))
