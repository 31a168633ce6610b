"""A mark of a change: what is found is there, where nothing happened nothing is found, and intervals hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.truth.marks import AT_S, GNBS, INTERVALS, PEOPLE, found, records, scores
from feed.change import DIMENSIONS, Mark, before_and_after, quantile

RUNS = 100
MARK = Mark(AT_S, "new release")


@pytest.fixture(scope="module")
def runs() -> np.ndarray:
    return scores(2026, RUNS)


class TestPower:
    """An effect of 0.3 MOS on one of three gNBs is found there and not on the others."""

    def test_it_is_found_there_alone(self, runs: np.ndarray) -> None:
        told = [found(records(mos, {GNBS[1]: -0.3}), "gnb") for mos in runs]

        assert sum(GNBS[1] in gnbs for gnbs in told) == RUNS
        assert sum(gnbs == {GNBS[1]} for gnbs in told) >= 95

    def test_it_comes_first_with_its_size(self, runs: np.ndarray) -> None:
        first = before_and_after(records(runs[0], {GNBS[1]: -0.3}), MARK)[0]

        assert (first.dimension, first.value, first.subscribers) == ("gnb", GNBS[1], PEOPLE // 3)
        assert first.low < -0.3 < first.high < 0
        assert first.effect == pytest.approx(first.after - first.before)


class TestNothingHappened:
    """With no effect nothing is found, over all groups together, in 95 of 100 runs."""

    def test_nothing_is_found(self, runs: np.ndarray) -> None:
        assert sum(not found(records(mos)) for mos in runs) >= 95

    def test_intervals_of_one_subscriber_are_one_observation(self, runs: np.ndarray) -> None:
        """Ten times the records of the same people say no more of them."""
        once = records(runs[0])
        ten = {name: np.repeat(column, 10) for name, column in once.items()}

        wide, again = (before_and_after(rows, MARK)[0] for rows in (once, ten))
        assert (again.low, again.high) == pytest.approx((wide.low, wide.high))

    def test_other_applications_after_the_mark_are_no_effect(self) -> None:
        """Everybody has a good application on both sides, and a bad one on one side only."""
        rows = {**records(np.full((PEOPLE, INTERVALS), 4.5)), "mos": None}
        bad = (np.arange(PEOPLE * INTERVALS) % INTERVALS) % 2 == 1
        late = np.arange(PEOPLE * INTERVALS) % INTERVALS >= INTERVALS // 2
        rows["app"] = np.where(bad & late, "bad", "good")
        rows["mos"] = np.where(rows["app"] == "bad", 1.5, 4.5)

        told = before_and_after(rows, MARK)
        assert {e.effect for e in told} == {0.0}
        assert "bad" not in {e.value for e in told}


class TestRows:
    """Records that say nothing of either side do not count."""

    def test_without_a_score_or_around_the_mark(self) -> None:
        rows = records(np.full((PEOPLE, INTERVALS), 4.0))
        holds = rows["t_ms"] == AT_S * 1000 + 1000
        rows["t_ms"] = np.where(holds, rows["t_ms"] - np.uint64(500), rows["t_ms"])
        rows["mos"] = np.where(holds, 1.0, rows["mos"])
        rows["mos"][5::INTERVALS] = math.nan

        assert {(e.before, e.after) for e in before_and_after(rows, MARK)} == {(4.0, 4.0)}

    def test_of_a_few_subscribers_nothing_is_found(self) -> None:
        rows = records(np.full((PEOPLE, INTERVALS), 4.0), {GNBS[0]: -1.0})
        few = np.isin(rows["subscriber"], [f"p{3 * n}" for n in range(9)])
        told = before_and_after({name: column[few] for name, column in rows.items()}, MARK)

        assert {(e.subscribers, e.effect, e.found) for e in told if e.dimension == "gnb"} == {(9, -1.0, False)}
        assert all(math.isnan(e.low) for e in told)

    def test_a_mark_may_be_of_some(self) -> None:
        rows = records(np.full((PEOPLE, INTERVALS), 4.0), {GNBS[0]: -1.0})
        told = before_and_after(rows, Mark(AT_S, app="meet", gnb=GNBS[1]))

        assert {(e.dimension, e.value) for e in told} == set(
            zip(DIMENSIONS, ("meet", GNBS[1], "internet", "1"), strict=True)
        )

    def test_of_lists_as_of_arrays_and_of_nothing(self, runs: np.ndarray) -> None:
        rows = records(runs[0])
        assert before_and_after({n: c.tolist() for n, c in rows.items()}, MARK) == before_and_after(rows, MARK)
        assert before_and_after({n: c[:0] for n, c in rows.items()}, MARK) == []

    def test_rows_that_were_rolled_up_say_the_same(self, runs: np.ndarray) -> None:
        """Means of a half each, the second of which has one score less."""
        rows = records(runs[0], {GNBS[1]: -0.3})
        rows["mos"][INTERVALS - 1 :: INTERVALS] = math.nan
        half = INTERVALS // 2
        rolled = {name: column[half - 1 :: half] for name, column in rows.items()}
        with_mean = rows["mos"].reshape(-1, half)
        rolled |= {
            "interval_ms": np.full(2 * PEOPLE, half * 1000),
            "mos": np.nanmean(with_mean, axis=1),
            "scores": (~np.isnan(with_mean)).sum(axis=1),
        }

        for one, two in zip(before_and_after(rows, MARK), before_and_after(rolled, MARK), strict=True):
            assert (one.value, one.found) == (two.value, two.found)
            assert (one.effect, one.low) == pytest.approx((two.effect, two.low))

    def test_who_has_no_place_is_no_group(self) -> None:
        rows = records(np.full((PEOPLE, INTERVALS), 4.0)) | {"gnb": [""] * PEOPLE * INTERVALS}

        assert {e.dimension for e in before_and_after(rows, MARK)} == {"app", "dnn", "slice"}


class TestQuantile:
    """Percentage points of Student's t, two-sided (Abramowitz and Stegun, table 26.10)."""

    @pytest.mark.parametrize(
        ("chance", "freedom", "t"),
        [
            (0.05, 9, 2.262),
            (0.01, 9, 3.250),
            (0.001, 9, 4.781),
            (0.05, 30, 2.042),
            (0.002, 30, 3.385),
            (0.05, 120, 1.980),
        ],
    )
    def test_it_is_that_of_the_table(self, chance: float, freedom: int, t: float) -> None:
        assert quantile(chance, freedom) == pytest.approx(t, abs=6e-4)
