"""Delay on N3 of the rows of an interval, by echoes of GTP-U paths and by neighbours at the same gNB (`nf.qoe.n3`).

echoes ─────────────── base of each path ────────┐
access round trips ─── base of each subscriber ──┴── `Ways`, asked for the rows with a bad score only
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count, repeat

import numpy as np
from numpy.typing import NDArray

from nf.flows.echoes import Echoes
from nf.flows.search import values_at
from nf.qoe import n3
from nf.qoe.inputs import Array
from nf.qoe.profiles import changed
from nf.settings import QoeProfile
from nf.subscribers.fading import memory
from nf.subscribers.lately import APP_BITS, Sides
from nf.subscribers.suspect import ACCESS
from nf.subscribers.views import Interval

__all__ = ["Bases", "Evidence", "Ways"]

BASE_WINDOW_S = 1800.0  # a base is the least of this window and the one before (own): a detour that stays becomes it
PATHS = 4096  # of the kernel's table
GNB_BITS = 16  # of the hash of a gNB's address: a base is of a subscriber at a gNB, since he may travel in company
FULL = 0.5  # share of an interval in which bulk data moved: the subscriber may wait for a queue of his own (own)


@dataclass(frozen=True, slots=True)
class _Newest:
    """Columns of paths, and which of them each gNB answered on last."""

    of: Mapping[str, int]
    rise_ms: Array
    age_s: Array
    answers: Array


@dataclass(frozen=True, slots=True)
class Evidence:
    """Columns of rows: milliseconds on N3, and how sure that is; NaN where there is none."""

    echo_ms: Array
    echo_sure: Array
    neighbours_ms: Array
    neighbours_sure: Array


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways to the gNBs in an interval: columns of its rows, and of its subscribers from their *first* rows on."""

    gnb: NDArray[np.object_]  # of rows
    first: NDArray[np.intp]
    rise_ms: Array  # of subscribers, NaN unknown; and the intervals that made their bases
    intervals: Array
    access_ms: Array  # of rows, least of this very interval
    newest: _Newest
    profile: n3.N3Profile

    def of(self, rows: NDArray[np.intp]) -> Evidence:
        """Return the evidence for some rows, which cost a look at all."""
        numbers = dict(zip(dict.fromkeys(self.gnb.tolist()), count()))
        gnb = np.fromiter(map(numbers.__getitem__, self.gnb), np.intp, len(self.gnb))
        path = np.fromiter(map(self.newest.of.get, numbers, repeat(-1)), np.intp, len(numbers))[gnb[rows]]
        there = path >= 0
        rise_ms, age_s, answers = (
            np.where(there, column[path], empty) if len(column) else np.full(len(rows), empty)
            for column, empty in ((self.newest.rise_ms, np.nan), (self.newest.age_s, np.nan), (self.newest.answers, 0))
        )
        fastest_ms = np.full(len(numbers), np.inf)
        np.fmin.at(fastest_ms, gnb, self.access_ms)
        fastest_ms = np.where(np.isinf(fastest_ms), np.nan, fastest_ms)[gnb[rows]]
        echo_ms, echo_sure = n3.by_echo(rise_ms, age_s, answers, fastest_ms, self.profile)
        of_people = np.where(self.gnb[self.first] == "", -1, gnb[self.first])
        person = np.searchsorted(self.first, rows, "right") - 1
        of_all = n3.by_neighbours(of_people, self.rise_ms, self.intervals, self.profile)
        shared = (column[person] for column in of_all)
        told = n3.is_recent(age_s, answers, self.profile)  # an echo of now knows better
        return Evidence(echo_ms, echo_sure, *(np.where(told, np.nan, column) for column in shared))


class Bases:
    """The least echo of each path, and the least access delay of each subscriber. ``capacity`` bounds them."""

    def __init__(self, capacity: int) -> None:
        self._of_paths = memory(np.ones(1), BASE_WINDOW_S, PATHS)
        self._of_people = memory(np.ones(1), BASE_WINDOW_S, capacity)
        self.profile = n3.PROFILE
        self._told: tuple[NDArray[np.int64], Array] = np.zeros(0, np.int64), np.zeros(0)  # paths, and their last echo

    def use(self, profiles: Iterable[QoeProfile]) -> None:
        """Ask for other evidence from now on; the bases stay."""
        mine = {path: value for p in profiles if p.app_class == "n3" for path, value in p.constants}
        self.profile = changed(n3.PROFILE, mine)

    def ways(self, interval: Interval, sides: Sides, gnb: NDArray[np.object_], echoes: Echoes, clock_s: float) -> Ways:
        """Take what an interval tells, and return the ways that its rows have, to *gnb*.

        *clock_s* is what the epoch is ahead of the kernel's clock.
        """
        newest = self._newest(echoes, interval.now_s, clock_s)
        person = interval.keys >> APP_BITS  # sorted
        first = np.flatnonzero(np.diff(person, prepend=-1))
        least_ms = np.fmin.reduceat(sides.least_ms[:, ACCESS], first)
        full = (interval.rows.busy_s >= FULL * interval.interval_s).any(axis=1)
        timed = np.flatnonzero(~np.isnan(least_ms) & ~np.logical_or.reduceat(full, first))
        base_ms, intervals, n = np.full(len(first), np.nan), np.zeros(len(first)), len(timed)
        at_gnb = np.fromiter(map(hash, gnb[first[timed]]), np.int64, n) & ((1 << GNB_BITS) - 1)
        _, base_ms[timed], intervals[timed] = self._of_people.add(
            person[first[timed]] << GNB_BITS | at_gnb, interval.now_s, np.zeros((n, 1)), least_ms[timed], np.ones(n)
        )
        return Ways(
            gnb, first, least_ms - base_ms, intervals, interval.rows.rtt_min_ms[:, ACCESS], newest, self.profile
        )

    def _newest(self, echoes: Echoes, now_s: float, clock_s: float) -> _Newest:
        """Return the newest echo of each gNB."""
        rise_ms, answers = self._rises(echoes, now_s)
        order = np.argsort(echoes.at_s, kind="stable")
        last = dict(zip(echoes.responder[order], order.tolist(), strict=True))  # of several paths the last one stays
        return _Newest(last, rise_ms, np.maximum(now_s - clock_s - echoes.at_s, 0), answers)

    def _rises(self, echoes: Echoes, now_s: float) -> tuple[Array, Array]:
        """Return what the last echo of each path took over the least one, and how many echoes were heard."""
        if not len(echoes):
            return np.zeros(0), np.zeros(0)
        new = echoes.at_s > values_at(*self._told, echoes.path, -1.0)
        self._told = echoes.path, echoes.at_s
        nothing = np.zeros((len(echoes), 1))
        _, base_ms, answers = self._of_paths.add(echoes.path, now_s, nothing, echoes.last_ms, new.astype(np.float64))
        return echoes.last_ms - base_ms, answers
