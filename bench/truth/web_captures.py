"""The page loads of the SIGCOMM21-5G artifact as columns of an interval, as the kernel would tell them.

A plain reading of each packet: flows, slots of 100 ms, requests with their answers, times of last payloads. In a
bench a loop over packets is no defect.
"""

from __future__ import annotations

import csv
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.captures import SHARED
from nf.capture import merged, to_ethernet
from nf.qoe.pages import SLOT_S, SLOTS, Seen

__all__ = ["FOLDER", "Load", "intervals", "loads", "packets"]

FOLDER = SHARED.parents[1] / "data/qoe/web5g_sigcomm21"
_TCP, _UDP, _DNS = 6, 17, 53
_CONTROL = {_TCP: 60, _UDP: 100}  # bpf/chunks.h: a shorter uplink payload is no request
_PORTS = (_DNS, 80, 443, 853)
_NAN = float("nan")

Key = tuple[bytes, int, bytes, int, int]
Packet = tuple[float, Key, bool, int, bool]  # time, flow seen from the UE, uplink, payload, whether TCP goes on here


@dataclass(frozen=True)
class Load:
    """A page load: its capture, and the time in s that the browser told."""

    site: str
    capture: Path
    onload_s: float


def loads() -> list[Load]:
    """Return the loads whose captures hold the whole page."""
    with (FOLDER / "whole.csv").open() as file:
        whole = {row["id"] for row in csv.DictReader(file) if row["whole"] == "1"}
    with (FOLDER / "labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["id"] in whole]
    return [Load(row["site"], FOLDER / row["pcap"], float(row["onload_ms"]) / 1e3) for row in rows]


def packets(capture: Path) -> Iterator[Packet]:
    """Yield the packets of TCP and UDP; the end with a server's port is the server."""
    for _, at_ns, frame, link, _ in merged([capture]):
        ethernet = to_ethernet(frame, link)
        if ethernet is None:
            continue
        kind = ethernet[12:14]
        if kind == b"\x08\x00":
            octets, protocol = struct.unpack_from("!H", ethernet, 16)[0], ethernet[23]
            at = 14 + 4 * (ethernet[14] & 15)
            octets, ends = octets - (at - 14), (ethernet[26:30], ethernet[30:34])
        elif kind == b"\x86\xdd":
            octets, protocol = struct.unpack_from("!H", ethernet, 18)[0], ethernet[20]
            at, ends = 54, (ethernet[22:38], ethernet[38:54])
        else:
            continue
        if protocol not in (_TCP, _UDP) or len(ethernet) < at + (14 if protocol == _TCP else 8):
            continue
        ports = struct.unpack_from("!HH", ethernet, at)
        header = 4 * (ethernet[at + 12] >> 4) if protocol == _TCP else 8
        uplink = ports[1] in _PORTS or (ports[0] not in _PORTS and ports[0] > ports[1])
        source, sink = (0, 1) if uplink else (1, 0)
        flow = ends[source], ports[source], ends[sink], ports[sink], protocol
        goes_on = protocol == _TCP and not ethernet[at + 13] & 2
        yield at_ns / 1e9, flow, uplink, octets - header, goes_on


@dataclass
class _Flow:
    begin_s: float
    slots: dict[int, int] = field(default_factory=dict)
    last_s: float = _NAN
    asked_s: float = _NAN
    request_s: float = _NAN
    first_s: float = _NAN
    octets: int = 0
    closed: list[tuple[float, float, int]] = field(default_factory=list)
    moved: bool = True

    def packet(self, at_s: float, uplink: bool, payload: int, asks: bool) -> None:
        self.moved = True
        if uplink and asks:
            if not np.isnan(self.first_s):
                self.closed.append((self.request_s, self.first_s, self.octets))
                self.request_s, self.first_s, self.octets = _NAN, _NAN, 0
            if np.isnan(self.request_s):
                self.request_s = self.asked_s = at_s
        elif not uplink and payload > 0:
            slot = int(at_s / SLOT_S)
            self.slots[slot] = self.slots.get(slot, 0) + payload
            self.last_s, self.asked_s = at_s, _NAN
            if not np.isnan(self.request_s):
                self.first_s = at_s if np.isnan(self.first_s) else self.first_s
                self.octets += payload

    def chunks(self) -> list[tuple[float, float, int]]:
        told, self.closed = self.closed, []
        return told + ([] if np.isnan(self.first_s) else [(self.request_s, self.first_s, self.octets)])


def intervals(
    captured: Iterator[Packet], *, interval_s: float = 1.0, quiet_s: float = 8.0, phase_s: float = 0.0
) -> Iterator[Seen]:
    """Yield the columns of each interval of one subscriber, and of *quiet_s* after the last packet.

    Intervals end at multiples of *interval_s* and *phase_s*.
    """
    flows: dict[Key, _Flow] = {}
    end_s = 0.0
    for at_s, key, uplink, payload, goes_on in captured:
        if not end_s:
            end_s = (int((at_s - phase_s) / interval_s) + 1) * interval_s + phase_s
        while at_s >= end_s:
            yield _columns(flows, end_s, interval_s)
            end_s += interval_s
        flow = flows.setdefault(key, _Flow(_NAN if goes_on else at_s))  # a connection that began before begins no page
        flow.packet(at_s, uplink, payload, payload > _CONTROL[key[4]] and key[3] != _DNS)
    for _ in range(1 + int(quiet_s / interval_s)):
        yield _columns(flows, end_s, interval_s)
        end_s += interval_s


def _columns(flows: dict[Key, _Flow], now_s: float, interval_s: float) -> Seen:
    """Return the columns of the flows that had packets, which are then read."""
    read = [flow for flow in flows.values() if flow.moved]
    newest = int(np.floor(now_s / SLOT_S - 1e-6))
    told = [flow.chunks() for flow in read]
    for flow in read:
        flow.moved = False
    return Seen(
        now_s=now_s,
        interval_s=interval_s,
        row=np.zeros(len(read), np.intp),
        begin_s=np.array([flow.begin_s for flow in read]),
        slots=np.array([[flow.slots.get(newest - k, 0) for k in range(SLOTS)] for flow in read], np.uint32).reshape(
            len(read), SLOTS
        ),
        slot=np.full(len(read), newest, np.int64),
        last_s=np.array([flow.last_s for flow in read]),
        asked_s=np.array([flow.asked_s for flow in read]),
        chunk=np.array([index for index, chunks in enumerate(told) for _ in chunks], np.intp),
        request_s=np.array([chunk[0] for chunks in told for chunk in chunks]),
        first_s=np.array([chunk[1] for chunks in told for chunk in chunks]),
        octets=np.array([float(chunk[2]) for chunks in told for chunk in chunks]),
        rtt_access_ms=np.full(1, np.nan),  # these captures are of the phone
    )
