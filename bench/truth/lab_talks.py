"""Calls, voices, games and cloud games of the lab beside what their ends counted.

Seconds in which the path of the packets was late are left out, for a tolerance of a few ms means nothing in them.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from bench.figure import Figure
from bench.truth.lab_sets import LabSet, Row, said
from bench.truth.lab_video import main_rows, matched

__all__ = ["calls", "clouds", "frozen", "games", "voices"]

_SETTLED_S = 3.0
_FREEZE_TIMES, _FREEZE_S = 3.0, 0.15  # of the mean distance of pictures (getStats: freezeCount, W3C webrtc-stats)
_FREEZE_SEEN_S = 0.2
_SPIKE_S = 1.5
_REPORTS = 1  # packets of RTCP a second and direction, beside the talk (lab/truth/peer.py)
_NEAR_FPS = 2.0
Replayed = Callable[[LabSet], list[Row]]
_GAMES = (
    "An echo that comes within a spike cuts its gap, so that one of less than three ticks each side is not seen; a"
    " server that is late for its ticks (128 a second on a host short of time) looks as if it left some out"
)
_CALLS = "Pictures are counted as they come, so those that were sent within a burst after a hold count in its second"


def _said(sets: list[LabSet], left_out: int, seconds: int) -> str:
    return f"{said(sets)}; {left_out} of {seconds + left_out} seconds left out, in which the packets' path was late"


def _share(values: list[bool]) -> float:
    return float(np.mean(values)) if values else float("nan")


def calls(sets: list[LabSet], replayed: Replayed) -> list[Figure]:
    """Return frames a second and frozen seconds of WebRTC calls, downlink, against getStats of the subscriber."""
    off: dict[str, list[float]] = {"clean": [], "impaired": []}
    hits = told_n = true_n = left_out = unmeasured = 0
    for some in sets:
        rows = main_rows(replayed(some), ("conferencing",))
        seconds = some.truth["seconds"]["ue"]
        if not rows or len(seconds) < 2:
            unmeasured += 1
            continue
        times = np.array([seconds[0]["begin"], *(s["end"] for s in seconds)])
        came = np.r_[0, np.cumsum([s["received"] for s in seconds])]
        word = "clean" if some.options["network"] == "clean" else "impaired"
        stood = frozen(some.truth["told"]["ue"])
        for row in rows:
            end = row["end_s"]
            if end - 1 < times[0] + _SETTLED_S or end > times[-1]:
                continue
            if not some.timely(end):
                left_out += 1
                continue
            fps = float(np.interp(end, times, came) - np.interp(end - 1, times, came))
            off[word].append(abs(row.get("fps", np.nan) - fps))
            true = sum(max(0.0, min(e, end) - max(b, end - 1)) for b, e in stood) >= _FREEZE_SEEN_S
            told = row.get("frozen_s", np.nan) >= _FREEZE_SEEN_S
            hits, true_n, told_n = hits + (true and told), true_n + true, told_n + bool(told)
    n = sum(map(len, off.values()))
    note = f"{_said(sets, left_out, n)}. {_CALLS}"
    found = []
    for word, goal in (("clean", 0.2), ("impaired", 0.8)):
        if off[word]:
            values = np.array(off[word])
            cases = {
                "seconds": float(len(values)),
                "within 2 fps": round(float((values <= _NEAR_FPS).mean()), 3),
                "not measurable": round(float(np.isnan(values).mean()), 3),
                "sets without a row": float(unmeasured),
            }
            mean = float(np.nanmean(values))
            found.append(Figure(f"lab: call fps by RTP, {word}, mean error", mean, "fps", goal, cases, note))
    f1 = 2 * hits / max(true_n + told_n, 1)
    frozen_cases = {"seconds": float(n), "frozen": float(true_n), "told": float(told_n), "right": float(hits)}
    if true_n:
        found.append(Figure("lab: call frozen seconds, F1", f1, "", 0.85, frozen_cases, note, more=True))
    return found


def frozen(told: list[Row]) -> list[tuple[float, float]]:
    """Return when the picture stood longer than three usual distances and 150 ms more than one."""
    shown = sorted({p[0] for sample in told for p in sample.get("pictures", ())})
    usual = float(np.median(np.diff(shown))) if len(shown) > 1 else 0.0
    least = max(_FREEZE_TIMES * usual, usual + _FREEZE_S)
    return [(before + usual, after) for before, after in pairwise(shown) if after - before > least]


def voices(sets: list[LabSet], replayed: Replayed) -> list[Figure]:
    """Return how exact the loss of RTP before the probe is, both directions."""
    off, unmeasured, lost = list[int](), 0, 0
    for some in sets:
        rows = main_rows(replayed(some), ("voice", "conferencing"))
        for end, column, packets in (("far", "loss_dl", "dl_packets"), ("ue", "loss_ul", "ul_packets")):
            known = [r for r in rows if not np.isnan(r[column])]
            if not known:
                unmeasured += 1
                continue
            missing = sum((r[packets] - _REPORTS) * r[column] / (1 - r[column]) for r in known)
            off.append(abs(round(missing) - len(some.truth[end]["left_out"])))
            lost += len(some.truth[end]["left_out"])
    if not off:
        return []
    cases = {"streams": float(len(off)), "packets lost": float(lost), "not measurable": unmeasured / (2 * len(sets))}
    note = f"{said(sets)}; loss needs no clock"
    return [Figure("lab: RTP loss before the probe, worst", float(max(off)), "packets", 0, cases, note)]


def games(sets: list[LabSet], replayed: Replayed) -> list[Figure]:
    """Return lag, lost ticks and spikes of tick games."""
    lags, missing, ticks, left_out = list[float](), 0, list[float](), 0
    hits = told_n = true_n = ticks_n = ticks_missing = 0
    for some in sets:
        rows = main_rows(replayed(some), ("gaming",))
        truth = some.truth
        begun = truth.get("begun") or truth["far"]["sent"][0][0]
        echoes = np.array(truth["ue"]["echoes"]).reshape(-1, 2)
        settled = [r for r in rows if begun + _SETTLED_S < r["end_s"] < truth["far"]["sent"][-1][0]]
        for row in settled:
            if not some.timely(row["end_s"]):
                left_out += 1
                continue
            near = echoes[(echoes[:, 0] > row["end_s"] - 1) & (echoes[:, 0] <= row["end_s"])]
            if len(near):
                lag = row.get("lag_ms", np.nan)
                missing += bool(np.isnan(lag))
                lags.append(abs(lag - float(np.median(near[:, 1]))))
        spikes = [(begun + b, begun + e) for b, e in some.options.get("spikes", ())]
        loss = [r["tick_loss"] for r in settled if not np.isnan(r.get("tick_loss", np.nan))]
        far = truth["far"]
        if loss and not spikes:
            true = len(far["left_out"]) / (len(far["left_out"]) + len(far["sent"]))
            ticks.append(100 * abs(float(np.mean(loss[len(loss) // 2 :])) - true))  # it is a mean that settles
        ticks_missing += len(settled) - len(loss)
        ticks_n += len(settled)
        if some.options["network"] in ("spikes", "clean"):  # elsewhere lost ticks in a row are spikes of their own
            told = [(r["end_s"] - 1, r["end_s"]) for r in settled if r.get("spikes", 0) > 0]
            hits += matched(spikes, told, _SPIKE_S, _SPIKE_S)
            true_n, told_n = true_n + len(spikes), told_n + len(told)
    note = f"{_said(sets, left_out, len(lags))}. {_GAMES}"
    cases = {"seconds": float(len(lags)), "not measurable": round(missing / max(len(lags), 1), 3)}
    known = [lag for lag in lags if not np.isnan(lag)]
    found = []
    if known:
        found.append(Figure("lab: game lag, p95", float(np.percentile(known, 95)), "ms", 5, cases, note))
    if ticks:
        shares = {"sets": float(len(ticks)), "not measurable": round(ticks_missing / max(ticks_n, 1), 3)}
        found.append(Figure("lab: lost ticks, worst", max(ticks), "points", 0.5, shares, note))
    if true_n:
        f1 = 2 * hits / max(true_n + told_n, 1)
        seen = {"spikes": float(true_n), "told": float(told_n), "right": float(hits)}
        found.append(Figure("lab: spikes of a game, F1", f1, "", 0.95, seen, note, more=True))
    return found


def clouds(sets: list[LabSet], replayed: Replayed) -> list[Figure]:
    """Return frames a second of cloud games, by the way their pictures are cut."""
    off: dict[str, list[float]] = {}
    left_out = 0
    for some in sets:
        by_second = {s["second"]: s for s in some.truth["seconds"]}
        inner = sorted(by_second)[3:-1]
        word = some.options["cutting"] + (" with RTP" if some.options["rtp"] else "")
        rows = {round(r["end_s"]) - 1: r for r in main_rows(replayed(some), ("gaming",))}
        for second in inner:
            if not some.timely(second + 1.0):
                left_out += 1
            elif second in rows:
                off.setdefault(word, []).append(abs(rows[second].get("fps", np.nan) - by_second[second]["sent"]))
    note = _said(sets, left_out, sum(map(len, off.values())))
    return [
        Figure(
            f"lab: cloud gaming within 1 fps, {word}",
            100 * _share([e <= 1 for e in values]),
            "%",
            95,
            {"seconds": float(len(values)), "not measurable": round(_share([bool(np.isnan(e)) for e in values]), 3)},
            note,
            more=True,
        )
        for word, values in sorted(off.items())
    ]
