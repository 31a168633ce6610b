"""The inputs of the scores: what each row did in the interval, and what is remembered of the seconds before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nf.flows.batch import ACCESS, CORE, FlowBatch
from nf.flows.search import distinct
from nf.qoe import Inputs
from nf.qoe.inputs import DOWNLINK, UPLINK, Array
from nf.subscribers.fading import memory
from nf.subscribers.sums import Rows

__all__ = ["APP_BITS", "Lately", "Sides"]

APP_BITS = 16  # of a key: subscriber, then application
_QFI_BITS = 6  # TS 38.415, 5.5.3.3

LOSS_TAU_S = 5.0  # loss is a matter of the last seconds: the window of docs/qoe.md, "Voice"
GOODPUT_TAU_S = 5.0  # about the time between two chunks of a player (YouTube: 5 s a request)
# A sample of the round trip may hold a delayed acknowledgement or a peer's thinking time, of seconds in real
# captures. The least of a few samples is the network's: of those of an interval where it has as many, and so it follows
# a queue that fills; else of those of the last 3 to 6 s.
RTT_WINDOW_S = 3.0
RTT_LEAST_SAMPLES = 3.0
# The last estimates stand in when there are no samples. They fade from the last one on, and are forgotten within four
# seconds: what was measured before says nothing of now (own; a queue of a radio empties or fills within one).
RTT_TAU_S = 1.5
RTT_FADED = 0.15  # weight of what is left, in estimates of one interval each
HIGH_TAU_S = 5.0  # of the largest samples: as loss

LOSS_LEAST_SENT = 10.0  # packets in the window before a share of them is a loss ratio
BULK_LEAST_BYTES = 80_000.0  # smallest chunk of a video (Requet), in the window,
BULK_LEAST_BUSY_S = 3.0  # or a transfer that tried so long for less
MOVING_PACKETS, MOVING_SHARE = 10.0, 0.5  # bulk packets, or busy share, of an interval that is no pause


@dataclass(frozen=True, slots=True)
class Sides:
    """Delay and loss of the last seconds on either side, (n, 2) of CORE, ACCESS by row; NaN: not seen.

    Those of the access are of all flows of the subscriber in the row's QoS flow. One sample is enough: they are not
    what a score reads, but tell where it was lost.
    """

    least_ms: Array
    high_ms: Array
    loss: Array


@dataclass(frozen=True, slots=True)
class _Bearer:
    """Delays of the access side by row: of all flows of the subscriber in the row's QoS flow."""

    least_ms: Array
    high_ms: Array
    some_ms: Array  # from one sample on, as what follows
    some_high_ms: Array
    loss: Array
    lost: Array  # (calls, 2) packets of the interval by direction, of rows with RTP,
    sent: Array  # (calls, 2) of so many of which that was seen


