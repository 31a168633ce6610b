"""Voice calls: the E-model, with packets later than the jitter buffer counted as lost."""

from __future__ import annotations

import numpy as np

from nf.qoe import calls
from nf.qoe.inputs import Array, Inputs, worst

__all__ = ["score"]

# A talker sends 25 to 60 packets a second; with longer gaps the codec is silent (DTX) and its gaps are no jitter.
TALKING_GAP_MS = 40.0


def score(r: Inputs) -> Array:
    """Return the MOS, 1..4.5, of the worse direction; NaN where nobody speaks."""
    talking = r.gap_mean_ms <= TALKING_GAP_MS
    jitter_ms = worst(np.where(talking, r.jitter_ms, np.nan))
    return calls.score(r, jitter_ms, calls.late_share(jitter_ms))
