"""Music, radio and podcasts: the quality of the rate that a player can take, and the pauses below the lowest one."""

from __future__ import annotations

import numpy as np

from nf.qoe import emodel, streaming
from nf.qoe.inputs import DOWNLINK, Array, Inputs

__all__ = ["score"]

LOWEST_BPS, HIGHEST_BPS = 24_000.0, 320_000.0  # the lowest and the highest setting that Spotify publishes
# Quality of AAC-LC on a scale of 100 by its rate in kbit/s (P.1203.2, 8.2, unverified against the text).
BEST, SPAN, SLOPE = 100.0 - 14.60, 100.0, 0.05


def score(r: Inputs) -> Array:
    """Return the MOS, 1..4.5; NaN in a pause of the player, whose buffer is full for all that can be seen."""
    goodput_bps = np.maximum(r.goodput_bps[:, DOWNLINK], 1.0)
    rate_kbps = np.clip(goodput_bps / streaming.MARGIN, LOWEST_BPS, HIGHEST_BPS) / 1000
    stalled = np.clip(1 - goodput_bps / LOWEST_BPS, 0, 1)
    exponent = 10 * streaming.STALL_WEIGHT * stalled + streaming.STALLED_ONCE * (stalled > 0)
    mos: Array = np.clip(emodel.to_mos(BEST - SPAN * np.exp(-SLOPE * rate_kbps)) * np.exp(-exponent), 1, 5)
    return mos