class Lately:
    """The memory of the last seconds per (subscriber, application), and per QoS flow of a subscriber.

    ``capacity`` bounds it; beyond it the keys not seen for longest are forgotten.
    """

    def __init__(self, capacity: int) -> None:
        # Loss and goodput with the round trip of the core; the round trip of the access; its last estimates.
        taus = np.append(np.repeat([LOSS_TAU_S, GOODPUT_TAU_S], 4), [HIGH_TAU_S] * 2 + [LOSS_TAU_S] * 2)
        self._recent = memory(taus, RTT_WINDOW_S, capacity)
        self._access = memory(np.repeat([HIGH_TAU_S, LOSS_TAU_S], [2, 4]), RTT_WINDOW_S, capacity)
        self._estimates = memory(np.full(2, RTT_TAU_S), RTT_WINDOW_S, capacity)

    @property
    def evicted(self) -> int:
        """Keys that were forgotten because the memory was full."""
        return self._recent.evicted + self._estimates.evicted

    def people(self) -> set[int]:
        """Return the numbers of the subscribers that are remembered."""
        keys = {*(self._recent.keys >> APP_BITS).tolist(), *(self._estimates.keys >> _QFI_BITS).tolist()}
        return keys

    def inputs(
        self, keys: NDArray[np.int64], rows: Rows, flows: FlowBatch, who: NDArray[np.int64], interval_s: float
    ) -> tuple[Inputs, Sides]:
        """Return the inputs of *rows*, and what is known of both sides.

        Their sorted keys are *keys*; they are made of *flows* of subscribers *who* (n,).
        """
        now_s = flows.t_end_s
        n = rows.rtt_n[:, CORE].astype(np.float64)
        high = np.stack([np.where(n > 0, n * rows.rtt_high_ms[:, CORE], 0), n], axis=1)
        now = np.hstack([rows.lost, rows.sent, rows.bulk_octets, rows.busy_s, high, rows.before])
        recent, core_ms, samples = self._recent.add(keys, now_s, now, rows.rtt_min_ms[:, CORE], n)
        core_ms = _newest(core_ms, rows.rtt_min_ms[:, CORE], n)
        lost, sent, bulk, busy_s, high, before = (recent[:, column : column + 2] for column in range(0, 12, 2))
        moving = (rows.bulk_packets >= MOVING_PACKETS) | (rows.busy_s >= MOVING_SHARE * interval_s)
        moving &= (bulk >= BULK_LEAST_BYTES) | (busy_s >= BULK_LEAST_BUSY_S)
        bearer = self._bearer(keys >> APP_BITS, rows, flows, who)
        core_known = samples >= RTT_LEAST_SAMPLES
        some = samples > 0
        behind = np.stack([lost[:, UPLINK] - before[:, UPLINK], before[:, DOWNLINK]], axis=1)
        side_lost, side_sent = _told_of_sides(rows, bearer)
        sides = Sides(
            np.stack([np.where(some, core_ms, np.nan), bearer.some_ms], axis=1),
            np.stack([_ratio(high[:, 0], high[:, 1], some), bearer.some_high_ms], axis=1),
            np.stack([_lost(behind, sent), bearer.loss], axis=1),
        )
        inputs = Inputs(
            interval_s=interval_s,
            packets=rows.packets.astype(np.float64),
            octets=rows.octets.astype(np.float64),
            rtt_access_ms=bearer.least_ms,
            rtt_core_ms=np.where(core_known, core_ms, np.nan),
            rtt_high_access_ms=bearer.high_ms,
            rtt_high_core_ms=_ratio(high[:, 0], high[:, 1], core_known),
            loss=np.maximum(_ratio(lost, sent, sent >= LOSS_LEAST_SENT), 0),
            jitter_ms=rows.jitter_ms,
            gap_mean_ms=rows.gap_mean_ms,
            gap_max_ms=rows.gap_max_ms,
            busy=rows.busiest_s / interval_s,
            bulk_octets=bulk,
            goodput_bps=8 * _ratio(bulk, busy_s, moving),
            goodput_now_bps=8 * _ratio(rows.bulk_octets, rows.busy_s, moving),
            side_lost=side_lost,
            side_sent=side_sent,
        )
        return inputs, sides

    def _bearer(self, person: NDArray[np.int64], rows: Rows, flows: FlowBatch, who: NDArray[np.int64]) -> _Bearer:
        """Return the delays to the UE for each row, from all flows of the subscriber in the same QoS flow.

        They share one bearer; another QoS flow has a queue of its own. A row is of the QoS flow of its largest flow.
        """
        qfi = np.maximum(flows.qfi[:, UPLINK], flows.qfi[:, DOWNLINK]).astype(np.int64)
        bearers, of_flow = distinct(who << _QFI_BITS | qfi)
        timed = np.flatnonzero(flows.rtt_n[:, ACCESS])
        n_now = flows.rtt_n[timed, ACCESS].astype(np.float64)
        of_timed, count = of_flow[timed], len(bearers)
        n = np.bincount(of_timed, n_now, count).astype(np.float64)
        high = np.bincount(of_timed, n_now * flows.rtt_high_us[timed, ACCESS] / 1000, count)
        now_ms = np.full(count, np.inf)
        np.minimum.at(now_ms, of_timed, flows.rtt_min_us[timed, ACCESS] / 1000)
        row = np.searchsorted(bearers, person << _QFI_BITS | qfi[rows.largest])
        lost = np.stack([rows.before[:, UPLINK], rows.lost[:, DOWNLINK] - rows.before[:, DOWNLINK]], axis=1)
        seen = np.where(rows.rtp[:, DOWNLINK], 0, rows.sent[:, DOWNLINK])  # RTP does not tell what is lost behind here
        *ways, told_of = (np.bincount(row, column, count) for column in (*lost.T, *rows.sent.T, seen))
        now = np.stack([high, n, *ways], axis=1)
        sums, least_ms, samples = self._access.add(bearers, flows.t_end_s, now, now_ms, n)
        least_ms = _newest(least_ms, now_ms, n)
        told = samples >= RTT_LEAST_SAMPLES
        fresh = told & (n > 0)
        estimate = np.stack([np.where(fresh, least_ms, 0), fresh.astype(np.float64)], axis=1)
        none = np.zeros(count)
        lately, _, _ = self._estimates.add(bearers, flows.t_end_s, estimate, none, none)
        fallback = _ratio(lately[:, 0], lately[:, 1], lately[:, 1] >= RTT_FADED)
        known_ms = np.where(fresh, least_ms, fallback)
        high_ms, some = _ratio(sums[:, 0], sums[:, 1], ~np.isnan(known_ms)), samples > 0
        some_ms = np.where(some, least_ms, known_ms)
        some_high_ms = _ratio(sums[:, 0], sums[:, 1], ~np.isnan(some_ms))
        columns = (known_ms, high_ms, some_ms, some_high_ms, _lost(sums[:, 2:4], sums[:, 4:6]))
        calls = row[_calls(rows)]
        of_now = (np.stack(pair, axis=1)[calls].astype(np.float64) for pair in (ways[:2], (ways[2], told_of)))
        return _Bearer(*(column[row] for column in columns), *of_now)


