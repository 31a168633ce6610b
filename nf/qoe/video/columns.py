"""Columns of the video estimates: what an interval brought, what is remembered, what is told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array
from nf.qoe.video import levels

__all__ = [
    "COMPLETE",
    "NOTHING",
    "PAUSED",
    "PLAYING",
    "STALLED",
    "STARTING",
    "STATE",
    "STATES",
    "Answers",
    "Estimates",
    "Seen",
]

NOTHING, STARTING, PLAYING, STALLED, PAUSED, COMPLETE, SEEKING = range(7)
STATES = ("", "starting", "playing", "stalled", "paused", "complete", "seeking")

STATE = np.dtype(
    [
        *levels.SIZES,
        ("phase", "u1"),  # index into STATES
        ("level", "u1"),  # index into levels.HEIGHTS plus one, 0 not told yet
        ("switches", "u2"),
        ("answers", "u4"),  # closed ones that hold media
        ("count", "f8"),  # requests for media that they answered
        ("asked", "f8"),  # requests so far,
        ("beside", "f8"),  # and those that were sent while another answer was under way: sound beside the picture
        ("asked_s", "f8"),  # the last of them
        ("sound_octets", "f8"),  # an answer of this size comes again and again: sound, whose levels are one,
        ("sound_n", "f8"),  # so much more often than other small ones
        ("before_octets", "f8"),  # size of the last answer that holds media,
        ("alike_n", "f8"),  # and how many of that size came in a row before it
        ("picture_s", "f8"),  # last byte of the last whole answer that is no sound
        ("stall_from_s", "f8"),  # begin of the last stall
        ("slow", "?"),  # the last answer broke off
        ("closed_s", "f8"),  # last byte of the answer that was closed last,
        ("closed_content_s", "f8"),  # its content,
        ("fragment_s", "f8"),  # what it holds if the rest of it stands behind a further request
        ("pending_s", "f8"),  # and that content while acknowledgements cut the answer into pieces
        ("length", "f8"),  # bytes of a usual request for media
        ("now_s", "f8"),  # end of the interval that was judged last
        ("busy_s", "f8"),  # last byte of any answer
        ("access_s", "f8"),  # newest round trip between probe and UE
        ("begun_s", "f8"),  # first picture; 0 before it
        ("enough_s", "f8"),  # last byte of the answer that was enough to begin; 0 before it
        ("content_s", "f8"),  # content that has come in closed answers
        ("played_s", "f8"),
        ("stalled_s", "f8"),
        ("stalls", "u2"),
        ("anchor_s", "f8"),  # last request after a rest: the buffer was full then; 0 none
        ("anchor_count", "f8"),
        ("anchor_octets", "f8"),
        ("full_s", "f8"),  # content that a rest left in the buffer,
        ("full_n", "f8"),  # and how many rests agreed on it
        ("rest_s", "f8"),  # sums over the time between such requests, fading: seconds,
        ("rest_answers", "f8"),  # requests for media,
        ("paced_s", "f8"),  # the same over all such times, also those in which a buffer filled: seconds,
        ("paced_octets", "f8"),  # bytes
        ("even", "f8"),  # rests that said the same as the ones before, fading,
        ("odd", "f8"),  # and that said something else
        ("rest_n", "f8"),  # and how many they were
        ("recent_octets", "f8"),  # of the last answers, fading
        ("recent_s", "f8"),  # their content
        ("rate_octets", "f8"),  # the same, fading by time
        ("rate_s", "f8"),
        ("rate_at_s", "f8"),  # when they were counted last
        ("above_n", "f8"),  # pictures in a row far above that rate, as it was before them,
        ("above_bps", "f8"),
        ("above_octets", "f8"),  # and what has come since the first of them
        ("above_s", "f8"),
        ("open_since_s", "f8"),  # request that has no answer yet; 0 none
        ("came_s", "f8"),  # content of answers that have come to rest and are not closed
        ("open_octets", "f8"),  # of the answer that is under way
        ("heard_octets", "f8"),  # all that had come at the end of the interval before
        ("mos_seconds", "f8"),  # sums for the score of the session, see nf.qoe.video.rate
        ("mos_felt", "f8"),  # quality as it is felt
        ("mos_sum", "f8"),
        ("mos_late", "f8"),
        ("mos_weight", "f8"),
        ("mos_weight_late", "f8"),
        ("stall_s", "f8"),  # of the stall that lasts
        ("stall_past", "f8"),  # of those before, as the score reads them
    ]
)
"""What is remembered of a (subscriber, application); zeros: nothing is known."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers to requests, in order of requests; *row* is the place in the columns (n,). Times in s since the epoch."""

    row: NDArray[np.intp]
    request_s: Array
    first_s: Array  # NaN: no byte came
    last_s: Array  # NaN: no byte came
    octets: Array
    requests: Array  # that were sent before the answer: HTTP/2 and 3 ask for picture and sound at once
    length: Array  # bytes of the longest of them


@dataclass(frozen=True, slots=True)
class Seen:
    """One interval of n rows: *closed* answers, to which another request followed, and those *under_way* at its end."""

    now_s: float
    closed: Answers
    under_way: Answers
    segment_s: Array  # of the service, as its sessions before have told it; NaN not known
    access_s: Array | None = None  # round trip between probe and UE with what waits in queues; NaN, None: not seen


@dataclass(frozen=True, slots=True)
class Estimates:
    """Columns (n,), named as they are published; NaN is not known. *state* is an index into STATES."""

    video_height: Array
    media_bps: Array
    startup_s: Array
    stalled_s: Array  # of the time since the row was judged last
    stalls: Array  # begun in that time
    stall_ratio: Array  # of the session, of the time since the first picture
    buffer_s: Array
    switches: Array
    mos_session: Array
    state: NDArray[np.uint8]
    confidence: Array
    unmeasured: NDArray[np.uint8]
