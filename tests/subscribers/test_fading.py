"""Fading sums against their definition, and their bound."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nf.subscribers.fading import memory


@pytest.fixture(params=["compiled", "numpy"], autouse=True)
def kind(request, monkeypatch):
    """Run each test with the compiled pass and with its reference."""
    monkeypatch.setenv("SNF_FAST", {"compiled": "", "numpy": "numpy"}[request.param])


class Sums:
    """A memory of sums alone."""

    def __init__(self, *tau_s: float, capacity: int = 100) -> None:
        self.memory = memory(np.array(tau_s), 1.0, capacity)

    def add(self, some: np.ndarray, values: np.ndarray, now_s: float) -> np.ndarray:
        none = np.zeros(len(some))
        return self.memory.add(some, now_s, values, none, none)[0]


def keys(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


class TestSums:
    """A sum is each value weighted by exp(-age / tau)."""

    def test_random_histories_against_the_definition(self):
        rng = np.random.default_rng(7)
        sums = Sums(5.0, 10.0)
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
        sums = Sums(10.0)
        sums.add(keys(1), np.array([[1.0]]), 0.0)

        sums.add(keys(2), np.array([[1.0]]), 61.0)

        assert sums.memory.keys.tolist() == [2]
        assert sums.memory.evicted == 0

    def test_full_the_oldest_leave_and_are_counted(self):
        sums = Sums(10.0, capacity=3)
        sums.add(keys(1, 5), np.ones((2, 1)), 0.0)
        sums.add(keys(2, 3), np.ones((2, 1)), 1.0)

        assert sums.memory.keys.tolist() == [1, 2, 3]
        assert sums.memory.evicted == 1

    def test_a_clock_that_steps_back_does_not_grow_a_sum(self):
        sums = Sums(10.0)
        sums.add(keys(1), np.array([[4.0]]), 100.0)

        assert sums.add(keys(1), np.array([[1.0]]), 50.0)[0, 0] == 5.0


class TestMinima:
    """The least value and the number of samples of the current window of time and the one before."""

    def test_random_histories_against_the_definition(self):
        rng = np.random.default_rng(8)
        minima = memory(np.zeros(0), 4.0, 100)
        told: list[tuple[float, int, float, int]] = []
        now_s = 0.0
        for _ in range(60):
            now_s += rng.uniform(0.2, 3)
            some = np.flatnonzero(rng.random(9) < 0.4).astype(np.int64)
            values, counts = rng.uniform(1, 100, len(some)), rng.integers(0, 3, len(some)).astype(np.float64)
            told += [(now_s, int(k), float(v), int(c)) for k, v, c in zip(some, values, counts, strict=True)]

            _, least, samples = minima.add(some, now_s, np.zeros((len(some), 0)), values, counts)

            for i, key in enumerate(some):
                recent = [(v, c) for t, k, v, c in told if k == key and now_s // 4 - t // 4 <= 1 and c]
                assert least[i] == min((v for v, _ in recent), default=math.inf)
                assert samples[i] == sum(c for _, c in recent)
