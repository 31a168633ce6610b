"""Real-time traffic without a library: an RTP talker that reports what it hears, and the ports of voice and game."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator

from lab.rtcp import Receiver, is_rtcp, report

__all__ = ["GAME_PORT", "RTP_PORT", "TICK_S", "Listener", "Talker"]

RTP_PORT = 4000
GAME_PORT = 5100  # Riot's games use UDP 5000 to 5500
TICK_S = 1 / 30
_FRAME_S, _FRAME_SAMPLES, _PCMA = 0.020, 160, 8  # G.711 A-law at 8 kHz (RFC 3551, table 4)
_CLOCK = 8000
_FIRST_REPORT_S, _REPORT_S = 1.0, 5.0  # RFC 3550, 6.2: five seconds, and earlier at first


class Talker:
    """One RTP stream of G.711 frames of 20 ms, and RTCP on its port about what it `hears` (RFC 5761)."""

    def __init__(self, ssrc: int) -> None:
        self._ssrc = ssrc
        self._heard = Receiver(_CLOCK)
        self.sent = 0

    def hears(self, packet: bytes) -> None:
        """Take a packet of the other side."""
        (self._heard.rtcp if is_rtcp(packet) else self._heard.rtp)(packet, time.time())

    async def packets(self) -> AsyncIterator[bytes]:
        """Yield a packet each 20 ms, without drift, and a report now and then."""
        start = time.monotonic()
        due_s = start + _FIRST_REPORT_S
        payload = bytes([0xD5]) * _FRAME_SAMPLES  # silence in A-law
        while True:
            yield self.packet(payload)
            self.sent += 1
            if time.monotonic() >= due_s:
                due_s += _REPORT_S
                told = self.sent, self.sent * _FRAME_SAMPLES
                yield report(self._ssrc, self.sent * _FRAME_SAMPLES, told, self._heard, time.time())
            await asyncio.sleep(max(0.0, start + self.sent * _FRAME_S - time.monotonic()))

    def packet(self, payload: bytes) -> bytes:
        """Return the next packet (RFC 3550, 5.1)."""
        n = self.sent
        return struct.pack("!BBHII", 0x80, _PCMA, n & 0xFFFF, n * _FRAME_SAMPLES, self._ssrc) + payload


class Listener:
    """The part of a stream that arrived: truth for loss and jitter."""

    def __init__(self) -> None:
        self.received = 0
        self.first = self.last = -1
        self.jitter_ms = 0.0
        self._transit_ms: float | None = None

    def feed(self, packet: bytes, now_s: float) -> None:
        """Take a packet (jitter: RFC 3550, 6.4.1)."""
        if len(packet) < 12 or packet[0] >> 6 != 2 or is_rtcp(packet):
            return
        _, _, sequence, stamp, _ = struct.unpack_from("!BBHII", packet)
        self.first = sequence if self.first < 0 else self.first
        self.last = max(self.last, sequence)
        self.received += 1
        transit = now_s * 1000 - stamp / 8
        if self._transit_ms is not None:
            self.jitter_ms += (abs(transit - self._transit_ms) - self.jitter_ms) / 16
        self._transit_ms = transit

    def expected(self) -> int:
        """Return the number of packets sent, as far as the sequence numbers tell."""
        return 0 if self.first < 0 else self.last - self.first + 1
