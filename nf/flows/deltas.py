"""Differences of two states of each flow: its activity since it was last read, in columns.

A flow keeps its place in the table, and carries a number that the kernel never uses twice: a state of the same number
at the same place is that of the same flow before. Counters become differences; minima and maxima are already those of
the interval, because the kernel starts them anew with each epoch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.abi import FLOW_FIRST_B, FLOW_QUIC, NO_RTT, SNF_GAP_MAX_US, SNF_GAP_TICK_US, SNF_UE_B, SNF_UE_UNKNOWN
from nf.fast.differences import differences, takes
from nf.fast.library import loaded
from nf.flows.batch import FlowBatch
from nf.flows.media import NO_MEDIA
from nf.kernel.rows import opaque, rows_at

__all__ = ["FlowDeltas", "from_b", "of_dns"]

_TCP, _UDP = 6, 17
_DNS = int.from_bytes((53).to_bytes(2, "big"), sys.byteorder)  # as the kernel keeps ports
_BLOCK = 8192  # rows; two states of 192 bytes each fit the second-level cache


class FlowDeltas:
    """The state in which each of so many *places* of the flow table was last read."""

    def __init__(self, places: int, before: NDArray[np.void] | None = None) -> None:
        """*before*: memory for them, zeros at first; without, there is memory once their type is known."""
        self._room, self._before = places, np.zeros(0, np.void) if before is None else before

    def begin(self, places: NDArray[np.intp], flows: NDArray[np.void]) -> None:
        """Take states as those that the next update compares with."""
        if not len(self._before):
            self._before = np.zeros(self._room, flows.dtype)  # memory is taken as places are used
        opaque(self._before)[places] = opaque(flows)

    def changed(
        self, places: NDArray[np.intp], numbers: NDArray[np.uint64], packets: NDArray[np.uint32]
    ) -> NDArray[np.bool_]:
        """Say of flows whether they had a packet since they were read, or were not read yet."""
        if not len(self._before):
            return np.ones(len(places), np.bool_)
        before = self._before["packets"][places]
        different: NDArray[np.bool_] = (before[:, 0] != packets[:, 0]) | (before[:, 1] != packets[:, 1])
        different |= self._before["number"][places] != numbers
        return different

    def update(
        self,
        places: NDArray[np.intp],
        keys: NDArray[np.void],
        flows: NDArray[np.void],
        names: Callable[[NDArray[np.uint64]], tuple[NDArray[np.uint16], NDArray[np.uint8], NDArray[np.uint8]]],
        span_s: tuple[float, float],
    ) -> tuple[FlowBatch, NDArray[np.intp]]:
        """Compare flows with what they were.

        Behind those of the table there may be flows that left their place since, in their last state; a number that is
        there twice counts as the last says. *names* gives the columns (application, basis, confidence) of flow numbers.
        Returns the batch of the flows that had packets, by number and without media, and their rows.
        """
        self.begin(places[:0], flows[:0])
        rows, known, packets = self._active(places, flows)
        app, basis, confidence = names(flows["number"][rows])
        # The kernel may know a name that the book lacks: an earlier process gave it, or its record was lost. An answer
        # with a ground and no application stands.
        app = np.where((app > 0) | (basis > 0), app, flows["app"][rows])
        library = loaded()
        if library and takes(library, flows.dtype):
            columns = differences(library, flows, keys, rows, places, known, self._before)
        else:
            columns = self.reference(flows, keys, rows, places, known, packets)
        columns |= {"app": app, "basis": basis, "confidence": confidence}
        return FlowBatch(t_start_s=span_s[0], t_end_s=span_s[1], media=NO_MEDIA, **columns), rows

    def reference(
        self,
        flows: NDArray[np.void],
        keys: NDArray[np.void],
        rows: NDArray[np.intp],
        places: NDArray[np.intp],
        known: NDArray[np.bool_],
        packets: NDArray[np.uint32],
    ) -> dict[str, NDArray[Any]]:
        """Return what `nf.fast.differences.differences` does of the same; *packets* (n, 2) are those since then."""
        parts = []
        for first in range(0, max(len(rows), 1), _BLOCK):  # a block of rows stays in the cache for all its columns
            block = slice(first, first + _BLOCK)
            now, old = rows_at(flows, rows[block]), rows_at(self._before, places[rows[block]])
            opaque(old)[~known[block]] = np.zeros((), opaque(old).dtype)
            parts.append(_columns(now, old, known[block], packets[block], rows_at(keys, rows[block])))
        self.begin(places[rows], rows_at(flows, rows))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _active(
        self, places: NDArray[np.intp], flows: NDArray[np.void]
    ) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.uint32]]:
        """Return for the flows that had packets, by number: row, whether they were there before, and packets since."""
        numbers = np.ascontiguousarray(flows["number"])
        there = self._before["number"][places] == numbers  # in the order of places, which is that of memory
        since = flows["packets"].copy()
        since -= np.where(there[:, None], self._before["packets"][places], np.uint32(0))
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        last = np.append(numbers[1:] != numbers[:-1], True)  # a flow that left while the table was read is there twice
        if not last.all():
            order, numbers = order[last], numbers[last]
        known, packets = there[order], since[order]
        active = np.flatnonzero(packets[:, 0] | packets[:, 1])
        return order[active], known[active], packets[active]


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
    timed = is_tcp | (now["flags"] & FLOW_QUIC > 0)[:, None]
    high = np.where(timed, tcp["rtt_high"], 0).astype(np.uint32)  # see rtt_code() in bpf/telemetry.h
    high_us = np.where(high < 8, 0, 17 + 2 * (high & 7) << (high >> 3) >> 2).astype(np.uint32)
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
        "spurious": of_tcp("spurious"),
        "filled": ordered(np.where(is_tcp, now["filled"] - old["filled"], 0)).astype(np.uint32),
        "rtt_n": grown("rtt_n"),
        "rtt_sum_us": grown("rtt_sum_us").astype(np.uint64),
        "rtt_min_us": ordered(np.where(now["rtt_min_us"] == NO_RTT, 0, now["rtt_min_us"])),
        "rtt_high_us": ordered(high_us),
        "gap_n": ordered(gaps.astype(np.uint32)),
        "gap_sum_us": grown("gap_ticks").astype(np.uint64) * SNF_GAP_TICK_US,
        "gap_sq_us2": grown("gap_ticks2").astype(np.uint64) * SNF_GAP_TICK_US**2,
        "gap_max_us": ordered(now["gap_max"]).astype(np.uint32) * SNF_GAP_MAX_US,
        "rtp_expected": rtp("expected"),
        "rtp_received": rtp("received"),
        **{f"dns_{name}": dns(name) for name in ("queries", "answers", "failed", "again", "timed", "sum_us")},
    }
