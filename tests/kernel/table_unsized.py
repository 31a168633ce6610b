"""Rows of the packet table: IP packets whose length field is zero, and jumbograms."""

from __future__ import annotations

from typing import Any

from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, Jumbo
from scapy.layers.l2 import Dot1Q
from scapy.packet import Raw

from tests.kernel.packets import (
    DL_TEID,
    GNB6,
    QFI,
    SERVER,
    SERVER6,
    UE,
    UE6,
    UL_TEID,
    UPF6,
    downlink,
    ether,
    gtpu,
    outer,
    raw,
    tcp,
    udp,
    udp6,
    uplink,
)
from tests.kernel.table import BARE, ETH, PLAIN, PLAIN6, UP, cut_ports, grow, put, row
from tests.kernel.twin import DOWNLINK, UPLINK, Flow


def unsized(packet: Any, at: int = 2) -> Any:
    """Return an IP packet whose length field is zero; *at*: where the field is."""
    return Raw(put(raw(packet), at, 0, 0))


LONG_HOPS = IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=100_008)])  # 8 bytes
ZERO_LENGTH = [
    row(
        "an IPv4 total length of zero is the rest of the frame (segmentation offload)",
        put(ether(udp(1400)), 16, 0, 0),
        "n6",
        flow=grow(1368),
    ),
    row(
        "so it is behind a VLAN tag",
        put(raw(ETH / Dot1Q(vlan=5) / tcp(size=1400)), 20, 0, 0),
        "n6",
        flow=PLAIN._replace(proto=6, octets=1440),
    ),
    row(
        "so it is of an outer packet",
        put(ether(uplink(udp(1400))), 16, 0, 0),
        "n3",
        flow=grow(1368, UP),
    ),
    row(
        "with a UDP length of zero, which then is the rest of the packet",
        put(put(ether(uplink(udp(1400))), 16, 0, 0), 38, 0, 0),
        "n3",
        flow=grow(1368, UP),
    ),
    row(
        "the way down as the way up",
        put(ether(downlink(udp(1400, src=SERVER, dst=UE, sport=443, dport=40000))), 16, 0, 0),
        "n3",
        flow=Flow(SERVER, 443, UE, 40000, 17, 1428, True, DL_TEID, QFI, DOWNLINK),
    ),
    row(
        "an IPv6 payload length of zero is the rest of the frame",
        put(ether(udp6(1400)), 18, 0, 0),
        "n6",
        flow=grow(1368, PLAIN6),
    ),
    row(
        "so it is behind an extension header",
        put(ether(udp6(1400, extensions=IPv6ExtHdrDestOpt())), 18, 0, 0),
        "n6",
        flow=grow(1376, PLAIN6),
    ),
    row(
        "a jumbo option has the length (RFC 2675)",
        put(ether(udp6(1400, extensions=LONG_HOPS)), 18, 0, 0),
        "n6",
        flow=PLAIN6._replace(octets=40 + 100_008),
    ),
    row(
        "a jumbo option of what fits the field is malformed (RFC 2675, 3)",
        put(ether(udp6(extensions=IPv6ExtHdrHopByHop(options=[Jumbo(jumboplen=65_535)]))), 18, 0, 0),
        "n6",
        "ip_malformed",
    ),
    row(
        "an IPv6 packet without contents ends with its header",
        ether(IPv6(src=UE6, dst=SERVER6, nh=59, plen=0)) + bytes(6),
        "n6",
        flow=cut_ports(PLAIN6)._replace(proto=59, octets=40),
    ),
    row(
        "an outer IPv6 payload length of zero is the rest of the frame",
        put(ether(IPv6(src=GNB6, dst=UPF6) / outer()[UDP] / gtpu() / udp()), 18, 0, 0),
        "n3",
        flow=BARE,
    ),
    row(
        "an inner total length of zero is the rest of the message",
        ether(uplink(unsized(udp(1400)))) + bytes(4),
        "n3",
        flow=grow(1368, UP),
    ),
    row(
        "an inner payload length of zero is, too",
        ether(uplink(unsized(udp6(1400), 4))) + bytes(4),
        "n3",
        flow=PLAIN6._replace(octets=1448, gtpu=True, teid=UL_TEID, qfi=QFI, side=UPLINK),
    ),
    row(
        "a message that ends in the header of such a packet is malformed",
        outer() / gtpu(length=19) / unsized(udp()),
        "n3",
        "gtpu_gpdu",
        "inner_malformed",
    ),
]
