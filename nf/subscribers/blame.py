"""Evidence for the suspects of an interval, and the memory of those that were convicted.

    rows with a bad score ── `Blame.of` ──────── evidence ── `nf.subscribers.suspect` ──┐
    rows that stand still ── `Blame.standing` ── what was known of them lately ─────────┴─ columns of the record

A score may tell of some seconds ago (a page that ended, a player that has no content left), so a suspect without a
trace of now is the one that was convicted last, for as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import APP_CLASSES
from nf.flows.search import one_of
from nf.qoe.inputs import DOWNLINK, UPLINK, Array
from nf.subscribers.fading import KeyTable
from nf.subscribers.lately import APP_BITS, Sides
from nf.subscribers.n3 import Ways
from nf.subscribers.suspect import (
    ACCESS,
    CORE,
    GOOD_MOS,
    LONG_MS,
    MEASURES,
    MUCH_LOSS,
    SUSPECTS,
    VARIED_MS,
    Evidence,
    Verdicts,
    suspect,
)
from nf.subscribers.views import Interval

__all__ = ["Blame", "Given", "one_way"]

Keys = NDArray[np.int64]
Given = Mapping[str, NDArray[Any]]  # columns of the record
Parts = Mapping[str, tuple[NDArray[np.intp], Given]]  # by class: its rows, and what happened to them

HOLD_S = 10.0  # the longest that a score tells of what has passed (nf.qoe.pages, nf.qoe.messaging: hold_s)
ENOUGH = 1.5  # times the rate of the media: a player that gets so much fills its buffer (own; T-RAT has no such limit)
# Packets of one direction that nothing answered: one of them sent again, or so many of a call, of a game, or of data.
# Those of fewer bytes acknowledge what came before, and nobody answers them: 52 to 110 in TCP and QUIC (own).
ALONE, MANY, DATA_BYTES = 2, 10, 128
_KNOWN = np.dtype([("word", "u1"), ("by", "u1"), ("value", "f8"), ("sure", "f8"), ("at_s", "f8")])

_NUMBER = {word: i for i, word in enumerate(SUSPECTS.tolist())}
_MEASURE = {name: i for i, name in enumerate(MEASURES.tolist())}
_KEPT = np.isin(SUSPECTS, ("access", "core", "loss", "n3", "upf", "server"))
_WEAK = np.isin(SUSPECTS, ("app", "device", "unknown"))
_REAL_TIME = one_of(APP_CLASSES.index(name) for name in ("conferencing", "voice", "gaming"))
_OF_THE_PAST = one_of(  # their scores tell of what took long, after it did
    APP_CLASSES.index(name)
    for name in ("video", "live-video", "web", "social", "navigation", "messaging", "voice", "conferencing")
)
_VOICE, _GAMING = APP_CLASSES.index("voice"), APP_CLASSES.index("gaming")
_PLAYS = ("playing", "paused", "complete")


def one_way(packets: NDArray[Any]) -> NDArray[np.uint8]:
    """Return for (n, 2) packets which side answers nothing: 1 CORE, 2 ACCESS, and 0 where both send or none does."""
    sent = packets > 0
    side = np.where(sent[:, UPLINK], 1, 2)
    one = (sent[:, UPLINK] != sent[:, DOWNLINK]) & ~np.isnan(packets.astype(np.float64)).any(axis=1)
    return np.where(one, side, 0).astype(np.uint8)


class Blame:
    """The suspects of rows. ``capacity`` bounds how many are remembered."""

    def __init__(self, capacity: int) -> None:
        self._known = KeyTable(np.zeros(0, _KNOWN), HOLD_S, capacity)

    def of(
        self,
        interval: Interval,
        sides: Sides,
        given: Given,
        class_of: NDArray[np.uint8],
        seen: Sequence[bool] | NDArray[np.bool_],
        mos: Array,
        parts: Parts,
        ways: Ways,
    ) -> Given:
        """Return the columns ``suspect`` and those that begin with it of the rows of an interval.

        *given* has the columns of the delays of its rows, *class_of* (n,) their classes; *seen* says whether uplink
        and downlink can be seen. *ways* are those to the gNBs.
        """
        past = _OF_THE_PAST[class_of]
        bad = np.flatnonzero((mos < GOOD_MOS) | (past & _troubled(sides)))  # or will be
        if not len(bad):
            return _columns(mos, bad, suspect(_nothing()))
        evidence = _evidence(interval, sides, given, class_of, bool(np.all(seen)), bad, parts, ways)
        verdicts = self._lately(interval.keys[bad], suspect(evidence), past[bad], interval.now_s)
        return _columns(mos, bad, verdicts)

    def _lately(self, keys: Keys, verdicts: Verdicts, past: NDArray[np.bool_], now_s: float) -> Verdicts:
        """Replace verdicts without a trace of now by those of a moment ago where scores are *past*; keep others."""
        known, old, _ = self._known.get(keys)
        rows = np.zeros(len(keys), _KNOWN)
        rows[known] = old
        held = past & (rows["word"] > 0) & (now_s - rows["at_s"] <= HOLD_S) & _WEAK[verdicts.word]
        out = Verdicts(
            np.where(held, rows["word"], verdicts.word).astype(np.intp),
            np.where(held, rows["by"], verdicts.by).astype(np.intp),
            np.where(held, rows["value"], verdicts.value),
            np.where(held, rows["sure"], verdicts.sure),
        )
        fresh = _KEPT[verdicts.word]
        new = np.zeros(np.count_nonzero(fresh), _KNOWN)
        for name in ("word", "by", "value", "sure"):
            new[name] = getattr(verdicts, name)[fresh]
        new["at_s"] = now_s
        self._known.put(keys[fresh], new, now_s)
        return out

    def standing(self, keys: Keys, way: NDArray[np.uint8], present: Keys, mos: Array, now_s: float) -> Given:
        """Return the columns of rows of which nothing passed, by their sorted *keys*.

        What was convicted a moment ago still is, and stays so while the row stands. Else it is the side that did not
        answer the last packets (*way*, of `one_way`): who has no answer sends again. Who stands still without sending
        again had his request acknowledged, so the server waits; where others of the subscriber are *present* (sorted
        keys), so that this is not for want of a network.
        """
        known, old, _ = self._known.get(keys)
        rows = np.zeros(len(keys), _KNOWN)
        rows[known] = old
        word = rows["word"].astype(np.intp)
        people = np.unique(present >> APP_BITS)
        alive = np.isin(keys >> APP_BITS, people)
        guess = np.select(
            [way == 1, way == 2, alive], [_NUMBER["core"], _NUMBER["access"], _NUMBER["server"]], _NUMBER["unknown"]
        )
        by = np.where(
            word > 0, rows["by"], np.where(way > 0, _MEASURE["silence"], np.where(alive, _MEASURE["wait"], 0))
        )
        value, sure = (np.where(word > 0, rows[name], np.nan) for name in ("value", "sure"))
        verdicts = Verdicts(np.where(word > 0, word, guess), by, value, sure)
        self._known.put(keys[word > 0], rows[word > 0], now_s)
        return _columns(mos, np.arange(len(mos)), verdicts)


def _troubled(sides: Sides) -> NDArray[np.bool_]:
    """Say of rows whether one of their sides is beyond its limits, which a score may tell later."""
    beyond = (sides.loss >= MUCH_LOSS) | (sides.least_ms >= LONG_MS) | (sides.high_ms - sides.least_ms >= VARIED_MS)
    return np.asarray(beyond.any(axis=1), np.bool_)


def _columns(mos: Array, rows: NDArray[np.intp], verdicts: Verdicts) -> Given:
    """Return the columns of all rows by the verdicts of some; those with a good score, or none, have no suspect."""
    n, bad = len(mos), mos[rows] < GOOD_MOS
    word, by, value, sure = np.zeros(n, np.intp), np.zeros(n, np.intp), np.full(n, np.nan), np.full(n, np.nan)
    told = rows[bad]
    word[told], by[told] = verdicts.word[bad], verdicts.by[bad]
    value[told], sure[told] = verdicts.value[bad], verdicts.sure[bad]
    return {
        "suspect": SUSPECTS[word],
        "suspect_by": MEASURES[by],
        "suspect_value": value,
        "suspect_confidence": sure,
    }


def _nothing() -> Evidence:
    two, one = np.zeros((0, 2)), np.zeros(0)
    flags = np.zeros(0, np.bool_), np.zeros(0, np.bool_)
    return Evidence(two, two, two, two, two, two, one, *(one,) * 5, two, one, *flags, one, one)


def _evidence(
    interval: Interval,
    sides: Sides,
    given: Given,
    class_of: NDArray[np.uint8],
    both_seen: bool,
    bad: NDArray[np.intp],
    parts: Parts,
    ways: Ways,
) -> Evidence:
    """Return what there is of the rows *bad*."""
    real_time = _REAL_TIME[class_of[bad]]
    halves, high = _halves_ms(interval, bad, real_time)
    least = np.fmax(sides.least_ms[bad], halves)

    place = np.full(len(class_of), -1)
    place[bad] = np.arange(len(bad))

    def column(name: str, empty: Any = np.nan) -> NDArray[Any]:
        out = np.full(len(bad), empty, object if isinstance(empty, str) else np.float64)
        for part, columns in parts.values():
            if name in columns:
                mine = place[part] >= 0
                out[place[part][mine]] = columns[name][mine]
        return out

    ticks = column("tick_loss") - np.nan_to_num(sides.loss[bad, ACCESS])  # what a game asked for may be lost there
    beyond = np.stack([np.fmax(column("beyond_core"), ticks), column("beyond_loss")], axis=1)
    plays = np.isin(column("state", ""), np.array(_PLAYS, object)) & ~(column("stalled_s") > 0)
    goodput, media = interval.inputs.goodput_bps[bad, DOWNLINK], column("media_bps")
    trip = np.fmax(column("lag_ms"), column("round_trip_ms"))  # of both halves, held by the model
    least[:, CORE] = np.where(np.isnan(least[:, CORE]), trip - least[:, ACCESS], least[:, CORE])
    spikes = np.where((class_of[bad] == _GAMING)[:, None], interval.of_main("spike_ms", bad), np.nan)
    answered = np.minimum(spikes[:, UPLINK], spikes[:, DOWNLINK])  # a server that answers each input has its gaps
    n3_ms, n3 = given["n3_rtt_ms"][bad].astype(np.float64), ways.of(bad)
    untold = np.where(np.isnan(n3_ms), 1.0, np.nan)  # by QoS monitoring, which times packets of the subscriber
    return Evidence(
        least_ms=least,
        high_ms=np.fmax(sides.high_ms[bad], high),
        loss=np.fmax(sides.loss[bad], beyond),
        jitter_ms=_jitter_ms(interval, class_of[bad], bad),
        silence_s=_silence_s(interval, real_time, bad) if both_seen else np.full((len(bad), 2), np.nan),
        spikes_ms=np.stack([spikes[:, DOWNLINK] - answered, answered], axis=1),
        radio_ms=np.fmax(given["ran_ul_ms"][bad], given["ran_dl_ms"][bad]).astype(np.float64),
        n3_ms=n3_ms,
        echo_ms=n3.echo_ms * untold,
        echo_sure=n3.echo_sure,
        neighbours_ms=n3.neighbours_ms * untold,
        neighbours_sure=n3.neighbours_sure,
        upf_ms=np.stack([given["upf_ul_ms"][bad], given["upf_dl_ms"][bad]], axis=1).astype(np.float64),
        wait_ms=_wait_ms(interval, bad) - np.nan_to_num(least[:, CORE]),
        fresh=(interval.rows.rtt_n[bad, CORE] > 0) | ~np.isnan(halves[:, CORE]),
        enough=goodput >= ENOUGH * media,
        level=np.where(plays, column("video_height"), np.nan),
        fps=column("fps"),
        rise_ms=ways.profile.rise_ms,
    )


def _halves_ms(interval: Interval, rows: NDArray[np.intp], real_time: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the round trips (n, 2) of CORE, ACCESS that a call or a game tells itself: least and mean of the interval.

    They come from echoes, else from reports; NaN: none.
    """
    echoes, sum_us = interval.of_main("echo_n", rows), interval.of_main("echo_sum_us", rows)
    reports = interval.of_main("rtcp_rtt_us", rows)
    told = np.where(reports > 0, reports / 1000, np.nan)
    told = np.where(real_time[:, None], told, np.nan)
    echoed = (echoes > 0) & real_time[:, None]
    least = np.where(echoed, interval.of_main("echo_min_us", rows) / 1000, told)
    return least, np.where(echoed, sum_us / np.maximum(echoes, 1) / 1000, told)


