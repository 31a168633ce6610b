"""Models by application class: from what was seen of an interval to what happened, and from that to a score.

state, seen --advance--> state, estimates --score--> MOS, NaN where it is not measurable

Each has a profile of constants (`nf.qoe.profiles`). A model under another profile than its own has a name that ends in
`CHANGED`, so that its scores are told apart from those of the published model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nf.qoe import codecs, conferencing, download, gaming, messaging, n3, navigation, social, video, voice, web
from nf.qoe.inputs import Array
from nf.qoe.profiles import changed
from nf.settings import QoeProfile

__all__ = ["CHANGED", "MODELS", "PROFILES", "Estimates", "Model", "adjusted", "by_bytes"]

CHANGED = "*"
"""What the name of a model ends in when its constants are not those of its version."""

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
    *profile* has the constants that the functions use.
    """

    name: str
    state: np.dtype[np.void]
    advance: Callable[[State, Any], tuple[State, Any]]
    score: Callable[[Any], Array]
    due: Callable[[State, float], NDArray[np.bool_]]
    texts: Mapping[str, tuple[str, ...]]
    profile: Any

    def under(self, constants: Mapping[str, float]) -> Model:
        """Return the model with other values of some constants, itself where none is another."""
        profile = changed(self.profile, constants)
        if profile == self.profile:
            return self
        advance, score, due = (_bound(function, profile) for function in (self.advance, self.score, self.due))
        return replace(self, name=self.name + CHANGED, profile=profile, advance=advance, score=score, due=due)


def _bound(function: Callable[..., Any], profile: Any) -> Callable[..., Any]:
    """Return a function of a class under a profile; the score of a fitted model has none."""
    return partial(function, profile=profile) if "profile" in inspect.signature(function).parameters else function


def _model(module: Any, **texts: tuple[str, ...]) -> Model:
    functions = module.advance, module.score, module.due
    return Model(module.MODEL, module.STATE, *functions, texts, module.PROFILE)


MODELS: Mapping[str, Model] = {
    "video": _model(video, state=video.STATES),
    "live-video": _model(video, state=video.STATES),
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

PROFILES: Mapping[str, Any] = {**{name: model.profile for name, model in MODELS.items()}, "n3": n3.PROFILE}
"""The published constants: of each class that has a model, and of what tells N3 from a radio."""


def adjusted(profiles: Iterable[QoeProfile]) -> Mapping[str, Model]:
    """Return the models under the constants that were changed."""
    of_classes = (p for p in profiles if p.app_class in MODELS)
    return {**MODELS, **{p.app_class: MODELS[p.app_class].under(dict(p.constants)) for p in of_classes}}


def by_bytes(profile: QoeProfile) -> Model:
    """Return the model of players that fetch parts of files, under the constants that were changed for their class."""
    model = MODELS[profile.app_class]
    advance, score, due = (_bound(function, video.BY_BYTES) for function in (model.advance, model.score, model.due))
    name = f"{model.name} by bytes"
    of_parts = replace(model, name=name, profile=video.BY_BYTES, advance=advance, score=score, due=due)
    return of_parts.under(dict(profile.constants))
