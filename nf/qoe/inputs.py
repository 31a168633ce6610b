"""The input of all scores: one row per (subscriber, application) of one interval, as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nf.abi import SNF_DOWNLINK, SNF_UPLINK

__all__ = ["DOWNLINK", "UPLINK", "Array", "Inputs", "known_or", "worst"]

Array: TypeAlias = NDArray[np.float64]

UPLINK, DOWNLINK = SNF_UPLINK, SNF_DOWNLINK  # second axis of the columns by direction, as seen from the UE


@dataclass(frozen=True, slots=True)
class Inputs:
    """Columns of n rows, shape (n,) or (n, 2) with UPLINK, DOWNLINK; NaN is "not seen".

    A media flow is UDP with at least ten packets a second in that direction; a bulk flow has
    packets of 500 bytes and more on average. `nf.subscribers.sums` makes these columns.
    """

    interval_s: float
    packets: Array  # (n, 2) of all flows
    octets: Array  # (n, 2) inner IP bytes of all flows
    rtt_access_ms: Array  # (n,) probe to UE; least of the last seconds of all flows of the UE in the same QoS flow
    rtt_core_ms: Array  # (n,) probe to server; least of the last seconds of the row
    rtt_high_access_ms: Array  # (n,) a high percentile beside the least: its distance is delay that varies
    rtt_high_core_ms: Array  # (n,)
    loss: Array  # (n, 2) ratio over the last seconds: TCP retransmissions, or missing RTP packets
    jitter_ms: Array  # (n, 2) standard deviation of the gaps of media flows
    gap_mean_ms: Array  # (n, 2) mean gap of media flows
    gap_max_ms: Array  # (n, 2) longest gap of media flows
    busy: Array  # (n, 2) share of the interval in which the busiest bulk flow moved data, 0..1
    bulk_octets: Array  # (n, 2) inner IP bytes of bulk flows, of the last seconds
    goodput_bps: Array  # (n, 2) bulk bytes over busy time of the last seconds
    goodput_now_bps: Array  # (n, 2) the same of this interval alone
    side_lost: Array  # (n, 2, 2) by CORE, ACCESS and direction: packets of the interval that were lost on that side,
    side_sent: Array  # (n, 2, 2) of so many that tell; those of the access are of all flows in the same QoS flow

    def __len__(self) -> int:
        return len(self.rtt_access_ms)


def known_or(values: Array, fallback: float) -> Array:
    """Return *values* with what was not seen replaced by *fallback*."""
    return np.where(np.isnan(values), fallback, values)


def worst(two_ways: Array) -> Array:
    """Return the larger of both directions, 0 where neither is known."""
    known = known_or(two_ways, 0)
    larger: Array = np.maximum(known[:, 0], known[:, 1])
    return larger
