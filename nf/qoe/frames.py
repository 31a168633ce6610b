"""Video frames of a downlink: the rule that fits the sender, and the rate, rate in bits and jitter that it tells.

RTP time stamps are right where they can be read. Of the two rules on packet lengths each fits one kind of sender: equal
packets (libwebrtc; Sharma et al., IMC 2023) or filled packets and a shorter last one (aiortc, GStreamer, most cloud
games). Frames come at regular distances, so that in the first seconds the rule with the more regular frames is taken,
and remembered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import DOWNLINK, Array
from nf.qoe.realtime import RTP, Seen
from nf.qoe.states import copied, larger

__all__ = ["CHOICE", "Frames", "choose", "frames"]

CHOICE = np.dtype([("rule", "u1"), ("judged_s", "f4"), ("sums", "f8", (2, 3))])
"""Rule + 1 (0: none yet); seconds with frames that were judged; frames, distances and their squares of both rules."""

JUDGED_S = 5.0  # of frames that decide (own)
LEAST_FPS, MOST_FPS = 5.0, 130.0  # calls send 5 to 65 frames a second, games up to 120
TICK_S = 64e-6  # unit of the distances
RTP_SHARE = 0.25  # of the downlink's packets that have RTP headers, or they are not what carries the video (own)


@dataclass(frozen=True, slots=True)
class Frames:
    """Frames of an interval by the rule of each row, (n,)."""

    count: Array
    fps: Array  # frames a second; NaN of a single first one
    bps: Array
    jitter_ms: Array  # standard deviation of their distances; NaN under two distances
    rule: NDArray[np.uint8]


def choose(before: NDArray[np.void], seen: Seen, most_fps: float = MOST_FPS) -> NDArray[np.void]:
    """Return the choices, (n,) of CHOICE, after an interval."""
    after = copied(before)
    by_rule = np.stack([seen.frames_equal, seen.frames_filled], axis=1).astype(np.float64)
    counts = np.stack([by_rule, seen.frame_gap_ticks[:, :RTP], seen.frame_gap_ticks2[:, :RTP]], axis=2)
    judging = (larger(by_rule) >= 1) & (before["judged_s"] < JUDGED_S)
    after["judged_s"] += np.where(judging, seen.interval_s, 0.0)
    after["sums"] += np.where(judging[:, None, None], counts, 0.0)
    fits = np.argmin(_irregular(after["sums"], after["judged_s"], most_fps), axis=1) + 1
    video = (seen.frames_rtp > 0) & (seen.rtp_received[:, DOWNLINK] >= RTP_SHARE * seen.packets[:, DOWNLINK])
    some = after["judged_s"] > 0
    after["rule"] = np.where(video | (before["rule"] == RTP + 1), RTP + 1, np.where(some, fits, 0))
    return after


def _irregular(sums: NDArray[np.float64], judged_s: Array, most_fps: float) -> Array:
    """Return the coefficient of variation of the distances of both rules; far more where the rate is not plausible."""
    number = np.maximum(sums[..., 0], 1.0)
    mean = sums[..., 1] / number
    variance = np.maximum(sums[..., 2] / number - mean**2, 0.0)
    fps = sums[..., 0] / np.maximum(judged_s, 1e-6)[:, None]
    plausible = (fps >= LEAST_FPS) & (fps <= most_fps)
    return np.sqrt(variance) / np.maximum(mean, 1e-6) + np.where(plausible, 0.0, 100.0)


def frames(choice: NDArray[np.void], seen: Seen, first: NDArray[np.bool_], last: NDArray[np.bool_]) -> Frames:
    """Return the frames of an interval; none where no rule is known.

    Only a part of the *first* and of the *last* interval of a stream has frames; their rate is that of their distances,
    of which the first frame has none.
    """
    rule = np.maximum(choice["rule"], 1) - 1
    of_rule = np.arange(len(seen)), rule
    count = np.stack([seen.frames_equal, seen.frames_filled, seen.frames_rtp], axis=1)[of_rule].astype(np.float64)
    count = np.where(choice["rule"] > 0, count, 0.0)
    number = np.maximum(count, 1.0)
    mean = seen.frame_gap_ticks[of_rule] / number
    distances = np.maximum(number - first, 1.0)
    part_s = TICK_S * seen.frame_gap_ticks[of_rule] * number / distances
    edge = (first | last) & (part_s > 0)
    length_s = np.where(edge, np.minimum(part_s, seen.interval_s), seen.interval_s)
    deviation = np.sqrt(np.maximum(seen.frame_gap_ticks2[of_rule] / number - mean**2, 0.0))
    return Frames(
        count,
        np.where(first & (count == 1), np.nan, count / length_s),
        np.where(count > 0, 8 * seen.frame_octets[of_rule], 0.0) / length_s,
        np.where(count >= 2, 1000 * TICK_S * deviation, np.nan),
        choice["rule"],
    )
