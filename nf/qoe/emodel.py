"""The E-model of ITU-T G.107 (narrowband), G.107.1 (wideband) and G.107.2 (fullband): delay and loss to R and a MOS.

Reduced to what a probe can see (the usual planning form): R = R0 - Idd - Ie,eff with the default values of each
Recommendation, sT = 1 and mT = 100 ms. Bursts count by BurstR, the mean run of lost packets over that of random loss.
The exponent is 6*sT as in the 2015 edition (clause 7.4, equation 7-28); other implementations write 6 - sT. The texts
themselves were not at hand: docs/qoe.md says which values are certain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nf.qoe.inputs import Array

__all__ = ["FULL", "G711_PLC", "NARROW", "WIDE", "Band", "burst_ratio", "delay_impairment", "mos", "rating", "to_mos"]

SENSITIVITY = 1.0  # sT, G.107 table: default delay sensitivity class
TOLERATED_MS = 100.0  # mT, G.107 table: minimum perceivable delay, default class
G711_PLC = (0.0, 25.1)  # Ie, Bpl of G.711 with loss concealment (G.113, appendix I)


@dataclass(frozen=True, slots=True)
class Band:
    """The difference between the three Recommendations."""

    best: float  # R0: default rating without delay or loss
    most_lost: float  # Ie,eff when each packet is lost
    scale: float  # R over this is the R of G.107, annex B
    delay: float  # factor of Idd


NARROW = Band(best=93.2, most_lost=95.0, scale=1.0, delay=1.0)  # G.107
WIDE = Band(best=129.0, most_lost=95.0, scale=1.29, delay=1.0)  # G.107.1
FULL = Band(best=148.0, most_lost=132.0, scale=1.48, delay=1.48)  # G.107.2


def rating(
    delay_ms: Array,
    loss_percent: Array,
    *,
    codec: tuple[Array | float, Array | float] = G711_PLC,
    burst_ratio: Array | float = 1.0,
    band: Band = NARROW,
) -> Array:
    """Return R for one-way mouth-to-ear delay (ms) and packet loss (percent); not clipped.

    *codec* is (Ie, Bpl) of G.113 on the scale of *band*; *burst_ratio* is 1 for random loss, more for bursts.
    """
    ie, bpl = codec
    lost = ie + (band.most_lost - ie) * loss_percent / (loss_percent / np.maximum(burst_ratio, 1.0) + bpl)
    return band.best - band.delay * delay_impairment(delay_ms) - lost


def delay_impairment(delay_ms: Array) -> Array:
    """Return Idd, the impairment by too long absolute delay."""
    x = np.log2(np.maximum(delay_ms, TOLERATED_MS) / TOLERATED_MS)
    power = 6 * SENSITIVITY
    idd = 25 * ((1 + x**power) ** (1 / power) - 3 * (1 + (x / 3) ** power) ** (1 / power) + 2)
    return np.maximum(idd, 0.0)


def burst_ratio(loss: Array, run: Array) -> Array:
    """Return BurstR of a loss *ratio* in runs of mean length *run* packets (G.107, 7.5), at least 1.

    Random loss p has runs of 1 / (1 - p); rarer runs than that would make a number below 1, which is no burst.
    """
    return np.maximum(run * (1 - np.clip(loss, 0.0, 1.0)), 1.0)


def mos(r: Array, band: Band = NARROW) -> Array:
    """Map R of a band to MOS, 1..4.5."""
    return to_mos(r / band.scale)


def to_mos(r: Array) -> Array:
    """Map R to MOS (G.107, annex B), 1..4.5; the cubic's dip under 1 near R = 0 is cut."""
    r = np.clip(r, 0.0, 100.0)
    return np.maximum(1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6, 1.0)
