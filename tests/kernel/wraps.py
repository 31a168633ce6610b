"""One packet in each of the wrappings that mirrors and networks use, as scapy layers."""

from __future__ import annotations

from collections.abc import Callable

from scapy.contrib.erspan import ERSPAN_II, ERSPAN_III
from scapy.contrib.mpls import MPLS, EoMCW
from scapy.layers.inet import GRE, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
TAP, SENSOR = "198.51.100.1", "198.51.100.2"
OUTER, OUTER6 = IP(src=TAP, dst=SENSOR), IPv6(src="2001:db8:a::1", dst="2001:db8:a::2")
Wrap = Callable[[Packet], Packet]


def sgt(packet: Packet) -> Packet:
    """Return *packet* behind a tag of Cisco TrustSec: ethertype, version, length, option, group, ethertype."""
    kind = 0x86DD if IPv6 in packet else 0x0800
    return ETHER.copy() / Raw(b"\x01\x01\0\x01\0\x2a" + kind.to_bytes(2, "big") + bytes(packet))


def typed(frame: Packet, kind: int) -> Packet:
    """Return *frame* with another ethertype."""
    frame = frame.copy()
    frame[Ether].type = kind
    return frame


def labels(packet: Packet, count: int) -> Packet:
    """Return *packet* behind so many MPLS labels."""
    for i in range(count):
        packet = MPLS(label=100 + i, s=int(i == 0)) / packet
    return typed(ETHER / packet, 0x8847)


def ppp(packet: Packet) -> Packet:
    """Return *packet* in a PPPoE session."""
    return ETHER / PPPoE(sessionid=1) / PPP(proto=0x57 if IPv6 in packet else 0x21) / packet


def vxlan(packet: Packet) -> Packet:
    """Return *packet* in an Ethernet frame in VXLAN."""
    return OUTER / UDP(sport=50000, dport=4789) / VXLAN(vni=7) / ETHER / packet


WRAPS: dict[str, Wrap] = {
    "nothing": lambda p: ETHER / p,
    "one tag": lambda p: ETHER / Dot1Q(vlan=5) / p,
    "two tags": lambda p: ETHER / Dot1AD(vlan=5) / Dot1Q(vlan=6) / p,
    "five tags": lambda p: ETHER / Dot1AD() / Dot1Q() / Dot1Q() / Dot1Q() / Dot1Q() / p,
    "a group tag": lambda p: typed(sgt(p), 0x8909),
    "PPPoE": ppp,
    "a label": lambda p: labels(p, 1),
    "three labels": lambda p: labels(p, 3),
    "a pseudowire": lambda p: labels(EoMCW() / ETHER / p, 2),
    "a pseudowire without control word": lambda p: labels(ETHER / p, 1),
    "VXLAN": lambda p: ETHER / vxlan(p),
    "VXLAN over IPv6": lambda p: ETHER / OUTER6 / UDP(sport=50000, dport=4789) / VXLAN(vni=7) / ETHER / p,
    "VXLAN behind a tag, with a tag inside": lambda p: ETHER / Dot1Q(vlan=3) / vxlan(Dot1Q(vlan=4) / p),
    "GRE": lambda p: ETHER / OUTER / GRE(proto=0x86DD if IPv6 in p else 0x0800) / p,
    "GRE with a key and a number": lambda p: (
        ETHER / OUTER / GRE(proto=0x6558, key_present=1, key=9, seqnum_present=1, seqence_number=1) / ETHER / p
    ),
    "GRE over IPv6": lambda p: ETHER / OUTER6 / GRE(proto=0x6558) / ETHER / p,
    "MPLS in GRE": lambda p: ETHER / OUTER / GRE(proto=0x8847) / MPLS(label=16, s=1) / p,
    "ERSPAN I": lambda p: ETHER / OUTER / GRE(proto=0x88BE) / Raw(bytes(ETHER / p)),
    "ERSPAN II": lambda p: ETHER / OUTER / GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II() / ETHER / p,
    "ERSPAN III": lambda p: ETHER / OUTER / GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III() / ETHER / p,
    "ERSPAN III with the platform's part": lambda p: (
        ETHER / OUTER / GRE(proto=0x22EB, seqnum_present=1) / ERSPAN_III(o=1) / Raw(bytes(8) + bytes(ETHER / p))
    ),
    "VXLAN in VXLAN": lambda p: ETHER / vxlan(vxlan(p)),
}
