"""A video player over any ``get(path)``: segments, a playback buffer, and a bit rate chosen by both.

The rule is the classic mix: the highest level below a share of the measured throughput, and the
lowest level while the buffer is short. Truth is everything that a viewer would notice: start-up, stalls, level.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

__all__ = ["LIVE", "ON_DEMAND", "Shape", "play"]

LADDER_BPS = (400_000, 800_000, 1_500_000, 3_500_000)  # 240 to 720 lines, and 1080 at a low rate
_SHARE = 0.7  # of the measured throughput
_SMOOTH = 0.4  # weight of the last segment


@dataclass(frozen=True, slots=True)
class Shape:
    """Segments and buffer of a service."""

    segment_s: float
    full_s: float  # no request while so much is buffered
    low_s: float  # the lowest level below this
    start_s: float  # playback starts with this


ON_DEMAND = Shape(segment_s=2.0, full_s=12.0, low_s=4.0, start_s=2.0)
LIVE = Shape(segment_s=1.0, full_s=3.0, low_s=1.0, start_s=1.0)


class _Buffer:
    """Seconds of video that wait to be shown; playing drains it in real time."""

    def __init__(self, start_s: float) -> None:
        self._start_s, self._level_s, self._at = start_s, 0.0, time.monotonic()
        self.playing = False
        self.stalls, self.stalled_s = 0, 0.0

    def level(self) -> float:
        """Return the seconds buffered now."""
        now = time.monotonic()
        gone, self._at = now - self._at, now
        if self.playing:
            self._level_s -= gone
            if self._level_s < 0:
                self.stalls, self.stalled_s = self.stalls + 1, self.stalled_s - self._level_s
                self._level_s, self.playing = 0.0, False
        elif self.stalls:
            self.stalled_s += gone
        return self._level_s

    def add(self, seconds: float) -> None:
        """Add a segment behind the others."""
        self._level_s = self.level() + seconds
        self.playing = self.playing or self._level_s >= self._start_s


async def play(get: Callable[[str], Awaitable[bytes]], shape: Shape, say: Callable[..., None]) -> None:
    """Watch for ever; one line of truth a segment."""
    began = time.monotonic()
    buffer = _Buffer(shape.start_s)
    rate = 0.0
    startup_ms: float | None = None
    while True:
        while (level := buffer.level()) > shape.full_s:
            await asyncio.sleep(level - shape.full_s)
        fitting = [bps for bps in LADDER_BPS if bps <= rate * _SHARE]
        bps = LADDER_BPS[0] if level < shape.low_s or not fitting else fitting[-1]
        size = int(bps * shape.segment_s / 8)
        start = time.monotonic()
        await get(f"/bytes/{size}")
        seen = size * 8 / (time.monotonic() - start)
        rate = seen if not rate else (1 - _SMOOTH) * rate + _SMOOTH * seen
        buffer.add(shape.segment_s)
        if startup_ms is None and buffer.playing:
            startup_ms = round((time.monotonic() - began) * 1000, 1)
        say(
            level_bps=bps,
            buffer_s=round(buffer.level(), 2),
            stalls=buffer.stalls,
            stalled_s=round(buffer.stalled_s, 2),
            startup_ms=startup_ms,
        )
