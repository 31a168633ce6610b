"""Estimates of what happened, by the models of the classes, with what they remember of each row between intervals.

    rows and flows of an interval ── `views` ──┐
    states of the interval before ── KeyTable ─┴─ `nf.qoe.models` ── estimates, scores

A row that stands still has no packet in an interval, and yet a record: `Estimators.silent` says which. Pages have
tables of their own (`nf.subscribers.paged`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.flows.batch import DOWNLINK, FlowBatch
from nf.flows.search import at
from nf.qoe import realtime, video
from nf.qoe.inputs import Array
from nf.qoe.models import MODELS, Model, adjusted, by_bytes
from nf.qoe.reasons import REASONS
from nf.settings import QoeProfile
from nf.subscribers import views
from nf.subscribers.fading import KeyTable
from nf.subscribers.lately import APP_BITS
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
        self._by_bytes: dict[str, tuple[tuple[str, ...], Model]] = {}  # by class: applications, and their model
        self._of_bytes: dict[str, NDArray[np.int64]] = {}  # the numbers of these applications
        self._app_names: Sequence[str] = ()
        self._segments = Segments()

    def use(self, profiles: Iterable[QoeProfile]) -> None:
        """Judge under other constants from now on; what is remembered stays."""
        profiles = tuple(profiles)
        self._models = adjusted(profiles)
        self._by_bytes = {p.app_class: (p.by_bytes, by_bytes(p)) for p in profiles if p.by_bytes}
        for name in ("web", "social"):
            self._pages[name].profile = self._models[name].profile
        self._number()

    def name_apps(self, app_names: Sequence[str]) -> None:
        """Take the names of applications, by their numbers in the keys of rows."""
        if app_names is not self._app_names:
            self._app_names = app_names
            self._number()

    def _number(self) -> None:
        self._of_bytes = {
            name: np.array([n for n, app in enumerate(self._app_names) if app in apps], np.int64)
            for name, (apps, _) in self._by_bytes.items()
        }

    def _parts(self, name: str, keys: NDArray[np.int64]) -> list[tuple[NDArray[np.intp], Model]]:
        """Return the rows of a class by the model that judges them; the first part may have none."""
        if name not in self._by_bytes:
            return [(np.arange(len(keys)), self._models[name])]
        mine = np.isin(keys & ((1 << APP_BITS) - 1), self._of_bytes[name])
        parts = [(np.flatnonzero(~mine), self._models[name]), (np.flatnonzero(mine), self._by_bytes[name][1])]
        return [part for k, part in enumerate(parts) if k == 0 or len(part[0])]

    def judge(self, name: str, interval: Interval, part: NDArray[np.intp], *, dark: int = 0) -> Judged:
        """Return estimates and scores of rows *part* of an interval, which are of class *name*.

        Where the probe saw too little, for the reason with the number *dark*, nothing is judged, and what is remembered
        stays.
        """
        judged = []
        for rows, model in self._parts(name, interval.keys[part]):
            mine = part[rows] if len(rows) < len(part) else part
            if name in self._pages:
                estimates: Any = self._pages[name].of(interval.keys[mine])
            else:
                seen = _VIEWS[name][0](interval, mine)
                estimates = self._advance(name, model, interval.keys[mine], seen, keep=not dark)
            if dark:
                nothing = np.full(len(mine), np.nan)
                judged.append((rows, _judged(model, estimates, nothing, np.full(len(mine), dark, np.uint8))))
            else:
                judged.append((rows, _judged(model, estimates, model.score(estimates), estimates.unmeasured)))
        return _merged(judged)

    def load_pages(self, interval: Interval, class_of_flow: NDArray[np.uint8]) -> None:
        """Go on by an interval with the pages of the subscribers; *class_of_flow* (n,) is that of its flows."""
        for table in self._paged():
            table.advance(interval, class_of_flow)

    def _paged(self) -> tuple[Paged, Paged]:
        return self._pages["web"], self._pages["social"]

    def _advance(self, name: str, model: Model, keys: NDArray[np.int64], seen: Any, *, keep: bool = True) -> Any:
        table, before = self._tables[name], self._tables[name].recall(keys)
        counted = isinstance(seen, video.Seen) and model.profile.counted
        if counted:
            seen = dataclasses.replace(seen, segment_s=self._segments.of(keys))
        after, estimates = model.advance(before, seen)
        if keep and counted:
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
            parts = self._parts(name, table.keys[absent]) if len(absent) else []
            due = np.concatenate(
                [absent[:0], *(absent[rows][model.due(table.rows_of(absent[rows]), now_s)] for rows, model in parts)]
            )
            if len(due):
                out[name] = table.keys[np.sort(due)]
        for paged in self._paged():
            out |= paged.silent(now_s)
        return out

    def waits(self, now_s: float) -> bool:
        """Say whether `silent` has keys when nothing is present."""
        return bool(self.silent(now_s, np.zeros(0, np.int64)))

    def stand(self, name: str, keys: NDArray[np.int64], span_s: tuple[float, float]) -> Judged:
        """Return estimates and scores of rows of which nothing passed."""
        interval_s, judged = max(span_s[1] - span_s[0], 1e-3), []
        for rows, model in self._parts(name, keys):
            if name in self._pages:
                estimates: Any = self._pages[name].stand(keys[rows], span_s[1], interval_s)
            else:
                nothing = _VIEWS[name][1](len(rows), span_s[1], interval_s)
                estimates = self._advance(name, model, keys[rows], nothing)
            judged.append((rows, _judged(model, estimates, model.score(estimates), estimates.unmeasured)))
        return _merged(judged)


def _merged(parts: Sequence[tuple[NDArray[np.intp], Judged]]) -> Judged:
    """Return the rows of some parts, each with their places, in one."""
    if len(parts) == 1:
        return parts[0][1]
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    names = parts[0][1].columns
    columns = {name: np.concatenate([judged.columns[name] for _, judged in parts])[order] for name in names}
    return Judged(np.concatenate([judged.mos for _, judged in parts])[order], columns)


def _judged(model: Model, estimates: Any, mos: Array, unmeasured: NDArray[np.uint8]) -> Judged:
    columns: dict[str, NDArray[Any]] = {
        f.name: getattr(estimates, f.name) for f in dataclasses.fields(estimates) if f.name != "unmeasured"
    }
    for name, texts in model.texts.items():
        columns[name] = np.array(texts, object)[columns[name]]
    columns["unmeasured"] = _TEXTS[unmeasured]
    columns["model"] = np.full(len(mos), model.name, object)
    return Judged(mos, columns)
