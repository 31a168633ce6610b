"""Messaging: G.1030 on the time between sending a message and its acknowledgement."""

from __future__ import annotations

import numpy as np

from nf.qoe import g1030, transfer
from nf.qoe.inputs import Array, Inputs

__all__ = ["score"]

ROUND_TRIPS = 2  # the message and its acknowledgement, and the same to the other side (own)
PACKETS = 10  # of such an exchange on the wire, none of which may be lost (own)


def score(r: Inputs) -> Array:
    """Return the MOS, 1..5; NaN with too few packets or no round-trip time. Throughput does not matter."""
    time_s = transfer.exchange_s(r, round_trips=ROUND_TRIPS, packets=PACKETS)
    return np.where(transfer.enough(r), g1030.waiting(time_s, longest_s=g1030.FAST_S), np.nan)
