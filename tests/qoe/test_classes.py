"""Scores by application class: what they say, what they must not say, and that worse is never better."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.records import APP_CLASSES
from nf.qoe import SCORES, Inputs

NAN = math.nan


def one(
    *,
    rtt=(30.0, 20.0),
    loss=0.0,
    jitter_ms=2.0,
    gap_mean_ms=20.0,
    gap_max_ms=30.0,
    goodput_bps=8e6,
    busy=0.3,
    packets=60.0,
    octets=60_000.0,
    bulk_octets=2e6,
) -> Inputs:
    """Return one row, both directions alike, of an interval of a second; the defaults are a good network."""

    def both(value: float) -> np.ndarray:
        return np.full((1, 2), float(value))

    return Inputs(
        interval_s=1.0,
        packets=both(packets),
        octets=both(octets),
        rtt_access_ms=np.array([rtt[0]]),
        rtt_core_ms=np.array([rtt[1]]),
        rtt_high_access_ms=np.array([rtt[0]]),
        rtt_high_core_ms=np.array([rtt[1]]),
        loss=both(loss),
        jitter_ms=both(jitter_ms),
        gap_mean_ms=both(gap_mean_ms),
        gap_max_ms=both(gap_max_ms),
        busy=both(busy),
        bulk_octets=both(bulk_octets),
        goodput_bps=both(goodput_bps),
        goodput_now_bps=both(goodput_bps),
    )


def mos(app_class: str, **kwargs) -> float:
    return float(SCORES[app_class](one(**kwargs))[0])


REAL_TIME = ("conferencing", "voice", "gaming")
REQUESTS = ("social", "messaging", "web", "navigation")
BULK = ("video", "live-video", "download")


class TestEveryClass:
    """Each application class has a score between 1 and 5 that falls when the network gets worse."""

    def test_every_published_class_has_one(self):
        assert tuple(SCORES) == APP_CLASSES

    @pytest.mark.parametrize("app_class", [*REAL_TIME, *REQUESTS, *BULK])
    def test_a_good_network_is_good(self, app_class):
        assert mos(app_class, rtt=(15.0, 10.0), goodput_bps=20e6) >= 4

    @pytest.mark.parametrize("app_class", [*REAL_TIME, *REQUESTS, *BULK])
    def test_a_broken_network_is_bad(self, app_class):
        broken = {"rtt": (700.0, 20.0), "loss": 0.15, "jitter_ms": 90.0, "gap_max_ms": 900.0}

        assert mos(app_class, **broken, goodput_bps=100e3, busy=1.0) < 2

    @pytest.mark.parametrize("app_class", APP_CLASSES)
    def test_nothing_seen_says_nothing(self, app_class):
        nothing = {"jitter_ms": NAN, "gap_mean_ms": NAN, "gap_max_ms": NAN, "goodput_bps": NAN, "loss": NAN}

        assert math.isnan(mos(app_class, rtt=(NAN, NAN), **nothing, packets=0, octets=0, busy=0, bulk_octets=0))

    @pytest.mark.parametrize("app_class", ["unknown", "vpn"])
    def test_where_nobody_knows_what_it_is_there_is_no_score(self, app_class):
        assert math.isnan(mos(app_class))

    @given(data=st.data(), app_class=st.sampled_from([*REAL_TIME, *REQUESTS, *BULK]))
    def test_a_worse_network_never_scores_better(self, data, app_class):
        def two(least: float, most: float) -> list[float]:
            return sorted(data.draw(st.tuples(st.floats(least, most), st.floats(least, most))))

        access, core, loss, jitter, longest = two(0, 3000), two(0, 3000), two(0, 1), two(0, 400), two(20, 3000)
        slow, fast = two(0, 1e8)
        mean_ms = data.draw(st.floats(1, 100))
        busy = data.draw(st.floats(0, 1))
        rest = {"gap_mean_ms": mean_ms, "busy": busy}

        better = mos(
            app_class,
            rtt=(access[0], core[0]),
            loss=loss[0],
            jitter_ms=jitter[0],
            gap_max_ms=longest[0],
            goodput_bps=fast,
            **rest,
        )
        worse = mos(
            app_class,
            rtt=(access[1], core[1]),
            loss=loss[1],
            jitter_ms=jitter[1],
            gap_max_ms=longest[1],
            goodput_bps=slow,
            **rest,
        )

        assert 1 <= worse <= better + 1e-9 <= 5 + 1e-9


class TestVoice:
    """Voice is the E-model: half the round trip, twice the jitter, one frame, and loss."""

    def test_by_hand(self):
        # 150 ms of delay: (200 + 50) / 2 + 2 * 0 + 25; G.107 gives R 93.036 there, and 1 % loss costs 3.640 more
        assert mos("voice", rtt=(200.0, 50.0), jitter_ms=0.0) == pytest.approx(4.406, abs=1e-3)
        assert mos("voice", rtt=(0.0, 50.0), jitter_ms=0.0, loss=0.01) == pytest.approx(4.328, abs=1e-3)

    def test_gaps_of_a_silent_codec_are_no_jitter(self):
        silent = mos("voice", jitter_ms=70.0, gap_mean_ms=130.0, gap_max_ms=160.0)

        assert silent == pytest.approx(mos("voice", jitter_ms=0.0))

    def test_the_worse_direction_counts(self):
        row = one()
        uplink_only = dataclasses.replace(row, loss=np.array([[0.1, 0.0]]))

        assert SCORES["voice"](uplink_only)[0] < SCORES["voice"](row)[0] - 0.5


class TestConferencing:
    """Conferencing is the E-model times what freezes cost."""

    def test_a_pause_of_half_a_second_by_hand(self):
        # 480 ms beyond the mean gap of 20 ms, in one second
        steady, frozen = mos("conferencing"), mos("conferencing", gap_max_ms=500.0)

        assert frozen == pytest.approx(steady * math.exp(-10 * 0.1176 * 0.48), abs=1e-6)

    def test_bursts_of_video_frames_are_neither_late_nor_frozen(self):
        assert mos("conferencing", jitter_ms=40.0, gap_mean_ms=12.0, gap_max_ms=130.0) > 4.3


class TestGaming:
    """Games are the input quality of G.1072."""

    @pytest.mark.parametrize("rtt_ms", [50, 100, 200, 400])
    def test_lag_by_hand(self, rtt_ms):
        # R = 100 - 0.848 I_INP - 0.227 I_TVQ - 0.625 I_IQf, no loss, 60 frames: I_TVQ = 0.54, I_IQf = 0 (clipped)
        i_inp = 90 / (1 + math.exp(1.191 - 0.009775 * rtt_ms)) - 18.73
        i_tvq = 47.03 + 0.01747 * 3600 - 1.823 * 60
        i_iqf = max(54.71 + 0.02589 * 3600 - 2.485 * 60, 0)
        r = 100 - 0.848 * i_inp - 0.227 * i_tvq - 0.625 * i_iqf
        by_hand = 1.3 + 0.0334 * r + r * (r - 60) * (100 - r) * 7e-6

        assert mos("gaming", rtt=(float(rtt_ms), 0.0), jitter_ms=0.0) == pytest.approx(by_hand, abs=1e-6)

    def test_jitter_is_lag(self):
        assert mos("gaming", rtt=(60.0, 0.0), jitter_ms=20.0) == pytest.approx(
            mos("gaming", rtt=(100.0, 0.0), jitter_ms=0.0)
        )


class TestLittleTraffic:
    """Low throughput alone is no fault of the network."""

    @pytest.mark.parametrize("app_class", REQUESTS)
    def test_a_chat_of_a_few_packets_is_as_good_as_a_full_pipe(self, app_class):
        chat = mos(app_class, goodput_bps=NAN, packets=3, octets=400, bulk_octets=0, busy=0.0)

        assert chat == pytest.approx(mos(app_class, goodput_bps=50e6, busy=1.0))

    def test_a_slow_radio_stream_without_loss_is_not_limited_by_the_network(self):
        assert mos("web", goodput_bps=128e3, busy=1.0) == pytest.approx(mos("web", goodput_bps=NAN, busy=0.0))

    def test_a_busy_transfer_with_loss_is(self):
        assert mos("web", goodput_bps=128e3, busy=1.0, loss=0.02) < mos("web", goodput_bps=NAN, busy=0.2, loss=0.02)

    @pytest.mark.parametrize("app_class", REQUESTS)
    def test_two_packets_say_nothing(self, app_class):
        assert math.isnan(mos(app_class, packets=1))

    @pytest.mark.parametrize("app_class", ["video", "live-video"])
    def test_a_pause_of_the_player_says_nothing(self, app_class):
        assert math.isnan(mos(app_class, goodput_bps=NAN, busy=0.0))

    def test_a_short_download_says_nothing(self):
        assert math.isnan(mos("download", bulk_octets=200e3, busy=0.2))
        assert not math.isnan(mos("download", bulk_octets=200e3, busy=1.0))


class TestLiveVideo:
    """Live video has no buffer: a slow interval counts at once."""

    def test_a_slow_second_after_fast_ones(self):
        row = dataclasses.replace(one(), goodput_now_bps=np.full((1, 2), 300e3))

        assert SCORES["live-video"](row)[0] < SCORES["video"](row)[0] - 1


class TestDownload:
    """Downloads are the logarithm of the goodput between 0.1 and 20 Mbit/s."""

    @pytest.mark.parametrize(("bps", "expected"), [(0.1e6, 1), (20e6, 5), (math.sqrt(0.1e6 * 20e6), 3), (1e9, 5)])
    def test_by_hand(self, bps, expected):
        assert mos("download", goodput_bps=bps) == pytest.approx(expected)


class TestMusic:
    """A rate is enough or it is not; what is more than the best one changes nothing."""

    def test_the_best_setting_is_good_and_less_than_the_lowest_stalls(self):
        at = {kbps: mos("music", goodput_bps=kbps * 1000) for kbps in (6, 12, 24, 60, 120, 400, 4000)}

        assert list(at.values()) == sorted(at.values())
        assert at[120] > 4
        assert at[400] == at[4000] < 4.5
        assert at[12] < 2

    def test_aac_by_the_curve_of_p1203(self):
        # 24 kbit/s: Q = 100 - (100 exp(-0.05 * 24) + 14.60) = 55.28; G.107 annex B makes 2.85 of it.
        assert mos("music", goodput_bps=24_000.0) == pytest.approx(2.85, abs=0.005)

    def test_delay_does_not_matter(self):
        assert mos("music", rtt=(800.0, 20.0)) == mos("music")
