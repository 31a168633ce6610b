"""Captures whose truth is arithmetic: pages, downloads and chats over TCP, as a probe on N6 sees them.

A connection has a round trip on either side of the probe, a congestion window that doubles up to its most, and a link
to the UE of a rate, whose queue holds what the window lets in. All is computed, nothing is waited for.

python -m bench.truth.waits FOLDER writes all of them.
"""

from __future__ import annotations

import struct
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, UDP
from scapy.packet import Packet

from bench.traffic import client_hello

__all__ = ["CASES", "START_S", "Capture", "Connection", "write"]

START_S = 1_700_000_000.0
_UE, _SERVER, _RESOLVER = "10.45.0.2", "198.51.100.7", "198.51.100.53"
_SEGMENT, _FIRST_WINDOW = 1400, 10  # bytes of payload; segments (RFC 6928)
_SERVER_BPS = 1e9
_SYN, _PUSH, _ACK = 0x02, 0x08, 0x10  # RFC 9293, 3.1
_ETHERNET = bytes.fromhex("020000000002 020000000001 0800")
_HELLO = 3000  # bytes of the server's part of a handshake: its certificate


@dataclass
class Capture:
    """Frames with the times at which they pass the probe. The link to the UE has *bps*."""

    bps: float = 50e6
    frames: list[tuple[float, bytes]] = field(default_factory=list)
    free_s: float = 0.0  # when the link has sent all that waits for it
    ports: int = 40_000
    ue: str = _UE
    server: str = _SERVER

    def add(self, at_s: float, packet: bytes | Packet) -> None:
        """Note an IPv4 packet that passes at *at_s* after START_S."""
        self.frames.append((at_s, _ETHERNET + bytes(packet)))

    def dns(self, at_s: float, name: str, trip_s: float) -> float:
        """Ask for a name at *at_s*; return when the UE knows it."""
        self.ports += 1
        ask = DNS(id=self.ports, qd=DNSQR(qname=name))
        tell = DNS(id=self.ports, qr=1, qd=DNSQR(qname=name), an=DNSRR(rrname=name, rdata=self.server, ttl=60))
        self.add(at_s + trip_s / 4, IP(src=self.ue, dst=_RESOLVER) / UDP(sport=self.ports, dport=53) / ask)
        self.add(at_s + 3 * trip_s / 4, IP(src=_RESOLVER, dst=self.ue) / UDP(sport=53, dport=self.ports) / tell)
        return at_s + trip_s

    def write(self, path: Path, snap: int = 65_535) -> None:
        """Write a pcap of Ethernet with nanoseconds, of which packets are cut to *snap* bytes."""
        with path.open("wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 1))
            for at_s, frame in sorted(self.frames):
                seconds = int(START_S + at_s)
                rest = round((START_S + at_s - seconds) * 1e9)
                kept = frame[:snap]
                file.write(struct.pack("<IIII", seconds, min(rest, 999_999_999), len(kept), len(frame)) + kept)


class Connection:
    """A TCP connection with TLS to a server of *name*; *access_s* and *core_s* are round trips from the probe."""

    def __init__(
        self, capture: Capture, at_s: float, name: str, *, access_s: float, core_s: float, window: int = 45
    ) -> None:
        self.capture, self.access_s, self.core_s = capture, access_s, core_s
        capture.ports += 1
        self._port, self._most, self._window = capture.ports, window, min(_FIRST_WINDOW, window)
        self._sent, self._got = 1, 1  # sequence numbers of the UE and of the server
        self._waiting: deque[float] = deque()  # when the server has the acknowledgement of each segment in flight
        passes_s = at_s + access_s / 2
        self._up(passes_s, _SYN, 0, seq=0, ack=0)
        self._down(passes_s + core_s, _SYN | _ACK, 0, seq=0)
        self._up(passes_s + core_s + access_s, _ACK, 0)
        ready_s = at_s + access_s + core_s
        self.ready_s = self.fetch(ready_s, _HELLO, request=client_hello(name))

    def _up(self, at_s: float, flags: int, payload: int | bytes, **more: int) -> None:
        data = payload if isinstance(payload, bytes) else _record(payload)
        numbers = more.get("seq", self._sent), more.get("ack", self._got)
        self.capture.add(at_s, _tcp(self.capture.ue, self.capture.server, (self._port, 443), numbers, flags, data))
        self._sent += len(data)

    def _down(self, at_s: float, flags: int, payload: int, **more: int) -> None:
        numbers = more.get("seq", self._got), self._sent
        self.capture.add(
            at_s, _tcp(self.capture.server, self.capture.ue, (443, self._port), numbers, flags, _record(payload))
        )

    def ask(self, at_s: float, request: int | bytes = 400) -> float:
        """Send a request at *at_s*, which the server acknowledges; return when it is there."""
        passes_s = at_s + self.access_s / 2
        self._up(passes_s, _PUSH | _ACK, request)
        self._down(passes_s + self.core_s, _ACK, 0)
        return passes_s + self.core_s / 2

    def fetch(self, at_s: float, octets: int, *, wait_s: float = 0.0, request: int | bytes = 400) -> float:
        """Ask at *at_s*, for an answer that the server begins *wait_s* after; return when the UE has all of it."""
        send_s = self.ask(at_s, request) + wait_s
        acked = self._got
        for begin in range(0, octets, _SEGMENT):
            while self._waiting and self._waiting[0] <= send_s:
                self._acknowledged()
            if len(self._waiting) >= self._window:
                send_s = max(send_s, self._waiting[0])
                self._acknowledged()
            payload = min(_SEGMENT, octets - begin)
            passes_s = send_s + self.core_s / 2
            self._down(passes_s, _PUSH | _ACK if begin + payload >= octets else _ACK, payload)
            self.capture.free_s = max(passes_s, self.capture.free_s) + 8 * (payload + 54) / self.capture.bps
            at_s = self.capture.free_s + self.access_s / 2
            self._got = acked = acked + payload
            self._up(at_s + self.access_s / 2, _ACK, 0, ack=acked)
            self._waiting.append(at_s + self.access_s / 2 + self.core_s / 2)
            send_s += 8 * (payload + 54) / _SERVER_BPS
        return at_s

    def _acknowledged(self) -> None:
        self._waiting.popleft()
        self._window = min(self._window + 1, self._most)


def _tcp(source: str, sink: str, ports: tuple[int, int], numbers: tuple[int, int], flags: int, data: bytes) -> bytes:
    """Return an IPv4 packet with its checksums."""
    ends = bytes(map(int, source.split("."))) + bytes(map(int, sink.split(".")))
    header = struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(data), 0, 0x4000, 64, 6, 0) + ends
    segment = struct.pack("!HHIIBBHHH", *ports, *numbers, 5 << 4, flags, 64_000, 0, 0)
    pseudo = ends + struct.pack("!HH", 6, 20 + len(data))
    segment = segment[:16] + _checksum(pseudo + segment + data) + segment[18:]
    return header[:10] + _checksum(header) + header[12:] + segment + data


