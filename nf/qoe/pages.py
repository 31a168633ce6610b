"""Page time: from the first flow of a burst to the end of the answers that make up the page, measured.

A page begins with the first new flow of a chain of them (its DNS question or connection), or with its request where it
comes by a connection that was there. Slots of 100 ms with enough downlink bytes are activity. Activity after a gap
belongs to the page when it answers a request that was sent before the gap, or when it brings a fair share of the bytes
that the page has already; polling, beacons and most late objects do not. The page is over when it was quiet for a while
and no request of it waits for its answer. A page that lasts is told before it ends: the time so far is a lower bound.
The generic method is that of bursts with idle gaps; the rules are ours. A slot is 100 ms and twelve are kept, so
intervals are of a second; of longer ones the first part is not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array
from nf.qoe.reasons import REASONS

__all__ = ["DEFAULT", "MODEL", "SLOTS", "SLOT_S", "STATE", "Estimates", "Profile", "Seen", "advance", "due"]

MODEL = "snf-page v1"
SLOT_S = 0.1
SLOTS = 12  # of a flow, that are read with each interval
_QUEUE_S = 10.0  # time in which a long round trip loses its weight: few samples come through a queue (own)
_TIE_S = 5e-7  # less than the clock tells, and more than a sum of tenths is off
NO_PAGE = REASONS.index("no page yet")

Rows = NDArray[np.void]
Mask = NDArray[np.bool_]
Columns = dict[str, NDArray[Any]]  # the fields of a state, each in a row of memory of its own while it is worked on


@dataclass(frozen=True, slots=True)
class Profile:
    """Constants of a page, fitted or chosen on 37 page loads over 4G and 5G (SIGCOMM21-5G artifact) unless said."""

    gap_s: float = 0.3  # activity goes on over a shorter gap, and so do flows that begin
    turn_s: float = 0.1  # or over the round trip to the UE and this (own)
    quiet_s: float = 1.0  # a page that was quiet for so long is over
    longest_wait_s: float = 15.0  # for an answer; nobody is content any more after it (G.1030, annex A: medium)
    answer_s: float = (
        6.0  # and a page with content is over without an answer after this (own): some are never meant to come
    )
    handshake_s: float = 1.0  # a first request that follows its flow's begin by less waited from there
    named_late_s: float = 3.0  # a flow that is older when it is first seen begins no page
    share: float = 0.3  # of the page's bytes, that activity after a gap has to bring (with pages of the lab)
    decided_s: float = 4.0  # within this time (own)
    poll: float = 5000.0  # bytes; activity of less after a gap is not waited for (own)
    least_answer: float = 1000.0  # bytes of an answer for which a page waits
    slot_least: float = 500.0  # bytes of a slot with activity: a poll or a beacon has less,
    slot_share: float = 0.001  # or this share of the page,
    slot_most: float = 1000.0  # up to this
    least: float = 20_000.0  # bytes of a page (own)
    requests: int = 4  # of an interval, by which a page begins that needs no new flow (own)
    after_load: float = 0.06  # share of the activity that comes after load: beacons, icons
    patience_s: float = 2.0  # a page in progress for longer is told (own)
    hold_s: float = 3.0  # the last page is told for so long after its end, ever less sure (own)
    sure: float = 0.9  # confidence in a page that ended
    sure_of_bound: float = 0.5  # and in one that lasts
    content_s: float = 15.0  # the time after which nobody is content any more (G.1030, annex A: medium)


DEFAULT = Profile()

STATE = np.dtype(
    [
        ("born_s", "f8"),  # first new flow of a chain since the last page; 0: none
        ("chain_s", "f8"),  # newest new flow or its answer, or how long one is waited for that has no answer yet
        ("read_s", "f8"),  # end of the last interval
        ("begin_s", "f8"),  # of the page; 0: none is in progress
        ("end_s", "f8"),  # of the last slot that belongs to the page so far
        ("last_s", "f8"),  # last payload in it, where that is known
        ("active_s", "f8"),  # end of the last activity, page or not
        ("asked_s", "f8"),  # first request without an answer; 0: none
        ("over_s", "f8"),  # when the last burst was found to be over; 0: never
        ("closed_s", "f8"),  # the end of the last page; 0: none was
        ("slot", "i8"),  # newest slot that was counted,
        ("counted", "f4"),  # and what of it
        ("octets", "f4"),  # of the page
        ("after", "f4"),  # of the activity after its last gap, which is not the page's yet; 0: none
        ("after_s", "f8"),  # begin of that
        ("anew", "u1"),  # whether some of that came by a new flow
        ("page_s", "f4"),  # time of the last page
        ("access_s", "f4"),  # newest round trip between probe and UE,
        ("queue_s", "f4"),  # and the longest of late, fading
    ]
)
"""A subscriber: times in s since the epoch."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Columns of an interval: m flows of web, social, navigation and without a class, and their DNS flows; c chunks.

    Times are s since the epoch, NaN: none. ``slots[:, 0]`` is of the slot with the number ``slot``, which begins at
    ``slot * 0.1 + zero_s``; then older ones (as `nf.flows.media.MediaInterval.slots`, of which ``zero_s`` is what the
    clock of the kernel's slots is apart from the epoch). Chunks are those that closed and the open ones, once their
    first answer came; a request is the first one of those that waited together.
    """

    now_s: float  # end of the interval
    interval_s: float
    row: NDArray[np.intp]  # (m,) subscriber, an index of state
    begin_s: Array  # (m,) NaN where it was not seen: a connection that was there before the probe
    slots: NDArray[np.uint32]  # (m, SLOTS) downlink octets, the newest first
    slot: NDArray[np.int64]  # (m,)
    last_s: Array  # (m,) last downlink payload
    asked_s: Array  # (m,) first request without an answer
    chunk: NDArray[np.intp]  # (c,) flow, an index of row
    request_s: Array  # (c,)
    first_s: Array  # (c,) first answer
    octets: Array  # (c,) of the answer so far
    rtt_access_ms: Array  # (n,) of the subscribers, with what waits in queues; NaN unknown
    zero_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Estimates:
    """Pages of n subscribers in an interval. ``page_s``: of the one that ended, of one that lasts longer so far, or of
    the last one for a while; NaN without any of them."""

    page_s: Array
    pages: Array  # that ended in the interval
    confidence: Array
    unmeasured: NDArray[np.uint8]  # index of nf.qoe.reasons.REASONS


def advance(state: Rows, seen: Seen, profile: Profile = DEFAULT) -> tuple[Rows, Estimates]:
    """Return the state after an interval, and the pages in it; state has a row a subscriber."""
    n, rows, work = len(state), np.empty_like(state), {name: state[name].copy() for name in STATE.names or ()}
    newest = int(np.floor((seen.now_s - seen.zero_s) / SLOT_S - 1e-6))
    octets = _octets(work, seen, newest)
    asked, fresh, answers = _asked(n, seen, newest, profile)
    born, chain = _births(work, seen, newest, profile)
    ended = np.full(n, np.nan)
    told = ~np.isnan(seen.rtt_access_ms)
    work["access_s"] = np.where(told, seen.rtt_access_ms / 1000, work["access_s"])
    work["queue_s"] = np.maximum(work["access_s"], work["queue_s"] * np.exp(-seen.interval_s / _QUEUE_S))
    new = seen.first_s > seen.now_s - seen.interval_s
    many = np.bincount(seen.row[seen.chunk[new]], minlength=n) >= profile.requests
    for k in range(SLOTS):
        at_s = (newest - SLOTS + 1 + k) * SLOT_S + seen.zero_s
        _close(work, at_s, ended, profile)
        _born(work, born[:, k], chain[:, k], profile)
        least = np.clip(profile.slot_share * work["octets"], profile.slot_least, profile.slot_most)
        active = octets[:, k] >= least
        _begin(work, at_s, active, asked[:, k], fresh[:, k], many, profile)
        _slot(work, at_s, np.where(active, octets[:, k], 0), answers[:, k], np.isfinite(fresh[:, k]), profile)
    _exactly(work, seen)
    _waiting(work, seen, octets)
    _silent(work, seen, profile)
    _close(work, seen.now_s, ended, profile)
    _give_up(work, seen.now_s, ended, profile)
    work["read_s"] = np.full(n, seen.now_s)
    for name, column in work.items():
        rows[name] = column
    return rows, _told(work, seen.now_s, ended, profile)


def due(state: Rows, now_s: float, profile: Profile = DEFAULT) -> Mask:
    """Return the mask of subscribers with a page in progress: it lasts, or ends, without a packet."""
    waits: Mask = (state["born_s"] > 0) & (state["asked_s"] > 0)
    return waits | (state["begin_s"] > 0)


def _octets(state: Columns, seen: Seen, newest: int) -> Array:
    """Return (n, SLOTS) downlink octets up to slot *newest* that were not counted before; the state counts them."""
    n = len(state["slot"])
    flow, k = np.nonzero(seen.slots)
    place = (seen.slot - newest + SLOTS - 1)[flow] - k
    there = (place >= 0) & (place < SLOTS)
    flow, k, place = flow[there], k[there], place[there]
    octets = np.bincount(seen.row[flow] * SLOTS + place, seen.slots[flow, k], n * SLOTS).astype(np.float64)
    octets = octets.reshape(n, SLOTS)
    since = (newest - SLOTS + 1 + np.arange(SLOTS))[None, :] - state["slot"][:, None]
    now = octets[:, -1].copy()
    rest = np.maximum(octets - state["counted"][:, None], 0)
    state["slot"], state["counted"] = np.full(n, newest), now
    new: Array = np.where(since < 0, 0.0, np.where(since == 0, rest, octets))
    return new


def _place(at_s: Array, seen: Seen, newest: int) -> NDArray[np.int64]:
    """Return the columns of times among the slots up to *newest*."""
    place: NDArray[np.int64] = np.floor((at_s - seen.zero_s) / SLOT_S).astype(np.int64) - newest + SLOTS - 1
    return place


def _asked(n: int, seen: Seen, newest: int, profile: Profile) -> tuple[Array, Array, Array]:
    """Return (n, SLOTS) when the first of some answers was asked for; infinity: of none.

    Those are the answers that begin in the slot, those of them that are the first one of their flow, and all of which
    the slot has bytes: an answer goes on until the next one of its flow begins, however long the server was silent.
    """
    begin_s = seen.begin_s[seen.chunk]
    waited = np.where(seen.request_s - begin_s <= profile.handshake_s, begin_s, seen.request_s)
    real = np.flatnonzero((seen.octets >= profile.least_answer) & (seen.first_s - waited <= profile.longest_wait_s))
    place = _place(seen.first_s[real], seen, newest)
    real, place = real[place < SLOTS], place[place < SLOTS]
    flows, flow = np.unique(seen.chunk[real], return_inverse=True)
    of_flow = np.full((len(flows), SLOTS + 1), np.inf)  # the first column is of what began before
    np.minimum.at(of_flow, (flow, np.maximum(place + 1, 0)), waited[real])
    place = seen.slot[flows, None] - newest + SLOTS - 1 - np.arange(SLOTS)[None, :]
    there = (place >= 0) & (place < SLOTS) & (seen.slots[flows] >= profile.slot_least)
    bytes_in = np.zeros((len(flows), SLOTS), np.bool_)
    bytes_in[np.nonzero(there)[0], place[there]] = True
    asked, fresh, answers = (np.full((n, SLOTS), np.inf) for _ in range(3))
    lasts, born, row = of_flow[:, 0], seen.begin_s[flows], seen.row[flows]
    for k in range(SLOTS):
        begins = of_flow[:, k + 1]
        lasts = np.where(np.isfinite(begins), begins, lasts)
        answering = np.where(bytes_in[:, k], lasts, begins)
        for column, times in ((asked, begins), (fresh, np.where(begins == born, begins, np.inf)), (answers, answering)):
            some = np.flatnonzero(times < np.inf)  # few flows have an answer in a slot
            np.minimum.at(column[:, k], row[some], times[some])
    return asked, fresh, answers


def _births(state: Columns, seen: Seen, newest: int, profile: Profile) -> tuple[Array, Array]:
    """Return (n, SLOTS) when the first new flow of a slot began, infinity: none; and when the last one of it had an
    answer, or began.

    A flow that is named late may be older than the slots.
    """
    n, begun = len(state["slot"]), seen.begin_s
    since = np.maximum(state["over_s"], state["read_s"])[seen.row]
    fresh = np.flatnonzero(begun > np.maximum(since, seen.now_s - seen.interval_s - profile.named_late_s))
    place = np.clip(_place(begun[fresh], seen, newest), 0, SLOTS - 1)
    first, last = np.full((n, SLOTS), np.inf), np.full((n, SLOTS), -np.inf)
    np.minimum.at(first, (seen.row[fresh], place), begun[fresh])
    np.maximum.at(last, (seen.row[fresh], place), begun[fresh])
    young = np.flatnonzero(seen.last_s - begun <= profile.named_late_s)
    place = _place(seen.last_s[young], seen, newest)
    young, place = young[place >= 0], place[place >= 0]
    np.maximum.at(last, (seen.row[young], np.minimum(place, SLOTS - 1)), seen.last_s[young])
    return first, last


def _born(state: Columns, first_s: Array, last_s: Array, profile: Profile) -> None:
    """Note the first new flow of a chain since the last page.

    A chain goes on as long as flows begin or are answered, or a request of it waits.
    """
    waits = state["asked_s"] >= np.where(state["born_s"] > 0, state["born_s"], np.inf)
    longest_s = np.where(waits, profile.handshake_s, profile.gap_s)
    anew = (first_s - state["chain_s"] > longest_s) | (state["born_s"] == 0)
    begins = np.isfinite(first_s) & anew & (state["begin_s"] == 0)
    state["born_s"] = np.where(begins, first_s, state["born_s"])
    state["chain_s"] = np.maximum(state["chain_s"], last_s)


def _silent(state: Columns, seen: Seen, profile: Profile) -> None:
    """Make a chain wait for new flows that have no answer at all yet: a name that is asked for again and again."""
    young = seen.begin_s > seen.now_s - seen.interval_s - profile.named_late_s
    silent = np.bincount(seen.row[young & np.isnan(seen.last_s)], minlength=len(state["slot"])) > 0
    until_s = seen.now_s + profile.quiet_s - profile.gap_s
    state["chain_s"] = np.where(silent & (state["born_s"] > 0), until_s, state["chain_s"])


def _begin(
    state: Columns, at_s: float, active: Mask, asked_s: Array, fresh_s: Array, many: Mask, profile: Profile
) -> None:
    """Begin the pages of which the first bytes come in a slot, at the new flow that they came by or at their request.

    What came without a new flow and is no page yet, as a poll, is not waited for.
    """
    waits = state["asked_s"] >= np.where(state["born_s"] > 0, state["born_s"], np.inf)
    unasked = np.isinf(asked_s) & ((at_s <= state["chain_s"] + profile.quiet_s) | waits)
    born = (state["born_s"] > 0) & (at_s + SLOT_S > state["born_s"])
    born &= unasked | (np.isfinite(fresh_s) & (fresh_s >= state["born_s"]))
    poll = (state["begin_s"] > 0) & (state["born_s"] == 0) & (state["octets"] < profile.least)
    poll &= np.minimum(asked_s, at_s) > state["end_s"] + profile.gap_s
    fresh = active & ((state["begin_s"] == 0) | poll) & (born | (many & np.isfinite(asked_s)))
    begin = np.where(born, state["born_s"], np.minimum(asked_s, at_s))
    state["begin_s"] = np.where(fresh, begin, state["begin_s"])
    for name in ("active_s", "end_s"):
        state[name] = np.where(fresh, at_s, state[name])
    for name in ("octets", "after"):
        state[name] = np.where(fresh, 0, state[name])


def _gap_s(state: Columns, profile: Profile) -> Array:
    """Return over which gap activity goes on: the UE asks for more once it has what passed here, behind a queue."""
    return np.maximum(profile.gap_s, state["queue_s"] + profile.turn_s)


def _slot(state: Columns, at_s: float, octets: Array, asked_s: Array, anew: Mask, profile: Profile) -> None:
    """Go on by one slot that begins at *at_s* and has *octets* of activity, *anew* by a flow that began."""
    active = (state["begin_s"] > 0) & (octets > 0)
    gap_s = _gap_s(state, profile)
    reach_s = state["end_s"] + gap_s
    own = active & ((at_s <= reach_s) | ((asked_s <= reach_s) & (asked_s >= state["begin_s"] - gap_s)))
    after = active & ~own
    more = _is_no_poll(state, profile) & (np.minimum(asked_s, at_s) <= state["active_s"] + gap_s)
    state["after_s"] = np.where(after & ~more, at_s, state["after_s"])
    state["anew"] = np.where(after, (more & (state["anew"] > 0)) | anew, state["anew"])
    state["after"] = np.where(after, np.where(more, state["after"], 0) + octets, state["after"])
    state["octets"] += np.where(own, octets, 0)
    state["active_s"] = np.where(active, at_s + SLOT_S, state["active_s"])
    fair = after & (state["after"] >= profile.share * state["octets"])
    fair &= state["after_s"] - state["end_s"] <= profile.quiet_s - profile.gap_s + gap_s
    fair &= at_s - state["after_s"] <= profile.decided_s
    state["octets"] += np.where(fair, state["after"], 0)
    for name in ("after", "anew"):
        state[name] = np.where(fair | own, 0, state[name])
    state["end_s"] = np.where(own | fair, at_s + SLOT_S, state["end_s"])


def _is_no_poll(state: Columns, profile: Profile) -> Mask:
    """Say of which subscribers the activity after the last gap is more than an answer to a poll."""
    more: Mask = (state["after"] >= profile.poll) | (state["anew"] > 0)
    return more


def _close(state: Columns, now_s: float, ended: Array, profile: Profile) -> None:
    """End the pages that were quiet for long enough at *now_s*; *ended* gets their times."""
    some, asks = state["octets"] >= profile.least, state["asked_s"] > 0
    answering = now_s - state["asked_s"] < profile.answer_s
    answering &= state["asked_s"] <= state["end_s"] + _gap_s(state, profile)
    held = asks & (answering | ~some)  # without content until `_give_up`
    # Bytes that came after a gap may still turn out to be of the page.
    quiet_s = profile.quiet_s - profile.gap_s + _gap_s(state, profile)
    goes_on = _is_no_poll(state, profile) & (now_s - state["active_s"] <= quiet_s)
    goes_on &= (state["after_s"] - state["end_s"] <= quiet_s) & (now_s - state["after_s"] <= profile.decided_s)
    over = (state["begin_s"] > 0) & (now_s - state["end_s"] > quiet_s) & ~held & ~goes_on
    whole = over & some
    page_s = _page_s(state, profile)
    ended[whole] = page_s[whole]
    state["page_s"] = np.where(whole, page_s, state["page_s"])
    state["closed_s"] = np.where(whole, state["end_s"], state["closed_s"])
    state["over_s"] = np.where(over, now_s, state["over_s"])
    for name in ("begin_s", "born_s", "octets", "after", "end_s", "active_s"):
        state[name] = np.where(over, 0, state[name])


def _give_up(state: Columns, now_s: float, ended: Array, profile: Profile) -> None:
    """End the pages that nobody waits for any more, because nothing came; they took as long as anybody waits."""
    asks = (state["asked_s"] > 0) & (now_s - state["asked_s"] >= profile.longest_wait_s)
    lost = asks & (state["born_s"] > 0) & (state["octets"] < profile.least)
    ended[lost] = profile.longest_wait_s
    state["page_s"] = np.where(lost, profile.longest_wait_s, state["page_s"])
    for name in ("closed_s", "over_s"):
        state[name] = np.where(lost, now_s, state[name])
    for name in ("begin_s", "born_s", "octets", "after", "end_s", "active_s", "asked_s"):
        state[name] = np.where(lost, 0, state[name])


def _page_s(state: Columns, profile: Profile) -> Array:
    """Return the time to load, of activity that goes on after it for a while.

    It begins at the UE before the probe sees it, and ends there when the last byte has passed the queues.
    """
    exact = (state["last_s"] > state["end_s"] - SLOT_S - _TIE_S) & (state["last_s"] <= state["end_s"] + _TIE_S)
    end_s = np.where(exact, state["last_s"], state["end_s"])
    page_s: Array = (1 - profile.after_load) * (end_s - state["begin_s"]) + state["access_s"]
    return page_s


def _exactly(state: Columns, seen: Seen) -> None:
    """Note the last payload of the last slot of a page, where that is known."""
    end = state["end_s"]
    last = np.full(len(state["slot"]), -np.inf)
    of_end = end[seen.row]
    mine = (seen.last_s > of_end - SLOT_S - _TIE_S) & (seen.last_s <= of_end + _TIE_S)
    np.maximum.at(last, seen.row[mine], seen.last_s[mine])
    now = (end > seen.now_s - seen.interval_s) & np.isfinite(last)
    state["last_s"] = np.where(now, last, state["last_s"])


def _waiting(state: Columns, seen: Seen, octets: Array) -> None:
    """Note the first request that waits. A flow without a packet was not read: then the one before still waits."""
    first = np.full(len(state["slot"]), np.inf)
    asks = ~np.isnan(seen.asked_s)
    np.minimum.at(first, seen.row[asks], seen.asked_s[asks])
    silent = (octets.sum(axis=1) == 0) & (state["asked_s"] > 0)
    first = np.where(silent, np.minimum(first, state["asked_s"]), first)
    state["asked_s"] = np.where(np.isfinite(first), first, 0.0)


def _told(state: Columns, now_s: float, ended: Array, profile: Profile) -> Estimates:
    """Return the page that ended; else the longer of the one that lasts and of the last one, while it is fresh."""
    some = state["octets"] >= profile.least
    waits = (state["asked_s"] > 0) & (now_s - state["asked_s"] < profile.longest_wait_s) & (state["born_s"] > 0) & ~some
    so_far = np.where(some, _page_s(state, profile), np.where(waits, now_s - state["born_s"], np.nan))
    so_far = np.where(so_far > profile.patience_s, so_far, np.nan)
    age = (now_s - state["closed_s"]) / profile.hold_s
    held = np.where((state["closed_s"] > 0) & (age < 1), state["page_s"].astype(np.float64), np.nan)
    over = ~np.isnan(ended)
    bound = ~over & ~np.isnan(so_far) & ~(held >= so_far)
    page_s = np.where(over, ended, np.where(bound, so_far, held))
    sure = np.where(over, profile.sure, np.where(bound, profile.sure_of_bound, profile.sure * (1 - age)))
    known = ~np.isnan(page_s)
    return Estimates(
        page_s=page_s,
        pages=over.astype(np.float64),
        confidence=np.where(known, sure, 0.0),
        unmeasured=np.where(known, 0, NO_PAGE).astype(np.uint8),
    )
