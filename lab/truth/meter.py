"""The load of the host, as the lab feels it: a process that sleeps a millisecond at a time and notes how late it wakes.

    python -m lab.truth.meter FILE

Writes one JSON object on SIGTERM: how often it slept, and the largest delay of each second.
Two run beside a set. One has the priority of the packet path: its delays move packets, so more than `LIMIT_MS` makes a
set void. The other has that of browsers and players, whose own account says when a picture was shown; it may wait for
them as they do for each other, but not so long that their user would see it (`CLIENTS_MS`).
"""

from __future__ import annotations

import json
import math
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.net import child_of_the_lab

__all__ = ["CLIENTS_MS", "LIMIT_MS", "Meter", "judged", "main", "void"]

LIMIT_MS = 5.0  # of the packet path
CLIENTS_MS = 50.0  # three pictures at 60 a second
_SLEEP_S = 0.001


@dataclass(slots=True)
class Meter:
    """The delays so far."""

    sleeps: int = 0
    seconds: dict[int, float] = field(default_factory=dict)  # since the epoch -> largest delay in ms

    def add(self, now_s: float, slept_s: float) -> None:
        """Take a sleep of a millisecond that ended at *now_s* and lasted *slept_s*."""
        late_ms = max(0.0, (slept_s - _SLEEP_S) * 1000)
        self.sleeps += 1
        second = int(now_s)
        self.seconds[second] = max(self.seconds.get(second, 0.0), late_ms)

    def plain(self) -> dict[str, Any]:
        """Return the delays as JSON takes them."""
        return {
            "sleeps": self.sleeps,
            "worst_ms_by_second": {str(s): round(ms, 2) for s, ms in self.seconds.items()},
        }


def judged(load: Mapping[str, Any], begin_s: float, end_s: float) -> dict[str, Any]:
    """Return a load with its largest delay and the seconds over the limit, between two times since the epoch."""
    late = {int(s): ms for s, ms in load["worst_ms_by_second"].items() if int(begin_s) <= int(s) <= end_s}
    over = sorted(s for s, ms in late.items() if ms > LIMIT_MS)
    return {"worst_ms": max(late.values(), default=math.inf), "over_limit": over, **load}


def void(load: Mapping[str, Any]) -> bool:
    """Say if a set with these loads says nothing: the host was short of time, or nobody looked."""
    limits = {"path": LIMIT_MS, "clients": CLIENTS_MS}
    return any(who not in load or load[who]["worst_ms"] > most for who, most in limits.items())


def main() -> None:
    """Measure until SIGTERM."""
    child_of_the_lab()
    meter, running = Meter(), [True]
    signal.signal(signal.SIGTERM, lambda *_: running.clear())
    before = time.monotonic()
    while running:
        time.sleep(_SLEEP_S)
        now = time.monotonic()
        meter.add(time.time(), now - before)
        before = time.monotonic()
    Path(sys.argv[1]).write_text(json.dumps(meter.plain()), encoding="ascii")


if __name__ == "__main__":
    main()
