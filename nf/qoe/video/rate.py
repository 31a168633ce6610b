"""The streaming score, of the moment and of the session, on estimates alone: `snf-stream v2`, our own model.

    q = 5 - a exp(-b sqrt(10 bits per pixel)) - c ln(display / coded)      quality of the picture
    felt = q where it falls, and follows q slowly where it rises
    MOS = 1 + (mean of felt, the last seconds counting more - 1) exp(-(stalls + wait))

A change of level needs no term of its own: a picture that goes up and down is felt near its lower end (hysteresis,
Seshadrinathan and Bovik, ICASSP 2011). A stall costs a step and the root of its length, and fades while the video
plays. The coefficients are those of `nf.qoe.video.viewers`. Frame rate is no input (all of the fitted data has 24 to
30). It is not P.1203, of which no code was read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array
from nf.qoe.video.columns import Estimates
from nf.qoe.video.viewers import VIEWERS, Viewers

__all__ = ["MODEL", "of_session", "picture", "remember", "score"]

MODEL = "snf-stream v2"

RECENT_S = 20.0  # own: a last impression; 10 and 40 s fit as well
DISPLAY_PIXELS, FRAME_RATE = 1920 * 1080, 25.0  # of all viewers of the fitted data
_WIDTH = 16 / 9
_LEAN_BITS = 0.04  # a pixel, of the leanest tenth of the fitted seconds: where the media rate is not known
_State = NDArray[Any]


def picture(height: Array, media_bps: Array, viewers: Viewers = VIEWERS) -> Array:
    """Return the quality, 1..5, of a picture that plays; NaN where its height is not known."""
    pixels = np.clip(_WIDTH * height**2, 1.0, DISPLAY_PIXELS)
    bits = np.where(np.isnan(media_bps), _LEAN_BITS, media_bps / (pixels * FRAME_RATE))
    coded = viewers.coding * np.exp(-viewers.coding_slope * np.sqrt(10 * np.maximum(bits, 0)))
    quality: Array = np.clip(5 - coded - viewers.upscaling * np.log(DISPLAY_PIXELS / pixels), 1, 5)
    small = viewers.phones * viewers.phone * (5 - quality) * (quality - 1) / 4  # the ends of the scale stay
    return quality + small


def score(estimates: Estimates) -> Array:
    """Return the MOS of the moment, 1..5: the picture, and 1 while it stands still; NaN where nothing is known."""
    stands = np.clip(np.nan_to_num(estimates.stalled_s), 0, 1)
    moment: Array = 1 + (picture(estimates.video_height, estimates.media_bps) - 1) * (1 - stands)
    return moment


def remember(state: _State, quality: Array, stalled_s: Array, viewers: Viewers = VIEWERS) -> None:
    """Add what was played and stalled since the last call to the sums of the session, in place."""
    played = np.maximum(state["played_s"] - state["mos_seconds"], 0)
    known = ~np.isnan(quality)
    q, seconds = np.where(known, quality, 0), np.where(known, played, 0)
    before = state["mos_felt"]
    rises = q > before
    felt = np.where(rises & (before > 0), q + (before - q) * np.exp(-seconds / viewers.recovery_s), q)
    state["mos_felt"] = np.where(seconds > 0, felt, before)
    fade = np.exp(-played / RECENT_S)
    lately = np.where(known, RECENT_S * (1 - fade), 0)
    state["mos_weight"] += seconds
    state["mos_sum"] += felt * seconds
    state["mos_weight_late"] = state["mos_weight_late"] * fade + lately
    state["mos_late"] = state["mos_late"] * fade + felt * lately
    state["mos_seconds"] = state["played_s"]
    ended = (stalled_s <= 0) & (state["stall_s"] > 0)
    state["stall_past"] += np.where(ended, _stall(state["stall_s"], viewers), 0)
    state["stall_past"] *= np.exp(-viewers.forgotten * played / 60)
    state["stall_s"] = np.where(ended, 0, state["stall_s"] + stalled_s)


def _stall(seconds: Array, viewers: Viewers) -> Array:
    """Return what one stall costs in the exponent, as long as it lasts."""
    cost: Array = np.where(seconds > 0, viewers.stall + viewers.stall_root * np.sqrt(seconds), 0)
    return cost


def of_session(state: _State, startup_s: Array, viewers: Viewers = VIEWERS) -> Array:
    """Return the MOS over the whole length so far, 1..5; NaN before anything was played."""
    weight = state["mos_weight"] + viewers.recent * state["mos_weight_late"]
    total = state["mos_sum"] + viewers.recent * state["mos_late"]
    mean = total / np.where(weight > 0, weight, np.nan)
    lost = state["stall_past"] + _stall(state["stall_s"], viewers) + viewers.waiting * np.nan_to_num(startup_s)
    mos: Array = np.clip(1 + (mean - 1) * np.exp(-lost), 1, 5)
    return mos
