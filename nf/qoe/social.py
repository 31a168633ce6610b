"""Social networks: G.1030 on the time that the next screen of a feed takes."""

from __future__ import annotations

import numpy as np

from nf.qoe import g1030, transfer
from nf.qoe.inputs import Array, Inputs

__all__ = ["score"]

SCREEN_BYTES = 200_000  # a few pictures (own)
CONNECTIONS = 1  # HTTP/2 or HTTP/3 to one host, already open
ROUND_TRIPS = 4  # 10 * (2^n - 1) >= 138 segments in slow start from ten (RFC 6928); the request is in the first


def score(r: Inputs) -> Array:
    """Return the MOS, 1..5; NaN with too few packets or no round-trip time. Users expect fast."""
    time_s = transfer.seconds(r, round_trips=ROUND_TRIPS, octets=SCREEN_BYTES, connections=CONNECTIONS)
    return np.where(transfer.enough(r), g1030.waiting(time_s, longest_s=g1030.FAST_S), np.nan)
