"""Rows of the packet table: wrappings of mirrors and networks around a packet, and Ethernet PDU sessions."""

from __future__ import annotations

from typing import Any

from scapy.contrib.mpls import MPLS
from scapy.layers.inet import GRE, IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from nf.settings import Encapsulation
from tests.kernel.packets import (
    DL_TEID,
    GNB,
    QFI,
    SERVER,
    UE,
    UPF,
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
from tests.kernel.table import BARE, ETH, PLAIN, PLAIN6, UP, Row, put, row
from tests.kernel.twin import DOWNLINK, Flow
from tests.kernel.wraps import ETHER, OUTER, SENSOR, TAP, WRAPS, labels, sgt, typed, vxlan

THROUGH = "looked_through"
PLAIN_LINK = {"nothing", "one tag", "two tags", "PPPoE"}  # wrappings that every port reads
DOWN = Flow(SERVER, 443, UE, 40000, 17, 60, True, DL_TEID, QFI, DOWNLINK)
ANSWER = downlink(udp(src=SERVER, dst=UE, sport=443, dport=40000))
NONE = Encapsulation.NONE
MIRROR = Flow(TAP, 50000, SENSOR, 4789, 17, 0)  # the tunnel itself, where nobody opens it
FIVE = ETH / Dot1AD() / Dot1Q() / Dot1Q() / Dot1Q() / Dot1Q()


def through(name: str) -> list[str]:
    """Return the counters of a frame that is wrapped like this and read."""
    return [] if name in PLAIN_LINK else [THROUGH]


def session(frame: Any) -> Any:
    """Return a tunnel packet of a PDU session of type Ethernet."""
    return outer() / gtpu() / Raw(raw(frame))


def mac(first: int) -> Ether:
    """Return an Ethernet header to an address that begins with this octet."""
    return Ether(src="02:00:00:00:00:01", dst=f"{first:02x}:5e:0c:11:22:33")


READ = [
    made
    for name, wrap in WRAPS.items()
    for made in (
        row(f"IPv4 on N6 behind {name}", wrap(udp()), "n6", *through(name), flow=PLAIN),
        row(f"IPv6 on N6 behind {name}", wrap(udp6()), "n6", *through(name), flow=PLAIN6),
        row(f"uplink on N3 behind {name}", wrap(uplink(udp())), "n3", *through(name), flow=UP),
        row(f"downlink on N3 behind {name}", wrap(ANSWER), "n3", *through(name), flow=DOWN),
        row(f"on a port for anything behind {name}", wrap(uplink(udp())), "any", *through(name), flow=UP),
        row(
            f"PFCP behind {name}",
            wrap(udp(dport=8805)),
            "n6",
            "signalling",
            *through(name),
            flow=PLAIN._replace(dport=8805),
            verdict="pass",
        ),
    )
]

LIMITS = [
    row("four labels are too many", labels(udp(), 4), "n6", "mpls_unread"),
    row(
        "ten tags are passed over",
        ETH / Dot1Q() / Dot1Q() / FIVE.payload / Dot1Q() / Dot1Q() / Dot1Q() / udp(),
        "n6",
        THROUGH,
        flow=PLAIN,
    ),
    row(
        "eleven are too many",
        ETH / Dot1Q() / Dot1Q() / Dot1Q() / FIVE.payload / Dot1Q() / Dot1Q() / Dot1Q() / udp(),
        "n6",
        "vlan_too_deep",
    ),
    row(
        "ARP in VXLAN is no flow of the tunnel",
        ETH / OUTER / UDP(sport=50000, dport=4789) / VXLAN() / ETH / ARP(),
        "n6",
        "not_ip",
    ),
    row(
        "a VXLAN header without its flag is a packet like others",
        ETH / OUTER / UDP(sport=50000, dport=4789) / VXLAN(flags=0) / ETH / udp(),
        "n6",
        "vxlan_unread",
        flow=MIRROR._replace(octets=20 + 8 + 8 + 14 + 60),
    ),
    row(
        "on N3 it is none of N3",
        ETH / OUTER / UDP(sport=50000, dport=4789) / VXLAN(flags=0) / ETH / udp(),
        "n3",
        "vxlan_unread",
        "not_gtpu",
    ),
    row(
        "GRE of another version is a packet like others",
        ETH / OUTER / GRE(version=1, proto=0x880B) / Raw(bytes(40)),
        "n6",
        "gre_unread",
        flow=Flow(TAP, 0, SENSOR, 0, 47, 64),
    ),
    row(
        "so is GRE with routing",
        ETH / OUTER / GRE(routing_present=1, proto=0x0800) / Raw(bytes(40)),
        "n6",
        "gre_unread",
        flow=Flow(TAP, 0, SENSOR, 0, 47, 68),
    ),
    row("a frame that ends in its label is truncated", raw(labels(udp(), 2))[:19], "n6", "l2_truncated"),
    row("one that ends in its group tag, too", raw(typed(sgt(udp()), 0x8909))[:19], "n6", "l2_truncated"),
    row("what MACsec encrypts has a name", put(ether(udp()), 12, 0x88, 0xE5), "n6", "macsec_unread"),
    row("so has provider backbone bridging", put(ether(udp()), 12, 0x88, 0xE7), "n6", "pbb_unread"),
]

SESSIONS = [
    row("an Ethernet frame in GTP-U is read for its IP packet", session(ETH / udp()), "n3", THROUGH, flow=BARE),
    row("of any destination address", session(mac(0x4C) / udp()), "n3", THROUGH, flow=BARE),
    row(
        "also where it looks like IPv6",
        session(mac(0x68) / tcp()),
        "n3",
        THROUGH,
        flow=BARE._replace(proto=6, octets=72),
    ),
    row("behind a tag", session(ETH / Dot1Q(vlan=5) / udp()), "any", THROUGH, flow=BARE),
    row("with IPv6 inside", session(ETH / udp6()), "n3", THROUGH, flow=PLAIN6._replace(gtpu=True, teid=BARE.teid)),
    row("behind a PDU Session Container", ETHER / uplink(Raw(raw(ETH / udp()))), "n3", THROUGH, flow=UP),
    row("in a VXLAN mirror", ETHER / vxlan(session(ETH / udp())), "n3", THROUGH, flow=BARE),
    row("ARP in it is user data that is no IP", session(ETH / ARP()), "n3", "gtpu_gpdu", "inner_not_ip"),
    row(
        "a packet longer than its message is malformed",
        ETH / outer() / gtpu(length=40) / Raw(raw(ETH / udp())),
        "n3",
        "gtpu_gpdu",
        "inner_not_ip",
    ),
]

BARE_COPIES = [
    row("a copy of a port without Ethernet header is read", raw(udp()), "n6", THROUGH, flow=PLAIN),
    row("so it is of IPv6", raw(udp6()), "n6", THROUGH, flow=PLAIN6),
    row("and of a tunnel", raw(uplink(udp())), "n3", THROUGH, flow=UP),
    row("a frame whose length is not that of such a packet is none", raw(udp()) + b"\0", "n6", "not_ip"),
]


def closed(says: str, frame: Any, role: str, *why: str, but: Encapsulation = NONE, flow: Flow | None = None) -> Row:
    """Return a row of a port on which nothing is read through, *but* these."""
    return row(says, frame, role, *why, flow=flow)._replace(opens=but)


UNREAD = [
    closed("more tags than three have a name where they are not read", FIVE / udp(), "n6", "vlan_too_deep"),
    closed("a label has", labels(udp(), 1), "n6", "mpls_unread"),
    closed("a group tag has", typed(sgt(udp()), 0x8909), "n6", "sgt_unread"),
    closed("VXLAN has, and is a flow", ETHER / vxlan(udp()), "n6", "vxlan_unread", flow=MIRROR._replace(octets=110)),
    closed("VXLAN has on N3", ETHER / vxlan(uplink(udp())), "n3", "vxlan_unread", "not_gtpu"),
    closed("GRE has", WRAPS["GRE"](udp()), "n6", "gre_unread", flow=Flow(TAP, 0, SENSOR, 0, 47, 84)),
    closed("ERSPAN has", WRAPS["ERSPAN II"](uplink(udp())), "n3", "erspan_unread", "not_gtpu"),
    closed("an Ethernet PDU session has", session(ETH / udp()), "n3", "gtpu_gpdu", "ethernet_unread"),
    closed("a copy without Ethernet header is not IP", raw(udp()), "n6", "not_ip"),
    closed("one kind alone can be read", ETHER / vxlan(udp()), "n6", THROUGH, but=Encapsulation.VXLAN, flow=PLAIN),
    closed(
        "and another one in it is not",
        ETHER / OUTER / UDP(sport=50000, dport=4789) / VXLAN() / typed(ETH / MPLS(s=1) / udp(), 0x8847),
        "n6",
        "mpls_unread",
        but=Encapsulation.VXLAN,
        flow=MIRROR._replace(octets=114),
    ),
    closed("GTP-U is none of them", uplink(udp()), "n3", flow=UP),
    closed("nor is PPPoE", WRAPS["PPPoE"](udp()), "n6", flow=PLAIN),
]

# On N6 a TCP segment of another protocol than GRE, and UDP to another port than 4789, come from nobody's mirror.
PLAIN_ONES = [
    row(
        "UDP from port 4789 is none",
        IP(src=GNB, dst=UPF) / UDP(sport=4789, dport=443) / Raw(bytes(40)),
        "n6",
        flow=Flow(GNB, 4789, UPF, 443, 17, 68),
    ),
    row(
        "IPv6 in IPv6 is a flow without ports",
        IPv6(src="2001:db8::1", dst="2001:db8::2", nh=41) / Raw(bytes(40)),
        "n6",
        flow=Flow("2001:db8::1", 0, "2001:db8::2", 0, 41, 80),
    ),
]

WRAPPED = [*READ, *LIMITS, *SESSIONS, *BARE_COPIES, *UNREAD, *PLAIN_ONES]
