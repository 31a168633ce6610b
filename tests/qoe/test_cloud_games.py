"""A game that sends a picture is known by that, and rated with it."""

from __future__ import annotations

import numpy as np
import pytest

from nf.qoe import cloud_gaming, g1072
from nf.qoe import gaming as model
from tests.qoe.talkers import cloud, game, run


class TestRecognition:
    """Three seconds of 3 Mbit/s and more in 24 to 130 frames a second are a cloud game; that lasts."""

    @pytest.mark.parametrize("rule", ["rtp", "filled", "equal"])
    def test_by_its_behaviour(self, rule):
        _, estimates, _ = run(model, [cloud(1000 + i, rule=rule) for i in range(6)])

        assert [np.isnan(e.fps[0]) for e in estimates] == [True, True, False, False, False, False]
        assert estimates[-1].fps[0] == 60

    @pytest.mark.parametrize("how", [{"mbps": 2.0}, {"fps": 15}])
    def test_less_is_none(self, how):
        assert np.isnan(run(model, [cloud(1000 + i, **how) for i in range(6)])[1][-1].fps[0])

    def test_a_game_of_ticks_is_none(self):
        assert np.isnan(run(model, [game(1000 + i) for i in range(6)])[1][-1].fps[0])

    def test_a_slow_network_makes_it_no_other_game(self):
        seconds = [cloud(1000 + i) for i in range(6)] + [cloud(1006 + i, mbps=1.0, fps=10) for i in range(20)]
        _, estimates, mos = run(model, seconds)

        assert estimates[-1].fps[0] == 10
        assert mos[-1] < mos[5] - 1


class TestPicture:
    """The height is a guess of the bits in a frame; the score takes the bits."""

    @pytest.mark.parametrize(("mbps", "lines"), [(3.4, 360), (5, 480), (12, 720), (25, 1080)])
    def test_rates_that_providers_ask_for(self, mbps, lines):
        assert cloud_gaming.height(np.array([60.0]), np.array([mbps * 1e6]))[0] == lines

    def test_score_by_g1072(self):
        # 15 Mbit/s at 60 frames of 1080 lines: the coding of the vector of `g1072`, which gives 4.1389 at 50 ms
        seen = [cloud(1000 + i, mbps=15.0, rtt_core_ms=np.array([40.0])) for i in range(20)]

        assert run(model, seen)[2][-1] == pytest.approx(4.1389, abs=1e-3)

    def test_no_frame_rate_below_the_best_is_better(self):
        fps = np.arange(10.0, 61.0)
        rating = g1072.rating(np.full(51, 50.0), np.zeros(51), fps)

        assert (np.diff(rating) >= 0).all()
