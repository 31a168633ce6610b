"""Web pages: G.1030 on the time of a page, which `nf.qoe.pages` measures; a row is a subscriber."""

from __future__ import annotations

from nf.qoe import g1030
from nf.qoe.inputs import Array
from nf.qoe.pages import STATE, Estimates, Profile, advance, due

__all__ = ["MODEL", "PROFILE", "STATE", "Estimates", "Profile", "advance", "due", "score"]

MODEL = "G.1030 v2"  # on the time of `nf.qoe.pages`
PROFILE = Profile(content_s=g1030.MEDIUM_S)


def score(r: Estimates, profile: Profile = PROFILE) -> Array:
    """Return the MOS, 1..5; NaN without a page."""
    return g1030.waiting(r.page_s, longest_s=profile.content_s)
