"""Video, on demand and live: level, rate, start-up, buffer and stalls of a player, and the streaming model on them."""

from __future__ import annotations

import numpy as np

from nf.qoe.inputs import Array
from nf.qoe.video import rate
from nf.qoe.video.columns import STATE, STATES, Answers, Estimates, Seen
from nf.qoe.video.content import learned_s
from nf.qoe.video.profile import BY_BYTES
from nf.qoe.video.profile import DEFAULT as PROFILE
from nf.qoe.video.rate import MODEL
from nf.qoe.video.session import advance, due

__all__ = [
    "BY_BYTES",
    "MODEL",
    "PROFILE",
    "STATE",
    "STATES",
    "Answers",
    "Estimates",
    "Seen",
    "advance",
    "due",
    "learned_s",
    "score",
]


def score(estimates: Estimates) -> Array:
    """Return the MOS of the moment, 1..5; NaN where it is not measurable."""
    return np.where(estimates.unmeasured > 0, np.nan, rate.score(estimates))
