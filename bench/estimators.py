"""From the columns of an interval to its records: sums, estimates and scores, of flows of all classes at once.

The flows are made here, as `nf.flows` hands them on: each has the columns that the kernel keeps of its class (requests
and slots, frames and ticks, RTP and its reports, echoes), with numbers as such applications have. Nothing is said here
of how right an estimate is (`python -m bench.truth`), only of what it costs.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import rig
from bench.figure import Figure
from feed.records import APP_CLASSES
from nf.abi import SLOT_US
from nf.flows.batch import FlowBatch
from nf.flows.media import NEVER, NO_MEDIA, Chunks, MediaInterval
from nf.subscribers import SubscriberNames, Subscribers

FLOWS, MILLION, FLOWS_A_UE = 100_000, 1_000_000, 5
WARM, ROUNDS = 4, 7  # intervals before the timed ones, so that all are remembered; and timed ones
APPS_A_CLASS = 4
TCP, UDP = 6, 17
_CLOCK_S, _NOW_S = 1_700_000_000.0, 50_000.0
# Flows of a hundred (own): the classes by what phones have open, and all of them.
MIX = {
    "web": 26, "social": 13, "messaging": 12, "video": 11, "unknown": 11, "gaming": 5, "conferencing": 5, "download": 4,
    "music": 4, "navigation": 3, "live-video": 2, "voice": 2, "vpn": 2,
}  # fmt: skip
_DATAGRAMS = ("conferencing", "voice", "gaming")
_Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Flows:
    """An interval at *t* of flows, and what `Subscribers.update` asks beside them."""

    batch: FlowBatch
    subject: NDArray[np.int64]
    names: SubscriberNames
    class_of_app: NDArray[np.uint8]
    app_names: list[str]
    begun_s: NDArray[np.float64]

    def records(self, to: Subscribers, second: int) -> int:
        """Return how many records *to* makes of them, as those of the given second."""
        end_s = _CLOCK_S + _NOW_S + second
        out = to.update(
            dataclasses.replace(self.batch, t_start_s=end_s - 1, t_end_s=end_s),
            subject=self.subject,
            names=self.names,
            class_of_app=self.class_of_app,
            app_names=self.app_names,
            action=np.zeros(len(self.app_names), np.uint8),
            begun_s=self.begun_s,
            clock_s=_CLOCK_S,
        )
        return sum(map(len, out))

    def arrays(self) -> list[NDArray[Any]]:
        """Return the columns, as they lie in memory."""
        found = [getattr(part, f.name) for part in (self.batch, self.batch.media, self.batch.media.closed)
                 for f in fields(part)]  # fmt: skip
        return [column for column in found if isinstance(column, np.ndarray)]


def _applications() -> tuple[list[str], NDArray[np.uint8]]:
    """Return the applications, of which number 0 is none, and the class of each."""
    names, classes = [""], [APP_CLASSES.index("unknown")]
    for name in MIX:
        if name != "unknown":
            names += [f"{name}-{n}" for n in range(APPS_A_CLASS)]
            classes += [APP_CLASSES.index(name)] * APPS_A_CLASS
    return names, np.array(classes, np.uint8)


def _zeros(kind: type, like: Any, n: int) -> _Columns:
    """Return columns of *n* zeros with the shapes and types of those of *like*."""
    arrays = {f.name: getattr(like, f.name) for f in fields(kind)}
    return {k: np.zeros((n, *v.shape[1:]), v.dtype) for k, v in arrays.items() if isinstance(v, np.ndarray)}


def _both(rng: np.random.Generator, rows: NDArray[np.intp], least: int, most: int) -> NDArray[np.int64]:
    return rng.integers(least, most, (len(rows), 2))


def _flow_columns(rng: np.random.Generator, of_class: NDArray[np.str_]) -> _Columns:
    """Return the columns of flows of the classes *of_class*: streams of datagrams, and transfers over TCP or QUIC."""
    n = len(of_class)
    two = {f.name: np.zeros((n, 2), np.uint64) for f in fields(FlowBatch)[7:-1]}
    out: _Columns = {k: v[:, 0] if k.startswith("dns_") else v for k, v in two.items()}
    m = np.isin(of_class, _DATAGRAMS)
    streams, others = np.flatnonzero(m), np.flatnonzero(~m)
    out["proto"] = np.where(m | (rng.random(n) < 0.3), UDP, TCP).astype(np.uint8)
    out["qfi"] = np.where(np.isin(of_class, ("voice",)), 1, 9)[:, None].repeat(2, 1).astype(np.uint8)
    packets = np.zeros((n, 2), np.int64)
    packets[streams] = _both(rng, streams, 48, 130)
    packets[others] = rng.geometric(0.04, (len(others), 1)) + _both(rng, others, 0, 4)
    length = np.where(m[:, None], rng.integers(120, 900, (n, 1)), np.where(rng.random((n, 2)) < 0.5, 90, 1200))
    gap_us = 1_000_000 // np.maximum(packets, 1)
    out |= {"packets": packets, "payload_packets": packets - packets // 3 * ~m[:, None], "octets": packets * length}
    out |= {"gap_n": packets, "gap_sum_us": packets * gap_us, "gap_sq_us2": packets * gap_us**2 * 5 // 4}
    out |= {"gap_max_us": gap_us * 3}
    tcp = out["proto"] == TCP
    samples = np.where(tcp[:, None], np.minimum(packets, 12), 0) * (rng.random((n, 1)) < 0.7)
    trip_us = rng.integers(8_000, 60_000, (n, 2))
    out |= {"rtt_n": samples, "rtt_sum_us": samples * trip_us * 5 // 4, "rtt_min_us": trip_us * (samples > 0)}
    out |= {"rtt_high_us": trip_us * 3 // 2 * (samples > 0)}
    out["retrans"] = (tcp[:, None] & (rng.random((n, 2)) < 0.05)).astype(np.uint32)
    rtp = np.where(np.isin(of_class, ("conferencing", "voice"))[:, None], packets, 0)
    out |= {"rtp_expected": rtp, "rtp_received": rtp - ((rng.random((n, 2)) < 0.1) & (rtp > 0))}
    asks = np.flatnonzero((of_class == "unknown") & (rng.random(n) < 0.3))
    for name, value in (("dns_queries", 1), ("dns_answers", 1), ("dns_timed", 1), ("dns_sum_us", 20_000)):
        out[name][asks] = value
    octets_of = {f.name: f.type for f in fields(FlowBatch)}
    kinds = {"U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64}
    return {name: np.ascontiguousarray(column, kinds[str(octets_of[name])]) for name, column in out.items()}


def _requests(rng: np.random.Generator, columns: _Columns, rows: NDArray[np.intp]) -> Chunks:
    """Fill the columns of requests and slots at *rows*; return the answers that were closed."""
    n = len(rows)
    columns["slots"][rows] = rng.integers(0, 60_000, (n, 12)) * (rng.random((n, 12)) < 0.4) & ~127
    columns["busy_slots"][rows] = 4
    columns["last_payload_us"][rows] = rng.integers(0, 600_000, (n, 2))
    request = rng.integers(300_000, 900_000, n)
    waits = rng.random(n) < 0.1
    columns["open_request_us"][rows] = request
    columns["open_first_us"][rows] = np.where(waits, NEVER, request - 40_000)
    columns["open_last_us"][rows] = np.where(waits, NEVER, request - 250_000)
    columns["open_waiting_us"][rows] = np.where(waits, request, NEVER)
    columns["open_octets"][rows] = np.where(waits, 0, rng.integers(900, 400_000, n))
    columns["open_requests"][rows] = 1
    closed = np.sort(rng.choice(rows, n // 3, replace=False))
    age = rng.integers(500_000, 990_000, len(closed))
    like = {f.name: getattr(NO_MEDIA.closed, f.name).dtype for f in fields(Chunks)}
    values = {"row": closed, "request_us": age, "unanswered_us": np.full(len(closed), NEVER), "first_us": age - 60_000,
              "last_us": age - 200_000, "octets": rng.integers(900, 2_000_000, len(closed)),
              "packets": np.full(len(closed), 90), "requests": np.full(len(closed), 1),
              "gap_max_us": np.full(len(closed), 9000), "request_length": np.full(len(closed), 500)}  # fmt: skip
    return Chunks(**{name: np.asarray(value).astype(like[name]) for name, value in values.items()})


def _stream_columns(rng: np.random.Generator, columns: _Columns, of_class: NDArray[np.str_], packets: Any) -> None:
    """Fill the columns of calls and games."""
    rows = np.flatnonzero(np.isin(of_class, _DATAGRAMS))
    columns["last_payload_us"][rows] = _both(rng, rows, 0, 20_000)
    columns["tick_us"][rows] = 1_000_000 // packets[rows]
    columns["tick_n"][rows] = packets[rows] * 4 // 5
    columns["tick_sum_us"][rows] = columns["tick_n"][rows] * columns["tick_us"][rows]
    calls = np.flatnonzero(np.isin(of_class, ("conferencing", "voice")))
    columns["rtp_pt"][calls], columns["rtp_clock"][calls] = (
        97,
        np.where(of_class[calls] == "voice", 16_000, 90_000)[:, None],
    )
    columns["rtp_jitter_us"][calls] = _both(rng, calls, 500, 9000)
    columns["loss_runs"][calls] = rng.random((len(calls), 2)) < 0.1
    reports = calls[rng.random(len(calls)) < 0.2]
    for name, value in (("rtcp_reports", 1), ("rtcp_expected", 50), ("rtcp_rtt_us", 20_000)):
        columns[name][reports] = value
    video = np.flatnonzero(of_class == "conferencing")
    frames = rng.integers(24, 31, len(video))
    for i, name in enumerate(("frames_equal", "frames_filled", "frames_rtp")):
        columns[name][video] = frames * (rng.random(len(video)) < 0.7)
        columns["frame_gap_ticks"][video, i] = columns[name][video] * (1_000_000 // 64 // frames)
        columns["frame_gap_ticks2"][video, i] = columns[name][video] * (1_000_000 // 64 // frames) ** 2
        columns["frame_octets"][video, i] = columns[name][video] * 3000
    games = np.flatnonzero(of_class == "gaming")
    columns["echo_n"][games] = 5
    columns["echo_sum_us"][games] = 5 * _both(rng, games, 8000, 40_000)
    columns["echo_min_us"][games] = columns["echo_sum_us"][games] // 6


def _media(
    rng: np.random.Generator, number: NDArray[np.uint64], of_class: NDArray[np.str_], packets: Any
) -> MediaInterval:
    """Return the detail of flows *number* of the classes *of_class*."""
    columns = _zeros(MediaInterval, NO_MEDIA, len(number))
    for name in columns:
        if name == "last_payload_us" or (name.startswith("open_") and name.endswith("_us") and "gap" not in name):
            columns[name][:] = NEVER
    columns["number"] = number
    columns["slot"][:] = int(_NOW_S * 1e6) // SLOT_US
    closed = _requests(rng, columns, np.flatnonzero(~np.isin(of_class, _DATAGRAMS)))
    _stream_columns(rng, columns, of_class, packets)
    return MediaInterval(**columns, closed=closed)  # type: ignore[arg-type]


def make(n: int, seed: int = 14) -> Flows:
    """Return *n* flows of an interval, `FLOWS_A_UE` of each subscriber, who uses one application of a class."""
    rng = np.random.default_rng(seed)
    app_names, class_of_app = _applications()
    shares = np.array([MIX[name] for name in MIX], float)
    kind = rng.choice(len(MIX), n, p=shares / shares.sum())
    of_class = np.array(list(MIX))[kind]
    first = np.array([0 if name == "unknown" else app_names.index(f"{name}-0") for name in MIX])
    ues = n // FLOWS_A_UE
    subject = rng.integers(0, ues, n)
    app = np.where(of_class == "unknown", 0, first[kind] + subject % APPS_A_CLASS).astype(np.uint16)
    columns = _flow_columns(rng, of_class)
    number = np.sort(rng.choice(4 * n, n, replace=False)).astype(np.uint64)
    # Tunnels have no detail, and half of what has no name did not move enough.
    detailed = np.flatnonzero((of_class != "vpn") & ((of_class != "unknown") | (rng.random(n) < 0.5)))
    media = _media(rng, number[detailed], of_class[detailed], columns["packets"][detailed].astype(np.int64))
    batch = FlowBatch(0.0, 1.0, number, np.zeros(n, np.uint32), app, np.ones(n, np.uint8), np.full(n, 90, np.uint8),
                      **columns, media=media)  # fmt: skip
    names = SubscriberNames(
        np.array([f"s-{ue:016x}" for ue in range(ues)], object),
        np.array(["pfcp"] * ues, object),
        np.array(["internet"] * ues, object),
        session=np.arange(1, ues + 1),
        number=np.arange(1, ues + 1),
    )
    begun_s = _CLOCK_S + _NOW_S + WARM - rng.exponential(20.0, n)
    return Flows(batch, subject, names, class_of_app, app_names, begun_s)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.process_time_ns()
    work()
    return (time.process_time_ns() - begun) / 1e9


def _least(flows: Flows, rounds: int) -> tuple[float, float, int]:
    """Return the CPU seconds of an interval and of a pass over its columns, and how many records it makes."""
    stage, arrays = Subscribers(capacity=MILLION), flows.arrays()
    rows = [flows.records(stage, second) for second in range(WARM)][-1]
    took = [_seconds(lambda second=WARM + n: flows.records(stage, second)) for n in range(rounds)]  # type: ignore[misc]
    passes = [_seconds(lambda: [column.sum() for column in arrays]) for _ in range(rounds)]
    return min(took), min(passes), rows


def measure() -> list[Figure]:
    """Return the figures of intervals whose flows are of all classes."""
    rig.one_cpu()
    rig.progress(f"{FLOWS:,} flows of all classes")
    few_s, pass_s, rows = _least(make(FLOWS), ROUNDS)
    rig.progress(f"{MILLION:,} flows of all classes")
    many_s, many_pass_s, many_rows = _least(make(MILLION), 3)
    cases = {
        "estimators, 100 k flows, s": few_s,
        "estimators, 1 M flows, s": many_s,
        "a pass over the columns of 100 k, s": pass_s,
        "a pass over the columns of 1 M, s": many_pass_s,
        "records of 100 k": rows,
        "records of 1 M": many_rows,
    }
    note = (
        f"{FLOWS} flows of {FLOWS // FLOWS_A_UE} subscribers, of all classes, from columns to records; CPU seconds, "
        f"minimum of {ROUNDS}; the pass is numpy's sum of each column"
    )
    return [
        Figure("estimators, records of 100 k flows", few_s, "s", 0.25, cases, note),
        Figure("estimators, 1 M flows / ten times 100 k", many_s / (10 * few_s), "ratio", 1.2, cases, note),
    ]
