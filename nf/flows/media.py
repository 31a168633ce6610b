"""Media flows of an interval: throughput, frames, freezes, ticks, RTP and its reports, requests and their answers.

The kernel keeps ``struct detail`` for flows of media applications, and for flows without a name that moved as much as
media do, and reports each closed chunk in a ring; here both become columns by flow number, in each interval and for
each flow: nothing here depends on whether somebody follows its subscriber.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from nf.abi import DETAIL_CALL, DETAIL_LATE, FRAME_GAP_CUT_US, SLOT_UNIT_SHIFT, SLOT_US, SNF_GAP_TICK_US
from nf.flows.search import at, values_at
from nf.kernel.details import Details
from nf.kernel.rows import joined, opaque, rows_at

__all__ = ["COUNTED", "NEVER", "NO_MEDIA", "Chunks", "Media", "MediaInterval"]

U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]
I32 = NDArray[np.int32]
_Columns = dict[str, NDArray[np.generic]]

NEVER = 0xFFFF_FFFF
"""An age in microseconds of what has not been yet."""

_PEAK_BPS = np.float32((8 << SLOT_UNIT_SHIFT) * 1_000_000 // SLOT_US)  # unit of struct detail's peak
_RULES = ("equal", "filled")
_AHEAD_US = 60_000_000  # so far a time may be later than the end of the interval: it was read behind that


@dataclass(frozen=True, slots=True)
class Chunks:
    """Requests and their answers, which the next request closed: columns (m,), by flow and then by time.

    A request is an uplink payload of more than REQUEST_LEAST bytes (Requet), or, as *request_length* tells, a shorter
    one that is longer than what TCP and QUIC need for themselves: a reader that knows that a flow has no such short
    requests joins its chunks to the ones before. A request that is sent again, or behind another one before an answer,
    is of the same chunk. Times are ages in microseconds at the end of the interval, NEVER where there is none.
    """

    row: NDArray[np.intp]  # of the flow in MediaInterval
    request_us: U32  # the last request before the answer, of several that are long the last long one
    unanswered_us: U32  # the first one, of several that waited together or that nothing but acknowledgements followed
    first_us: U32  # first and last packet of the answer
    last_us: U32
    octets: U32  # transport payload
    packets: U32
    requests: U16
    gap_max_us: U32  # between two packets of the answer
    request_length: U16  # of the largest request

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True, slots=True)
class MediaInterval:
    """Activity of media flows in an interval: columns (n,) by flow number, sorted.

    In it are flows that had packets in the interval and that the kernel keeps ``struct detail`` of: those of classes
    that are scored by it, and those without a name, once they had a hundred packets with a payload, as long as the
    table of details has a place. For all others `column` says 0, or NEVER. Counts are those since the interval before,
    and none is told twice or left out: all intervals of a flow add up to what the kernel counted since its detail
    began. Frames, ticks, echoes and RTP are those of flows over UDP that are timed exactly: of calls, games, and of
    no name. Directions [2] are UPLINK, DOWNLINK as seen from the UE; ages are microseconds at the interval's end.
    """

    number: NDArray[np.uint64]
    peak_bps: NDArray[np.float32]  # downlink, over the fullest 100 ms that ended in the interval
    busy_slots: U16  # slots of 100 ms with a downlink packet
    slot: U32  # number of the newest one: the low half of the clock in microseconds / SLOT_US
    slots: U32  # (n, 12) IP bytes downlink of the newest slot and those before it, to 128 bytes: [0] is the newest
    sizes_dl: U32  # (n, 6) packets by payload: below 128, 306, 700, 1100, 1350 bytes, and above
    sizes_ul: U32  # (n, 4) below 100, 300, 700 bytes, and above
    last_payload_us: U32  # (n, 2) age of the last packet with a payload
    late: NDArray[np.bool_]  # the detail began long after the flow
    frames: U32  # downlink video frames that ended: by RTP where a video source is known, else by equal lengths
    frames_equal: U32  # packets of a frame have one length; with the one that is open
    frames_filled: U32  # they are full but for the last one; with the one that is open
    frames_rtp: U32  # time stamps and markers
    frame_gap_ticks: U32  # (n, 3) equal, filled, RTP: distances of frame ends, cut at 1 s, in 64 us
    frame_gap_ticks2: U32  # (n, 3) their squares
    frame_octets: U32  # (n, 3) payload bytes of these frames
    frames_incomplete: U32  # RTP: lacked a packet when they ended
    keyframes: U32  # RTP: far larger than the mean
    frozen_ms: (
        U32  # RTP: nothing new could be shown, for want of a packet or of frames; else distances far above the mean
    )
    rtp_video: NDArray[np.bool_]  # a video source is known
    rtp_pt: U8  # (n, 2) payload type of one source, the next four as well; 0 as well where there is no RTP
    rtp_clock: U32  # (n, 2) Hz; 0: unknown
    rtp_jitter_us: U32  # (n, 2) RFC 3550, A.8, after the last packet
    rtp_markers: U32  # (n, 2)
    loss_runs: I32  # (n, 2) runs of missing packets; negative where those of the interval before came late
    tick_us: U32  # (n, 2) running median of the gaps between payload packets
    tick_n: U32  # (n, 2) gaps within a quarter of it
    tick_sum_us: U32  # (n, 2)
    spikes: U32  # (n, 2) gaps of more than three ticks and 100 ms
    spike_ms: U32  # (n, 2)
    echo_n: U32  # (n, 2) CORE, ACCESS: packets that came back from there
    echo_sum_us: U32  # (n, 2)
    echo_min_us: U32  # (n, 2) 0: none in the interval
    rtcp_reports: U32  # (n, 2) of receivers, in clear, about the stream of this direction
    rtcp_lost: I32  # (n, 2)
    rtcp_expected: U32  # (n, 2)
    rtcp_jitter_us: U32  # (n, 2) 0 where the rate of the stream's clock is unknown
    rtcp_rtt_us: U32  # (n, 2) from the probe to the receiver of the stream and back; 0: unknown
    closed_windows: U32  # (n, 2) segments of TCP by who sends them, whose window holds up the other end
    chunks: U32  # requests whose answer was complete
    chunk_octets: NDArray[np.uint64]  # payload bytes of these answers
    open_request_us: U32  # the chunk that is open, as in Chunks; without a request all are NEVER or 0
    open_unanswered_us: U32  # NEVER: the request waited alone, and was answered by more than acknowledgements
    open_waiting_us: U32  # the first request since which only acknowledgements came; NEVER: none waits
    open_first_us: U32
    open_last_us: U32
    open_octets: U32
    open_packets: U32
    open_requests: U16
    open_gap_max_us: U32
    open_request_length: U16
    closed: Chunks

    def __len__(self) -> int:
        return len(self.number)

    def column(self, name: str, numbers: NDArray[np.uint64]) -> NDArray[np.generic]:
        """Return column *name* for flow *numbers*; 0 for those without detail, NEVER of an age."""
        values: NDArray[np.generic] = getattr(self, name)
        return values_at(self.number, values, numbers, NEVER if name in _AGES else 0)


_WIDTHS = {"slots": 12, "sizes_dl": 6, "sizes_ul": 4}
_WIDTHS |= dict.fromkeys(("frame_gap_ticks", "frame_gap_ticks2", "frame_octets"), 3)
_WIDTHS |= dict.fromkeys(
    ("last_payload_us", "rtp_pt", "rtp_clock", "rtp_jitter_us", "rtp_markers", "loss_runs", "tick_us", "tick_n",
     "tick_sum_us", "spikes", "spike_ms", "echo_n", "echo_sum_us", "echo_min_us", "rtcp_reports", "rtcp_lost",
     "rtcp_expected", "rtcp_jitter_us", "rtcp_rtt_us", "closed_windows"), 2
)  # fmt: skip
_TYPES = {"number": "u8", "chunk_octets": "u8", "peak_bps": "f4", "late": "?", "rtp_video": "?", "rtp_pt": "u1"}
_TYPES |= {"loss_runs": "i4", "rtcp_lost": "i4", "busy_slots": "u2", "open_requests": "u2", "open_request_length": "u2"}
_OPEN_AGES = ("request_us", "unanswered_us", "waiting_us", "first_us", "last_us")
_AGES = {"last_payload_us", *(f"open_{name}" for name in _OPEN_AGES)}
_GROWING = (
    *((name, 1) for name in ("frames_equal", "frames_filled", "frames_rtp", "frames_incomplete", "keyframes",
                             "frozen_equal_ms", "frozen_rtp_ms")),
    *((name, _WIDTHS[name]) for name in (
        "sizes_dl", "sizes_ul", "frame_gap_ticks", "frame_gap_ticks2", "frame_octets", "rtp_markers", "loss_runs",
        "tick_n", "tick_sum_us", "spikes", "spike_ms", "echo_n", "echo_sum_us", "rtcp_reports", "rtcp_lost",
        "rtcp_expected", "closed_windows")),
)  # fmt: skip

COUNTED = np.dtype(
    [("number", "u8"), ("begun_us", "u4"), ("rtp", "u4"), *((n, "u4", (w,) if w > 1 else ()) for n, w in _GROWING)]
)
"""Counts of a place in the table of details when it was read."""


def _empty(name: str, n: int) -> NDArray[np.generic]:
    """Return column *name* of *n* flows of which nothing is known."""
    shape = (n, _WIDTHS[name]) if name in _WIDTHS else (n,)
    return np.full(shape, NEVER if name in _AGES else 0, _TYPES.get(name, "u4"))


def _ages(times: NDArray[np.uint32], now_us: int, there: NDArray[np.bool_] | None = None) -> U32:
    """Return the ages of *times*, which are 0 where there is none; *there*: which of them count."""
    since = np.uint32(now_us & 0xFFFF_FFFF) - times
    since = np.where(since > NEVER - _AHEAD_US, np.uint32(0), since)
    there = times != 0 if there is None else there & (times != 0)
    return np.where(there, since, np.uint32(NEVER))


def _chunks(row: NDArray[np.intp], told: NDArray[np.void], now_us: int) -> Chunks:
    """Return ``struct chunk`` of flows that are at *row*."""
    order = np.lexsort((_ages(told["request_us"], now_us) ^ np.uint32(NEVER), row))
    told = rows_at(told, order)
    return Chunks(
        row[order],
        _ages(told["request_us"], now_us),
        _ages(told["unanswered_us"], now_us),
        _ages(told["first_us"], now_us),
        _ages(told["last_us"], now_us),
        np.ascontiguousarray(told["bytes"]),
        np.ascontiguousarray(told["packets"]),
        requests=np.ascontiguousarray(told["requests"]),
        gap_max_us=np.ascontiguousarray(told["gap_max_us"]),
        request_length=np.ascontiguousarray(told["request_length"]),
    )


def _counts(states: NDArray[np.void]) -> NDArray[np.void]:
    """Return rows of COUNTED for ``struct detail``, but for the numbers."""
    out = np.zeros(len(states), COUNTED)
    out["begun_us"] = states["begun_us"]
    for name in ("sizes_dl", "sizes_ul"):
        out[name] = states["down_sizes" if name == "sizes_dl" else "up_sizes"]
    for i, rule in enumerate(_RULES):
        out[f"frames_{rule}"] = states[rule]["n"]
        for name in ("gap_ticks", "gap_ticks2", "octets"):
            out[f"frame_{name}"][:, i] = states[rule][name]
        _end_frames(out, states, i)
    out["frozen_equal_ms"] = states["frozen_ms"]
    out["closed_windows"] = states["windows"]["closed"]
    for name, field in (("tick_n", "n"), ("tick_sum_us", "sum_us"), ("spikes", "spikes"), ("spike_ms", "spike_ms")):
        out[name] = states["ticks"][field]
    rtp = states["flags"] & DETAIL_CALL != 0
    out["rtp"] = rtp
    for name, field in (("echo_n", "n"), ("echo_sum_us", "sum_us")):
        out[name] = np.where(rtp[:, None], 0, states["more"]["echo"][field])
    spoken = np.flatnonzero(rtp)
    if len(spoken):
        _rtp_counts(out, spoken, states["more"]["rtp"][spoken])
    return out


def _end_frames(out: NDArray[np.void], states: NDArray[np.void], rule: int) -> None:
    """Count the frame that is open as one that ends with its last packet so far: so it is of the second it came in."""
    frames = states[_RULES[rule]]
    is_open = frames["open"] > 0
    gap = np.where(is_open & (frames["end_us"] != 0), states["packet_us"] - frames["end_us"], np.uint32(0))
    ticks = np.minimum(gap, np.uint32(FRAME_GAP_CUT_US)) // np.uint32(SNF_GAP_TICK_US)
    out[f"frames_{_RULES[rule]}"] += is_open
    out["frame_gap_ticks"][:, rule] += ticks
    out["frame_gap_ticks2"][:, rule] += ticks * ticks
    out["frame_octets"][:, rule] += frames["open"]


def _forget_frames(grown: _Columns) -> None:
    """Tell no frames of a rule whose open one was counted, and then dropped by the kernel for its age."""
    for i, rule in enumerate(_RULES):
        undone = grown[f"frames_{rule}"].view(np.int32) < 0
        grown[f"frames_{rule}"][undone] = 0
        for name in ("gap_ticks", "gap_ticks2", "octets"):
            grown[f"frame_{name}"][undone, i] = 0


def _rtp_counts(out: NDArray[np.void], rows: NDArray[np.intp], rtp: NDArray[np.void]) -> None:
    """Write what is counted by RTP, at *rows*."""
    video, way, reports = rtp["video"], rtp["way"], rtp["reports"]
    out["frames_rtp"][rows] = video["frames"]["n"]
    for name in ("gap_ticks", "gap_ticks2", "octets"):
        out[f"frame_{name}"][rows, 2] = video["frames"][name]
    out["frames_incomplete"][rows], out["keyframes"][rows] = video["incomplete"], video["keyframes"]
    out["frozen_rtp_ms"][rows] = video["frozen_us"] // 1000
    out["rtp_markers"][rows], out["loss_runs"][rows] = way["markers"], way["runs"]
    for name, field in (("rtcp_reports", "n"), ("rtcp_lost", "lost"), ("rtcp_expected", "expected")):
        out[name][rows] = reports[field]


def _known(states: NDArray[np.void], now: NDArray[np.bool_], now_us: int) -> _Columns:
    """Return the columns that are no difference; *now*: which flows had a packet in this interval."""
    n, slot = len(states), states["slot"]
    newest = (slot[:, None] - np.arange(12, dtype=np.uint32)) % np.uint32(12)
    columns: _Columns = {
        "peak_bps": np.where(now, states["peak"] * _PEAK_BPS, np.float32(0)),
        "busy_slots": np.where(now, states["busy"], np.uint16(0)),
        "slot": slot,
        "slots": np.take_along_axis(states["slots"], newest.astype(np.intp), 1).astype(np.uint32) << SLOT_UNIT_SHIFT,
        "last_payload_us": _ages(states["payload_us"], now_us),
        "late": states["flags"] & DETAIL_LATE != 0,
        "tick_us": states["ticks"]["us"],
    }
    rtp = states["flags"] & DETAIL_CALL != 0
    columns["echo_min_us"] = np.where((now & ~rtp)[:, None], states["more"]["echo"]["min_us"], np.uint32(0))
    for name in ("rtp_video", "rtp_pt", "rtp_clock", "rtp_jitter_us", "rtcp_jitter_us", "rtcp_rtt_us"):
        columns[name] = _empty(name, n)
    spoken = np.flatnonzero(rtp)
    if len(spoken):
        found = states["more"]["rtp"][spoken]
        columns["rtp_video"][spoken] = found["video"]["ssrc"] != 0
        columns["rtp_pt"][spoken] = found["way"]["pt"]
        columns["rtp_clock"][spoken] = found["way"]["clock_khz"] * np.uint32(1000)
        columns["rtp_jitter_us"][spoken] = found["way"]["jitter_q4"] >> 4
        columns["rtcp_jitter_us"][spoken] = found["reports"]["jitter_us"]
        columns["rtcp_rtt_us"][spoken] = found["reports"]["rtt_us"]
    return columns | _open(states["chunk"], now_us)


def _open(chunk: NDArray[np.void], now_us: int) -> _Columns:
    """Return the columns of open chunks (``struct chunk_state``)."""
    asked = chunk["request_us"] != 0
    columns: _Columns = {f"open_{name}": _ages(chunk[name], now_us, asked) for name in _OPEN_AGES}
    named = {"octets": "bytes", "packets": "packets", "requests": "requests", "gap_max_us": "gap_max_us"}
    for name, field in (named | {"request_length": "length"}).items():
        columns[f"open_{name}"] = np.where(asked, chunk[field], chunk[field].dtype.type(0))
    return columns


class Media:
    """The counts of the last read, by the place of a flow in the table of details, which has so many *places*.

    They are in *before*, rows of COUNTED, where that is given: in memory that outlives this process, the next one goes
    on where it was.
    """

    def __init__(self, places: int, before: NDArray[np.void] | None = None) -> None:
        self._before = np.zeros(places, COUNTED) if before is None else before  # memory is taken as places are used
        self._early: NDArray[np.void] | None = None  # chunks whose flow had no packet in the interval that was read

    def begin(self, read: Details) -> None:
        """Take counts as those that the next update compares with: nobody saw when they came."""
        self._remember(read, _counts(read.states))

    def _remember(self, read: Details, counts: NDArray[np.void]) -> None:
        counts["number"] = read.numbers
        opaque(self._before)[read.places] = opaque(counts)

    def update(self, flows: NDArray[np.uint64], read: Details, closed: NDArray[np.void], now_us: int) -> MediaInterval:
        """Return what *flows* did: sorted numbers of those that had packets in the interval.

        *read* are the details, and *closed* the chunks (``struct chunk``) since the last call, both read after the flow
        table. What they have of a flow that is not in *flows* came between: it is of the next interval, as the packets
        are that brought it. *now_us*: the end of the interval by the kernel's clock, in microseconds.
        """
        place, there = at(flows, read.numbers)
        mine = np.flatnonzero(there)
        read = Details(read.epoch, read.places[mine], read.numbers[mine], rows_at(read.states, mine))
        closed = self._of(flows, closed)
        row, chunk = place[mine], at(flows, closed["number"])[0]
        told = np.zeros(len(flows), np.bool_)
        told[row], told[chunk] = True, True
        number, of_flow = flows[told], np.cumsum(told) - 1
        row, chunk = of_flow[row], of_flow[chunk]
        columns = {f.name: _empty(f.name, len(number)) for f in fields(MediaInterval) if f.name != "closed"}
        for name, values in self._columns(read, now_us).items():
            columns[name][row] = values
        columns["number"] = number
        columns["chunks"] = np.bincount(chunk, minlength=len(number)).astype(np.uint32)
        columns["chunk_octets"] = np.bincount(chunk, closed["bytes"], len(number)).astype(np.uint64)
        return MediaInterval(**columns, closed=_chunks(chunk, closed, now_us))  # type: ignore[arg-type]

    def _columns(self, read: Details, now_us: int) -> _Columns:
        """Return the columns of the flows that were read, and remember their counts."""
        counts, before = _counts(read.states), rows_at(self._before, read.places)
        same = (before["number"] == read.numbers) & (before["begun_us"] == read.states["begun_us"])
        grown: _Columns = {}
        for name, width in _GROWING:
            # Echoes end, and what is counted by RTP begins with zeros, when a flow speaks RTP.
            known = same & (counts["rtp"] == before["rtp"]) if name.startswith("echo") else same
            then = np.where(known[:, None] if width > 1 else known, before[name], np.uint32(0))
            grown[name] = counts[name] - then
        self._remember(read, counts)
        _forget_frames(grown)
        columns = _known(read.states, read.states["epoch"] == read.epoch & 0xFFFF, now_us)
        frozen = grown.pop("frozen_rtp_ms"), grown.pop("frozen_equal_ms")
        columns["frozen_ms"] = np.where(columns["rtp_video"], *frozen)
        columns["frames"] = np.where(columns["rtp_video"], grown["frames_rtp"], grown["frames_equal"])
        for name in ("loss_runs", "rtcp_lost"):
            grown[name] = grown[name].view(np.int32)
        return columns | grown

    def _of(self, flows: NDArray[np.uint64], closed: NDArray[np.void]) -> NDArray[np.void]:
        """Return the chunks of flows, with those that came too early for the interval before."""
        mine = at(flows, closed["number"])[1]
        early, self._early = self._early, rows_at(closed, ~mine)
        mine_now = rows_at(closed, mine)
        if early is None or not len(early):
            return mine_now
        return joined([rows_at(early, at(flows, early["number"])[1]), mine_now])


_NONE = {f.name: _empty(f.name, 0) for f in fields(MediaInterval) if f.name != "closed"}
_NO_CHUNKS = Chunks(np.zeros(0, np.intp), *(np.zeros(0, np.uint32) for _ in fields(Chunks)[1:]))  # type: ignore[arg-type]
NO_MEDIA = MediaInterval(**_NONE, closed=_NO_CHUNKS)  # type: ignore[arg-type]
