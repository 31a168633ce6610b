"""Questions and answers of DNS (RFC 1035), over UDP, TCP and multicast (RFC 6762).

A parser of its own: an answer is wanted in tens of microseconds, and a message is hostile until read.
Compression pointers may only go back, and a name has at most 127 labels, so time is bounded.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from nf.apps.parsers.cursor import Pieces, clean_name
from nf.apps.parsers.errors import Malformed, NeedMore, NoName, NotThis

__all__ = ["Message", "Stream", "parse", "parse_tcp"]

_A, _CNAME, _AAAA, _SVCB, _HTTPS = 1, 5, 28, 64, 65
_ALIASES = (_CNAME, _SVCB, _HTTPS)  # records that lead to another name
_IPV4_HINT, _ECH, _IPV6_HINT = 4, 5, 6  # RFC 9460, 14.3.2; draft-ietf-tls-svcb-ech, 8
_IN = 1
_MAX_RECORDS = 128  # read of one message
_MAX_ADDRESSES = 64
_FOREVER = 2**31  # seconds; no TTL is longer (RFC 2181, 8)
_MAX_STREAM, _MAX_SEGMENTS = 65_537 + 8_192, 24  # kept of a TCP stream: its largest message, and early segments
_MAX_LABELS = 127  # 255 bytes of wire name (RFC 1035, 2.3.4)


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``names``: the names asked, "" for the root; ``addresses``: those of the answer, with their TTLs."""

    names: tuple[str, ...]  # one in all but multicast
    response: bool
    rcode: int
    addresses: tuple[tuple[str, int], ...] = ()  # (canonical text, seconds): the shortest TTL on the way to it
    ech: bool = False  # an HTTPS or SVCB record has keys for an encrypted ClientHello: its name will not be seen


def parse(message: bytes) -> Message:
    """Return the names and addresses of a message.

    Raises NotThis when it is no DNS query or answer, Malformed when a record contradicts its length.
    A truncated answer (a cut copy) gives the data of its whole records.
    """
    if len(message) < 12:
        raise NotThis
    _, flags, questions, answers, authority, additional = struct.unpack_from("!6H", message)
    response = bool(flags & 0x8000)
    if flags & 0x7800 or not 0 <= questions <= 32 or (not questions and not (response and answers)):
        raise NotThis  # other opcodes than QUERY name nothing
    if answers + authority + additional > 4096 or (not response and answers > 256):
        raise NotThis
    at = 12
    asked: list[bytes] = []
    for _ in range(questions):
        name, at = _name(message, at)
        at += 4
        if at > len(message):
            raise Malformed
        asked.append(name)
    addresses: list[tuple[str, int]] = []
    keys: list[int] = []
    if response:
        owner = _answers(message, at, min(answers, _MAX_RECORDS), asked[0] if asked else b"", addresses, keys)
        asked = asked or [owner]
    names = tuple(clean_name(name) if name else "" for name in asked)
    return Message(names, response, flags & 15, tuple(addresses[:_MAX_ADDRESSES]), _ECH in keys)


def parse_tcp(stream: bytes) -> Message:
    """Return the first message of a TCP stream (RFC 1035, 4.2.2); raise NeedMore as well."""
    if len(stream) < 2:
        raise NeedMore
    length = int.from_bytes(stream[:2], "big")
    if length < 12:
        raise NotThis
    if len(stream) < 2 + length:
        raise NeedMore
    return parse(stream[2 : 2 + length])


@dataclass(slots=True)
class Stream:
    """The messages of one direction of a TCP connection, any number behind each other (RFC 7766, 6.2.1).

    Segments come in any order and several times. The begin of the first message is not known before one was read,
    so each segment is tried. A hole that is not filled is left behind, and the search begins anew.
    """

    first: int | None = None  # sequence number that offsets count from
    at: int | None = None  # offset of the next message, when one was read before
    pieces: Pieces = field(default_factory=lambda: Pieces(_MAX_STREAM, _MAX_SEGMENTS, rolling=True))

    def feed(self, seq: int, data: bytes) -> Iterator[Message]:
        """Add a segment; yield the messages that are whole with it, each once."""
        self.first = seq if self.first is None else self.first
        distance = (seq - self.first) & 0xFFFF_FFFF  # RFC 9293, 3.4: modulo 2**32
        distance -= 1 << 32 if distance >= 1 << 31 else 0
        if self.at is not None and distance + len(data) <= self.at:
            return  # these bytes were read before
        self.pieces.add(distance, data)
        if self.at is not None and len(self.pieces) >= _MAX_SEGMENTS and not self.pieces.start(self.at):
            self.at = None  # the missing bytes do not come
        starts = [self.at] if self.at is not None else self.pieces.offsets()
        for at in starts:
            begun = self.at
            yield from self._from(at)
            if self.at != begun:
                break

    def _from(self, at: int) -> Iterator[Message]:
        """Yield the whole messages from an offset on, and remember the offset of the next one."""
        stream, read = self.pieces.start(at), 0
        while True:
            try:
                message = parse_tcp(stream[read:])
            except NeedMore:
                break
            except NoName:
                if self.at is not None:
                    self.at = None  # not the beginning of a message after all
                    self.pieces.drop(at + read + 1)
                break
            read += 2 + int.from_bytes(stream[read : read + 2], "big")
            self.at = at + read
            yield message
        if self.at is not None:
            self.pieces.drop(self.at)


