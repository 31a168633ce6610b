"""Scores by application class: pure functions on columns, one module a class.

    seen in an interval --advance--> estimates of what happened --score--> MOS (n,), 1..5, NaN where not measurable

`nf.qoe.models` has the models that remember something between intervals; `SCORES` are those of what the network
permits, for classes without one. Nothing here knows a subscriber. Formulas and sources: docs/qoe.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nf.qoe import music, unknown, vpn
from nf.qoe.inputs import Array, Inputs

__all__ = ["SCORES", "Inputs"]

SCORES: Mapping[str, Callable[[Inputs], Array]] = {
    "music": music.score,
    "vpn": vpn.score,
    "unknown": unknown.score,
}
"""By the names of `feed.records.APP_CLASSES`."""
