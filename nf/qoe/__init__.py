"""Scores by application class: pure functions on columns, one module a class.

    Inputs (n rows) -> score -> MOS (n,), 1..5, NaN where there is too little to judge

Nothing here has state or knows a subscriber. Formulas and sources: docs/qoe.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nf.qoe import (
    conferencing,
    download,
    gaming,
    live_video,
    messaging,
    music,
    navigation,
    social,
    unknown,
    video,
    voice,
    vpn,
    web,
)
from nf.qoe.inputs import Array, Inputs

__all__ = ["SCORES", "Inputs"]

SCORES: Mapping[str, Callable[[Inputs], Array]] = {
    "video": unknown.score,
    "live-video": unknown.score,
    "conferencing": conferencing.score,
    "voice": voice.score,
    "gaming": gaming.score,
    "social": social.score,
    "messaging": messaging.score,
    "web": web.score,
    "download": download.score,
    "music": music.score,
    "navigation": navigation.score,
    "vpn": vpn.score,
    "unknown": unknown.score,
}
"""By the names of `feed.records.APP_CLASSES`."""
