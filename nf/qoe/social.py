"""Social networks: G.1030 on the time that the next screen of a feed takes, measured as a page."""

from __future__ import annotations

import numpy as np

from nf.qoe import g1030, transfer
from nf.qoe.inputs import Array, Inputs
from nf.qoe.pages import STATE, Estimates, Profile, advance, due

__all__ = ["MODEL", "PROFILE", "STATE", "Estimates", "Profile", "advance", "due", "score"]

MODEL = "G.1030 v2"  # on the time of `nf.qoe.pages`
# A row is a subscriber with an application, whose connections stay: any request after a quiet time begins a screen.
PROFILE = Profile(requests=1, content_s=g1030.FAST_S)

SCREEN_BYTES = 200_000  # a few pictures (own)
CONNECTIONS = 1  # HTTP/2 or HTTP/3 to one host, already open
ROUND_TRIPS = 4  # 10 * (2^n - 1) >= 138 segments in slow start from ten (RFC 6928); the request is in the first


def score(r: Inputs | Estimates, profile: Profile = PROFILE) -> Array:
    """Return the MOS, 1..5; NaN without a page, or with too few packets or no round-trip time. Users expect fast."""
    if isinstance(r, Estimates):
        return g1030.waiting(r.page_s, longest_s=profile.content_s)
    time_s = transfer.seconds(r, round_trips=ROUND_TRIPS, octets=SCREEN_BYTES, connections=CONNECTIONS)
    return np.where(transfer.enough(r), g1030.waiting(time_s, longest_s=g1030.FAST_S), np.nan)
