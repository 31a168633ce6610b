"""Estimates of what happened, by the models of the classes, with what they remember of each row between intervals.

    rows and flows of an interval ── `views` ──┐
    states of the interval before ── KeyTable ─┴─ `nf.qoe.models` ── estimates, scores

A row that stands still has no packet in an interval, and yet a record: `Estimators.silent` says which. Pages have
tables of their own (`nf.subscribers.paged`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.flows.batch import DOWNLINK, FlowBatch
from nf.flows.search import at
from nf.qoe import realtime, video
from nf.qoe.inputs import Array
from nf.qoe.models import MODELS, Model, adjusted
from nf.qoe.reasons import REASONS
from nf.settings import QoeProfile
from nf.subscribers import views
from nf.subscribers.fading import KeyTable
from nf.subscribers.paged import Paged, of_screens, of_web
from nf.subscribers.services import Segments
from nf.subscribers.views import Interval, View

__all__ = ["HALF_SEEN", "HORIZON_S", "PAUSED", "Estimators", "Judged", "paused"]

UDP = 17
HORIZON_S = 60.0  # a row that was not seen for so long is another call, game or session (own; the idle time of Requet)
_TEXTS = np.array(REASONS, object)
PAUSED, HALF_SEEN = REASONS.index("the probe paused"), REASONS.index("one direction only")

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
        web, screens = of_web(HORIZON_S, capacity), of_screens(HORIZON_S, capacity)
        self._pages = {"web": web, "social": screens, "navigation": screens}
        self._models = MODELS
        self._segments = Segments()

    def use(self, profiles: Iterable[QoeProfile]) -> None:
        """Judge under other constants from now on; what is remembered stays."""
        self._models = adjusted(profiles)
        for name in ("web", "social"):
            self._pages[name].profile = self._models[name].profile

    def judge(self, name: str, interval: Interval, part: NDArray[np.intp], *, dark: int = 0) -> Judged:
        """Return estimates and scores of rows *part* of an interval, which are of class *name*.

        Where the probe saw too little, for the reason with the number *dark*, nothing is judged, and what is remembered
        stays.
        """
        model = self._models[name]
        if name in self._pages:
            estimates: Any = self._pages[name].of(interval.keys[part])
        else:
            estimates = self._advance(name, interval.keys[part], _VIEWS[name][0](interval, part), keep=not dark)
        if not dark:
            return _judged(model, estimates, model.score(estimates), estimates.unmeasured)
        nothing = np.full(len(part), np.nan)
        return _judged(model, estimates, nothing, np.full(len(part), dark, np.uint8))

    def load_pages(self, interval: Interval, class_of_flow: NDArray[np.uint8]) -> None:
        """Go on by an interval with the pages of the subscribers; *class_of_flow* (n,) is that of its flows."""
        for table in self._paged():
            table.advance(interval, class_of_flow)

    def _paged(self) -> tuple[Paged, Paged]:
        return self._pages["web"], self._pages["social"]

    def _advance(self, name: str, keys: NDArray[np.int64], seen: Any, *, keep: bool = True) -> Any:
        table, before = self._tables[name], self._tables[name].recall(keys)
        if isinstance(seen, video.Seen):
            seen = dataclasses.replace(seen, segment_s=self._segments.of(keys))
        after, estimates = self._models[name].advance(before, seen)
        if keep and isinstance(seen, video.Seen):
            self._segments.told(keys, np.where(np.isnan(video.learned_s(before)), video.learned_s(after), np.nan))
        if keep:
            table.put(keys, after, seen.now_s)
        return estimates

    # -- rows without a packet -------------------------------------------------

    def knows(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of sorted *keys* whether a model remembers them."""
        known = np.zeros(len(keys), np.bool_)
        for paged in self._paged():
            known |= paged.knows(keys)
        for table in self._tables.values():
            known |= at(table.keys, keys)[1]
        return known

    def forget(self) -> None:
        """Forget all rows."""
        for table in self._tables.values():
            table.clear()
        for paged in self._paged():
            paged.table.clear()

    def silent(self, now_s: float, present: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """Return by class the keys that need a record though they are not *present* (sorted) in this interval."""
        out = {}
        for name, table in self._tables.items():
            absent = np.flatnonzero(~at(present, table.keys)[1])
            due = absent[self._models[name].due(table.rows_of(absent), now_s)] if len(absent) else absent
            if len(due):
                out[name] = table.keys[due]
        for paged in self._paged():
            out |= paged.silent(now_s)
        return out

    def waits(self, now_s: float) -> bool:
        """Say whether `silent` has keys when nothing is present."""
        return bool(self.silent(now_s, np.zeros(0, np.int64)))

    def stand(self, name: str, keys: NDArray[np.int64], span_s: tuple[float, float]) -> Judged:
        """Return estimates and scores of rows of which nothing passed."""
        model, interval_s = self._models[name], max(span_s[1] - span_s[0], 1e-3)
        if name in self._pages:
            estimates: Any = self._pages[name].stand(keys, span_s[1], interval_s)
        else:
            estimates = self._advance(name, keys, _VIEWS[name][1](len(keys), span_s[1], interval_s))
        return _judged(model, estimates, model.score(estimates), estimates.unmeasured)


def _judged(model: Model, estimates: Any, mos: Array, unmeasured: NDArray[np.uint8]) -> Judged:
    columns: dict[str, NDArray[Any]] = {
        f.name: getattr(estimates, f.name) for f in dataclasses.fields(estimates) if f.name != "unmeasured"
    }
    for name, texts in model.texts.items():
        columns[name] = np.array(texts, object)[columns[name]]
    columns["unmeasured"] = _TEXTS[unmeasured]
    columns["model"] = np.full(len(mos), model.name, object)
    return Judged(mos, columns)
