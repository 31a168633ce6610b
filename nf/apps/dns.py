"""Questions and answers of DNS (RFC 1035), over UDP, TCP and multicast (RFC 6762).

A parser of its own: an answer is wanted in tens of microseconds, and a message is hostile until read.
Compression pointers may only go back, and a name has at most 127 labels, so time is bounded.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from nf.apps.errors import Malformed, NeedMore, NotThis
from nf.apps.wire import clean_name

__all__ = ["Message", "parse", "parse_tcp"]

_A, _CNAME, _AAAA, _SVCB, _HTTPS = 1, 5, 28, 64, 65
_IPV4_HINT, _ECH, _IPV6_HINT = 4, 5, 6  # RFC 9460, 14.3.2; draft-ietf-tls-svcb-ech, 8
_IN = 1
_MAX_RECORDS = 128  # read of one message
_MAX_ADDRESSES = 64
_MAX_LABELS = 127  # 255 bytes of wire name (RFC 1035, 2.3.4)


@dataclass(frozen=True, slots=True)
class Message:
    """``names`` are what was asked, "" for the root; ``addresses`` are those of the answer, each with its life."""

    names: tuple[str, ...]  # one in all but multicast
    response: bool
    rcode: int
    addresses: tuple[tuple[str, int], ...] = ()  # (canonical text, seconds): the shortest TTL on the way to it
    ech: bool = False  # an HTTPS or SVCB record has keys for an encrypted ClientHello: its name will not be seen


def parse(message: bytes) -> Message:
    """Return what a message says.

    Raises NotThis when it is no DNS query or answer, Malformed when a record contradicts its length.
    A truncated answer (a cut copy) gives what its whole records say.
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
    """Return the first message of a TCP stream (RFC 1035, 4.2.2); raises also NeedMore."""
    if len(stream) < 2:
        raise NeedMore
    length = int.from_bytes(stream[:2], "big")
    if length < 12:
        raise NotThis
    if len(stream) < 2 + length:
        raise NeedMore
    return parse(stream[2 : 2 + length])


def _answers(message: bytes, at: int, count: int, asked: bytes, out: list[tuple[str, int]], keys: list[int]) -> bytes:
    """Collect addresses whose owner is *asked* or an alias of it, and the keys of its services; return the first
    owner."""
    wanted = {asked: 2**31} if asked else {}  # name to the shortest TTL of the chain that leads to it
    first = b""
    for _ in range(count):
        if at >= len(message):
            break
        try:
            owner, at = _name(message, at)
        except Malformed:
            if out:
                break  # what came before is whole
            raise
        if at + 10 > len(message):
            break
        kind, cls, ttl, length = struct.unpack_from("!HHIH", message, at)
        at += 10
        if at + length > len(message):
            break
        first = first or owner
        if not asked:
            wanted.setdefault(owner, 2**31)  # multicast answers repeat no question
        shortest = min(wanted.get(owner, -1), ttl & 0x7FFF_FFFF)
        if shortest >= 0 and cls & 0x7FFF == _IN:
            if kind == _CNAME:
                wanted[_name(message, at)[0]] = shortest
            elif (kind == _A and length == 4) or (kind == _AAAA and length == 16):
                out.append((str(ipaddress.ip_address(message[at : at + length])), shortest))
            elif kind in (_SVCB, _HTTPS):
                target = _service(message[at : at + length], shortest, out, keys)
                if target:
                    wanted[target] = shortest
        at += length
    return first


def _service(data: bytes, ttl_s: int, out: list[tuple[str, int]], keys: list[int]) -> bytes:
    """Collect the address hints and parameter keys of an SVCB or HTTPS record (RFC 9460, 2.2); return its target."""
    target, at = _name(data, 2)  # never compressed
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
    return target


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
