"""The streaming model: its shape, and what viewers said."""

from __future__ import annotations

import csv
import gzip
import math
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nf.qoe import streaming

SHARED = Path(os.environ.get("SNF_SHARED", Path(__file__).parents[3] / "shared"))
OPEN_DATA = SHARED / "data" / "qoe" / "p1203_open"


def of_goodput(*bps: float, rtt_ms: float = 50.0) -> np.ndarray:
    return streaming.quality(np.array(bps), np.full(len(bps), rtt_ms))


class TestQuality:
    """A sustainable rate becomes the MOS of the best picture it can carry."""

    def test_a_fast_network_is_good_and_a_starved_one_bad(self):
        assert of_goodput(10e6)[0] > 4.5
        assert of_goodput(50e3)[0] < 1.5

    def test_by_hand_for_three_megabit(self):
        # 2.5 Mbit/s after the margin, 1080p at 25/s: 0.04823 bit a pixel, no upscaling, 0.2 s to the first byte
        by_hand = (5 - 0.7713 * math.exp(-0.5094 * math.sqrt(0.4823))) * math.exp(-0.066 * 0.02) + 0.2765

        assert of_goodput(3e6)[0] == pytest.approx(by_hand, abs=1e-3)

    def test_by_hand_for_six_hundred_kilobit(self):
        # 500 kbit/s carry 500e3 / (25 * 0.04) = 500,000 pixels, upscaled to 1080p
        by_hand = (
            5 - 0.7713 * math.exp(-0.5094 * math.sqrt(0.4)) - 1.1011 * math.log(1920 * 1080 / 500_000)
        ) * math.exp(-0.066 * 0.02) + 0.2765

        assert of_goodput(600e3)[0] == pytest.approx(by_hand, abs=1e-3)

    def test_nothing_known_stays_nothing(self):
        assert np.isnan(of_goodput(math.nan)[0])

    @given(
        goodput=st.lists(st.floats(0, 1e9), min_size=2, max_size=2),
        rtt=st.lists(st.floats(0, 5000), min_size=2, max_size=2),
    )
    def test_a_slower_or_longer_way_never_raises_the_score(self, goodput, rtt):
        better = of_goodput(max(goodput), rtt_ms=min(rtt))[0]
        worse = of_goodput(min(goodput), rtt_ms=max(rtt))[0]

        assert 1 <= worse <= better + 1e-9 <= 5 + 1e-9


class TestViewers:
    """The picture that a rate is given agrees with what viewers of the open P.1203 data said."""

    def test_rate_alone_orders_the_sessions_as_viewers_did(self):
        assert OPEN_DATA.is_dir(), f"{OPEN_DATA} is missing: put the shared data there or set SNF_SHARED"
        rates: dict[str, list[float]] = defaultdict(list)
        with gzip.open(OPEN_DATA / "features" / "features_mode0.csv.gz", "rt") as file:
            for row in csv.DictReader(file):
                rates[row["pvs_id"]].append(1e3 * float(row["bitrate_kbps_segment_size"]))
        with (OPEN_DATA / "mos.csv").open() as file:
            said = [(r["pvs_id"], float(r["mos"])) for r in csv.DictReader(file) if r["pvs_id"] in rates]

        predicted = [streaming.picture(np.array(rates[pvs])).mean() for pvs, _ in said]

        assert len(said) > 100
        # Stalls are in the MOS and not in this prediction, which bounds what can be reached.
        assert np.corrcoef(predicted, [mos for _, mos in said])[0, 1] > 0.7
