"""Figures of marks of change: generated scores of subscribers of three gNBs, one of which changes at the mark, or none.

Subscribers differ from each other, and what is bad for one now is so in the next interval, so that intervals are far
from independent. Their scores are generated and no measurements: what is judged is the comparison, not the scores.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.figure import Figure
from feed.change import Mark, before_and_after

__all__ = ["APPS", "AT_S", "GNBS", "INTERVALS", "PEOPLE", "figures", "found", "records", "scores"]

GNBS = ("172.16.0.1", "172.16.0.2", "172.16.0.3")
APPS = ("meet", "tube", "shop")
PEOPLE, INTERVALS = 150, 16
AT_S = 1_785_000_000.0
_STAYS = 0.9  # correlation of an interval with the one before
_RUNS, _SEED = 500, 14


def scores(seed: int, runs: int) -> NDArray[np.float64]:
    """Return (runs, PEOPLE, INTERVALS) scores without any effect."""
    r = np.random.default_rng(seed)
    person = r.normal(3.9, 0.5, (runs, PEOPLE, 1))
    noise = r.normal(0, 0.3, (runs, PEOPLE, INTERVALS))
    for i in range(1, INTERVALS):
        noise[..., i] = _STAYS * noise[..., i - 1] + math.sqrt(1 - _STAYS**2) * noise[..., i]
    out: NDArray[np.float64] = np.clip(person + noise, 1, 5)
    return out


def records(mos: NDArray[np.float64], effect: Mapping[str, float] | None = None) -> dict[str, Any]:
    """Return the columns of one run's records, half of them after the mark; *effect* on the score is by gNB."""
    who, when = np.divmod(np.arange(PEOPLE * INTERVALS), INTERVALS)
    gnb = np.array(GNBS)[who % len(GNBS)]
    moved = sum((np.where(gnb == name, size, 0.0) for name, size in (effect or {}).items()), np.zeros(len(who)))
    after = when >= INTERVALS // 2
    return {
        "t_ms": (AT_S * 1000 + (when + 1 - INTERVALS // 2) * 1000).astype(np.uint64),
        "interval_ms": np.full(len(who), 1000),
        "subscriber": np.char.add("p", who.astype("U4")),
        "app": np.array(APPS)[who // len(GNBS) % len(APPS)],
        "gnb": gnb,
        "dnn": np.full(len(who), "internet"),
        "slice": np.full(len(who), "1"),
        "mos": mos.ravel() + moved * after,
    }


def found(rows: Mapping[str, Any], dimension: str = "") -> set[str]:
    """Return the groups in which something is found, of one dimension or of all."""
    told = before_and_after(rows, Mark(AT_S))
    return {e.value for e in told if e.found and dimension in ("", e.dimension)}


def figures() -> list[Figure]:
    """Return the figures of marks; takes some ten seconds."""
    runs = scores(_SEED, _RUNS)
    told = [found(records(mos, {GNBS[1]: -0.3}), "gnb") for mos in runs]
    smaller = {
        f"found, of {size:g}": np.mean([GNBS[1] in found(records(mos, {GNBS[1]: -size}), "gnb") for mos in runs[:100]])
        for size in (0.05, 0.1, 0.2)
    }
    note = f"{PEOPLE // len(GNBS)} subscribers a gNB; generated scores"
    return [
        Figure(
            "change of 0.3 MOS at one of three gNBs: found there alone",
            float(np.mean([gnbs == {GNBS[1]} for gnbs in told])),
            "of runs",
            0.95,
            {"runs": _RUNS, **{name: float(share) for name, share in smaller.items()}},
            note,
            more=True,
        ),
        Figure(
            "change without effect: nothing found in any group",
            float(np.mean([not found(records(mos)) for mos in runs])),
            "of runs",
            0.95,
            {"runs": _RUNS},
            note,
            more=True,
        ),
    ]
