"""Rests of a player: what they tell of the content of its requests, and of its buffer.

A player whose buffer is full rests, and asks for one segment after another as they are played: between two requests
after a rest as much content came as time has passed, and the buffer is as full as it was before. Pauses while a
buffer fills say too little content, so that a rest that says more replaces what was learned, and one that says less
is believed slowly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array
from nf.qoe.video.columns import STALLED
from nf.qoe.video.content import DIFFERS, counts, each_s, is_regular, paced_bps, parts, weight
from nf.qoe.video.profile import Profile

__all__ = ["rest"]

_State = NDArray[Any]
_FADE = 0.9  # of what was learned in rests, by each further one
_SHORTER_FADE = 0.6  # the same, by one that says less
_LONGEST_S = 30.0  # a longer rest is likely a pause of the viewer, and teaches nothing
_CYCLE = 2.0  # segments between two rests, above which the buffer was filled between them
_EARLY = 4  # rests, until which all that came before is counted anew
_SURE, _NEAR, _FOLLOWS = 2, 1.1, 0.2  # rests that agreed on a full buffer; segments off it; share by which it moves


def rest(
    row: _State, rested: NDArray[np.bool_], request: Array, open_n: Array, told_s: Array, profile: Profile
) -> None:
    """Learn from requests that came after a rest, one a row; *open_n* requests for media have answers under way."""
    playing = rested & (row["phase"] != STALLED)
    count, gap = row["count"] + open_n, request - row["busy_s"]
    passed, n = request - row["anchor_s"], count - row["anchor_count"]
    short = gap < _LONGEST_S
    enough = (n >= parts(row)) | (row["anchor_s"] == 0) | (not profile.counted)
    paced = playing & (row["anchor_s"] > 0) & short & (n > 0) & enough
    steady = paced & ((n <= _CYCLE * parts(row)) | (not profile.counted))
    _learn(row, paced, steady, passed, n, profile)
    moved = rested & (count > 0) & (enough | ~short)
    for name, value in (("anchor_s", request), ("anchor_count", count), ("anchor_octets", row["octets"])):
        row[name] = np.where(moved, value, row[name])
    if not profile.segment_known:
        least = np.where(short, gap, 0)
        _correct(row, playing & (row["begun_s"] > 0), steady, open_n, least, told_s, profile)


def _learn(
    row: _State, paced: NDArray[np.bool_], steady: NDArray[np.bool_], passed: Array, n: Array, profile: Profile
) -> None:
    """Add a time between two rests, in which *n* requests were answered, to the sums."""
    each = np.where(steady, passed / np.maximum(n, 1), 0)
    mean = row["rest_s"] / np.maximum(row["rest_answers"], 1)
    longer, shorter = each > (1 + DIFFERS) * mean, each < (1 - DIFFERS) * mean
    fade = np.full(len(row), _FADE)
    if profile.counted:
        fade = np.where(longer, 0.0, np.where(shorter, _SHORTER_FADE, _FADE))
    for name, value in (("rest_s", passed), ("rest_answers", n), ("rest_n", np.ones(len(row)))):
        row[name] = np.where(steady, row[name] * fade + value, row[name])
    differs = (row["rest_n"] > 1) & (longer | shorter)
    for name, is_so in (("odd", differs), ("even", ~differs)):
        row[name] = np.where(steady, row[name] * _FADE + is_so, row[name])
    for name, value in (("paced_s", passed), ("paced_octets", row["octets"] - row["anchor_octets"])):
        row[name] = np.where(paced, row[name] * _FADE + value, row[name])


def _correct(
    row: _State,
    playing: NDArray[np.bool_],
    steady: NDArray[np.bool_],
    open_n: Array,
    least: Array,
    told_s: Array,
    profile: Profile,
) -> None:
    """Count what came before anew where content was just learned, and hold the buffer to what rests leave in it.

    Segments that are fetched twice, at a higher level, and answers that break off make a count too large; a full
    buffer stays as it was. A player that rested had at least as much content as its rest was long.
    """
    each, regular = each_s(row, told_s, profile), is_regular(row, profile)
    early = steady & (row["rest_n"] < _EARLY) & (row["stalls"] == 0)
    by_octets = 8 * row["octets"] / np.fmax(paced_bps(row), 1)
    content = np.where(early, np.where(regular, row["count"] * each, by_octets), row["content_s"])
    beside = np.where(regular, open_n * each, 0)
    buffer = np.maximum(content + beside - row["played_s"], np.maximum(np.maximum(each, profile.resting_s), least))
    known, held = row["full_n"] >= _SURE, playing & counts(row, profile)
    near = np.abs(buffer - row["full_s"]) <= np.maximum(_NEAR * each * parts(row), 2.0)
    moved = np.where(near, (1 - _FOLLOWS) * row["full_s"] + _FOLLOWS * buffer, row["full_s"])
    full = np.where(known & ~early, moved, buffer)
    n = np.where(steady & (near | early), row["full_n"] + 1, np.where(known, row["full_n"], 0))
    row["full_n"] = np.where(held, n, row["full_n"])
    row["full_s"] = np.where(held, full, row["full_s"])
    row["content_s"] = np.where(playing, np.where(held, full, buffer) + row["played_s"] - beside, row["content_s"])
    _rate_anew(row, early & regular, each)


def _rate_anew(row: _State, anew: NDArray[np.bool_], each: Array) -> None:
    """Give the last answers the content that was just learned."""
    of_answer = each * row["count"] / np.maximum(row["answers"], 1)
    row["recent_s"] = np.where(anew, of_answer * weight(row["answers"].astype(np.float64)), row["recent_s"])
    for name in ("octets", "s"):
        row[f"rate_{name}"] = np.where(anew, row[f"recent_{name}"], row[f"rate_{name}"])