def _answers(message: bytes, at: int, count: int, asked: bytes, out: list[tuple[str, int]], keys: list[int]) -> bytes:
    """Collect addresses whose owner is *asked* or an alias of it, and the keys of its services; return the first
    owner. The order of records says nothing (RFC 1034, 3.6)."""
    records = list(_records(message, at, count))
    first = records[0].owner if records else b""
    # Name to the shortest TTL on the way to it. Multicast answers repeat no question: each owner is one.
    wanted = {asked: _FOREVER} if asked else {r.owner: _FOREVER for r in records}
    _follow(message, wanted, [r for r in records if r.kind in _ALIASES])
    for r in records:
        if r.owner not in wanted:
            continue
        data, ttl_s = message[r.at : r.at + r.length], min(wanted[r.owner], r.ttl_s)
        if (r.kind == _A and r.length == 4) or (r.kind == _AAAA and r.length == 16):
            out.append((str(ipaddress.ip_address(data)), ttl_s))
        elif r.kind in (_SVCB, _HTTPS):
            _service(data, ttl_s, out, keys)
    return first


@dataclass(frozen=True, slots=True)
class _Record:
    """A resource record of class IN; its data are *length* bytes at an offset into the message."""

    owner: bytes
    kind: int
    ttl_s: int
    at: int
    length: int


def _records(message: bytes, at: int, count: int) -> Iterator[_Record]:
    """Yield the whole records of a section. Raises Malformed when the first has no name."""
    for number in range(count):
        if at >= len(message):
            return
        try:
            owner, at = _name(message, at)
        except Malformed:
            if number:
                return  # the records before it are whole
            raise
        if at + 10 > len(message):
            return
        kind, cls, ttl, length = struct.unpack_from("!HHIH", message, at)
        at += 10
        if at + length > len(message):
            return
        if cls & 0x7FFF == _IN:  # RFC 6762, 10.2: the top bit flushes caches
            yield _Record(owner, kind, ttl & 0x7FFF_FFFF, at, length)
        at += length


def _follow(message: bytes, wanted: dict[bytes, int], aliases: list[_Record]) -> None:
    """Add the names to which aliases lead from *wanted*; each owner is followed once, so a circle ends."""
    of: dict[bytes, list[_Record]] = {}
    for r in aliases:
        of.setdefault(r.owner, []).append(r)
    owners = list(wanted) if of else []
    while owners:
        owner = owners.pop()
        for r in of.pop(owner, ()):
            # The name of a service is never compressed (RFC 9460, 2.2); "." is its owner.
            target = _name(message, r.at)[0] if r.kind == _CNAME else _name(message[r.at : r.at + r.length], 2)[0]
            if target and target not in wanted:
                wanted[target] = min(wanted[owner], r.ttl_s)
                owners.append(target)


def _service(data: bytes, ttl_s: int, out: list[tuple[str, int]], keys: list[int]) -> None:
    """Collect the address hints and parameter keys of an SVCB or HTTPS record (RFC 9460, 2.2)."""
    _, at = _name(data, 2)
    while at + 4 <= len(data) and len(out) < _MAX_ADDRESSES:
        key, length = struct.unpack_from("!HH", data, at)
        at += 4
        if at + length > len(data):
            raise Malformed
        size = {_IPV4_HINT: 4, _IPV6_HINT: 16}.get(key)
        if size:
            hints = (data[i : i + size] for i in range(at, at + length - size + 1, size))
            out.extend((str(ipaddress.ip_address(hint)), ttl_s) for hint in hints)
        keys.append(key)
        at += length


def _name(message: bytes, at: int) -> tuple[bytes, int]:
    """Return the name at an offset, its labels joined by dots and in lower case, and the offset behind it."""
    labels: list[bytes] = []
    behind, size = 0, 0
    while True:
        if at >= len(message):
            raise Malformed
        n = message[at]
        if n == 0:
            break
        if n >= 0xC0:
            if at + 2 > len(message):
                raise Malformed
            to = (n & 0x3F) << 8 | message[at + 1]
            behind = behind or at + 2
            if to >= at:
                raise Malformed  # only a prior occurrence may be meant (RFC 1035, 4.1.4)
            at = to
            continue
        label = message[at + 1 : at + 1 + n]
        size += n + 1
        if n > 63 or len(label) < n or size > 254 or len(labels) >= _MAX_LABELS:
            raise Malformed
        labels.append(label)
        at += 1 + n
    return b".".join(labels).lower(), behind or at + 1
