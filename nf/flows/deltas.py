"""Differences of two snapshots of the flow table: the activity of each flow since the last read, in columns.

Flows carry a number that the kernel never uses twice, so a binary search finds the row of a flow
in the snapshot before. Counters become differences; minima and maxima are already those of the
interval, because the kernel starts them anew with each epoch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.abi import FLOW_FIRST_B, FLOW_QUIC, NO_RTT, SNF_GAP_MAX_US, SNF_GAP_TICK_US, SNF_UE_B, SNF_UE_UNKNOWN
from nf.flows.batch import FlowBatch
from nf.flows.search import at
from nf.kernel.rows import opaque, rows_at

__all__ = ["FlowDeltas", "from_b", "of_dns"]

_TCP, _UDP = 6, 17
_DNS = int.from_bytes((53).to_bytes(2, "big"), sys.byteorder)  # as the kernel keeps ports
_BLOCK = 8192  # rows; two states of 192 bytes each fit the second-level cache


class FlowDeltas:
    """The last snapshot of the flow table, and the order of its flow numbers."""

    def __init__(self) -> None:
        self._before: NDArray[np.void] | None = None
        self._numbers: NDArray[np.uint64] = np.zeros(0, np.uint64)  # of `_before`, sorted
        self._order: NDArray[np.intp] = np.zeros(0, np.intp)

    def begin(self, flows: NDArray[np.void]) -> None:
        """Take a snapshot as the one that the next update compares with."""
        self._active(flows)

    def update(
        self,
        keys: NDArray[np.void],
        flows: NDArray[np.void],
        names: Callable[[NDArray[np.uint64]], tuple[NDArray[np.uint16], NDArray[np.uint8], NDArray[np.uint8]]],
        span_s: tuple[float, float],
    ) -> tuple[FlowBatch, NDArray[np.intp]]:
        """Compare a snapshot with the one before, which must be unchanged.

        Rows behind those of the table may be flows that ended since, in their last state.
        *names* gives the columns (application, basis, confidence) of flow numbers. Returns the batch of the flows
        that had packets, by number, and their rows in the snapshot.
        """
        before = self._before
        rows, old_rows, known, packets = self._active(flows)
        app, basis, confidence = names(flows["number"][rows])
        # The kernel may know a name that the book lacks: an earlier process gave it, or its record was lost. An answer
        # with a ground and no application stands.
        app = np.where((app > 0) | (basis > 0), app, flows["app"][rows])
        parts = []
        for first in range(0, max(len(rows), 1), _BLOCK):  # a block of rows stays in the cache for all its columns
            block = slice(first, first + _BLOCK)
            now, old = rows_at(flows, rows[block]), np.zeros(len(rows[block]), flows.dtype)
            if before is not None and len(before):
                opaque(old)[known[block]] = opaque(rows_at(before, old_rows[block][known[block]]))
            parts.append(_columns(now, old, known[block], packets[block], rows_at(keys, rows[block])))
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        batch = FlowBatch(span_s[0], span_s[1], app=app, basis=basis, confidence=confidence, **columns)
        return batch, rows

    def _active(
        self, flows: NDArray[np.void]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_], NDArray[np.uint32]]:
        """Return for the flows that had packets, by number: row, row in the snapshot before, whether they were in it,
        and packets since then."""
        numbers = np.ascontiguousarray(flows["number"])
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        last = np.append(numbers[1:] != numbers[:-1], True)  # a flow that ended while the table was read is there twice
        if not last.all():
            order, numbers = order[last], numbers[last]
        packets = np.ascontiguousarray(flows["packets"])[order]
        before, old, known = self._before, np.zeros(len(numbers), np.intp), np.zeros(len(numbers), np.bool_)
        if before is not None and len(before):
            found, known = at(self._numbers, numbers)
            old = self._order[found]
            packets -= np.where(known[:, None], before["packets"][old], 0).astype(np.uint32)
        active = np.flatnonzero(packets.any(axis=1))
        self._before, self._numbers, self._order = flows, numbers, order
        return order[active], old[active], known[active], packets[active]


def of_dns(keys: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say of each flow whether it is DNS over UDP: the kernel keeps ``struct dns_state`` of it."""
    port = (keys["port_a"] == _DNS) | (keys["port_b"] == _DNS)
    dns: NDArray[np.bool_] = port & (keys["proto"] == _UDP)
    return dns


