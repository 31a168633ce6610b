"""An interval as the models see it: columns of rows, of their main flows, of requests and of the flows of pages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.abi import SLOT_US
from nf.flows.batch import ACCESS, DOWNLINK, FlowBatch
from nf.flows.media import NEVER
from nf.flows.search import at
from nf.qoe import Inputs, download, messaging, pages, realtime, video
from nf.qoe.inputs import Array
from nf.subscribers.sums import Rows

__all__ = [
    "Interval",
    "Requests",
    "View",
    "chat_nothing",
    "chats",
    "main_flows",
    "of_pages",
    "of_pages_nothing",
    "players",
    "players_nothing",
    "transfers",
    "transfers_nothing",
]

_Main = Callable[[str], NDArray[Any]]

UDP = 17
_LOW_US = 1 << 32  # the kernel keeps the low half of its clock


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests of an interval with their answers so far: columns (c,). Times are s since the epoch, NaN: none."""

    flow: NDArray[np.intp]  # of the interval
    request_s: Array  # the first one of those that waited together
    first_s: Array
    octets: Array


class Interval:
    """Flows of an interval, the rows that they make, and what models ask of both.

    *key* (n,) is that of the row of each of *flows*, *keys* are the sorted ones of *rows*. *begun_s* (n,) is when each
    flow began, NaN unknown; *clock_s* is what the epoch is ahead of the kernel's clock.
    """

    def __init__(
        self,
        flows: FlowBatch,
        key: NDArray[np.int64],
        keys: NDArray[np.int64],
        rows: Rows,
        inputs: Inputs,
        begun_s: Array,
        clock_s: float,
    ) -> None:
        self.flows, self.key, self.keys, self.rows, self.inputs = flows, key, keys, rows, inputs
        self.begun_s, self._clock_s = begun_s, clock_s
        self.now_s, self.interval_s = flows.t_end_s, max(flows.t_end_s - flows.t_start_s, 1e-3)
        self._now_us = round((self.now_s - clock_s) * 1e6)  # by the kernel's clock, as ages are counted
        flow, there = at(flows.flow_id, flows.media.number)
        self._detail = np.flatnonzero(there)  # rows of the media columns,
        self._flow = flow[self._detail]  # and their flows
        self._detail_of_flow = np.full(len(flows), -1)
        self._detail_of_flow[self._flow] = self._detail
        self.row = rows.of_flow
        self._row = self.row[self._flow]
        self._main: tuple[NDArray[np.intp], _Main] | None = None
        self._asked: Requests | None = None

    # -- the main flow of a row ------------------------------------------------

    def of_main(self, name: str, part: NDArray[np.intp]) -> NDArray[Any]:
        """Return column *name* of the main media flow of rows *part*: 0 without a flow, NEVER of an age.

        It is one over UDP before others, then the largest. Reports of RTCP may have a port, and so a flow, of their
        own: they are those of all flows of a row.
        """
        if self._main is None or self._main[0] is not part:
            self._main = part, self._main_flows(part)
        return self._main[1](name)

    def _main_flows(self, part: NDArray[np.intp]) -> _Main:
        """Return the columns of the main flows of rows *part*, by name."""
        media, place = self.flows.media, self._place(part)[self._row]
        mine = np.flatnonzero(place >= 0)
        of, octets = place[mine], self.flows.octets[self._flow[mine], DOWNLINK].astype(np.int64)
        size = octets + ((self.flows.proto[self._flow[mine]] == UDP).astype(np.int64) << 48)
        largest = np.full(len(part), -1)
        np.maximum.at(largest, of, size)
        best = size == largest[of]  # of several that are alike the last
        flow, detail = np.full(len(part), -1), np.full(len(part), -1)
        flow[of[best]], detail[of[best]] = self._flow[mine[best]], self._detail[mine[best]]
        details = self._detail[mine]

        def column(name: str) -> NDArray[Any]:
            if name.startswith("rtcp_"):
                return _joined(np.take(getattr(media, name), details, axis=0), of, len(part), most=name.endswith("_us"))
            of_media = hasattr(media, name)
            return _taken(
                getattr(media if of_media else self.flows, name),
                detail if of_media else flow,
                NEVER if name == "last_payload_us" else 0,
            )

        return column

    def _place(self, part: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the place of each row in *part*, -1 for the others."""
        place = np.full(len(self.keys), -1)
        place[part] = np.arange(len(part))
        return place

    def of_flow(self, part: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the place in *part* of the row of each flow, -1 for flows of other rows."""
        return self._place(part)[self.row]

    def closed_windows(self, part: NDArray[np.intp]) -> Array:
        """Return the share of a receiver's segments whose window holds up the sender, by row and direction of data."""
        of = self._place(part)[self._row]
        mine = np.flatnonzero(of >= 0)
        closed = np.take(self.flows.media.closed_windows, self._detail[mine], axis=0)
        segments = np.maximum(np.take(self.rows.packets, part, axis=0)[:, ::-1], 1)
        share: Array = _joined(closed, of[mine], len(part), most=False)[:, ::-1] / segments
        return share

    # -- requests -----------------------------------------------------------------

    def requests(self) -> Requests:
        """Return the requests whose answers were closed, and those that are open once their answer began."""
        if self._asked is not None:
            return self._asked
        media = self.flows.media
        closed, answered = media.closed, np.flatnonzero(media.open_first_us != NEVER)
        of_media = np.full(len(media), -1)
        of_media[self._detail] = self._flow
        flow = np.concatenate([of_media[closed.row], of_media[answered]])
        request = np.concatenate([_first(closed.request_us, closed.unanswered_us), media.open_request_us[answered]])
        asked = Requests(
            flow,
            self._time_s(request),
            self._time_s(np.concatenate([closed.first_us, media.open_first_us[answered]])),
            np.concatenate([closed.octets, media.open_octets[answered]]).astype(np.float64),
        )
        mine = flow >= 0
        self._asked = Requests(asked.flow[mine], asked.request_s[mine], asked.first_s[mine], asked.octets[mine])
        return self._asked

    def answers(self, of_flow: NDArray[np.intp]) -> tuple[video.Answers, video.Answers]:
        """Return the answers that were closed, and those under way, by *of_flow* (n,), -1 for none of interest."""
        media = self.flows.media
        row = np.full(len(media), -1)
        row[self._detail] = of_flow[self._flow]
        closed, under_way = media.closed, np.flatnonzero(row >= 0)
        done = np.flatnonzero(row[closed.row] >= 0)
        asked = _first(media.open_request_us[under_way], media.open_unanswered_us[under_way])
        told = (asked != NEVER) & (asked > 0)  # an age of 0 is of a request that came while this was read
        under_way, asked = under_way[told], asked[told]
        return (
            self._answers(
                row[closed.row[done]],
                _first(closed.request_us[done], closed.unanswered_us[done]),
                closed.first_us[done],
                closed.last_us[done],
                closed.octets[done],
                closed.requests[done],
                closed.request_length[done],
            ),
            self._answers(
                row[under_way],
                asked,
                media.open_first_us[under_way],
                media.open_last_us[under_way],
                media.open_octets[under_way],
                media.open_requests[under_way],
                media.open_request_length[under_way],
            ),
        )

    def _answers(self, row: NDArray[np.intp], *columns: NDArray[Any]) -> video.Answers:
        request, first, last, octets, requests, length = columns
        order = np.argsort(request, kind="stable")[::-1]  # ages: the oldest first
        return video.Answers(
            row=row[order],
            request_s=self._time_s(request[order]),
            first_s=self._time_s(first[order]),
            last_s=self._time_s(last[order]),
            octets=octets[order].astype(np.float64),
            requests=requests[order].astype(np.float64),
            length=length[order].astype(np.float64),
        )

    def waiting_s(self, flow: NDArray[np.intp] | None = None) -> Array:
        """Return when the first request without an answer of flows, or of all, was sent; NaN: none waits."""
        detail = self._detail_of_flow if flow is None else self._detail_of_flow[flow]
        return self._time_s(_taken(self.flows.media.open_waiting_us, detail, NEVER))

    def _time_s(self, age_us: NDArray[Any]) -> Array:
        """Return times by their ages: of one moment the same in each interval, to the last bit."""
        return np.where(age_us == NEVER, np.nan, self._clock_s + (self._now_us - age_us.astype(np.int64)) / 1e6)

    # -- flows of pages -------------------------------------------------------------

    def slots(self, flow: NDArray[np.intp]) -> tuple[NDArray[np.uint32], NDArray[np.int64], float]:
        """Return slots (m, 12) of flows, the number of the newest of each, and where the slot 0 begins."""
        media, detail = self.flows.media, self._detail_of_flow[flow]
        now_us = self._now_us % _LOW_US
        newest = now_us // SLOT_US
        begin_s = self.now_s - (now_us - newest * SLOT_US) / 1e6
        zero_s = begin_s % (SLOT_US / 1e6)
        number = round((begin_s - zero_s) * 1e6 / SLOT_US)
        age = (newest - _taken(media.slot, detail, 0).astype(np.int64)) % (_LOW_US // SLOT_US + 1)
        return _taken(media.slots, detail, 0), np.where(detail >= 0, number - age, number), zero_s

    def last_payload_s(self, flow: NDArray[np.intp]) -> Array:
        """Return when the last downlink payload of flows came; NaN: never."""
        return self._time_s(_taken(self.flows.media.last_payload_us, self._detail_of_flow[flow], NEVER)[:, DOWNLINK])


def _first(request_us: NDArray[Any], unanswered_us: NDArray[Any]) -> NDArray[Any]:
    return np.where(unanswered_us != NEVER, unanswered_us, request_us)


def _taken(values: NDArray[Any], place: NDArray[np.intp], fill: int) -> NDArray[Any]:
    """Return values at places, *fill* where the place is -1."""
    if not len(values):
        return np.full((len(place), *values.shape[1:]), fill, values.dtype)
    found: NDArray[Any] = np.take(values, place, axis=0)
    none = place < 0
    if none.any():
        found[none] = fill
    return found


def _joined(values: NDArray[Any], row: NDArray[np.intp], n: int, *, most: bool) -> NDArray[Any]:
    """Return (n, 2) sums, or the *most*, of *values* (m, 2) by the row of each."""
    out = np.zeros((n, 2), values.dtype)
    told = np.flatnonzero((values[:, 0] != 0) | (values[:, 1] != 0))  # few flows have any
    (np.maximum if most else np.add).at(out, row[told], values[told])
    return out


# -- what the models of classes see ------------------------------------------------


_OF_ROWS = ("rtt_access_ms", "rtt_core_ms", "side_lost", "side_sent")


def main_flows(interval: Interval, part: NDArray[np.intp]) -> realtime.Seen:
    """Return the columns of calls and games."""
    given = {
        f.name: getattr(interval.inputs, f.name)[part] if f.name in _OF_ROWS else interval.of_main(f.name, part)
        for f in fields(realtime.Seen)[2:]
    }
    return realtime.Seen(interval.now_s, interval.interval_s, **given)


def _first_waiting_s(interval: Interval, part: NDArray[np.intp]) -> Array:
    """Return by row when the first request without an answer was sent; NaN: none waits."""
    of_flow, first = interval.of_flow(part), np.full(len(part), np.inf)
    some = np.flatnonzero(of_flow >= 0)
    np.fmin.at(first, of_flow[some], interval.waiting_s(some))
    return np.where(np.isfinite(first), first, np.nan)


def chats(interval: Interval, part: NDArray[np.intp]) -> messaging.Seen:
    """Return the columns of chats."""
    of_flow, asked = interval.of_flow(part), interval.requests()
    mine = of_flow[asked.flow] >= 0
    return messaging.Seen(
        now_s=interval.now_s,
        interval_s=interval.interval_s,
        rtt_access_ms=interval.inputs.rtt_access_ms[part],
        asked_s=_first_waiting_s(interval, part),
        moved=np.ones(len(part), np.bool_),
        row=of_flow[asked.flow[mine]],
        request_s=asked.request_s[mine],
        first_s=asked.first_s[mine],
    )


def players(interval: Interval, part: NDArray[np.intp]) -> video.Seen:
    """Return the answers that players of video got."""
    closed, under_way = interval.answers(interval.of_flow(part))
    access_ms = np.fmax(interval.rows.rtt_high_ms[part, ACCESS], interval.inputs.rtt_high_access_ms[part])
    return video.Seen(interval.now_s, closed, under_way, np.full(len(part), np.nan), access_ms / 1000)


def players_nothing(n: int, now_s: float, interval_s: float) -> video.Seen:
    """Return *n* players without a packet."""
    none = np.zeros(0)
    nothing = video.Answers(np.zeros(0, np.intp), none, none, none, none, none, none)
    return video.Seen(now_s, nothing, nothing, np.full(n, np.nan))


def chat_nothing(n: int, now_s: float, interval_s: float) -> messaging.Seen:
    """Return *n* chats without a packet."""
    unknown, none = np.full(n, np.nan), np.zeros(0)
    moved = np.zeros(n, np.bool_)
    return messaging.Seen(now_s, interval_s, unknown, unknown, moved, np.zeros(0, np.intp), none, none)


def transfers(interval: Interval, part: NDArray[np.intp]) -> download.Seen:
    """Return the columns of downloads and uploads."""
    inputs, rows, flows = interval.inputs, interval.rows, interval.flows
    n, down = len(interval.keys), DOWNLINK
    resent = np.bincount(interval.row, flows.retrans[:, down], n)[part]
    payload = np.bincount(interval.row, flows.payload_packets[:, down], n)[part]
    return download.Seen(
        now_s=interval.now_s,
        bulk_octets=np.take(inputs.bulk_octets, part, axis=0),
        busy=np.take(inputs.busy, part, axis=0),
        goodput_bps=np.take(inputs.goodput_bps, part, axis=0),
        loss=np.take(inputs.loss, part, axis=0),
        rtt_access_ms=rows.rtt_min_ms[part, 1],
        rtt_core_ms=rows.rtt_min_ms[part, 0],
        closed=interval.closed_windows(part),
        moved=np.ones(len(part), np.bool_),
        asked_s=_first_waiting_s(interval, part),
        fresh=payload > resent,
        resent=resent > 0,
    )


def transfers_nothing(n: int, now_s: float, interval_s: float) -> download.Seen:
    """Return *n* rows without a packet."""
    two, unknown = np.full((n, 2), np.nan), np.full(n, np.nan)
    no = np.zeros(n, np.bool_)
    zero = np.zeros((n, 2))
    return download.Seen(now_s, zero, zero, two, two, unknown, unknown, no, unknown, no, no, zero)


def of_pages(
    interval: Interval, flow: NDArray[np.intp], whose: NDArray[np.int64], row: NDArray[np.intp], shift: int
) -> pages.Seen:
    """Return the columns of the flows that make pages, each at *row* of *whose*: sorted keys without *shift* bits."""
    place = np.full(len(interval.flows), -1)
    place[flow] = np.arange(len(flow))
    asked = interval.requests()
    mine = place[asked.flow] >= 0
    slots, slot, zero_s = interval.slots(flow)
    return pages.Seen(
        now_s=interval.now_s,
        interval_s=interval.interval_s,
        row=row,
        begin_s=interval.begun_s[flow],
        slots=slots,
        slot=slot,
        last_s=_answered_s(interval, flow),
        asked_s=interval.waiting_s(flow),
        chunk=place[asked.flow[mine]],
        request_s=asked.request_s[mine],
        first_s=asked.first_s[mine],
        octets=asked.octets[mine],
        rtt_access_ms=_highest_access_ms(interval, whose, shift),
        zero_s=zero_s,
    )


def _answered_s(interval: Interval, flow: NDArray[np.intp]) -> Array:
    """Return when the last downlink payload of flows came; of those without a detail, which DNS has none of, when the
    name was known, or their begin. NaN: never."""
    last_s, flows = interval.last_payload_s(flow), interval.flows
    took_s = np.zeros(len(flow))
    np.divide(flows.dns_sum_us[flow] / 1e6, flows.dns_timed[flow], out=took_s, where=flows.dns_timed[flow] > 0)
    answered = np.isnan(last_s) & (flows.payload_packets[flow, DOWNLINK] > 0)
    return np.where(answered, interval.begun_s[flow] + took_s, last_s)


def _highest_access_ms(interval: Interval, whose: NDArray[np.int64], shift: int) -> Array:
    """Return the access delay of subscribers or rows with what waits in queues: the largest one of their rows."""
    access_ms = np.full(len(whose), np.nan)
    place, there = at(whose, interval.keys >> shift)
    high_ms = np.fmax(interval.rows.rtt_high_ms[there, ACCESS], interval.inputs.rtt_high_access_ms[there])
    np.fmax.at(access_ms, place[there], high_ms)
    return access_ms


def of_pages_nothing(n: int, now_s: float, interval_s: float) -> pages.Seen:
    """Return *n* subscribers or rows without a packet."""
    none, nothing = np.zeros(0, np.intp), np.zeros(0)
    return pages.Seen(
        now_s, interval_s, none, nothing, np.zeros((0, pages.SLOTS), np.uint32), np.zeros(0, np.int64), nothing,
        nothing, none, nothing, nothing, nothing, np.full(n, np.nan),
    )  # fmt: skip


View = Callable[[Interval, NDArray[np.intp]], Any]
"""From an interval and rows of a class to what its model sees."""
