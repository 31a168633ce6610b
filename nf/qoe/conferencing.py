"""Video calls: the sound by the E-model, the picture by its bit rate and frame rate, and the freezes.

A model of ours, "snf-call". The picture has the form of ITU-T G.1070: `V = 1 + C(b) F(f)` with the bit rate
`C = v3 (1 - 1 / (1 + (b / v4)^v5))`, whose coefficients are those that G.1070 has for H.264 in VGA, and a frame rate
`F = exp(-ln(f0 / f)^2 / (2 w^2))` below f0 = 30 frames a second; G.1070 lets the best frame rate grow with the bit
rate, which would praise a lower one. Sound and picture multiply, as audio-visual quality does in tests (Hands, IEEE
Transactions on Multimedia 6(6), 2004): `MOS = 1 + (V - 1) (S - 1) / 3.5`. A freeze costs what a stall does in the
streaming model. Without a picture the sound is all. A delay that is not known is left out, and the confidence halved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe import calls, frames, freeze
from nf.qoe.calls import Estimates
from nf.qoe.inputs import DOWNLINK, UPLINK, Array, known_or
from nf.qoe.realtime import Seen
from nf.qoe.reasons import REASONS
from nf.qoe.states import copied, either, larger

__all__ = ["MODEL", "PROFILE", "STATE", "CallProfile", "advance", "due", "picture", "score"]

MODEL = "snf-call v1"

BEST_SOUND = 3.5  # MOS - 1 of G.107 at its best


@dataclass(frozen=True, slots=True)
class CallProfile(calls.TalkProfile):
    """Constants of video calls."""

    coding: float = 3.459  # v3, v4 in kbit/s, v5: G.1070 for H.264, VGA, 9.2 inches
    coding_kbps: float = 178.53
    coding_power: float = 1.02
    full_fps: float = 30.0  # what cameras of phones and laptops give (own)
    frame_width: float = 1.15  # w: G.1070's v6, of the same row, which is its width where bits are few
    most_fps: float = 65.0  # of a call; more are no frames
    camera_off_s: float = 5.0  # without a frame, while other packets come: the camera was turned off (own)
    rate_s: float = 3.0  # time constant of the bit rate: it holds a key frame (own)
    no_delay: float = 0.5  # confidence when a half of the delay is not known (own)


# A microphone that is turned off leaves RTCP once in a second or so (RFC 3550, 6.2); the downlink has frames as well.
PROFILE = CallProfile(silence=freeze.Limits(least_s=(2.0, 0.45)))

STATE = np.dtype(
    [("talk", calls.TALK), ("choice", frames.CHOICE), ("frame_s", "f8"), ("fps", "f4"), ("bps", "f4"), ("told_s", "f4")]
)
"""*frame_s* is when the last frame came, 0 for none yet; *told_s* what of an open freeze of the picture was told."""

_NO_MEDIA = REASONS.index("no media")


def advance(state: NDArray[np.void], seen: Seen, profile: CallProfile = PROFILE) -> tuple[NDArray[np.void], Estimates]:
    """Return the state, (n,) of STATE, and what happened in an interval."""
    after = copied(state)
    after["talk"], t = calls.talk(state["talk"], seen, profile)
    after["choice"] = frames.choose(state["choice"], seen, profile.most_fps)
    hung_up = freeze.ended(after["talk"]["silence"], seen.now_s, profile.silence)
    shown = frames.frames(after["choice"], seen, state["frame_s"] == 0, hung_up)
    came = shown.count > 0
    fps = np.where(np.isnan(shown.fps) & (state["fps"] > 0), state["fps"], shown.fps)
    after["frame_s"] = np.where(came, seen.now_s, state["frame_s"])
    alone = seen.now_s - after["frame_s"] > profile.camera_off_s
    off = alone & ~(t.silence.open[:, DOWNLINK] & (state["fps"] > 0))
    after["fps"] = np.where(came, known_or(fps, 0), np.where(off, 0.0, state["fps"]))
    video = (after["frame_s"] > 0) & ~off
    weight = np.where(state["bps"] > 0, 1 - np.exp(-seen.interval_s / profile.rate_s), 1.0)
    bps = state["bps"] + weight * (shown.bps - state["bps"])
    after["bps"] = np.where(came, bps, np.where(off, 0.0, state["bps"]))
    frozen, begun, after["told_s"] = _frozen(state, seen, video & ~came & ~hung_up & (state["fps"] > 0), t.silence)
    unmeasured = np.where(either(after["talk"]["silence"]["last_s"] > 0), 0, _NO_MEDIA).astype(np.uint8)
    half_seen = np.where(np.isnan(t.round_trip_ms), profile.no_delay, 1.0) * np.where(np.isnan(t.loss), 0.7, 1.0)
    return after, Estimates(
        fps=np.where(video, fps, np.nan),
        freezes=begun.astype(np.float64),
        frozen_s=frozen,
        video_bps=np.where(video, after["bps"], np.nan),
        frame_jitter_ms=np.where(video, shown.jitter_ms, np.nan),
        codec=t.codec,
        loss_burst=t.loss_burst,
        beyond_loss=t.beyond_loss,
        beyond_core=t.beyond_core,
        confidence=np.where(unmeasured > 0, 0.0, t.confidence * half_seen),
        unmeasured=unmeasured,
        interval_s=np.full(len(seen), seen.interval_s),
        round_trip_ms=t.round_trip_ms,
        least_trip_ms=t.least_trip_ms,
        loss=t.loss,
        jitter_ms=t.jitter_ms,
    )


def _frozen(
    state: NDArray[np.void], seen: Seen, standing: NDArray[np.bool_], silence: freeze.Silence
) -> tuple[Array, NDArray[np.bool_], Array]:
    """Return the frozen time of the interval in s, whether a freeze began, and what is told of one that is open.

    A freeze of the picture is counted by the kernel when the next frame comes, with the part that was told already.
    """
    open_s = np.where(standing, seen.interval_s, silence.now_s[:, DOWNLINK])
    counted_s = seen.frozen_ms / 1000.0
    ended_s = np.clip(counted_s - state["told_s"], 0, seen.interval_s)
    picture_s = np.minimum(ended_s + open_s, seen.interval_s)
    goes_on = standing | (silence.open[:, DOWNLINK] & (seen.packets[:, DOWNLINK] == 0))
    told_s = np.where(goes_on, state["told_s"], np.maximum(state["told_s"] - counted_s, 0) * (counted_s > 0)) + open_s
    frozen = np.maximum(picture_s, larger(silence.now_s))
    begun = (frozen > 0) & (state["told_s"] == 0)
    return frozen, begun, told_s


def picture(fps: Array, video_bps: Array, profile: CallProfile = PROFILE) -> Array:
    """Return the quality of the picture, 1..4.5, of a frame rate and a bit rate."""
    kbps = np.maximum(video_bps, 0.0) / 1000
    coding = profile.coding * (1 - 1 / (1 + (kbps / profile.coding_kbps) ** profile.coding_power))
    slower = np.log(profile.full_fps / np.clip(fps, 1e-3, profile.full_fps))
    return 1 + coding * np.exp(-(slower**2) / (2 * profile.frame_width**2))


def score(r: Estimates, profile: CallProfile = PROFILE) -> Array:
    """Return the MOS, 1..4.5; NaN where no media flows.

    Video sends a frame as a burst, so its jitter lengthens the buffer here, but no packet counts as late.
    """
    sound = calls.listen(r, trip_ms=r.least_trip_ms, late=False, profile=profile)
    seen = picture(known_or(r.fps, 0), known_or(r.video_bps, 0), profile)
    mos = np.where(np.isnan(r.fps), sound, 1 + (seen - 1) * (sound - 1) / BEST_SOUND)
    mos = np.clip(mos * freeze.factor(r.frozen_s / r.interval_s), 1.0, 5.0)
    return np.where(r.unmeasured > 0, np.nan, mos)


def due(state: NDArray[np.void], now_s: float, profile: CallProfile = PROFILE) -> NDArray[np.bool_]:
    """Return the mask, (n,), of calls that stand still, so that they need a row without packets."""
    still = freeze.standing(state["talk"]["silence"], now_s, profile.silence)
    return still[:, UPLINK] | still[:, DOWNLINK]
