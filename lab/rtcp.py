"""RTCP in clear: sender reports with one report block, and the counts of a receiver for it (RFC 3550, 6.4 and A.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["Receiver", "is_rtcp", "report"]

_SENDER_REPORT, _DESCRIPTION = 200, 202
_EPOCH_S = 2_208_988_800  # from 1900 to 1970


def is_rtcp(payload: bytes) -> bool:
    """Say if a payload on a port that RTP and RTCP share is RTCP (RFC 5761, 4)."""
    return len(payload) >= 8 and payload[0] >> 6 == 2 and 192 <= payload[1] <= 223


@dataclass(slots=True)
class Receiver:
    """The stream that arrives: expected and received packets, and the interarrival jitter in units of the clock."""

    clock: int
    ssrc: int = 0
    base: int = -1
    highest: int = 0  # extended
    received: int = 0
    jitter: float = 0.0
    transit: float | None = None
    prior: tuple[int, int] = (0, 0)
    heard: tuple[int, float] = (0, 0.0)  # middle of the last sender report's NTP time, and its arrival

    def rtp(self, packet: bytes, now_s: float) -> None:
        """Take an RTP packet (A.1 without probation, A.8)."""
        _, _, sequence, stamp, self.ssrc = struct.unpack_from("!BBHII", packet)
        if self.base < 0:
            self.base = self.highest = sequence
        step = (sequence - self.highest) & 0xFFFF
        if step < 0x8000:
            self.highest += step
        self.received += 1
        transit = now_s * self.clock - stamp
        if self.transit is not None:
            self.jitter += (abs(transit - self.transit) - self.jitter) / 16
        self.transit = transit

    def rtcp(self, packet: bytes, now_s: float) -> None:
        """Take a sender report: its time comes back in ours."""
        if packet[1] == _SENDER_REPORT:
            self.heard = int.from_bytes(packet[10:14], "big"), now_s

    def block(self, now_s: float) -> bytes:
        """Return the report block of now (6.4.1)."""
        expected = self.highest - self.base + 1 if self.base >= 0 else 0
        new, got = expected - self.prior[0], self.received - self.prior[1]
        self.prior = expected, self.received
        fraction = max(0, new - got) * 256 // new if new > 0 else 0
        last, at_s = self.heard
        since = int((now_s - at_s) * 65536) if last else 0
        missing = max(0, expected - self.received) & 0xFFFFFF
        head = struct.pack("!IIII", self.ssrc, min(fraction, 255) << 24 | missing, self.highest, int(self.jitter))
        return head + struct.pack("!II", last, since & 0xFFFFFFFF)


def report(ssrc: int, stamp: int, sent: tuple[int, int], receiver: Receiver, now_s: float) -> bytes:
    """Return a compound packet: sender report with a report block, and a name. *sent* is packets and octets."""
    whole = now_s + _EPOCH_S
    info = struct.pack("!IIIII", int(whole), int(whole % 1 * (1 << 32)), stamp & 0xFFFFFFFF, *sent)
    head = struct.pack("!BBHI", 0x81, _SENDER_REPORT, 12, ssrc)
    name = struct.pack("!BBHIBB", 0x81, _DESCRIPTION, 3, ssrc, 1, 3) + b"lab" + bytes(3)
    return head + info + receiver.block(now_s) + name
