"""G.1030: waiting time to a MOS."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nf.qoe import g1030


class TestWaiting:
    """The score falls with the logarithm of the session time, from 5 to 1."""

    @pytest.mark.parametrize(
        ("time_s", "expected"), [(0.5, 4.02), (1, 3.40), (2, 2.79), (4, 2.17), (6, 1.81), (10, 1.36)]
    )
    def test_the_vectors_for_a_medium_expectation(self, time_s, expected):
        assert g1030.waiting(np.array([time_s]), longest_s=15.0)[0] == pytest.approx(expected, abs=0.0051)

    @pytest.mark.parametrize("longest_s", [6.0, 15.0, 60.0])
    def test_the_ends_are_five_and_one(self, longest_s):
        shortest_s = 0.003 * longest_s + 0.12

        got = g1030.waiting(np.array([0.0, shortest_s, longest_s, 1e9]), longest_s=longest_s)

        assert got == pytest.approx([5, 5, 1, 1])

    @given(times=st.lists(st.floats(0, 1000), min_size=2, max_size=2), longest_s=st.sampled_from([6.0, 15.0, 60.0]))
    def test_waiting_longer_never_raises_the_score(self, times, longest_s):
        short, long = g1030.waiting(np.array(sorted(times)), longest_s=longest_s)

        assert long <= short + 1e-12
