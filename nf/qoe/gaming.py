"""Games: lag, ticks and spikes of the flow itself, rated by G.1072 for a fast game; and those that send a picture.

Lag is the round trip of both halves: of packets whose first bytes came back, else of TCP on the same QoS flow; without
either half it is "not measurable", and so is the score. Lost ticks are those of the server that did not come, and
spikes the pauses of the downlink over three ticks and 100 ms, as long as they last. A player who does nothing sends
nothing, so that pauses of the uplink are none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe import cloud_gaming, freeze, g1072, losses, ticks
from nf.qoe.inputs import DOWNLINK, Array, known_or
from nf.qoe.realtime import Seen, ages_s, halves_ms, held
from nf.qoe.reasons import REASONS
from nf.qoe.states import copied

__all__ = ["MODEL", "PROFILE", "STATE", "Estimates", "GameProfile", "advance", "due", "score"]

MODEL = "G.1072 v2"

FRAME_RATE = 60.0  # 1/s: what a game shows; G.1072 ends there
LEAST_MBPS, MOST_MBPS = 0.3, 50.0  # range of G.1072
LONGEST_MS = 400.0  # range of G.1072


@dataclass(frozen=True, slots=True)
class GameProfile:
    """Constants of games that an operator may change."""

    silence: freeze.Limits
    cloud: cloud_gaming.CloudProfile
    lag_fresh_s: float = 5.0  # an older lag is half as sure, and so on (own)
    lag_longest_s: float = 8.0  # and this old it is not known (own)
    no_loss: float = 0.6  # confidence without a tick and without sequence numbers (own)


# Pauses under half a second are told when they end.
PROFILE = GameProfile(silence=freeze.Limits(least_s=(0.5, 0.5)), cloud=cloud_gaming.PROFILE)

STATE = np.dtype(
    [
        ("silence", freeze.SILENCE),
        ("ticks", ticks.TICKS),
        ("missed", losses.WINDOW),  # downlink, by sequence numbers
        ("cloud", cloud_gaming.CLOUD),
        ("half_ms", "f4", (2,)),  # CORE, ACCESS
        ("half_s", "f8", (2,)),  # and since when; 0: unknown
    ]
)

_NO_MEDIA, _NO_LAG = REASONS.index("no media"), REASONS.index("lag not known")


@dataclass(frozen=True, slots=True)
class Estimates:
    """Events of n games in an interval, (n,): the published columns, and what scores need beside them."""

    lag_ms: Array
    lag_jitter_ms: Array  # mean above the least of the interval; NaN without echoes
    tick_ms: Array
    tick_loss: Array
    spikes: Array
    spike_ms: Array
    fps: Array  # of cloud games
    video_height: Array  # a guess
    confidence: Array
    unmeasured: NDArray[np.uint8]  # index in reasons.REASONS
    interval_s: Array
    loss: Array  # by sequence numbers; NaN without
    video_bps: Array  # of cloud games
    most_fps: Array  # of the session


def advance(state: NDArray[np.void], seen: Seen, profile: GameProfile = PROFILE) -> tuple[NDArray[np.void], Estimates]:
    """Return the state, (n,) of STATE, and what happened in an interval."""
    after = copied(state)
    after["silence"], silence = freeze.follow(state["silence"], seen, profile.silence)
    told_s, now_s = silence.told_s[:, DOWNLINK], silence.now_s[:, DOWNLINK]
    over = freeze.ended(after["silence"], seen.now_s, profile.silence)
    whole = (ages_s(seen)[:, DOWNLINK] <= profile.silence.least_s[DOWNLINK]) & (told_s == 0)
    after["ticks"] = ticks.follow(state["ticks"], seen, whole)
    expected = seen.rtp_expected[:, DOWNLINK].astype(np.float64) * whole
    missing = expected - seen.rtp_received[:, DOWNLINK] * whole
    runs = seen.loss_runs[:, DOWNLINK] * whole
    after["missed"] = losses.follow(state["missed"], expected, missing, runs, seen.interval_s)
    after["cloud"], fps, bps = cloud_gaming.follow(state["cloud"], seen, over, profile.cloud)
    half, after["half_s"] = held(
        halves_ms(seen),
        state["half_ms"],
        freeze.kept_s(state["half_s"], silence, seen.interval_s),
        seen.now_s,
        profile.lag_longest_s,
    )
    after["half_ms"] = known_or(half, 0)
    lag = half[:, 0] + half[:, 1]
    counted_ms = seen.spike_ms[:, DOWNLINK].astype(np.float64)
    begun, ended = silence.begun[:, DOWNLINK], told_s > 0
    spikes = np.maximum(seen.spikes[:, DOWNLINK].astype(np.float64) - ended, 0) + begun
    echoed = seen.echo_n > 0
    above = np.where(echoed, np.maximum(halves_ms(seen) - seen.echo_min_us / 1000, 0.0), 0.0)
    tick_loss, loss = ticks.loss(after["ticks"]), losses.loss(after["missed"])
    oldest = np.where(np.isnan(lag), seen.now_s, np.minimum(after["half_s"][:, 0], after["half_s"][:, 1]))
    media = after["silence"]["last_s"][:, DOWNLINK] > 0
    unmeasured = np.select([~media, np.isnan(lag)], [_NO_MEDIA, _NO_LAG], 0).astype(np.uint8)
    no_loss = np.where(np.isnan(tick_loss) & np.isnan(loss), profile.no_loss, 1.0)
    return after, Estimates(
        lag_ms=lag,
        lag_jitter_ms=np.where(echoed[:, 0] | echoed[:, 1], above[:, 0] + above[:, 1], np.nan),
        tick_ms=np.where(after["cloud"]["is"], np.nan, ticks.tick_ms(after["ticks"])),
        tick_loss=np.where(after["cloud"]["is"], np.nan, tick_loss),
        spikes=spikes,
        spike_ms=np.maximum(counted_ms - 1000 * told_s, 0) + 1000 * now_s,
        fps=fps,
        video_height=cloud_gaming.height(fps, bps, profile.cloud),
        confidence=np.where(
            unmeasured > 0, 0.0, no_loss * 0.5 ** (np.maximum(seen.now_s - oldest, 0) / profile.lag_fresh_s)
        ),
        unmeasured=unmeasured,
        interval_s=np.full(len(seen), seen.interval_s),
        loss=loss,
        video_bps=bps,
        most_fps=np.where(after["cloud"]["is"], after["cloud"]["most_fps"].astype(np.float64), np.nan),
    )


def score(r: Estimates, profile: GameProfile = PROFILE) -> Array:
    """Return the MOS, 1..4.64; NaN where it is not measurable."""
    lag = np.minimum(r.lag_ms + known_or(r.lag_jitter_ms, 0), LONGEST_MS)
    loss = np.clip(np.fmax(known_or(r.loss, 0), known_or(r.tick_loss, 0)), 0, 1)
    rendered = g1072.quality(
        delay_ms=lag,
        loss=loss,
        frame_rate=np.full_like(lag, FRAME_RATE),
        bitrate_mbps=np.full_like(lag, LEAST_MBPS),
    )
    fps, most, bps = (known_or(column, 1.0) for column in (r.fps, r.most_fps, r.video_bps))
    streamed = g1072.to_mos(cloud_gaming.rating(lag, loss, fps, most, bps, profile.cloud))
    mos = np.where(np.isnan(r.fps), rendered, streamed)
    paused = np.clip(r.spike_ms / (1000 * r.interval_s), 0, 1)
    return np.where(r.unmeasured > 0, np.nan, np.maximum(mos * freeze.factor(paused), 1.0))


def due(state: NDArray[np.void], now_s: float, profile: GameProfile = PROFILE) -> NDArray[np.bool_]:
    """Return the mask, (n,), of games whose downlink stands still, so that they need a row without packets."""
    return freeze.standing(state["silence"], now_s, profile.silence)[:, DOWNLINK]
