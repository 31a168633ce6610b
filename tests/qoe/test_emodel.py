"""The E-model against its planning vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nf.qoe import emodel

G711 = (0.0, 4.3)  # without loss concealment
G711_PLC = (0.0, 25.1)
G729A = (11.0, 19.0)

# one-way delay ms, loss %, codec, R, MOS: G.107 in its planning form, exponent 6*sT
VECTORS = [
    (50, 0, G711, 93.200, 4.409),
    (50, 1, G711, 75.275, 3.834),
    (50, 1, G711_PLC, 89.560, 4.328),
    (150, 0, G711_PLC, 93.036, 4.406),
    (200, 0, G711_PLC, 90.156, 4.343),
    (300, 2, G711_PLC, 71.428, 3.663),
    (150, 1, G729A, 77.836, 3.940),
    (400, 5, G711_PLC, 53.349, 2.751),
]


def column(value: float) -> np.ndarray:
    return np.array([float(value)])


class TestRating:
    """Delay and loss become R and MOS as the Recommendation says, to three decimals."""

    @pytest.mark.parametrize(("delay_ms", "loss_percent", "codec", "r", "mos"), VECTORS)
    def test_the_planning_vectors(self, delay_ms, loss_percent, codec, r, mos):
        got = emodel.rating(column(delay_ms), column(loss_percent), codec=codec)

        assert got[0] == pytest.approx(r, abs=6e-4)
        assert emodel.to_mos(got)[0] == pytest.approx(mos, abs=6e-4)

    def test_delay_up_to_the_tolerated_one_costs_nothing(self):
        assert emodel.rating(np.array([0.0, 99.0, 100.0]), np.zeros(3)) == pytest.approx(93.2)

    def test_bursts_hurt_more_than_random_loss(self):
        random = emodel.rating(column(50), column(3))
        bursty = emodel.rating(column(50), column(3), burst_ratio=2.0)

        assert bursty[0] < random[0]

    def test_the_ends_of_the_scale(self):
        assert emodel.to_mos(np.array([-20.0, 0.0, 3.0, 100.0, 120.0])) == pytest.approx([1, 1, 1, 4.5, 4.5])

    @given(
        delay=st.lists(st.floats(0, 2000), min_size=2, max_size=2),
        loss=st.lists(st.floats(0, 100), min_size=2, max_size=2),
    )
    def test_more_delay_and_more_loss_never_raise_the_score(self, delay, loss):
        better, worse = (emodel.to_mos(emodel.rating(column(f(delay)), column(f(loss)))) for f in (min, max))

        assert worse[0] <= better[0] + 1e-9


def column_mos(r: float) -> float:
    """G.107, annex B, by hand."""
    return 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6


class TestBursts:
    """Loss in runs is told by BurstR: the mean run over that of random loss."""

    def test_random_loss_is_no_burst(self):
        # 2 % at random: runs of 1 / 0.98 packets
        assert emodel.burst_ratio(column(0.02), column(1 / 0.98))[0] == pytest.approx(1.0)

    def test_runs_of_half_a_second_by_hand(self):
        # 25 packets of 20 ms in a row of each 1000: BurstR = 25 * 0.975; Ie,eff = 95 * 2.5 / (2.5 / 24.375 + 25.1)
        burst = emodel.burst_ratio(column(0.025), column(25.0))
        r = emodel.rating(column(50), column(2.5), burst_ratio=burst)

        assert burst[0] == pytest.approx(24.375)
        assert r[0] == pytest.approx(93.2 - 9.4235, abs=1e-3)
        assert emodel.to_mos(r)[0] < emodel.to_mos(emodel.rating(column(50), column(2.5)))[0]

    @given(loss=st.floats(0, 1), run=st.floats(0, 1000))
    def test_it_is_never_below_one(self, loss, run):
        assert emodel.burst_ratio(column(loss), column(run))[0] >= 1


class TestBands:
    """Wide and full band have a longer scale, and MOS from their share of it."""

    @pytest.mark.parametrize(
        ("band", "loss_percent", "expected"),
        [
            # R0 129: AMR-WB 12.65 has Ie,wb 13, so R / 1.29 = 116 / 1.29 = 89.92
            (emodel.WIDE, 0, column_mos(116 / 1.29)),
            # 1 % with Bpl 10: 13 + 82 / 11 = 20.4545
            (emodel.WIDE, 1, column_mos((129 - 13 - 82 / 11) / 1.29)),
            # R0 148, Ie,eff up to 132: 13 + 119 / 11
            (emodel.FULL, 1, column_mos((148 - 13 - 119 / 11) / 1.48)),
        ],
    )
    def test_by_hand(self, band, loss_percent, expected):
        r = emodel.rating(column(50), column(loss_percent), codec=(13.0, 10.0), band=band)

        assert emodel.mos(r, band)[0] == pytest.approx(expected, abs=1e-9)

    def test_nothing_lost_is_the_end_of_each_scale(self):
        none = [emodel.mos(emodel.rating(column(0), column(0), band=b), b)[0] for b in (emodel.WIDE, emodel.FULL)]

        assert none == pytest.approx([4.5, 4.5])

    def test_delay_counts_as_much_of_the_full_scale_as_of_the_narrow_one(self):
        # G.107.2: Id,fb = 1.48 Idd, and R / 1.48: 400 ms cost as many points of the common scale
        lost = [
            (b.best - emodel.rating(column(400), column(0), band=b)[0]) / b.scale for b in (emodel.NARROW, emodel.FULL)
        ]

        assert lost[0] == pytest.approx(lost[1])
