"""Content that answers hold, as what is remembered of a session tells it.

A player asks for segments of one length, for sound and picture apart or together. Where its requests stand for equal
content they are counted, else the bytes of their answers. *told_s* is the length (n,) of segments that other
sessions of the service had; NaN where none told.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array
from nf.qoe.video.profile import DEFAULT, Profile

__all__ = [
    "DIFFERS",
    "RECENT",
    "SOUND_SURE",
    "counts",
    "each_s",
    "is_regular",
    "learned_s",
    "media_bps",
    "paced_bps",
    "parts",
    "segment_s",
    "usual_octets",
    "weight",
]

_State = NDArray[Any]
RECENT = 0.75  # of the sums over the last answers, by each further one
SOUND_SURE = 3  # answers of one size before they are sound
DIFFERS = 0.25  # rests that say so much else say something else
_BESIDE = 0.2  # share of requests that are sent beside another answer, where picture and sound come apart
_USUAL_S = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0])  # lengths of segments that packagers are told to make
_ALIKE = 0.12  # of such a length: what was learned is that one
_SURE = 5.0  # rests of this session before they count more than the sessions before it
_ODD = 1.5  # rests that differ, at least, before content is irregular
_AGREED = 4.0  # rests, of which few differ, before a session tells others


def parts(state: _State) -> Array:
    """Return how many requests a segment has: two where sound and picture are asked for side by side, else one."""
    two = (state["beside"] >= 2) & (state["beside"] >= _BESIDE * state["asked"])
    return np.where(two | (state["sound_n"] >= SOUND_SURE), 2.0, 1.0)


def _snapped(state: _State) -> Array:
    """Return the length of a segment as rests have told it, as a usual one where it is near to that."""
    segment: Array = state["rest_s"] / np.maximum(state["rest_answers"], 1) * parts(state)
    at = np.abs(np.log(_USUAL_S[None, :] / np.maximum(segment, 0.1)[:, None])).argmin(axis=1)
    near = np.abs(segment - _USUAL_S[at]) <= _ALIKE * _USUAL_S[at]
    usual: Array = np.where(near, _USUAL_S[at], segment)
    return usual


def segment_s(state: _State, told_s: Array, profile: Profile) -> Array:
    """Return the content of a segment in s: as rests have told it, else as the service has it, else by its sound."""
    if profile.segment_known:
        return np.full(len(state), profile.segment_s)
    by_sound = np.clip(8 * state["sound_octets"] / profile.sound_bps, _USUAL_S[0], _USUAL_S[-1])
    guess = np.where(state["sound_n"] >= SOUND_SURE, by_sound, profile.segment_s)
    told = np.where(np.isnan(told_s), guess, told_s)
    own = _snapped(state)
    differs = (np.abs(own - told) > DIFFERS * told) & (state["rest_n"] > _SURE)
    return np.where((state["rest_n"] > 0) & (np.isnan(told_s) | differs), own, told)


def each_s(state: _State, told_s: Array, profile: Profile) -> Array:
    """Return the content of one request in s."""
    return segment_s(state, told_s, profile) / (1.0 if profile.segment_known else parts(state))


def learned_s(state: _State, profile: Profile = DEFAULT) -> Array:
    """Return the length of segments that this session can tell others; NaN where it is not sure of it."""
    sure = (state["rest_n"] >= _AGREED) & counts(state, profile)
    return np.where(sure, _snapped(state), np.nan)


def is_regular(state: _State, profile: Profile) -> NDArray[np.bool_]:
    """Say where requests stand for about the same content, so that they are counted instead of bytes."""
    odd = (state["odd"] >= _ODD) & (state["odd"] > profile.irregular * (state["odd"] + state["even"]))
    regular: NDArray[np.bool_] = profile.segment_known | (~odd & (profile.counted | (state["rest_n"] < 2)))
    return regular


def counts(state: _State, profile: Profile) -> NDArray[np.bool_]:
    """Say where an answer is a whole segment or nothing."""
    counted: NDArray[np.bool_] = is_regular(state, profile) & profile.counted
    return counted


def paced_bps(state: _State) -> Array:
    """Return the rate at which a player that rests fetches; NaN before it did, and where nothing came."""
    came = (state["paced_s"] > 0) & (state["paced_octets"] > 0)
    return 8 * state["paced_octets"] / np.where(came, state["paced_s"], np.nan)


def media_bps(state: _State) -> Array:
    """Return the rate of the last answers, sound included; NaN before the first."""
    return 8 * state["rate_octets"] / np.where(state["rate_s"] > 0, state["rate_s"], np.nan)


def weight(answers: Array) -> Array:
    """Return how many answers a fading sum over so many stands for."""
    of_all: Array = (1 - RECENT ** np.maximum(answers, 1.0)) / (1 - RECENT)
    return of_all


def usual_octets(state: _State) -> Array:
    """Return the size of a usual answer."""
    return state["recent_octets"] / weight(state["answers"].astype(np.float64))
