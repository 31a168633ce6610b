"""Web pages: G.1030 on the time of a page, which `nf.qoe.pages` measures; a row is a subscriber."""

from __future__ import annotations

import numpy as np

from nf.qoe import g1030, transfer
from nf.qoe.inputs import Array, Inputs
from nf.qoe.pages import STATE, Estimates, Profile, advance, due

__all__ = ["MODEL", "PROFILE", "STATE", "Estimates", "Profile", "advance", "due", "score"]

MODEL = "G.1030 v2"  # on the time of `nf.qoe.pages`
PROFILE = Profile(content_s=g1030.MEDIUM_S)

PAGE_BYTES = 1_390_000  # median of 56 page loads of 2020/21 on 4G and 5G (SIGCOMM21-5G artifact)
CONNECTIONS = 6  # of a browser to one host (own; the usual limit of HTTP/1.1 browsers)
# DNS 1, TCP 1, TLS 1.3 1, and five for a sixth of the page in slow start from ten segments (RFC 6928):
# 10 * (2^n - 1) >= 160 segments.
ROUND_TRIPS = 8


def score(r: Inputs | Estimates, profile: Profile = PROFILE) -> Array:
    """Return the MOS, 1..5; NaN without a page, or with too few packets or no round-trip time."""
    if isinstance(r, Estimates):
        return g1030.waiting(r.page_s, longest_s=profile.content_s)
    time_s = transfer.seconds(r, round_trips=ROUND_TRIPS, octets=PAGE_BYTES, connections=CONNECTIONS)
    return np.where(transfer.enough(r), g1030.waiting(time_s, longest_s=g1030.MEDIUM_S), np.nan)
