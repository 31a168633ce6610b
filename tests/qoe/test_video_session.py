"""A video session from its requests: start-up, buffer, stalls. Players here are simulated (bench/truth/players.py)."""

from __future__ import annotations

import numpy as np
import pytest

from bench.truth.stalls import judge
from bench.truth.stepping import run
from nf.qoe.video import columns, session
from nf.qoe.video.profile import BY_BYTES, Profile

PROFILE = Profile(segment_s=4.0, segment_known=True, startup_answers=1, startup_octets=1e12, show_s=0.0, left_s=0.0)


def told(chunks: list[tuple[float, float, float, float]], seconds: int) -> list[columns.Estimates]:
    """Return the estimates of each second of one session."""
    rows: list[columns.Estimates] = []
    run([np.array(chunks)], seconds, lambda _, e: rows.append(e), PROFILE)
    return rows


def steady(segments: int, begin: float = 1.0) -> list[tuple[float, float, float, float]]:
    """Return answers of 500 kB each 4 s, 1 Mbit/s, the first three at once."""
    at = [begin, begin + 0.5, begin + 1.0, *(begin + 4.0 * k for k in range(1, segments))]
    return [(t, t + 0.05, t + 0.4, 500_000.0) for t in at]


class TestSession:
    """Content that came less what was played is the buffer; only an empty one can stall."""

    def test_a_rest_with_a_full_buffer_is_no_stall(self):
        rows = told(steady(20), 80)

        assert sum(np.nan_to_num(r.stalled_s[0]) for r in rows) == 0
        assert {columns.STATES[r.state[0]] for r in rows[5:70]} == {"playing"}

    def test_media_rate_is_bytes_over_content(self):
        assert told(steady(20), 60)[-1].media_bps[0] == pytest.approx(1e6, rel=0.01)
        assert told(steady(20), 60)[-1].video_height[0] == 480

    def test_a_request_without_answer_stalls_once_the_buffer_is_empty(self):
        # three answers at once and one at 5 s: 16 s of content from 1.4 s on, so the picture stops at 17.4 s
        chunks = [*steady(2), (9.0, 40.0, 40.4, 500_000.0), (40.5, 40.6, 40.9, 500_000.0), (41, 41.1, 41.4, 500_000.0)]

        rows = told(chunks, 44)

        stalled = np.nan_to_num([r.stalled_s[0] for r in rows])
        assert np.flatnonzero(stalled)[0] + 2 - stalled[np.flatnonzero(stalled)[0]] == pytest.approx(18.4, abs=1)
        assert stalled.sum() == pytest.approx(40.4 - 17.4, abs=1.5)
        assert columns.STATES[rows[30].state[0]] == "stalled"
        assert columns.STATES[rows[-1].state[0]] == "playing"
        assert sum(np.nan_to_num(r.stalls[0]) for r in rows) == 1

    def test_all_fetched_is_complete_and_then_paused_but_never_stalled(self):
        rows = told(steady(10), 150)

        assert columns.STATES[rows[-1].state[0]] == "paused"
        assert sum(np.nan_to_num(r.stalled_s[0]) for r in rows) == 0

    def test_start_up_is_from_the_first_request_to_the_first_whole_answer(self):
        assert told(steady(5), 10)[-1].startup_s[0] == pytest.approx(0.4, abs=0.1)

    def test_start_up_by_bytes_is_when_they_have_come(self):
        # 100 kB each second from 1 s on: 850 kB have come with half of the ninth answer, between 9 and 10 s
        chunks = [(1.0 + k, 1.05 + k, 1.9 + k, 100_000.0) for k in range(12)]
        rows: list[columns.Estimates] = []
        run([np.array(chunks)], 12, lambda _, e: rows.append(e), BY_BYTES)

        assert rows[-1].startup_s[0] == pytest.approx(8.5, abs=0.5)

    def test_nothing_seen_is_not_measurable(self):
        state = np.zeros(2, columns.STATE)
        none = columns.Answers(np.zeros(0, np.intp), *[np.zeros(0)] * 6)

        after, estimates = session.advance(state, columns.Seen(5.0, none, none, np.full(2, np.nan)), PROFILE)

        assert (estimates.unmeasured > 0).all()
        assert np.isnan(estimates.video_height).all()
        assert not state["now_s"].any()
        assert not session.due(after, 9.0, PROFILE).any()

    def test_a_request_that_waits_is_due_without_packets(self):
        state = np.zeros(1, columns.STATE)
        state["phase"], state["open_since_s"] = columns.PLAYING, 100.0

        assert session.due(state, 105.0, PROFILE).all()
        assert not session.due(state, 100.2, PROFILE).any()


class TestSimulatedPlayers:
    """Stalls, start-up and rate of simulated players agree with what these knew."""

    def test_with_the_service_known_stalls_are_found(self):
        judged = judge(60, 3, known=True)

        assert judged.stalls >= 20
        assert judged.f1 >= 0.8
        assert judged.ratio >= 0.9
        assert judged.startup_s <= 0.3


class TestLevelNow:
    """The rate is a mean over seconds while segments are of one level, and is begun anew where a higher one comes."""

    LIVE = Profile(segment_s=1.0, segment_known=True, startup_answers=1, startup_octets=1e12, show_s=0.0, left_s=0.0)

    def heights(self, kbps: list[int]) -> list[float]:
        """Return the height of each second of a live player that fetches a segment each second."""
        chunks = [(1.0 + k, 1.02 + k, 1.2 + k, 125.0 * rate) for k, rate in enumerate(kbps)]
        rows: list[columns.Estimates] = []
        run([np.array(chunks)], len(chunks), lambda _, e: rows.append(e), self.LIVE)
        return [float(r.video_height[0]) for r in rows]

    def test_a_player_that_was_low_and_climbs_is_seen_at_its_level_within_seconds(self):
        heights = self.heights([400] * 30 + [800, 1500] + [3600] * 10)

        assert set(heights[20:30]) == {360}
        assert set(heights[36:]) == {1080}

    def test_one_large_segment_is_no_level(self):
        """Peaks of a variable rate are up to twice the mean."""
        assert set(self.heights([400, 400, 400, 900] * 12)[10:]) == {360}

    def test_sound_beside_the_picture_makes_no_level(self):
        chunks = []
        for k in range(40):
            picture = 400 if k < 25 else 3600
            chunks += [(1.0 + 2 * k, 1.02 + 2 * k, 1.2 + 2 * k, 250.0 * picture)]
            chunks += [(1.205 + 2 * k, 1.22 + 2 * k, 1.3 + 2 * k, 250.0 * 64)]
        rows: list[columns.Estimates] = []
        run([np.array(chunks)], 80, lambda _, e: rows.append(e), Profile(startup_answers=1))

        assert {float(r.video_height[0]) for r in rows[30:50]} == {360}
        assert {float(r.video_height[0]) for r in rows[58:78]} == {1080}
