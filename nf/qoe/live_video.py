"""Live video: as video on demand, but with no buffer to carry it over a slow interval."""

from __future__ import annotations

import numpy as np

from nf.qoe import streaming
from nf.qoe.inputs import DOWNLINK, Array, Inputs, known_or, round_trip_ms

__all__ = ["score"]


def score(r: Inputs) -> Array:
    """Return the MOS, 1..5; the slower of the last seconds and of this interval counts."""
    goodput = np.minimum(r.goodput_bps[:, DOWNLINK], r.goodput_now_bps[:, DOWNLINK])
    return streaming.quality(goodput, known_or(round_trip_ms(r), 0))
