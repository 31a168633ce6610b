"""Answers of an interval, in order of their requests: which hold media, which are whole, which broke off.

A request is a new one when none so late was seen before, so an answer that is still under way is counted in its turn.
What divides an answer from the next one is a request; in HTTP/2 and 3 some of these are none, or come while another
answer is under way, so that bytes of one answer stand behind the request for another: then requests are counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array
from nf.qoe.states import put, rows_of
from nf.qoe.video import levels
from nf.qoe.video.columns import Answers, Seen
from nf.qoe.video.content import (
    RECENT,
    SOUND_SURE,
    counts,
    each_s,
    is_regular,
    media_bps,
    paced_bps,
    parts,
    segment_s,
    usual_octets,
)
from nf.qoe.video.profile import Profile
from nf.qoe.video.rests import rest

__all__ = ["Heard", "hear", "longest_wait_s"]

_State = NDArray[Any]
_Bools = NDArray[np.bool_]
_RATE_S = 12.0  # time in which what came loses its weight in the rate that is told
# Pictures in a row so far above the rate that they are of a higher level: steps of a ladder are about twice the rate
# below (Apple's HLS authoring table), and one segment may have twice the mean of its level, but not one after another.
_ABOVE, _ABOVE_N = 1.75, 2
_SHORT = 300.0  # request bytes, bpf/chunks.h: a shorter one is of HTTP/2 or 3, where two go in a burst
_ACK, _SHORTER = 100.0, 0.85  # under so many bytes, and so much of a usual request: an acknowledgement of QUIC
_BESIDE_S = 0.01  # a request so soon after the last byte of another answer was sent before that byte came
# From the last byte, acknowledged a round trip to the UE after the probe saw it, to a request. A player that took
# longer rested. Behind a queue of a second each request would else tell of a rest (own; more than a player takes).
_TURN_S = 0.3
_PIECES_S = 0.05  # an acknowledgement so soon after the last byte cuts an answer
_APART_S = 0.45  # before the first media: a page that ended so long before is not the player's
_UP = 2.5  # a second answer so many times the first is of a higher level, and in one of two players that segment again
_SOUND_SHARE, _ALIKE = 0.4, 0.06  # sound is less than so much of a usual answer; its sizes are alike
_SOUND_RUN = 2  # answers of one size that may be sound, in a row
_SOUND_LEAST_BPS = 50e3  # sound has at least so much, and a picture twice as much
_WHOLE = 0.7  # of the usual size: an answer that has come to rest there is whole
_SMALL = 0.5  # of the usual size: an answer under it and slower than the picture broke off, unless one did before,
_LOWEST_BPS = 350e3  # and it has no more than a lowest level, for which a player asks then
_KNOWN, _UNSURE = 2.0, 6.0  # rests that make content known; before it an answer has to be so many times later or slower
_LONG = 0.25  # of a segment: an answer that took less did not break off


class Heard:
    """Answer that is under way at the end of an interval, (n,) each."""

    def __init__(self, n: int) -> None:
        self.some = np.zeros(n, bool)  # an answer was seen at all
        self.content_s = np.zeros(n)  # of answers that have come to rest
        self.whole = np.zeros(n)  # their number
        self.octets = np.zeros(n)
        self.count = np.zeros(n)  # requests for media whose answers are not closed
        self.asked_s = np.full(n, np.inf)  # the first request that has no answer, however young
        self.waits = np.zeros(n, bool)  # a request has had no answer for so long that it tells
        self.broken = np.zeros(n, bool)  # an answer is slower than the picture, or broke off


def hear(state: _State, seen: Seen, profile: Profile) -> Heard:
    """Take the answers of an interval into *state*, in place; return what is under way."""
    heard = Heard(len(state))
    access_s = _access_s(state, seen)
    for rows, answers in _ranks(seen.closed, seen.under_way):
        row, told_s = rows_of(state, rows), seen.segment_s[rows]
        request, last, octets, requests, length, is_open = answers.T
        noise = (length <= _ACK) & (length < _SHORTER * row["length"])
        new = (request > row["asked_s"]) & ~noise
        idle_s = np.maximum(profile.idle_s, access_s[rows] + _TURN_S)
        rested = new & (row["busy_s"] > 0) & (request - row["busy_s"] >= idle_s)
        _ask(row, new, answers, heard.count[rows], profile)
        rest(row, rested, request, heard.count[rows], told_s, profile)
        times = np.where(length <= _SHORT, np.clip(requests, 1, parts(row)), 1.0) * ~noise
        _close(row, (is_open == 0) & ~noise, answers, times, told_s, profile)
        _join(row, noise, new, request)
        o = is_open > 0
        if o.any():
            _wait(heard, rows[o], row[o], answers[o], times[o], told_s[o], seen.now_s, profile)
        row["octets"] += np.where(noise & ~o, octets, 0)
        row["busy_s"] = np.fmax(row["busy_s"], np.fmax(last, 0))
        row["last_s"] = np.fmax(row["last_s"], np.fmax(last, 0))
        put(state, rows, row)
        heard.some[rows] = True
    return heard


def _access_s(state: _State, seen: Seen) -> Array:
    """Return the round trip to the UE that the answers before the requests of an interval had; remember it.

    They may have stood in a queue that the next answer finds empty.
    """
    before: Array = state["access_s"].copy()
    if seen.access_s is None:
        return before
    state["access_s"] = np.where(np.isnan(seen.access_s), before, seen.access_s)
    return np.fmax(before, seen.access_s)


def _ranks(closed: Answers, under_way: Answers) -> list[tuple[NDArray[np.intp], Array]]:
    """Return the first answer of each row, then the second, ...: request, last, octets, requests, length, is open."""
    both = (closed, under_way)
    row = np.concatenate([a.row for a in both])
    if not len(row):
        return []
    names = ("request_s", "last_s", "octets", "requests", "length")
    columns = [np.concatenate([getattr(a, name) for a in both]) for name in names]
    is_open = np.repeat([0.0, 1.0], [len(a.row) for a in both])
    order = np.lexsort((columns[0], row))
    row = row[order]
    begins = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
    rank = np.arange(len(row)) - np.repeat(begins, np.diff(np.r_[begins, len(row)]))
    table = np.column_stack([*columns, is_open])[order]
    table[:, 2] = np.nan_to_num(table[:, 2])
    return [(row[rank == k], table[rank == k]) for k in range(int(rank.max()) + 1)]


def _ask(row: _State, new: _Bools, answers: Array, open_n: Array, profile: Profile) -> None:
    """Take *new* requests, one a row: the first of the session, and those beside another answer."""
    request, _, octets, requests, length, _ = answers.T
    nothing = (row["count"] + open_n == 0) & (octets < profile.media_octets)
    apart = request - np.maximum(row["busy_s"], row["asked_s"]) >= _APART_S
    page = nothing & (row["begun_s"] == 0) & apart & profile.counted
    first = new & ((row["first_s"] == 0) | page)
    row["first_s"] = np.where(first, request, row["first_s"])
    beside = (row["busy_s"] > 0) & (request - row["busy_s"] < _BESIDE_S)
    beside |= (requests >= 2) & (length <= _SHORT)
    row["asked"] += new & ~nothing
    row["beside"] += new & ~nothing & beside
    row["asked_s"] = np.where(new, request, row["asked_s"])


def _join(row: _State, noise: _Bools, new: _Bools, request: Array) -> None:
    """Take back the content of an answer that acknowledgements cut, until the next request; give it to a fragment.

    A fragment is the little that came before the next request, while the rest stands behind that one.
    """
    soon = request - row["closed_s"]
    cut = noise & (row["pending_s"] == 0) & (np.abs(soon) < _PIECES_S)
    pending = np.where(cut, row["closed_content_s"], 0)
    whole = np.where(new, row["pending_s"], 0)
    beside = new & (np.abs(soon) < _BESIDE_S)
    row["content_s"] += whole - pending + np.where(beside, row["fragment_s"], 0)
    row["fragment_s"] = np.where(beside, 0, row["fragment_s"])
    row["pending_s"] += pending - whole


def _content(row: _State, octets: Array, times: Array, told_s: Array, profile: Profile) -> Array:
    """Return the content in s of answers of *octets* to *times* requests, one a row."""
    each = each_s(row, told_s, profile)
    by_octets = 8 * octets / paced_bps(row)
    content = np.where(is_regular(row, profile) | np.isnan(by_octets), times * each, by_octets)
    least = np.full(len(row), profile.media_octets)
    if not profile.segment_known:
        picture = each * 2 * _SOUND_LEAST_BPS / 8
        least = np.maximum(least, np.where(counts(row, profile), picture, 0))
    return np.where(octets >= least, content, 0.0)


def _close(row: _State, done: _Bools, answers: Array, times: Array, told_s: Array, profile: Profile) -> None:
    """Take the closed answers that are *done*, one a row, into *row*."""
    request, last, octets, _, length, _ = answers.T
    last = np.fmax(last, request)
    media = done & (octets >= profile.media_octets)
    content, broke = _whole(row, done, media, answers, times, told_s, profile)
    row["answers"] += media
    row["count"] += np.where(media, times, 0)
    rest_of = (media & ~broke & (content == 0)) * times * each_s(row, told_s, profile)
    for name, value in (("fragment_s", rest_of), ("closed_content_s", content), ("closed_s", last)):
        row[name] = np.where(done, value, row[name])
    usual = np.where(row["length"] > 0, 0.8 * row["length"] + 0.2 * length, length)
    row["length"] = np.where(media & (length <= _SHORT), usual, row["length"])
    at = np.fmax(row["busy_s"], last)
    enough = (content > 0) & (row["enough_s"] == 0) & profile.counted
    enough &= row["count"] >= np.minimum(parts(row), profile.startup_answers)
    row["enough_s"] = np.where(enough, at, row["enough_s"])
    _fetched(row, content, octets, times, at, _sure(row, told_s, profile), profile)
    levels.observe(row, np.flatnonzero(done), octets[done])


def _fetched(
    row: _State, content: Array, octets: Array, times: Array, at: Array, sure: _Bools, profile: Profile
) -> None:
    """Add content that came to the buffer and to the rate; it is *sure* how much an answer holds."""
    has = content > 0
    second = has & (row["count"] == 2 * times) & (times == parts(row)) & counts(row, profile)
    again = second & (not profile.segment_known) & (row["recent_octets"] > 0) & (octets > _UP * row["recent_octets"])
    row["content_s"] += content - np.where(again, 0.5 * content, 0)
    fade, before_bps = np.exp(-np.maximum(at - row["rate_at_s"], 0) / _RATE_S), media_bps(row)
    for sums, kept in (("recent", RECENT), ("rate", fade)):
        for name, value in (("octets", octets), ("s", content)):
            row[f"{sums}_{name}"] = np.where(has, row[f"{sums}_{name}"] * kept + value, row[f"{sums}_{name}"])
    row["rate_at_s"] = np.where(has, at, row["rate_at_s"])
    _risen(row, content, octets, has & sure, before_bps)


def _risen(row: _State, content: Array, octets: Array, has: _Bools, before_bps: Array) -> None:
    """Begin the rate anew with the first of some pictures that are of a higher level than those *before*.

    The mean over seconds is for segments of one level, which differ; a viewer sees the new level at once.
    """
    two = parts(row)
    picture = has & ((two < 2) | (octets > usual_octets(row)))  # sound is beside it, and less
    base_bps = np.where(row["above_n"] > 0, row["above_bps"], before_bps)
    above = picture & (8 * octets > _ABOVE * base_bps * content * two)
    row["above_bps"] = base_bps
    n = np.where(above, row["above_n"] + 1, np.where(picture, 0, row["above_n"]))
    for name, value in (("octets", octets), ("s", content)):
        since = np.where(n > 0, np.where(row["above_n"] > 0, row[f"above_{name}"], 0) + np.where(has, value, 0), 0)
        row[f"rate_{name}"] = np.where(n >= _ABOVE_N, since, row[f"rate_{name}"])
        row[f"above_{name}"] = np.where(n >= _ABOVE_N, 0, since)
    row["above_n"] = np.where(n >= _ABOVE_N, 0, n)


def _whole(
    row: _State, done: _Bools, media: _Bools, answers: Array, times: Array, told_s: Array, profile: Profile
) -> tuple[Array, _Bools]:
    """Return the content of closed answers, 0 where they are no segment, and where they broke off."""
    request, last, octets, _, _, _ = answers.T
    last = np.fmax(last, request)
    segment = segment_s(row, told_s, profile)
    _repeated(row, media, octets)
    is_sound, known = _sound(row, media, octets, profile)
    took = np.maximum(last - request, 1e-3)
    slow = 8 * octets / took < profile.slower * np.nan_to_num(media_bps(row))
    slow &= (took > np.maximum(profile.wait_s, _LONG * segment)) & (octets < _SMALL * usual_octets(row))
    slow &= counts(row, profile) & ~(is_sound & known) & (not profile.segment_known)
    again = row["alike_n"] > 0  # like the one before it: none breaks off twice at one place
    broke = slow & ~again & ~(row["slow"] & (8 * octets <= _LOWEST_BPS * segment))
    content = np.where(done & ~broke, _content(row, octets, times, told_s, profile), 0)
    neither = known & ~is_sound & (octets < 2 * _SOUND_LEAST_BPS / 8 * segment)
    content = np.where(neither, 0, content)
    row["picture_s"] = np.where((content > 0) & known & ~is_sound, last, row["picture_s"])
    row["slow"] = np.where(media, slow, row["slow"])
    return content, broke


def _sound(row: _State, media: _Bools, octets: Array, profile: Profile) -> tuple[_Bools, _Bools]:
    """Say which answers are sound, and where that can be told: most small answers have one size (majority vote).

    Sound comes between pictures, two in a row at most while a large picture is fetched: more of one size in a row are
    the segments of a low level, and votes against it.
    """
    small = media & (octets <= _SOUND_SHARE * usual_octets(row))
    alike = _alike(octets, row["sound_octets"])
    vote = np.where(alike & (row["alike_n"] < _SOUND_RUN), 1, -1)
    votes = row["sound_n"] + np.where(small, vote, 0)
    other = votes < 0
    row["sound_octets"] = np.where(other, octets, row["sound_octets"])
    row["sound_n"] = np.where(other, 1, votes)
    return media & alike, (row["sound_n"] >= SOUND_SURE) & counts(row, profile)


def _repeated(row: _State, media: _Bools, octets: Array) -> None:
    """Count how many answers of the size of this one came in a row before it."""
    again = media & _alike(octets, row["before_octets"])
    row["alike_n"] = np.where(again, row["alike_n"] + 1, np.where(media, 0, row["alike_n"]))
    row["before_octets"] = np.where(media, octets, row["before_octets"])


def _alike(octets: Array, others: Array) -> _Bools:
    """Say which answers have the size of *others*."""
    alike: _Bools = np.abs(octets - others) <= _ALIKE * others
    return alike


def _sure(row: _State, told_s: Array, profile: Profile) -> _Bools:
    """Say where the content of an answer is known."""
    sure: _Bools = ~np.isnan(told_s) | (row["rest_n"] >= _KNOWN) | profile.segment_known
    return sure


def longest_wait_s(row: _State, told_s: Array, profile: Profile) -> Array:
    """Return how long a request may wait before that is evidence of a stall."""
    return np.where(_sure(row, told_s, profile), profile.wait_s, _UNSURE * profile.wait_s)


def _wait(
    heard: Heard,
    rows: NDArray[np.intp],
    row: _State,
    answers: Array,
    times: Array,
    told_s: Array,
    now_s: float,
    profile: Profile,
) -> None:
    """Take answers that are under way, one a row, into *heard*."""
    request, last, octets, _, _, _ = answers.T
    media = octets >= profile.media_octets
    quiet = now_s - np.fmax(last, request)
    took = np.maximum(np.where(np.isnan(last), now_s, last) - request, 1e-3)
    counted = counts(row, profile)
    bps = np.nan_to_num(np.where(counted, media_bps(row), paced_bps(row)))
    fast = 8 * octets / took >= profile.slower * bps
    share = np.clip(octets / np.maximum(usual_octets(row), profile.media_octets), 0, 1)
    content = _content(row, octets, times, told_s, profile)
    whole = (quiet >= profile.idle_s) & media & ((share >= _WHOLE) | (fast & counted))
    partial = np.where(counted, 0.0, share) * media
    heard.content_s[rows] += np.where(whole, content, content * partial)
    heard.whole[rows] += whole & (content > 0)
    heard.octets[rows] += octets
    heard.count[rows] += np.where(media, times, 0)
    sure = _sure(row, told_s, profile)
    unanswered = octets == 0
    heard.asked_s[rows] = np.where(unanswered, np.minimum(heard.asked_s[rows], request), heard.asked_s[rows])
    heard.waits[rows] |= unanswered & (now_s - request >= longest_wait_s(row, told_s, profile))
    comes = (quiet < profile.idle_s) | (media & counted)
    slow = np.where(sure, ~fast, 8 * octets / took * _UNSURE < profile.slower * bps) | profile.segment_known
    heard.broken[rows] |= (octets > 0) & comes & ~whole & slow
