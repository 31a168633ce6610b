"""A flood beside subscribers who are known: the counts that each of them must have, whatever else comes."""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
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
from nf.subscribers import Subscribers
from tests.live.wire import N3, N6, Wire, wire

__all__ = ["FLOODED", "KNOWN", "STRIDE", "UNKNOWN", "Flood", "flood", "user_frame"]

FULL, CYCLE = 2 * Subscribers().capacity, Subscribers().capacity  # flows until the books are full, and pruned again
CYCLES = 7  # the first fills them, and the allocator has found its size after three
TOLD = 1 << 22  # flow numbers that the spy keeps, twice what a soak brings

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
    """The frames that were sent, and the function's counts of them."""

    frames: int
    seconds: float
    counters: dict[str, int]
    packets: list[int]  # of each known flow
    unknown_flows: int
    grown_bytes: int  # of the process, from cycle to cycle of its books
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


class _Told:
    """The numbers of the flows that user space is told. It has all of its memory from the beginning."""

    def __init__(self, service: Service) -> None:
        self._numbers, self.count = np.ones(TOLD, np.uint64), 0
        self._read = service.plane.read_events
        service.plane.read_events = self._spy

    def _spy(self) -> np.ndarray:
        events = self._read()
        end = self.count + len(events)
        self._numbers[self.count : end] = events["number"]
        self.count = end
        return events

    def numbers(self) -> np.ndarray:
        """Return them, each once."""
        return np.unique(self._numbers[: self.count])


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@dataclass
class _Sending:
    """Whole rounds of frames of all known subscribers, and the time that they took."""

    seconds: float = 0.0

    def send_while(self, bump: Wire, frame: bytes, goes_on: Callable[[], bool]) -> int:
        """Send as long as it *goes_on*, and return the least memory of the process meanwhile, in bytes.

        The least, because each interval takes some for itself, and gives it back.
        """
        least = sys.maxsize
        while goes_on():
            begun = time.monotonic()
            bump.send(frame, 64 * KNOWN * STRIDE)
            self.seconds += time.monotonic() - begun
            least = min(least, _resident_bytes())
        return least


def _for(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() < end


def flood(seconds: float, *, cycles: bool = False) -> Flood:
    """Send unknown TEIDs beside the known ones for three quarters of the time, then echoes of all addresses.

    *cycles*: before that the books of user space are filled and pruned CYCLES times; ``grown_bytes`` is what
    the last two needed more than the two before them, at the least.
    """
    with wire(**UNKNOWN) as bump, Service() as service:
        service.apply(Settings(), FLOODED)
        told, sending, floors = _Told(service), _Sending(), [0] * CYCLES
        with _running(service):
            bump.send(user_frame(), 64 * KNOWN * STRIDE)  # each subscriber has a flow
            if cycles:
                floors = [
                    sending.send_while(bump, user_frame(), lambda n=n: told.count < FULL + n * CYCLE)
                    for n in range(CYCLES)
                ]
            sending.send_while(bump, user_frame(), _for(seconds * 3 / 4))
            sending.send_while(bump.another(VARY_AT=OUTER_SOURCE_AT), echo_frame(), _for(seconds / 4))
        service.plane.read_events()
        flows = service.plane.read_flows()[1]
        known = flows["session"] > 0
        numbers = told.numbers()
        return Flood(
            frames=bump.sent(),
            seconds=sending.seconds,
            counters=service.plane.read_counters("n3"),
            packets=np.sort(flows["packets"][known].sum(axis=1)).tolist(),
            unknown_flows=int((~known).sum()),
            grown_bytes=min(floors[-2:]) - min(floors[-4:-2]),
            paths=len(service.plane.read_paths()),
            announced=len(numbers),
            known_announced=int(np.isin(flows["number"][known], numbers).sum()),
        )
