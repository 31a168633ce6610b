"""Video on demand: the streaming model on the goodput of the last seconds."""

from __future__ import annotations

from nf.qoe import streaming
from nf.qoe.inputs import DOWNLINK, Array, Inputs, known_or, round_trip_ms

__all__ = ["score"]


def score(r: Inputs) -> Array:
    """Return the MOS, 1..5; NaN in a pause of the player, whose buffer is full for all that can be seen."""
    return streaming.quality(r.goodput_bps[:, DOWNLINK], known_or(round_trip_ms(r), 0))
