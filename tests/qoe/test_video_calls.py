"""A video call is rated by what was seen and heard: frames, bits, freezes and sound."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nf.qoe import conferencing as model
from tests.qoe.talkers import DOWN, UP, both, run, silence, video


def settled(**how) -> float:
    return run(model, [video(1000 + i, **how) for i in range(15)])[2][-1]


class TestPicture:
    """Fewer frames and fewer bits are worse."""

    @pytest.mark.parametrize("kbps", [250, 400, 800, 1500, 2500])
    def test_seven_frames_a_second(self, kbps):
        assert settled(fps=7, kbps=kbps) <= settled(fps=30, kbps=kbps) - 1.0

    @pytest.mark.parametrize("kbps", [250, 800, 2500])
    def test_a_hundred_kbit(self, kbps):
        assert settled(kbps=100) <= settled(kbps=kbps) - 0.7

    def test_a_good_one_is_good(self):
        assert settled(kbps=1500) > 4

    def test_by_hand(self):
        # b = v4 halves the coding's best (v5 = 1.02 of 1 is 1), and 15 frames of 30 cost exp(-ln(2)^2 / (2 1.15^2))
        picture = model.picture(np.array([15.0]), np.array([178_530.0]))

        assert picture[0] == pytest.approx(1 + 3.459 / 2 * np.exp(-(np.log(2) ** 2) / (2 * 1.15**2)))

    def test_without_a_picture_the_sound_is_all(self):
        seen = dataclasses.replace(video(1000, fps=0), frame_octets=np.zeros((1, 3)))
        _, (e,), (mos,) = run(model, [seen])

        assert np.isnan(e.fps[0])
        assert mos > 4.3


class TestFrames:
    """Frames are those of the RTP time stamps, or of the rule that finds the more regular ones."""

    @pytest.mark.parametrize("rule", ["rtp", "equal", "filled"])
    def test_each_rule_alone(self, rule):
        _, estimates, _ = run(model, [video(1000 + i, fps=24, rule=rule) for i in range(8)])

        assert estimates[-1].fps[0] == 24
        assert estimates[-1].frame_jitter_ms[0] == pytest.approx(0, abs=0.1)

    @pytest.mark.parametrize("rule", ["equal", "filled"])
    def test_copies_among_them_do_not_raise_the_rate_of_a_camera(self, rule):
        """Twelve seconds of 30 at regular distances, then 45 at irregular ones, then 20 regular ones."""
        steady = [video(1000 + i, fps=30, rule=rule) for i in range(12)]
        wild = video(1012, fps=45, rule=rule)
        wild = dataclasses.replace(wild, frame_gap_ticks2=2 * wild.frame_gap_ticks2)
        slower = [video(1013 + i, fps=20, rule=rule) for i in range(2)]
        _, estimates, _ = run(model, [*steady, wild, *slower])

        assert [round(float(e.fps[0])) for e in estimates[-4:]] == [30, 30, 20, 20]

    def test_headers_tell_a_rate_that_rises_without_rule(self):
        steady = [video(1000 + i, fps=30) for i in range(12)]
        wild = video(1012, fps=45)
        wild = dataclasses.replace(wild, frame_gap_ticks2=2 * wild.frame_gap_ticks2)
        _, estimates, _ = run(model, [*steady, wild])

        assert estimates[-1].fps[0] == 45

    @pytest.mark.parametrize(("right", "wrong"), [("equal", "filled"), ("filled", "equal")])
    def test_the_more_regular_rule_is_taken_and_remembered(self, right, wrong):
        def second(now, fps):
            seen = video(now, fps=fps, rule=right)
            columns = {
                "frame_gap_ticks": seen.frame_gap_ticks.copy(),
                "frame_gap_ticks2": seen.frame_gap_ticks2.copy(),
            }
            at = ("equal", "filled").index(wrong)
            columns["frame_gap_ticks"][0, at] = 1e6 / 64  # 40 distances of 25 ms, whose deviation is their mean
            columns["frame_gap_ticks2"][0, at] = 40 * 2 * (25e3 / 64) ** 2
            return dataclasses.replace(seen, **{f"frames_{wrong}": np.array([40.0])}, **columns)

        _, estimates, _ = run(model, [second(1000 + i, 24 if i < 10 else 12) for i in range(20)])

        assert [e.fps[0] for e in estimates] == [24] * 10 + [12] * 10

    def test_frames_no_call_has_are_no_frames(self):
        calls = [video(1000 + i, fps=30, rule="equal") for i in range(8)]
        seen = [dataclasses.replace(call, frames_filled=np.array([200.0])) for call in calls]

        assert run(model, seen)[1][-1].fps[0] == 30


class TestFreeze:
    """Each frozen second is at most 2.5, whether packets come or not."""

    def call(self, second, **back):
        good = [video(1000 + i) for i in range(10)]
        still = [second(1010 + i) for i in range(3)]
        return [*good, *still, video(1013, **back), video(1014)]

    @pytest.mark.parametrize(
        "second",
        [
            pytest.param(lambda now: video(now, stop=(DOWN,)), id="nothing comes down"),
            pytest.param(lambda now: video(now, fps=0, pps=50), id="only sound comes"),
            pytest.param(lambda now: video(now, frozen_ms=1000), id="frames that cannot be shown"),
        ],
    )
    def test_three_seconds(self, second):
        _, estimates, mos = run(model, self.call(second))

        assert max(mos[10:13]) <= 2.5
        assert min(mos[2:10]) > 3.5
        assert mos[14] > 3.5
        assert sum(e.frozen_s[0] for e in estimates) == pytest.approx(3, abs=0.05)

    def test_what_was_told_is_not_counted_again_when_it_ends(self):
        _, estimates, _ = run(model, self.call(lambda now: video(now, stop=(DOWN,)), frozen_ms=3200))

        assert sum(e.frozen_s[0] for e in estimates) == pytest.approx(3.2, abs=0.05)
        assert sum(e.freezes[0] for e in estimates) == 1

    def test_a_camera_that_was_turned_off_is_no_freeze_for_ever(self):
        seen = [*(video(1000 + i) for i in range(10)), *(video(1010 + i, fps=0, pps=50) for i in range(20))]
        _, estimates, mos = run(model, seen)

        assert mos[-1] > 4.3
        assert np.isnan(estimates[-1].fps[0])

    def test_one_that_lasts_needs_rows(self):
        state, _, _ = run(model, [video(1000 + i, stop=(UP,)) for i in range(10)])

        assert model.due(state, 1010.0)[0]
        assert run(model, [silence(1010.0)], state)[2][0] <= 2.5

    def test_the_end_of_a_call_is_no_freeze(self):
        state, _, _ = run(model, [video(1000 + i) for i in range(10)])

        assert not any(model.due(state, now)[0] for now in (1012.0, 1013.0, 1020.0))

    def test_neither_is_a_second_that_holds_its_end(self):
        """Ten frames, then nothing of either direction: the rate is that of their distances."""
        end = dataclasses.replace(
            video(1010, fps=30),
            frames_rtp=np.array([10.0]),
            frame_gap_ticks=np.array([[0, 0, 10 * 1e6 / 30 / 64]]),
            frame_gap_ticks2=np.array([[0, 0, 10 * (1e6 / 30 / 64) ** 2]]),
            frame_octets=np.array([[0, 0, 1000 * 800 / 8 / 3]]),
            last_payload_us=both(660_000, 667_000),
        )
        _, estimates, mos = run(model, [*(video(1000 + i) for i in range(10)), end])

        assert estimates[-1].fps[0] == pytest.approx(30, abs=0.1)
        assert estimates[-1].frozen_s[0] == 0
        assert mos[-1] == pytest.approx(mos[-2], abs=0.05)

    def test_nor_one_with_a_last_word_and_no_frame(self):
        last_word = dataclasses.replace(video(1010, fps=0, pps=2), last_payload_us=both(900_000))

        assert run(model, [*(video(1000 + i) for i in range(10)), last_word])[1][-1].frozen_s[0] == 0

    def test_the_second_that_holds_the_beginning_has_the_rate_of_its_distances(self):
        """Ten frames have nine distances."""
        begin = dataclasses.replace(video(1000, fps=10), frame_gap_ticks=np.array([[0, 0, 9 * 1e6 / 30 / 64]]))

        assert run(model, [begin])[1][0].fps[0] == pytest.approx(30, abs=0.1)
