"""Time that a request takes on a network with this delay and loss: the input of G.1030.

It is the time of an exchange of a given size, not of the bytes that happened to flow: little traffic
is no fault. The measured throughput counts only where the network limited it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import DOWNLINK, Array, Inputs, known_or, round_trip_ms, worst

__all__ = ["LIMITED_LOSS", "enough", "exchange_s", "limited_bps", "seconds"]

SEGMENT_BYTES = 1448  # of TCP payload on a 1500-byte path with time stamps
MATHIS = np.sqrt(1.5)  # rate = MSS / RTT * sqrt(3/2) / sqrt(p) (Mathis et al., CCR 27(3), 1997, equation 3)
RTO_LEAST_S = 1.0  # RFC 6298, 2.4
LIMITED_LOSS = 0.01  # more retransmissions than this mean that the network limits (own, after T-RAT)
BUSY = 0.8  # share of the interval in which a transfer that never rests moves data (own)
FEW_PACKETS = 5.0  # with fewer in an interval there is no score (own): fewer than a request and its answer


def enough(r: Inputs) -> NDArray[np.bool_]:
    """Return the mask of rows with packets enough for an exchange and a known round-trip time."""
    many: NDArray[np.bool_] = r.packets.sum(axis=1) >= FEW_PACKETS
    return many & ~np.isnan(round_trip_ms(r))


def limited_bps(r: Inputs) -> Array:
    """Return the downlink goodput where the network limits it (no rest, and loss), infinity elsewhere."""
    limits = (r.busy[:, DOWNLINK] >= BUSY) & (worst(r.loss) >= LIMITED_LOSS)
    return np.where(limits, np.fmax(r.goodput_bps[:, DOWNLINK], 1.0), np.inf)


def seconds(r: Inputs, *, round_trips: float, octets: float, connections: int) -> Array:
    """Return the time in s to fetch *octets* over parallel TCP connections, after *round_trips* of waiting.

    Loss bounds each connection's rate (Mathis); without loss the rate is unbounded.
    """
    rtt_s = known_or(round_trip_ms(r), 0) / 1000
    mathis_s = octets / connections * rtt_s * np.sqrt(worst(r.loss)) / (SEGMENT_BYTES * MATHIS)
    fetch_s: Array = np.maximum(mathis_s, 8 * octets / limited_bps(r))
    return round_trips * rtt_s + fetch_s


def exchange_s(r: Inputs, *, round_trips: float, packets: float) -> Array:
    """Return the expected time in s of a short exchange: each lost packet waits for the retransmission timer."""
    rtt_s = known_or(round_trip_ms(r), 0) / 1000
    return round_trips * rtt_s + packets * worst(r.loss) * (RTO_LEAST_S + rtt_s)
