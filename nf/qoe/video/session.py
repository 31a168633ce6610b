"""Events of a video session, from its requests and answers alone: start-up, buffer, stalls, level.

    closed answers -> content that has come; time -> content that was played; the difference is the buffer

The content of an answer is learned from the rests of the player: when it asks for more after a rest its buffer is
as full as it wants it, so between two such requests as much content came as time has passed. Where answers hold
equal content (most players) they are counted, else their bytes. A rest is never a stall: a player without
content asks. A stall needs an empty buffer and a request without an answer, or an answer that breaks off. Nothing
here is learned from active probes, nor is an activity classified; the method is that of the
integrated buffer (eMIMIC, BUFFEST).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array
from nf.qoe.states import copied, put, rows_of
from nf.qoe.video import levels, rate
from nf.qoe.video.columns import (
    COMPLETE,
    NOTHING,
    PAUSED,
    PLAYING,
    STALLED,
    STARTING,
    Answers,
    Estimates,
    Seen,
)
from nf.qoe.video.profile import DEFAULT, Profile

__all__ = ["advance", "due"]

_State = NDArray[Any]
_FADE = 0.9  # of what was learned in rests, by each further one
_RECENT = 0.75  # of the rate of the last answers, by each further one
_LONGEST_REST_S = 30.0  # a longer one is likely a pause of the viewer, and teaches nothing
_WHOLE = 0.7  # of the usual size: an answer that has come to rest there is whole
_NO_MEDIA = 1  # nf.qoe.reasons


def advance(state: _State, seen: Seen, profile: Profile = DEFAULT) -> tuple[_State, Estimates]:
    """Return the state after an interval and its estimates; *state* (n,) of STATE stays as it is."""
    state = copied(state)
    fresh = state["now_s"] == 0
    state["now_s"][fresh] = seen.now_s
    for rows, answers in _ranks(seen.closed):
        _close(state, rows, answers, profile)
    came, whole, evidence = _under_way(state, seen, profile)
    _start(state, seen.now_s, whole, profile)
    stalled, begun, buffer = _play(state, seen.now_s, came, evidence, profile)
    return state, _told(state, buffer, stalled, begun, profile)


def _ranks(answers: Answers) -> list[tuple[NDArray[np.intp], Array]]:
    """Return the first answer of each row, then the second, ...: columns (request, first, last, octets)."""
    if not len(answers.row):
        return []
    order = np.lexsort((answers.request_s, answers.row))
    row = answers.row[order]
    begins = np.flatnonzero(np.r_[True, row[1:] != row[:-1]])
    rank = np.arange(len(row)) - np.repeat(begins, np.diff(np.r_[begins, len(row)]))
    columns = np.column_stack([answers.request_s, answers.first_s, answers.last_s, answers.octets])[order]
    return [(row[rank == k], columns[rank == k]) for k in range(int(rank.max()) + 1)]


def _each(state: _State, profile: Profile) -> Array:
    """Return the content of one answer in s, as far as rests have told it."""
    known = (state["rest_answers"] > 0) & (not profile.segment_known)
    each: Array = np.where(known, state["rest_s"] / np.where(known, state["rest_answers"], 1), profile.segment_s)
    return each


def _regular(state: _State, profile: Profile) -> NDArray[np.bool_]:
    """Say where all answers hold about the same content, so that they are counted instead of their bytes."""
    n = np.maximum(state["rest_n"], 1)
    mean = state["rest_each"] / n
    spread = np.sqrt(np.maximum(state["rest_each2"] / n - mean**2, 0))
    regular: NDArray[np.bool_] = profile.segment_known | (state["rest_n"] < 2) | (spread <= profile.irregular * mean)
    return regular


def _content(state: _State, octets: Array, profile: Profile) -> Array:
    """Return the content in s of answers of *octets*, one a row of *state*."""
    rate = np.where(state["rest_octets"] > 0, state["rest_octets"] / np.maximum(state["rest_s"], 1e-3), np.inf)
    by_bytes = octets / rate
    content: Array = np.where(_regular(state, profile) | (by_bytes == 0), _each(state, profile), by_bytes)
    return np.where(octets >= profile.media_octets, content, 0.0)


def _close(state: _State, rows: NDArray[np.intp], answers: Array, profile: Profile) -> None:
    """Take one closed answer of each of *rows* into *state*."""
    request, _, last, octets = answers.T
    octets, last = np.nan_to_num(octets), np.where(np.isnan(last), request, last)
    row = rows_of(state, rows)
    new = row["first_s"] == 0
    row["first_s"][new] = request[new]
    rested = ~new & (row["busy_s"] > 0) & (request - row["busy_s"] >= profile.idle_s)
    row["hungry"] = ~rested
    _learn(row, rested, request, profile)
    media = octets >= profile.media_octets
    content = _content(row, octets, profile)
    row["answers"] += media
    row["enough_s"] = np.where(media & (row["answers"] == profile.startup_answers), last, row["enough_s"])
    row["content_s"] += content
    row["recent_octets"] = np.where(media, row["recent_octets"] * _RECENT + octets, row["recent_octets"])
    row["recent_s"] = np.where(media, row["recent_s"] * _RECENT + content, row["recent_s"])
    row["busy_s"] = np.maximum(row["busy_s"], last)
    row["last_s"] = np.maximum(row["last_s"], last)
    levels.observe(row, np.arange(len(row)), octets)
    put(state, rows, row)


def _learn(row: _State, rested: NDArray[np.bool_], request: Array, profile: Profile) -> None:
    """Learn from requests after a rest how much content answers hold; a buffer that rests is not empty."""
    playing = rested & (row["phase"] != STALLED)
    passed, answers = request - row["anchor_s"], row["answers"] - row["anchor_answers"].astype(float)
    rest = request - row["busy_s"]
    usable = playing & (row["anchor_s"] > 0) & (answers > 0) & (rest < _LONGEST_REST_S)
    each = np.where(usable, passed / np.maximum(answers, 1), 0)
    octets = row["octets"] - row["anchor_octets"]
    for name, value in (
        ("rest_s", passed),
        ("rest_answers", answers),
        ("rest_octets", octets),
        ("rest_each", each),
        ("rest_each2", each**2),
        ("rest_n", np.ones(len(row))),
    ):
        row[name] = np.where(usable, row[name] * _FADE + value, row[name])
    row["anchor_s"] = np.where(rested, request, row["anchor_s"])
    row["anchor_answers"] = np.where(rested, row["answers"], row["anchor_answers"])
    row["anchor_octets"] = np.where(rested, row["octets"], row["anchor_octets"])
    if not profile.segment_known:
        _correct(row, playing & (row["begun_s"] > 0), usable & (row["rest_n"] < 4), profile)


def _correct(row: _State, playing: NDArray[np.bool_], early: NDArray[np.bool_], profile: Profile) -> None:
    """Count what came before anew where content has just been learned, and leave something to those who rest."""
    each = _each(row, profile)
    rate = row["rest_octets"] / np.maximum(row["rest_s"], 1e-3)
    whole = np.where(_regular(row, profile), row["answers"] * each, row["octets"] / np.maximum(rate, 1))
    content = np.where(early, np.maximum(whole, row["played_s"]), row["content_s"])
    row["content_s"] = np.where(
        playing, np.maximum(content, row["played_s"] + np.maximum(each, profile.resting_s)), content
    )
    row["recent_s"] = np.where(early & _regular(row, profile), each * _weight(row["answers"]), row["recent_s"])


def _weight(answers: Array) -> Array:
    """Return how many answers a fading sum of so many stands for."""
    weight: Array = (1 - _RECENT ** np.maximum(answers, 1.0)) / (1 - _RECENT)
    return weight


def _under_way(state: _State, seen: Seen, profile: Profile) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return the content that has come in answers under way, how many are whole, and where a player seems to wait."""
    n, now_s = len(state), seen.now_s
    came, whole_of, octets_of = np.zeros(n), np.zeros(n), np.zeros(n)
    waits, broken = np.zeros(n, bool), np.zeros(n, bool)
    for rows, answers in _ranks(seen.under_way):
        request, _, last, octets = answers.T
        octets = np.nan_to_num(octets)
        row = rows_of(state, rows)
        new = row["first_s"] == 0
        row["first_s"][new] = request[new]
        rested = (row["busy_s"] > 0) & (request - row["busy_s"] >= profile.idle_s)
        put(state, rows, row)
        usual = row["recent_octets"] / _weight(row["answers"])
        quiet = now_s - np.where(np.isnan(last), request, last)
        share = np.clip(octets / np.maximum(usual, profile.media_octets), 0, 1)
        whole = (quiet >= profile.idle_s) & (octets >= profile.media_octets)
        each = _content(row, np.maximum(octets, profile.media_octets), profile)
        whole &= share >= _WHOLE
        part = 0.0 if profile.segment_known else share * (octets >= profile.media_octets)
        came[rows] += np.where(whole, each, each * part)
        whole_of[rows] += whole
        octets_of[rows] += octets
        waits[rows] |= (octets == 0) & (now_s - request >= profile.wait_s)
        rate = octets / np.maximum(now_s - request, 1e-3)
        slow = (quiet < profile.idle_s) & (rate < profile.slower * row["rest_octets"] / np.maximum(row["rest_s"], 1e-3))
        incomplete = ~rested | (share < _WHOLE) | (quiet < profile.idle_s)
        broken[rows] |= (octets > 0) & (incomplete if profile.segment_known else slow)
        busy = np.where(np.isnan(last), row["busy_s"], last)
        state["last_s"][rows] = np.maximum(state["last_s"][rows], busy)
        state["open_since_s"][rows] = np.where(octets == 0, request, 0)
    state["open_octets"] = octets_of
    return came, whole_of, waits | broken


