"""Scores of what the network permits, for classes without a model of estimates."""

from __future__ import annotations

import math

import numpy as np
import pytest

from feed.records import APP_CLASSES
from nf.qoe import SCORES, Inputs
from nf.qoe.models import MODELS

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
        side_lost=np.zeros((1, 2, 2)),
        side_sent=np.zeros((1, 2, 2)),
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


class TestEveryClass:
    """Each application class is judged, by a model of estimates or by what the network permits."""

    def test_every_published_class_is_judged_by_one_of_both(self):
        assert sorted([*SCORES, *MODELS]) == sorted(APP_CLASSES)

    @pytest.mark.parametrize("app_class", SCORES)
    def test_nothing_seen_says_nothing(self, app_class):
        nothing = {"jitter_ms": NAN, "gap_mean_ms": NAN, "gap_max_ms": NAN, "goodput_bps": NAN, "loss": NAN}

        assert math.isnan(mos(app_class, rtt=(NAN, NAN), **nothing, packets=0, octets=0, busy=0, bulk_octets=0))

    @pytest.mark.parametrize("app_class", ["unknown", "vpn"])
    def test_where_nobody_knows_what_it_is_there_is_no_score(self, app_class):
        assert math.isnan(mos(app_class))


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
