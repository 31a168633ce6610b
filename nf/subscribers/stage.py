"""The stage from flows to published records, with a little memory between intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import APP_CLASSES, RECORD_COLUMNS, SUBSCRIBER_COLUMNS, RecordBatch, columns_of
from nf.apps.basis import Basis
from nf.flows.batch import ACCESS, CORE, DOWNLINK, UPLINK, FlowBatch
from nf.flows.search import one_of
from nf.qoe import SCORES, Inputs
from nf.qoe.inputs import Array
from nf.settings import Action
from nf.subscribers.labels import Labels, SubscriberNames
from nf.subscribers.lately import APP_BITS, Lately
from nf.subscribers.sums import Rows, group
from nf.subscribers.suspect import SUSPECTS, suspect

__all__ = ["Subscribers", "missing_where_unseen"]

_ACTIONS = tuple(Action)
_COUNT, _SUPPRESS = _ACTIONS.index(Action.COUNT), _ACTIONS.index(Action.SUPPRESS)
_REAL_TIME = one_of(APP_CLASSES.index(name) for name in ("conferencing", "voice", "gaming"))
_BASIS_TEXT = np.array([basis.text for basis in Basis], object)


class Subscribers:
    """Maker of the records of each interval, with a memory of the last seconds per (subscriber, application).

    A subscriber with two data networks counts as two. ``capacity`` bounds the memory; beyond it the keys
    not seen for longest are forgotten (``forgotten`` counts them), which costs their history only.
    """

    def __init__(self, capacity: int = 262_144) -> None:
        self.capacity = capacity
        self._lately = Lately(capacity)
        self.labels = Labels()

    @property
    def forgotten(self) -> int:
        """Keys that lost their history because the memory was full."""
        return self._lately.evicted

    def update(
        self,
        flows: FlowBatch,
        *,
        subject: NDArray[np.int64],
        names: SubscriberNames,
        class_of_app: NDArray[np.uint8],
        app_names: Sequence[str],
        action: NDArray[np.uint8],
        delays: Mapping[str, NDArray[np.float32]] | None = None,
        seen: Sequence[bool] | NDArray[np.bool_] = (True, True),
    ) -> list[RecordBatch]:
        """Return the records of one interval, a batch for each application class that has any.

        *seen* says whether uplink and downlink can be seen; the volume of a direction that cannot is missing.

        *delays* are further columns by subject: of the radio network, of N3 and of the UPF, and DNS, VPN and tethering.

        *subject* (n,) indexes *names*; *class_of_app*, *app_names* and *action* (numbers of
        `Action` in order of declaration) are indexed by application number, 0 is no application;
        *action* may have a row for each group of subscribers.
        Suppressed applications and flows without a packet make no record; counted ones get their
        volumes and nothing else.
        """
        app = np.where(flows.app < len(class_of_app), flows.app, 0).astype(np.int64)
        of_group = np.zeros(len(names.subscriber), np.intp)
        of_group[: len(names.group)] = names.group
        due = np.atleast_2d(action)[of_group[subject] if of_group.any() else 0, app]
        used = np.flatnonzero((flows.packets[:, UPLINK] | flows.packets[:, DOWNLINK] > 0) & (due != _SUPPRESS))
        if not len(used):
            return []
        interval_s = max(flows.t_end_s - flows.t_start_s, 1e-3)
        who = self._numbers(names)[subject]
        taken = _take(flows, used)
        keys, rows = group(taken, (who[used] << APP_BITS) | app[used], interval_s)
        of_app, first = keys & ((1 << APP_BITS) - 1), used[rows.first]
        inputs = self._lately.inputs(keys, rows, taken, who[used], interval_s)
        columns = missing_where_unseen(self._columns(flows, rows, interval_s), seen)
        columns["subscriber"] = np.asarray(names.subscriber, object)[subject[first]]
        columns["identity_source"] = np.asarray(names.identity_source, object)[subject[first]]
        columns["dnn"] = np.asarray(names.dnn, object)[subject[first]]
        columns["app"] = np.array(app_names, object)[of_app]
        for name in SUBSCRIBER_COLUMNS:
            told = delays.get(name) if delays else None
            columns[name] = told[subject[first]] if told is not None else np.full(len(first), np.nan, np.float32)
        self._forget()
        return _batches(flows, class_of_app[of_app], columns, inputs, rows.rtp, due[first] != _COUNT)

    def _numbers(self, names: SubscriberNames) -> NDArray[np.int64]:
        """Return a number for each subject that stays the same from interval to interval."""
        return self.labels.numbers(names.subscriber, names.dnn) if names.number is None else names.number

    def _forget(self) -> None:
        """Drop the numbers of subscribers without any other memory, when there are many."""
        if self.labels.numbered > 2 * self.capacity:
            self.labels.keep(self._lately.people())

    @staticmethod
    def _columns(flows: FlowBatch, rows: Rows, interval_s: float) -> dict[str, NDArray[Any]]:
        """Return the published columns that come straight from the sums."""
        n = len(rows)
        octets, packets = rows.octets, rows.packets
        loss = np.maximum(_ratio(rows.lost, rows.sent, rows.sent > 0), 0)
        return {
            "t_ms": np.full(n, max(round(flows.t_end_s * 1000), 0)),
            "interval_ms": np.full(n, max(round((flows.t_end_s - flows.t_start_s) * 1000), 0)),
            "app_basis": _BASIS_TEXT[rows.basis],
            "app_confidence": np.rint(rows.confidence),
            "flows": rows.flows,
            "ul_bytes": octets[:, UPLINK],
            "dl_bytes": octets[:, DOWNLINK],
            "ul_packets": packets[:, UPLINK],
            "dl_packets": packets[:, DOWNLINK],
            "ul_bps": 8 * octets[:, UPLINK] / interval_s,
            "dl_bps": 8 * octets[:, DOWNLINK] / interval_s,
            "rtt_access_ms": rows.rtt_mean_ms[:, ACCESS],
            "rtt_core_ms": rows.rtt_mean_ms[:, CORE],
            "rtt_min_access_ms": rows.rtt_min_ms[:, ACCESS],
            "rtt_min_core_ms": rows.rtt_min_ms[:, CORE],
            "rtt_high_access_ms": rows.rtt_high_ms[:, ACCESS],
            "rtt_high_core_ms": rows.rtt_high_ms[:, CORE],
            "rtt_samples": rows.rtt_n.sum(axis=1),
            "loss_ul": loss[:, UPLINK],
            "loss_dl": loss[:, DOWNLINK],
            "jitter_dl_ms": rows.jitter_ms[:, DOWNLINK],
            "gap_max_dl_ms": rows.gap_max_any_ms[:, DOWNLINK],
        }


def missing_where_unseen(
    columns: Mapping[str, NDArray[Any] | list[str]], seen: Sequence[bool] | NDArray[np.bool_]
) -> dict[str, Any]:
    """Return the columns; volumes of a direction that cannot be seen become NaN instead of zero."""
    unseen = [name for name, is_seen in zip(("ul", "dl"), seen, strict=True) if not is_seen]
    volumes = {f"{way}_{what}" for way in unseen for what in ("bytes", "packets", "bps")}
    return {
        name: np.full(len(values), np.nan, np.float32) if name in volumes else values
        for name, values in columns.items()
    }


_QUALITIES = (
    *SUBSCRIBER_COLUMNS,
    *("rtt_high_access_ms", "rtt_high_core_ms"),
    *("rtt_access_ms", "rtt_core_ms", "rtt_min_access_ms", "rtt_min_core_ms"),
    *("loss_ul", "loss_dl", "jitter_dl_ms", "gap_max_dl_ms"),
)


def _batches(
    flows: FlowBatch,
    class_of: NDArray[np.uint8],
    columns: dict[str, NDArray[Any]],
    inputs: Inputs,
    rtp: NDArray[np.bool_],
    inspected: NDArray[np.bool_],
) -> list[RecordBatch]:
    """Return the records of all rows with their scores, a batch for each class that has any.

    All that is alike in all classes is done to all rows at once, in the order of their classes.
    """
    order = np.argsort(class_of, kind="stable")
    class_of, inspected, inputs, rtp = class_of[order], inspected[order], _rows_of(inputs, order), rtp[order]
    columns = {name: column[order] for name, column in columns.items()}
    if not inspected.all():
        columns |= {name: np.where(inspected, columns[name], np.nan) for name in _QUALITIES}
        columns["rtt_samples"] = np.where(inspected, columns["rtt_samples"], 0)
    columns["jitter_dl_ms"] = np.where(_REAL_TIME[class_of], columns["jitter_dl_ms"], np.nan)
    ends = np.searchsorted(class_of, np.arange(len(APP_CLASSES)), "right").tolist()
    parts = {name: slice(*at) for name, *at in zip(APP_CLASSES, [0, *ends], ends, strict=False) if at[0] < at[1]}
    scores = [SCORES[name](_rows_of(inputs, part)) for name, part in parts.items()]
    columns["mos"] = np.where(inspected, np.concatenate(scores), np.nan)
    columns["suspect"] = SUSPECTS[suspect(inputs, columns["mos"], rtp)]
    typed = {
        name: columns[name].tolist() if column.dtype == "str" else _typed(columns[name], column.dtype)
        for name, column in RECORD_COLUMNS.items()
        if name in columns
    }
    return [
        RecordBatch(name, flows.t_start_s, flows.t_end_s, _of_class(name, part, typed)) for name, part in parts.items()
    ]


def _of_class(app_class: str, part: slice, typed: Mapping[str, NDArray[Any] | list[str]]) -> dict[str, Any]:
    """Return the columns of the records of a class, in their order; estimates that there are none of are missing."""
    n = part.stop - part.start
    return {
        name: typed[name][part]
        if name in typed
        else [""] * n
        if column.dtype == "str"
        else np.full(n, np.nan, np.float32)
        for name, column in columns_of(app_class).items()
    }


def _typed(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return a column as its type; one without any value stays float, as integers have no NaN."""
    if dtype != "f4" and values.dtype.kind == "f" and len(values) and np.isnan(values).all():
        return values.astype(np.float32)
    return values.astype(dtype, copy=False)


def _take(flows: FlowBatch, used: NDArray[np.intp]) -> FlowBatch:
    return flows if len(used) == len(flows) else replace(flows, **_columns_at(flows, used))


def _rows_of(inputs: Inputs, chosen: NDArray[np.intp] | slice) -> Inputs:
    return replace(inputs, **_columns_at(inputs, chosen))


def _columns_at(columns: FlowBatch | Inputs, at: NDArray[np.intp] | slice) -> dict[str, Any]:
    values = {name: getattr(columns, name) for name in columns.__slots__}
    return {name: value[at] for name, value in values.items() if isinstance(value, np.ndarray)}


def _ratio(values: Array, counts: Array, valid: NDArray[np.bool_]) -> Array:
    out = np.full(np.shape(values), np.nan)
    np.divide(values, counts, out=out, where=valid & (counts > 0))
    return out
