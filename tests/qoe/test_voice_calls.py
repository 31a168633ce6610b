"""A voice call is rated by G.107 on what both directions lost, or it says what is missing."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nf.qoe import codecs
from nf.qoe import voice as model
from nf.qoe.reasons import REASONS
from tests.qoe.talkers import DOWN, UP, both, run, silence, voice


def by_hand(*, trip_ms=0.0, loss_percent=0.0, burst=1.0, jitter_ms=0.0) -> float:
    """G.107 for G.711 with concealment, a frame of 20 ms and 5 ms of look-ahead."""
    delay = trip_ms / 2 + min(2 * jitter_ms, 120) + 25
    x = np.log2(max(delay, 100) / 100)
    idd = 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)
    r = 93.2 - idd - 95 * loss_percent / (loss_percent / burst + 25.1)
    return 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6


NEAR = (20.0, 20.0)  # round trips in ms, access and core


class TestLoss:
    """The mean score of a call is that of G.107 on its loss, within 0.05."""

    def test_two_percent_at_random(self):
        rng = np.random.default_rng(1)
        lost = rng.binomial(50, 0.02, (120, 2))
        _, _, mos = run(model, [voice(1000 + i, lost=tuple(n), rtt=NEAR) for i, n in enumerate(lost)])

        assert np.mean(mos[5:]) == pytest.approx(by_hand(trip_ms=40, loss_percent=100 * lost.mean() / 50), abs=0.05)

    def test_runs_of_half_a_second_are_worse_than_random_loss(self):
        # 25 packets in a row of each 1000: 2.5 %, BurstR = 25 * 0.975
        runs = [int(i % 20 == 19) for i in range(200)]
        calls = [voice(1000 + i, lost=(0, 25 * n), runs=(0, n), rtt=NEAR) for i, n in enumerate(runs)]
        _, estimates, mos = run(model, calls)
        settled = np.mean(mos[40:])

        assert settled == pytest.approx(by_hand(trip_ms=40, loss_percent=2.5, burst=24.375), abs=0.05)
        assert settled < by_hand(trip_ms=40, loss_percent=2.5)
        assert np.mean([e.loss_burst[0] for e in estimates[40:]]) == pytest.approx(24.375, rel=0.02)

    def test_loss_that_begins_and_ends_is_followed_within_seconds(self):
        lost = [0] * 40 + [4] * 30 + [0] * 30
        _, _, mos = run(model, [voice(1000 + i, lost=(0, n), rtt=NEAR) for i, n in enumerate(lost)])

        assert mos[39] == pytest.approx(by_hand(trip_ms=40), abs=0.01)
        assert mos[45] == pytest.approx(by_hand(trip_ms=40, loss_percent=8), abs=0.1)
        assert mos[75] == pytest.approx(by_hand(trip_ms=40), abs=0.05)

    def test_a_late_packet_was_not_lost(self):
        calls = [voice(1000, lost=(0, 2), rtt=NEAR), voice(1001, lost=(0, -2), runs=(0, 0), rtt=NEAR)]

        assert run(model, calls)[2][-1] == pytest.approx(by_hand(trip_ms=40), abs=0.01)

    def test_without_sequence_numbers_it_says_so(self):
        seen = dataclasses.replace(voice(1000, rtt=NEAR), rtp_expected=both(0), rtp_received=both(0))
        _, (e,), (mos,) = run(model, [seen])

        assert np.isnan(mos)
        assert REASONS[e.unmeasured[0]] == "loss not known"


class TestBehindTheProbe:
    """Receiver reports tell what the radio lost of the downlink; without them half of the way was seen."""

    def test_reports_of_the_ue_count(self):
        reports = {"rtcp_reports": both(0, 1), "rtcp_expected": both(0, 50), "rtcp_lost": both(0, 2)}
        _, estimates, mos = run(model, [voice(1000 + i, rtt=NEAR, **reports) for i in range(60)])

        assert mos[-1] == pytest.approx(by_hand(trip_ms=40, loss_percent=4), abs=0.01)
        assert estimates[-1].beyond_loss[0] == pytest.approx(0.04, abs=1e-3)

    def test_without_reports_it_is_less_sure(self):
        seen = voice(1000, rtt=NEAR)
        reported = voice(1000, rtt=NEAR, rtcp_reports=both(0, 1), rtcp_expected=both(0, 50))
        without, with_reports = (run(model, [s])[1][0] for s in (seen, reported))

        assert np.isnan(without.beyond_loss[0])
        assert without.confidence[0] < with_reports.confidence[0]


class TestDelay:
    """A score needs the whole round trip; half of one is none, and none is not 0."""

    def test_four_hundred_milliseconds(self):
        assert run(model, [voice(1000, rtt=(300, 100))])[2][0] == pytest.approx(by_hand(trip_ms=400), abs=1e-3)

    @pytest.mark.parametrize("rtt", [(np.nan, np.nan), (300, np.nan), (np.nan, 100)])
    def test_delay_not_known(self, rtt):
        _, (e,), (mos,) = run(model, [voice(1000, rtt=rtt)])

        assert np.isnan(mos)
        assert REASONS[e.unmeasured[0]] == "delay not known"

    def test_reports_of_both_ends_tell_it(self):
        # the uplink's receiver is in the core, the downlink's is the UE
        seen = voice(1000, rtcp_rtt_us=both(100_000, 300_000))

        assert run(model, [seen])[2][0] == pytest.approx(by_hand(trip_ms=400), abs=1e-3)

    def test_one_without_new_samples_is_less_sure_and_then_forgotten(self):
        calls = [voice(1000, rtt=NEAR), *(voice(1000 + i, rtt=(np.nan, np.nan)) for i in range(1, 70))]
        _, estimates, mos = run(model, calls)

        assert estimates[5].confidence[0] <= 0.5 * estimates[0].confidence[0] + 1e-6
        assert mos[5] == pytest.approx(mos[0])
        assert np.isnan(mos[-1])


class TestCodec:
    """The codec is that of the worse direction, and is remembered."""

    def test_g729(self):
        calls = [voice(1000, rtt=NEAR, rtp_pt=both(18)), voice(1001, rtt=NEAR, rtp_pt=both(18))]

        assert codecs.NAMES[run(model, calls)[1][-1].codec[0]] == "G.729"


class TestSilence:
    """A direction that stands still inside a call is a freeze while it lasts, and no loss as well afterwards."""

    def frozen(self):
        before = [voice(1000 + i, rtt=NEAR) for i in range(20)]
        still = [voice(1020 + i, rtt=NEAR, stop=(DOWN,)) for i in range(5)]
        # 4.99 s of pause: 250 packets, all in one run
        counted = {"packets": both(50), "rtp_expected": both(50, 300), "rtp_received": both(50)}
        back = dataclasses.replace(voice(1025, runs=(0, 1), rtt=NEAR), **counted)
        return [*before, *still, back, *(voice(1026 + i, rtt=NEAR) for i in range(5))]

    def test_each_second_of_it_is_bad(self):
        _, estimates, mos = run(model, self.frozen())

        assert min(mos[:20]) > 4.3
        assert max(mos[21:25]) < 2.5
        assert [e.frozen_s[0] for e in estimates[21:25]] == pytest.approx([1, 1, 1, 1])
        assert sum(e.freezes[0] for e in estimates) == 1

    def test_and_good_again_when_it_ends(self):
        assert run(model, self.frozen())[2][-1] > 4.2

    def test_it_needs_a_row_when_nothing_passes_at_all(self):
        one_way = [voice(1000 + i, rtt=NEAR, stop=(UP,)) for i in range(10)]
        state, _, _ = run(model, one_way)

        assert not model.due(state, 1010.0)[0]
        assert model.due(state, 1012.0)[0]
        assert run(model, [silence(1012.0)], state)[2][0] < 2.5
        assert not model.due(state, 1060.0)[0]

    def test_both_directions_that_end_together_hung_up(self):
        state, _, _ = run(model, [voice(1000 + i, rtt=NEAR) for i in range(10)])

        assert not any(model.due(state, now)[0] for now in np.arange(1009.0, 1060.0, 0.5))
