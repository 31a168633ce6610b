"""Estimates of what happened, by the models of the classes, with what they remember of each row between intervals.

    rows and flows of an interval ── `Seen` ──┐
    states of the interval before ── KeyTable ┴─ `nf.qoe.models` ── estimates, scores

A row that stands still has no packet in an interval, and yet a record: `Estimators.silent` says which.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.flows.batch import DOWNLINK, FlowBatch
from nf.flows.media import NEVER
from nf.flows.search import at
from nf.qoe import Inputs
from nf.qoe.inputs import Array
from nf.qoe.models import MODELS, Model
from nf.qoe.reasons import REASONS
from nf.subscribers.fading import KeyTable

__all__ = ["Estimators", "Judged", "MainFlows", "paused"]

UDP = 17
HORIZON_S = 60.0  # a row that was not seen for so long is another call, game or session (own; the idle time of Requet)
_TEXTS = np.array(REASONS, object)
_PAUSED = REASONS.index("the probe paused")

# A pause of the probe or its host is one of all flows at once (own): of so many flows of several subscribers.
PAUSE_FLOWS, PAUSE_SUBSCRIBERS, PAUSE_SHARE = 10, 5, 0.9
PAUSE_LEAST_US, PAUSE_ALIKE = 100_000, 0.7  # a spike (`nf.qoe.ticks`), and at least this share of the median one
PAUSE_PACKETS_PER_S = 10.0  # as a media flow (nf/subscribers/sums.py)


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows of one class: scores (n,), and columns of the record by name."""

    mos: Array
    columns: Mapping[str, NDArray[Any]]


class MainFlows:
    """The main media flow of each row, of which calls and games are judged: UDP before others, then the largest."""

    def __init__(self, flows: FlowBatch, key: NDArray[np.int64], keys: NDArray[np.int64]) -> None:
        """*key* (n,) is that of each of *flows*, *keys* are the sorted ones of the rows."""
        media = flows.media
        flow, there = at(flows.flow_id, media.number)
        mine = np.flatnonzero(there)
        flow = flow[mine]
        row = np.searchsorted(keys, key[flow])
        size = flows.octets[flow, DOWNLINK].astype(np.int64) + ((flows.proto[flow] == UDP).astype(np.int64) << 48)
        order = np.lexsort((size, row))
        last = np.append(row[order][1:] != row[order][:-1], True)[: len(order)]
        best = order[last]
        self._flows, self._media = flows, media
        self._flow = np.full(len(keys), -1)
        self._detail = np.full(len(keys), -1)
        self._flow[row[best]], self._detail[row[best]] = flow[best], mine[best]
        self._row, self._mine = row, mine

    def column(self, name: str, rows: NDArray[np.intp] | slice) -> NDArray[Any]:
        """Return column *name* of the main flows of *rows*: 0 without one, NEVER of an age."""
        if name.startswith("rtcp_"):  # reports may have a port, and so a flow, of their own
            reports: NDArray[Any] = self._of_all(name)[rows]
            return reports
        of_media = hasattr(self._media, name)
        values: NDArray[Any] = getattr(self._media if of_media else self._flows, name)
        place = (self._detail if of_media else self._flow)[rows]
        fill = NEVER if name == "last_payload_us" else 0
        if not len(values):
            shape = (len(place), *values.shape[1:])
            return np.full(shape, fill, values.dtype)
        found: NDArray[Any] = values[place]
        found[place < 0] = fill
        return found

    def _of_all(self, name: str) -> NDArray[Any]:
        values: NDArray[Any] = getattr(self._media, name)[self._mine]
        out = np.zeros((len(self._flow), 2), values.dtype)
        (np.maximum if name.endswith("_us") else np.add).at(out, self._row, values)
        return out


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
        self._tables = {name: KeyTable(np.zeros(0, model.state), HORIZON_S, capacity) for name, model in MODELS.items()}

    def judge(
        self,
        name: str,
        keys: NDArray[np.int64],
        column: Callable[[str], NDArray[Any]],
        span_s: tuple[float, float],
        *,
        pause: bool = False,
    ) -> Judged:
        """Return estimates and scores of rows of class *name*, by their sorted *keys*.

        *column* returns a column of what was seen of them, *span_s* is the interval. With a *pause* of the probe
        nothing is judged, and what is remembered stays.
        """
        model = MODELS[name]
        now_s, interval_s = span_s[1], max(span_s[1] - span_s[0], 1e-3)
        given = {f.name: column(f.name) for f in dataclasses.fields(model.seen)[2:]}
        return self._judge(name, model, keys, model.seen(now_s, interval_s, **given), pause)

    def _judge(self, name: str, model: Model, keys: NDArray[np.int64], seen: Any, pause: bool = False) -> Judged:
        table = self._tables[name]
        known, old, _ = table.get(keys)
        before = np.zeros(len(keys), model.state)
        before[known] = old
        after, estimates = model.advance(before, seen)
        if not pause:
            table.put(keys, after, seen.now_s)
            return _judged(model, estimates, model.score(estimates), estimates.unmeasured)
        nothing = np.full(len(keys), np.nan)
        return _judged(model, estimates, nothing, np.full(len(keys), _PAUSED, np.uint8))

    def knows(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of sorted *keys* whether a model remembers them."""
        known = np.zeros(len(keys), np.bool_)
        for table in self._tables.values():
            known |= at(table.keys, keys)[1]
        return known

    def forget(self) -> None:
        """Forget all rows."""
        for table in self._tables.values():
            table.clear()

    def silent(self, now_s: float, present: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
        """Return by class the keys that need a record though they are not *present* (sorted) in this interval."""
        out = {}
        for name, table in self._tables.items():
            absent = np.flatnonzero(~at(present, table.keys)[1])
            due = absent[MODELS[name].due(table.rows[absent], now_s)] if len(absent) else absent
            if len(due):
                out[name] = table.keys[due]
        return out

    def waits(self, now_s: float) -> bool:
        """Say whether `silent` has keys when nothing is present."""
        return bool(self.silent(now_s, np.zeros(0, np.int64)))

    def stand(self, name: str, keys: NDArray[np.int64], span_s: tuple[float, float]) -> Judged:
        """Return estimates and scores of rows of which nothing passed."""
        model = MODELS[name]
        nothing = model.nothing(len(keys), span_s[1], max(span_s[1] - span_s[0], 1e-3))
        return self._judge(name, model, keys, nothing)


def inputs_or(inputs: Inputs, flows: MainFlows, rows: NDArray[np.intp] | slice) -> Callable[[str], NDArray[Any]]:
    """Return the columns by name that models ask for: those of *inputs*, else of the main flows."""

    def column(name: str) -> NDArray[Any]:
        if name.startswith("rtt_"):
            value: NDArray[Any] = getattr(inputs, name)[rows]
            return value
        return flows.column(name, rows)

    return column


def _judged(model: Model, estimates: Any, mos: Array, unmeasured: NDArray[np.uint8]) -> Judged:
    columns: dict[str, NDArray[Any]] = {
        f.name: getattr(estimates, f.name) for f in dataclasses.fields(estimates) if f.name != "unmeasured"
    }
    for name, texts in model.texts.items():
        columns[name] = np.array(texts, object)[columns[name]]
    columns["unmeasured"] = _TEXTS[unmeasured]
    columns["model"] = np.full(len(mos), model.name, object)
    return Judged(mos, columns)
