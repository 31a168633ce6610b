"""Video calls: the E-model for the sound, times what freezes of the stream cost."""

from __future__ import annotations

import numpy as np

from nf.qoe import calls
from nf.qoe.inputs import Array, Inputs, worst

__all__ = ["score"]


def score(r: Inputs) -> Array:
    """Return the MOS, 1..4.5, of the worse direction; NaN where no media flows.

    Video sends a frame as a burst, so its gaps vary without any jitter: they lengthen the
    buffer here, but no packet counts as late.
    """
    return calls.score(r, worst(r.jitter_ms), np.zeros(len(r)))
