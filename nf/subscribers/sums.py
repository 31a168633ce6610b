"""Flows to rows: sums, minima and means over all flows of one (subscriber, application).

`group` makes them: by the compiled pass, or by its `reference` here where that is not there (`nf.fast`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.apps.basis import RANK, Basis
from nf.fast import group as compiled
from nf.fast.library import Library, loaded
from nf.flows.batch import FlowBatch
from nf.qoe.inputs import Array

__all__ = ["Rows", "by_library", "group", "reference", "rules"]

TCP, UDP = 6, 17
MEDIA_PACKETS_PER_S = 10.0  # slowest tick of a game, and less than any talker (docs/qoe.md, "Media flows")
BULK_PACKET_BYTES = 500.0  # a flow of longer packets carries data: acknowledgements and keep-alives are shorter
# A longer gap is a pause of the application and not of the network: two round trips of the flow, at
# least a retransmission timer of Linux; half a second where no round trip is known (Requet's bursts).
PAUSE_ROUND_TRIPS = 2.0
PAUSE_LEAST_US, PAUSE_UNKNOWN_US, PAUSE_MOST_US = 200_000.0, 500_000.0, 900_000.0
GAP_CUT_US = 1_000_000.0  # the kernel cuts longer gaps in its sums
MOST_FILLED = 255.0  # the kernel counts modulo 256; of more segments sent again half were lost before it, or not
FASTEST_BPS = 1e9  # no radio is faster: bounds the busy time of a burst from below

_STRONGEST_FIRST = RANK.argsort()  # numbers of grounds


@dataclass(frozen=True, slots=True)
class Rows:
    """One row per key, shape (n,) or (n, 2); second axis UPLINK, DOWNLINK, of RTTs CORE, ACCESS. NaN: not seen."""

    of_flow: NDArray[np.intp]  # (flows,) the row of each flow: the one column that is not of rows
    first: NDArray[np.intp]  # a flow of the row: the one that came first in the batch
    largest: NDArray[np.intp]  # the one with most bytes, of equals the first
    flows: NDArray[np.int64]
    basis: NDArray[np.int64]  # strongest ground of a name
    confidence: Array  # percent, mean over the bytes
    octets: NDArray[np.uint64]
    packets: NDArray[np.uint64]
    rtt_n: NDArray[np.uint64]
    rtt_mean_ms: Array
    rtt_min_ms: Array
    rtt_high_ms: Array  # mean of the flows' largest samples by their number: about the 90th percentile
    # RTP packets missing; without RTP, TCP segments sent again. Below 0 when segments of an interval before turn out
    # to have been sent for nothing.
    lost: Array
    sent: Array  # RTP packets expected; without RTP, TCP packets with payload
    before: Array  # of lost: before the probe; the others were lost behind it
    rtp: NDArray[np.bool_]  # lost and sent are those of RTP
    jitter_ms: Array  # media flows, as the next two
    gap_mean_ms: Array
    gap_max_ms: Array
    gap_max_any_ms: Array  # all flows
    bulk_octets: Array
    bulk_packets: Array
    busy_s: Array  # sum over the bulk flows of the time in which they moved data, at most the interval
    busiest_s: Array  # of the busiest flow

    def __len__(self) -> int:
        return len(self.first)


def group(flows: FlowBatch, key: NDArray[np.int64], interval_s: float) -> tuple[NDArray[np.int64], Rows]:
    """Return the sorted distinct keys of the flows, and the row of each. There is at least one flow."""
    library = loaded()
    return reference(flows, key, interval_s) if library is None else by_library(library, flows, key, interval_s)


def by_library(
    library: Library, flows: FlowBatch, key: NDArray[np.int64], interval_s: float
) -> tuple[NDArray[np.int64], Rows]:
    """Do what `group` says by the compiled pass."""
    keys, columns = compiled.group(library, flows, key, rules(interval_s), RANK)
    columns["basis"] = _STRONGEST_FIRST[columns.pop("rank")]
    columns["rtp"] = columns["rtp"].view(np.bool_)
    return keys, Rows(**columns)


def rules(interval_s: float) -> dict[str, float]:
    """Return the numbers that the compiled pass asks for."""
    return {
        "interval_s": interval_s,
        "media_packets": MEDIA_PACKETS_PER_S * interval_s,
        "bulk_packet_bytes": BULK_PACKET_BYTES,
        "pause_round_trips": PAUSE_ROUND_TRIPS,
        "pause_least_us": PAUSE_LEAST_US,
        "pause_unknown_us": PAUSE_UNKNOWN_US,
        "pause_most_us": PAUSE_MOST_US,
        "gap_cut_us": GAP_CUT_US,
        "fastest_bps": FASTEST_BPS,
        "tcp": TCP,
        "udp": UDP,
        "contradicted": int(Basis.CONTRADICTED),
        "most_filled": MOST_FILLED,
    }


def reference(flows: FlowBatch, key: NDArray[np.int64], interval_s: float) -> tuple[NDArray[np.int64], Rows]:
    """Do what `group` says in numpy."""
    order, starts, row = _in_rows(key)

    def total(values: NDArray[Any]) -> Any:
        if values.dtype.kind != "f":
            return np.add.reduceat(values[order], starts, axis=0)
        # Floats are added one after another, as the compiled pass does: reduceat adds in pairs.
        columns = values[order].reshape(len(order), -1).T
        return np.stack([np.bincount(row, column) for column in columns], axis=1).reshape(-1, *values.shape[1:])

    def least(values: NDArray[Any]) -> Any:
        return np.minimum.reduceat(values[order], starts, axis=0)

    def most(values: NDArray[Any]) -> Any:
        return np.maximum.reduceat(values[order], starts, axis=0)

    n = flows.gap_n.astype(np.float64)
    gap_sum, gap_sq = flows.gap_sum_us.astype(np.float64), flows.gap_sq_us2.astype(np.float64)
    media = (flows.proto == UDP)[:, None] & (n >= MEDIA_PACKETS_PER_S * interval_s)
    variance = np.maximum(_over(gap_sq, n) - _over(gap_sum, n) ** 2, 0)
    media_n = total(np.where(media, n, 0))
    gap_max = flows.gap_max_us.astype(np.float64)

    rtt_n = flows.rtt_n.astype(np.float64)
    samples = total(rtt_n)
    rtt_min = np.where(rtt_n > 0, flows.rtt_min_us, np.inf)
    rtt_high = rtt_n * flows.rtt_high_us

    resent, segments, before = _resent(flows)
    missing = np.maximum(flows.rtp_expected.astype(np.float64) - flows.rtp_received, 0)
    expected = total(flows.rtp_expected.astype(np.float64))
    rtp = expected > 0

    octets = flows.octets.astype(np.float64)
    told = np.where(
        (flows.app > 0) | (flows.basis == Basis.CONTRADICTED), flows.basis, 0
    )  # without an application only CONTRADICTED counts
    strongest = _STRONGEST_FIRST[least(RANK[told])]
    bulk = octets >= BULK_PACKET_BYTES * np.maximum(flows.packets, 1)
    busy_s = np.where(bulk, _busy_us(octets, gap_sum, gap_sq, gap_max, _pause_us(rtt_min)), 0) / 1e6
    rows = Rows(
        of_flow=row[np.argsort(order)],
        first=order[starts],
        largest=_largest(order, starts, flows.octets.sum(axis=1)),
        flows=np.diff(np.append(starts, len(order))),
        basis=strongest,
        confidence=_over(total(octets.sum(axis=1) * flows.confidence), total(octets.sum(axis=1))),
        octets=total(flows.octets),
        packets=total(flows.packets),
        rtt_n=total(flows.rtt_n.astype(np.uint64)),
        rtt_mean_ms=_over(total(flows.rtt_sum_us.astype(np.float64)) / 1000, samples, np.nan),
        rtt_min_ms=_finite(least(rtt_min)) / 1000,
        rtt_high_ms=_over(total(rtt_high) / 1000, samples, np.nan),
        lost=np.where(rtp, total(missing), total(resent)),
        sent=np.where(rtp, expected, total(segments)),
        before=np.where(rtp, total(missing), total(before)),
        rtp=rtp,
        jitter_ms=np.sqrt(_over(total(np.where(media, n * variance, 0)), media_n, np.nan)) / 1000,
        gap_mean_ms=_over(total(np.where(media, gap_sum, 0)), media_n, np.nan) / 1000,
        gap_max_ms=np.where(media_n > 0, most(np.where(media, gap_max, 0)), np.nan) / 1000,
        gap_max_any_ms=np.where(total(n) > 0, most(np.where(n > 0, gap_max, 0)), np.nan) / 1000,
        bulk_octets=total(np.where(bulk, octets, 0)),
        bulk_packets=total(np.where(bulk, flows.packets, 0).astype(np.float64)),
        busy_s=np.minimum(total(busy_s), interval_s),
        busiest_s=np.minimum(most(busy_s), interval_s),
    )
    return key[rows.first], rows


def _in_rows(key: NDArray[np.int64]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the flows row by row, where in that order each row begins, and the row of each there."""
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(key[order]) != 0]))
    return order, starts, np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(order))))


