"""Cloud games: recognised by their behaviour, and rated by G.1072 with the coding of the picture.

A game that sends 3 Mbit/s and more of frames, 24 to 130 a second, sends a picture. Its frames are counted on arrival
(`nf.qoe.frames`). The height is a guess of the bits in a frame, between the rates that providers ask for: 5 Mbit/s for
480 lines, 10 to 15 for 720, 20 to 25 for 1080, at 60 frames a second. The coding impairment takes the bits for a full
picture, as a guess of fewer lines would praise a lower rate; and for the highest frame rate that the session had.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe import frames, g1072
from nf.qoe.inputs import DOWNLINK, Array, known_or
from nf.qoe.realtime import Seen
from nf.qoe.states import copied

__all__ = ["CLOUD", "PROFILE", "CloudProfile", "follow", "height", "rating"]

CLOUD = np.dtype([("choice", frames.CHOICE), ("like_s", "f4"), ("is", "?"), ("bps", "f4"), ("most_fps", "f4")])
"""Rule of the frames; seconds with the behaviour of one; bit rate and the highest frame rate, both fading."""


@dataclass(frozen=True, slots=True)
class CloudProfile:
    """Constants of cloud games that an operator may change."""

    least_bps: float = 3e6  # GeForce NOW in the wild (arXiv 2401.06366): sessions are above it
    least_fps: float = 24.0
    most_fps: float = 130.0
    like_s: float = 3.0  # with the behaviour of one, until it is one (own)
    bits_480: float = 60e3  # of a frame, at least, for 480 lines: below are 360 (own, geometric means of the rates)
    bits_720: float = 118e3
    bits_1080: float = 269e3
    pixels: float = 1920.0 * 1080.0  # of the picture that coding is judged for
    # Loss harms frames as at 60 a second and 15 Mbit/s: G.1072 has more harm with more of both, which praises less.
    harm_fps: float = 60.0
    harm_mbps: float = 15.0
    longest_ms: float = 400.0  # range of G.1072


PROFILE = CloudProfile()
_RATE_S = 3.0  # time constant of the bit rate (own)


def follow(
    before: NDArray[np.void], seen: Seen, over: NDArray[np.bool_], profile: CloudProfile = PROFILE
) -> tuple[NDArray[np.void], Array, Array]:
    """Return the state, (n,) of CLOUD, the frame rate and the bit rate; NaN for games that send no picture.

    Of the last interval, in which a game is *over*, only a part has frames.
    """
    after = copied(before)
    after["choice"] = frames.choose(before["choice"], seen, profile.most_fps)
    fps = frames.frames(after["choice"], seen, before["bps"] == 0, over).fps
    now_bps = 8 * seen.octets[:, DOWNLINK] / seen.interval_s
    weight = np.where(before["bps"] > 0, 1 - np.exp(-seen.interval_s / _RATE_S), 1.0)
    after["bps"] = before["bps"] + weight * (now_bps - before["bps"])
    like = (now_bps >= profile.least_bps) & (fps >= profile.least_fps) & (fps <= profile.most_fps)
    after["like_s"] = np.where(like, before["like_s"] + seen.interval_s, 0.0)
    after["is"] = before["is"] | (after["like_s"] >= profile.like_s)
    after["most_fps"] = np.maximum(before["most_fps"], np.where(like, fps, 0.0))
    known = after["is"]
    return after, np.where(known, known_or(fps, 0), np.nan), np.where(known, after["bps"].astype(np.float64), np.nan)


def height(fps: Array, bps: Array, profile: CloudProfile = PROFILE) -> Array:
    """Return the guessed lines of a picture: 360, 480, 720 or 1080; NaN where the rates are."""
    bits = bps / np.maximum(fps, profile.least_fps)
    lines = np.select(
        [bits >= profile.bits_1080, bits >= profile.bits_720, bits >= profile.bits_480], [1080.0, 720.0, 480.0], 360.0
    )
    return np.where(np.isnan(bits), np.nan, lines)


def rating(
    lag_ms: Array, loss: Array, fps: Array, most_fps: Array, bps: Array, profile: CloudProfile = PROFILE
) -> Array:
    """Return R of G.1072, 0..100, for a fast game and a complex picture."""
    like = np.full_like(lag_ms, profile.harm_fps)
    lag = np.minimum(lag_ms, profile.longest_ms)
    shown = g1072.frames_shown(like, np.full_like(lag_ms, profile.harm_mbps), lag, loss)
    mbps = np.clip(bps / 1e6, 0.3, 50.0)
    nominal = np.clip(most_fps, profile.least_fps, g1072.MOST_FPS)
    impairment = g1072.coding(mbps, nominal, np.full_like(lag_ms, profile.pixels), g1072.HIGH)
    frame_rate = np.clip(fps, 0.0, g1072.MOST_FPS)
    return g1072.rating(lag, 100 * (1 - shown / like), frame_rate, impairment)
