"""Sums of what was published, by application and by place, as messages come.

A message is added up in columns; the only loops are over the distinct applications, places or subscribers of a message.
There are at most `MAX_APPS` and `MAX_PLACES`: whatever comes later is added to `OTHER`, so that a hostile or a large
network makes no more series. How many subscribers are badly served is estimated without their names: see `Crowd`.
"""

from __future__ import annotations

import math
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from feed import wire
from feed.buckets import middle
from feed.columns import Coded
from feed.records import DELAY_MEASURES

__all__ = ["MAX_APPS", "MAX_PLACES", "OTHER", "SUMS", "SUSPECTS", "Crowd", "Function", "Series"]

MAX_APPS, MAX_PLACES, MAX_FUNCTIONS = 60, 80, 100  # 9, 30 and 20 series each: 4,989 with the others
OTHER = "other"
BAD = 3.0  # "fair" on the scale of P.800: below it a score is bad
SUSPECTS = ("access", "n3", "upf", "core", "loss", "server", "device", "app", "unknown")
SUMS = ("records", "ul_bytes", "dl_bytes", "scores", "score_sum", "bad", "stalls", "stalled_s")
_BAD_ROW = SUMS.index("bad")
_QUANTILE_SPAN_S = 300.0  # over which percentiles of delays are told: five minutes of messages
_SLOTS, _CROWD_S = 1024, 60.0
_BUCKETS = 400  # of delays: 335 is the last one that a function tells (docs/feed.md)
_FUNCTION_NUMBERS = (
    *("sessions", "partial_sessions", "flows", "flow_room", "details", "detail_room", "session_room"),
    *("inspected_bytes", "exported_bytes", "records", "dropped_messages", "dropped_frames", "dropped_signalling"),
    *("ring_lost", "evicted_flows", "unowned_bytes", "recorded_bytes", "redirect_lost", "intervals"),
)


class Crowd:
    """The number of different subscribers that were named in the last minute; none can be told from it.

    Each has one of `_SLOTS` places, by a checksum of the published name; a place keeps when it was last named. The
    estimate is that of linear counting (Whang et al. 1990, equation 2): exact but for places that two share, which of
    3 subscribers happens once in 300 times, and of 1,000 it is right to 3 %.
    """

    def __init__(self) -> None:
        self._named_s = np.full(_SLOTS, -np.inf)

    def name(self, slots: NDArray[np.intp], now_s: float) -> None:
        """Note the places of subscribers (`slots_of`)."""
        self._named_s[slots] = now_s

    def __call__(self, now_s: float) -> int:
        """Return the estimate."""
        empty = int(np.count_nonzero(self._named_s <= now_s - _CROWD_S))
        return round(-_SLOTS * math.log(max(empty, 1) / _SLOTS))


def slots_of(names: Sequence[str]) -> NDArray[np.intp]:
    """Return the place of each subscriber in a `Crowd`."""
    return np.array([zlib.crc32(name.encode()) % _SLOTS for name in names], np.intp)


@dataclass(slots=True)
class Function:
    """The last heartbeat of a function: its numbers, and when it came."""

    boot: str = ""
    heard_s: float = 0.0  # monotonic
    starts: int = 0
    numbers: dict[str, float] = field(default_factory=dict)


