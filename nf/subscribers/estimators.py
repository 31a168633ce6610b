"""Estimates of what happened, by the models of the classes, with what they remember of each row between intervals.

    rows and flows of an interval ── `views` ──┐
    states of the interval before ── KeyTable ─┴─ `nf.qoe.models` ── estimates, scores

A row that stands still has no packet in an interval, and yet a record: `Estimators.silent` says which. A page is of a
subscriber, whichever applications it is made of; it is told in the rows of all that it may be made of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import APP_CLASSES
from nf.flows.batch import DOWNLINK, FlowBatch
from nf.flows.search import at, distinct, one_of
from nf.qoe import pages, realtime
from nf.qoe.inputs import Array
from nf.qoe.models import MODELS, Model, adjusted
from nf.qoe.reasons import REASONS
from nf.settings import QoeProfile
from nf.subscribers import views
from nf.subscribers.fading import KeyTable
from nf.subscribers.lately import APP_BITS
from nf.subscribers.views import Interval, View

__all__ = ["HORIZON_S", "Estimators", "Judged", "paused"]

UDP = 17
HORIZON_S = 60.0  # a row that was not seen for so long is another call, game or session (own; the idle time of Requet)
_TEXTS = np.array(REASONS, object)
_PAUSED = REASONS.index("the probe paused")

# A pause of the probe or its host is one of all flows at once (own): of so many flows of several subscribers.
PAUSE_FLOWS, PAUSE_SUBSCRIBERS, PAUSE_SHARE = 10, 5, 0.9
PAUSE_LEAST_US, PAUSE_ALIKE = 100_000, 0.7  # a spike (`nf.qoe.ticks`), and at least this share of the median one
PAUSE_PACKETS_PER_S = 10.0  # as a media flow (nf/subscribers/sums.py)

_VIEWS: Mapping[str, tuple[View, Callable[[int, float, float], Any]]] = {
    "conferencing": (views.main_flows, realtime.nothing),
    "voice": (views.main_flows, realtime.nothing),
    "gaming": (views.main_flows, realtime.nothing),
    "messaging": (views.chats, views.chat_nothing),
    "video": (views.players, views.players_nothing),
    "live-video": (views.players, views.players_nothing),
    "download": (views.transfers, views.transfers_nothing),
}
_PAGED = ("web", "social", "navigation")
_OF_PAGES = one_of(APP_CLASSES.index(name) for name in (*_PAGED, "unknown"))


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows of one class: scores (n,), and columns of the record by name."""

    mos: Array
    columns: Mapping[str, NDArray[Any]]


def paused(flows: FlowBatch, who: NDArray[np.int64], interval_s: float) -> bool:
    """Say whether all timed flows stood still at once: then it was the probe, or its host, that did."""
    timed = (flows.proto == UDP) & (flows.gap_n[:, DOWNLINK] >= PAUSE_PACKETS_PER_S * interval_s)
    gaps_us = flows.gap_max_us[timed, DOWNLINK]
    if len(gaps_us) < PAUSE_FLOWS:
        return False
    limit_us = max(PAUSE_LEAST_US, PAUSE_ALIKE * float(np.median(gaps_us)))
    if np.count_nonzero(gaps_us >= limit_us) < PAUSE_SHARE * len(gaps_us):
        return False
    return len(np.unique(who[timed])) >= PAUSE_SUBSCRIBERS


