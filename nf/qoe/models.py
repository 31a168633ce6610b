"""Models by application class: from what was seen of an interval to what happened, and from that to a score.

state, seen --advance--> state, estimates --score--> MOS, NaN where it is not measurable
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nf.qoe import codecs, conferencing, download, gaming, messaging, navigation, social, voice, web
from nf.qoe.inputs import Array

__all__ = ["MODELS", "Estimates", "Model"]

State = NDArray[np.void]


class Estimates(Protocol):
    """Columns (n,) of what happened: those of the names of the record are published."""

    @property
    def confidence(self) -> Array:
        """Return 0..1."""

    @property
    def unmeasured(self) -> NDArray[np.uint8]:
        """Return indices in `nf.qoe.reasons.REASONS`."""


@dataclass(frozen=True, slots=True)
class Model:
    """The functions of one class, and what they work on.

    *state* is the type of what is remembered of a row between intervals, all zeros at first. *due* says which
    remembered rows need a record without a packet. *texts* are those of columns that are estimated as a number.
    """

    name: str
    state: np.dtype[np.void]
    advance: Callable[[State, Any], tuple[State, Any]]
    score: Callable[[Any], Array]
    due: Callable[[State, float], NDArray[np.bool_]]
    texts: Mapping[str, tuple[str, ...]]


def _model(module: Any, **texts: tuple[str, ...]) -> Model:
    return Model(module.MODEL, module.STATE, module.advance, module.score, module.due, texts)


MODELS: Mapping[str, Model] = {
    "conferencing": _model(conferencing, codec=codecs.NAMES),
    "voice": _model(voice, codec=codecs.NAMES),
    "gaming": _model(gaming),
    "social": _model(social),
    "messaging": _model(messaging),
    "web": _model(web),
    "download": _model(download, limit=download.LIMITS),
    "navigation": _model(navigation),
}
"""By the names of `feed.records.APP_CLASSES`; the other classes have a score of what the network permits (`SCORES`)."""
