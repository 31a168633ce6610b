"""Messaging: G.1030 on the time between sending a message and its acknowledgement, measured.

A message is an uplink payload, its answer the first downlink payload after it. The probe sees the way to the server;
the way between probe and UE comes on top, and without it there is no answer time, unless what was seen is bad enough.
A message that waits while no other one is answered is told: the time so far is a lower bound. So a request that is
kept until there is news counts for nothing beside others that are answered. The other side of the chat is not seen: a
message reaches it as late again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe import g1030
from nf.qoe.inputs import Array, known_or
from nf.qoe.reasons import REASONS
from nf.qoe.states import copied

__all__ = ["MODEL", "PROFILE", "STATE", "Estimates", "Profile", "Seen", "advance", "due", "score"]

MODEL = "G.1030 v2"  # on the time of an answer

ROUND_TRIPS = 2  # the message and its acknowledgement, and the same to the other side (own)
_NO_MESSAGE, _NO_DELAY = REASONS.index("no message yet"), REASONS.index("delay not known")


@dataclass(frozen=True, slots=True)
class Profile:
    """Constants of a chat; those without a source are ours."""

    longest_wait_s: float = 15.0  # for an answer; longer ones are of this length
    patience_s: float = 1.0  # a message that waits for longer is told
    hold_s: float = 10.0  # the last answer is told for so long, ever less sure
    delay_hold_s: float = 60.0  # and the way between probe and UE is known for so long
    bad_ms: float = 1000.0  # an answer that takes this long without the way to the UE is bad whatever that is
    sides: float = float(ROUND_TRIPS)
    content_s: float = g1030.FAST_S  # users expect fast (G.1030, annex A)
    sure: float = 0.9
    sure_of_bound: float = 0.5


PROFILE = Profile()

STATE = np.dtype(
    [
        ("answer_ms", "f4"),  # of the last interval with one, as the probe saw it
        ("answered_s", "f8"),  # its end; 0: never
        ("asked_s", "f8"),  # first message without an answer; 0: none
        ("access_ms", "f4"),
        ("access_s", "f8"),  # when it was known last; 0: never
    ]
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Columns of an interval: n rows, and c chunks of all their flows. Times are s since the epoch, NaN: none.

    Chunks are those that were closed and those that are open, with the first message of those that waited together.
    """

    now_s: float
    interval_s: float
    rtt_access_ms: Array  # (n,) probe to UE; NaN unknown
    asked_s: Array  # (n,) first message without an answer, of all flows
    moved: NDArray[np.bool_]  # (n,) had packets in the interval, so that asked_s was read
    row: NDArray[np.intp]  # (c,)
    request_s: Array  # (c,)
    first_s: Array  # (c,) first answer


@dataclass(frozen=True, slots=True)
class Estimates:
    """Chats of n rows. ``answer_ms``: median of the interval, or of a message that waits so far, or the last one."""

    answer_ms: Array
    confidence: Array
    unmeasured: NDArray[np.uint8]  # index of nf.qoe.reasons.REASONS


def advance(state: NDArray[np.void], seen: Seen, profile: Profile = PROFILE) -> tuple[NDArray[np.void], Estimates]:
    """Return the state after an interval, and the answers in it."""
    after, now_s = copied(state), seen.now_s
    told = ~np.isnan(seen.rtt_access_ms)
    after["access_ms"] = np.where(told, seen.rtt_access_ms, state["access_ms"])
    after["access_s"] = np.where(told, now_s, state["access_s"])
    asked_s = np.where(seen.moved, known_or(seen.asked_s, 0), state["asked_s"])
    given_up = (asked_s > 0) & (now_s - asked_s >= profile.longest_wait_s)
    answers = _answers_ms(state, seen, profile)
    lost = given_up & np.isnan(answers) & (state["answered_s"] <= asked_s)
    answers = np.where(lost, 1000 * profile.longest_wait_s, answers)
    some = ~np.isnan(answers)
    after["answer_ms"] = np.where(some, answers, state["answer_ms"])
    after["answered_s"] = np.where(some, now_s, state["answered_s"])
    after["asked_s"] = np.where(given_up, 0, asked_s)
    return after, _told(after, now_s, some, profile)


def _answers_ms(state: NDArray[np.void], seen: Seen, profile: Profile) -> Array:
    """Return (n,) the median of the answers that came in the interval, NaN without any."""
    n, wait_s = len(state), seen.first_s - seen.request_s
    alone = state["answered_s"][seen.row] <= seen.request_s
    came = (seen.first_s > seen.now_s - seen.interval_s) & (wait_s >= 0) & (alone | (wait_s < profile.longest_wait_s))
    row, wait_ms = seen.row[came], 1000 * np.minimum(wait_s[came], profile.longest_wait_s)
    order = np.lexsort((wait_ms, row))
    counts = np.bincount(row, minlength=n)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]) if n else np.zeros(0, np.intp)
    answers, many = np.full(n, np.nan), counts > 0
    ranked = wait_ms[order]
    answers[many] = ranked[(first + counts // 2)[many]]
    return answers


def _told(state: NDArray[np.void], now_s: float, came: NDArray[np.bool_], profile: Profile) -> Estimates:
    age = (now_s - state["answered_s"]) / profile.hold_s
    held_ms = np.where((state["answered_s"] > 0) & (age < 1), state["answer_ms"].astype(np.float64), np.nan)
    alone = (state["asked_s"] > 0) & (state["answered_s"] <= state["asked_s"])
    waited_ms = np.where(alone, 1000 * (now_s - state["asked_s"]), np.nan)
    waited_ms = np.where(waited_ms > 1000 * profile.patience_s, waited_ms, np.nan)
    bound = ~np.isnan(waited_ms) & ~(held_ms >= waited_ms)
    seen_ms = np.where(bound, waited_ms, held_ms)
    known = (state["access_s"] > 0) & (now_s - state["access_s"] < profile.delay_hold_s)
    answer_ms = np.where(known, seen_ms + state["access_ms"], np.where(seen_ms >= profile.bad_ms, seen_ms, np.nan))
    sure = np.where(bound | ~known, profile.sure_of_bound, profile.sure) * np.where(bound | came, 1.0, 1 - age)
    unmeasured = np.select([~np.isnan(answer_ms), np.isnan(seen_ms)], [0, _NO_MESSAGE], _NO_DELAY)
    return Estimates(answer_ms, np.where(unmeasured > 0, 0.0, sure), unmeasured.astype(np.uint8))


def due(state: NDArray[np.void], now_s: float, profile: Profile = PROFILE) -> NDArray[np.bool_]:
    """Return the mask of rows with a message that waits: it does so without a packet."""
    waits: NDArray[np.bool_] = state["asked_s"] > 0
    return waits


def score(r: Estimates, profile: Profile = PROFILE) -> Array:
    """Return the MOS, 1..5; NaN without an answer."""
    return g1030.waiting(profile.sides * r.answer_ms / 1000, longest_s=profile.content_s)
