"""The stage from flows to published records, with a little memory between intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import APP_CLASSES, RECORD_COLUMNS, SPARSE_COLUMNS, RecordBatch
from nf.apps.basis import Basis
from nf.flows.batch import ACCESS, CORE, DOWNLINK, UPLINK, FlowBatch
from nf.flows.search import one_of
from nf.qoe import SCORES, Inputs
from nf.qoe.inputs import Array
from nf.settings import Action
from nf.subscribers.fading import memory
from nf.subscribers.labels import Labels, SubscriberNames
from nf.subscribers.sums import Rows, group
from nf.subscribers.suspect import SUSPECTS, suspect

__all__ = ["Subscribers", "missing_where_unseen"]

LOSS_TAU_S = 5.0  # loss is a matter of the last seconds: the window of docs/qoe.md, "Voice"
GOODPUT_TAU_S = 5.0  # about the time between two chunks of a player (YouTube: 5 s a request)
# A sample of the round trip may hold a delayed acknowledgement or a peer's thinking time, of seconds in real
# captures. The least of a few samples is the network's; it follows a radio that gets worse within 4 to 8 s.
RTT_WINDOW_S = 4.0
RTT_LEAST_SAMPLES = 3.0
RTT_TAU_S = 30.0  # time constant of the last access RTTs, which stand in when there are too few samples
RTT_FADED = 0.1  # weight that is left of a single estimate after 70 s; with less it is forgotten

LOSS_LEAST_SENT = 10.0  # packets in the window before a share of them is a loss ratio
BULK_LEAST_BYTES = 80_000.0  # smallest chunk of a video (Requet), in the window,
BULK_LEAST_BUSY_S = 3.0  # or a transfer that tried so long for less
MOVING_PACKETS, MOVING_SHARE = 10.0, 0.5  # bulk packets, or busy share, of an interval that is no pause

_ACTIONS = tuple(Action)
_COUNT, _SUPPRESS = _ACTIONS.index(Action.COUNT), _ACTIONS.index(Action.SUPPRESS)
_REAL_TIME = one_of(APP_CLASSES.index(name) for name in ("conferencing", "voice", "gaming"))
_APP_BITS = 16
_BASIS_TEXT = np.array([basis.text for basis in Basis], object)


class Subscribers:
    """Maker of the records of each interval, with a memory of the last seconds per (subscriber, application).

    A subscriber with two data networks counts as two. ``capacity`` bounds the memory; beyond it the keys
    not seen for longest are forgotten (``forgotten`` counts them), which costs their history only.
    """

    def __init__(self, capacity: int = 262_144) -> None:
        self.capacity = capacity
        # Per (subscriber, application): loss and goodput with the RTT of the core; per subscriber: the access RTT,
        # and the last ones with their weight.
        self._recent = memory(np.repeat([LOSS_TAU_S, GOODPUT_TAU_S], 4), RTT_WINDOW_S, capacity)
        self._access_rtt = memory(np.zeros(0), RTT_WINDOW_S, capacity)
        self._lately = memory(np.full(2, RTT_TAU_S), RTT_WINDOW_S, capacity)
        self.labels = Labels()

    @property
    def forgotten(self) -> int:
        """Keys that lost their history because the memory was full."""
        return self._recent.evicted + self._lately.evicted

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
        keys, rows = group(_take(flows, used), (who[used] << _APP_BITS) | app[used], interval_s)
        of_app, first = keys & ((1 << _APP_BITS) - 1), used[rows.first]
        inputs = self._inputs(keys, rows, interval_s, flows.t_end_s)
        columns = missing_where_unseen(self._columns(flows, rows, interval_s), seen)
        columns["subscriber"] = np.asarray(names.subscriber, object)[subject[first]]
        columns["identity_source"] = np.asarray(names.identity_source, object)[subject[first]]
        columns["dnn"] = np.asarray(names.dnn, object)[subject[first]]
        columns["app"] = np.array(app_names, object)[of_app]
        for name in SPARSE_COLUMNS:
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
            self.labels.keep(set((self._recent.keys >> _APP_BITS).tolist()) | set(self._lately.keys.tolist()))

    def _inputs(self, keys: NDArray[np.int64], rows: Rows, interval_s: float, now_s: float) -> Inputs:
        now = np.hstack([rows.lost, rows.sent, rows.bulk_octets, rows.busy_s])
        n = rows.rtt_n[:, CORE].astype(np.float64)
        recent, core_ms, samples = self._recent.add(keys, now_s, now, rows.rtt_min_ms[:, CORE], n)
        lost, sent, bulk, busy_s = (recent[:, column : column + 2] for column in (0, 2, 4, 6))
        moving = (rows.bulk_packets >= MOVING_PACKETS) | (rows.busy_s >= MOVING_SHARE * interval_s)
        moving &= (bulk >= BULK_LEAST_BYTES) | (busy_s >= BULK_LEAST_BUSY_S)
        return Inputs(
            interval_s=interval_s,
            packets=rows.packets.astype(np.float64),
            octets=rows.octets.astype(np.float64),
            rtt_access_ms=self._access_ms(keys >> _APP_BITS, rows, now_s),
            rtt_core_ms=np.where(samples >= RTT_LEAST_SAMPLES, core_ms, np.nan),
            loss=_ratio(lost, sent, sent >= LOSS_LEAST_SENT),
            jitter_ms=rows.jitter_ms,
            gap_mean_ms=rows.gap_mean_ms,
            gap_max_ms=rows.gap_max_ms,
            busy=rows.busiest_s / interval_s,
            bulk_octets=bulk,
            goodput_bps=8 * _ratio(bulk, busy_s, moving),
            goodput_now_bps=8 * _ratio(rows.bulk_octets, rows.busy_s, moving),
        )

    def _access_ms(self, who: NDArray[np.int64], rows: Rows, now_s: float) -> Array:
        """Return the RTT to the UE for each row, from all flows of the subscriber together: they share one radio."""
        begins = np.append(True, who[1:] != who[:-1])  # *who* is sorted
        starts, row_of = np.flatnonzero(begins), np.cumsum(begins) - 1
        people = who[starts]
        n = np.add.reduceat(rows.rtt_n[:, ACCESS].astype(np.float64), starts)
        now_ms = np.fmin.reduceat(rows.rtt_min_ms[:, ACCESS], starts)
        _, least_ms, samples = self._access_rtt.add(people, now_s, np.zeros((len(people), 0)), now_ms, n)
        told = samples >= RTT_LEAST_SAMPLES
        estimate = np.stack([np.where(told, least_ms, 0), told.astype(np.float64)], axis=1)
        none = np.zeros(len(people))
        lately, _, _ = self._lately.add(people, now_s, estimate, none, none)
        fallback = _ratio(lately[:, 0], lately[:, 1], lately[:, 1] >= RTT_FADED)
        access_ms: Array = np.where(told, least_ms, fallback)[row_of]
        return access_ms

    @staticmethod
    def _columns(flows: FlowBatch, rows: Rows, interval_s: float) -> dict[str, NDArray[Any]]:
        """Return the published columns that come straight from the sums."""
        n = len(rows)
        octets, packets = rows.octets, rows.packets
        loss = _ratio(rows.lost, rows.sent, rows.sent > 0)
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
    *SPARSE_COLUMNS,
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
    }
    return [
        RecordBatch(name, flows.t_start_s, flows.t_end_s, {c: values[part] for c, values in typed.items()})
        for name, part in parts.items()
    ]


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
