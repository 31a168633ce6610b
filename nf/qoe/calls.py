"""The common part of voice and video calls: loss, bursts, jitter, delay and codec of both directions.

Sequence numbers tell what was lost before the probe: on the radio for the uplink, in the core and the internet for the
downlink. The rest is in the receiver reports of RTCP, where they are in clear; without them half of the way was seen,
and the confidence says so. A delay is the round trip of both halves; one half is no round trip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe import codecs, emodel, freeze, losses, reports
from nf.qoe.inputs import DOWNLINK, UPLINK, Array, known_or
from nf.qoe.realtime import Seen, halves_ms, held
from nf.qoe.states import both, copied, either, smaller

__all__ = ["TALK", "Estimates", "Talk", "TalkProfile", "late_share", "listen", "talk"]

BUFFER_DEVIATIONS = 2.0  # an adaptive jitter buffer holds about twice the jitter (own; usual planning value)
BUFFER_MOST_MS = 60.0  # and a packet later than this is lost (own; usual default of VoIP terminals)
FRAME_MS = 20.0  # of a packet (RFC 3551, 4.2: the default)
CODEC_MS = 25.0  # one frame of 20 ms and 5 ms of look-ahead
_HEADERS = 40  # IPv4, UDP and RTP


@dataclass(frozen=True, slots=True)
class TalkProfile:
    """Constants of a call that an operator may change; all are ours."""

    silence: freeze.Limits
    buffer_deviations: float = BUFFER_DEVIATIONS
    buffer_most_ms: float = BUFFER_MOST_MS
    delay_fresh_s: float = 5.0  # an older delay is half as sure, and so on
    delay_longest_s: float = 8.0  # and this old it is not known (RTCP reports come each five, RFC 3550, 6.2)
    one_half: float = 0.6  # confidence when the way behind the probe was not seen


TALK = np.dtype(
    [
        ("silence", freeze.SILENCE),
        ("missed", losses.WINDOW, (2,)),  # by sequence numbers
        ("told", reports.TOLD),  # by receiver reports
        ("half_ms", "f4", (2,)),  # CORE, ACCESS
        ("half_s", "f8", (2,)),  # and since when; 0: unknown
        ("jitter_ms", "f4", (2,)),
        ("codec", "u1", (2,)),  # index in codecs.CODECS
    ]
)


@dataclass(frozen=True, slots=True)
class Estimates:
    """Events of n calls in an interval, (n,): the published columns, and what scores need beside them.

    The sound is that of the worse direction. NaN is "not known"; a voice call has no picture.
    """

    fps: Array
    freezes: Array
    frozen_s: Array
    video_bps: Array
    frame_jitter_ms: Array
    codec: NDArray[np.uint8]  # index in codecs.NAMES
    loss_burst: Array  # BurstR
    beyond_loss: Array  # ratio lost between the probe and the UE, NaN without reports
    beyond_core: Array  # and between the probe and the far side
    confidence: Array
    unmeasured: NDArray[np.uint8]  # index in reasons.REASONS
    interval_s: Array
    round_trip_ms: Array  # NaN unless both halves are known
    least_trip_ms: Array  # of the halves that are known, 0 without any
    loss: Array  # ratio; NaN where nothing tells
    jitter_ms: Array  # RFC 3550


@dataclass(frozen=True, slots=True)
class Talk:
    """The sound of n calls, as in Estimates, and their pauses."""

    round_trip_ms: Array
    least_trip_ms: Array
    loss: Array
    loss_burst: Array
    beyond_loss: Array
    beyond_core: Array
    jitter_ms: Array
    codec: NDArray[np.uint8]
    confidence: Array
    silence: freeze.Silence


def talk(before: NDArray[np.void], seen: Seen, profile: TalkProfile) -> tuple[NDArray[np.void], Talk]:
    """Return the state, (n,) of TALK, and the sound of an interval."""
    after = copied(before)
    after["silence"], silence = freeze.follow(before["silence"], seen, profile.silence)
    expected = seen.rtp_expected.astype(np.float64)
    missing = expected - seen.rtp_received.astype(np.float64)
    # Packets that a freeze has stood for already are no loss as well.
    paused = np.clip(before["silence"]["rate"] * silence.ended_s, 0, np.maximum(missing, 0))
    after["missed"] = losses.follow(
        before["missed"],
        expected - paused,
        missing - paused,
        np.maximum(seen.loss_runs.astype(np.float64) - (paused > 0), 0.0),
        seen.interval_s,
    )
    kept_s = np.where(either(silence.open), seen.interval_s, 0.0)
    after["told"] = reports.follow(before["told"], seen, kept_s)
    half, after["half_s"] = held(
        halves_ms(seen),
        before["half_ms"],
        freeze.kept_s(before["half_s"], silence, seen.interval_s),
        seen.now_s,
        profile.delay_longest_s,
    )
    after["half_ms"] = known_or(half, 0)
    heard = (seen.rtp_received > 0) | (seen.rtcp_reports > 0)
    jitter = np.maximum(seen.rtp_jitter_us, np.where(seen.rtcp_reports > 0, seen.rtcp_jitter_us, 0)) / 1000
    after["jitter_ms"] = np.where(heard, jitter, before["jitter_ms"])
    size = seen.octets.astype(np.float64) / np.maximum(seen.packets, 1) - _HEADERS
    codec = codecs.codec_of(seen.rtp_pt, seen.rtp_clock, size)
    after["codec"] = np.where((codec > 0) & (seen.rtp_received > 0), codec, before["codec"])
    return after, _worse(after, half, silence, seen.now_s, profile)


def _worse(state: NDArray[np.void], half: Array, silence: freeze.Silence, now_s: float, profile: TalkProfile) -> Talk:
    before, behind = losses.loss(state["missed"]), losses.loss(state["told"]["behind"])
    some, more = known_or(before, 0), known_or(behind, 0)
    loss = np.where(np.isnan(before) & np.isnan(behind), np.nan, np.minimum(some + more, 1.0))
    burst = emodel.burst_ratio(some, losses.run(state["missed"]))
    burst = np.where(loss > 0, (some * burst + more) / np.where(loss > 0, some + more, 1.0), burst)  # reports: no runs
    zero = np.zeros_like(loss)
    heard = codecs.listening(state["codec"], zero, _lost(known_or(loss, 0), state["jitter_ms"], profile), burst)
    known = ~np.isnan(loss)
    way = np.where(both(known), heard[:, DOWNLINK] < heard[:, UPLINK], np.where(known[:, UPLINK], UPLINK, DOWNLINK))
    at = np.arange(len(state)), way
    trip = half[:, 0] + half[:, 1]
    since = smaller(state["half_s"])
    since = np.where(since > 0, since, now_s)
    reported = losses.known(state["told"]["behind"])[:, DOWNLINK]
    sure = codecs.sure(state["codec"])[at] * np.where(reported, 1.0, profile.one_half)
    return Talk(
        round_trip_ms=trip,
        least_trip_ms=known_or(half[:, 0], 0) + known_or(half[:, 1], 0),
        loss=loss[at],
        loss_burst=burst[at],
        beyond_loss=behind[:, DOWNLINK],
        beyond_core=behind[:, UPLINK],
        jitter_ms=state["jitter_ms"][at].astype(np.float64),
        codec=state["codec"][at],
        confidence=sure * 0.5 ** (np.maximum(now_s - since, 0) / profile.delay_fresh_s),
        silence=silence,
    )


def listen(t: Estimates, *, trip_ms: Array, late: bool, profile: TalkProfile) -> Array:
    """Return the MOS, 1..4.5, of the sound of calls with a round trip of *trip_ms*; *late* packets count as lost."""
    buffered_ms = np.minimum(profile.buffer_deviations * t.jitter_ms, 2 * profile.buffer_most_ms)
    delay_ms = trip_ms / 2 + buffered_ms + FRAME_MS + codecs.look_ahead_ms(t.codec)
    loss = np.clip(known_or(t.loss, 0), 0, 1)  # copies of packets are more than were sent
    loss = _lost(loss, t.jitter_ms, profile) if late else loss
    return codecs.listening(t.codec, delay_ms, loss, t.loss_burst)


def _lost(loss: Array, jitter_ms: Array, profile: TalkProfile) -> Array:
    lost: Array = np.minimum(loss + late_share(jitter_ms, profile.buffer_most_ms), 1.0)
    return lost


def late_share(jitter_ms: Array, most_ms: float = BUFFER_MOST_MS) -> Array:
    """Return the share of packets later than the jitter buffer holds, for delays with a Laplace distribution."""
    late: Array = 0.5 * np.exp(-np.sqrt(2) * most_ms / np.maximum(jitter_ms, 1e-3))
    return late