def _resent(flows: FlowBatch) -> tuple[Array, Array, Array]:
    """Return (n, 2) TCP segments sent again, less those that had arrived, and those sent; 0 for other protocols.

    The third are those sent again that were lost before the probe.
    """
    tcp = (flows.proto == TCP)[:, None]
    # A segment sent again was first sent in the interval before, or as a SYN or FIN, which carries no payload.
    resent = np.where(tcp, flows.retrans, 0).astype(np.float64)
    segments = np.where(tcp, flows.payload_packets, 0).astype(np.float64)
    segments = np.where(resent > 0, np.maximum(segments, resent + 1), segments)
    before = np.where(tcp, np.where(resent > MOST_FILLED, resent / 2, flows.filled), 0)
    return np.where(tcp, resent - flows.spurious, 0), segments, before


def _largest(order: NDArray[np.intp], starts: NDArray[np.intp], octets: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Return the flow with most octets of each row, of equals the first. *order* has the flows row by row."""
    sizes = np.diff(np.append(starts, len(order)))
    row = np.repeat(np.arange(len(starts)), sizes)
    by_size = np.lexsort((-octets[order].astype(np.int64), row))
    return order[by_size[starts]]


def _pause_us(rtt_min_us: Array) -> Array:
    """Return (n, 1) the gap in us above which a flow pauses; *rtt_min_us* (n, 2) is infinite where not known."""
    pause = np.clip(PAUSE_ROUND_TRIPS * rtt_min_us.sum(axis=1), PAUSE_LEAST_US, PAUSE_MOST_US)
    return np.where(np.isinf(rtt_min_us).any(axis=1), PAUSE_UNKNOWN_US, pause)[:, None]


def _busy_us(octets: Array, gap_sum: Array, gap_sq: Array, gap_max: Array, pause: Array) -> Array:
    """Return the time of a flow in us without its pauses: at most its true busy time plus the pauses that hide.

    The sum x(x - p)/(g - p) over the gaps x, of which g is the longest, is a lower bound of the
    time in gaps over p, because each term is at most x there and at most 0 elsewhere; so is g alone.
    """
    longest = np.minimum(gap_max, GAP_CUT_US)
    paused = longest > pause
    bound = (gap_sq - pause * gap_sum) / np.where(paused, longest - pause, 1.0)
    idle = np.where(paused, np.maximum(bound, longest), 0.0)
    return np.maximum(gap_sum - idle, octets * 8e6 / FASTEST_BPS)


def _over(values: Array, counts: Array, empty: float = 0.0) -> Array:
    out = np.full(np.shape(values), empty)
    np.divide(values, counts, out=out, where=counts > 0)
    return out


def _finite(values: Array) -> Array:
    return np.where(np.isinf(values), np.nan, values)
