"""What the columns of a media flow have to be, slowly and from the rules: the twin of the kernel's details.

One flow, its packets in order with their time in microseconds. Written from RFC 3550 (A.1, A.3, A.8, 6.4), Requet
(MMSys 2019), VCAML (IMC 2023) and the rules that the headers of bpf/ state in words; each rule is an object that takes
packets and can be read. Numbers are integers, as large as they get: only where a rule says so do they wrap.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

UP, DOWN = 0, 1
RATES = (8_000, 16_000, 32_000, 48_000, 90_000)
NEVER = 0xFFFF_FFFF


def behind(a: int, b: int, bits: int = 16) -> int:
    """Return how far number *a* is behind *b*, by serial number arithmetic: of all candidates the nearest."""
    size = 1 << bits
    step = (a - b) % size
    return step - size if step >= size // 2 else step


@dataclass
class Requests:
    """Requests and answers. ``calls``: of a flow that asks nothing, only what is large or waited for is told."""

    calls: bool = False
    control: int = 60  # bytes up to which an uplink payload, or an answer, is one of the protocol itself
    chunk: dict[str, int] | None = None
    waiting: int | None = None
    told: list[dict[str, int]] = field(default_factory=list)

    def up(self, now: int, length: int) -> None:
        if length <= (300 if self.calls else self.control):
            return
        if self.chunk and self.chunk["packets"]:
            bytes_, asked = self.chunk["octets"], self.chunk["request"]
            waited = self.chunk["first"] - (self.chunk["unanswered"] or asked)
            lasts = waited >= 500_000 if self.calls else now - asked >= 20_000 or self.chunk["length"] <= 300
            if bytes_ >= 8000 or lasts:
                self.told.append(self.chunk)
            self.chunk = None
        names = ("request", "unanswered", "first", "last", "octets", "packets", "requests", "gap_max", "length")
        chunk = self.chunk = self.chunk or dict.fromkeys(names, 0)
        if length > 300 or chunk["length"] <= 300:
            chunk["request"] = now
        chunk["requests"] += 1
        chunk["length"] = max(chunk["length"], length)
        self.waiting = now if self.waiting is None else self.waiting
        chunk["unanswered"] = self.waiting

    def down(self, now: int, length: int) -> None:
        chunk = self.chunk
        if chunk is None:
            return
        if chunk["packets"]:
            chunk["gap_max"] = max(chunk["gap_max"], now - chunk["last"])
        else:
            chunk["first"] = now
        chunk["last"] = now
        chunk["packets"] += 1
        chunk["octets"] += length
        if self.waiting is not None and length > self.control:
            if self.waiting == chunk["request"]:
                chunk["unanswered"] = 0
            self.waiting = None


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
class Lengths:
    """Frames by the lengths of packets alone, by both rules."""

    equal: Frames = field(default_factory=Frames)
    filled: Frames = field(default_factory=Frames)
    before: list[int] = field(default_factory=list)  # lengths, the last one first
    last: int | None = None
    run: int = 1000
    full: int = 0
    was_full: bool = False

    def packet(self, now: int, length: int) -> None:
        if length <= 306:
            return
        if self.last is not None and all(abs(length - one) > 2 for one in self.before[:2]):
            self.equal.watch(self.equal.end(self.last))
        self.equal.open += length
        self.before = [length, *self.before[:1]]
        self._filled(now, length)
        self.last = now

    def _filled(self, now: int, length: int) -> None:
        gap = now - self.last if self.last is not None else 0
        if self.filled.open and self.last is not None and gap >= max(3 * self.run, 4000):
            self.filled.end(self.last)
        if self.was_full and gap:
            step = self.run // 8
            self.run = min(self.run + (step + 1 if gap > self.run else -step if gap < self.run else 0), 100_000)
        self.full = length if length > self.full else self.full - self.full // 1024
        self.was_full = length >= self.full - 16
        self.filled.open += length
        if not self.was_full:
            self.filled.end(now)


@dataclass
class Tick:
    """Gaps of one direction."""

    us: int = 0
    near: list[int] = field(default_factory=list)
    spikes: list[int] = field(default_factory=list)
    last: int | None = None

    def packet(self, now: int) -> None:
        gap = None if self.last is None else now - self.last
        self.last = now
        if gap is None:
            return
        if not self.us:
            self.us = max(gap, 1)
            return
        if gap > max(3 * self.us, 100_000):
            self.spikes.append(gap)
        step = self.us // (4 if len(self.near) < 16 else 32)
        if abs(gap - self.us) <= self.us // 4:
            self.near.append(gap)
        self.us = max(self.us + (step + 1 if gap > self.us else -step if gap < self.us else 0), 1)


@dataclass
class Echo:
    """Packets of one direction of which one is awaited from the other side."""

    last: bytes = bytes(8)
    probe: bytes = bytes(8)
    since: int | None = None
    times: list[int] = field(default_factory=list)

    def sent(self, now: int, begin: bytes) -> None:
        if begin == self.last:
            if self.probe == begin:
                self.since = None
        elif self.since is None or now - self.since > 1_000_000:
            self.probe, self.since = begin, now
        self.last = begin

    def back(self, now: int, begin: bytes) -> None:
        if self.since is not None and begin == self.probe:
            if now - self.since <= 1_000_000:
                self.times.append(now - self.since)
            self.since = None


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
    """What a receiver says of the source that is followed."""

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


class Twin:
    """One flow. ``udp``: it is timed exactly, as a call or a game is; else one of requests over TCP."""

    def __init__(self, *, udp: bool) -> None:
        self.udp = udp
        self.requests = Requests(calls=udp, control=100 if udp else 60)
        self.lengths, self.ticks, self.echo = Lengths(), [Tick(), Tick()], [Echo(), Echo()]
        self.sources, self.streams, self.picture = [Source(), Source()], [Stream(), Stream()], Picture()
        self.reports, self.rtp = [Reports(), Reports()], False
        self.last: list[int | None] = [None, None]
        self.sizes: list[list[int]] = [[0] * 4, [0] * 6]

    def packet(self, now: int, way: int, payload: bytes) -> None:
        """Take a packet at *now* microseconds, up or down."""
        length = len(payload)
        if not length:
            return
        edges = (128, 306, 700, 1100, 1350) if way else (100, 300, 700)
        self.sizes[way][sum(length >= edge for edge in edges)] += 1
        (self.requests.down if way else self.requests.up)(now, length)
        self.last[way] = now
        if not self.udp:
            return
        self.ticks[way].packet(now)
        if way:
            self.lengths.packet(now, length)
        head = Header.read(payload)
        spoken = self.sources[way].packet(head) if head else self.sources[way].ssrc is not None
        if rtcp_in_clear(payload):
            self.rtp = True
            self._rtcp(now, way, payload)
        elif spoken:
            if head:
                self.rtp = True
                if head.ssrc == self.sources[way].ssrc:
                    self.streams[way].packet(now, head)
                if way:
                    self.picture.packet(now, head, length)
        elif not self.rtp and length >= 8:
            self.echo[1 - way].back(now, payload[:8])
            self.echo[way].sent(now, payload[:8])

    def _rtcp(self, now: int, way: int, payload: bytes) -> None:
        at, about = 8, 1 - way
        if payload[1] == 200:
            high, low = struct.unpack_from("!II", payload, 8)
            self.reports[way].sent = (high & 0xFFFF) << 16 | low >> 16, now
            at = 28
        wanted = self.sources[about].ssrc
        for n in range(min(payload[0] & 31, 4)):
            block = payload[at + 24 * n : at + 24 * n + 24]
            if wanted is None or int.from_bytes(block[:4], "big") == wanted:
                self.reports[about].block(now, block, self.streams[about].clock)
                return

    def columns(self, end: int) -> dict[str, Any]:
        """Return the columns of an interval that ends at *end* and had all packets in it."""
        rules = self.lengths.equal, self.lengths.filled, self.picture.frames
        both, video = (UP, DOWN), self.picture.ssrc is not None
        frozen = self.picture.frozen_us // 1000 if video else sum(g // 1000 for g in rules[0].frozen)
        echo = [[] if self.rtp else one.times for one in self.echo]
        return {
            "sizes_ul": self.sizes[UP],
            "sizes_dl": self.sizes[DOWN],
            "last_payload_us": [NEVER if at is None else end - at for at in self.last],
            "frames_equal": len(rules[0].ends),
            "frames_filled": len(rules[1].ends),
            "frames_rtp": len(rules[2].ends),
            "frames": len(rules[2 if video else 0].ends),
            "frame_gap_ticks": [sum(rule.gaps) for rule in rules],
            "frame_gap_ticks2": [sum(gap * gap for gap in rule.gaps) for rule in rules],
            "frame_octets": [rule.octets for rule in rules],
            "frames_incomplete": self.picture.incomplete,
            "keyframes": self.picture.keys,
            "frozen_ms": frozen,
            "rtp_video": video,
            "rtp_pt": [self.streams[way].pt for way in both],
            "rtp_clock": [self.streams[way].clock for way in both],
            "rtp_jitter_us": [self.streams[way].jitter_q4 // 16 for way in both],
            "rtp_markers": [self.streams[way].markers for way in both],
            "loss_runs": [self.streams[way].runs for way in both],
            "tick_us": [self.ticks[way].us for way in both],
            "tick_n": [len(self.ticks[way].near) for way in both],
            "tick_sum_us": [sum(self.ticks[way].near) for way in both],
            "spikes": [len(self.ticks[way].spikes) for way in both],
            "spike_ms": [sum(gap // 1000 for gap in self.ticks[way].spikes) for way in both],
            "echo_n": [len(times) for times in echo],
            "echo_sum_us": [sum(times) for times in echo],
            "echo_min_us": [max(min(times), 1) if times else 0 for times in echo],
            "rtcp_reports": [one.n for one in self.reports],
            "rtcp_lost": [one.lost for one in self.reports],
            "rtcp_expected": [one.expected for one in self.reports],
            "rtcp_jitter_us": [one.jitter_us for one in self.reports],
            "rtcp_rtt_us": [one.rtt_us for one in self.reports],
            "chunks": len(self.requests.told),
            "chunk_octets": sum(chunk["octets"] for chunk in self.requests.told),
            **self._open(end),
        }

    def _open(self, end: int) -> dict[str, int]:
        chunk = self.requests.chunk
        names = ("request", "unanswered", "first", "last")
        if chunk is None:
            return {f"open_{n}_us": NEVER for n in names} | {"open_octets": 0, "open_packets": 0, "open_requests": 0}
        return {f"open_{n}_us": end - chunk[n] if chunk[n] else NEVER for n in names} | {
            "open_octets": chunk["octets"],
            "open_packets": chunk["packets"],
            "open_requests": chunk["requests"],
            "open_gap_max_us": chunk["gap_max"],
            "open_request_length": chunk["length"],
        }

    def closed(self, end: int) -> list[list[int]]:
        """Return the chunks that were told, as the columns of Chunks without the row."""
        ages = ("request", "unanswered", "first", "last")
        rest = ("octets", "packets", "requests", "gap_max", "length")
        return [
            [*(end - chunk[n] if chunk[n] else NEVER for n in ages), *(chunk[n] for n in rest)]
            for chunk in self.requests.told
        ]
