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
