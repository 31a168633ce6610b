"""Downloads and uploads: the logarithm of the speed (our own form; there is no standard), and what limits it.

The limit is told by signs, in the order in which they prove something (after T-RAT, Zhang et al., SIGCOMM 2002):
closed windows: the receiver; a queue or loss: the network; pauses: the application's pace; none of them: the server,
whose rate or window it is. A queue is the delay above the least one that was seen. A transfer whose next request waits,
or whose segments only come again, stands still: its speed is 0 until payload comes that is new.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array, known_or, worst
from nf.qoe.reasons import REASONS
from nf.qoe.states import both, copied, larger

__all__ = ["LIMITS", "MODEL", "PROFILE", "STATE", "Estimates", "Profile", "Seen", "advance", "due", "score"]

MODEL = "snf-speed v1"

LEAST_BYTES = 1e6  # in the last seconds, or a transfer that never rests: a short one measures slow start only (own)
WORST_BPS = 0.1e6  # the rate that gets 1 (own)
PLAN_BPS = 20e6  # the rate that gets 5 (own, until a plan can be configured)

LIMITS = ("", "network", "receiver", "server", "application")
"""Texts of the column `limit`, by number; the first one: not known."""
_NETWORK, _RECEIVER, _SERVER, _APPLICATION = 1, 2, 3, 4
_NO_TRANSFER = REASONS.index("no transfer")


@dataclass(frozen=True, slots=True)
class Profile:
    """Constants of a transfer; all are ours but for the loss."""

    least_bytes: float = LEAST_BYTES
    worst_bps: float = WORST_BPS
    plan_bps: float = PLAN_BPS
    busy: float = 0.8  # share of the interval in which a transfer that never rests moves data
    loss: float = 0.01  # more retransmissions than this mean that the network limits (after T-RAT)
    closed: float = 0.1  # share of windows that hold up the sender, from which on the receiver limits
    queue_ms: float = 100.0  # more delay than this above the least is a queue, or
    standing: float = 1.0  # so many times the least round trip: as much waits as is under way,
    standing_ms: float = 25.0  # unless it is a delay that radio has without a queue (own)
    hold_s: float = 5.0  # the last speed is told for so long
    wait_s: float = 1.0  # a request without an answer for so long stands still (own)
    patience_s: float = 60.0  # nobody waits longer for a transfer that stands still
    sure: float = 0.9
    sure_of_stall: float = 0.5


PROFILE = Profile()

STATE = np.dtype(
    [
        ("least_ms", "f4", (2,)),  # least round trip, CORE, ACCESS; 0: never seen
        ("queue_ms", "f4"),  # newest delay above that,
        ("queue_s", "f8"),  # and when it was timed; 0: never
        ("speed_bps", "f4"),  # of the last interval with a transfer
        ("limit", "u1"),
        ("moved_s", "f8"),  # its end; 0: never
        ("asked_s", "f8"),  # first request without an answer; 0: none
        ("stalled_s", "f8"),  # when it was seen last that it stands still; 0: it does not
    ]
)


@dataclass(frozen=True, slots=True)
class Seen:
    """Columns of n rows, named as in `nf.qoe.inputs.Inputs`; second axis UPLINK, DOWNLINK."""

    now_s: float
    bulk_octets: Array  # (n, 2)
    busy: Array  # (n, 2)
    goodput_bps: Array  # (n, 2)
    loss: Array  # (n, 2)
    rtt_access_ms: Array  # (n,) least of the interval
    rtt_core_ms: Array  # (n,)
    moved: NDArray[np.bool_]  # (n,) had packets in the interval, so that asked_s was read
    asked_s: Array  # (n,) first request without an answer, in s since the epoch; NaN: none waits
    fresh: NDArray[np.bool_]  # (n,) payload came that had not come before
    resent: NDArray[np.bool_]  # (n,) payload came again
    closed: Array  # (n, 2) share of the receiver's segments whose window holds up the sender, by direction of the data


@dataclass(frozen=True, slots=True)
class Estimates:
    """Transfers of n rows: the faster direction."""

    speed_bps: Array
    limit: NDArray[np.uint8]  # index of LIMITS
    queue_ms: Array  # delay above the least one, of the half that has more of it; NaN without a round trip
    confidence: Array
    unmeasured: NDArray[np.uint8]  # index of nf.qoe.reasons.REASONS


def advance(state: NDArray[np.void], seen: Seen, profile: Profile = PROFILE) -> tuple[NDArray[np.void], Estimates]:
    """Return the state after an interval, and the transfers in it."""
    after = copied(state)
    trips = np.stack([seen.rtt_core_ms, seen.rtt_access_ms], axis=1)
    least = np.where(state["least_ms"] > 0, np.fmin(state["least_ms"], trips), known_or(trips, 0))
    after["least_ms"] = least
    above = trips - least
    queue_ms = np.where(both(np.isnan(above)), np.nan, larger(known_or(above, 0)))
    timed = ~np.isnan(queue_ms)
    after["queue_ms"] = np.where(timed, queue_ms, state["queue_ms"])
    after["queue_s"] = np.where(timed, seen.now_s, state["queue_s"])
    # Through a queue of more than an interval not every interval has a sample.
    waits_ms = np.where(seen.now_s - after["queue_s"] <= profile.hold_s, after["queue_ms"], 0)
    full_ms = np.clip(profile.standing * (least[:, 0] + least[:, 1]), profile.standing_ms, profile.queue_ms)
    told = (seen.bulk_octets >= profile.least_bytes) | (seen.busy >= profile.busy)
    goodput = np.where(told & ~np.isnan(seen.goodput_bps), seen.goodput_bps, -1)
    way = goodput.argmax(axis=1)[:, None]
    speed = np.take_along_axis(goodput, way, 1)[:, 0]
    moves = speed >= 0
    busy = np.take_along_axis(seen.busy, way, 1)[:, 0]
    limit = np.select(
        [
            np.take_along_axis(seen.closed, way, 1)[:, 0] >= profile.closed,
            (waits_ms >= full_ms) | (worst(seen.loss) >= profile.loss),
            busy < profile.busy,
        ],
        [_RECEIVER, _NETWORK, _APPLICATION],
        _SERVER,
    )
    after["speed_bps"] = np.where(moves, speed, state["speed_bps"])
    after["limit"] = np.where(moves, limit, state["limit"])
    after["moved_s"] = np.where(moves, seen.now_s, state["moved_s"])
    stands = _stands(after, seen, profile)
    age = (seen.now_s - after["moved_s"]) / profile.hold_s
    known = (after["moved_s"] > 0) & (age < 1)
    told = known | stands
    after["limit"] = np.where(stands & ~known, np.where(seen.resent, _NETWORK, after["limit"]), after["limit"])
    return after, Estimates(
        speed_bps=np.where(stands, 0.0, np.where(known, after["speed_bps"], np.nan)),
        limit=np.where(told, after["limit"], 0).astype(np.uint8),
        queue_ms=queue_ms,
        confidence=np.where(stands, profile.sure_of_stall, np.where(known, profile.sure * (1 - age), 0.0)),
        unmeasured=np.where(told, 0, _NO_TRANSFER).astype(np.uint8),
    )


def _stands(after: NDArray[np.void], seen: Seen, profile: Profile) -> NDArray[np.bool_]:
    """Say which transfers stand still: the next request of one waits, or its segments only come again.

    Without either nothing tells a transfer that stands still from one that is complete. It goes on with new payload.
    """
    ran = _ran(after, seen.now_s, profile)
    after["asked_s"] = np.where(seen.moved, known_or(seen.asked_s, 0), after["asked_s"])
    waits = _waits(after, profile) & (seen.now_s - after["asked_s"] > profile.wait_s)
    again = ran & ~seen.fresh & (waits | seen.resent)
    goes_on = seen.fresh | ~ran
    after["stalled_s"] = np.where(again, seen.now_s, np.where(goes_on, 0, after["stalled_s"]))
    stands: NDArray[np.bool_] = after["stalled_s"] > 0
    return stands


def _ran(state: NDArray[np.void], now_s: float, profile: Profile) -> NDArray[np.bool_]:
    ran: NDArray[np.bool_] = (state["moved_s"] > 0) & (now_s - state["moved_s"] < profile.patience_s)
    return ran


def _waits(state: NDArray[np.void], profile: Profile) -> NDArray[np.bool_]:
    """Say which transfers have a request that waits, sent while they ran or soon after."""
    waits: NDArray[np.bool_] = (state["asked_s"] > 0) & (state["asked_s"] - state["moved_s"] < profile.hold_s)
    return waits


def due(state: NDArray[np.void], now_s: float, profile: Profile = PROFILE) -> NDArray[np.bool_]:
    """Return the mask of rows that need an interval without packets: transfers that stand still, or wait."""
    stands: NDArray[np.bool_] = _ran(state, now_s, profile) & ((state["stalled_s"] > 0) | _waits(state, profile))
    return stands


def score(r: Estimates, profile: Profile = PROFILE) -> Array:
    """Return the MOS, 1..5, of the faster direction; NaN where no bulk transfer runs."""
    span = np.log(profile.plan_bps / profile.worst_bps)
    mos: Array = np.clip(1 + 4 * np.log(np.maximum(r.speed_bps, 1.0) / profile.worst_bps) / span, 1, 5)
    return mos
