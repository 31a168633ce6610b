"""What each flow did since the table was last read: differences of two snapshots, in columns.

Flows carry a number that the kernel never uses twice, so the row of a flow in the snapshot before
is a binary search. Counters become differences; minima and maxima are the interval's already,
because the kernel starts them anew with each epoch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.flows import FlowBatch

__all__ = ["FlowDeltas"]

_TCP, _UDP = 6, 17
_FIRST_B = 8  # FLOW_FIRST_B of abi.h
_TICK_US = 64  # SNF_GAP_TICK_US of abi.h
_NO_RTT = 0xFFFF_FFFF  # NO_RTT of flow.h: no sample yet
_UE_B, _UE_UNKNOWN = 1, 2  # enum snf_ue_end
_L4 = "__anon0"  # numpy's name of the unnamed union of struct flow


class FlowDeltas:
    """Remembers the last snapshot of the flow table."""

    def __init__(self) -> None:
        self._before: NDArray[np.void] | None = None

    def update(
        self,
        keys: NDArray[np.void],
        flows: NDArray[np.void],
        names: tuple[NDArray[np.uint16], NDArray[np.uint8]],
        span_s: tuple[float, float],
    ) -> tuple[FlowBatch, NDArray[np.intp]]:
        """Compare a snapshot sorted by flow number with the one before.

        *names* are columns (application, basis) of the same rows. Returns the batch of the flows
        that had packets, and their rows in the snapshot.
        """
        old, known = self._old_rows(flows)
        packets = flows["packets"] - old["packets"]
        rows = np.flatnonzero(packets.sum(axis=1))
        now, old, known, packets, proto = flows[rows], old[rows], known[rows], packets[rows], keys["proto"][rows]
        # Without a word of the tunnel about its direction, who spoke first is taken for the UE.
        reverse = np.where(now["ue_end"] == _UE_UNKNOWN, now["flags"] & _FIRST_B > 0, now["ue_end"] == _UE_B)[:, None]

        def ordered(values: NDArray[Any]) -> NDArray[Any]:
            return np.where(reverse, values[:, ::-1], values)

        def grown(name: str) -> NDArray[Any]:
            return ordered(now[name] - old[name])

        tcp, tcp_before, is_tcp = now[_L4]["tcp"], old[_L4]["tcp"], (proto == _TCP)[:, None]

        def of_tcp(name: str) -> NDArray[Any]:
            return ordered(np.where(is_tcp, tcp[name] - tcp_before[name], 0)).astype(np.uint32)

        is_rtp = (now[_L4]["rtp"]["valid"] > 0) & (proto == _UDP)[:, None]

        def rtp(name: str) -> NDArray[Any]:
            return ordered(np.where(is_rtp, now[_L4]["rtp"][name] - old[_L4]["rtp"][name], 0))

        gaps = np.maximum(packets.astype(np.int64) - ~known[:, None], 0)  # the first packet of all has no gap
        batch = FlowBatch(
            t_start_s=span_s[0],
            t_end_s=span_s[1],
            flow_id=now["number"],
            session=now["session"],
            app=names[0][rows],
            basis=names[1][rows],
            proto=proto,
            qfi=ordered(now["qfi"]),
            octets=grown("bytes"),
            packets=ordered(packets.astype(np.uint64)),
            payload_packets=grown("payload_packets").astype(np.uint64),
            retrans=of_tcp("retrans"),
            reordered=of_tcp("reordered"),
            rtt_n=grown("rtt_n"),
            rtt_sum_us=grown("rtt_sum_us").astype(np.uint64),
            rtt_min_us=ordered(np.where(now["rtt_min_us"] == _NO_RTT, 0, now["rtt_min_us"])),
            handshake_us=ordered(np.where(now["handshake_us"] == old["handshake_us"], 0, now["handshake_us"])),
            gap_n=ordered(gaps.astype(np.uint32)),
            gap_sum_us=grown("gap_ticks").astype(np.uint64) * _TICK_US,
            gap_sq_us2=grown("gap_ticks2").astype(np.uint64) * _TICK_US**2,
            gap_max_us=ordered(now["gap_max_us"]),
            rtp_expected=rtp("expected").astype(np.uint32),
            rtp_received=rtp("received").astype(np.uint32),
        )
        self._before = flows
        return batch, rows

    def _old_rows(self, flows: NDArray[np.void]) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
        """Return for each row what the snapshot before said of it (zeros for a new flow), and whether it did."""
        old = np.zeros(len(flows), flows.dtype)
        known = np.zeros(len(flows), np.bool_)
        if self._before is not None and len(self._before):
            numbers = self._before["number"]
            at = np.minimum(np.searchsorted(numbers, flows["number"]), len(numbers) - 1)
            known = numbers[at] == flows["number"]
            old[known] = self._before[at[known]]
        return old, known
