"""A game is rated by its own lag, ticks and spikes, or it says that it has no lag to tell."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from nf.qoe import gaming as model
from nf.qoe.reasons import REASONS
from tests.qoe.talkers import DOWN, UP, both, game, run, silence


def by_hand(lag_ms: float, loss: float = 0.0) -> float:
    """G.1072 of the high class, 60 frames a second and 0.3 Mbit/s, no coding."""
    harm = (0.08526 + 0.00073 * 60 + 1.425e-4 * 0.3 * 60) * max(0.09656 * lag_ms - 1.5, 0)
    frames = 100 * (1 - math.exp(-harm * loss))
    i_tvq = max(47.03 + 0.01747 * 3600 - 1.823 * 60 + 10.7 * math.log(frames + 1), 0)
    i_iqf = max(54.71 + 0.02589 * 3600 - 2.485 * 60 + 9.306 * math.log(frames + 1), 0)
    i_inp = max(90 / (1 + math.exp(1.191 - 0.009775 * lag_ms)) - 18.73, 0)
    r = 100 - 0.227 * i_tvq - 0.625 * i_iqf - 0.848 * i_inp
    return min(1.3 + 0.0334 * r + r * (r - 60) * (100 - r) * 7e-6, 4.64)


class TestLag:
    """Lag is both halves: echoes of the flow itself, else TCP of the same QoS flow, else nothing."""

    def test_echoes(self):
        _, (e,), (mos,) = run(model, [game(1000, echo=(120, 30))])

        assert e.lag_ms[0] == pytest.approx(150)
        assert mos == pytest.approx(by_hand(150), abs=1e-3)
        assert mos == pytest.approx(3.9, abs=0.05)

    def test_an_echo_and_tcp_each_tell_their_half(self):
        seen = dataclasses.replace(game(1000, echo=(120, 30), rtt=(40, 300)), echo_n=both(30, 0))

        assert run(model, [seen])[1][0].lag_ms[0] == pytest.approx(160)

    @pytest.mark.parametrize("rtt", [(np.nan, np.nan), (30, np.nan), (np.nan, 120)])
    def test_alone_it_is_not_measurable_and_the_rest_is(self, rtt):
        _, estimates, mos = run(model, [game(1000 + i, rtt=rtt) for i in range(5)])

        assert np.isnan(mos[-1])
        assert REASONS[estimates[-1].unmeasured[0]] == "lag not known"
        assert estimates[-1].tick_ms[0] == pytest.approx(50)

    def test_jitter_of_the_echoes(self):
        seen = dataclasses.replace(game(1000, echo=(100, 30)), echo_min_us=1000 * both(85, 28))

        assert run(model, [seen])[1][0].lag_jitter_ms[0] == pytest.approx(17)


class TestTicks:
    """A tick that does not come is a lost one: within half a point over a session, and in the score."""

    def lossy(self, share, seconds=200, tick_ms=50.0):
        rng = np.random.default_rng(3)
        # positions of a second in ticks, lost each on its own
        due = np.diff(np.floor(np.arange(seconds + 1) * 1000 / tick_ms)).astype(int)
        came = rng.binomial(due, 1 - share)
        how = {"tick_ms": tick_ms, "echo": (20, 10)}
        return 1 - came.sum() / due.sum(), [game(1000 + i, came=n, **how) for i, n in enumerate(came)]

    @pytest.mark.parametrize("tick_ms", [50.0, 33.3, 15.6, 7.8])
    @pytest.mark.parametrize("share", [0.0, 0.02, 0.05, 0.1])
    def test_share(self, share, tick_ms):
        truth, seconds = self.lossy(share, tick_ms=tick_ms)
        _, estimates, _ = run(model, seconds)

        assert np.mean([e.tick_loss[0] for e in estimates[20:]]) == pytest.approx(truth, abs=0.005)

    def test_five_percent_in_the_score(self):
        truth, seconds = self.lossy(0.05)
        mos = run(model, seconds)[2]

        assert np.mean(mos[20:]) == pytest.approx(by_hand(30, truth), abs=0.1)
        assert np.mean(mos[20:]) < by_hand(30) - 0.05

    def test_half_of_them_lost_is_not_another_tick(self):
        rng = np.random.default_rng(1)
        before = [game(1000 + i, echo=(20, 10)) for i in range(20)]
        lost = [game(1020 + i, came=n, tick_ms=100.0, echo=(20, 10)) for i, n in enumerate(rng.binomial(20, 0.5, 10))]
        _, estimates, _ = run(model, before + lost)

        assert estimates[-1].tick_loss[0] == pytest.approx(0.5, abs=0.15)

    def test_another_tick_is_believed_after_some_seconds(self):
        seconds = [game(1000 + i, echo=(20, 10)) for i in range(20)]
        seconds += [game(1020 + i, came=64, tick_ms=15.625, echo=(20, 10)) for i in range(20)]
        _, estimates, _ = run(model, seconds)

        assert estimates[-1].tick_ms[0] == pytest.approx(15.625)
        assert estimates[-1].tick_loss[0] == pytest.approx(0, abs=0.01)

    def test_irregular_packets_have_no_tick(self):
        seen = dataclasses.replace(game(1000, rtt=(20, 20)), tick_n=both(2, 2))
        e = run(model, [seen])[1][0]

        assert np.isnan(e.tick_ms[0])
        assert np.isnan(e.tick_loss[0])

    def test_two_streams_that_interleave_have_no_tick(self):
        """20 states and 20 answers a second, 20 and 30 ms apart in turns: the median is no tick of either."""
        half = dataclasses.replace(game(1000), packets=both(40), tick_n=both(20), tick_sum_us=both(20 * 20_500))
        e = run(model, [half, dataclasses.replace(half, now_s=1001.0)])[1][-1]

        assert np.isnan(e.tick_ms[0])
        assert np.isnan(e.tick_loss[0])

    @pytest.mark.parametrize("share", [0.0, 0.05])
    def test_others_between_them_hide_no_loss(self, share):
        """30 ticks and four echoes a second: a lost tick takes two distances near the median, an echo one."""
        lost = np.random.default_rng(2).binomial(30, share, 120)
        seconds = [
            dataclasses.replace(
                game(1000 + i, came=34 - n, tick_ms=1000 / 30, echo=(20, 10)),
                tick_n=both(0, 30 - 2 * n - 4),
                tick_sum_us=both(0, (30 - 2 * n - 4) * 1e6 / 30),
            )
            for i, n in enumerate(lost)
        ]
        _, estimates, _ = run(model, seconds)

        assert np.mean([e.tick_loss[0] for e in estimates[20:]]) == pytest.approx(lost.mean() / 30, abs=0.005)

    @pytest.mark.parametrize("apart", [0, 1])
    @pytest.mark.parametrize("share", [0.0, 0.02, 0.07, 0.13, 0.2])
    def test_as_many_echoes_between_them_as_were_lost_hide_none(self, share, apart):
        """30 ticks and four echoes a second, each of which takes *apart* distances: some 30 packets come with loss."""
        rng = np.random.default_rng(2)
        seconds, lost = [], 0
        for i in range(120):
            came = rng.random(30) >= share
            echoes = int((rng.random(4) >= share).sum())
            near = int((came[1:] & came[:-1]).sum()) + 1 - apart * echoes
            lost += 30 - came.sum()
            seen = game(1000 + i, came=came.sum() + echoes, tick_ms=1000 / 30, echo=(20, 10))
            columns = {"tick_n": both(0, near), "tick_sum_us": both(0, near * 1e6 / 30)}
            seconds.append(dataclasses.replace(seen, echo_n=both(echoes - echoes // 2, echoes // 2), **columns))
        _, estimates, _ = run(model, seconds)

        assert np.mean([e.tick_loss[0] for e in estimates[20:]]) == pytest.approx(lost / 3600, abs=0.015)

    def test_ticks_that_come_unevenly_between_echoes_are_not_lost(self):
        """60 ticks and four echoes a second; half of the distances is off by more than a quarter, as by 12 ms."""
        even = [game(1000 + i, came=64, tick_ms=1000 / 60, echo=(20, 10)) for i in range(20)]
        even = [
            dataclasses.replace(s, echo_n=both(2, 2), tick_n=both(0, 56), tick_sum_us=both(0, 56e6 / 60)) for s in even
        ]
        uneven = [
            dataclasses.replace(s, now_s=1020.0 + i, tick_n=both(0, 30), tick_sum_us=both(0, 30e6 / 60))
            for i, s in enumerate(even)
        ]
        _, estimates, _ = run(model, even + uneven)

        assert max(e.tick_loss[0] for e in estimates[5:]) == pytest.approx(0, abs=0.02)

    def test_a_tick_that_is_an_echo_as_well_is_no_packet_beside_it(self):
        """Four of 30 ticks a second carry what came back: all came, and none was lost."""
        seen = [game(1000 + i, came=30, tick_ms=1000 / 30, echo=(20, 10)) for i in range(60)]
        _, estimates, _ = run(model, [dataclasses.replace(s, echo_n=both(2, 2)) for s in seen])

        assert estimates[-1].tick_loss[0] == pytest.approx(0, abs=0.005)

    def test_ticks_after_the_end_of_a_game_are_not_lost(self):
        end = dataclasses.replace(game(1010, came=6, echo=(20, 10)), last_payload_us=both(700_000))
        e = run(model, [*(game(1000 + i, echo=(20, 10)) for i in range(10)), end])[1][-1]

        assert e.tick_loss[0] == pytest.approx(0, abs=0.01)
        assert e.spikes[0] == 0


class TestSpikes:
    """Pauses are told by number and length, and once."""

    def test_three_hundred_milliseconds_each_ten_seconds(self):
        seconds = [game(1000 + i, echo=(20, 10), spike_ms=300.0 if i % 10 == 9 else 0.0) for i in range(100)]
        _, estimates, mos = run(model, seconds)

        assert sum(e.spikes[0] for e in estimates) == 10
        assert sum(e.spike_ms[0] for e in estimates) == pytest.approx(3000)
        assert mos[9] < mos[8] - 0.5

    def test_one_of_three_seconds_is_told_while_it_lasts(self):
        still = [game(1010 + i, echo=(20, 10), stop=(DOWN,)) for i in range(3)]
        seconds = [*(game(1000 + i, echo=(20, 10)) for i in range(10)), *still]
        seconds += [game(1013, echo=(20, 10), spike_ms=3100.0), game(1014, echo=(20, 10))]
        _, estimates, mos = run(model, seconds)

        assert max(mos[10:13]) < 2.5
        assert sum(e.spikes[0] for e in estimates) == 1
        assert sum(e.spike_ms[0] for e in estimates) == pytest.approx(3100)
        assert mos[-1] == pytest.approx(mos[5], abs=0.05)

    def test_it_needs_a_row_when_nothing_passes(self):
        state, _, _ = run(model, [game(1000 + i, echo=(20, 10), stop=(UP,)) for i in range(10)])

        assert model.due(state, 1010.0)[0]
        assert run(model, [silence(1010.0)], state)[2][0] < 2.5

    def test_the_end_of_a_game_is_none(self):
        state, _, _ = run(model, [game(1000 + i) for i in range(10)])

        assert not any(model.due(state, now)[0] for now in (1010.0, 1011.0, 1020.0))
