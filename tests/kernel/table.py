"""The table of packets: a sentence, a frame, the port it comes in at, and what the program owes.

Expected values follow from how scapy was asked to build the frame and from the clause a row names. Frames are the
first of their flow; there are no sessions. `why` are the counters beside the books (frames, octets, verdict, flow).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_NOP, IPOption_RR
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, LLC, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.ppp import PPP, PPPoE, PPPoED
from scapy.packet import Packet, Raw

from nf.settings import Encapsulation
from tests.kernel.packets import (
    DL_TEID,
    GNB,
    GNB6,
    QFI,
    SERVER,
    SERVER6,
    UE,
    UE6,
    UL_TEID,
    UPF,
    UPF6,
    chain,
    downlink,
    ether,
    extension,
    gtpu,
    optional,
    outer,
    psc,
    raw,
    tcp,
    udp,
    udp6,
    uplink,
)
from tests.kernel.twin import DOWNLINK, UPLINK, Flow
from tests.kernel.wrappings import ALL


class Row(NamedTuple):
    """One line of the table."""

    says: str
    frame: bytes
    role: str
    why: frozenset[str]
    flow: Flow | None
    verdict: str
    opens: Encapsulation = ALL  # encapsulations that are read through on the port


def row(says: str, frame: Any, role: str, *why: str, flow: Flow | None = None, verdict: str = "drop") -> Row:
    """Return a row; scapy layers without Ethernet get one."""
    if isinstance(frame, Packet):
        frame = ether(frame) if not isinstance(frame, Ether | Dot3) else raw(frame)
    return Row(says, frame, role, frozenset(why), flow, verdict)


PLAIN = Flow(UE, 40000, SERVER, 443, 17, 60)  # udp() of packets.py: 20 + 8 + 32 bytes
PLAIN6 = Flow(UE6, 40000, SERVER6, 443, 17, 80)
OUTER = Flow(GNB, 2152, UPF, 2152, 17, 0)  # the tunnel itself, where nobody opens it
BARE = PLAIN._replace(gtpu=True, teid=UL_TEID)  # in a tunnel without PDU Session Container
UP = BARE._replace(qfi=QFI, side=UPLINK)
ETH = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
HOPS = IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt()  # 8 bytes each
WITH_OPTIONS = [IPOption_RR(routers=["192.0.2.1"] * 3), IPOption_NOP()]  # 16 bytes


def put(frame: bytes, at: int, *octets: int) -> bytes:
    """Return *frame* with octets overwritten: for what scapy would not write."""
    return frame[:at] + bytes(octets) + frame[at + len(octets) :]


def grow(extra: int, flow: Flow = PLAIN) -> Flow:
    """Return *flow* with *extra* bytes more in its first packet."""
    return flow._replace(octets=flow.octets + extra)


def cut_ports(flow: Flow) -> Flow:
    """Return *flow* as it is known when the ports are not in the packet."""
    return flow._replace(sport=0, dport=0)


def far(bytes_: int) -> Any:
    """Return an IPv6 packet with a destination options header of *bytes_*, and UDP behind it."""
    return IPv6(src=UE6, dst=SERVER6, nh=60) / Raw(bytes([17, bytes_ // 8 - 1]) + bytes(bytes_ - 2)) / udp6()[UDP]


LINK = [
    row("an untagged IPv4 packet is a flow", udp(), "n6", flow=PLAIN),
    row("a VLAN tag is passed over", ETH / Dot1Q(vlan=5) / udp(), "n6", flow=PLAIN),
    row("a service tag and a customer tag are passed over", ETH / Dot1AD() / Dot1Q() / udp(), "n6", flow=PLAIN),
    row(
        "an old QinQ tag 0x9100 is passed over",
        put(raw(ETH / Dot1AD() / Dot1Q() / udp()), 12, 0x91, 0),
        "n6",
        flow=PLAIN,
    ),
    row("three tags are passed over", ETH / Dot1AD() / Dot1Q() / Dot1Q() / udp(), "n6", flow=PLAIN),
    row(
        "three tags are passed over before a tunnel", ETH / Dot1AD() / Dot1Q() / Dot1Q() / uplink(udp()), "n3", flow=UP
    ),
    row("a frame that ends in its tag is truncated", raw(ETH / Dot1Q() / udp())[:17], "n6", "l2_truncated"),
    row("a PPPoE session carries IPv4", ETH / PPPoE(sessionid=1) / PPP(proto=0x21) / udp(), "n6", flow=PLAIN),
    row(
        "a PPPoE session in a VLAN carries IPv6",
        ETH / Dot1Q(type=0x8864) / PPPoE(sessionid=1) / PPP(proto=0x57) / udp6(),
        "n6",
        flow=PLAIN6,
    ),
    row("what else PPPoE carries is not IP", ETH / PPPoE(sessionid=1) / PPP(proto=0xC021) / udp(), "n6", "not_ip"),
    row("PPPoE of another version is not read", ETH / PPPoE(version=2) / PPP(proto=0x21) / udp(), "n6", "not_ip"),
    row("PPPoE discovery is not IP", ETH / PPPoED(code=9), "n6", "not_ip"),
    row(
        "a frame that ends in its PPPoE header is truncated",
        raw(ETH / PPPoE() / PPP(proto=0x21) / udp())[:21],
        "n6",
        "l2_truncated",
    ),
    row("a frame of 14 bytes ends before its packet", ether(udp())[:14], "n6", "ip_truncated"),
    row("ARP is not IP", ETH / ARP(), "n6", "not_ip"),
    row(
        "a frame with a length for a type is not IP",
        Dot3(src=ETH.src, dst=ETH.dst) / LLC() / Raw(bytes(50)),
        "n6",
        "not_ip",
    ),
    row("ethertype zero is not IP", put(ether(udp()), 12, 0, 0), "n6", "not_ip"),
]

IP_LAYER = [
    row("IPv4 options are passed over", IP(src=UE, dst=SERVER, options=WITH_OPTIONS) / udp()[UDP], "n6", flow=grow(16)),
    row("Ethernet padding is not counted", ether(udp(4)) + bytes(14), "n6", flow=grow(-28)),
    row("a captured start of a packet counts whole, by its IP length", ether(udp(1000))[:64], "n6", flow=grow(968)),
    row("an IPv4 header of 16 bytes is malformed (RFC 791)", put(ether(udp()), 14, 0x44), "n6", "ip_malformed"),
    row("a total length below the header is malformed", put(ether(udp()), 16, 0, 19), "n6", "ip_malformed"),
    row("version 5 under ethertype IPv4 is malformed", put(ether(udp()), 14, 0x55), "n6", "ip_malformed"),
    row("version 4 under ethertype IPv6 is malformed", put(ether(udp6()), 14, 0x40), "n6", "ip_malformed"),
    row("a frame that ends in the IPv4 options is truncated", put(ether(udp(0)), 14, 0x4F)[:60], "n6", "ip_malformed"),
    row("an IPv6 packet is a flow", udp6(), "n6", flow=PLAIN6),
    row("IPv6 extension headers are passed over", udp6(extensions=HOPS), "n6", flow=grow(24, PLAIN6)),
    row("six IPv6 extension headers are passed over", udp6(extensions=HOPS / HOPS), "n6", flow=grow(48, PLAIN6)),
    row(
        "seven IPv6 extension headers are too many",
        udp6(extensions=HOPS / HOPS / IPv6ExtHdrDestOpt()),
        "n6",
        "ip_ext_too_long",
    ),
    row("headers are read up to byte 1023 of the frame", far(1022 - 14 - 40), "n6", flow=grow(968, PLAIN6)),
    row("and no further", far(1030 - 14 - 40), "n6", "ip_ext_too_long"),
    row("however short the frame was cut", ether(far(1030 - 14 - 40))[:99], "n6", "ip_ext_too_long"),
    row(
        "an authentication header is passed over in units of four bytes",
        IPv6(src=UE6, dst=SERVER6) / AH(nh=17, payloadlen=4, icv=b"\1" * 12) / udp6()[UDP],
        "n6",
        flow=grow(24, PLAIN6),
    ),
    row(
        "an extension header longer than its packet is malformed",
        put(ether(udp6(extensions=IPv6ExtHdrDestOpt())), 55, 20) + bytes(200),
        "n6",
        "ip_malformed",
    ),
    row("an IPv6 header that is cut is truncated", ether(udp6())[:53], "n6", "ip_truncated"),
    row(
        "the first IPv6 fragment has ports",
        udp6(extensions=IPv6ExtHdrFragment(m=1)),
        "n6",
        flow=grow(8, PLAIN6),
    ),
    row(
        "a later IPv6 fragment has none",
        udp6(extensions=IPv6ExtHdrFragment(offset=5, m=1)),
        "n6",
        "outer_fragment",
        flow=cut_ports(grow(8, PLAIN6)),
    ),
    row("the first IPv4 fragment has ports", IP(src=UE, dst=SERVER, flags="MF") / udp()[UDP], "n6", flow=PLAIN),
    row(
        "a later IPv4 fragment has none",
        IP(src=UE, dst=SERVER, frag=5) / udp()[UDP],
        "n6",
        "outer_fragment",
        flow=cut_ports(PLAIN),
    ),
    row("a TCP segment is a flow", tcp(), "n6", flow=PLAIN._replace(proto=6, octets=72)),
    row("ICMP is a flow without ports", IP(src=UE, dst=SERVER) / ICMP(), "n6", flow=Flow(UE, 0, SERVER, 0, 1, 28)),
    row("a UDP header that is cut behind its ports has them", ether(udp())[:41], "n6", "l4_truncated", flow=PLAIN),
    row("one that is cut inside of them has none", ether(udp())[:37], "n6", "l4_truncated", flow=cut_ports(PLAIN)),
    row(
        "a TCP header whose options are cut has its ports",
        ether(tcp(options=[("Timestamp", (1, 2))]))[:60],
        "n6",
        "l4_truncated",
        flow=Flow(UE, 40000, SERVER, 443, 6, 84),
    ),
    row(
        "a UDP header that leaves its IP packet behind its ports has them",
        put(ether(udp()), 16, 0, 24),
        "n6",
        "l4_truncated",
        flow=PLAIN._replace(octets=24),
    ),
    row(
        "ports outside of their IP packet are none",
        put(ether(udp()), 16, 0, 23),
        "n6",
        "l4_truncated",
        flow=cut_ports(PLAIN)._replace(octets=23),
    ),
]


WHERE = [
    row("on N6 a tunnel is not opened", uplink(udp()), "n6", flow=OUTER._replace(octets=104)),
    row("on a port for anything a tunnel is opened", uplink(udp()), "any", flow=UP),
    row("on a port for anything a plain packet is a flow", udp(), "any", flow=PLAIN),
    row("on N3 a plain packet is not", udp(), "n3", "not_gtpu"),
    row("the destination port makes a tunnel (TS 29.281, 4.4.2)", outer(sport=40001) / gtpu() / udp(), "n3", flow=BARE),
    row("the source port does not", outer(dport=40001) / gtpu() / udp(), "n3", "not_gtpu"),
    row("TCP to port 2152 is no tunnel", IP(src=GNB, dst=UPF) / TCP(dport=2152) / gtpu() / udp(), "n3", "not_gtpu"),
    row("the tunnel may run over IPv6", IPv6(src=GNB6, dst=UPF6) / outer()[UDP] / gtpu() / udp(), "n3", flow=BARE),
    row(
        "the tunnel may run over IPv6 with extension headers",
        IPv6(src=GNB6, dst=UPF6) / HOPS / outer()[UDP] / gtpu() / udp(),
        "n3",
        flow=BARE,
    ),
    row(
        "the tunnel may run over IPv4 with options",
        IP(src=GNB, dst=UPF, options=WITH_OPTIONS) / outer()[UDP] / gtpu() / udp(),
        "n3",
        flow=BARE,
    ),
    row(
        "the first fragment of a tunnel packet counts its whole inner packet",
        ether(IP(src=GNB, dst=UPF, flags="MF", len=200, proto=17) / raw((outer() / gtpu() / udp(1000))[UDP])[:180]),
        "n3",
        flow=grow(968, BARE),
    ),
    row(
        "a later fragment of a tunnel packet is only that",
        IP(src=GNB, dst=UPF, frag=9, proto=17) / Raw(bytes(40)),
        "n3",
        "outer_fragment",
    ),
    row("PFCP is passed on", udp(dport=8805), "n6", "signalling", flow=PLAIN._replace(dport=8805), verdict="pass"),
    row("PFCP is passed on from an N3 port", udp(dport=8805), "n3", "signalling", "not_gtpu", verdict="pass"),
    row("so are its answers", udp(sport=8805), "any", "signalling", flow=PLAIN._replace(sport=8805), verdict="pass"),
    row("so is GTP-C", udp(sport=2123, dport=2123), "n3", "signalling", "not_gtpu", verdict="pass"),
    row("PFCP of a UE is its own affair", uplink(udp(dport=8805)), "n3", flow=UP._replace(dport=8805)),
]

GTPU_HEADER = [
    row("GTP version 0 is refused", outer() / gtpu(version=0) / udp(), "n3", "gtpu_version"),
    row("GTP version 2 is refused", outer() / gtpu(version=2, length=60) / udp(), "n3", "gtpu_version"),
    row("GTP' is refused: protocol type 0", outer() / gtpu(PT=0) / udp(), "n3", "gtpu_version"),
    row(
        "what is not GTP-U on its port stays a plain packet where anything may come",
        outer() / gtpu(version=0) / udp(),
        "any",
        "gtpu_version",
        flow=OUTER._replace(octets=96),
    ),
    row("a spare bit that is set is ignored", outer() / gtpu(reserved=1) / udp(), "n3", flow=BARE),
    row("a cut header is truncated", ether(outer() / gtpu() / udp())[:49], "n3", "gtpu_truncated"),
    row("optional octets that are cut are truncated", ether(outer() / gtpu(S=1) / udp())[:53], "n3", "gtpu_truncated"),
    row(
        "a length below the optional octets is truncated", outer() / gtpu(S=1, length=3) / udp(), "n3", "gtpu_truncated"
    ),
    row("a length beyond the datagram is refused", outer() / gtpu(length=61) / udp(), "n3", "gtpu_length"),
    row("a length of 65535 is refused", outer() / gtpu(length=65535) / udp(), "n3", "gtpu_length"),
    row(
        "a datagram beyond its IP packet is refused",
        put(ether(outer() / gtpu() / udp()), 38, 0x20),
        "n3",
        "gtpu_length",
    ),
    row(
        "octets behind the message are nobody's",
        outer() / gtpu(length=60) / Raw(raw(udp()) + bytes(9)),
        "n3",
        flow=BARE,
    ),
    *(
        row(f"optional octets are there when E={e} S={s} PN={pn}", outer() / head, "n3", flow=BARE)
        for e, s, pn in ((0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1))
        for head in [gtpu(E=e, S=s, PN=pn, seq=7, npdu=3 if pn else 0) / udp()]
    ),
    row("a next type without E is not followed", outer() / gtpu(S=1, next_ex=0x85) / udp(), "n3", flow=BARE),
    row(
        "an N-PDU number is not an extension",
        ether(outer() / raw(gtpu(PN=1, length=64))[:8] / optional(npdu=0x85) / udp()),
        "n3",
        flow=BARE,
    ),
]


def chained(*extensions: Any, first: int = 0x40, inner: Any = None) -> Any:
    """Return a G-PDU with extension headers."""
    layers = outer() / gtpu(E=1, next_ex=first)
    for each in extensions:
        layers = layers / each
    return layers / (udp() if inner is None else inner)


GTPU_EXTENSIONS = [
    *(row(f"{n} extension headers are walked", chained(chain(n)), "n3", flow=BARE) for n in range(1, 9)),
    row("nine are too many", chained(chain(9)), "n3", "gtpu_ext_too_long"),
    row("an extension header of 924 bytes is walked", chained(extension(bytes(922))), "n3", flow=BARE),
    row("one that ends past byte 1023 is too long", chained(extension(bytes(970))), "n3", "gtpu_ext_too_long"),
    row("a chain without end is given up", chained(chain(40)), "n3", "gtpu_ext_too_long"),
    row("length zero would loop and is malformed (5.2.1)", chained(extension(length=0)), "n3", "gtpu_ext_malformed"),
    row("a header past the end is malformed", chained(extension(length=255)), "n3", "gtpu_ext_malformed"),
    row("a chain into nothing is cut", outer() / gtpu(E=1, next_ex=0x40), "n3", "gtpu_truncated"),
    row("a header that is cut is truncated", ether(chained(extension(bytes(10))))[:60], "n3", "gtpu_truncated"),
    row("an unknown type is passed over", chained(extension(bytes(6)), first=0x55), "n3", flow=BARE),
    row("a RAN container of 20 octets is passed over", chained(extension(bytes(18)), first=0x81), "n3", flow=BARE),
    row("a type that demands comprehension is passed over", chained(extension(), first=0xC1), "n3", flow=BARE),
    row("an uplink PDU Session Container has QFI and side", uplink(udp()), "n3", flow=UP),
    row(
        "a downlink one has, too",
        downlink(udp(src=SERVER, dst=UE, sport=443, dport=40000), 5),
        "n3",
        flow=Flow(SERVER, 443, UE, 40000, 17, 60, True, DL_TEID, 5, DOWNLINK),
    ),
    row("a QFI has six bits", uplink(udp(), 63), "n3", flow=UP._replace(qfi=63)),
    row(
        "reflective QoS is not part of the QFI",
        downlink(udp(), 1, RQI=1),
        "n3",
        flow=UP._replace(qfi=1, teid=DL_TEID, side=DOWNLINK),
    ),
    row(
        "QoS monitoring: time stamps, delays and sequence number are measured",
        uplink(udp(), QMP=1, dlDelayInd=1, ulDelayInd=1, SNP=1, N3N9DelayInd=1, dlDelayRslt=12, ulDelayRslt=9),
        "n3",
        "psc_measured",
        flow=UP,
    ),
    row(
        "paging policy, sending time and sequence number are measured",
        downlink(udp(), QMP=1, SNP=1, PPP=1, PPI=3),
        "n3",
        "psc_measured",
        flow=UP._replace(teid=DL_TEID, side=DOWNLINK),
    ),
    row(
        "a delay outside of its container is malformed, and the packet is user data all the same",
        chained(extension(b"\x14\x09"), first=0x85),
        "n3",
        "psc_malformed",
        flow=UP,
    ),
    row(
        "a reserved PDU type says nothing (TS 38.415, 5.5.3.1)",
        chained(extension(b"\x30\x09"), first=0x85),
        "n3",
        flow=BARE,
    ),
    row(
        "the container is found behind another header",
        chained(extension(bytes(6), 0x85), psc(), first=0x81),
        "n3",
        flow=UP,
    ),
    row(
        "and before another",
        chained(extension(b"\x10\x09", 0x40), extension(), first=0x85),
        "n3",
        flow=UP,
    ),
]

GTPU_MESSAGES = [
    row("an echo request is counted", outer() / gtpu(0, 1, S=1, seq=9), "n3", "gtpu_echo_request"),
    row("an echo response is counted", outer() / gtpu(0, 2, S=1) / Raw(b"\x0e\0"), "n3", "gtpu_echo_response"),
    row(
        "an error indication is counted",
        outer() / gtpu(0, 26, S=1) / Raw(b"\x10\0\0\1\0\x85\0\4\x0a\x0a\0\2"),
        "n3",
        "gtpu_error_indication",
    ),
    row(
        "an error indication with its UDP port is counted",
        outer() / gtpu(0, 26, E=1, S=1, next_ex=0x40) / extension(b"\x08\x68") / Raw(b"\x10\0\0\1\0"),
        "n3",
        "gtpu_error_indication",
    ),
    row(
        "a supported extension headers notification is counted",
        outer() / gtpu(0, 31) / Raw(b"\x8d\1\x85"),
        "n3",
        "gtpu_ext_notification",
    ),
    row("a tunnel status is counted", outer() / gtpu(message=253), "n3", "gtpu_tunnel_status"),
    row("an end marker is counted", outer() / gtpu(message=254), "n3", "gtpu_end_marker"),
    row(
        "an end marker with container is counted",
        outer() / gtpu(message=254, E=1, next_ex=0x85) / psc(),
        "n3",
        "gtpu_end_marker",
    ),
    row("a message of no name is counted", outer() / gtpu(message=100) / udp(), "n3", "gtpu_other"),
    row("GTP' data records are no user data", outer() / gtpu(message=240) / udp(), "n3", "gtpu_other"),
]


def inner(says: str, payload: Any, *why: str, flow: Flow | None = None) -> Row:
    """Return a row about the T-PDU of an uplink G-PDU on N3."""
    return row(says, uplink(payload), "n3", *why, flow=flow)


INNER = [
    inner("inner IPv6 is a flow", udp6(), flow=PLAIN6._replace(gtpu=True, teid=UL_TEID, qfi=QFI, side=UPLINK)),
    inner(
        "inner IPv6 extension headers are passed over",
        udp6(extensions=HOPS),
        flow=PLAIN6._replace(octets=104, gtpu=True, teid=UL_TEID, qfi=QFI, side=UPLINK),
    ),
    inner("seven of them are too many", udp6(extensions=HOPS / HOPS / IPv6ExtHdrDestOpt()), "inner_ext_too_long"),
    inner("inner TCP is a flow", tcp(), flow=UP._replace(proto=6, octets=72)),
    inner("inner ICMP is a flow", IP(src=UE, dst=SERVER) / ICMP(), flow=cut_ports(UP)._replace(proto=1, octets=28)),
    inner(
        "inner ESP is a flow",
        IP(src=UE, dst=SERVER, proto=50) / Raw(bytes(60)),
        flow=cut_ports(UP)._replace(proto=50, octets=80),
    ),
    inner(
        "inner options are passed over", IP(src=UE, dst=SERVER, options=WITH_OPTIONS) / udp()[UDP], flow=grow(16, UP)
    ),
    inner(
        "a tunnel of the UE is not opened", udp(dport=2152) / gtpu() / udp(), flow=UP._replace(dport=2152, octets=128)
    ),
    inner("the first inner fragment has ports", IP(src=UE, dst=SERVER, flags="MF") / udp()[UDP], flow=UP),
    inner("a later one has none", IP(src=UE, dst=SERVER, frag=5) / udp()[UDP], "inner_fragment", flow=cut_ports(UP)),
    inner(
        "nor has a later IPv6 fragment",
        udp6(extensions=IPv6ExtHdrFragment(offset=5)),
        "inner_fragment",
        flow=Flow(UE6, 0, SERVER6, 0, 17, 88, True, UL_TEID, QFI, UPLINK),
    ),
    inner("a T-PDU that is no IP packet is counted", ETH / ARP(), "inner_not_ip"),
    inner("an empty T-PDU is truncated", Raw(b""), "inner_truncated"),
    row("padding is no T-PDU", ether(outer() / gtpu()) + b"\x45" * 10, "n3", "gtpu_gpdu", "inner_truncated"),
    inner("a T-PDU of 19 bytes is truncated", Raw(raw(udp())[:19]), "inner_truncated"),
    inner("an inner header of 16 bytes is malformed", Raw(put(raw(udp()), 0, 0x44)), "inner_malformed"),
    inner("an inner packet longer than its message is malformed", Raw(put(raw(udp()), 2, 9)), "inner_malformed"),
    inner("one that is shorter is counted by its length", Raw(raw(udp()) + bytes(20)), flow=UP),
    inner(
        "an inner TCP header that leaves its packet has its ports",
        Raw(put(raw(tcp(size=0)), 32, 0xF0)),
        "inner_l4_truncated",
        flow=UP._replace(proto=6, octets=40),
    ),
    row(
        "a captured start of a tunnel packet counts whole",
        ether(uplink(udp(1000)))[:90],
        "n3",
        flow=grow(968, UP),
    ),
    row(
        "one of Ethernet, VLAN and IPv6 all the way",
        ETH / Dot1Q() / IPv6(src=GNB6, dst=UPF6) / outer()[UDP] / gtpu() / udp6(),
        "n3",
        flow=PLAIN6._replace(gtpu=True, teid=UL_TEID),
    ),
]

TABLE = [*LINK, *IP_LAYER, *WHERE, *GTPU_HEADER, *GTPU_EXTENSIONS, *GTPU_MESSAGES, *INNER]
