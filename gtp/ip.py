"""From frames to UDP datagrams, with bounded reassembly: PFCP itself arrives fragmented.

Sans-IO and small on purpose: it does only what a mirrored control interface needs. Frames that are not
UDP over IP are passed over and not counted.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from gtp.link import IPV4, IPV6, ip_packet

__all__ = ["Datagram", "UdpReader"]

_UDP, _FRAGMENT, _NOTHING = 17, 44, 59
_EXTENSIONS = frozenset((0, 43, 60, 135))  # hop-by-hop, routing, destination options, mobility
_MAX_PENDING = 256  # datagrams in reassembly
_MAX_BYTES = 65_535
_TIMEOUT_S = 30.0  # RFC 8200, 4.5 allows 60; a control interface is a short path


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram."""

    src: str
    sport: int
    dst: str
    dport: int
    payload: bytes


@dataclass(slots=True)
class _Pending:
    since_s: float
    parts: dict[int, bytes] = field(default_factory=dict)
    total: int | None = None
    size: int = 0  # of all parts

    def add(self, at: int, data: bytes, more: bool) -> bool:
        """Take a part; False when there is more of it than any datagram has."""
        if at not in self.parts:  # the first copy counts: a later one could rewrite it
            self.parts[at] = data
            self.size += len(data)
        if not more:
            self.total = at + len(data)
        return self.size <= _MAX_BYTES

    def whole(self) -> bytes | None:
        if self.total is None or self.size < self.total:
            return None
        out = bytearray()
        for at in sorted(self.parts):
            if at > len(out):
                return None
            out += self.parts[at][len(out) - at :]
        return bytes(out[: self.total]) if len(out) >= self.total else None


class UdpReader:
    """Reads frames; ``counters`` names what was lost: truncated, fragments_dropped, fragments_timeout, reassembled."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._pending: OrderedDict[tuple[bytes, bytes, int], _Pending] = OrderedDict()

    def feed(self, frame: bytes, at_s: float, link: str = "ethernet") -> list[Datagram]:
        """Return the datagrams that *frame* completes: one, or none. *link* is "ethernet" or "ip"."""
        if link == "ethernet":
            kind, at = ip_packet(frame) or (0, 0)
        else:
            kind, at = {4: IPV4, 6: IPV6}.get(frame[0] >> 4 if frame else 0, 0), 0
        return self.feed_ip(kind, frame[at:], at_s)

    def feed_ip(self, kind: int, packet: bytes, at_s: float) -> list[Datagram]:
        """Return the datagrams that an IP packet, of the ethertype *kind*, completes."""
        if kind == IPV4:
            return self._ipv4(packet, at_s)
        return self._ipv6(packet, at_s) if kind == IPV6 else []

    def _ipv4(self, p: bytes, at_s: float) -> list[Datagram]:
        if len(p) < 20 or p[0] >> 4 != 4 or p[9] != _UDP:
            return []
        size, total = (p[0] & 15) * 4, int.from_bytes(p[2:4], "big")
        total = total or len(p)  # segmentation offload writes zero
        if size < 20 or total < size or len(p) < total:
            self.counters["truncated"] += 1
            return []
        flags = int.from_bytes(p[6:8], "big")
        body = p[size:total]
        if flags & 0x3FFF:
            key = (p[12:16], p[16:20], int.from_bytes(p[4:6], "big"))
            whole = self._fragment(key, (flags & 0x1FFF) * 8, body, bool(flags & 0x2000), at_s)
            if whole is None:
                return []
            body = whole
        return self._udp(p[12:16], p[16:20], body)

    def _ipv6(self, p: bytes, at_s: float) -> list[Datagram]:
        if len(p) < 40 or p[0] >> 4 != 6:
            return []
        total = 40 + int.from_bytes(p[4:6], "big")
        if total == 40 and p[6] != _NOTHING:
            total = len(p)
        kind, at = p[6], 40
        body: bytes | None = None
        for _ in range(8):
            if kind in _EXTENSIONS and len(p) >= at + 8:
                kind, at = p[at], at + (p[at + 1] + 1) * 8
            elif kind == _FRAGMENT and len(p) >= at + 8:
                kind, field_ = p[at], int.from_bytes(p[at + 2 : at + 4], "big")
                number = int.from_bytes(p[at + 4 : at + 8], "big")
                at += 8
                if kind == _UDP and field_ & 0xFFF9:
                    body = self._fragment(
                        (p[8:24], p[24:40], number), field_ & 0xFFF8, p[at:total], field_ & 1 == 1, at_s
                    )
                    if body is None:
                        return []
                    break
            else:
                break
        if kind != _UDP:
            return []
        if len(p) < total:
            self.counters["truncated"] += 1
            return []
        return self._udp(p[8:24], p[24:40], p[at:total] if body is None else body)

    def _fragment(self, key: tuple[bytes, bytes, int], at: int, data: bytes, more: bool, at_s: float) -> bytes | None:
        while self._pending:
            oldest = next(iter(self._pending.values()))
            if at_s - oldest.since_s < _TIMEOUT_S and (len(self._pending) < _MAX_PENDING or key in self._pending):
                break
            self._pending.popitem(last=False)
            self.counters["fragments_timeout"] += 1
        if at + len(data) > _MAX_BYTES or (more and len(data) % 8) or not data:
            self.counters["fragments_dropped"] += 1
            return None
        pending = self._pending.setdefault(key, _Pending(at_s))
        if not pending.add(at, data, more):  # they overlap without end
            del self._pending[key]
            self.counters["fragments_dropped"] += 1
            return None
        whole = pending.whole()
        if whole is not None:
            del self._pending[key]
            self.counters["reassembled"] += 1
        return whole

    def _udp(self, src: bytes, dst: bytes, body: bytes) -> list[Datagram]:
        if len(body) < 8:
            self.counters["truncated"] += 1
            return []
        length = int.from_bytes(body[4:6], "big") or len(body)  # zero: too long for the field (RFC 2675, 4)
        if not 8 <= length <= len(body):
            self.counters["truncated"] += 1
            return []
        return [
            Datagram(
                str(ipaddress.ip_address(src)),
                int.from_bytes(body[0:2], "big"),
                str(ipaddress.ip_address(dst)),
                int.from_bytes(body[2:4], "big"),
                body[8:length],
            )
        ]
