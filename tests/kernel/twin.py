"""The packet path a second time, slowly, by the standards alone: the result that the kernel program owes for a frame.

Written from RFC 791, RFC 8200, RFC 768, RFC 9293, IEEE 802.1Q, TS 29.281 (5, 6) and TS 38.415 (5.5.2), not from
the C code, whose limits (VLAN tags, extension headers, how far into a frame headers are read) and names of
counters it takes from ``abi.h``. It knows no sessions and keeps no state: each frame is the first.

Where a frame breaks two rules at once, the rule: what is missing in the frame is *truncated*, what is there
but outside of the packet or message around it is *malformed*; headers are judged from the outside in.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from nf.settings import Encapsulation
from tests.kernel.wrappings import (
    ALL,
    GRE,
    IPV4,
    IPV6,
    MPLS,
    PORT_VXLAN,
    PPPOE,
    REACH,
    SGT,
    VLANS,
    Refused,
    Unread,
    ethernet,
    in_gre,
    in_vxlan,
)

MAX_VLANS = 3
MAX_IP_EXTENSIONS, MAX_GTPU_EXTENSIONS = 6, 8
HOP_BY_HOP, TCP, UDP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY = 0, 6, 17, 43, 44, 51, 60, 135
NO_NEXT_HEADER = 59
JUMBO_OPTION, LONGEST = b"\xc2\x04", 1 << 24  # RFC 2675, 2; no stack makes longer packets
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY)
PORT_GTPU, PORT_PFCP, PORT_GTPC = 2152, 8805, 2123
MESSAGES = {  # TS 29.281, table 6.1-1
    1: "gtpu_echo_request",
    2: "gtpu_echo_response",
    26: "gtpu_error_indication",
    31: "gtpu_ext_notification",
    253: "gtpu_tunnel_status",
    254: "gtpu_end_marker",
    255: "gtpu_gpdu",
}
PDU_SESSION_CONTAINER = 0x85
UPLINK, DOWNLINK = "uplink", "downlink"


class Flow(NamedTuple):
    """The flow as one packet shows it."""

    src: str
    sport: int
    dst: str
    dport: int
    proto: int
    octets: int
    gtpu: bool = False
    teid: int = 0
    qfi: int = 0
    side: str = ""  # uplink, downlink or "" by the PDU Session Container


@dataclass(frozen=True)
class Truth:
    """Verdict in mirror mode, the counters of reasons and facts, and the flow if the packet counts for one."""

    verdict: str
    why: frozenset[str]
    flow: Flow | None


class Packet(NamedTuple):
    """An IP packet: where its transport header begins and where it ends by its own length."""

    src: str
    dst: str
    proto: int
    total: int
    fragment: str  # "", "first" or "later"
    l4: int
    end: int
    number: int = 0  # identification of the datagram (RFC 791, 3.1; RFC 8200, 4.5)


class Tunnel(NamedTuple):
    """A G-PDU: where its T-PDU begins and ends."""

    teid: int
    qfi: int
    side: str
    begin: int
    end: int
    measures: str  # of its PDU Session Container: "", psc_measured or psc_malformed


def observe(frame: bytes, role: str, opens: Encapsulation = ALL) -> Truth:
    """Return the truth about *frame* on a port of *role*: n3, n6, or any, where *opens* are read through."""
    facts: set[str] = set()
    try:
        flow = _walk(frame, role, facts, opens)
    except Refused as refused:
        facts.add(refused.reason)
        flow = None
    return Truth("pass" if "signalling" in facts else "drop", frozenset(facts), flow)


def _walk(frame: bytes, role: str, facts: set[str], opens: Encapsulation) -> Flow | None:
    kind, at = _link(frame, facts, opens)
    firsts: set[tuple[str, str, int, int]] = set()  # datagrams whose first fragment was read through
    while True:
        outer = _network(frame, at, None, kind, "ip")
        datagram = outer.src, outer.dst, outer.proto, outer.number
        if outer.fragment == "later":
            facts.add("outer_fragment")
            if datagram in firsts:  # a tunnel that holds a fragment of its own datagram
                facts.add("outer_fragment_known")
                return None
            if role == "n3":
                return None
        try:
            found = None if _is_answer(frame, outer, role) else mirrored(frame, outer, opens)
        except Unread as unread:
            facts.add(unread.name)
            break
        if found is None:
            break
        facts.add("looked_through")
        if outer.fragment == "first":
            firsts.add(datagram)
        kind, at = found
    ports, whole = _ports(frame, outer) if outer.proto == UDP else ((0, 0), False)
    if whole and {PORT_PFCP, PORT_GTPC} & set(ports):
        facts.add("signalling")
    elif whole and role != "n6" and (ports[1] == PORT_GTPU or (ports[0] == PORT_GTPU and _answers(frame, outer))):
        try:
            tunnel = _gtpu(frame, outer, facts)
        except Refused as refused:
            if role == "n3" or refused.reason != "gtpu_version":
                raise
            facts.add(refused.reason)  # it is something else that goes to this port
        else:
            if tunnel is not None:
                return _inner(frame, tunnel, facts, opens)
            if role == "n3":
                return None
    if role == "n3":
        raise Refused("not_gtpu")
    return _flow(frame, outer, facts, "l4_truncated")


def mirrored(frame: bytes, outer: Packet, opens: Encapsulation) -> tuple[int, int] | None:
    """Return the ethertype and the place of the packet in a tunnel that is none of N3; None: this is no such tunnel."""
    if outer.fragment == "later":
        return None
    if outer.proto == GRE:
        return in_gre(frame, outer.l4, opens)
    ports, whole = _ports(frame, outer)
    if outer.proto != UDP or not whole or {PORT_PFCP, PORT_GTPC} & set(ports) or ports[1] != PORT_VXLAN:
        return None
    return in_vxlan(frame, outer.l4, opens)


def _is_answer(frame: bytes, outer: Packet, role: str) -> bool:
    return role != "n6" and outer.proto == UDP and _ports(frame, outer)[0][0] == PORT_GTPU and _answers(frame, outer)


def _answers(frame: bytes, outer: Packet) -> bool:
    """Say whether a datagram from port 2152 is an answer: echo response, error indication, or supported extensions."""
    at = outer.l4 + 8
    return at + 2 <= len(frame) and frame[at] >> 4 == 3 and frame[at + 1] in (2, 26, 31)


def _u16(frame: bytes, at: int) -> int:
    return int.from_bytes(frame[at : at + 2], "big")


def _link(frame: bytes, facts: set[str], opens: Encapsulation) -> tuple[int, int]:
    """Return the ethertype and the place of the packet of a frame."""
    if len(frame) < 14:
        raise Refused("l2_truncated")
    plain, tags, at = True, 0, 12
    while len(frame) >= at + 2 and _u16(frame, at) in VLANS:
        tags, at = tags + 1, at + 4
    if tags > MAX_VLANS:
        plain = False
        if Encapsulation.VLAN_TAGS not in opens:
            raise Refused("vlan_too_deep")
    elif len(frame) >= at + 2:
        plain = _u16(frame, at) in (IPV4, IPV6, PPPOE)
    try:
        kind, at = ethernet(frame, 0, opens, "vlan_too_deep" if tags > MAX_VLANS else "not_ip")
    except Unread as unread:
        raise Refused("l2_truncated" if unread.cut else unread.name) from None
    except Refused:
        if bare := _bare(frame, opens):
            facts.add("looked_through")
            return bare
        raise
    if not plain:
        facts.add("looked_through")
    return kind, at


def _bare(frame: bytes, opens: Encapsulation) -> tuple[int, int] | None:
    """Read a frame as a packet without Ethernet header, when its ethertype is none and its own length says so."""
    if Encapsulation.RAW_IP not in opens or len(frame) < 20 or _u16(frame, 12) in (*VLANS, *MPLS, SGT, PPPOE):
        return None
    if frame[0] >> 4 == 4 and frame[0] & 15 >= 5 and _u16(frame, 2) == len(frame):
        return IPV4, 0
    return (IPV6, 0) if frame[0] >> 4 == 6 and _u16(frame, 4) + 40 == len(frame) else None


def _network(frame: bytes, at: int, limit: int | None, kind: int, name: str) -> Packet:
    """Read an IP packet at *at*, inside of something that ends at *limit* (a frame may be cut: None)."""
    most = (len(frame) if limit is None else limit) - at
    packet = _ipv4(frame, at, name, most) if kind == IPV4 else _ipv6(frame, at, name, most)
    if limit is not None and packet.end > limit:
        raise Refused("inner_malformed")  # a T-PDU is one packet; a longer one is not in this message
    return packet


def _ipv4(frame: bytes, at: int, name: str, most: int) -> Packet:
    if len(frame) < at + 20:
        raise Refused(f"{name}_truncated")
    length, total = (frame[at] & 15) * 4, _u16(frame, at + 2) or most  # zero: by segmentation offload
    if frame[at] >> 4 != 4 or length < 20 or total < length:
        raise Refused(f"{name}_malformed")
    if len(frame) < at + length:
        raise Refused(f"{name}_truncated")
    flags = _u16(frame, at + 6)
    fragment = "later" if flags & 0x1FFF else "first" if flags & 0x2000 else ""
    src, dst = (str(IPv4Address(frame[i : i + 4])) for i in (at + 12, at + 16))
    return Packet(src, dst, frame[at + 9], total, fragment, at + length, at + total, _u16(frame, at + 4))


def _ipv6(frame: bytes, at: int, name: str, most: int) -> Packet:
    if len(frame) < at + 40:
        raise Refused(f"{name}_truncated")
    if frame[at] >> 4 != 6:
        raise Refused(f"{name}_malformed")
    total = 40 + (_u16(frame, at + 4) or _long_ipv6(frame, at, name, most - 40))
    if total < 40:
        raise Refused(f"{name}_malformed")
    end, kind, here, fragment, seen, number = at + total, frame[at + 6], at + 40, "", 0, 0
    while kind in EXTENSIONS and fragment != "later":
        if seen == MAX_IP_EXTENSIONS:
            raise Refused(f"{name}_ext_too_long")
        if len(frame) < here + 8:
            raise Refused(f"{name}_truncated")
        if kind == FRAGMENT:
            length, field = 8, _u16(frame, here + 2)
            fragment = "later" if field & 0xFFF8 else "first" if field & 1 else fragment
            number = int.from_bytes(frame[here + 4 : here + 8], "big")
        else:
            length = (frame[here + 1] + 2) * 4 if kind == AUTHENTICATION else (frame[here + 1] + 1) * 8
        if here + length > end:
            raise Refused(f"{name}_malformed")
        kind, here, seen = frame[here], here + length, seen + 1
        if here > REACH:
            break
    if here > REACH:
        raise Refused(f"{name}_ext_too_long")
    src, dst = (str(IPv6Address(frame[i : i + 16])) for i in (at + 8, at + 24))
    return Packet(src, dst, kind, total, fragment, here, end, number)


def _long_ipv6(frame: bytes, at: int, name: str, most: int) -> int:
    """Return the payload length of a packet whose field says zero (RFC 8200, 3; RFC 2675, 2 and 3)."""
    if frame[at + 6] == NO_NEXT_HEADER:
        return 0
    if frame[at + 6] != HOP_BY_HOP or len(frame) < at + 48 or frame[at + 42 : at + 44] != JUMBO_OPTION:
        return most
    jumbo = int.from_bytes(frame[at + 44 : at + 48], "big")
    if not 65_535 < jumbo < LONGEST:
        raise Refused(f"{name}_malformed")
    return jumbo


def _ports(frame: bytes, packet: Packet) -> tuple[tuple[int, int], bool]:
    """Return the ports, (0, 0) for what has none, and whether the transport header is all there.

    They are its first four octets (RFC 768; RFC 9293, 3.1): a header that ends behind them has them.
    """
    if packet.fragment == "later" or packet.proto not in (TCP, UDP):
        return (0, 0), True
    here = min(len(frame), packet.end)
    if packet.l4 > REACH or here < packet.l4 + 4:
        return (0, 0), False
    ports = _u16(frame, packet.l4), _u16(frame, packet.l4 + 2)
    need = 8
    if packet.proto == TCP:
        need = max(20, (frame[packet.l4 + 12] >> 4) * 4) if here >= packet.l4 + 20 else 20
        if here >= packet.l4 + 20 and frame[packet.l4 + 12] >> 4 < 5:
            return ports, False
    return ports, here >= packet.l4 + need


def _gtpu(frame: bytes, outer: Packet, facts: set[str]) -> Tunnel | None:
    """Read the GTP-U header behind a UDP header; None for a message that carries no user data."""
    at, udp_length = outer.l4 + 8, _u16(frame, outer.l4 + 4) or outer.end - outer.l4
    datagram_end = outer.l4 + udp_length
    if len(frame) < at + 8:
        raise Refused("gtpu_truncated")
    flags, message, length = frame[at], frame[at + 1], _u16(frame, at + 2)
    if flags >> 5 != 1 or not flags & 0x10:
        raise Refused("gtpu_version")
    end = at + 8 + length
    if end > datagram_end or (datagram_end > outer.end and not outer.fragment):
        raise Refused("gtpu_length")  # the first fragment of a datagram has the length of the whole
    teid = int.from_bytes(frame[at + 4 : at + 8], "big")
    here, qfi, side, measures = at + 8, 0, "", ""
    if flags & 7:
        if len(frame) < here + 4 or length < 4:
            raise Refused("gtpu_truncated")
        here += 4
        if flags & 4:
            here, qfi, side, measures = _chain(frame, here, end)
    name = MESSAGES.get(message, "gtpu_other")
    facts.add(name)
    return Tunnel(teid, qfi, side, here, end, measures) if name == "gtpu_gpdu" else None


def _measures(container: bytes) -> str:
    """Say what a PDU Session Container (TS 38.415, 5.5.2.1 and 5.5.2.2) without its length and next type measures."""
    first, second = container[0], container[1]
    if first >> 4:
        fields = [(first & 8, 24), (first & 4, 4), (first & 2, 4), (first & 1, 3), (second & 0x80, 4)]
    else:
        fields = [(second & 0x80, 1), (first & 8, 8), (first & 4, 3)]
    due = sum(size for present, size in fields if present)
    return "" if not due else "psc_measured" if len(container) >= 2 + due else "psc_malformed"


def _chain(frame: bytes, here: int, end: int) -> tuple[int, int, str, str]:
    """Walk the extension headers whose first type is the octet before *here*."""
    kind, seen, qfi, side, measures = frame[here - 1], 0, 0, "", ""
    while kind:
        if seen == MAX_GTPU_EXTENSIONS or here > REACH:
            raise Refused("gtpu_ext_too_long")
        if len(frame) < here + 4:
            raise Refused("gtpu_truncated")
        length = frame[here] * 4
        if not length or here + length > end:
            raise Refused("gtpu_ext_malformed")
        if kind == PDU_SESSION_CONTAINER and frame[here + 1] >> 4 in (0, 1):
            qfi, side = frame[here + 2] & 0x3F, (DOWNLINK, UPLINK)[frame[here + 1] >> 4]
            measures = _measures(frame[here + 1 : min(here + length, len(frame)) - 1].ljust(2, b"\0"))
        if here + length > REACH:
            raise Refused("gtpu_ext_too_long")
        if len(frame) < here + length:
            raise Refused("gtpu_truncated")
        kind, here, seen = frame[here + length - 1], here + length, seen + 1
    return here, qfi, side, measures


def _framed(frame: bytes, tunnel: Tunnel, facts: set[str], opens: Encapsulation) -> Packet | None:
    """Read a T-PDU as the Ethernet frame of a PDU session of that type (TS 23.501, 5.6.10.2)."""
    try:
        kind, at = ethernet(frame, tunnel.begin, opens, "")
        inner = _network(frame, at, tunnel.end, kind, "inner")
    except (Refused, Unread):
        return None
    if Encapsulation.ETHERNET_SESSION not in opens:
        raise Refused("ethernet_unread")
    facts.add("looked_through")
    return inner


def _packet(frame: bytes, tunnel: Tunnel) -> Packet:
    if tunnel.end > tunnel.begin > REACH:
        raise Refused("inner_ext_too_long")
    if min(len(frame), tunnel.end) <= tunnel.begin:
        raise Refused("inner_truncated")
    kind = {4: IPV4, 6: IPV6}.get(frame[tunnel.begin] >> 4)
    if kind is None:
        raise Refused("inner_not_ip")
    return _network(frame, tunnel.begin, tunnel.end, kind, "inner")


def _inner(frame: bytes, tunnel: Tunnel, facts: set[str], opens: Encapsulation) -> Flow | None:
    try:
        inner = _packet(frame, tunnel)
    except Refused:
        found = _framed(frame, tunnel, facts, opens)
        if found is None:
            raise
        inner = found
    if inner.fragment == "later":
        facts.add("inner_fragment")
    flow = _flow(frame, inner, facts, "inner_l4_truncated")
    facts.update({tunnel.measures} - {""})
    return flow._replace(gtpu=True, teid=tunnel.teid, qfi=tunnel.qfi, side=tunnel.side)


def _flow(frame: bytes, packet: Packet, facts: set[str], cut: str) -> Flow:
    ports, whole = _ports(frame, packet)
    if not whole:
        facts.add(cut)
    return Flow(packet.src, ports[0], packet.dst, ports[1], packet.proto, packet.total)