def _checksum(data: bytes) -> bytes:
    """Return the checksum of RFC 1071: the number of a base 65,536 has the sum of its digits modulo 65,535."""
    rest = int.from_bytes(data + b"\0" * (len(data) % 2), "big") % 0xFFFF
    return (0xFFFF - rest).to_bytes(2, "big")


def _record(length: int) -> bytes:
    """Return so many bytes that look like application data of TLS."""
    return (b"\x17\x03\x03" + max(length - 5, 0).to_bytes(2, "big") + bytes(max(length - 5, 0)))[:length]


def _page(last_s: float, *, objects: int = 10, octets: int = 60_000, bps: float = 50e6) -> Capture:
    """Return a page whose last byte is there at *last_s*: by servers that take long or, on a slow link, by its size."""

    def load(wait_s: float, octets: int) -> tuple[Capture, float]:
        capture = Capture(bps)
        at_s = capture.dns(0.0, "en.wikipedia.org", 0.03)
        connection = Connection(capture, at_s, "en.wikipedia.org", access_s=0.02, core_s=0.01)
        at_s = connection.ready_s
        for _ in range(objects):
            at_s = connection.fetch(at_s, octets, wait_s=wait_s)
        return capture, at_s

    quick_s = load(0.0, octets)[1]
    if bps >= 10e6:
        return load((last_s - quick_s) / objects, octets)[0]
    return load(0.0, round(octets * last_s / quick_s))[0]


def _download(window: int) -> Capture:
    """Return 20 s of a download over a link of 2 Mbit/s, of which *window* segments are in flight."""
    capture = Capture(2e6)
    at_s = capture.dns(0.0, "dl.delivery.mp.microsoft.com", 0.03)
    connection = Connection(capture, at_s, "dl.delivery.mp.microsoft.com", access_s=0.02, core_s=0.01, window=window)
    connection.fetch(connection.ready_s, 5_000_000)
    return capture


def _chat(trip_s: float) -> Capture:
    """Return 40 s of a chat with a message every two seconds and its answer, half of the way on either side."""
    capture = Capture()
    at_s = capture.dns(0.0, "chat.signal.org", trip_s)
    connection = Connection(capture, at_s, "chat.signal.org", access_s=trip_s / 2, core_s=trip_s / 2)
    for n in range(20):
        connection.fetch(connection.ready_s + 2 * n + 0.5, 120, request=180)
    return capture


def _keep_alive() -> Capture:
    """Return 40 s of a connection on which only pings of 31 bytes go to and fro (RFC 6120, 4.6.1 in a TLS record)."""
    capture = Capture()
    at_s = capture.dns(0.0, "chat.signal.org", 0.02)
    connection = Connection(capture, at_s, "chat.signal.org", access_s=0.01, core_s=0.01)
    for n in range(1, 5):
        connection.fetch(connection.ready_s + 10 * n, 31, request=31)
    return capture


CASES: dict[str, Callable[[], Capture]] = {
    "page-1s": lambda: _page(1.0),
    "page-8s-servers": lambda: _page(8.0),
    "page-8s-link": lambda: _page(8.0, bps=0.8e6),
    "download-30ms": lambda: _download(8),  # about what fits into 2 Mbit/s times 30 ms: no queue
    "download-queue": lambda: _download(143),  # 2 Mbit/s times 0.8 s
    "chat-982ms": lambda: _chat(0.982),
    "chat-20ms": lambda: _chat(0.020),
    "chat-keep-alive": _keep_alive,
}
"""Captures of the table of scores, by name."""


def write(name: str, folder: Path) -> Path:
    """Write one of CASES as a pcap and return its path."""
    path = folder / f"{name}.pcap"
    CASES[name]().write(path)
    return path


if __name__ == "__main__":
    for case in CASES:
        print(write(case, Path(sys.argv[1])))
