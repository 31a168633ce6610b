"""Situations of users as one capture, each of a subscriber of its own, and the records that a replay tells of each.

What is in the packets is by construction (`bench.truth.waits`, `bench.truth.generated`). All begin at the same time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.truth.streams import Packet
from bench.truth.waits import START_S, Capture, Connection
from nf.privacy import Pseudonymiser
from tests.replay.conftest import KEY

__all__ = ["NOBODY", "Told", "call_of", "player", "replayed", "with_datagrams"]

NOBODY = "nobody"
"""Name of the records of addresses that are no UE's: of flows of which only the downlink is there."""

_UE = bytes((10, 45, 0, 2))
_NAMES = {"voice": "sip.linphone.org", "conferencing": "meet.google.com", "gaming": "euw1.prod.riotgames.com"}
_VIDEO = "rr3---sn-4g5e6nez.googlevideo.com"


def with_datagrams(capture: Capture, packets: Iterable[Packet], *, server: str, port: int = 30_000) -> Capture:
    """Add datagrams between the UE and a port of a server that is no well-known one."""
    ends = _UE, bytes(map(int, server.split(".")))
    for packet in packets:
        source, sink = (1, 0) if packet.down else (0, 1)
        ports = (5000, port) if packet.down else (port, 5000)
        length = 28 + max(packet.wire, len(packet.payload))
        head = struct.pack("!BBHHHBBH", 0x45, 0, length, 0, 0x4000, 64, 17, 0) + ends[source] + ends[sink]
        body = packet.payload + bytes(max(0, packet.wire - len(packet.payload)))
        capture.add(packet.at_s, head + struct.pack("!HHHH", *ports, length - 20, 0) + body)
    return capture


def call_of(
    kind: str, packets: Iterable[Packet], *, server: str, trip_s: float = 0.0, seconds: int = 0, begin_s: float = 0.1
) -> Capture:
    """Return a call or a game with a name; with *trip_s* there is TCP with that round trip beside it."""
    capture = Capture()
    capture.server = server
    capture.dns(0.0, _NAMES[kind], 0.02)
    with_datagrams(capture, (_later(p, begin_s) for p in packets), server=server)
    if trip_s:
        beside = Connection(capture, 0.03, _NAMES[kind], access_s=trip_s / 2, core_s=trip_s / 2)
        for n in range(2 * seconds):
            beside.fetch(beside.ready_s + 0.5 * n, 3000)
    return capture


def _later(packet: Packet, by_s: float) -> Packet:
    return Packet(packet.at_s + by_s, packet.down, packet.payload, packet.wire)


def player(
    kbps: float, seconds: float, *, content_s: float = 5.0, ahead: int = 4, bps: float = 20e6, first_s: float = 0.0,
    outage: tuple[float, float] = (0.0, 0.0),
) -> Capture:  # fmt: skip
    """Return a player of segments of *content_s* at *kbps*, *ahead* of them at once and then one as each is played.

    The server is silent until *first_s*, and in the *outage* (begin, end).
    """
    capture = Capture(bps)
    at_s = capture.dns(0.0, _VIDEO, 0.03)
    line = Connection(capture, at_s, _VIDEO, access_s=0.02, core_s=0.01)
    ready_s, at_s, n, octets = 0.0, line.ready_s, 0, round(kbps * 125 * content_s)
    while at_s < seconds:
        wait_s = max(first_s - at_s, 0.0) if not n else outage[1] - at_s if outage[0] <= at_s < outage[1] else 0.0
        at_s, n = line.fetch(at_s, octets, wait_s=wait_s), n + 1
        ready_s = ready_s or at_s
        at_s = max(at_s, ready_s + (n - ahead) * content_s)
    return capture


@dataclass(frozen=True)
class Told:
    """Records of a subscriber: rows in the order of time, with the end of each in s after the begin of the capture."""

    rows: list[dict[str, Any]]

    def of(self, app_class: str, begin_s: float = 0, end_s: float = 1e9) -> list[dict[str, Any]]:
        """Return the records of a class whose interval ended in that time."""
        return [r for r in self.rows if r["class"] == app_class and begin_s < r["at_s"] <= end_s]

    def column(self, app_class: str, name: str, begin_s: float = 0, end_s: float = 1e9) -> list[Any]:
        """Return a column of these records."""
        return [row[name] for row in self.of(app_class, begin_s, end_s)]


def replayed(
    made: Mapping[str, Callable[[], Capture]], folder: Path, run: Callable[..., Any], *, snap: int = 65_535
) -> dict[str, Told]:
    """Write one capture of all, replay it, and return what was told of each by its name."""
    together, of_ue, names = Capture(), {}, Pseudonymiser(KEY, 1)
    for n, (which, make) in enumerate(made.items(), 1):
        ue = bytes((10, 45, n, 2))
        of_ue[names.unknown(f"ue::{'.'.join(map(str, ue))}")] = which
        for at_s, frame in make().frames:
            ends = frame[26:34].replace(_UE, ue)
            together.frames.append((at_s, frame[:26] + ends + frame[34:]))
    path = folder / "situations.pcap"
    together.write(path, snap)
    done = run(path)
    out: dict[str, list[dict[str, Any]]] = {which: [] for which in (*made, NOBODY)}
    for batch in done.batches:
        for i, subscriber in enumerate(batch.columns["subscriber"]):
            which = of_ue.get(subscriber, NOBODY)
            row = {column: values[i] for column, values in batch.columns.items()}
            out[which].append({**row, "class": batch.app_class, "at_s": batch.t_end_s - START_S})
    return {which: Told(sorted(rows, key=lambda row: row["at_s"])) for which, rows in out.items()}
