"""The E-model of ITU-T G.107 with default values: delay and packet loss to a rating R and a MOS.

Reduced to what a probe can see (the usual planning form): R = 93.2 - Idd - Ie,eff, with sT = 1 and
mT = 100 ms. The exponent is 6*sT as in the 2015 edition (clause 7.4, equation 7-28); other
implementations write 6 - sT. The 2015 text itself was not at hand: see docs/qoe.md.
"""

from __future__ import annotations

import numpy as np

from nf.qoe.inputs import Array

__all__ = ["G711_PLC", "rating", "to_mos"]

R0 = 93.2  # G.107, default transmission rating without delay or loss
SENSITIVITY = 1.0  # sT, G.107 table: default delay sensitivity class
TOLERATED_MS = 100.0  # mT, G.107 table: minimum perceivable delay, default class
G711_PLC = (0.0, 25.1)  # Ie, Bpl of G.711 with loss concealment (G.113, appendix I)


def rating(
    delay_ms: Array, loss_percent: Array, *, codec: tuple[float, float] = G711_PLC, burst_ratio: float = 1.0
) -> Array:
    """Return R for one-way mouth-to-ear delay (ms) and packet loss (percent); not clipped.

    *codec* is (Ie, Bpl) of G.113; *burst_ratio* is 1 for random loss, more for bursts.
    """
    ie, bpl = codec
    return R0 - delay_impairment(delay_ms) - equipment_impairment(loss_percent, ie, bpl, burst_ratio)


def delay_impairment(delay_ms: Array) -> Array:
    """Return Idd, the impairment by too long absolute delay."""
    x = np.log2(np.maximum(delay_ms, TOLERATED_MS) / TOLERATED_MS)
    power = 6 * SENSITIVITY
    idd = 25 * ((1 + x**power) ** (1 / power) - 3 * (1 + (x / 3) ** power) ** (1 / power) + 2)
    return np.maximum(idd, 0.0)


def equipment_impairment(loss_percent: Array, ie: float, bpl: float, burst_ratio: float) -> Array:
    """Return Ie,eff: the codec's own impairment and what loss adds to it."""
    return ie + (95 - ie) * loss_percent / (loss_percent / burst_ratio + bpl)


def to_mos(r: Array) -> Array:
    """Map R to MOS (G.107, annex B), 1..4.5; the cubic's dip under 1 near R = 0 is cut."""
    r = np.clip(r, 0.0, 100.0)
    return np.maximum(1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6, 1.0)
