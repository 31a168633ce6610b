"""Games: the input quality and lost frames of G.1072, for a fast game; coding quality is not seen."""

from __future__ import annotations

import numpy as np

from nf.qoe import freeze, g1072
from nf.qoe.inputs import DOWNLINK, Array, Inputs, known_or, round_trip_ms, worst

__all__ = ["score"]

FRAME_RATE = 60.0  # 1/s: what a game shows; G.1072 ends there
LEAST_MBPS, MOST_MBPS = 0.3, 50.0  # range of G.1072
LONGEST_MS = 400.0  # range of G.1072
BUFFER_DEVIATIONS = 2.0  # a client that smooths its input waits for twice the jitter (own; as in `calls`)


def score(r: Inputs) -> Array:
    """Return the MOS, 1..4.64; NaN where no media flows.

    Freezes are looked for in the downlink only: a player who does nothing also sends nothing.
    """
    n = len(r)
    jitter_ms = worst(r.jitter_ms)
    mbps = np.clip(8e-6 * r.octets[:, DOWNLINK] / r.interval_s, LEAST_MBPS, MOST_MBPS)
    mos = g1072.quality(
        delay_ms=np.minimum(known_or(round_trip_ms(r), 0) + BUFFER_DEVIATIONS * jitter_ms, LONGEST_MS),
        loss=worst(r.loss),
        frame_rate=np.full(n, FRAME_RATE),
        bitrate_mbps=mbps,
    )
    frozen = freeze.share(r.gap_mean_ms[:, DOWNLINK], r.gap_max_ms[:, DOWNLINK], r.interval_s)
    silent = np.isnan(r.gap_mean_ms).all(axis=1)
    return np.where(silent, np.nan, np.maximum(mos * freeze.factor(frozen), 1.0))
