"""Voice calls: the E-model on the loss, bursts, jitter, delay and codec of the worse direction.

`MOS = E-model(d, p, BurstR)`, `d = RTT / 2 + min(2 J, 120 ms) + 20 ms + look-ahead`, `p = loss + late`, on the scale of
the codec's band. A score needs the whole round trip and a loss; without them it is "not measurable". A direction that
stands still inside a call is a freeze while it lasts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe import calls, freeze
from nf.qoe.calls import Estimates
from nf.qoe.inputs import DOWNLINK, UPLINK, Array
from nf.qoe.realtime import Seen
from nf.qoe.reasons import REASONS
from nf.qoe.states import either, larger

__all__ = ["MODEL", "PROFILE", "STATE", "VoiceProfile", "advance", "due", "score"]

MODEL = "G.107 v2"

# Comfort noise comes each 160 ms (AMR, TS 26.093, 5.1) to 400 ms (Opus); three missing ones are no silence of a talker.
SILENT_S = 1.2


@dataclass(frozen=True, slots=True)
class VoiceProfile(calls.TalkProfile):
    """Constants of voice calls."""


PROFILE = VoiceProfile(silence=freeze.Limits(least_s=(SILENT_S, SILENT_S)))
STATE = calls.TALK

_NO_MEDIA, _NO_DELAY, _NO_LOSS = (REASONS.index(text) for text in ("no media", "delay not known", "loss not known"))


def advance(state: NDArray[np.void], seen: Seen, profile: VoiceProfile = PROFILE) -> tuple[NDArray[np.void], Estimates]:
    """Return the state, (n,) of STATE, and what happened in an interval."""
    after, t = calls.talk(state, seen, profile)
    told = t.silence
    # A pause that ended in this interval stood until the stream came back: distances far above the median tell of it.
    rest = np.where(told.told_s > 0, np.clip(seen.spike_ms / 1000 - told.told_s, 0, seen.interval_s), 0)
    frozen = np.minimum(told.now_s + rest, seen.interval_s)
    media = either(after["silence"]["last_s"] > 0)
    unmeasured = np.select(
        [~media, np.isnan(t.round_trip_ms), np.isnan(t.loss)], [_NO_MEDIA, _NO_DELAY, _NO_LOSS], 0
    ).astype(np.uint8)
    nowhere = np.full(len(seen), np.nan)
    return after, Estimates(
        fps=nowhere,
        freezes=(told.begun[:, UPLINK] | told.begun[:, DOWNLINK]).astype(np.float64),
        frozen_s=larger(frozen),
        video_bps=nowhere,
        frame_jitter_ms=nowhere,
        codec=t.codec,
        loss_burst=t.loss_burst,
        beyond_loss=t.beyond_loss,
        beyond_core=t.beyond_core,
        confidence=np.where(unmeasured > 0, 0.0, t.confidence),
        unmeasured=unmeasured,
        interval_s=np.full(len(seen), seen.interval_s),
        round_trip_ms=t.round_trip_ms,
        least_trip_ms=t.least_trip_ms,
        loss=t.loss,
        jitter_ms=t.jitter_ms,
    )


def score(r: Estimates, profile: VoiceProfile = PROFILE) -> Array:
    """Return the MOS, 1..4.5, of the worse direction; NaN where it is not measurable."""
    mos = calls.listen(r, trip_ms=r.round_trip_ms, late=True, profile=profile)
    mos = np.clip(mos * freeze.factor(r.frozen_s / r.interval_s), 1.0, 5.0)
    return np.where((r.unmeasured > 0) | np.isnan(r.loss), np.nan, mos)


def due(state: NDArray[np.void], now_s: float, profile: VoiceProfile = PROFILE) -> NDArray[np.bool_]:
    """Return the mask, (n,), of calls of which a direction stands still, so that they need a row without packets."""
    still = freeze.standing(state["silence"], now_s, profile.silence)
    return still[:, UPLINK] | still[:, DOWNLINK]
