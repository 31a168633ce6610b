"""Events of a video session, from its requests and answers alone: start-up, buffer, stalls, level.

    answers -> content that has come (`answers`, `rests`); time -> content that was played; the difference is the buffer

A rest is never a stall: a player without content asks. A stall needs an empty buffer and a request without an answer,
or an answer that is slower than the picture or breaks off. It ends once a segment has come. Nothing here is learned
from active probes, nor is an activity classified; the method is that of the integrated buffer (eMIMIC, BUFFEST).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array
from nf.qoe.states import copied
from nf.qoe.video import levels, rate
from nf.qoe.video.answers import hear, longest_wait_s
from nf.qoe.video.columns import COMPLETE, NOTHING, PAUSED, PLAYING, STALLED, STARTING, Estimates, Seen
from nf.qoe.video.content import counts, each_s, is_regular, media_bps, paced_bps, parts, segment_s
from nf.qoe.video.profile import DEFAULT, Profile

__all__ = ["advance", "due"]

_State = NDArray[Any]
_NO_MEDIA = 1  # nf.qoe.reasons


def advance(state: _State, seen: Seen, profile: Profile = DEFAULT) -> tuple[_State, Estimates]:
    """Return the state after an interval and its estimates; *state* (n,) of STATE stays as it is."""
    state = copied(state)
    fresh = state["now_s"] == 0
    state["now_s"][fresh] = seen.now_s
    heard = hear(state, seen, profile)
    for name, value in (
        ("open_since_s", np.where(np.isfinite(heard.asked_s), heard.asked_s, 0)),
        ("open_octets", heard.octets),
        ("came_s", heard.content_s),
    ):  # where nothing passed all is as it was
        state[name] = np.where(heard.some, value, state[name])
    since = np.where(state["open_since_s"] > 0, state["open_since_s"], np.inf)
    waits = heard.waits | (seen.now_s - since >= longest_wait_s(state, seen.segment_s, profile))
    _start(state, seen.now_s, heard.whole, profile)
    stalled, begun, buffer = _play(state, seen, state["came_s"], waits | heard.broken, profile)
    return state, _told(state, seen, buffer, stalled, begun, profile)


def _start(state: _State, now_s: float, whole: Array, profile: Profile) -> None:
    """Tell the first picture: enough bytes, or a whole answer for each part of a segment and the time to show it."""
    waiting = (state["begun_s"] == 0) & (state["first_s"] > 0)
    total, before = state["octets"] + state["open_octets"], state["heard_octets"]
    many = total >= profile.startup_octets
    needed = np.minimum(parts(state), profile.startup_answers)
    closed = state["enough_s"] > 0
    came = closed | ((state["count"] + whole >= needed) & profile.counted)
    share = np.clip((profile.startup_octets - before) / np.maximum(total - before, 1), 0, 1)
    since = np.maximum(np.minimum(state["now_s"], now_s), state["first_s"])
    by_octets = since + share * np.maximum(np.minimum(state["last_s"], now_s) - since, 0)
    shown = np.where(closed, state["enough_s"], np.minimum(state["last_s"], now_s)) + profile.show_s
    at = np.minimum(np.where(many, by_octets, np.inf), np.where(came, shown, np.inf))
    begun = waiting & (at <= now_s)
    state["begun_s"][begun] = np.maximum(at, state["first_s"])[begun]
    state["phase"][waiting & ~begun] = STARTING
    state["phase"][begun] = PLAYING
    state["now_s"][begun] = np.maximum(state["now_s"], state["begun_s"])[begun]


def _play(
    state: _State, seen: Seen, came: Array, evidence: NDArray[np.bool_], profile: Profile
) -> tuple[Array, Array, Array]:
    """Play content for the time that has passed; return seconds stalled, stalls begun and the buffer."""
    now_s = seen.now_s
    passed = np.maximum(now_s - state["now_s"], 0)
    on = state["begun_s"] > 0
    have = np.maximum(state["content_s"] + came - state["played_s"], 0)
    was_stalled = state["phase"] == STALLED
    picture = (state["picture_s"] > state["stall_from_s"]) & (have >= profile.resume_s)
    resumed = was_stalled & ((have >= _resume_s(state, seen, profile)) | picture)
    still = was_stalled & ~resumed
    left = np.where(evidence & counts(state, profile), profile.left_s, 0)
    playable = np.where(on & ~still, np.minimum(np.maximum(have - left, 0), passed), 0)
    short = np.where(on, passed - playable, 0)
    empty = on & (short > 1e-6) & (have - playable <= left + 1e-6)
    stall = still | (empty & evidence)
    stalled = np.where(stall, short, 0)
    begun = stall & ~was_stalled
    state["played_s"] += playable
    state["stalled_s"] += stalled
    state["stalls"] += begun
    state["stall_from_s"] = np.where(begun, now_s - short, state["stall_from_s"])
    buffer = np.where(on, have - playable, have)
    rest = now_s - np.maximum(state["busy_s"], state["last_s"])
    gap = np.maximum(each_s(state, seen.segment_s, profile), 2.0)
    others = [np.full(len(state), phase) for phase in (STALLED, PAUSED, COMPLETE)]
    before, done = state["phase"].astype(int), (rest > profile.complete_gaps * gap) & ~evidence
    state["phase"] = np.select([~on, stall, empty, done], [before, *others], PLAYING)
    state["now_s"] = np.maximum(state["now_s"], now_s)
    state["heard_octets"] = state["octets"] + state["open_octets"]
    return stalled, begun.astype(float), buffer


def _resume_s(state: _State, seen: Seen, profile: Profile) -> Array:
    """Return the content that ends a stall: a segment of what is asked for, less what counting may lack."""
    counted = is_regular(state, profile)
    return np.where(
        counted, np.maximum(0.9 * segment_s(state, seen.segment_s, profile), profile.resume_s), profile.resume_s
    )


def _told(state: _State, seen: Seen, buffer: Array, stalled: Array, begun: Array, profile: Profile) -> Estimates:
    """Return the estimates of rows of state; sets the level, too."""
    learned = state["rest_answers"] > 0
    media = media_bps(state)
    irregular = ~is_regular(state, profile)
    media = np.where(irregular & learned, paced_bps(state), media)
    level = _level(state, seen, media, profile)
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


def _level(state: _State, seen: Seen, media: Array, profile: Profile) -> NDArray[np.intp]:
    """Return the level, 0..5: by the forest within the range of its data, else by the ladder."""
    bps = np.where(np.isnan(media), 0, media)
    level = levels.by_ladder(bps, profile.ladder_bps)
    long = (state["rest_answers"] > 0) & (each_s(state, seen.segment_s, profile) >= profile.forest_content_s)
    inside = long & (bps <= profile.forest_bps) & (state["sizes"].sum(axis=1) >= 4)
    if inside.any():
        voted = levels.by_forest(state[inside]).argmax(axis=1)
        likely = (bps[inside] >= levels.LEAST_BPS[voted]) & (bps[inside] <= levels.MOST_BPS[voted])
        level[inside] = np.where(likely, voted, level[inside])
    return level


def due(state: _State, now_s: float, profile: Profile = DEFAULT) -> NDArray[np.bool_]:
    """Say which remembered rows need an interval without packets: a stall that lasts, or a request that waits."""
    waits = (state["open_since_s"] > 0) & (now_s - state["open_since_s"] >= profile.wait_s)
    asked: NDArray[np.bool_] = (state["phase"] == STALLED) | (waits & (state["phase"] == PLAYING))
    return asked
