"""The opinion model of ITU-T G.1072 for cloud gaming: impairments to a rating R and a MOS.

Formulas and coefficients are facts of the Recommendation; its reference implementation is not free
for commercial use and nothing of it is here. Slicing loss (I_tra) is left out: systems of today
freeze instead, and c8..c14 were not at hand. Valid for 0.3-50 Mbit/s, 10-60 frames a second,
480p-1080p, delay up to 400 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nf.qoe.inputs import Array

__all__ = ["HIGH", "LOW", "MEDIUM", "Complexity", "coding", "frames_shown", "quality", "rating", "to_mos"]

MOST_TEMPORAL = 61.29  # upper limit of I_TVQ
MOST_INPUT = 68.98  # upper limit of I_IQf and I_INP
MOST_CODING = 65.0  # upper limit of I_cod
MOST_FPS = 60.0  # frames a second at which the model ends


@dataclass(frozen=True, slots=True)
class Complexity:
    """Coefficients of one class; a game has one class for its interaction, one for its video."""

    temporal: tuple[float, float, float, float]  # a..d of I_TVQ, by interaction
    frame_input: tuple[float, float, float, float]  # a..d of I_IQf, by interaction
    input: tuple[float, float, float, float]  # a..d of I_INP, by interaction
    coding: tuple[float, float, float, float, float, float, float]  # c1..c7 of I_cod, by video


_FAST = {
    "temporal": (47.03, 0.01747, -1.823, 10.7),
    "frame_input": (54.71, 0.02589, -2.485, 9.306),
    "input": (90.0, 1.191, 0.009775, -18.73),
}
LOW = Complexity(
    temporal=(29.13, 0.01344, -1.283, 6.724),
    frame_input=(23.43, 0.008574, -0.9253, 5.855),
    input=(47.97, 2.097, 0.01073, -4.567),
    coding=(52.5052, -28.0170, -2.68405, 5.46648, 12.4214, -28.0192, 0.215799),
)
MEDIUM = Complexity(**_FAST, coding=(37.9882, -13.7208, 8.57837, 3.26581, 6.83276, -127.997, 0.479595))
HIGH = Complexity(**_FAST, coding=(47.7463, -12.0700, 9.05168, 3.41919, 7.62306, -167.838, 0.0760333))


def frames_shown(frame_rate: Array, bitrate_mbps: Array, delay_ms: Array, loss: Array) -> Array:
    """Return the frames a second that reach the player; *loss* is a ratio of packets, at most 0.5."""
    lateness = np.maximum(0.09656 * delay_ms - 1.5, 0.0)  # 0 below 16 ms
    harm = 0.08526 + 0.00073 * frame_rate + 1.425e-4 * bitrate_mbps * frame_rate
    return frame_rate * np.exp(-harm * lateness * np.minimum(loss, 0.5))


def coding(bitrate_mbps: Array, frame_rate: Array, pixels: Array, video: Complexity) -> Array:
    """Return I_cod, the impairment by compression."""
    c1, c2, c3, c4, c5, c6, c7 = video.coding
    bits_per_pixel = bitrate_mbps * 1e6 / (pixels * frame_rate)
    complexity = c5 * np.exp(c6 * bits_per_pixel) + c7
    return np.minimum(c1 * np.exp(c2 * bits_per_pixel) + c3 * complexity + c4, MOST_CODING)


def quality(
    *,
    delay_ms: Array,
    loss: Array,
    frame_rate: Array,
    bitrate_mbps: Array,
    coding_impairment: Array | float = 0.0,
    interaction: Complexity = HIGH,
) -> Array:
    """Return the MOS, 1.3..4.64; *delay_ms* is the round-trip time, *loss* a ratio of packets."""
    shown = frames_shown(frame_rate, bitrate_mbps, delay_ms, loss)
    lost_percent = 100 * (frame_rate - shown) / frame_rate
    return to_mos(rating(delay_ms, lost_percent, frame_rate, coding_impairment, interaction))


def rating(
    delay_ms: Array,
    lost_percent: Array,
    frame_rate: Array,
    coding_impairment: Array | float = 0.0,
    interaction: Complexity = HIGH,
) -> Array:
    """Return R, 0..100; *lost_percent* is of the frames, all others as in `quality`.

    The polynomials have their least harm between 47 and 54 frames a second; here no rate below 60 is better than 60.
    """
    i_tvq = np.clip(_frame_term(interaction.temporal, frame_rate, lost_percent), 0, MOST_TEMPORAL)
    i_iqf = np.clip(_frame_term(interaction.frame_input, frame_rate, lost_percent), 0, MOST_INPUT)
    a, b, c, d = interaction.input
    i_inp = np.clip(a / (1 + np.exp(b - c * delay_ms)) + d, 0, MOST_INPUT)
    r: Array = np.clip(100 - 0.788 * coding_impairment - 0.227 * i_tvq - 0.625 * i_iqf - 0.848 * i_inp, 0, 100)
    return r


def to_mos(r: Array) -> Array:
    """Map the rating to the range of the subjective tests, 1.3..4.64."""
    return np.clip(1.3 + 3.34 / 100 * r + r * (r - 60) * (100 - r) * 7e-6, 1.3, 4.64)


def _frame_term(coefficients: tuple[float, float, float, float], frame_rate: Array, lost_percent: Array) -> Array:
    a, b, c, d = coefficients
    harm = np.maximum(b * frame_rate**2 + c * frame_rate, b * MOST_FPS**2 + c * MOST_FPS)
    return a + harm + d * np.log(lost_percent + 1)
