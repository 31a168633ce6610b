"""RTP of a media flow as it has to be, slowly and from the rules: sources, the picture that is shown, and reports.

A part of the twin (`tests.kernel.media_twin`), written from RFC 3550 (A.1, A.3, A.8, 6.4) and the words of bpf/.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

UP, DOWN = 0, 1
RATES = (8_000, 16_000, 32_000, 48_000, 90_000)
NEVER = 0xFFFF_FFFF


def behind(a: int, b: int, bits: int = 16) -> int:
    """Return how far number *a* is behind *b*, by serial number arithmetic: of all candidates the nearest."""
    size = 1 << bits
    step = (a - b) % size
    return step - size if step >= size // 2 else step


@dataclass
class Frames:
    """Frames that ended: bytes, and distances of their ends in 64 us."""

    ends: list[int] = field(default_factory=list)
    octets: int = 0
    gaps: list[int] = field(default_factory=list)
    open: int = 0
    mean: int = 0
    frozen: list[int] = field(default_factory=list)

    def end(self, at: int) -> int:
        gap = at - self.ends[-1] if self.ends else 0
        self.ends.append(at)
        self.octets, self.open = self.octets + self.open, 0
        self.gaps.append(min(gap, 1_000_000) // 64)
        return gap

    def watch(self, gap: int) -> None:
        """Take a distance for a freeze (webrtc-stats), or into the mean of about thirty."""
        if not gap:
            return
        if self.mean and gap > max(3 * self.mean, self.mean + 150_000):
            self.frozen.append(gap)
        else:
            self.mean = (self.mean * 29 + gap) // 30 if self.mean else gap


@dataclass
class Header:
    """An RTP header (RFC 3550, 5.1)."""

    marker: bool
    pt: int
    seq: int
    stamp: int
    ssrc: int
    empty: bool

    @classmethod
    def read(cls, payload: bytes) -> Header | None:
        if len(payload) < 12 or payload[0] >> 6 != 2 or 192 <= payload[1] <= 223:
            return None
        seq, stamp, ssrc = struct.unpack_from("!HII", payload, 2)
        head = 12 + 4 * (payload[0] & 15)
        if payload[0] & 0x10 and len(payload) >= head + 4:
            head += 4 + 4 * int.from_bytes(payload[head + 2 : head + 4], "big")
        empty = bool(payload[0] & 0x20) and head + payload[-1] >= len(payload)
        return cls(payload[1] >= 128, payload[1] & 127, seq, stamp, ssrc, empty)


@dataclass
class Source:
    """The source that is followed: the first of which two packets in sequence come (RFC 3550, A.1), never silent."""

    ssrc: int | None = None
    last: dict[int, int] = field(default_factory=dict)

    def packet(self, p: Header) -> bool:
        if self.ssrc is None and self.last.get(p.ssrc) == (p.seq - 1) % 65536:
            self.ssrc = p.ssrc
        self.last[p.ssrc] = p.seq
        return self.ssrc is not None


@dataclass
class Stream:
    """The words of a receiver about the source that is followed."""

    pt: int = 0
    clock: int = 0
    candidate: int = 0
    jitter_q4: int = 0
    markers: int = 0
    runs: int = 0
    top: int | None = None
    gap: set[int] = field(default_factory=set)
    before: tuple[int, int] | None = None  # time, stamp
    base: tuple[int, int] | None = None

    def packet(self, now: int, p: Header) -> None:
        step = 1 if self.top is None else behind(p.seq, self.top)
        if not step:
            return
        if 0 < step < 3000:
            if step > 1:
                self.runs += 1
                self.gap = {(p.seq - n) % 65536 for n in range(step - 1, 0, -1)}
            self.top = p.seq
        elif -100 < step < 0 and p.seq in self.gap:
            self.gap.discard(p.seq)
            self.runs -= not self.gap
        self.pt = p.pt
        self.markers += p.marker
        if p.pt <= 18:
            self.clock = 8000
        else:
            self._learn(now, p.stamp)
        self._jitter(now, p.stamp)

    def _learn(self, now: int, stamp: int) -> None:
        if self.base is not None:
            us = now - self.base[0]
            if us < 500_000:
                return
            grown = behind(stamp, self.base[1], 32)
            if grown > 0:
                hz = grown * 1_000_000 // us
                nearest = min(RATES, key=lambda rate: max(hz / rate, rate / max(hz, 1)))
                if not self.clock or nearest == self.candidate:
                    self.clock = nearest
                self.candidate = nearest
        self.base = now, stamp

    def _jitter(self, now: int, stamp: int) -> None:
        if self.clock and self.before is not None:
            grown = behind(stamp, self.before[1], 32)
            sent = abs(grown) * 1000 // (self.clock // 1000) * (1 if grown >= 0 else -1)
            off = abs(now - self.before[0] - sent)
            if off < 10_000_000:
                self.jitter_q4 += off - ((self.jitter_q4 + 8) // 16)
        self.before = now, stamp


@dataclass
class Picture:
    """Frames of the source of the picture, and when nothing new could be shown."""

    frames: Frames = field(default_factory=Frames)
    ssrc: int | None = None
    stamp: int | None = None  # of the frame that is open, or the last one
    is_open: bool = False
    broken: bool = False
    missing: int = 0
    top: int | None = None
    last: int = 0
    others: int = 0
    mean: int = 0
    incomplete: int = 0
    keys: int = 0
    since: int | None = None
    until: int = 0
    frozen_us: int = 0

    def packet(self, now: int, p: Header, length: int) -> None:
        if p.ssrc != self.ssrc and not self._other(now, p, length):
            return
        self.others = 0
        step = 1 if self.top is None else behind(p.seq, self.top)
        if not step:
            return
        if step < 0:
            self._repair(now)
            if self.is_open and p.stamp == self.stamp:
                self.frames.open += length
            return
        self.top = p.seq
        if step > 1:
            self.missing += step - 1
            self.broken = True
        if self.is_open and p.stamp != self.stamp:
            self._end(self.last)
        if p.empty or (not self.is_open and self.frames.ends and p.stamp == self.stamp):
            return
        self.is_open, self.stamp, self.last = True, p.stamp, now
        self.frames.open += length
        if p.marker:
            self._end(now)

    def _other(self, now: int, p: Header, length: int) -> bool:
        if length <= 306 or p.empty:
            return False
        if self.ssrc is not None:
            self._repair(now)
            self.others += 1
            if self.others < 64:
                return False
        self.ssrc, self.top, self.is_open, self.broken, self.missing, self.since = p.ssrc, None, False, False, 0, None
        self.frames.open = 0
        return True

    def _end(self, at: int) -> None:
        octets = self.frames.open
        gap = self.frames.end(at)
        most, first = 3 * self.mean, len(self.frames.ends) == 1
        key = first or (self.mean > 0 and octets > most)
        if not first:
            self.mean = (self.mean * 29 + min(octets, most)) // 30 if self.mean else octets
        self.keys += key
        if self.broken:
            self.incomplete += 1
            if self.since is None:
                self.since = self.until = at
            self._freeze(at)
        elif self.since is not None:
            self._freeze(at)
            if key or at - self.since > 10_000_000:
                self._thaw(at)
        else:
            before = len(self.frames.frozen)
            self.frames.watch(gap)
            self.frozen_us += sum(self.frames.frozen[before:])
        self.is_open = self.broken = False

    def _freeze(self, at: int) -> None:
        if self.since is not None and at - self.since >= 150_000:
            self.frozen_us += at - self.until
            self.until = at

    def _thaw(self, at: int) -> None:
        self._freeze(at)
        self.since, self.missing = None, 0

    def _repair(self, now: int) -> None:
        if not self.missing:
            return
        self.missing -= 1
        if not self.missing:
            self.broken = False
            if self.since is not None:
                self._thaw(now)


@dataclass
class Reports:
    """Reports about the stream of one direction (RFC 3550, 6.4)."""

    n: int = 0
    ssrc: int = 0
    last: int = 0
    cumulative: int = 0
    expected: int = 0
    lost: int = 0
    jitter_us: int = 0
    rtt_us: int = 0
    sent: tuple[int, int] | None = None  # middle of the NTP time, and when it passed

    def block(self, now: int, block: bytes, clock: int) -> None:
        ssrc, word, last, jitter, lsr, dlsr = struct.unpack("!6I", block)
        lost = behind(word & 0xFFFFFF, 0, 24)
        if self.n and ssrc == self.ssrc:
            self.expected += last - self.last
            self.lost += lost - self.cumulative
        self.n, self.ssrc, self.last, self.cumulative = self.n + 1, ssrc, last, lost
        if clock:
            self.jitter_us = jitter * 1000 // (clock // 1000)
        if lsr and self.sent is not None and self.sent[0] == lsr:
            held = dlsr * 1_000_000 // 65536
            if held <= now - self.sent[1]:
                self.rtt_us = max(now - self.sent[1] - held, 1)


def rtcp_in_clear(payload: bytes) -> bool:
    """Say whether the payload is whole packets of RTCP, the first of which is a report."""
    at, first = 0, True
    while at + 4 <= len(payload):
        if payload[at] >> 6 != 2 or payload[at + 1] not in ((200, 201) if first else range(192, 224)):
            return False
        at, first = at + 4 * (int.from_bytes(payload[at + 2 : at + 4], "big") + 1), False
    return at == len(payload) and not first
