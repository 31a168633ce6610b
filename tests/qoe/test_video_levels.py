"""The level of a picture from the sizes of answers: sums that grow, trees as arrays, a ladder beyond the data."""

from __future__ import annotations

import numpy as np
import pytest

from nf.qoe.video import levels
from nf.qoe.video.profile import DEFAULT


def of_answers(*octets: float, seconds: float = 300.0) -> np.ndarray:
    state = np.zeros(1, np.dtype(levels.SIZES))
    state["first_s"], state["last_s"] = 1.0, 1.0 + seconds
    for each in octets:
        levels.observe(state, np.array([0]), np.array([each]))
    return state


class TestSums:
    """A row keeps answers and their bytes by size, so it does not grow with the session."""

    def test_each_answer_is_in_one_bin_with_its_bytes(self):
        state = of_answers(40_000, 500_000, 500_000, 5e7)

        assert state["sizes"].sum() == 4
        assert state["size_octets"].sum() == pytest.approx(40_000 + 1e6 + 5e7)
        assert state["sizes"][0, -1] == 1

    def test_an_answer_under_the_least_size_counts_as_bytes_only(self):
        state = of_answers(20_000)

        assert state["sizes"].sum() == 0
        assert state["octets"][0] == 20_000


class TestForest:
    """The trees vote for one of six levels."""

    def test_half_minutes_of_sound_with_pictures_of_380_kilobytes_are_144p(self):
        votes = levels.by_forest(of_answers(*[500e3, 380e3] * 10))

        assert levels.HEIGHTS[votes.argmax()] == 144

    def test_with_pictures_of_860_kilobytes_they_are_240p(self):
        votes = levels.by_forest(of_answers(*[500e3, 860e3] * 10))

        assert levels.HEIGHTS[votes.argmax()] == 240

    def test_many_answers_at_the_cap_of_two_megabytes_are_720p_or_more(self):
        votes = levels.by_forest(of_answers(*[500e3, 2.05e6, 2.04e6, 2.03e6, 2.06e6] * 5))

        assert levels.HEIGHTS[votes.argmax()] >= 720

    def test_rows_are_judged_each_by_itself(self):
        one, other = of_answers(*[500e3, 380e3] * 10), of_answers(*[500e3, 2.05e6] * 4, seconds=50)

        both = levels.by_forest(np.concatenate([one, other]))

        assert np.array_equal(both, np.vstack([levels.by_forest(one), levels.by_forest(other)]))
        assert both.sum(axis=1) == pytest.approx([1, 1])


class TestLadder:
    """Beyond the data a level is the encoding that usually has the rate."""

    def test_more_bits_are_never_a_lower_level(self):
        rates = np.geomspace(1e4, 1e8, 200)

        found = levels.by_ladder(rates, DEFAULT.ladder_bps)

        assert (np.diff(found) >= 0).all()
        assert set(found) == set(range(6))

    def test_usual_rates_have_their_usual_heights(self):
        found = levels.by_ladder(np.array([100e3, 250e3, 450e3, 1e6, 2.5e6, 4.5e6]), DEFAULT.ladder_bps)

        assert levels.HEIGHTS[found].tolist() == [144, 240, 360, 480, 720, 1080]
