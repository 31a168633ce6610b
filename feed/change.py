"""Before and after a change: what happened to the score of each application, gNB, data network and slice at a mark.

A pure function of columns of records (`feed.records`, as a feed, a file or a query gives them) and a mark. Like is
compared with like: the same subscriber with the same application at the same place before and after. Intervals of one
subscriber follow each other and are not independent, so that each subscriber is one observation, however many records
there are of him (a cluster; Cameron and Miller, "A Practitioner's Guide to Cluster-Robust Inference", 2015). The
intervals of confidence hold for all groups together (Bonferroni): of a hundred changes that did nothing one is told to
have done something, whereas of a hundred groups one would be with each change.

The hour of the day is the caller's: he gives records of the same hours of both sides. What else happened at the same
time cannot be told apart from the change.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import Columns

__all__ = ["CONFIDENCE", "DIMENSIONS", "LEAST_SUBSCRIBERS", "Effect", "Mark", "before_and_after", "quantile"]

DIMENSIONS = ("app", "gnb", "dnn", "slice")
# With fewer, the mean of bounded scores is not near enough to a normal distribution (a usual rule for Student's t is 10
# to 30 observations, of differences, which are less skewed than scores).
LEAST_SUBSCRIBERS = 10
CONFIDENCE = 0.99  # who marks something each working day is told of two or three changes a year that were none
RESOLUTION = 0.01  # of a score in the feed, which has three significant digits: a smaller effect is none


@dataclass(frozen=True, slots=True)
class Mark:
    """Something was changed: when (seconds since the epoch), what, by whom, and of which rows; empty is all of them."""

    at_s: float
    text: str = ""
    who: str = ""
    app: str = ""
    gnb: str = ""
    dnn: str = ""
    slice: str = ""


@dataclass(frozen=True, slots=True)
class Effect:
    """Scores of a group before and after; ``low`` to ``high`` is the interval of confidence of the ``effect``.

    ``found``: the interval does not hold 0, and the effect is one that the feed can show. Without enough subscribers
    there is no interval (NaN), and nothing is found.
    """

    dimension: str
    value: str
    subscribers: int  # with scores on both sides
    before: float
    after: float
    effect: float
    low: float
    high: float
    found: bool


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Cells of (subscriber, application, place) with scores on both sides."""

    subscriber: NDArray[np.int64]
    of: dict[str, tuple[NDArray[np.int64], NDArray[Any]]]  # by dimension: number of each cell's value, and the values
    weight: NDArray[np.float64]  # inverse variance of a difference of two means, but for a factor
    before: NDArray[np.float64]
    after: NDArray[np.float64]


def before_and_after(records: Columns, mark: Mark, confidence: float = CONFIDENCE) -> list[Effect]:
    """Return the effect of a mark on each group, those that were found first, the largest effect first.

    *records* has ``t_ms``, ``interval_ms``, ``subscriber``, ``mos`` and DIMENSIONS, one row a record; rows without a
    score, and those whose interval holds the mark, count on neither side. A column ``scores`` says of rows that were
    rolled up how many scores ``mos`` is the mean of.
    """
    pairs = _pairs(records, mark)
    groups = [(name, *row) for name in DIMENSIONS for row in _sums(pairs, name)]
    judged = sum(n >= LEAST_SUBSCRIBERS for _, _, n, *_ in groups)
    chance = (1 - confidence) / max(judged, 1)
    found = [_effect(*group, chance) for group in groups]
    return sorted(found, key=lambda e: (not e.found, -abs(e.effect)))


def _pairs(records: Columns, mark: Mark) -> _Pairs:
    at_ms = mark.at_s * 1000
    end_ms, mos = (np.asarray(records[name], np.float64) for name in ("t_ms", "mos"))
    after = end_ms - np.asarray(records["interval_ms"], np.float64) >= at_ms
    rows = ~np.isnan(mos) & (after | (end_ms <= at_ms))
    for name in DIMENSIONS:
        if wanted := getattr(mark, name):
            rows &= np.asarray(records[name]) == wanted
    chosen = np.flatnonzero(rows)
    mos, after = mos[chosen], after[chosen]
    scores = np.asarray(records["scores"], np.float64)[chosen] if "scores" in records else np.ones(len(chosen))
    _, subscriber = np.unique(np.asarray(records["subscriber"])[chosen], return_inverse=True)
    coded = {name: np.unique(np.asarray(records[name])[chosen], return_inverse=True) for name in DIMENSIONS}
    cell = subscriber.astype(np.int64)
    for values, code in coded.values():
        cell = cell * max(len(values), 1) + code
    _, first, at = np.unique(cell, return_index=True, return_inverse=True)

    def total(values: NDArray[np.float64], side: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(at[side], values[side], len(first)).astype(np.float64)

    n_before, n_after = total(scores, ~after), total(scores, after)
    both = (n_before > 0) & (n_after > 0)
    one, two = n_before[both], n_after[both]
    return _Pairs(
        subscriber[first][both],
        {name: (code[first][both], values) for name, (values, code) in coded.items()},
        one * two / (one + two),
        total(scores * mos, ~after)[both] / one,
        total(scores * mos, after)[both] / two,
    )


def _sums(pairs: _Pairs, name: str) -> Iterator[tuple[str, int, float, float, float]]:
    """Yield value, subscribers, mean before, mean after, and deviation of the difference between subscribers."""
    code, values = pairs.of[name]
    most = int(pairs.subscriber.max(initial=0)) + 1
    person, at = np.unique(code * most + pairs.subscriber, return_inverse=True)

    def of_each(scores: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(at, pairs.weight * scores) / np.bincount(at, pairs.weight)

    group = person // most
    n = np.bincount(group, minlength=len(values))
    before, after = of_each(pairs.before), of_each(pairs.after)
    mean = [np.bincount(group, scores, len(values)) / np.maximum(n, 1) for scores in (before, after)]
    apart = (after - before - (mean[1] - mean[0])[group]) ** 2
    deviation = np.sqrt(np.bincount(group, apart, len(values)) / np.maximum(n - 1, 1))
    for i in np.flatnonzero(n).tolist():
        if str(values[i]):  # who has no name, or a place that nobody told, is no group
            yield str(values[i]), int(n[i]), float(mean[0][i]), float(mean[1][i]), float(deviation[i])


def _effect(name: str, value: str, n: int, before: float, after: float, deviation: float, chance: float) -> Effect:
    effect = after - before
    if n < LEAST_SUBSCRIBERS:
        return Effect(name, value, n, before, after, effect, math.nan, math.nan, found=False)
    reach = quantile(chance, n - 1) * deviation / math.sqrt(n)
    found = abs(effect) > max(reach, RESOLUTION)
    return Effect(name, value, n, before, after, effect, effect - reach, effect + reach, found)


def quantile(chance: float, freedom: int) -> float:
    """Return what the absolute value of Student's t exceeds with a *chance*, for nine and more degrees of freedom.

    It is the expansion of G. W. Hill, "Algorithm 396: Student's t-quantiles", Communications of the ACM 13 (1970).
    """
    a = 1 / (freedom - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * freedom
    y = (d * chance) ** (2 / freedom)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(chance / 2)
        y = x * x
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        y = (
            (1 / (((freedom + 6) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2) * 3) + 0.5 / (freedom + 4)) * y
            - 1
        ) * (freedom + 1) / (freedom + 2) + 1 / y
    return math.sqrt(freedom * y)
