"""Page time against what the browser told: `nf.qoe.pages` over captures of real page loads, interval by interval.

The share of the activity that comes after load is fitted on all sites but the one that is judged.

python -m bench.truth.web prints the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.figure import Figure
from bench.truth.web_captures import FOLDER, Load, intervals, loads, packets
from nf.errors import SnfError
from nf.qoe import pages

__all__ = ["figures", "page_s", "rank_correlation"]

_PHASES_S = 0.0, 0.37, 0.71  # of the intervals: a page begins at no full second
_GOAL, _RANK_GOAL = 4.0, 0.95
_WHOLE = replace(pages.DEFAULT, after_load=0.0)


def page_s(seen: Sequence[pages.Seen], profile: pages.Profile) -> float:
    """Return the time of the first page of one subscriber, NaN without one."""
    state = np.zeros(1, pages.STATE)
    for interval in seen:
        state, estimates = pages.advance(state, interval, profile)
        if estimates.pages[0]:
            return float(estimates.page_s[0])
    return float("nan")


def rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation of values of which no two are equal."""
    ranks = np.argsort(np.argsort(np.stack([a, b]), axis=1), axis=1)
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


def figures() -> list[Figure]:
    """Return the figures of the accuracy table: error and rank correlation, worst of the phases of intervals."""
    if not FOLDER.is_dir():
        raise SnfError(f"The page loads are not at {FOLDER}.", "Set SNF_SHARED to the folder that holds captures/.")
    told = loads()
    truth = np.array([load.onload_s for load in told])
    found = [np.array(_measured(told, phase_s)) for phase_s in _PHASES_S]
    held_out = [_held_out(told, whole_s, truth) for whole_s in found]
    seen = [~np.isnan(page) for page in held_out]
    errors = [100 * np.abs(p[s] - truth[s]) / truth[s] for p, s in zip(held_out, seen, strict=True)]
    ranks = [rank_correlation(p[s], truth[s]) for p, s in zip(held_out, seen, strict=True)]
    unmeasured = 100 * max(1 - float(s.mean()) for s in seen)
    cases = {
        "loads": float(len(told)),
        "sites": float(len({load.site for load in told})),
        "not measurable %": unmeasured,
    }
    more = {
        "mean %": max(float(e.mean()) for e in errors),
        "p90 %": max(float(np.percentile(e, 90)) for e in errors),
        "fitted on all: after load %": 100 * (1 - float(np.nanmedian(truth / found[0]))),
    }
    note = "held out by site, intervals of 1 s at three phases, the worst of them; captures end near onLoad"
    return [
        Figure("page time against onLoad, median error", max(map(_median, errors)), "%", _GOAL, cases | more, note),
        Figure("page time against onLoad, rank correlation", min(ranks), "", _RANK_GOAL, cases, note, more=True),
    ]


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values))


def _measured(told: Sequence[Load], phase_s: float) -> list[float]:
    return [page_s(list(intervals(packets(load.capture), phase_s=phase_s)), _WHOLE) for load in told]


def _held_out(told: Sequence[Load], whole_s: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the page times, each with the share after load that the other sites have."""
    sites = np.array([load.site for load in told])
    shares = {site: np.nanmedian((truth / whole_s)[sites != site]) for site in set(sites.tolist())}
    held_out: NDArray[np.float64] = whole_s * np.array([shares[site] for site in sites.tolist()])
    return held_out


if __name__ == "__main__":
    for figure in figures():
        print(f"{figure.name}: {figure.value:.3f} {figure.unit} (goal {figure.goal}) {figure.cases} {figure.note}")
