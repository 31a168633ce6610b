"""Flows of one interval as columns: `nf.flows.deltas` makes them, the later stages read them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nf.abi import SNF_DOWNLINK, SNF_UPLINK
from nf.flows.media import NO_MEDIA, MediaInterval

__all__ = ["ACCESS", "CORE", "DOWNLINK", "UPLINK", "FlowBatch"]

UPLINK, DOWNLINK = SNF_UPLINK, SNF_DOWNLINK  # second axis of the per-direction columns: as seen from the UE
CORE, ACCESS = 0, 1  # second axis of the RTT columns: an uplink packet's answer comes from the core side

U8: TypeAlias = NDArray[np.uint8]
U16: TypeAlias = NDArray[np.uint16]
U32: TypeAlias = NDArray[np.uint32]
U64: TypeAlias = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class FlowBatch:
    """Columns of n flows for one interval, of shape (n,) or (n, 2); see the second-axis names.

    Counts and sums are those of the interval, not since the flow began. A sum whose count is zero
    is zero; minima without a sample are 0 where their count is 0.
    """

    t_start_s: float
    t_end_s: float
    flow_id: U64  # unique for the life of the data plane
    session: U32  # index of the binding store; 0: no session known
    app: U16  # application number of the signature file; 0: none
    basis: U8  # ground of the name: nf.apps.basis.Basis
    confidence: U8  # percent that the application is the right one
    proto: U8  # IP protocol of the inner packet
    qfi: U8  # (n, 2) last QoS flow identifier seen, 0: none
    octets: U64  # (n, 2) inner IP bytes
    packets: U64  # (n, 2)
    payload_packets: U64  # (n, 2) packets with a transport payload
    retrans: U32  # (n, 2) TCP segments seen before
    spurious: U32  # (n, 2) of those, of this interval or one before: the original had arrived
    filled: U32  # (n, 2) of retrans, modulo 256: they filled a gap, so their originals were lost before the probe
    rtt_n: U32  # (n, 2) CORE, ACCESS
    rtt_sum_us: U64  # (n, 2)
    rtt_min_us: U32  # (n, 2)
    rtt_high_us: U32  # (n, 2) largest sample, to a sixteenth
    gap_n: U32  # (n, 2) inter-arrival gaps between packets of one direction
    gap_sum_us: U64  # (n, 2)
    gap_sq_us2: U64  # (n, 2) sum of squares of the gaps, each cut at 1 s
    gap_max_us: U32  # (n, 2)
    rtp_expected: U32  # (n, 2) RTP packets by sequence number (RFC 3550, A.3); 0: no RTP
    rtp_received: U32  # (n, 2)
    dns_queries: U32  # (n,) queries over UDP, each counted once however often it was sent
    dns_answers: U32  # (n,)
    dns_failed: U32  # (n,) of them: with an error other than that the name does not exist
    dns_again: U32  # (n,) times that a query was sent again
    dns_timed: U32  # (n,) answers to queries that were sent once
    dns_sum_us: U32  # (n,) sum of their times
    media: MediaInterval = NO_MEDIA  # by flow_id, of few flows: `MediaInterval.column`; after `select` of others too

    def __len__(self) -> int:
        return len(self.flow_id)

    def select(self, rows: NDArray[np.bool_]) -> FlowBatch:
        """Return the flows where *rows* is true."""
        columns: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen: dict[str, Any] = {n: c[rows] for n, c in columns.items() if isinstance(c, np.ndarray)}
        return replace(self, **chosen)
