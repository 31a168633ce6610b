"""Our own model of adaptive streaming on what the network can sustain; first form.

The quality model is fitted (docs/qoe.md, "The streaming model"); the step from a throughput to a
picture is a rule: the player takes the largest picture for which the rate gives the bits a pixel
that encoders use. Nothing here is P.1203, whose reference code is not free for commercial use.
"""

from __future__ import annotations

import numpy as np

from nf.qoe.inputs import Array

__all__ = ["LOWEST_BPS", "MARGIN", "STALL_WEIGHT", "picture", "quality"]

# Fitted on the databases TR04 and TR06 of the P.1203 open data set (164 MOS of PC and mobile
# viewers): RMSE 0.44, correlation 0.89; each database by the fit of the other: 0.53 and 0.40.
# The scale's end was set to 5; a frame-rate term could not be fitted (all frame rates 24 or 25).
BEST = 5.0
CODING_DEPTH, CODING_SLOPE = 0.7713, 0.5094  # p1, p2: loss of quality by compression
UPSCALING = 1.1011  # p3: a MOS lost for each factor e in pixels
STALL_WEIGHT = 0.1176  # p7: in the exponent, for each tenth of the time spent stalled
STALLED_ONCE = 0.1097 * np.log(2)  # p8 ln(1 + n) with n = 1
WAIT_WEIGHT = 0.0660  # p9: in the exponent, for each ten seconds before the first picture
MOBILE = 0.2765  # p10: MOS that a viewer on a phone adds

DISPLAY_PIXELS = 1920 * 1080  # of all viewers of the fitted data, phones included
FRAME_RATE = 25.0  # 1/s, of the fitted data
LEAN_BITS_PER_PIXEL = 0.040  # of the leanest tenth of the seconds of the fitted data (H.264)
LOWEST_BPS = 218_000.0  # median session rate at the lowest level (144p), Requet data set, 222 sessions
MARGIN = 1.2  # goodput that a player wants over the rate of its level, or its buffer does not fill (own)
ROUND_TRIPS = 4  # before the first media byte: DNS, TCP, TLS 1.3 (RFC 8446, 2), request


def picture(bitrate_bps: Array) -> Array:
    """Return the quality, 1..5, of the best picture that a video rate can carry, if it never stalls."""
    full = DISPLAY_PIXELS * FRAME_RATE
    bits_per_pixel = np.maximum(bitrate_bps / full, LEAN_BITS_PER_PIXEL)
    upscaled = np.log(np.maximum(LEAN_BITS_PER_PIXEL * full / bitrate_bps, 1.0))
    compressed = CODING_DEPTH * np.exp(-CODING_SLOPE * np.sqrt(10 * bits_per_pixel))
    best: Array = np.clip(BEST - compressed - UPSCALING * upscaled, 1, 5)
    return best


def quality(goodput_bps: Array, round_trip_ms: Array) -> Array:
    """Return the MOS, 1..5, of a player that can fetch *goodput_bps*; NaN where that is NaN.

    Below the lowest level the player stalls for the share of time that the rate falls short.
    """
    goodput_bps = np.maximum(goodput_bps, 1.0)
    stalled = np.clip(1 - goodput_bps / LOWEST_BPS, 0, 1)
    waited_s = ROUND_TRIPS * round_trip_ms / 1000
    exponent = 10 * STALL_WEIGHT * stalled + STALLED_ONCE * (stalled > 0) + WAIT_WEIGHT * waited_s / 10
    best = picture(np.maximum(goodput_bps / MARGIN, LOWEST_BPS))
    mos: Array = np.clip(best * np.exp(-exponent) + MOBILE, 1, 5)
    return mos
