"""Pages between intervals: of a subscriber, whichever applications they are made of, or of one of its applications.

A page of the web is of a subscriber; it is told in the row of the web. A screen of a social network or of maps is of
that application alone. Each table goes on by the flows that its pages may be made of, whether or not there is a row to
tell them in: what no row of the interval told is told in a record without a packet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from feed.records import APP_CLASSES
from nf.flows.batch import DOWNLINK
from nf.flows.search import at, distinct, one_of
from nf.qoe import pages, social
from nf.subscribers import views
from nf.subscribers.fading import KeyTable
from nf.subscribers.lately import APP_BITS
from nf.subscribers.views import Interval

__all__ = ["PAGED", "Paged", "of_screens", "of_web"]

Keys = NDArray[np.int64]

PAGED = ("web", "social", "navigation")
_OF_WEB = one_of(APP_CLASSES.index(name) for name in (*PAGED, "unknown"))
_PAGE = np.dtype([("page", pages.STATE), ("key", "i8"), ("named", "u1")])
"""State of a page; the row that it is told in, and the class of that."""


class Paged:
    """Pages of rows of the classes *names*; a key without its lowest *shift* bits is that of their page."""

    def __init__(
        self, names: Sequence[str], shift: int, profile: pages.Profile, horizon_s: float, capacity: int
    ) -> None:
        self.names, self._shift, self.profile = tuple(names), shift, profile
        self._mine = one_of(APP_CLASSES.index(name) for name in names)
        self.table = KeyTable(np.zeros(0, _PAGE), horizon_s, capacity)
        self._now_s = np.nan  # of what follows
        self._whose: Keys = np.zeros(0, np.int64)
        self._told: Keys = np.zeros(0, np.int64)
        self._estimates = _none()

    def advance(self, interval: Interval, class_of_flow: NDArray[np.uint8]) -> None:
        """Go on by an interval with flows; *class_of_flow* (n,) is theirs."""
        flows, mine = interval.flows, self._mine[class_of_flow]
        is_page = mine
        if self._shift:
            is_page = _OF_WEB[class_of_flow] | (flows.dns_queries > 0) | (flows.dns_answers > 0)
        flow = np.flatnonzero(is_page)
        whose, row = distinct(interval.key[flow] >> self._shift)
        seen = views.of_pages(interval, flow, whose, row, self._shift)
        named = mine[flow]
        flow, row = flow[named], row[named]
        octets, largest = flows.octets[flow, DOWNLINK], np.zeros(len(whose), np.uint64)
        np.maximum.at(largest, row, octets)
        most = octets == largest[row]  # of several that are alike the last
        key, class_of = np.full(len(whose), -1, np.int64), np.zeros(len(whose), np.uint8)
        key[row[most]], class_of[row[most]] = interval.key[flow[most]], class_of_flow[flow[most]]
        self._now_s = np.nan
        self._go(whose, seen, key, class_of)

    def of(self, keys: Keys) -> pages.Estimates:
        """Return the estimates of rows of the interval that is going on: they are told."""
        self._told = np.union1d(self._told, keys >> self._shift)
        return _of(self._estimates, np.searchsorted(self._whose, keys >> self._shift))

    def stand(self, keys: Keys, now_s: float, interval_s: float) -> pages.Estimates:
        """Return the estimates of rows of which there is nothing in an interval."""
        whose = np.unique(keys >> self._shift)
        rest = whose if now_s != self._now_s else whose[~at(self._whose, whose)[1]]
        if len(rest):
            nothing = views.of_pages_nothing(len(rest), now_s, interval_s)
            self._go(rest, nothing, np.full(len(rest), -1, np.int64), np.zeros(len(rest), np.uint8))
        return self.of(keys)

    def silent(self, now_s: float) -> dict[str, Keys]:
        """Return by class the rows whose pages go on or end though no row of the interval told them."""
        table = self.table
        if not len(table):
            return {}
        rows = table.rows_of(np.arange(len(table)))
        due = pages.due(rows["page"], now_s, self.profile)
        if now_s == self._now_s and len(self._whose):
            place, there = at(self._whose, table.keys)
            due |= there & (self._estimates.pages[place] > 0)
            due &= ~at(self._told, table.keys)[1]
        rows = rows[due & (rows["key"] > 0)]
        found = {name: np.sort(rows["key"][rows["named"] == APP_CLASSES.index(name)]) for name in self.names}
        return {name: keys for name, keys in found.items() if len(keys)}

    def knows(self, keys: Keys) -> NDArray[np.bool_]:
        """Say of keys whether they are the row in which a page is told without a packet."""
        row, known = at(self.table.keys, keys >> self._shift)
        if len(self.table):
            known &= self.table.rows_of(row, "key") == keys
        return known

    def _go(self, whose: Keys, seen: pages.Seen, key: Keys, class_of: NDArray[np.uint8]) -> None:
        rows = self.table.recall(whose)
        rows["page"], estimates = pages.advance(rows["page"], seen, self.profile)
        rows["key"], rows["named"] = np.where(key >= 0, (key, class_of), (rows["key"], rows["named"]))
        self.table.put(whose, rows, seen.now_s)
        if seen.now_s != self._now_s:
            self._now_s, self._told, self._whose, self._estimates = seen.now_s, whose[:0], whose[:0], _none()
        together = np.concatenate([self._whose, whose])
        order = np.argsort(together)
        self._whose, self._estimates = together[order], _of(_joined(self._estimates, estimates), order)


def of_web(horizon_s: float, capacity: int) -> Paged:
    """Return the table of the pages of subscribers."""
    return Paged(("web",), APP_BITS, pages.DEFAULT, horizon_s, capacity)


def of_screens(horizon_s: float, capacity: int) -> Paged:
    """Return the table of the screens of applications. Those of maps have the profile of a social network."""
    return Paged(("social", "navigation"), 0, social.PROFILE, horizon_s, capacity)


def _none() -> pages.Estimates:
    return pages.Estimates(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, np.uint8))


def _joined(a: pages.Estimates, b: pages.Estimates) -> pages.Estimates:
    names = [f.name for f in dataclasses.fields(pages.Estimates)]
    return pages.Estimates(*(np.concatenate([getattr(a, name), getattr(b, name)]) for name in names))


def _of(estimates: pages.Estimates, rows: NDArray[np.intp]) -> pages.Estimates:
    return pages.Estimates(*(getattr(estimates, f.name)[rows] for f in dataclasses.fields(pages.Estimates)))
