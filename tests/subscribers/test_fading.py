"""Fading sums against their definition, and their bound."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nf.subscribers.fading import FadingSums, RecentMinima


def keys(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


class TestFadingSums:
    """A sum is each value weighted by exp(-age / tau)."""

    def test_random_histories_against_the_definition(self):
        rng = np.random.default_rng(7)
        sums = FadingSums(np.array([5.0, 10.0]))
        told: list[tuple[float, int, np.ndarray]] = []
        now_s = 0.0
        for _ in range(40):
            now_s += rng.uniform(0.2, 3)
            some = np.flatnonzero(rng.random(12) < 0.5).astype(np.int64)
            values = rng.uniform(0, 100, (len(some), 2))
            told += [(now_s, int(k), v) for k, v in zip(some, values, strict=True)]

            got = sums.add(some, values, now_s)

            for key, row in zip(some, got, strict=True):
                for column, tau_s in enumerate((5.0, 10.0)):
                    by_hand = sum(v[column] * math.exp(-(now_s - t) / tau_s) for t, k, v in told if k == key)
                    assert row[column] == pytest.approx(by_hand, rel=0.01)  # below 0.25 % a sum may be forgotten

    def test_a_key_left_alone_is_forgotten(self):
        sums = FadingSums(np.array([10.0]))
        sums.add(keys(1), np.array([[1.0]]), 0.0)

        sums.add(keys(2), np.array([[1.0]]), 61.0)

        assert sums.keys.tolist() == [2]
        assert sums.evicted == 0

    def test_full_the_oldest_leave_and_are_counted(self):
        sums = FadingSums(np.array([10.0]), capacity=3)
        sums.add(keys(1, 5), np.ones((2, 1)), 0.0)
        sums.add(keys(2, 3), np.ones((2, 1)), 1.0)

        assert sums.keys.tolist() == [1, 2, 3]
        assert sums.evicted == 1

    def test_a_clock_that_steps_back_does_not_grow_a_sum(self):
        sums = FadingSums(np.array([10.0]))
        sums.add(keys(1), np.array([[4.0]]), 100.0)

        assert sums.add(keys(1), np.array([[1.0]]), 50.0)[0, 0] == 5.0


class TestRecentMinima:
    """The least value and the number of samples of the current window of time and the one before."""

    def test_random_histories_against_the_definition(self):
        rng = np.random.default_rng(8)
        minima = RecentMinima(4.0)
        told: list[tuple[float, int, float, int]] = []
        now_s = 0.0
        for _ in range(60):
            now_s += rng.uniform(0.2, 3)
            some = np.flatnonzero(rng.random(9) < 0.4).astype(np.int64)
            values, counts = rng.uniform(1, 100, len(some)), rng.integers(0, 3, len(some)).astype(np.float64)
            told += [(now_s, int(k), float(v), int(c)) for k, v, c in zip(some, values, counts, strict=True)]

            least, samples = minima.add(some, values, counts, now_s)

            for i, key in enumerate(some):
                recent = [(v, c) for t, k, v, c in told if k == key and now_s // 4 - t // 4 <= 1 and c]
                assert least[i] == min((v for v, _ in recent), default=math.inf)
                assert samples[i] == sum(c for _, c in recent)
