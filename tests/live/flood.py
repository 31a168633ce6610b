"""A flood beside subscribers who are known: what each of them must be counted, whatever else comes."""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

import numpy as np
from scapy.contrib.gtp import GTP_U_Header, GTPEchoRequest, GTPPDUSessionContainer
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from nf.service import Service
from nf.settings import Export, Limits, Settings, StaticSession
from tests.live.wire import N3, N6, Wire, wire

__all__ = ["FLOODED", "KNOWN", "STRIDE", "UNKNOWN", "Flood", "flood", "user_frame"]

KNOWN, STRIDE = 100, 10  # subscribers; one frame in ten is theirs
UPF, FIRST_TEID, FIRST_UE = "192.0.2.2", 0x100, "10.45.0.1"
MAC = "02:00:00:00:00:01"
OUTER_SOURCE_AT = 26  # Ethernet 14, into the IPv4 header 12
INNER_SOURCE_AT = 70  # Ethernet 14, IPv4 20, UDP 8, GTP-U 12, extension 4, into the IPv4 header 12
UNKNOWN = {  # flags of the source: who is known, and where the others are written
    "STRIDE": STRIDE,
    "KNOWN": KNOWN,
    "FIRST": FIRST_TEID,
    "UE": int(IPv4Address(FIRST_UE)),
    "INNER_AT": INNER_SOURCE_AT,
}
SESSIONS = tuple(
    StaticSession(f"s{i:03}", ue_ipv4=f"10.45.0.{1 + i}", dnn="internet", uplink=((UPF, FIRST_TEID + i),))
    for i in range(KNOWN)
)
FLOODED = Settings(
    interfaces=(N3, N6),  # inline, so that the source knows what has arrived
    sessions=SESSIONS,
    limits=Limits(),
    export=Export(endpoint="ipc:///tmp/snf-flood.sock"),
)


def _outer() -> Ether:
    return Ether(src=MAC, dst=MAC) / IP(src="192.0.2.1", dst=UPF) / UDP(sport=2152, dport=2152)


def user_frame() -> bytes:
    """Return an uplink frame of a UE."""
    tunnel = GTP_U_Header(teid=FIRST_TEID, gtp_type=255, E=1, next_ex=0x85) / GTPPDUSessionContainer(type=1, QFI=9)
    inner = IP(src=FIRST_UE, dst="198.51.100.7") / UDP(sport=40000, dport=9999) / Raw(bytes(64))
    return bytes(_outer() / tunnel / inner)


def echo_frame() -> bytes:
    """Return an echo request of a gNB, filled up to what the source writes into."""
    return bytes(_outer() / GTP_U_Header(teid=0, gtp_type=1, S=1, seq=1) / GTPEchoRequest()).ljust(96, b"\0")


@dataclass
class Flood:
    """What was sent and what the function says of it."""

    frames: int
    seconds: float
    counters: dict[str, int]
    packets: list[int]  # of each known flow
    unknown_flows: int
    grown_bytes: int  # of the process in the second half
    paths: int
    announced: int  # flows whose beginning user space was told
    known_announced: int


@contextmanager
def _running(service: Service) -> Iterator[None]:
    thread = threading.Thread(target=service.run, name="service")
    thread.start()
    try:
        yield
    finally:
        service.stop()
        thread.join()


def _told(service: Service) -> set[int]:
    """Return the set of flow numbers that user space is told from now on."""
    told: set[int] = set()
    read = service.plane.read_events

    def spy() -> np.ndarray:
        events = read()
        told.update(events["number"].tolist())
        return events

    service.plane.read_events = spy
    return told


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _send_for(bump: Wire, frame: bytes, seconds: float) -> float:
    """Send whole rounds of all known subscribers, and return how long it took."""
    begun = time.monotonic()
    while time.monotonic() < begun + seconds:
        bump.send(frame, 64 * KNOWN * STRIDE)
    return time.monotonic() - begun


def flood(seconds: float) -> Flood:
    """Send unknown TEIDs beside the known ones for three quarters of the time, then echoes of all addresses."""
    with wire(**UNKNOWN) as bump, Service() as service:
        service.apply(Settings(), FLOODED)
        told = _told(service)
        with _running(service):
            bump.send(user_frame(), 64 * KNOWN * STRIDE)  # each subscriber has a flow
            took = _send_for(bump, user_frame(), seconds / 2)
            half = _resident_bytes()
            took += _send_for(bump, user_frame(), seconds / 4)
            echoes = bump.another(VARY_AT=OUTER_SOURCE_AT)
            took += _send_for(echoes, echo_frame(), seconds / 4)
            grown = _resident_bytes() - half
        service.plane.read_events()
        flows = service.plane.read_flows()[1]
        known = flows["session"] > 0
        return Flood(
            frames=bump.sent(),
            seconds=took,
            counters=service.plane.read_counters("n3"),
            packets=np.sort(flows["packets"][known].sum(axis=1)).tolist(),
            unknown_flows=int((~known).sum()),
            grown_bytes=grown,
            paths=len(service.plane.read_paths()),
            announced=len(told),
            known_announced=len(told.intersection(flows["number"][known].tolist())),
        )
