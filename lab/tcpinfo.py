"""Measurements that the clients of a UE make of their own connections, written as JSON lines.

    with Readings(file) as readings:
        with readings.of(connection):      a TCP socket, while it is open
            ...
        readings.take()                    now and then

A line is the time since the epoch, the transport, the smoothed round trip and its mean deviation in ms (RFC 6298
and 9002, 5.3). For TCP it comes from the kernel (TCP_INFO), and is written only when something was acknowledged since
the reading before: else there was no sample. A mere receiver sends nothing that is timed; while segments stream in,
the kernel's estimate as a receiver, from its own time stamps that come back with them, is a line as well
("tcp-receiver"). The time that the client itself was not let run, or was busy, is a line too ("process"): QUIC
answers from there, TCP from the kernel. The file begins anew at `FULL_BYTES`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["EVERY_S", "FULL_BYTES", "Connection", "Readings", "TcpInfo", "tcp_info"]

EVERY_S = 0.1  # between two readings: ten in an interval of the function
FULL_BYTES = 4 << 20  # half an hour of a busy client; a run of `lab.run` has no end

# struct tcp_info, include/uapi/linux/tcp.h: tcpi_rcv_mss at byte 20, tcpi_rtt and tcpi_rttvar at 68, tcpi_rcv_rtt at
# 92, tcpi_bytes_acked and tcpi_bytes_received at 120. It grows at its end only.
_LAYOUT = struct.Struct("=20xI44xII16xI24xQQ")

# Full segments that arrived since the reading before make the estimate one of that time. With fewer it is the time that
# a window of data took to arrive, pauses for thought with it (tcp_rcv_rtt_measure of net/ipv4/tcp_input.c).
_STREAM = 16

_WAITED_MS = 5.0  # a shorter wait of the client is not written


class Connection(Protocol):
    """The needed part of a socket, or of asyncio's object in place of one."""

    def getsockopt(self, level: int, option: int, length: int, /) -> bytes:
        """Return the option, as `socket.socket.getsockopt` does."""
        ...


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """The kernel's readings of a connection."""

    rtt_ms: float  # 0 before the first sample
    deviation_ms: float
    received_ms: float  # the receiver's estimate; 0 before the first
    acked_bytes: int
    received_bytes: int
    segment_bytes: int  # of those that arrive


def tcp_info(connection: Connection) -> TcpInfo:
    """Read a connection; raises OSError when it is gone."""
    data = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAYOUT.size)
    segment, rtt_us, deviation_us, received_us, acked, received = _LAYOUT.unpack(data)
    return TcpInfo(rtt_us / 1e3, deviation_us / 1e3, received_us / 1e3, acked, received, segment)


class Readings:
    """The file of one UE, and its TCP connections that are open."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="ascii")
        self._before: dict[Connection, TcpInfo] = {}

    def __enter__(self) -> Readings:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @contextlib.contextmanager
    def of(self, connection: Connection) -> Iterator[None]:
        """Read a connection while it is open, and once more before it is closed."""
        self._before[connection] = TcpInfo(0, 0, 0, -1, 0, 0)  # its handshake is a sample
        try:
            yield
        finally:
            self.take()
            del self._before[connection]

    def take(self) -> None:
        """Write a line for each TCP connection of which the kernel has samples since the last time."""
        for connection, before in self._before.items():
            with contextlib.suppress(OSError):  # the other end has reset it
                now = self._before[connection] = tcp_info(connection)
                if now.acked_bytes != before.acked_bytes and now.rtt_ms:
                    self.add("tcp", now.rtt_ms, now.deviation_ms)
                if now.received_bytes - before.received_bytes >= _STREAM * now.segment_bytes and now.received_ms:
                    self.add("tcp-receiver", now.received_ms, 0.0)

    def waited(self, late_ms: float) -> None:
        """Write a line when something that was due ran so much later."""
        if late_ms >= _WAITED_MS:
            self.add("process", late_ms, 0.0)

    def add(self, transport: str, rtt_ms: float, deviation_ms: float) -> None:
        """Write a line with the time of now."""
        if self._file.tell() >= FULL_BYTES:
            self._file.seek(0)
            self._file.truncate()
        line = {
            "t": round(time.time(), 3),
            "transport": transport,
            "rtt_ms": round(rtt_ms, 3),
            "deviation_ms": round(deviation_ms, 3),
        }
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
