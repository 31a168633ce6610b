"""The streaming score against viewers: python -m bench.truth.mos.

One subjective test is predicted by a fit on the other (`bench.truth.fit_mos`), from what was really played; then by the
product's coefficients from packets: `bench.truth.tested` has a player show each sequence, and the estimates of its
requests and answers are scored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from bench.figure import Figure
from bench.truth import tested
from bench.truth.fit_mos import FITTED, PULL, Sequences, fit, told, watched
from nf.qoe.inputs import Array
from nf.qoe.video.viewers import VIEWERS, Viewers

__all__ = ["figures"]

_GOALS = {"TR04": 0.48, "TR06": 0.38}
_ANOTHER, _PACKETS, _SAME = 0.57, 0.65, 0.02
_ABSENT = (
    "No test but these two is at hand, so the row of another test (0.57) is left to those who have one: its rows join"
    " mos.csv, its features and its inputs, and are then judged here by a fit on both"
)
_TRIED = (
    "The form was chosen on these two tests: mean, power mean and lowest tenth of the quality, terms of switches, an"
    " effect of phones after the stalls (0.44 to 0.48 and 0.34 to 0.40); the pull by conditions left out within the"
    " test that is fitted on"
)


def _rmse(off: Array) -> float:
    return float(np.sqrt(np.mean(np.square(off))))


def _off(some: Sequences, of: Viewers) -> Array:
    """Return how far the scores are from the MOS, each by viewers of its own kind of screen."""
    return told(some, replace(of, phones=some.phone.astype(float))) - some.mos


def _by_screen(some: Sequences, off: Array) -> dict[str, float]:
    screens = (("large screen", ~some.phone), ("phone", some.phone))
    return {"sequences": float(len(off))} | {name: round(_rmse(off[rows]), 3) for name, rows in screens if rows.any()}


def _crossed(some: Sequences) -> list[Figure]:
    """Return each test predicted by a fit on the other."""
    found = []
    for test, other in zip(FITTED, reversed(FITTED), strict=True):
        judged, seen = some.of(some.test == test), some.of(some.test == other)
        off = _off(judged, fit(seen))
        moved = [_rmse(_off(judged, fit(seen, PULL * times))) for times in (0.5, 2.0)]
        note = f"true inputs, a fit on {other} alone; with half the pull {moved[0]:.3f}, twice {moved[1]:.3f}. {_TRIED}"
        cases = _by_screen(judged, off) | {"not measurable": 0.0}
        found.append(
            Figure(f"streaming MOS, {test} by a fit on {other}", _rmse(off), "RMSE", _GOALS[test], cases, note)
        )
    return found


def _constants(some: Sequences) -> Figure:
    """Compare the product's coefficients with a fit anew: scores of all sequences."""
    both = some.of(np.isin(some.test, FITTED))
    off = _off(both, VIEWERS)
    apart = float(np.abs(off - _off(both, fit(both))).max())
    cases = _by_screen(both, off)
    note = f"RMSE in sample {_rmse(off):.3f}. {_ABSENT}" if len(both.mos) == len(some.mos) else ""
    return Figure("streaming MOS, product's coefficients beside a fit anew", apart, "MOS", _SAME, cases, note)


def _others(some: Sequences) -> list[Figure]:
    """Return other tests, where they are at hand, by the product's coefficients."""
    rest = some.of(~np.isin(some.test, FITTED))
    if not len(rest.mos):
        return []
    off = _off(rest, VIEWERS)
    return [Figure("streaming MOS, another test", _rmse(off), "RMSE", _ANOTHER, _by_screen(rest, off), "true inputs")]


def _from_packets(some: Sequences) -> Figure:
    """Return the product's scores of the sessions that a player had of each sequence."""
    both = some.of(np.isin(some.test, FITTED))
    seen = tested.estimated(both)
    off = seen.mos - both.mos
    known: NDArray[np.bool_] = ~np.isnan(off)
    with_ladder = tested.estimated(both, ladder=True).mos - both.mos
    rows: Iterable[tuple[str, Array]] = ((test, off[known & (both.test == test)]) for test in FITTED)
    cases = {
        "sequences": float(len(off)),
        "not measurable": round(1 - float(known.mean()), 3),
        **{test: round(_rmse(part), 3) for test, part in rows},
        "right level": round(float(seen.level_right.mean()), 3),
        "stalls told of stalls": round(float(seen.stalled_s.sum() / seen.stood_s.sum()), 2),
        "with the service's ladder": round(_rmse(with_ladder[known]), 3),
    }
    note = (
        "a simulated player shows the sequences of both tests in segments of 5 s and stands still as they did; all"
        " that the product has is requests and answers. Without a service's ladder the level is that of usual rates"
    )
    return Figure("streaming MOS, inputs from packets", _rmse(off[known]), "RMSE", _PACKETS, cases, note)


def figures() -> list[Figure]:
    """Return the rows of the streaming score."""
    some = watched()
    return [*_crossed(some), *_others(some), _constants(some), _from_packets(some)]


if __name__ == "__main__":
    for figure in figures():
        print(f"{figure.name}: {figure.value:.3f} (goal {figure.goal}) {figure.cases}\n    {figure.note}")