def _start(state: _State, now_s: float, whole: Array, profile: Profile) -> None:
    """Tell the first picture: enough bytes or whole answers."""
    waiting = (state["begun_s"] == 0) & (state["first_s"] > 0)
    enough = state["octets"] + state["open_octets"] >= profile.startup_octets
    enough |= state["answers"] + whole >= profile.startup_answers
    begun = waiting & enough
    total, before = state["octets"] + state["open_octets"], state["heard_octets"]
    share = np.clip((profile.startup_octets - before) / np.maximum(total - before, 1), 0, 1)
    since = np.maximum(np.minimum(state["now_s"], now_s), state["first_s"])
    at = since + share * np.maximum(np.minimum(state["last_s"], now_s) - since, 0)
    at = np.where(state["enough_s"] > 0, np.minimum(at, state["enough_s"]), at)
    state["begun_s"][begun] = np.maximum(at, state["first_s"])[begun]
    state["phase"][waiting & ~enough] = STARTING
    state["phase"][begun] = PLAYING
    state["now_s"][begun] = np.maximum(state["now_s"], state["begun_s"])[begun]


def _play(
    state: _State, now_s: float, came: Array, evidence: NDArray[np.bool_], profile: Profile
) -> tuple[Array, Array, Array]:
    """Play content for the time that has passed; return seconds stalled, stalls begun and the buffer."""
    passed = np.maximum(now_s - state["now_s"], 0)
    on = state["begun_s"] > 0
    have = np.maximum(state["content_s"] + came - state["played_s"], 0)
    was_stalled = state["phase"] == STALLED
    resumed = was_stalled & (have >= profile.resume_s)
    still = was_stalled & ~resumed
    playable = np.where(on & ~still, np.minimum(have, passed), 0)
    short = np.where(on, passed - playable, 0)
    empty = on & (short > 1e-6) & (have - playable <= 1e-6)
    stall = still | (empty & evidence)
    stalled = np.where(stall, short, 0)
    begun = stall & ~was_stalled
    state["played_s"] += playable
    state["stalled_s"] += stalled
    state["stalls"] += begun
    buffer = np.where(on, have - playable, have)
    rest = now_s - np.maximum(state["busy_s"], state["last_s"])
    gap = np.maximum(_each(state, profile), 2.0)
    others = [np.full(len(state), phase) for phase in (STALLED, PAUSED, COMPLETE)]
    before = state["phase"].astype(int)
    state["phase"] = np.select([~on, stall, empty, rest > profile.complete_gaps * gap], [before, *others], PLAYING)
    state["now_s"] = np.maximum(state["now_s"], now_s)
    state["heard_octets"] = state["octets"] + state["open_octets"]
    return stalled, begun.astype(float), buffer


