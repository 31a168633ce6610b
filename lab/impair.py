"""A radio's effect on packets: delay, jitter, loss and a rate with a queue; for one subscriber and direction.

Pure arithmetic on times that the caller gives, seeded, so that a run can be repeated. Packets never
overtake each other: a radio bearer in acknowledged mode delivers in order (TS 38.322, 5.2.3).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["CLEAN", "Impairment", "Shaper"]


@dataclass(frozen=True, slots=True)
class Impairment:
    """Properties of one direction of a link. Zero means: not there."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0  # each packet is delayed by up to so much more, evenly distributed
    loss: float = 0.0  # share of packets, each on its own
    rate_bps: float = 0.0  # inner IP bits
    queue_ms: float = 200.0  # of the rate; packets that would wait longer are dropped at the tail

    def __post_init__(self) -> None:
        if min(self.delay_ms, self.jitter_ms, self.loss, self.rate_bps, self.queue_ms) < 0 or self.loss > 1:
            raise ValueError("an impairment is not negative, and a loss is at most 1")


CLEAN = Impairment()


class Shaper:
    """Decides for each packet the time at which it leaves, or that it is lost."""

    def __init__(self, seed: str, impairment: Impairment = CLEAN) -> None:
        self.impairment = impairment
        self.lost = self.dropped = self.passed = 0
        self._random = random.Random(seed)
        self._free_s = self._last_s = 0.0  # end of the last transmission; departure of the last packet

    def offer(self, now_s: float, length_bytes: int) -> float | None:
        """Return when a packet of *length_bytes* that arrives at *now_s* leaves, or None if it is lost."""
        how = self.impairment
        if how.loss and self._random.random() < how.loss:
            self.lost += 1
            return None
        at = now_s
        if how.rate_bps:
            start = max(now_s, self._free_s)
            if (start - now_s) * 1000 > how.queue_ms:
                self.dropped += 1
                return None
            at = self._free_s = start + length_bytes * 8 / how.rate_bps
        at += (how.delay_ms + (self._random.random() * how.jitter_ms if how.jitter_ms else 0.0)) / 1000
        at = self._last_s = max(at, self._last_s)
        self.passed += 1
        return at
