"""All signalling that names subscribers: one place that knows which tracker a datagram is for.

UDP 8805   PFCP      TS 29.244, 6.4
UDP 2123   GTPv2-C   TS 29.274, 4.2.1.1
           GTPv1-C   TS 29.060, 10.1.1; the version stands in the first three bits of both
UDP 1813   RADIUS    RFC 2866, 3: accounting
"""

from __future__ import annotations

from collections import Counter

from gtp.events import SessionEvent
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

    @property
    def counters(self) -> Counter[str]:
        """What all trackers counted; each name begins with its protocol."""
        total: Counter[str] = Counter()
        for part in (self.pfcp, self.gtpv2, self.gtpv1, self.radius, self.ngap, self.udp):
            total.update(dict(part.counters))  # of a copy: another thread may be adding a name
        total.update(dict(self._counters))
        return total
