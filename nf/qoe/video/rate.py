"""The streaming score, of the moment and of the session, on estimates alone: `snf-stream v1`, our own model.

    q = 5 - a exp(-b sqrt(10 bits per pixel)) - c ln(display / coded)      quality of the picture
    base = mean of q, later seconds counting more, mixed with its lowest tenth, less d ln(1 + switches)
    MOS = 1 + (base - 1) exp(-(stalls + wait)), then raised a little for viewers on phones

Fitted on the tests TR04 and TR06 of the open P.1203 data (164 MOS). No command repeats the fit yet: the stalls of
twelve conditions were read from the public data set, and are not among the data at hand. Frame rate is no input (all of
the data has 24 or 25). It is not P.1203, of which no code was read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array
from nf.qoe.video.columns import Estimates

__all__ = ["MODEL", "of_session", "picture", "remember", "score"]

MODEL = "snf-stream v1"

# Least squares with weak pulls to round numbers, for the 44 MOS of TR06 alone hold too few conditions.
CODING, CODING_SLOPE, UPSCALING = 0.377, 0.5, 1.120
LATE = 0.544  # a second at the end counts 1, at the begin 1 - 0.544
LOWEST = 0.100  # share of the lowest tenth
SWITCHING = 0.093
STALL, STALL_ROOT, FORGOTTEN = 0.080, 0.115, 0.602 / 60  # a stall, root of its seconds; it fades by the second played
WAITING = 0.0103  # a second before the first picture
PHONE = 0.323
DISPLAY_PIXELS, FRAME_RATE = 1920 * 1080, 25.0  # of all viewers of the fitted data
_WIDTH = 16 / 9
_LEAN_BITS = 0.04  # a pixel, of the leanest tenth of the fitted seconds: where the media rate is not known
_BINS = 16
_State = NDArray[Any]


def picture(height: Array, media_bps: Array) -> Array:
    """Return the quality, 1..5, of a picture that plays; NaN where its height is not known."""
    pixels = np.minimum(_WIDTH * height**2, DISPLAY_PIXELS)
    bits = np.where(np.isnan(media_bps), _LEAN_BITS, media_bps / (pixels * FRAME_RATE))
    coded = CODING * np.exp(-CODING_SLOPE * np.sqrt(10 * np.maximum(bits, 0)))
    quality: Array = np.clip(5 - coded - UPSCALING * np.log(DISPLAY_PIXELS / pixels), 1, 5)
    return quality


def _on_phone(mos: Array) -> Array:
    """Return what a viewer on a phone says of *mos*: the ends of the scale stay."""
    raised: Array = mos + PHONE * (5 - mos) * (mos - 1) / 4
    return raised


def score(estimates: Estimates) -> Array:
    """Return the MOS of the moment, 1..5: the picture, and 1 while it stands still; NaN where nothing is known."""
    stands = np.clip(np.nan_to_num(estimates.stalled_s), 0, 1)
    return _on_phone(1 + (picture(estimates.video_height, estimates.media_bps) - 1) * (1 - stands))


def remember(state: _State, quality: Array, stalled_s: Array) -> None:
    """Add what was played and stalled since the last call to the sums of the session, in place."""
    played = np.maximum(state["played_s"] - state["mos_seconds"], 0)
    known = ~np.isnan(quality)
    q = np.where(known, quality, 0)
    middle = state["mos_seconds"] + played / 2
    state["mos_weight"] += np.where(known, played, 0)
    state["mos_weight_late"] += np.where(known, played * middle, 0)
    state["mos_sum"] += q * played
    state["mos_late"] += q * played * middle
    at = np.clip((q - 1) / 4 * _BINS, 0, _BINS - 1).astype(np.intp)
    state["mos_bins"][np.arange(len(state)), at] += np.where(known, played, 0)
    state["mos_seconds"] = state["played_s"]
    ended = (stalled_s <= 0) & (state["stall_s"] > 0)
    state["stall_past"] += np.where(ended, np.sqrt(state["stall_s"]), 0)
    state["stall_past"] *= np.exp(-FORGOTTEN * played)
    state["stall_s"] = np.where(ended, 0, state["stall_s"] + stalled_s)


def of_session(state: _State, startup_s: Array) -> Array:
    """Return the MOS over the whole length so far, 1..5; NaN before anything was played."""
    length = np.maximum(state["mos_seconds"], 1e-3)
    weight = (1 - LATE) * state["mos_weight"] + LATE * state["mos_weight_late"] / length
    total = (1 - LATE) * state["mos_sum"] + LATE * state["mos_late"] / length
    mean = total / np.where(weight > 0, weight, np.nan)
    bins = state["mos_bins"].cumsum(axis=1)
    tenth = (bins < 0.1 * bins[:, -1:]).sum(axis=1)
    lowest = np.minimum(1 + 4 * (tenth + 0.5) / _BINS, mean)
    base = (1 - LOWEST) * mean + LOWEST * lowest - SWITCHING * np.log1p(state["switches"])
    stalls = STALL * state["stalls"] + STALL_ROOT * (state["stall_past"] + np.sqrt(state["stall_s"]))
    mos = 1 + (np.maximum(base, 1) - 1) * np.exp(-(stalls + WAITING * np.nan_to_num(startup_s)))
    return np.clip(_on_phone(mos), 1, 5)
