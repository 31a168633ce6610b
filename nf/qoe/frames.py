"""Video frames of a downlink: the rule that fits the sender, and the rate, rate in bits and jitter that it tells.

RTP time stamps are right where they can be read. Of the two rules on packet lengths each fits one kind of sender: equal
packets (libwebrtc; Sharma et al., IMC 2023) or filled packets and a shorter last one (aiortc, GStreamer, most cloud
games). Frames come at regular distances, so that in the first seconds the rule with the more regular frames is taken,
and remembered. A camera has one rate: where frames by lengths come at irregular distances, they are no more than came
when they were regular, and those that were late; what is more are copies, error correction and probes of the link
(own).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import DOWNLINK, Array
from nf.qoe.realtime import RTP, Seen
from nf.qoe.states import copied, larger

__all__ = ["CHOICE", "Frames", "choose", "frames"]

CHOICE = np.dtype(
    [
        ("rule", "u1"),
        ("judged_s", "f4"),
        ("sums", "f8", (2, 3)),
        ("camera_fps", "f4"),
        ("wild_s", "f4"),
        ("owed", "f4"),
        ("late", "f4"),
    ]
)
"""Rule + 1 (0: none yet); seconds with frames that were judged; frames, distances and their squares of both rules;
frames a second while they were regular (0: never yet), for how long they were not, frames that a
camera owes, as fewer came than it made, and those that it owed before."""

JUDGED_S = 5.0  # of frames that decide (own)
LEAST_FPS, MOST_FPS = 5.0, 130.0  # calls send 5 to 65 frames a second, games up to 120
TICK_S = 64e-6  # unit of the distances
REGULAR = 0.25  # coefficient of variation of the distances of frames of a camera, at most (own)
REGULAR_LEAST = 5  # frames of an interval that tell it (own)
CAMERA_FALLS = 0.2  # of the way to a lower rate that is seen; a higher one holds at once (own)
OWED_S = 1.0  # of its frames that may be late (own)
CAMERA_S = 30.0  # without a regular interval, until its rate is not known (own)
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
    _follow_camera(after, seen, after["judged_s"] >= JUDGED_S)
    return after


def _follow_camera(state: NDArray[np.void], seen: Seen, judged: NDArray[np.bool_]) -> None:
    """Learn the rate of cameras from an interval, where the rule has been *judged*."""
    rule = np.maximum(state["rule"], 1) - 1
    count = _counts(seen)[np.arange(len(seen)), rule]
    regular = judged & (count >= REGULAR_LEAST) & (_variation(seen, rule) <= REGULAR)
    fps, known = count / seen.interval_s, state["camera_fps"]
    state["wild_s"] = np.where(regular, 0.0, state["wild_s"] + seen.interval_s)
    known = np.where(
        regular,
        np.maximum(fps, known + CAMERA_FALLS * (fps - known)),
        np.where(state["wild_s"] > CAMERA_S, 0, known),
    )
    state["late"] = state["owed"]
    owed = known * seen.interval_s - count + state["owed"]
    state["camera_fps"], state["owed"] = known, np.clip(owed, 0, OWED_S * known)


def _counts(seen: Seen) -> NDArray[np.float64]:
    return np.stack([seen.frames_equal, seen.frames_filled, seen.frames_rtp], axis=1).astype(np.float64)


def _variation(seen: Seen, rule: NDArray[np.integer]) -> Array:
    """Return the coefficient of variation of the distances of frames by the *rule* of each row."""
    of_rule = np.arange(len(seen)), rule
    number = np.maximum(_counts(seen)[of_rule], 1.0)
    mean = seen.frame_gap_ticks[of_rule] / number
    variance = np.maximum(seen.frame_gap_ticks2[of_rule] / number - mean**2, 0.0)
    out: Array = np.sqrt(variance) / np.maximum(mean, 1e-6)
    return out


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
    count = _counts(seen)[of_rule]
    count = np.where(choice["rule"] > 0, count, 0.0)
    number = np.maximum(count, 1.0)
    mean = seen.frame_gap_ticks[of_rule] / number
    distances = np.maximum(number - first, 1.0)
    part_s = TICK_S * seen.frame_gap_ticks[of_rule] * number / distances
    edge = (first | last) & (part_s > 0)
    length_s = np.where(edge, np.minimum(part_s, seen.interval_s), seen.interval_s)
    variation = _variation(seen, rule)
    capped = (rule < RTP) & (choice["camera_fps"] > 0) & (variation > REGULAR)
    most = choice["camera_fps"] + choice["late"] / seen.interval_s
    fps = np.where(capped, np.minimum(count / length_s, most), count / length_s)
    return Frames(
        count,
        np.where(first & (count == 1), np.nan, fps),
        np.where(count > 0, 8 * seen.frame_octets[of_rule], 0.0) / length_s,
        np.where(count >= 2, 1000 * TICK_S * variation * mean, np.nan),
        choice["rule"],
    )