def _jitter_ms(interval: Interval, class_of: NDArray[np.uint8], rows: NDArray[np.intp]) -> Array:
    """Return the jitter (n, 2) of what comes from CORE and ACCESS: of RFC 3550, else of the gaps of steady senders.

    A player's inputs are not steady, and a picture is a burst.
    """
    clock = interval.of_main("rtp_clock", rows)
    told = np.where(clock > 0, interval.of_main("rtp_jitter_us", rows) / 1000, np.nan)
    steady = np.stack([class_of == _VOICE, (class_of == _VOICE) | (class_of == _GAMING)], axis=1)
    gaps = np.where(steady, interval.inputs.jitter_ms[rows], np.nan)
    both: Array = np.where(clock > 0, told, gaps)[:, [DOWNLINK, UPLINK]]
    return both


def _silence_s(interval: Interval, real_time: NDArray[np.bool_], rows: NDArray[np.intp]) -> Array:
    """Return how long (n, 2) CORE and ACCESS have sent nothing, while something came from the other side."""
    packets = interval.inputs.packets[rows]
    asks = real_time[:, None] | (interval.inputs.octets[rows] >= DATA_BYTES * packets)
    again = (packets >= ALONE) & ((interval.rows.lost[rows] > 0) | (asks & (packets >= MANY)))
    none = (packets == 0) & again[:, ::-1]
    silent = np.where(none, interval.interval_s, 0.0)
    age_s = np.minimum(interval.of_main("last_payload_us", rows) / 1e6, interval.interval_s)
    longer = np.where(real_time[:, None] & (packets[:, ::-1] > 0), age_s - age_s[:, ::-1], 0.0)
    both: Array = np.maximum(silent, longer)[:, [DOWNLINK, UPLINK]]
    return both


def _wait_ms(interval: Interval, rows: NDArray[np.intp]) -> Array:
    """Return the longest wait for an answer: of those that came in the interval, and of those that did not."""
    longest = np.full(len(interval.keys), np.nan)
    asked, waiting_s = interval.requests(), interval.waiting_s()
    came = asked.first_s > interval.now_s - interval.interval_s
    np.fmax.at(longest, interval.row[asked.flow[came]], (asked.first_s - asked.request_s)[came])
    np.fmax.at(longest, interval.row, interval.now_s - waiting_s)
    return 1000 * longest[rows]
