"""Maps and journeys: G.1030 on the time that the tiles of the next screen take."""

from __future__ import annotations

import numpy as np

from nf.qoe import g1030, transfer
from nf.qoe.inputs import Array, Inputs

__all__ = ["score"]

SCREEN_BYTES = 180_000  # a dozen vector tiles (own)
CONNECTIONS = 1  # HTTP/2 or HTTP/3 to one host, already open
ROUND_TRIPS = 4  # as social: 10 * (2^n - 1) >= 125 segments in slow start from ten (RFC 6928)


def score(r: Inputs) -> Array:
    """Return the MOS, 1..5; NaN with too few packets or no round-trip time. Users expect fast."""
    time_s = transfer.seconds(r, round_trips=ROUND_TRIPS, octets=SCREEN_BYTES, connections=CONNECTIONS)
    return np.where(transfer.enough(r), g1030.waiting(time_s, longest_s=g1030.FAST_S), np.nan)