class Series:
    """All sums; a message is added by the thread that receives, and they are read by another. ``lock`` is of both."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.lock = threading.Lock()
        self.apps: dict[tuple[str, str], NDArray[np.float64]] = {}  # (class, app): SUMS
        self.places: dict[tuple[str, str], NDArray[np.float64]] = {}  # (gNB, slice): SUMS, then SUSPECTS
        self.bad_by_app: dict[tuple[str, str], Crowd] = {}  # who has a bad score
        self.suspect_by_place: dict[tuple[str, str], Crowd] = {}  # who has a suspect
        self.functions: dict[str, Function] = {}
        self.alarms: dict[tuple[str, str], int] = {}  # (state, class)
        self.damaged = 0
        self._clock = clock
        self._delays: dict[tuple[str, str, str], list[tuple[float, NDArray[np.float64]]]] = {}

    def take(self, message: wire.CodedMessage) -> None:
        """Add a message up; one whose columns are not those of its schema is counted as damaged."""
        takers: Mapping[str, Callable[[wire.CodedMessage], None]] = {
            wire.QOE_SCHEMA: self._records,
            wire.DELAY_SCHEMA: self._delay,
            wire.HEALTH_SCHEMA: self._health,
            wire.ALARM_SCHEMA: self._alarm,
        }
        taker = takers.get(message.header.schema)
        if taker is None or not message.header.rows:
            return
        with self.lock:
            try:
                taker(message)
            except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
                self.damaged += 1

    def delays(self) -> list[tuple[str, str, str, float, float]]:
        """Return (gNB, slice, measure, p50 s, p99 s) of the last five minutes, as far as there are any."""
        now_s = self._clock()
        for pieces in self._delays.values():
            pieces[:] = [piece for piece in pieces if now_s - piece[0] < _QUANTILE_SPAN_S]
        there = [name for name, pieces in self._delays.items() if pieces]
        if not there:
            return []
        counts = np.cumsum([np.sum([piece[1] for piece in self._delays[name]], axis=0) for name in there], axis=1)
        p50, p99 = (middle(np.argmax(counts >= share * counts[:, -1:], axis=1), "ms") / 1e3 for share in (0.5, 0.99))
        return [(*name, *both) for name, *both in zip(there, p50.tolist(), p99.tolist(), strict=True)]

    def crowds(self) -> tuple[dict[tuple[str, str], int], dict[tuple[str, str], int]]:
        """Return how many subscribers had a bad score, by application, and a suspect, by place, in the last minute."""
        now_s = self._clock()
        by_app = {name: self.bad_by_app[name](now_s) if name in self.bad_by_app else 0 for name in self.apps}
        places = self.suspect_by_place
        return by_app, {name: places[name](now_s) if name in places else 0 for name in self.places}

    # -- one message -----------------------------------------------------------

    def _records(self, message: wire.CodedMessage) -> None:
        columns, rows = message.columns, message.header.rows
        score = _numbers(columns, "mos", rows)
        scored = np.isfinite(score) & (score >= 0)
        score = np.where(scored, score, 0.0)
        sums = np.stack(
            [
                np.ones(rows),
                _amounts(columns, "ul_bytes", rows),
                _amounts(columns, "dl_bytes", rows),
                scored,
                score,
                scored & (score < BAD),
                _amounts(columns, "stalls", rows),
                _amounts(columns, "stalled_s", rows),
            ]
        )
        app = _text(columns, "app", rows)
        app_class = message.topic.split("/")[2]
        names = [(app_class, name) for name in app.values]
        _add(self.apps, names, app.index, sums, MAX_APPS, (OTHER, OTHER))
        who = _text(columns, "subscriber", rows)
        slots, now_s = slots_of(who.values)[who.index], self._clock()
        _crowd(self.bad_by_app, self.apps, names, app.index, sums[_BAD_ROW] > 0, slots, now_s)

        gnb, slice_, suspect = (_text(columns, name, rows) for name in ("gnb", "slice", "suspect"))
        blamed = np.stack([_is(suspect, side) for side in SUSPECTS]).astype(np.float64)
        pair = gnb.index.astype(np.int64) * len(slice_.values) + slice_.index
        there, index = np.unique(pair, return_inverse=True)
        at = (divmod(each, len(slice_.values)) for each in there.tolist())
        places = [(gnb.values[one], slice_.values[two]) for one, two in at]
        _add(self.places, places, index, np.concatenate([sums, blamed]), MAX_PLACES, (OTHER, OTHER))
        _crowd(self.suspect_by_place, self.places, places, index, blamed.max(axis=0) > 0, slots, now_s)

    def _delay(self, message: wire.CodedMessage) -> None:
        columns, rows = message.columns, message.header.rows
        gnb, slice_, measure = (_text(columns, name, rows) for name in ("gnb", "slice", "measure"))
        bucket, n = (_amounts(columns, name, rows) for name in ("bucket", "n"))
        bucket = np.clip(bucket, 0, _BUCKETS - 1).astype(np.int64)
        key = (gnb.index.astype(np.int64) * len(slice_.values) + slice_.index) * len(measure.values) + measure.index
        for each in np.unique(key).tolist():
            place, which = divmod(each, len(measure.values))
            one, two = divmod(place, len(slice_.values))
            name = measure.values[which]
            if name not in DELAY_MEASURES:
                continue
            known = (gnb.values[one], slice_.values[two])
            known = known if known in self.places or len(self.places) < MAX_PLACES else (OTHER, OTHER)
            self.places.setdefault(known, np.zeros(len(SUMS) + len(SUSPECTS)))
            chosen = key == each
            counts = np.bincount(bucket[chosen], n[chosen], _BUCKETS).astype(np.float64)
            self._delays.setdefault((*known, name), []).append((self._clock(), counts))

    def _health(self, message: wire.CodedMessage) -> None:
        header = message.header
        if header.nf not in self.functions and len(self.functions) >= MAX_FUNCTIONS:
            return
        known = self.functions.setdefault(header.nf, Function())
        known.starts += bool(known.boot) and known.boot != header.boot
        known.boot, known.heard_s = header.boot, self._clock()
        known.numbers = {
            name: float(_numbers(message.columns, name, header.rows)[0])
            for name in _FUNCTION_NUMBERS
            if name in message.columns
        }

    def _alarm(self, message: wire.CodedMessage) -> None:
        state, app_class = (_text(message.columns, name, message.header.rows) for name in ("state", "app_class"))
        for one, two in zip(state.index.tolist(), app_class.index.tolist(), strict=True):
            key = (state.values[one], app_class.values[two])
            if key in self.alarms or len(self.alarms) < MAX_APPS:
                self.alarms[key] = self.alarms.get(key, 0) + 1


def _numbers(columns: Mapping[str, object], name: str, rows: int) -> NDArray[np.float64]:
    column = columns.get(name)
    if column is None:
        return np.full(rows, np.nan)
    if not isinstance(column, np.ndarray) or len(column) != rows:
        raise TypeError(name)
    return column.astype(np.float64)


def _amounts(columns: Mapping[str, object], name: str, rows: int) -> NDArray[np.float64]:
    """Return a column of what counters add up, which never fall: whatever is no amount counts as nothing."""
    column = _numbers(columns, name, rows)
    return np.where(np.isfinite(column) & (column > 0), column, 0.0)


def _text(columns: Mapping[str, object], name: str, rows: int) -> Coded:
    column = columns.get(name)
    if not isinstance(column, Coded):
        return Coded([""], np.zeros(rows, np.uint8))
    return column


def _is(column: Coded, value: str) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.array([each == value for each in column.values], np.bool_)[column.index]
    return found


def _add(
    sums: dict[tuple[str, str], NDArray[np.float64]],
    names: list[tuple[str, str]],
    index: NDArray[np.integer],
    rows: NDArray[np.float64],
    most: int,
    other: tuple[str, str],
) -> None:
    """Add columns of *rows* (sum, row) to the sums of the name of each row."""
    there = np.unique(index)
    at = np.searchsorted(there, index)
    added = np.stack([np.bincount(at, row, len(there)) for row in rows], axis=1)
    for number, row in zip(there.tolist(), added, strict=True):
        name = names[number] if names[number] in sums or len(sums) < most else other
        known = sums.get(name)
        sums[name] = row if known is None else known + row


def _crowd(
    crowds: dict[tuple[str, str], Crowd],
    known: Mapping[tuple[str, str], object],
    names: list[tuple[str, str]],
    index: NDArray[np.integer],
    chosen: NDArray[np.bool_],
    slots: NDArray[np.intp],
    now_s: float,
) -> None:
    """Name the subscribers of *chosen* rows in the crowd of each row's name, `OTHER` where that has no sums."""
    index, slots = index[chosen], slots[chosen]
    for number in np.unique(index).tolist():
        name = names[number] if names[number] in known else (OTHER, OTHER)
        crowds.setdefault(name, Crowd()).name(slots[index == number], now_s)
