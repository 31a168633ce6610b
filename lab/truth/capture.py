"""Captures of a set: tcpdump at the probe's ports, and the cut that leaves media payload out.

Of each flow (a GTP-U tunnel's inner one) the first packets stay whole, for names are in them; of every later one its
beginning, headers of RTP and first octets of a payload included. Lengths on the wire stay as they were (libpcap's
``incl_len`` and ``orig_len``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from lab.lab import Lab
from lab.wait import wait_until

__all__ = ["KEEP_BYTES", "WHOLE_PACKETS", "Capture", "cut", "packets"]

KEEP_BYTES = (
    160  # Ethernet, outer IPv4, UDP, GTP-U with container (58); inner IPv4, TCP with options (80); 22 of payload
)
WHOLE_PACKETS = 24
_MAGIC = 0xA1B2C3D4  # microseconds, little endian (libpcap's savefile format)
_GLOBAL = struct.Struct("<IHHiIII")
_RECORD = struct.Struct("<IIII")
_GTPU_PORT = 2152


class Capture:
    """tcpdump on ports of the probe while the context is entered; then the cut files are in *folder*."""

    def __init__(self, lab: Lab, folder: Path, ports: tuple[str, ...]) -> None:
        self._lab, self._folder, self._ports = lab, folder, ports

    def __enter__(self) -> Capture:
        for port in self._ports:
            file = self._lab.folder / f"{port}.full"
            words = ("-i", port, "-s", "2048", "-B", "16384", "-Z", "root", "-U", "--immediate-mode", "-n", "-w", file)
            self._lab.start_inside(f"tcpdump-{port}", "probe", "tcpdump", *words)
        for port in self._ports:
            self._lab.wait_until(
                lambda port=port: "listening on" in self._lab.log(f"tcpdump-{port}"),  # type: ignore[misc]
                f"tcpdump listens at {port}",
                part=f"tcpdump-{port}",
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._lab.stop(*(f"tcpdump-{port}" for port in self._ports))
        for port in self._ports:
            full = self._lab.folder / f"{port}.full"
            if wait_until(full.exists, f"the capture of {port} is there", 5):
                cut(full, self._folder / f"{port}.pcap")
                full.unlink()


def packets(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield (time in us since the epoch, length on the wire, octets) of a capture that this lab made."""
    data = path.read_bytes()
    if not data or _GLOBAL.unpack_from(data)[0] != _MAGIC:
        raise ValueError(f"{path.name} is no capture of tcpdump on this machine")
    at = _GLOBAL.size
    while at + _RECORD.size <= len(data):
        seconds, us, kept, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        yield seconds * 1_000_000 + us, length, data[at : at + kept]
        at += kept


def _flow(frame: bytes) -> bytes:
    """Return what tells the flow of a frame: addresses, protocol and ports, of the inner packet under GTP-U."""
    ip = 14
    if frame[ip + 9 : ip + 10] == b"\x11" and int.from_bytes(frame[ip + 22 : ip + 24], "big") == _GTPU_PORT:
        ip += 44  # IPv4, UDP, GTP-U with a PDU Session Container, as the lab's endpoints write them
    return frame[ip + 9 : ip + 10] + frame[ip + 12 : ip + 24]


def cut(full: Path, to: Path) -> None:
    """Write a capture with the media payload left out."""
    seen: dict[bytes, int] = {}
    with to.open("wb") as file:
        file.write(_GLOBAL.pack(_MAGIC, 2, 4, 0, 0, 2048, 1))  # version 2.4, Ethernet
        for us, length, frame in packets(full):
            flow = _flow(frame)
            seen[flow] = seen.get(flow, 0) + 1
            kept = frame if seen[flow] <= WHOLE_PACKETS else frame[:KEEP_BYTES]
            file.write(_RECORD.pack(us // 1_000_000, us % 1_000_000, len(kept), length) + kept)
