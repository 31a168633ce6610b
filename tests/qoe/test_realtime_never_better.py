"""No score of a call or a game rises when something of it gets worse, nor does it become nothing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nf.qoe import codecs, conferencing, gaming, voice
from nf.qoe.calls import Estimates as Call
from nf.qoe.gaming import Estimates as Game
from tests.qoe import talkers

# Bounds of the estimates that get worse as they rise, and of those that get worse as they fall.
CALL_RISES = {"round_trip_ms": 3000, "least_trip_ms": 3000, "loss": 1, "loss_burst": 50}
CALL_RISES |= {"jitter_ms": 500, "frozen_s": 1}
CALL_FALLS = {"fps": 65, "video_bps": 5e6}
GAME_RISES = {"lag_ms": 2000, "lag_jitter_ms": 500, "tick_loss": 1, "loss": 1, "spike_ms": 3000}
CLOUD_FALLS = {"fps": 130, "video_bps": 50e6}


def call(**columns) -> Call:
    rest = {"freezes": 0.0, "frame_jitter_ms": 0.0, "beyond_loss": 0.0, "beyond_core": 0.0, "confidence": 1.0}
    rest |= {"interval_s": 1.0}
    whole = {"unmeasured": np.zeros(1, np.uint8), "codec": np.array([columns.pop("codec")])}
    return Call(**{name: np.array([float(value)]) for name, value in (rest | columns).items()}, **whole)


def game(**columns) -> Game:
    rest = {"tick_ms": 50.0, "spikes": 0.0, "video_height": 720.0, "confidence": 1.0, "interval_s": 1.0}
    most = {"most_fps": 60.0} | {name: np.nan for name in CLOUD_FALLS if name not in columns}
    columns = rest | most | columns
    return Game(**{name: np.array([float(v)]) for name, v in columns.items()}, unmeasured=np.zeros(1, np.uint8))


def two(data, bounds) -> tuple[dict[str, float], dict[str, float]]:
    """Return two draws of each column, the lower ones and the higher ones."""
    drawn = {name: sorted(data.draw(st.tuples(*[st.floats(0, most)] * 2))) for name, most in bounds.items()}
    return {n: pair[0] for n, pair in drawn.items()}, {n: pair[1] for n, pair in drawn.items()}


class TestEstimates:
    """Scores fall with each estimate that gets worse, alone or with others."""

    @pytest.mark.parametrize("model", [voice, conferencing])
    @given(data=st.data(), codec=st.sampled_from(range(len(codecs.CODECS))))
    def test_calls(self, model, data, codec):
        (good, bad), (few, many) = two(data, CALL_RISES), two(data, CALL_FALLS)

        better = model.score(call(**good, **many, codec=codec))[0]
        worse = model.score(call(**bad, **few, codec=codec))[0]

        assert 1 <= worse <= better + 1e-9 <= 5

    @given(data=st.data())
    def test_games(self, data):
        good, bad = two(data, GAME_RISES)

        assert 1 <= gaming.score(game(**bad))[0] <= gaming.score(game(**good))[0] + 1e-9 <= 5

    @given(data=st.data())
    def test_cloud_games(self, data):
        (good, bad), (few, many) = two(data, GAME_RISES), two(data, CLOUD_FALLS)

        assert 1 <= gaming.score(game(**bad, **few))[0] <= gaming.score(game(**good, **many))[0] + 1e-9 <= 5


RTT = (20.0, 30.0)


def spoken(now, bad):
    return talkers.voice(now, rtt=RTT, **bad)


def filmed(now, bad):
    return talkers.video(now, **bad)


def played(now, bad):
    return talkers.game(now, echo=RTT, **bad)


WORSE = [
    (voice, spoken, {"lost": (0, 10)}),
    (voice, spoken, {"lost": (10, 0)}),
    (voice, spoken, {"jitter_ms": 60.0}),
    (voice, spoken, {"stop": (talkers.DOWN,)}),
    (voice, spoken, {"stop": (talkers.UP,)}),
    (conferencing, filmed, {"fps": 5}),
    (conferencing, filmed, {"fps": 0, "pps": 50}),
    (conferencing, filmed, {"kbps": 50.0}),
    (conferencing, filmed, {"frozen_ms": 900}),
    (conferencing, filmed, {"stop": (talkers.DOWN,)}),
    (gaming, played, {"came": 12}),
    (gaming, played, {"spike_ms": 400.0}),
    (gaming, played, {"stop": (talkers.DOWN,)}),
]


class TestIntervals:
    """A network that gets worse lowers the score of the same call within seconds, and never takes it away."""

    @pytest.mark.parametrize(("model", "second", "bad"), WORSE)
    def test_worse(self, model, second, bad):
        good = [second(1000 + i, {}) for i in range(20)]
        state, _, before = talkers.run(model, good)
        _, _, as_is = talkers.run(model, [second(1020 + i, {}) for i in range(4)], state)
        _, _, worse = talkers.run(model, [second(1020 + i, bad) for i in range(4)], state)

        assert not np.isnan(worse).any()
        assert all(w <= g + 1e-6 for w, g in zip(worse, as_is, strict=True))
        assert worse[-1] < before[-1] - 0.1

    @pytest.mark.parametrize(("model", "second"), [(voice, spoken), (gaming, played)])
    def test_a_long_pause_keeps_the_delay_that_it_began_with(self, model, second):
        """Nothing tells a delay in a pause, which is no reason to know none."""
        state, _, _ = talkers.run(model, [second(1000 + i, {}) for i in range(10)])
        made = talkers.voice if model is voice else talkers.game
        still = [made(1010 + i, stop=(talkers.DOWN,)) for i in range(25)]

        assert not np.isnan(talkers.run(model, still, state)[2]).any()

    @pytest.mark.parametrize(("model", "second"), [(voice, spoken), (conferencing, filmed), (gaming, played)])
    def test_one_row_does_not_touch_another(self, model, second):
        """Rows of one call each, together and alone, are the same."""
        one, other = second(1000.0, {}), talkers.silence(1000.0)
        columns = {
            f.name: np.concatenate([getattr(one, f.name), getattr(other, f.name)]) for f in dataclasses.fields(one)[2:]
        }
        state, both = model.advance(np.zeros(2, model.STATE), dataclasses.replace(one, **columns))
        alone = [model.advance(np.zeros(1, model.STATE), seen) for seen in (one, other)]

        np.testing.assert_array_equal(model.score(both), np.concatenate([model.score(e) for _, e in alone]))
        assert all(state[i] == s[0] or np.isnan(state[i]["half_ms"]).any() for i, (s, _) in enumerate(alone))

    @pytest.mark.parametrize("model", [voice, conferencing, gaming])
    def test_no_row_is_no_row(self, model):
        state, estimates = model.advance(np.zeros(0, model.STATE), talkers.nothing(0, 1000.0, 1.0))

        assert len(state) == len(model.score(estimates)) == len(model.due(state, 1000.0)) == 0

    @pytest.mark.parametrize("model", [voice, conferencing, gaming])
    def test_nothing_seen_says_nothing(self, model):
        assert np.isnan(talkers.run(model, [talkers.silence(1000.0)])[2]).all()


class TestLies:
    """Columns that cannot be are no number out of range."""

    @pytest.mark.parametrize("model", [voice, conferencing, gaming])
    @pytest.mark.parametrize("seed", range(20))
    def test_any_counts(self, model, seed):
        rng = np.random.default_rng(seed)
        state = np.zeros(100, model.STATE)
        now = 1000.0
        for step in (1.0, 0.5, -30.0, 3600.0, 1.0):  # a clock that jumps
            now += step
            seen = talkers.nothing(100, now, 1.0)
            counts = [0.0, 1.0, 50.0, 1e6, 2.0**32 - 1]
            shapes = {f.name: getattr(seen, f.name).shape for f in dataclasses.fields(seen)[2:]}
            columns = {name: rng.choice(counts, shape) for name, shape in shapes.items()}
            columns["rtp_pt"] = rng.integers(0, 128, (100, 2))
            state, estimates = model.advance(state, dataclasses.replace(seen, **columns))
            mos = model.score(estimates)

            assert (np.isnan(mos) | ((mos >= 1) & (mos <= 5))).all()
            assert ((estimates.confidence >= 0) & (estimates.confidence <= 1)).all()