def _told(state: _State, buffer: Array, stalled: Array, begun: Array, profile: Profile) -> Estimates:
    """Return the estimates of rows of state; sets the level, too."""
    learned = state["rest_answers"] > 0
    media = 8 * state["recent_octets"] / np.where(state["recent_s"] > 0, state["recent_s"], np.nan)
    irregular = ~_regular(state, profile)
    steady = 8 * state["rest_octets"] / np.where(state["rest_s"] > 0, state["rest_s"], np.nan)
    media = np.where(irregular & learned, steady, media)
    level = _level(state, media, profile)
    known = (state["answers"] >= 1) & (level >= 0)
    changed = known & (state["level"] > 0) & (state["level"] != level + 1)
    state["switches"] += changed
    state["level"] = np.where(known, level + 1, state["level"])
    on = state["begun_s"] > 0
    height = np.where(known, levels.HEIGHTS[np.clip(level, 0, 5)], np.nan)
    startup = np.where(on, state["begun_s"] - state["first_s"], np.nan)
    rate.remember(state, rate.picture(height, media), stalled)
    length = np.maximum(state["now_s"] - state["begun_s"], 1e-3)
    return Estimates(
        video_height=height,
        media_bps=media,
        startup_s=startup,
        stalled_s=np.where(on, stalled, np.nan),
        stalls=np.where(on, begun, np.nan),
        stall_ratio=np.where(on, state["stalled_s"] / length, np.nan),
        buffer_s=np.where(on, buffer, np.nan),
        switches=np.where(known, state["switches"].astype(float), np.nan),
        mos_session=rate.of_session(state, startup),
        state=state["phase"].copy(),
        confidence=np.where(on, np.where(learned, np.minimum(0.5 + 0.1 * state["rest_n"], 0.9), 0.3), 0.0),
        unmeasured=np.where(state["phase"] == NOTHING, _NO_MEDIA, 0).astype(np.uint8),
    )


def _level(state: _State, media: Array, profile: Profile) -> NDArray[np.intp]:
    """Return the level, 0..5: by the forest within the range of its data, else by the ladder."""
    bps = np.where(np.isnan(media), 0, media)
    level = levels.by_ladder(bps, profile.ladder_bps)
    long = (state["rest_answers"] > 0) & (_each(state, profile) >= profile.forest_content_s)
    inside = long & (bps <= profile.forest_bps) & (state["sizes"].sum(axis=1) >= 4)
    if inside.any():
        level[inside] = levels.by_forest(state[inside]).argmax(axis=1)
    return level


def due(state: _State, now_s: float, profile: Profile = DEFAULT) -> NDArray[np.bool_]:
    """Say which remembered rows need an interval without packets: a stall that lasts, or a request that waits."""
    waits = (state["open_since_s"] > 0) & (now_s - state["open_since_s"] >= profile.wait_s)
    asked: NDArray[np.bool_] = (state["phase"] == STALLED) | (waits & (state["phase"] == PLAYING))
    return asked
