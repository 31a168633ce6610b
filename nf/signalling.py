"""All signalling that names subscribers: one place that knows which tracker a datagram is for.

UDP 8805   PFCP      TS 29.244, 6.4
UDP 2123   GTPv2-C   TS 29.274, 4.2.1.1
           GTPv1-C   TS 29.060, 10.1.1; the version stands in the first three bits of both
UDP 1813   RADIUS    RFC 2866, 3: accounting
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable

from gtp.events import Notice, PeersRefused, SessionEvent
from gtp.gtpc.tracker_v1 import GtpV1Tracker
from gtp.gtpc.tracker_v2 import GtpV2Tracker
from gtp.ip import Datagram, UdpReader
from gtp.pfcp.message import PORT as _PFCP
from gtp.pfcp.tracker import PfcpTracker
from gtp.sctp import read_sctp
from nf.ngap import PORT as _NGAP
from nf.ngap import NgapTracker
from nf.radius import PORT as _RADIUS
from nf.radius import RadiusTracker

__all__ = ["PORTS", "Signalling"]

log = logging.getLogger(__name__)

_GTPC = 2123
PORTS = (_PFCP, _GTPC, _RADIUS, _NGAP)


class Signalling:
    """The trackers of one observer. Not thread-safe, but its counters may be read from another thread."""

    def __init__(self, first: int = 0) -> None:
        """Begin. Keys of sessions count on from *first*: two observers must not tell of sessions under one key."""
        self.pfcp, self.gtpv2, self.gtpv1, self.radius = PfcpTracker(), GtpV2Tracker(), GtpV1Tracker(), RadiusTracker()
        self.ngap, self.udp = NgapTracker(), UdpReader()
        self._counters: Counter[str] = Counter()
        for tracker in (self.pfcp, self.gtpv2, self.gtpv1, self.radius, self.ngap):
            tracker.count_from(first)

    def frame(self, ethernet: bytes, at_s: float) -> list[SessionEvent]:
        """Take an Ethernet frame seen at *at_s* and return what it changed. Never raises."""
        events = [e for m in read_sctp(ethernet, self._counters) for e in self.ngap.feed(m, at_s)]
        return events + [e for d in self.udp.feed(ethernet, at_s) for e in self.feed(d, at_s)]

    def feed(self, d: Datagram, at_s: float) -> list[SessionEvent]:
        """Take a datagram seen at *at_s* and return what it changed; of other ports, nothing. Never raises."""
        src, dst = (d.src, d.sport), (d.dst, d.dport)
        ports = (d.sport, d.dport)
        if _PFCP in ports:
            return self.pfcp.feed(d.payload, src, dst, at_s)
        if _GTPC in ports:
            tracker = self.gtpv1 if d.payload and d.payload[0] >> 5 == 1 else self.gtpv2
            return tracker.feed(d.payload, src, dst, at_s)
        return self.radius.feed(d.payload, src, at_s) if _RADIUS in ports else []

    def use_peers(self, allowed: Iterable[str]) -> None:
        """Let only nodes with these addresses or prefixes speak PFCP with each other; none: those that are learned."""
        self.pfcp.use_peers(allowed)

    def notices(self) -> list[Notice]:
        """Return what the operator is to be told, once; each is in the log then."""
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
        """What all trackers counted; each name begins with its protocol."""
        total: Counter[str] = Counter()
        for part in (self.pfcp, self.gtpv2, self.gtpv1, self.radius, self.ngap, self.udp):
            total.update(dict(part.counters))  # of a copy: another thread may be adding a name
        total.update(dict(self._counters))
        if self.pfcp.apart:
            total["pfcp_apart"] = self.pfcp.apart
        return total