def _calls(rows: Rows) -> NDArray[np.intp]:
    """Return the rows with RTP: only for these it matters what else was lost on their sides."""
    return np.flatnonzero(rows.rtp[:, UPLINK] | rows.rtp[:, DOWNLINK])


def _told_of_sides(rows: Rows, bearer: _Bearer) -> tuple[Array, Array]:
    """Return (n, 2, 2) by CORE, ACCESS and direction the packets of the interval that were lost, and of how many."""
    calls = _calls(rows)
    lost, sent = np.zeros((len(rows), 2, 2)), np.zeros((len(rows), 2, 2))
    lost[calls, CORE, DOWNLINK] = rows.before[calls, DOWNLINK]
    sent[calls, CORE, DOWNLINK] = rows.sent[calls, DOWNLINK]
    uplink = calls[~rows.rtp[calls, UPLINK]]  # RTP does not tell what is lost behind the probe
    lost[uplink, CORE, UPLINK] = (rows.lost - rows.before)[uplink, UPLINK]
    sent[uplink, CORE, UPLINK] = rows.sent[uplink, UPLINK]
    lost[calls, ACCESS], sent[calls, ACCESS] = bearer.lost, bearer.sent
    return lost, sent


def _newest(least_ms: Array, now_ms: Array, n: Array) -> Array:
    """Return the least round trip: of the *n* samples of the interval where these are enough, else of more of them."""
    return np.where(n >= RTT_LEAST_SAMPLES, now_ms, least_ms)


def _lost(lost: Array, sent: Array) -> Array:
    """Return the ratio of what both directions (n, 2) lost to what the one that sends more sent; NaN of few packets.

    A single request of ten that was sent again says little beside an answer of a hundred segments.
    """
    most = sent.max(axis=1)
    return np.maximum(_ratio(lost.sum(axis=1), most, most >= LOSS_LEAST_SENT), 0)


def _ratio(values: Array, counts: Array, valid: NDArray[np.bool_]) -> Array:
    """Return the quotients that are *valid* and of a count, NaN for the others."""
    ratio: Array = values / np.where(valid & (counts > 0), counts, np.nan)
    return ratio