class Estimators:
    """The states of all rows by class. ``capacity`` bounds each table; what was not seen for longest leaves."""

    def __init__(self, capacity: int) -> None:
        self._tables = {name: KeyTable(np.zeros(0, MODELS[name].state), HORIZON_S, capacity) for name in _VIEWS}
        self._pages = _Pages(capacity)
        self._models = MODELS

    def use(self, profiles: Iterable[QoeProfile]) -> None:
        """Judge under other constants from now on; what is remembered stays."""
        self._models = adjusted(profiles)
        self._pages.profile = self._models["web"].profile

    def judge(self, name: str, interval: Interval, part: NDArray[np.intp], *, pause: bool = False) -> Judged:
        """Return estimates and scores of rows *part* of an interval, which are of class *name*.

        With a *pause* of the probe nothing is judged, and what is remembered stays.
        """
        model = self._models[name]
        if name in _PAGED:
            estimates = self._pages.of(interval.keys[part])
        else:
            estimates = self._advance(name, interval.keys[part], _VIEWS[name][0](interval, part), keep=not pause)
        if not pause:
            return _judged(model, estimates, model.score(estimates), estimates.unmeasured)
        nothing = np.full(len(part), np.nan)
        return _judged(model, estimates, nothing, np.full(len(part), _PAUSED, np.uint8))

    def load_pages(self, interval: Interval, class_of_flow: NDArray[np.uint8]) -> None:
        """Go on by an interval with the pages of the subscribers; *class_of_flow* (n,) is that of its flows."""
        self._pages.advance(interval, class_of_flow)

    def _advance(self, name: str, keys: NDArray[np.int64], seen: Any, *, keep: bool = True) -> Any:
        table = self._tables[name]
        after, estimates = self._models[name].advance(table.recall(keys), seen)
        if keep:
            table.put(keys, after, seen.now_s)
        return estimates

    # -- rows without a packet -------------------------------------------------

    def knows(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of sorted *keys* whether a model remembers them."""
        known = self._pages.knows(keys)
        for table in self._tables.values():
            known |= at(table.keys, keys)[1]
        return known

    def forget(self) -> None:
        """Forget all rows."""
        for table in self._tables.values():
            table.clear()
        self._pages.table.clear()

    def silent(self, now_s: float, present: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """Return by class the keys that need a record though they are not *present* (sorted) in this interval."""
        out = {}
        for name, table in self._tables.items():
            absent = np.flatnonzero(~at(present, table.keys)[1])
            due = absent[self._models[name].due(table.rows_of(absent), now_s)] if len(absent) else absent
            if len(due):
                out[name] = table.keys[due]
        return out | self._pages.silent(now_s, present)

    def waits(self, now_s: float) -> bool:
        """Say whether `silent` has keys when nothing is present."""
        return bool(self.silent(now_s, np.zeros(0, np.int64)))

    def stand(self, name: str, keys: NDArray[np.int64], span_s: tuple[float, float]) -> Judged:
        """Return estimates and scores of rows of which nothing passed."""
        model, interval_s = self._models[name], max(span_s[1] - span_s[0], 1e-3)
        if name in _PAGED:
            self._pages.stand(keys, span_s[1], interval_s)
            estimates = self._pages.of(keys)
        else:
            estimates = self._advance(name, keys, _VIEWS[name][1](len(keys), span_s[1], interval_s))
        return _judged(model, estimates, model.score(estimates), estimates.unmeasured)


_PAGE = np.dtype([("page", pages.STATE), ("key", "i8"), ("named", "u1")])
"""State of a subscriber's page; the row with most bytes of it so far, and its class."""


class _Pages:
    """The pages of the subscribers, by their numbers."""

    def __init__(self, capacity: int) -> None:
        self.profile = MODELS["web"].profile
        self.table = KeyTable(np.zeros(0, _PAGE), HORIZON_S, capacity)
        self._people: NDArray[np.int64] = np.zeros(0, np.int64)  # of the last call of `advance` or `stand`
        self._estimates: Any = None

    def advance(self, interval: Interval, class_of_flow: NDArray[np.uint8]) -> None:
        """Go on by an interval with flows."""
        flows = interval.flows
        is_page = _OF_PAGES[class_of_flow] | (flows.dns_queries > 0) | (flows.dns_answers > 0)
        flow = np.flatnonzero(is_page)
        people, row = distinct(interval.key[flow] >> APP_BITS)
        seen = views.of_pages(interval, flow, people, row)
        named = class_of_flow[flow] != APP_CLASSES.index("unknown")
        flow, row = flow[named], row[named]
        octets, largest = flows.octets[flow, DOWNLINK], np.zeros(len(people), np.uint64)
        np.maximum.at(largest, row, octets)
        most = octets == largest[row]  # of several that are alike the last
        key, class_of = np.full(len(people), -1, np.int64), np.zeros(len(people), np.uint8)
        key[row[most]], class_of[row[most]] = interval.key[flow[most]], class_of_flow[flow[most]]
        self._go(people, seen, key, class_of)

    def stand(self, keys: NDArray[np.int64], now_s: float, interval_s: float) -> None:
        """Go on by an interval in which nothing passed, for the subscribers of some rows."""
        people = np.unique(keys >> APP_BITS)
        none, nothing = np.zeros(0, np.intp), np.zeros(0)
        seen = pages.Seen(
            now_s, interval_s, none, nothing, np.zeros((0, pages.SLOTS), np.uint32), np.zeros(0, np.int64), nothing,
            nothing, none, nothing, nothing, nothing, np.full(len(people), np.nan),
        )  # fmt: skip
        self._go(people, seen, np.full(len(people), -1, np.int64), np.zeros(len(people), np.uint8))

    def _go(
        self, people: NDArray[np.int64], seen: pages.Seen, key: NDArray[np.int64], class_of: NDArray[np.uint8]
    ) -> None:
        rows = self.table.recall(people)
        rows["page"], self._estimates = pages.advance(rows["page"], seen, self.profile)
        rows["key"], rows["named"] = np.where(key >= 0, (key, class_of), (rows["key"], rows["named"]))
        self.table.put(people, rows, seen.now_s)
        self._people = people

    def of(self, keys: NDArray[np.int64]) -> pages.Estimates:
        """Return the estimates of the subscribers of rows, of the interval that is going on."""
        at_row = np.searchsorted(self._people, keys >> APP_BITS)
        columns = {f.name: getattr(self._estimates, f.name)[at_row] for f in dataclasses.fields(pages.Estimates)}
        return pages.Estimates(**columns)

    def knows(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of keys whether they are the row that is told of a page without a packet."""
        row, known = at(self.table.keys, keys >> APP_BITS)
        if len(self.table):
            known &= self.table.rows_of(row, "key") == keys
        return known

    def silent(self, now_s: float, present: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """As `Estimators.silent`, of pages that go on or end without a packet."""
        table = self.table
        absent = np.flatnonzero(~at(present >> APP_BITS, table.keys)[1])
        absent = absent[table.rows_of(absent, "key") > 0]
        if not len(absent):
            return {}
        due = table.rows_of(absent)
        due = due[pages.due(due["page"], now_s, self.profile)]
        out = {}
        for name in _PAGED:
            mine = due["named"] == APP_CLASSES.index(name)
            if mine.any():
                out[name] = np.sort(due["key"][mine])
        return out


def _judged(model: Model, estimates: Any, mos: Array, unmeasured: NDArray[np.uint8]) -> Judged:
    columns: dict[str, NDArray[Any]] = {
        f.name: getattr(estimates, f.name) for f in dataclasses.fields(estimates) if f.name != "unmeasured"
    }
    for name, texts in model.texts.items():
        columns[name] = np.array(texts, object)[columns[name]]
    columns["unmeasured"] = _TEXTS[unmeasured]
    columns["model"] = np.full(len(mos), model.name, object)
    return Judged(mos, columns)
