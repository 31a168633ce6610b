"""Columns that calls and games see of an interval: those of the main media flow of each (subscriber, application).

The names are those of `nf.flows.media.MediaInterval`; a row without a flow in the interval is all zeros (`nothing`).
Second axes are UPLINK, DOWNLINK as seen from the UE; CORE, ACCESS for the two halves of a way; EQUAL, FILLED, RTP for
the rules that find frames.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.qoe.inputs import Array

__all__ = [
    "ACCESS",
    "CORE",
    "EQUAL",
    "FILLED",
    "NEVER_US",
    "RTP",
    "Counts",
    "Seen",
    "ages_s",
    "halves_ms",
    "held",
    "nothing",
]

CORE, ACCESS = 0, 1
EQUAL, FILLED, RTP = 0, 1, 2
NEVER_US = 0xFFFF_FFFF  # age of a payload that never came

Counts = NDArray[np.integer] | NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Seen:
    """Columns of n rows; counts are those of the interval, 0 where nothing was counted."""

    now_s: float  # end of the interval
    interval_s: float
    packets: Counts  # (n, 2)
    octets: Counts  # (n, 2) inner IP bytes
    rtp_expected: Counts  # (n, 2)
    rtp_received: Counts  # (n, 2)
    rtt_access_ms: Array  # (n,) filtered, of the same QoS flow; NaN unknown
    rtt_core_ms: Array  # (n,)
    side_lost: Counts  # (n, 2, 2) CORE, ACCESS, by direction: packets lost on that side; of the access of all flows
    side_sent: Counts  # (n, 2, 2) of the same QoS flow; and of how many that was seen
    last_payload_us: Counts  # (n, 2) age at the end
    frames_equal: Counts  # (n,) downlink frames that ended, by the rule of equal packets,
    frames_filled: Counts  # of filled packets and a shorter last one,
    frames_rtp: Counts  # and by RTP time stamp
    frame_gap_ticks: Counts  # (n, 3) sums of their distances in units of 64 us, and of the squares
    frame_gap_ticks2: Counts
    frame_octets: Counts  # (n, 3)
    frozen_ms: Counts  # (n,) downlink
    rtp_pt: Counts  # (n, 2) payload type of the stream that is followed
    rtp_clock: Counts  # (n, 2) Hz, 0 unknown
    rtp_jitter_us: Counts  # (n, 2) RFC 3550, A.8
    loss_runs: Counts  # (n, 2) runs of missing packets
    tick_us: Counts  # (n, 2) median distance of packets
    tick_n: Counts  # (n, 2) distances within a quarter of it, and their sum
    tick_sum_us: Counts
    spikes: Counts  # (n, 2) distances over three ticks and 100 ms, and their sum
    spike_ms: Counts
    echo_n: Counts  # (n, 2) CORE, ACCESS: packets whose first bytes came back
    echo_sum_us: Counts
    echo_min_us: Counts
    rtcp_reports: Counts  # (n, 2) receiver reports about the uplink, the downlink stream
    rtcp_lost: Counts
    rtcp_expected: Counts
    rtcp_jitter_us: Counts
    rtcp_rtt_us: Counts  # probe to the receiver of that stream and back, 0 unknown

    def __len__(self) -> int:
        return len(self.rtt_access_ms)


_ONE = ("frames_equal", "frames_filled", "frames_rtp", "frozen_ms")
_SIDES = ("side_lost", "side_sent")
_RULES = ("frame_gap_ticks", "frame_gap_ticks2", "frame_octets")


def nothing(n: int, now_s: float, interval_s: float) -> Seen:
    """Return *n* rows in which nothing passed: an interval of keys that are remembered only."""
    columns = {}
    for field in dataclasses.fields(Seen)[2:]:
        if field.name.startswith("rtt_"):
            columns[field.name] = np.full(n, np.nan)
        elif field.name in _SIDES:
            columns[field.name] = np.zeros((n, 2, 2))
        else:
            shape = (n,) if field.name in _ONE else (n, 3 if field.name in _RULES else 2)
            columns[field.name] = np.zeros(shape)
    return Seen(now_s, interval_s, **columns)


def ages_s(seen: Seen) -> Array:
    """Return the age of the last payload of each direction that had packets, (n, 2) in s; NaN where none passed."""
    age = np.where(seen.last_payload_us >= NEVER_US, 0.0, seen.last_payload_us / 1e6)
    return np.where(seen.packets > 0, np.minimum(age, seen.interval_s), np.nan)


def halves_ms(seen: Seen) -> Array:
    """Return the round-trip times of a flow's own CORE and ACCESS half, (n, 2) in ms; NaN unknown.

    Both come from the flow itself where it tells (an echo, RTCP reports in clear), else from TCP of the same QoS flow.
    """
    tcp = np.stack([seen.rtt_core_ms, seen.rtt_access_ms], axis=1)
    reports = np.where(seen.rtcp_rtt_us > 0, seen.rtcp_rtt_us / 1000, tcp)  # the uplink's receiver is in the core
    echo = seen.echo_sum_us / np.maximum(seen.echo_n, 1) / 1000
    return np.where(seen.echo_n > 0, echo, reports)


def held(value: Array, before: Array, since_s: Array, now_s: float, longest_s: float) -> tuple[Array, Array]:
    """Return what is known of a quantity, and since when: the new *value*, or that of *before* until it is too old.

    *since_s* is 0 where nothing is known, which is NaN in the result.
    """
    fresh = ~np.isnan(value)
    since = np.where(fresh, now_s, np.where(now_s - since_s <= longest_s, since_s, 0.0))
    return np.where(fresh, value, np.where(since > 0, before, np.nan)), since
