"""Packets put together at random: any stack of headers that N3 and N6 may carry, with true lengths.

Bytes, not scapy, for a million of them: layouts from IEEE 802.1Q, RFC 791, RFC 8200, RFC 4302, RFC 768, RFC 9293 and
TS 29.281, 5. Check sums are left at zero; no XDP program can see a wrong one that the card did not.
"""

from __future__ import annotations

import random
import struct

from tests.kernel.twin import (
    AUTHENTICATION,
    DESTINATION,
    FRAGMENT,
    HOP_BY_HOP,
    IPV4,
    IPV6,
    MOBILITY,
    PPPOE,
    ROUTING,
    TCP,
    UDP,
)

MACS = bytes.fromhex("020000000002020000000001")
VLANS = (0x8100, 0x88A8, 0x9100)
PORTS = (53, 443, 2123, 2152, 8805, 40000, 0, 65535)
TRANSPORT = (TCP, TCP, UDP, UDP, UDP, 1, 50, 58, 132, 59)
MESSAGES = (255, 255, 255, 255, 255, 255, 1, 2, 26, 31, 253, 254, 16)
GTPU_TYPES = (0x85, 0x85, 0x85, 0x40, 0x81, 0xC0, 0x20, 0x03, 0x32)
IP6_TYPES = (HOP_BY_HOP, ROUTING, DESTINATION, AUTHENTICATION, MOBILITY, FRAGMENT)
UNSIZED = 0.05  # share of IP packets whose length field is zero
JUMBO = b"\xc2\x04"  # RFC 2675, 2
LONG = 0.02  # share of extension headers that go far
LONGEST_BYTES = 3000  # of a frame: a test run takes 3400
FEW = (0, 0, 0, 0, 1, 1, 2, 3)


def composed(chance: random.Random) -> bytes:
    """Return one frame of 14 bytes or more."""
    tags = chance.choice((*FEW, 4))
    tunnelled = chance.random() < 0.75
    content = _gtpu(chance, _ip(chance)[1]) if tunnelled else b""
    kind, packet = _ip(chance, content if tunnelled else None)
    vlan = b"".join(struct.pack("!HH", chance.choice(VLANS), chance.randrange(4096)) for _ in range(tags))
    if chance.random() < 0.05:
        kind, packet = PPPOE, _pppoe(chance, packet)
    trailer = bytes(chance.choice((0, 0, 0, 4, 18)))
    return (MACS + vlan + struct.pack("!H", kind) + packet + trailer)[:LONGEST_BYTES]


def _pppoe(chance: random.Random, packet: bytes) -> bytes:
    """Return *packet* in a PPPoE session (RFC 2516), sometimes of another version or code."""
    version, code = chance.choice((0x11, 0x11, 0x11, 0x12)), chance.choice((0, 0, 0, 9))
    return struct.pack("!BBHHH", version, code, 3, len(packet) + 2, chance.choice((0x21, 0x57, 0xC021))) + packet


def _ip(chance: random.Random, tunnel: bytes | None = None) -> tuple[int, bytes]:
    """Return (ethertype, packet) around a tunnel message, or around any transport."""
    if tunnel is not None:
        sport = chance.choice(PORTS)
        proto, content = UDP, struct.pack("!HHHH", sport, 2152, 8 + len(tunnel), 0) + tunnel
    else:
        proto = chance.choice(TRANSPORT)
        content = _transport(chance, proto)
    if chance.random() < 0.6:
        return IPV4, _ipv4(chance, proto, content)
    return IPV6, _ipv6(chance, proto, content)


def _ipv4(chance: random.Random, proto: int, content: bytes) -> bytes:
    words = 5 + (chance.randrange(11) if chance.random() < 0.2 else 0)
    field = chance.choice((0x4000, 0x4000, 0x4000, 0, 0, 0x2000, 185, 0x2000 | 185))
    addresses = bytes([10, 45, 0, chance.randrange(1, 5), 192, 0, 2, chance.randrange(1, 5)])
    total = words * 4 + len(content) if chance.random() > UNSIZED else 0
    head = struct.pack("!BBHHHBBH", 0x40 | words, 0, total, chance.randrange(9), field, 64, proto, 0)
    return head + addresses + b"\x01" * (words * 4 - 20) + content


def _ipv6(chance: random.Random, proto: int, content: bytes) -> bytes:
    kinds = [chance.choice(IP6_TYPES) for _ in range(chance.choice((*FEW, 5, 6, 7)))]
    walk = b""
    for kind, following in zip(kinds, [*kinds[1:], proto], strict=False):
        walk += _extension6(chance, kind, following)
    addresses = bytes.fromhex("20010db8004500000000000000000002" + "20010db8008000000000000000000080")
    first = kinds[0] if kinds else proto
    size = len(walk) + len(content) if chance.random() > UNSIZED else 0
    return struct.pack("!IHBB", 6 << 28, size, first, 64) + addresses + walk + content


def _extension6(chance: random.Random, kind: int, following: int) -> bytes:
    if kind == FRAGMENT:
        return struct.pack("!BBHI", following, 0, chance.choice((0, 1, 185 << 3, 185 << 3 | 1)), chance.randrange(9))
    if kind == HOP_BY_HOP and chance.random() < UNSIZED:
        return bytes([following, 0]) + JUMBO + struct.pack("!I", chance.choice((40, 65_535, 65_536, 99_999, 1 << 24)))
    units = chance.choice((0, 0, 1, 2)) if chance.random() > LONG else chance.randrange(128)
    length = (units + 3) * 4 if kind == AUTHENTICATION else (units + 1) * 8
    return bytes([following, units + 1 if kind == AUTHENTICATION else units]) + bytes(length - 2)


def _transport(chance: random.Random, proto: int) -> bytes:
    payload = bytes(chance.randrange(60))
    sport, dport = chance.choice(PORTS), chance.choice(PORTS)
    if proto == UDP:
        return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload
    if proto == TCP:
        words = chance.choice((5, 5, 8, 15))
        stamp = b"\x01\x01\x08\x0a" + bytes(8)
        options = (stamp + b"\x01" * 28)[: words * 4 - 20]
        head = struct.pack("!HHIIBBHHH", sport, dport, chance.randrange(1 << 32), 1, words << 4, 0x18, 9, 0, 0)
        return head + options + payload
    return payload


def _gtpu(chance: random.Random, packet: bytes) -> bytes:
    message = chance.choice(MESSAGES)
    flags = 0x30 | chance.choice((0, 0, 1, 2, 3, 4, 4, 4, 4, 5, 6, 7))
    optional = b""
    if flags & 7:
        kinds = [chance.choice(GTPU_TYPES) for _ in range(chance.choice((*FEW, 1, 1, 8, 9)))]
        optional = chance.randbytes(3) + bytes(kinds[:1] if flags & 4 and kinds else [0])
        if flags & 4:
            for following in (*kinds[1:], 0) if kinds else ():
                units = chance.choice((1, 1, 1, 2, 3)) if chance.random() > LONG else chance.randrange(1, 256)
                optional += bytes([units]) + chance.randbytes(units * 4 - 2) + bytes([following])
    return struct.pack("!BBHI", flags, message, len(optional) + len(packet), 0x100) + optional + packet
