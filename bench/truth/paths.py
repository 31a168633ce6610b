"""A network of arithmetic: UE, probe and servers with links that can be impaired, and a TCP that sends again.

    UE ──access── probe ──core── server

Events in the order of time, nothing is waited for. Links are those of the lab (`lab.impair.Shaper`); what passes the
probe is written down. The TCP has slow start, halving, selective acknowledgements, time-outs and tail loss probes: what
a probe sees of loss, and no more.
"""

from __future__ import annotations

import heapq
import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bench.traffic import client_hello
from lab.impair import Impairment, Shaper

__all__ = ["START_S", "Connection", "Net", "Ue"]

START_S = 1_700_000_000.0
SNAP = 600  # bytes of a frame in the file: enough for a hello
_ETHERNET = bytes.fromhex("020000000002 020000000001 0800")
_SYN, _PUSH, _ACK = 0x02, 0x08, 0x10  # RFC 9293, 3.1
_SEGMENT, _FIRST_WINDOW, _MOST_WINDOW = 1360, 10, 150  # bytes; segments (RFC 6928)
_DELAYED_S, _LEAST_RTO_S, _LEAST_PTO_S = 0.04, 0.2, 0.01  # Linux
_HELLO = 3000  # bytes of the server's part of a handshake


class Net:
    """The clock, what is to happen, and the frames that passed the probe."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.frames: list[tuple[float, bytes, int]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = itertools.count()

    def at(self, at_s: float, do: Callable[[], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._events, (max(at_s, self.now_s), next(self._number), do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something so much later."""
        self.at(self.now_s + seconds, do)

    def run(self, until_s: float) -> None:
        """Make happen what is due until a time."""
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, do = heapq.heappop(self._events)
            do()

    def write(self, path: Path) -> None:
        """Write what passed the probe as a pcap of Ethernet with nanoseconds, cut behind the headers."""
        with path.open("wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65_535, 1))
            for at_s, frame, wire in sorted(self.frames, key=lambda f: f[0]):
                seconds = int(START_S + at_s)
                rest = min(round((START_S + at_s - seconds) * 1e9), 999_999_999)
                kept = frame[:SNAP]
                file.write(struct.pack("<IIII", seconds, rest, len(kept), wire) + kept)


@dataclass
class Ue:
    """A subscriber and its links: *access* and *core* are (uplink, downlink)."""

    net: Net
    address: str
    access: tuple[Shaper, Shaper]
    core: tuple[Shaper, Shaper]
    wait_s: float = 0.0  # that servers take for an answer
    ports: int = 40_000

    @classmethod
    def make(cls, net: Net, number: int, access: Impairment, core: Impairment) -> Ue:
        """Return a subscriber on links of both kinds."""
        one, other = (
            (Shaper(f"{number}/{side}/up", how), Shaper(f"{number}/{side}/down", how))
            for side, how in (("access", access), ("core", core))
        )
        return cls(net, f"10.45.{number // 250}.{2 + number % 250}", one, other)

    def impair(self, side: str, how: Impairment) -> None:
        """Change both directions of ``access`` or ``core``."""
        for shaper in getattr(self, side):
            shaper.impairment = how

    def pass_on(self, down: bool, packet: bytes, wire: int, deliver: Callable[[], None]) -> None:
        """Send an IP packet of *wire* bytes, of which *packet* is the beginning."""
        first, second = (self.core[1], self.access[1]) if down else (self.access[0], self.core[0])

        def probe() -> None:
            self.net.frames.append((self.net.now_s, _ETHERNET + packet, 14 + wire))
            there_s = second.offer(self.net.now_s, wire)
            if there_s is not None:
                self.net.at(there_s, deliver)

        passes_s = first.offer(self.net.now_s, wire)
        if passes_s is not None:
            self.net.at(passes_s, probe)

    def datagram(
        self, down: bool, server: str, ports: tuple[int, int], payload: bytes, deliver: Callable[[], None]
    ) -> None:
        """Send a UDP datagram; *ports* are (UE's, server's)."""
        ends, order = _ends(self.address, server, down), ports[::-1] if down else ports
        wire = 28 + len(payload)
        head = struct.pack("!BBHHHBBH", 0x45, 0, wire, 0, 0x4000, 64, 17, 0) + ends
        self.pass_on(down, head + struct.pack("!HHHH", *order, wire - 20, 0) + payload, wire, deliver)


def _ends(ue: str, server: str, down: bool) -> bytes:
    a, b = (bytes(map(int, end.split("."))) for end in (ue, server))
    return b + a if down else a + b


@dataclass
class _Half:
    """One direction of a connection: its segments (sequence number, payload) and who has what."""

    down: bool
    segments: list[tuple[int, bytes, int]] = field(default_factory=list)  # sequence, beginning, length
    end: int = 1  # sequence number behind all that was written
    next: int = 0  # segment to be sent
    una: int = 0  # first one without an acknowledgement
    sacked: set[int] = field(default_factory=set)
    again: list[int] = field(default_factory=list)
    was_again: set[int] = field(default_factory=set)
    sent_s: dict[int, float] = field(default_factory=dict)  # when each was sent last
    window: float = _FIRST_WINDOW
    threshold: float = 1e9
    recover: int = 0
    srtt_s: float = 0.1
    varied_s: float = 0.05
    due_s: float = 0.0  # stamp of the first segment that has no acknowledgement yet
    tries: int = 0
    out_s: float = 0.0  # when a time-out came whose cause is not known yet; 0: none
    undo: tuple[float, float] = (0.0, 0.0)  # window and threshold before it
    timer: int = 0
    probed: bool = False
    got: set[int] = field(default_factory=set)  # of the receiver
    whole: int = 0  # segments in order
    unanswered: int = 0
    wanted: list[tuple[int, Callable[[], None]]] = field(default_factory=list)  # told when segments are there in order

    def flight(self) -> int:
        return self.next - self.una - sum(1 for i in self.sacked if i >= self.una) - len(self.again)


class Connection:
    """A TCP connection with TLS to a server of *name*; ``fetch`` asks and tells when the answer is there."""

    def __init__(self, ue: Ue, server: str, name: str, ready: Callable[[], None]) -> None:
        self.ue, self.net, self.server = ue, ue.net, server
        ue.ports += 1
        self.port = ue.ports
        self.halves = (_Half(False), _Half(True))
        self._opened = False
        self._syn(name, ready)

    def _syn(self, name: str, ready: Callable[[], None]) -> None:
        def answered() -> None:
            if not self._opened:
                self._opened = True
                self._send_raw(False, 1, _ACK, b"", 0, lambda: None)
                self.fetch(_HELLO, ready, request=client_hello(name), wait=False)

        def there() -> None:
            self._send_raw(True, 0, _SYN | _ACK, b"", 0, answered)

        def attempt(seconds: float) -> None:
            if not self._opened:
                self._send_raw(False, 0, _SYN, b"", 0, there)
                self.net.after(seconds, lambda: attempt(2 * seconds))

        attempt(1.0)

    def fetch(
        self,
        octets: int,
        done: Callable[[], None],
        *,
        request: bytes = b"\x17\x03\x03\x01\x8b" + bytes(395),
        wait: bool = True,
    ) -> None:
        """Ask for an answer of so many bytes."""

        def answer() -> None:
            self.net.after(self.ue.wait_s if wait else 0.0, lambda: self._write(True, b"", octets, done))

        self._write(False, request, len(request), answer)

    def _write(self, down: bool, data: bytes, octets: int, there: Callable[[], None]) -> None:
        half = self.halves[down]
        for begin in range(0, octets, _SEGMENT):
            part = data[begin : begin + _SEGMENT] or b"\x17\x03\x03\x05\x4b"
            length = min(_SEGMENT, octets - begin)
            half.segments.append((half.end, part[:length], length))
            half.end += length
        half.wanted.append((len(half.segments), there))
        self._push(half)

    # -- sender ---------------------------------------------------------------

    def _push(self, half: _Half, *, anew: bool = False) -> None:
        """Send what the window allows; the timer begins *anew* with data acknowledged in order (RFC 6298, 5.3)."""
        waits = half.una < half.next
        while half.flight() < half.window:
            if half.again:
                i = half.again.pop(0)
                half.was_again.add(i)
            elif half.next < len(half.segments):
                i, half.next = half.next, half.next + 1
            else:
                break
            self._segment(half, i)
        if anew or not waits:
            self._arm(half)

    def _segment(self, half: _Half, i: int) -> None:
        sequence, part, length = half.segments[i]
        half.sent_s[i] = self.net.now_s
        flags = _ACK | (_PUSH if i + 1 == len(half.segments) else 0)
        stamp_s = self.net.now_s
        self._send_raw(half.down, sequence, flags, part, length, lambda: self._arrived(half, i, stamp_s))

    def _arm(self, half: _Half) -> None:
        half.timer += 1
        if half.una >= half.next:
            return
        mine = half.timer
        probe = not half.probed and not half.tries
        one = half.next - half.una == 1  # RFC 8985, 7.2: its acknowledgement may be delayed
        probe_s = max(2 * half.srtt_s, _LEAST_PTO_S) + (_LEAST_RTO_S if one else 0.0)
        out_s = (half.srtt_s + max(4 * half.varied_s, _LEAST_RTO_S)) * 2**half.tries  # RFC 6298; Linux
        wait_s = min(probe_s, out_s) if probe else out_s
        self.net.after(wait_s, lambda: self._late(half, mine, probe))

    def _late(self, half: _Half, mine: int, probe: bool) -> None:
        if mine != half.timer or half.una >= half.next:
            return
        if probe:
            half.probed = True
            half.was_again.add(half.next - 1)
            self._segment(half, half.next - 1)
            self._arm(half)
            return
        half.tries = min(half.tries + 1, 6)
        half.out_s, half.undo = self.net.now_s, (half.window, half.threshold)
        half.threshold, half.window = max(half.window / 2, 2), 1
        half.again, half.recover = [], half.next
        half.was_again.add(half.una)
        self._segment(half, half.una)
        self._arm(half)

    def _acknowledged(self, half: _Half, whole: int, sacked: frozenset[int], stamp_s: float) -> None:
        sample_s = self.net.now_s - stamp_s  # by time stamps (RFC 7323)
        half.varied_s = 0.75 * half.varied_s + 0.25 * abs(sample_s - half.srtt_s)
        half.srtt_s = 0.875 * half.srtt_s + 0.125 * sample_s
        if half.out_s and (whole > half.una or sacked - half.sacked):
            if stamp_s < half.out_s:  # of the original: the time-out came too early (Eifel, RFC 3522)
                half.window, half.threshold = half.undo
            else:
                half.again = [i for i in range(whole, half.next) if i not in half.sacked | sacked]
            half.out_s = 0.0
        new = whole - half.una
        fresh = sacked - half.sacked
        if new > 0:
            half.una, half.tries, half.probed = whole, 0, False
            half.again = [i for i in half.again if i >= whole]
            half.was_again = {i for i in half.was_again if i >= whole}
            if whole >= half.recover:
                half.window += new if half.window < half.threshold else new / half.window
                half.window = min(half.window, _MOST_WINDOW)
        half.sacked = {i for i in half.sacked | sacked if i >= half.una}
        half.again = [i for i in half.again if i not in half.sacked]
        if fresh and half.sacked:
            top = max(half.sacked)
            lost = [
                i
                for i in range(half.una, top - 2)
                if i not in half.sacked and i not in half.again and i not in half.was_again
            ]
            if lost and half.una >= half.recover:
                half.recover, half.threshold = half.next, max(half.window / 2, 2)
                half.window = half.threshold
            # A segment sent again is lost again when one that was sent after it is there (RACK; RFC 8985, 6.2).
            newest_s = max((half.sent_s[i] for i in fresh), default=0.0) - half.srtt_s / 4
            lost += [i for i in sorted(half.was_again) if half.una <= i < top and self._lost_twice(half, i, newest_s)]
            half.again += lost
        if new > 0 or fresh:
            self._push(half, anew=new > 0)

    @staticmethod
    def _lost_twice(half: _Half, i: int, newest_s: float) -> bool:
        return i not in half.sacked and i not in half.again and half.sent_s[i] < newest_s

    # -- receiver ---------------------------------------------------------------

    def _arrived(self, half: _Half, i: int, stamp_s: float) -> None:
        if not half.unanswered:
            half.due_s = stamp_s
        old = i < half.whole or i in half.got
        half.got.add(i)
        while half.whole in half.got:
            half.got.discard(half.whole)
            half.whole += 1
        half.unanswered += 1
        if half.unanswered >= 2 or half.got or old:
            self._answer(half, i if old else None)
        else:
            self.net.after(_DELAYED_S, lambda: self._answer(half) if half.unanswered else None)
        while half.wanted and half.wanted[0][0] <= half.whole:
            half.wanted.pop(0)[1]()

    def _answer(self, half: _Half, twice: int | None = None) -> None:
        """Acknowledge; *twice* is a segment that came twice, which a duplicate SACK tells (RFC 2883, 4)."""
        half.unanswered, stamp_s, options = 0, half.due_s, b""
        some = twice if twice is not None else max(half.got, default=None)
        if some is not None:
            begin, _, length = half.segments[some]
            options = struct.pack("!BBBBII", 1, 1, 5, 10, begin, begin + length)
        whole, sacked = half.whole, frozenset(half.got)
        back = self.halves[not half.down]
        sequence = back.segments[back.next - 1][0] + back.segments[back.next - 1][2] if back.next else 1
        self._send_raw(
            back.down, sequence, _ACK, b"", 0, lambda: self._acknowledged(half, whole, sacked, stamp_s), options
        )

    def _send_raw(
        self,
        down: bool,
        sequence: int,
        flags: int,
        part: bytes,
        length: int,
        deliver: Callable[[], None],
        options: bytes = b"",
    ) -> None:
        other = self.halves[not down]
        ack = other.segments[other.whole - 1][0] + other.segments[other.whole - 1][2] if other.whole else 1
        order = (443, self.port) if down else (self.port, 443)
        wire = 40 + len(options) + length
        head = struct.pack("!BBHHHBBH", 0x45, 0, wire, 0, 0x4000, 64, 6, 0) + _ends(self.ue.address, self.server, down)
        told = ack if flags & _ACK else 0
        offset = 5 + len(options) // 4 << 4
        packet = head + struct.pack("!HHIIBBHHH", *order, sequence, told, offset, flags, 64_000, 0, 0) + options + part
        packet += bytes(min(length - len(part), 40))
        self.ue.pass_on(down, packet, wire, deliver)
