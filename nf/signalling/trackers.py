"""All signalling that names subscribers: the one place that knows the tracker of each datagram.

UDP 8805   PFCP      TS 29.244, 6.4
UDP 2123   GTPv2-C   TS 29.274, 4.2.1.1
           GTPv1-C   TS 29.060, 10.1.1; the version stands in the first three bits of both
UDP 1813   RADIUS    RFC 2866, 3: accounting
SCTP 38412 NGAP      TS 38.412, 7

A frame is read behind tags, labels and PPPoE, and in the tunnels that mirrors use (`gtp.link`); never in a subscriber's
own, GTP-U: its content is not the core's. A replay and a live port are read in the same way.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable

from gtp import link
from gtp.events import Notice, PeersRefused, SessionEvent
from gtp.gtpc.tracker_v1 import GtpV1Tracker
from gtp.gtpc.tracker_v2 import GtpV2Tracker
from gtp.ip import Datagram, UdpReader
from gtp.pfcp.message import PORT as _PFCP
from gtp.pfcp.tracker import PfcpTracker
from gtp.sctp import SCTP, SctpMessage, sctp_in_ip
from nf.signalling.ngap import PORT as _NGAP
from nf.signalling.ngap import NgapTracker
from nf.signalling.radius import PORT as _RADIUS
from nf.signalling.radius import RadiusTracker

__all__ = ["PORTS", "Signalling", "may_signal"]

log = logging.getLogger(__name__)

_GTPC = 2123
PORTS = (_PFCP, _GTPC, _RADIUS, _NGAP)

# Sources by their names in sessions, and the beginnings of their counters.
_SOURCES = {"pfcp": ("pfcp",), "gtp-c": ("gtpv1", "gtpv2"), "radius": ("radius",), "ngap": ("ngap",)}
_VXLAN_BYTES = 8  # of its header (RFC 7348, 5)
_DEPTH = 3  # tunnels of a mirror in one another
_PORTS = frozenset(port.to_bytes(2, "big") for port in PORTS)
_VXLAN = link.VXLAN.to_bytes(2, "big")
_TCP, _UDP = 6, 17
_LOOKED_BEHIND = frozenset((0, 43, 44, 60, 135))  # IPv6 headers that gtp.ip reads behind, fragments among them


def may_signal(frame: bytes) -> bool:
    """Say, at little cost, whether an Ethernet frame may hold signalling: a port of it, SCTP, or a fragment."""
    kind, at = int.from_bytes(frame[12:14], "big"), 14
    if kind not in (link.IPV4, link.IPV6):
        kind, at = link.ip_packet(frame) or (0, 0)
    for _ in range(_DEPTH + 1):
        if kind == link.IPV4 and len(frame) >= at + 20:
            proto, here = frame[at + 9], at + (frame[at] & 15) * 4
            if proto == _TCP:
                return False
            if frame[at + 6] & 0x3F or frame[at + 7]:
                return proto in (_UDP, SCTP)
        elif kind == link.IPV6 and len(frame) >= at + 40:
            proto, here = frame[at + 6], at + 40
            if proto in _LOOKED_BEHIND:
                return True
        else:
            return False
        if proto == link.GRE:
            kind, at = link.in_gre(frame, here) or (0, 0)
            continue
        if proto not in (_UDP, SCTP):
            return False
        if proto == SCTP or frame[here : here + 2] in _PORTS or frame[here + 2 : here + 4] in _PORTS:
            return True
        if frame[here + 2 : here + 4] != _VXLAN:
            return False
        kind, at = link.ip_packet(frame, here + 16) or (0, 0)
    return False


class Signalling:
    """The trackers of one observer. Not thread-safe, but its counters may be read from another thread."""

    def __init__(self, first: int = 0) -> None:
        """Count keys of sessions on from *first*: two observers must not tell of sessions under one key."""
        self.pfcp, self.gtpv2, self.gtpv1, self.radius = PfcpTracker(), GtpV2Tracker(), GtpV1Tracker(), RadiusTracker()
        self.ngap, self.udp = NgapTracker(), UdpReader()
        self._counters: Counter[str] = Counter()
        self.heard_s: dict[str, float] = {}  # when a source spoke last
        for tracker in (self.pfcp, self.gtpv2, self.gtpv1, self.radius, self.ngap):
            tracker.count_from(first)

    def frame(self, ethernet: bytes, at_s: float) -> list[SessionEvent]:
        """Take an Ethernet frame seen at *at_s* and return what it changed. Never raises."""
        kind, at = link.ip_packet(ethernet) or (0, 0)
        return self.packet(kind, ethernet[at:], at_s)

    def bare(self, packet: bytes, at_s: float) -> list[SessionEvent]:
        """Take a packet of a device without Ethernet header, seen at *at_s*. Never raises."""
        kind = {4: link.IPV4, 6: link.IPV6}.get(packet[0] >> 4 if packet else 0, 0)
        return self.packet(kind, packet, at_s)

    def packet(self, kind: int, packet: bytes, at_s: float, depth: int = _DEPTH) -> list[SessionEvent]:
        """Take an IP packet, of the ethertype *kind*, and return what it changed, or what it holds. Never raises."""
        events = [e for m in sctp_in_ip(kind, packet, self._counters) for e in self._ngap(m, at_s)]
        for d in self.udp.feed_ip(kind, packet, at_s):
            if d.dport == link.VXLAN and depth:
                inner, at = link.ip_packet(d.payload, _VXLAN_BYTES) or (0, 0)
                events += self.packet(inner, d.payload[at:], at_s, depth - 1)
            else:
                events += self.feed(d, at_s)
        if depth and (header := _gre_at(kind, packet)):
            inner, at = link.in_gre(packet, header) or (0, 0)
            events += self.packet(inner, packet[at:], at_s, depth - 1)
        return events

    def _ngap(self, message: SctpMessage, at_s: float) -> list[SessionEvent]:
        before = self.ngap.counters["ngap_messages"]
        events = self.ngap.feed(message, at_s)
        if self.ngap.counters["ngap_messages"] != before:
            self.heard_s["ngap"] = at_s
        return events

    def messages(self) -> dict[str, int]:
        """Return how many messages each source said, by its name in sessions."""
        counters = self.counters
        return {source: sum(counters[f"{each}_messages"] for each in of) for source, of in _SOURCES.items()}

    def feed(self, d: Datagram, at_s: float) -> list[SessionEvent]:
        """Take a datagram seen at *at_s* and return what it changed; of other ports, nothing. Never raises."""
        src, dst = (d.src, d.sport), (d.dst, d.dport)
        ports = (d.sport, d.dport)
        if _PFCP in ports:
            self.heard_s["pfcp"] = at_s
            return self.pfcp.feed(d.payload, src, dst, at_s)
        if _GTPC in ports:
            self.heard_s["gtp-c"] = at_s
            tracker = self.gtpv1 if d.payload and d.payload[0] >> 5 == 1 else self.gtpv2
            return tracker.feed(d.payload, src, dst, at_s)
        if _RADIUS in ports:
            self.heard_s["radius"] = at_s
            return self.radius.feed(d.payload, src, at_s)
        return []

    def purge(self, imsi: str, keys: Collection[str]) -> None:
        """Forget a subscriber, and the sessions that have *keys*; nothing is told of it.

        Messages that wait for an answer, or for their nodes to be known, are kept as long as they else would be: three
        minutes at most.
        """
        for tracker in (self.pfcp, self.gtpv2, self.gtpv1, self.radius, self.ngap):
            tracker.purge(imsi, keys)

    def use_peers(self, allowed: Iterable[str]) -> None:
        """Accept PFCP between nodes with these addresses or prefixes only; none: between those that are learned."""
        self.pfcp.use_peers(allowed)

    def notices(self) -> list[Notice]:
        """Return the notices for the operator, each once, and log them."""
        told = self.pfcp.notices()
        for notice in told:
            one, other = notice.peers
            if not isinstance(notice, PeersRefused):
                log.warning(
                    "%d sessions between %s and %s ended together: %s", notice.sessions, one, other, notice.reason.value
                )
            elif notice.apart:
                log.warning(
                    "PFCP between %s and %s, who were not seen to be associated: %d exchanges wait for their heartbeat",
                    *(one, other, notice.exchanges),
                )
            else:
                log.warning(
                    "PFCP between %s and %s was refused, %d times: they are no peers. Where they are, add them to "
                    "pfcp-peer of subscribers.",
                    *(one, other, notice.exchanges),
                )
        return told

    @property
    def counters(self) -> Counter[str]:
        """The counts of all trackers; each name begins with its protocol."""
        total: Counter[str] = Counter()
        for part in (self.pfcp, self.gtpv2, self.gtpv1, self.radius, self.ngap, self.udp):
            total.update(dict(part.counters))  # of a copy: another thread may be adding a name
        total.update(dict(self._counters))
        if self.pfcp.apart:
            total["pfcp_apart"] = self.pfcp.apart
        return total


def _gre_at(kind: int, packet: bytes) -> int:
    """Return where the GRE header of an IP packet is; 0: it has none, or a fragment of it."""
    if kind == link.IPV4 and len(packet) >= 20 and packet[9] == link.GRE:
        return 0 if packet[6] & 0x3F or packet[7] else (packet[0] & 15) * 4
    return 40 if kind == link.IPV6 and len(packet) >= 40 and packet[6] == link.GRE else 0
