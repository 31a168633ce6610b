"""Rows to published records: their columns by class, with scores, estimates and suspects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import APP_CLASSES, RECORD_COLUMNS, SUBSCRIBER_COLUMNS, RecordBatch, columns_of
from nf.apps.basis import Basis
from nf.flows.batch import ACCESS, CORE, DOWNLINK, UPLINK
from nf.flows.search import one_of
from nf.qoe import SCORES, Inputs, unknown
from nf.subscribers.blame import Given, Parts
from nf.subscribers.estimators import Judged
from nf.subscribers.sums import Rows

__all__ = [
    "Span",
    "columns_of_rows",
    "judged_by_inputs",
    "missing_where_unseen",
    "parts_of",
    "records",
    "silent_columns",
]

Span = tuple[float, float]  # of an interval, in s since the epoch
Part = NDArray[np.intp]  # rows of one class
_REAL_TIME = one_of(APP_CLASSES.index(name) for name in ("conferencing", "voice", "gaming"))
_BASIS_TEXT = np.array([basis.text for basis in Basis], object)


def _times(span_s: Span, n: int) -> dict[str, NDArray[Any]]:
    return {
        "t_ms": np.full(n, max(round(span_s[1] * 1000), 0)),
        "interval_ms": np.full(n, max(round((span_s[1] - span_s[0]) * 1000), 0)),
    }


def columns_of_rows(span_s: Span, rows: Rows) -> dict[str, NDArray[Any]]:
    """Return the published columns that come straight from the sums."""
    octets, packets = rows.octets, rows.packets
    interval_s = max(span_s[1] - span_s[0], 1e-3)
    loss = np.full(rows.lost.shape, np.nan)
    np.divide(np.maximum(rows.lost, 0), rows.sent, out=loss, where=rows.sent > 0)
    return {
        **_times(span_s, len(rows)),
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
        "rtt_samples": rows.rtt_n[:, ACCESS] + rows.rtt_n[:, CORE],
        "loss_ul": loss[:, UPLINK],
        "loss_dl": loss[:, DOWNLINK],
        "jitter_dl_ms": rows.jitter_ms[:, DOWNLINK],
        "gap_max_dl_ms": rows.gap_max_any_ms[:, DOWNLINK],
    }


_ZERO = ("flows", "ul_bytes", "dl_bytes", "ul_packets", "dl_packets", "ul_bps", "dl_bps", "rtt_samples")
_QUALITIES = (
    *SUBSCRIBER_COLUMNS,
    *("rtt_high_access_ms", "rtt_high_core_ms"),
    *("rtt_access_ms", "rtt_core_ms", "rtt_min_access_ms", "rtt_min_core_ms"),
    *("loss_ul", "loss_dl", "jitter_dl_ms", "gap_max_dl_ms"),
)


def silent_columns(span_s: Span, n: int) -> dict[str, NDArray[Any]]:
    """Return the columns of *n* rows of which nothing passed; the caller adds whose they are."""
    nothing = np.full(n, np.nan)
    return {**_times(span_s, n), **dict.fromkeys(_ZERO, np.zeros(n, np.int64)), **dict.fromkeys(_QUALITIES, nothing)}


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


def parts_of(class_of: NDArray[np.uint8]) -> dict[str, Part]:
    """Return the rows of each class that has any, in their order."""
    order = np.argsort(class_of, kind="stable")
    ends = np.searchsorted(class_of[order], np.arange(len(APP_CLASSES)), "right").tolist()
    slices = {name: slice(*at) for name, *at in zip(APP_CLASSES, [0, *ends], ends, strict=False) if at[0] < at[1]}
    return {name: order[part] for name, part in slices.items()}


def judged_by_inputs(name: str, inputs: Inputs, part: Part) -> Judged:
    """Return the scores of a class that has no model of estimates: what the network permits."""
    if SCORES[name] is unknown.score:  # which asks for nothing
        return Judged(np.full(len(part), np.nan), {})
    columns = {column: getattr(inputs, column) for column in inputs.__slots__}
    chosen: dict[str, Any] = {
        c: np.take(value, part, axis=0) for c, value in columns.items() if isinstance(value, np.ndarray)
    }
    return Judged(SCORES[name](replace(inputs, **chosen)), {})


def records(
    span_s: Span,
    parts: Mapping[str, Part],
    columns: Mapping[str, NDArray[Any]],
    judge: Callable[[str, Part], Judged],
    inspected: NDArray[np.bool_],
    suspects: Callable[[NDArray[np.float64], Parts], Given],
) -> list[RecordBatch]:
    """Return a batch for each class. *columns* are of all rows, *judge* makes scores and estimates of those of a class.

    Rows that are not *inspected* get their volumes and nothing else. *suspects* says of all rows what limits them.
    """
    if not inspected.all():
        columns = {**columns, **{name: np.where(inspected, columns[name], np.nan) for name in _QUALITIES}}
        columns["rtt_samples"] = np.where(inspected, columns["rtt_samples"], 0)
    mos, estimates = np.full(len(inspected), np.nan), {}
    for name, part in parts.items():
        judged = judge(name, part)
        mos[part] = np.where(inspected[part], judged.mos, np.nan)
        estimates[name] = judged.columns
    blamed = suspects(mos, {name: (part, estimates[name]) for name, part in parts.items()})
    of_all = _in_order({**columns, "mos": mos, **blamed}, list(parts.values()))
    out, begin = [], 0
    for name, part in parts.items():
        mine = slice(begin, begin + len(part))
        estimated = estimates[name] if inspected[part].all() else _where(inspected[part], estimates[name])
        out.append(RecordBatch(name, *span_s, _of_class(name, of_all, mine, estimated)))
        begin = mine.stop
    return out


def _in_order(columns: Mapping[str, NDArray[Any]], parts: Sequence[Part]) -> dict[str, NDArray[Any] | list[str]]:
    """Return the columns with the rows of *parts* one after another, as they are published but for missing values.

    One look into each column for all classes costs less than one for each.
    """
    order = np.concatenate(parts) if len(parts) > 1 else parts[0]
    out: dict[str, NDArray[Any] | list[str]] = {}
    for name, values in columns.items():
        dtype = RECORD_COLUMNS[name].dtype
        if dtype == "str":
            out[name] = values[order].tolist()
        elif values.dtype.kind == "f" and dtype != "f4":  # it may be missing
            out[name] = values[order]
        else:
            out[name] = values.astype(dtype, copy=False)[order]
    return out


def _where(inspected: NDArray[np.bool_], estimates: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the estimates of rows that are inspected; those of others are missing."""
    return {
        name: np.where(inspected, values, "" if values.dtype.kind == "O" else np.nan)
        for name, values in estimates.items()
    }


def _of_class(
    name: str,
    of_all: Mapping[str, NDArray[Any] | list[str]],
    mine: slice,
    estimates: Mapping[str, NDArray[Any]],
) -> dict[str, Any]:
    """Return the columns of the records of a class, in their order; an estimate that there is none of is missing."""
    out: dict[str, Any] = {}
    real_time, n = _REAL_TIME[APP_CLASSES.index(name)], mine.stop - mine.start
    for column, kind in columns_of(name).items():
        if column in of_all and (column != "jitter_dl_ms" or real_time):
            found = of_all[column][mine]
        elif column in estimates:
            found = estimates[column]
        else:
            found = [""] * n if kind.dtype == "str" else np.full(n, np.nan, np.float32)
        if kind.dtype == "str":
            out[column] = found if isinstance(found, list) else found.tolist()
        else:
            out[column] = _typed(np.asarray(found), kind.dtype)
    return out


def _typed(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return a column as its type; one without any value stays float, as integers have no NaN."""
    if dtype != "f4" and values.dtype.kind == "f" and len(values) and np.isnan(values).all():
        return values.astype(np.float32)
    return values.astype(dtype, copy=False)
