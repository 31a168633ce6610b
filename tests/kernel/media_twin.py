"""The columns of a media flow as they have to be, slowly and from the rules: the twin of the kernel's details.

One flow, its packets in order with their time in microseconds. Written from RFC 3550 (A.1, A.3, A.8, 6.4), Requet
(MMSys 2019), VCAML (IMC 2023) and the rules that the headers of bpf/ state in words; each rule is an object that takes
packets and can be read. Numbers are integers, as large as they get: only where a rule says so do they wrap.
"""

from __future__ import annotations

import copy
import struct
from dataclasses import dataclass, field
from typing import Any

from tests.kernel.rtp_twin import DOWN, NEVER, UP, Frames, Header, Picture, Reports, Source, Stream, rtcp_in_clear


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
class Slots:
    """Downlink bytes of IP of each 100 ms of the low half of the clock, a packet at a time to the nearest 128."""

    units: dict[int, int] = field(default_factory=dict)
    newest: int = 0  # and not the largest: the low half of the clock comes round

    def packet(self, now: int, octets: int) -> None:
        slot = now % (1 << 32) // 100_000
        self.units[slot] = min(self.units.get(slot, 0) + (octets + 64) // 128, 65_535)
        self.newest = slot

    @property
    def peak_bps(self) -> int:
        """Return the rate of the fullest one that ended: of all but the newest, which still fills."""
        return max((n for slot, n in self.units.items() if slot != self.newest), default=0) * 128 * 8 * 10

    def last(self) -> list[int]:
        return [self.units.get(self.newest - back, 0) * 128 for back in range(12)]


@dataclass
class Lengths:
    """Frames by the lengths of packets alone, by both rules."""

    equal: Frames = field(default_factory=Frames)
    filled: Frames = field(default_factory=Frames)
    before: list[int] = field(default_factory=list)  # lengths, the last one first
    last: int | None = None
    octets: int = 0  # of a frame of equal packets, in the mean
    together: int = 0  # packets of the one that is open
    run: int = 1000
    full: int = 0
    was_full: bool = False
    sound: int = 153
    usual: int = 0
    sure: int = 0

    def packet(self, now: int, length: int) -> None:
        if length <= 306:
            self.sound = min(self.sound + (length > self.sound) - (length < self.sound), 153)
            if length <= max(2 * self.sound, 128):
                return
        if not self._is_copy(length):
            self._equal(now, length)
            self._filled(now, length)
            self.last = now

    def _is_copy(self, length: int) -> bool:
        before = self.sure
        if length == self.usual:
            self.sure = min(before + 1, 15)
        elif length >= self.full - 16 and before:
            self.sure -= 1
            return before > 1 and length == self.usual + 2
        elif length >= self.full - 16:
            self.usual, self.sure = length, 1
        return False

    def _equal(self, now: int, length: int) -> None:
        if self.last is not None:
            gap = now - self.last
            alike = any(abs(length - one) <= 2 for one in self.before)
            cut = 0 < self.before[0] - length <= self.together and gap < 1000
            if not (alike or cut) or self._equal_is_over(now):
                octets = min(self.equal.open, 3 * self.octets or 1 << 24)
                self.octets = (29 * self.octets + octets) // 30 if self.octets else octets
                self.equal.watch(self.equal.end(self.last))
                self.together = 0
        self.equal.open += length
        self.together = min(self.together + 1, 255)
        self.before = [length, *self.before[:1]]

    def _equal_is_over(self, now: int) -> bool:
        """Say whether the open frame is one by its bytes, and the pause since its last packet one between frames."""
        usual = not self.octets or self.octets <= 2 * self.equal.open <= 3 * self.octets
        pause = max(min(self.equal.mean, 200_000) * 3 // 8, 4000) // 64 * 64
        return usual and self.last is not None and now - self.last >= pause

    def _filled_is_over(self, now: int) -> bool:
        """Say whether the open frame has all its packets, since none came for long."""
        pause = max(3 * self.run, 4000, min(self.filled.mean, 200_000) // 2) // 64 * 64
        return self.filled.open > 0 and self.last is not None and now - self.last >= pause

    def _filled(self, now: int, length: int) -> None:
        gap = now - self.last if self.last is not None else 0
        if self.last is not None and self._filled_is_over(now):
            self.filled.watch(self.filled.end(self.last))
        if self.was_full and gap:
            step = self.run // 8
            self.run = min(self.run + (step + 1 if gap > self.run else -step if gap < self.run else 0), 100_000)
        self.full = length if length > self.full else self.full - self.full // 1024
        self.was_full = length >= self.full - 16
        self.filled.open += length
        if not self.was_full:
            self.filled.watch(self.filled.end(now))

    def told(self) -> tuple[Frames, Frames]:
        """Return the frames by both rules: one that is open ends with its last packet so far."""
        ended = copy.deepcopy(self)
        for rule in (ended.equal, ended.filled):
            if rule.open and self.last is not None:
                rule.end(self.last)
        return ended.equal, ended.filled


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


ANSWER = 0xFFFF  # in place of a length: an answer to an answer is awaited


@dataclass
class Echo:
    """Packets of one direction of which one is awaited from the other side."""

    last: int = 0
    probe: int = 0
    since: int | None = None
    probe_length: int = 0
    echo_length: int = 0
    times: list[int] = field(default_factory=list)

    @staticmethod
    def mark(begin: bytes) -> int:
        return int.from_bytes(begin, "big") * 0x9E3779B97F4A7C15 % (1 << 64) >> 32

    def _takes_over(self, now: int, length: int) -> bool:
        if self.since is None or now - self.since > (400_000 if self.probe & 3 else 1_000_000):
            return True
        if self.echo_length:
            return length == self.echo_length != self.probe_length
        return length < self.probe_length

    def sent(self, now: int, begin: bytes, length: int) -> None:
        mark = self.mark(begin)
        if mark == self.last:
            if self.probe == mark:
                self.since = None
        elif self._takes_over(now, length):
            self.probe, self.since, self.probe_length = mark, now, length
        self.last = mark

    def back(self, now: int, begin: bytes, other: Echo) -> bool:
        """Say if the packet, of the direction of *other*, is the echo of the one that is awaited."""
        mark = self.mark(begin)
        found = self.since is not None and mark == self.probe
        if found and self.since is not None:
            first = self.probe_length != ANSWER
            if now - self.since <= 1_000_000:
                self.times.append(now - self.since)
                if first:
                    self.echo_length = self.probe_length
                    other.echo_length = other.echo_length or self.probe_length
            self.since, other.last = None, mark
            if first and (other.since is None or now - other.since > 400_000):
                other.probe, other.since, other.probe_length = mark, now, ANSWER
        return found


class Twin:
    """One flow. ``udp``: it is timed exactly, as a call or a game is; else one of requests over TCP."""

    def __init__(self, *, udp: bool) -> None:
        self.udp, self.slots = udp, Slots()
        self.requests = Requests(calls=udp, control=100 if udp else 60)
        self.lengths, self.ticks, self.echo = Lengths(), [Tick(), Tick()], [Echo(), Echo()]
        self.sources, self.streams, self.picture = [Source(), Source()], [Stream(), Stream()], Picture()
        self.reports, self.rtp = [Reports(), Reports()], False
        self.last: list[int | None] = [None, None]
        self.sizes: list[list[int]] = [[0] * 4, [0] * 6]

    def packet(self, now: int, way: int, payload: bytes) -> None:
        """Take a packet at *now* microseconds, up or down."""
        length = len(payload)
        if way:
            self.slots.packet(now, length + (28 if self.udp else 40))
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
        elif not self.rtp and length >= 8 and not self.echo[1 - way].back(now, payload[:8], self.echo[way]):
            self.echo[way].sent(now, payload[:8], length)

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
        rules = *self.lengths.told(), self.picture.frames
        both, video = (UP, DOWN), self.picture.ssrc is not None
        frozen = self.picture.frozen_us // 1000 if video else sum(g // 1000 for g in self.lengths.equal.frozen)
        echo = [[] if self.rtp else one.times for one in self.echo]
        return {
            "peak_bps": self.slots.peak_bps,
            "busy_slots": len(self.slots.units),
            "slot": self.slots.newest,
            "slots": self.slots.last(),
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
