"""The streaming score on estimates: what an operator reads, and that nothing worse ever scores better."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nf.qoe.video import columns, rate
from nf.qoe.video.viewers import Viewers

LEVELS = (144, 240, 360, 480, 720, 1080)


def moment(height: float, bps: float, stalled_s: float = 0.0) -> float:
    nan = np.array([np.nan])
    values = {field.name: nan for field in dataclasses.fields(columns.Estimates)}
    values |= {"video_height": np.array([height]), "media_bps": np.array([bps]), "stalled_s": np.array([stalled_s])}
    return float(rate.score(columns.Estimates(**values))[0])


def session(height: float, bps: float, stalled_s: int = 0, wait_s: float = 0.0, seconds: int = 120) -> float:
    """Return the score of a session of so many seconds that stood still in its middle."""
    state = np.zeros(1, columns.STATE)
    quality = rate.picture(np.array([height]), np.array([bps]))
    for s in range(seconds):
        still = seconds // 2 <= s < seconds // 2 + stalled_s
        state["played_s"] += not still
        state["stalls"] += s == seconds // 2 and still
        rate.remember(state, quality, np.array([float(still)]))
    return float(rate.of_session(state, np.array([wait_s]))[0])


def played(seconds: list[tuple[float, float]]) -> float:
    """Return the score of a session of one level and rate a second, without a stall."""
    state = np.zeros(1, columns.STATE)
    for height, bps in seconds:
        state["played_s"] += 1
        rate.remember(state, rate.picture(np.array([height]), np.array([bps])), np.zeros(1))
    return float(rate.of_session(state, np.zeros(1))[0])


class TestTable:
    """Situations an operator knows have the scores that viewers gave."""

    @pytest.mark.parametrize(
        ("height", "bps", "mos"), [(144, 100e3, 1.3), (240, 250e3, 1.5), (480, 1e6, 3.0), (1080, 4.5e6, 4.8)]
    )
    def test_a_level_that_plays(self, height, bps, mos):
        assert moment(height, bps) == pytest.approx(mos, abs=0.4)
        assert session(height, bps) == pytest.approx(mos, abs=0.4)

    def test_a_picture_that_stands_still_is_bad_and_the_session_remembers(self):
        assert moment(480, 1e6, stalled_s=1.0) <= 1.5
        assert session(480, 1e6, stalled_s=20) == pytest.approx(2.4, abs=0.4)

    def test_a_first_picture_after_15_seconds(self):
        assert session(480, 1e6, wait_s=15.0) == pytest.approx(2.7, abs=0.4)
        assert session(480, 1e6, wait_s=15.0) < session(480, 1e6)

    def test_an_unknown_picture_has_no_score(self):
        assert np.isnan(moment(np.nan, np.nan))


class TestFelt:
    """Changes of level, and small screens."""

    def test_a_level_that_goes_up_and_down_is_felt_near_its_lower_end(self):
        low, high = session(480, 1e6), session(1080, 4.5e6)

        changing = played([(480, 1e6), (1080, 4.5e6)] * 60)

        assert low < changing < (low + high) / 2

    def test_the_last_level_counts_more_than_the_first(self):
        worse, better = [(240, 250e3)] * 60, [(1080, 4.5e6)] * 60

        assert played(better + worse) < played(worse + better)

    @given(st.sampled_from(LEVELS), st.floats(1e4, 2e7))
    def test_a_phone_hides_what_a_large_screen_shows(self, height, bps):
        large = rate.picture(np.array([height]), np.array([bps]))
        phone = rate.picture(np.array([height]), np.array([bps]), Viewers(phones=1.0))

        assert large[0] <= phone[0] <= 5


class TestMonotone:
    """Nothing worse ever raises a score."""

    @given(st.tuples(st.sampled_from(LEVELS), st.sampled_from(LEVELS)), st.floats(1e4, 2e7))
    def test_of_the_level_alone(self, heights, bps):
        assert moment(min(heights), bps) <= moment(max(heights), bps) + 1e-9

    @given(
        st.tuples(st.sampled_from(LEVELS), st.sampled_from(LEVELS)),
        st.tuples(st.floats(1e4, 2e7), st.floats(1e4, 2e7)),
        st.tuples(st.floats(0, 5), st.floats(0, 5)),
    )
    def test_of_the_moment(self, heights, rates, stalled):
        better = moment(max(heights), max(rates), min(stalled))

        assert 1 <= moment(min(heights), min(rates), max(stalled)) <= better + 1e-9 <= 5 + 1e-9

    @given(st.integers(0, 40), st.integers(0, 40), st.floats(0, 30), st.floats(0, 30))
    def test_of_the_session(self, stalled, other, wait, longer):
        better = session(480, 1e6, min(stalled, other), min(wait, longer), seconds=100)

        assert 1 <= session(480, 1e6, max(stalled, other), max(wait, longer), seconds=100) <= better + 1e-9
