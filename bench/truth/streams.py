"""Packets of one flow through the real kernel program, and the columns of each second that calls and games are told.

A stream is made of packets whose times, directions and payloads are known: the truth is by construction. It runs
through the program and the stages of the function as a replay does, so that a figure is one of kernel and estimators.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from feed.records import Columns, RecordBatch
from nf.apps.signatures import Signatures
from nf.flows.batch import FlowBatch
from nf.kernel.dataplane import DataPlane
from nf.pipeline import Pipeline
from nf.privacy import Pseudonymiser
from nf.qoe import realtime
from nf.sessions import BindingStore
from nf.settings import Limits, Role

__all__ = ["Packet", "Wire", "rtp", "seen_of", "wire"]

_START_S = 1_700_000_000
_UE, _SERVER = bytes([10, 45, 0, 2]), bytes([192, 0, 2, 7])
_ETHERNET = bytes(12) + b"\x08\x00"
_KEY = b"key of the figures of real time.."


@dataclass(frozen=True, slots=True)
class Packet:
    """A UDP datagram at the probe; *wire* is the length of a payload of which *payload* is the beginning, or 0."""

    at_s: float
    down: bool
    payload: bytes
    wire: int = 0


def rtp(sequence: int, stamp: int, *, pt: int, ssrc: int, size: int, marker: bool = False) -> bytes:
    """Return an RTP packet with *size* bytes behind its header (RFC 3550, 5.1)."""
    head = struct.pack("!BBHII", 0x80, pt | (marker << 7), sequence & 0xFFFF, stamp & 0xFFFF_FFFF, ssrc)
    return head + bytes(size)


class _Nobody:
    """Takes records and keeps none."""

    def records(self, batch: RecordBatch) -> None:
        """Take one interval of one application class."""

    def followed(self) -> frozenset[str]:
        """Return nobody."""
        return frozenset()

    def detail(self, subscriber: str, records: Columns, flows: Columns, t_start_s: float, t_end_s: float) -> None:
        """Take one interval of a followed subscriber."""


class Wire:
    """A data plane that runs one stream after the other."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._signatures = Signatures.load()
        self._start_s = _START_S
        self._told: list[FlowBatch] = []
        self._pipeline = Pipeline(
            plane, self._signatures, BindingStore(16), Pseudonymiser(_KEY, 1), _Nobody(), idle_s=math.inf
        )
        self._update = self._pipeline.subscribers.update
        self._pipeline.subscribers.update = self._taken  # type: ignore[method-assign,assignment]

    def _taken(self, batch: FlowBatch, **others: Any) -> Any:
        self._told.append(batch)
        return self._update(batch, **others)

    def close(self) -> None:
        """Free what the stages hold."""
        self._pipeline.close()

    def run(
        self, packets: Iterable[Packet], app: str, *, rtt_ms: tuple[float, float] = (math.nan, math.nan)
    ) -> Iterator[realtime.Seen]:
        """Yield what is told of each second of one flow of *app*; *rtt_ms* is what TCP beside it tells.

        A second without a packet is a row of nothing.
        """
        ordered = sorted(packets, key=lambda packet: packet.at_s)
        begin_s, self._start_s = self._start_s, self._start_s + math.ceil(ordered[-1].at_s) + 100
        port = 20_000 + (begin_s - _START_S) // 100 % 40_000
        self._pipeline.begin(float(begin_s))
        at, second, named = 0, 0, False
        while at < len(ordered):
            second += 1
            while at < len(ordered) and ordered[at].at_s < second:
                self._packet(ordered[at], begin_s, port)
                at += 1
                named = named or self._name(app)
            self._told.clear()
            self._pipeline.drain()
            self._pipeline.sweep(float(begin_s + second))
            rows = [seen_of(batch, row, rtt_ms) for batch in self._told for row in _largest(batch)]
            yield rows[0] if rows else realtime.nothing(1, float(begin_s + second), 1.0)

    def _packet(self, packet: Packet, begin_s: int, port: int) -> None:
        length = 28 + max(packet.wire, len(packet.payload))
        ends, ports = (_SERVER + _UE, (443, port)) if packet.down else (_UE + _SERVER, (port, 443))
        head = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0x4000, 64, 17, 0) + ends
        frame = _ETHERNET + head + struct.pack("!HHHH", *ports, length - 20, 0) + packet.payload
        self._plane.run(frame, round((begin_s + packet.at_s) * 1e9), Role.N6, 14 + length)

    def _name(self, app: str) -> bool:
        """Give the flow that began its application, as a name would; return that it has one."""
        keys, flows = self._plane.read_flows()
        newest = np.flatnonzero(flows["number"] == flows["number"].max())
        self._plane.put_verdicts(
            keys[newest],
            flows["number"][newest],
            np.full(1, self._signatures.number(app), np.uint16),
            np.ones(1, np.bool_),
        )
        return True


def _largest(batch: FlowBatch) -> list[int]:
    return [int(np.argmax(batch.octets.sum(axis=1)))] if len(batch) else []


def seen_of(batch: FlowBatch, row: int, rtt_ms: tuple[float, float]) -> realtime.Seen:
    """Return one flow of a batch as calls and games see it; *rtt_ms* is of access and core."""
    number = batch.flow_id[row : row + 1]
    columns: dict[str, Any] = {"rtt_access_ms": np.array([rtt_ms[0]]), "rtt_core_ms": np.array([rtt_ms[1]])}
    columns |= {"side_lost": np.zeros((1, 2, 2)), "side_sent": np.zeros((1, 2, 2))}  # nobody reports here
    for field in dataclasses.fields(realtime.Seen)[2:]:
        if field.name in columns:
            continue
        own = getattr(batch, field.name, None)
        columns[field.name] = batch.media.column(field.name, number) if own is None else own[row : row + 1]
    return realtime.Seen(batch.t_end_s, batch.t_end_s - batch.t_start_s, **columns)


@contextmanager
def wire() -> Iterator[Wire]:
    """Give a data plane of its own for as long as needed."""
    plane = DataPlane(Limits(flows=1024, sessions=64), replay=True)
    line = Wire(plane)
    try:
        yield line
    finally:
        line.close()
        plane.close()
