"""Conditions over time: a list of steps, each an impairment of one segment from a moment on. Values only.

The segments are those between a user and his content: ``radio`` (behind the gNB), ``upf`` (between N3 and N6),
``core`` (behind N6) and ``server`` (the time it thinks before it answers). N3 itself is not among them: without echoes
of the gNB a probe cannot tell it from the radio, and the lab's gNB sends none.
"""

from __future__ import annotations

import random
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from lab.impair import Impairment

__all__ = ["FLOOR_BPS", "SEGMENTS", "Step", "fall_and_rise", "impaired", "outage", "steady", "trace", "trace_rates"]

SEGMENTS = ("radio", "upf", "core", "server")
FLOOR_BPS = 30_000.0  # an outage: no full packet in a third of a second, and the queue is lost as in radio link failure
CEILING_BPS = 12e6  # that the endpoints in Python carry beside a browser on two processors


@dataclass(frozen=True, slots=True)
class Step:
    """An impairment of a segment from *at_s* of the set on; *wait_ms* is the server's."""

    at_s: float
    segment: str
    downlink: Impairment | None = None
    uplink: Impairment | None = None
    wait_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.segment not in SEGMENTS:
            raise ValueError(f"{self.segment} is no segment; there are {', '.join(SEGMENTS)}")

    def plain(self) -> dict[str, Any]:
        """Return the step as JSON takes it."""
        return asdict(self)


def steady(downlink: Impairment, uplink: Impairment) -> list[Step]:
    """Return the one step of a radio that stays as it is."""
    return [Step(0.0, "radio", downlink, uplink)]


def rates(base: Impairment, bps: Iterable[float], every_s: float = 1.0, from_s: float = 0.0) -> list[Step]:
    """Return steps of the radio's downlink with one rate after the other, inside what the lab can carry."""
    held = (min(max(rate, FLOOR_BPS), CEILING_BPS) for rate in bps)
    return [Step(from_s + i * every_s, "radio", replace(base, rate_bps=rate)) for i, rate in enumerate(held)]


def outage(base: Impairment, begin_s: float, end_s: float) -> list[Step]:
    """Return the steps of a radio that carries next to nothing for a while."""
    return [Step(begin_s, "radio", replace(base, rate_bps=FLOOR_BPS)), Step(end_s, "radio", base)]


def fall_and_rise(base: Impairment, low_bps: float, begin_s: float, end_s: float, steps: int = 3) -> list[Step]:
    """Return the steps of a rate that falls to *low_bps* in *steps* of five seconds, and rises at once at *end_s*."""
    high = base.rate_bps
    down = [high * (low_bps / high) ** ((i + 1) / steps) for i in range(steps)]
    return [*rates(base, down, every_s=5.0, from_s=begin_s), Step(end_s, "radio", base)]


def impaired(segment: str, begin_s: float, end_s: float, how: Impairment, before: Impairment) -> list[Step]:
    """Return the steps of one segment that is impaired for a while; half of a delay goes to each direction."""
    if segment == "server":
        return [Step(begin_s, segment, wait_ms=how.delay_ms), Step(end_s, segment)]
    half = replace(
        before,
        delay_ms=before.delay_ms + how.delay_ms / 2,
        jitter_ms=before.jitter_ms + how.jitter_ms / 2,
        loss=max(before.loss, how.loss),
    )
    up, half = half, replace(half, rate_bps=how.rate_bps or before.rate_bps)  # a rate is the downlink's
    return [Step(begin_s, segment, half, up), Step(end_s, segment, before, before)]


def trace_rates(archive: Path, member: str) -> list[float]:
    """Read a throughput trace, Mbit/s a line and second, out of an archive; in bit/s."""
    with tarfile.open(archive) as tar:
        file = tar.extractfile(member)
        if file is None:
            raise ValueError(f"{member} is not a file of {archive}")
        return [float(line) * 1e6 for line in file.read().decode("ascii").split()]


def trace(base: Impairment, measured: Sequence[float], mean_bps: float, seconds: int, seed: int) -> list[Step]:
    """Return *seconds* of a measured trace from a place that *seed* chooses, scaled to a mean of *mean_bps*."""
    if not measured or not max(measured):
        raise ValueError("the trace carries nothing")
    start = random.Random(f"trace/{seed}").randrange(len(measured))
    part = [measured[(start + i) % len(measured)] for i in range(seconds)]
    mean = sum(part) / len(part) or sum(measured) / len(measured)
    return rates(base, (rate * mean_bps / mean for rate in part))
