"""Maps and journeys: G.1030 on the time that the next screen takes, measured as a page."""

from __future__ import annotations

from nf.qoe import g1030
from nf.qoe.inputs import Array
from nf.qoe.pages import STATE, Estimates, Profile, advance, due

__all__ = ["MODEL", "PROFILE", "STATE", "Estimates", "Profile", "advance", "due", "score"]

MODEL = "G.1030 v2"  # on the time of `nf.qoe.pages`
# A row is a subscriber with an application, whose connections stay: any request after a quiet time begins a screen.
PROFILE = Profile(requests=1, content_s=g1030.FAST_S)


def score(r: Estimates, profile: Profile = PROFILE) -> Array:
    """Return the MOS, 1..5; NaN without a page. Users expect fast."""
    return g1030.waiting(r.page_s, longest_s=profile.content_s)
