"""Packets without end, the same ones each time: sound ones that are damaged, and composed ones that may be."""

from __future__ import annotations

import random
from collections.abc import Iterator

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Jumbo,
)
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE

from tests.kernel.compose import composed
from tests.kernel.packets import (
    GNB,
    GNB6,
    SERVER,
    UE,
    UPF,
    UPF6,
    chain,
    downlink,
    ether,
    extension,
    gtpu,
    optional,
    outer,
    raw,
    tcp,
    udp,
    udp6,
    uplink,
)
from tests.kernel.wraps import WRAPS

# Values on the edge of something: versions, header lengths, types, flags, ports.
TELLING = b"\x00\x01\x02\x04\x06\x07\x08\x11\x14\x1a\x1f\x28\x2b\x2c\x2f\x30\x32\x33\x34\x37\x3a\x3b\x3c\x3f"
TELLING += b"\x40\x45\x46\x4f\x60\x6f\x7f\x80\x81\x85\x87\xc0\xf0\xfd\xfe\xff"
DAMAGES = (1, 1, 1, 2, 3)  # number of damages that a frame suffers
HEADERS_BYTES = 150  # the part of a frame in which damage matters


def put(frame: bytes, at: int, octets: bytes) -> bytes:
    """Return *frame* with octets overwritten."""
    return frame[:at] + octets + frame[at + len(octets) :]


def sound() -> list[bytes]:
    """Return one frame of each kind that the program knows."""
    walk = IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt()
    tagged = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    outer6 = IPv6(src=GNB6, dst=UPF6)
    first_fragment = IP(src=GNB, dst=UPF, flags="MF") / UDP(sport=2152, dport=2152, len=1400)
    its_packet = IP(src=UE, dst=SERVER, len=1384) / UDP(len=1364)
    return [
        ether(uplink(udp())),
        ether(downlink(tcp(options=[("Timestamp", (1, 2))]))),
        ether(uplink(udp6(extensions=walk))),
        ether(outer() / gtpu() / tcp("S", 0)),
        ether(outer() / gtpu(S=1, seq=7) / udp()),
        ether(outer() / raw(gtpu(E=1, S=1, PN=1, next_ex=0x40, length=4 + 16 + 60))[:12] / chain(4) / udp()),
        ether(outer() / gtpu(message=1, teid=0, S=1)),
        ether(outer() / gtpu(message=26, teid=0, S=1) / b"\x10\0\0\1\0\x85\0\4\x0a\x0a\0\2"),
        ether(outer() / gtpu(message=254)),
        ether(outer6 / UDP(sport=2152, dport=2152) / gtpu() / udp6(extensions=IPv6ExtHdrFragment(m=1))),
        ether(outer6 / IPv6ExtHdrDestOpt() / UDP(sport=9, dport=2152) / gtpu() / udp()),
        raw(tagged / Dot1Q(vlan=5) / uplink(udp(dport=2152) / gtpu() / udp())),
        raw(tagged / Dot1AD(vlan=5) / Dot1Q(vlan=6) / Dot1Q(vlan=7) / downlink(IP(src=SERVER, dst=UE) / ICMP())),
        ether(outer() / gtpu(E=1, next_ex=0x81) / extension(bytes(6), 0x85) / extension(b"\x10\x05") / udp()),
        ether(outer() / gtpu(PN=1) / (IP(src=UE, dst=SERVER, proto=50) / (b"\1" * 40))),
        ether(uplink(IP(src=UE, dst=SERVER, frag=185, proto=17) / (b"\1" * 40))),
        ether(first_fragment / gtpu(length=1384) / its_packet),
        ether(udp()),
        ether(tcp()),
        ether(udp6()),
        ether(udp(dport=8805)),
        ether(outer() / optional() / udp()),
        put(ether(uplink(tcp(size=1400))), 16, b"\0\0"),
        put(ether(udp6(extensions=IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=70_000)]))), 18, b"\0\0"),
        *(raw(wrap(uplink(tcp()))) for wrap in WRAPS.values()),
        ether(outer() / gtpu() / raw(tagged / udp())),
        raw(tagged / Dot1Q(vlan=5, type=0x8864) / PPPoE(sessionid=3) / PPP(proto=0x21) / tcp()),
    ]


def damaged(seed: int, count: int) -> Iterator[bytes]:
    """Yield *count* frames, each a sound one with one to three kinds of damage."""
    chance = random.Random(seed)
    base = sound()
    for _ in range(count):
        frame = bytearray(chance.choice(base))
        for _ in range(chance.choice(DAMAGES)):
            _damage(frame, chance)
        yield bytes(frame)


def anything(seed: int, count: int) -> Iterator[bytes]:
    """Yield *count* frames: half of them as `damaged`, a quarter composed, a quarter composed and then damaged."""
    chance = random.Random(seed)
    for i, frame in enumerate(damaged(chance.randrange(1 << 32), count)):
        if i % 2:
            yield frame
            continue
        other = bytearray(composed(chance))
        for _ in range(chance.choice(DAMAGES) if i % 4 else 0):
            _damage(other, chance)
        yield bytes(other)


def _damage(frame: bytearray, chance: random.Random) -> None:
    at = chance.randrange(12, max(13, min(len(frame), HEADERS_BYTES)))
    kind = chance.randrange(8)
    if kind < 3 and at < len(frame):
        frame[at] = chance.choice(TELLING)
    elif kind == 3 and at < len(frame):
        frame[at] ^= 1 << chance.randrange(8)
    elif kind == 4 and at < len(frame):
        frame[at] = chance.randrange(256)
    elif kind == 5:
        del frame[max(14, at) :]
    elif kind == 6:
        frame.extend(bytes(chance.randrange(1, 40)))
    else:
        frame[at:at] = frame[at : at + chance.choice((1, 2, 4, 8))]
