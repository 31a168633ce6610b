"""Wrappings of mirrors and networks around a packet, by the documents that define them; a part of the twin.

IEEE 802.1Q (tags), Cisco TrustSec (ethertype 0x8909), RFC 3032 and RFC 4448 (MPLS, pseudowires), RFC 2516 (PPPoE), RFC
7348 (VXLAN), RFC 2784 and RFC 2890 (GRE), draft-foschiano-erspan (ERSPAN).
"""

from __future__ import annotations

from collections.abc import Iterator

from nf.settings import Encapsulation

IPV4, IPV6 = 0x0800, 0x86DD
VLANS = (0x8100, 0x88A8, 0x9100)
MPLS, SGT, PPPOE, MACSEC, PBB = (0x8847, 0x8848), 0x8909, 0x8864, 0x88E5, 0x88E7
GRE, PORT_VXLAN = 47, 4789
BRIDGED, ERSPAN, ERSPAN3 = 0x6558, 0x88BE, 0x22EB
ALL = Encapsulation.every()
MAX_LABELS, MAX_HEADERS = 3, 12
REACH = 1023  # a header that begins further into the frame is not read


class Refused(Exception):
    """The walk over the frame ends here, for this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unread(Exception):
    """A wrapping is not read: of a kind that is not asked for, damaged, or *cut* off."""

    def __init__(self, name: str, *, cut: bool = False) -> None:
        super().__init__(name)
        self.name, self.cut = name, cut


class Reader:
    """A place in a frame, and by what name the wrapping around it is counted."""

    def __init__(self, frame: bytes, at: int, name: str) -> None:
        self.frame, self.at, self.name, self.headers = frame, at, name, 0

    def take(self, octets: int, *, more: int = 0) -> bytes:
        """Return the next octets, behind which *more* have to be as well, and move on."""
        if self.at > REACH or len(self.frame) < self.at + octets + more:
            raise Unread(self.name, cut=True)
        self.at += octets
        return self.frame[self.at - octets : self.at]

    def header(self) -> None:
        """Begin another header."""
        if self.headers == MAX_HEADERS:
            raise Unread(self.name)
        self.headers += 1

    def allowed(self, kind: Encapsulation, opens: Encapsulation, name: str) -> None:
        """Go on only where this kind is read."""
        self.name = name
        if kind not in opens:
            raise Unread(name)


def u16(octets: bytes, at: int = 0) -> int:
    """Return two octets as a number."""
    return int.from_bytes(octets[at : at + 2], "big")


def ethernet(frame: bytes, at: int, opens: Encapsulation, name: str) -> tuple[int, int]:
    """Return the ethertype and the place of the IP packet of the Ethernet frame at *at*."""
    return _frame(Reader(frame, at, name), opens)


def _frame(r: Reader, opens: Encapsulation) -> tuple[int, int]:
    r.header()
    return _typed(r, u16(r.take(14), 12), opens)


def _typed(r: Reader, kind: int, opens: Encapsulation) -> tuple[int, int]:
    while True:
        r.header()  # of IP, or what is in its place
        if r.at > REACH:
            raise Unread(r.name, cut=True)
        if kind in (IPV4, IPV6):
            return kind, r.at
        if kind in VLANS:
            kind = u16(r.take(4), 2)
        elif kind == SGT:
            r.allowed(Encapsulation.CISCO_SGT, opens, "sgt_unread")
            kind = u16(r.take(8), 6)
        elif kind == PPPOE:
            head = r.take(8)
            if head[:2] != b"\x11\0":
                raise Refused("not_ip")
            kind = {0x0021: IPV4, 0x0057: IPV6}.get(u16(head, 6), 0)
        elif kind in MPLS:
            r.allowed(Encapsulation.MPLS, opens, "mpls_unread")
            return _labelled(r, opens)
        else:
            raise Refused({MACSEC: "macsec_unread", PBB: "pbb_unread"}.get(kind, "not_ip"))


def _labels(r: Reader) -> Iterator[bytes]:
    for _ in range(MAX_LABELS):
        r.header()
        yield r.take(4)
    raise Unread(r.name)


def _labelled(r: Reader, opens: Encapsulation) -> tuple[int, int]:
    for label in _labels(r):
        if label[2] & 1:  # the bottom of the stack
            break
    r.at -= 4
    begin = r.take(4, more=2) and r.frame[r.at : r.at + 2]
    version = begin[0] >> 4
    if version in (4, 6):
        return _typed(r, IPV4 if version == 4 else IPV6, opens)
    if begin == b"\0\0":
        r.at += 4  # a control word
    return _frame(r, opens)


def in_vxlan(frame: bytes, at: int, opens: Encapsulation) -> tuple[int, int]:
    """Return the ethertype and the place of the IP packet in the UDP datagram of VXLAN at *at*."""
    r = Reader(frame, at, "vxlan_unread")
    r.header()
    r.allowed(Encapsulation.VXLAN, opens, "vxlan_unread")
    if not r.take(16)[8] & 0x08:
        raise Unread(r.name)
    return _frame(r, opens)


def in_gre(frame: bytes, at: int, opens: Encapsulation) -> tuple[int, int]:
    """Return the ethertype and the place of the IP packet in the GRE packet at *at*."""
    r = Reader(frame, at, "gre_unread")
    r.header()
    head = r.take(4)
    flags, kind = u16(head), u16(head, 2)
    if flags & 0x4007:  # routing, or another version
        raise Unread(r.name)
    optional = sum(4 for bit in (0x8000, 0x2000, 0x1000) if flags & bit)
    if kind in (ERSPAN, ERSPAN3):
        r.allowed(Encapsulation.ERSPAN, opens, "erspan_unread")
        if kind == ERSPAN:
            r.at += optional + (8 if flags & 0x1000 else 0)
        else:
            r.at += optional
            if len(r.frame) < r.at + 12:
                raise Unread(r.name, cut=True)
            r.at += 20 if r.frame[r.at + 11] & 1 else 12
        return _frame(r, opens)
    r.allowed(Encapsulation.GRE, opens, "gre_unread")
    r.at += optional
    if kind == BRIDGED:
        return _frame(r, opens)
    if kind not in (IPV4, IPV6, *MPLS):
        raise Unread(r.name)
    return _typed(r, kind, opens)
