"""All signalling that names subscribers: one place that knows which tracker a datagram is for.

UDP 8805   PFCP      TS 29.244, 6.4
UDP 2123   GTPv2-C   TS 29.274, 4.2.1.1
           GTPv1-C   TS 29.060, 10.1.1; the version stands in the first three bits of both
"""

from __future__ import annotations

from collections import Counter

from gtp.events import SessionEvent
from gtp.gtpc.tracker_v1 import GtpV1Tracker
from gtp.gtpc.tracker_v2 import GtpV2Tracker
from gtp.ip import Datagram
from gtp.pfcp.tracker import PfcpTracker

__all__ = ["PORTS", "Signalling"]

_PFCP, _GTPC = 8805, 2123
PORTS = (_PFCP, _GTPC)


class Signalling:
    """The trackers of one observer. Not thread-safe."""

    def __init__(self) -> None:
        self.pfcp, self.gtpv2, self.gtpv1 = PfcpTracker(), GtpV2Tracker(), GtpV1Tracker()

    def feed(self, d: Datagram, at_s: float) -> list[SessionEvent]:
        """Take a datagram seen at *at_s* and return what it changed; of other ports, nothing. Never raises."""
        ports = (d.sport, d.dport)
        src, dst = (d.src, d.sport), (d.dst, d.dport)
        if _PFCP in ports:
            return self.pfcp.feed(d.payload, src, dst, at_s)
        if _GTPC not in ports:
            return []
        tracker = self.gtpv1 if d.payload and d.payload[0] >> 5 == 1 else self.gtpv2
        return tracker.feed(d.payload, src, dst, at_s)

    @property
    def counters(self) -> Counter[str]:
        """What all trackers counted; each name begins with its protocol."""
        total: Counter[str] = Counter()
        for tracker in (self.pfcp, self.gtpv2, self.gtpv1):
            total.update(dict(tracker.counters))  # of a copy: another thread may be adding a name
        return total
