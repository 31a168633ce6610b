"""Page loads as packets: (time, flow, uplink, payload, goes on), of which `bench.truth.web_captures` makes columns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from bench.truth.web_captures import intervals
from nf.qoe import pages

UE, SERVER, RESOLVER = bytes((10, 45, 0, 2)), bytes((192, 0, 2, 1)), bytes((192, 0, 2, 53))
START_S = 1_700_000_000.25


@dataclass
class Page:
    """Packets of one subscriber, written at times in s after START_S."""

    packets: list = field(default_factory=list)
    rtt_s: float = 0.05
    ports: int = 40_000

    def dns(self, at_s: float) -> None:
        self.ports += 1
        flow = UE, self.ports, RESOLVER, 53, 17
        self.packets += [(at_s, flow, True, 40, False), (at_s + self.rtt_s, flow, False, 80, False)]

    def connect(self, at_s: float) -> tuple:
        """Open a connection; return it. It may ask a round trip later."""
        self.ports += 1
        flow = UE, self.ports, SERVER, 443, 6
        self.packets += [(at_s, flow, True, 0, False), (at_s + self.rtt_s, flow, False, 0, False)]
        return flow

    def fetch(self, flow: tuple, at_s: float, octets: int, *, wait_s: float = 0.0, bps: float = 20e6) -> float:
        """Ask at *at_s*; the answer begins a round trip and *wait_s* later. Return when its last byte came."""
        self.packets.append((at_s, flow, True, 400, False))
        at_s += self.rtt_s + wait_s
        for at in range(0, octets, 1400):
            part = min(1400, octets - at)
            at_s += 8 * part / bps
            self.packets.append((at_s, flow, False, part, False))
        return at_s

    def seen(self, *, quiet_s: float = 10.0, phase_s: float = 0.0) -> list[pages.Seen]:
        ordered = sorted((START_S + at, *rest) for at, *rest in self.packets)
        return list(intervals(iter(ordered), quiet_s=quiet_s, phase_s=phase_s))


def told(seen: list[pages.Seen], profile: pages.Profile = pages.DEFAULT) -> list[tuple[float, pages.Estimates]]:
    """Return (end of the interval after START_S, estimates) of each interval."""
    state, out = np.zeros(1, pages.STATE), []
    for interval in seen:
        state, estimates = pages.advance(state, interval, profile)
        out.append((interval.now_s - START_S, estimates))
    return out


def ended(seen: list[pages.Seen], profile: pages.Profile = pages.DEFAULT) -> list[float]:
    """Return the times of the pages that ended."""
    return [float(e.page_s[0]) for _, e in told(seen, profile) if e.pages[0]]


def simple(*, wait_s: float = 0.1, objects: int = 8, octets: int = 60_000, bps: float = 20e6) -> tuple[Page, float]:
    """Return a page of objects one after the other, and when the last one was there."""
    page = Page()
    page.dns(0.0)
    flow = page.connect(page.rtt_s)
    at_s = 2 * page.rtt_s
    for _ in range(objects):
        at_s = page.fetch(flow, at_s, octets, wait_s=wait_s, bps=bps)
    return page, at_s