def from_b(flows: NDArray[np.void]) -> NDArray[np.bool_]:
    """Say of each flow whether its uplink comes from end b.

    Where no tunnel gave the direction, the end that spoke first is taken for the UE.
    """
    return np.where(flows["ue_end"] == SNF_UE_UNKNOWN, flows["flags"] & FLOW_FIRST_B > 0, flows["ue_end"] == SNF_UE_B)


def _columns(
    now: NDArray[np.void],
    old: NDArray[np.void],
    known: NDArray[np.bool_],
    packets: NDArray[np.uint32],
    keys: NDArray[np.void],
) -> dict[str, NDArray[Any]]:
    """Return the columns of FlowBatch that follow from two states of the same flows."""
    proto, reverse = keys["proto"], from_b(now)[:, None]
    is_dns = of_dns(keys)

    def ordered(values: NDArray[Any]) -> NDArray[Any]:
        return np.where(reverse, values[:, ::-1], values)

    def grown(name: str) -> NDArray[Any]:
        return ordered(now[name] - old[name])

    tcp, tcp_before, is_tcp = now["rare"]["tcp"], old["rare"]["tcp"], (proto == _TCP)[:, None]

    def of_tcp(name: str) -> NDArray[Any]:
        return ordered(np.where(is_tcp, tcp[name] - tcp_before[name], 0)).astype(np.uint32)

    def dns(name: str) -> NDArray[Any]:
        counts = now["transport"]["dns"][name], old["transport"]["dns"][name]
        return np.where(is_dns, counts[0] - counts[1], 0).astype(np.uint32)

    rtp_or_none = (proto == _UDP) & ~is_dns & (now["flags"] & FLOW_QUIC == 0) & (old["flags"] & FLOW_QUIC == 0)
    is_rtp = (now["transport"]["rtp"]["valid"] > 0) & rtp_or_none[:, None]

    def rtp(name: str) -> NDArray[Any]:
        counts = now["transport"]["rtp"][name], old["transport"]["rtp"][name]
        return ordered(np.where(is_rtp, counts[0] - counts[1], 0)).astype(np.uint32)

    gaps = np.maximum(packets.astype(np.int64) - ~known[:, None], 0)  # the first packet of all has no gap
    return {
        "flow_id": now["number"],
        "session": now["session"],
        "proto": proto,
        "qfi": ordered(now["qfi"]),
        "octets": grown("bytes"),
        "packets": ordered(packets.astype(np.uint64)),
        "payload_packets": grown("payload_packets").astype(np.uint64),
        "retrans": of_tcp("retrans"),
        "rtt_n": grown("rtt_n"),
        "rtt_sum_us": grown("rtt_sum_us").astype(np.uint64),
        "rtt_min_us": ordered(np.where(now["rtt_min_us"] == NO_RTT, 0, now["rtt_min_us"])),
        "gap_n": ordered(gaps.astype(np.uint32)),
        "gap_sum_us": grown("gap_ticks").astype(np.uint64) * SNF_GAP_TICK_US,
        "gap_sq_us2": grown("gap_ticks2").astype(np.uint64) * SNF_GAP_TICK_US**2,
        "gap_max_us": ordered(now["gap_max"]).astype(np.uint32) * SNF_GAP_MAX_US,
        "rtp_expected": rtp("expected"),
        "rtp_received": rtp("received"),
        **{f"dns_{name}": dns(name) for name in ("queries", "answers", "failed", "again", "timed", "sum_us")},
    }
