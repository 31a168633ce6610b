"""Time that goes on evenly, and its labels by the clock on the wall.

Everything that compares two moments, or waits, uses `Clock.now_s`: the monotonic clock of the kernel (which the
programs use as well) with a fixed offset, so that it reads like the time since the epoch. An operator, NTP or the
host of a virtual machine may set the clock on the wall meanwhile: that changes `Clock.label_s`, the published time of
a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Clock", "Step", "interval_end_s"]

_STEP_S = 0.128  # above it NTP sets a clock, below it makes it run faster or slower (STEPT, RFC 5905, section 11.3)
_SLEW = 1 / 12  # the most that a clock is made run faster or slower (chrony.conf(5), maxslewrate: 83,333 ppm)
_LABEL_S = 0.001  # records carry milliseconds
_APART_S = 0.001  # between two readings of one clock, around one of the other: else this thread had to wait
_TRIES = 8


def interval_end_s(begun_s: float, interval_ms: int) -> float:
    """Return when an interval that began at *begun_s* ends: at a multiple of its length, however late it began."""
    return (int(begun_s * 1e3) // interval_ms + 1) * interval_ms / 1e3


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the clock on the wall."""

    seconds: float  # forward: positive
    at_s: float  # time at which it was seen, of `Clock.now_s`


class Clock:
    """One function's time. *monotonic* and *wall* return seconds; *offset_s* is that of the previous process."""

    def __init__(
        self,
        offset_s: float | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic, self._wall = monotonic, wall
        self._seen_s, self._looked_s = self._difference()
        self.offset_s = self._seen_s if offset_s is None else offset_s
        self.shift_s = self._seen_s - self.offset_s  # the published time of a moment is so much later
        self.steps = 0
        self.last: Step | None = None

    def now_s(self) -> float:
        """Return seconds that never step; about those since the epoch."""
        return self._monotonic() + self.offset_s

    def label_s(self, at_s: float) -> float:
        """Return the time of a moment of `now_s` by the clock on the wall, as it goes now."""
        return at_s + self.shift_s

    def look(self) -> Step | None:
        """Compare the clocks; to be called often. Returns the step of the clock on the wall since, if it made one."""
        difference_s, at_s = self._difference()
        moved_s, elapsed_s = difference_s - self._seen_s, at_s - self._looked_s
        self._seen_s, self._looked_s = difference_s, at_s
        if abs(difference_s - self.offset_s - self.shift_s) >= _LABEL_S:
            self.shift_s = difference_s - self.offset_s
        if abs(moved_s) <= _STEP_S + _SLEW * elapsed_s:
            return None
        self.steps += 1
        self.last = Step(moved_s, at_s + self.offset_s)
        return self.last

    def _difference(self) -> tuple[float, float]:
        """Return the clock on the wall less the monotonic one, and the time of the latter."""
        best: tuple[float, float, float] | None = None
        for _ in range(_TRIES):
            before_s, wall_s, after_s = self._monotonic(), self._wall(), self._monotonic()
            found = after_s - before_s, wall_s - (before_s + after_s) / 2, after_s
            best = found if best is None else min(best, found)
            if found[0] <= _APART_S:
                break
        assert best is not None  # _TRIES > 0
        return best[1], best[2]
