"""Bytes as a consumer of the bus adds them up: those in records, by interval and subscriber, and those in none."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from feed.consumer import Subscriber
from feed.wire import Message
from tests.live.conftest import wait_until

__all__ = ["Told", "endpoint", "listening"]

AFTER = 4  # intervals after the last frame: what is known of its flow is in their records
LEFT_OUT = ("unflowed_bytes", "unread_bytes", "outside_bytes")


class Told:
    """All that was heard. Functions that follow one another on one endpoint are told apart by their boot."""

    def __init__(self, bus: Subscriber, *, apart: bool = True) -> None:
        """*apart*: keep each interval."""
        self._bus, self._apart = bus, apart
        self.record_bytes: Counter[str] = Counter()  # by boot
        self.by_subscriber: Counter[str] = Counter()
        self.by_interval: dict[tuple[str, int], dict[str, int]] = defaultdict(dict)  # (boot, end in ms): subscriber
        self.apps: dict[tuple[str, int], set[str]] = defaultdict(set)
        self.lengths_ms: dict[tuple[str, int], int] = {}
        self.left_out: dict[str, dict[str, int]] = {}  # by boot, of the last heartbeat
        self.boot, self.ended = "", 0  # the last heard, and how many intervals it has ended

    @property
    def lost(self) -> int:
        """Messages that were published and did not come, or came damaged."""
        return self._bus.gaps + self._bus.malformed

    def take(self, seconds: float = 0.0) -> None:
        """Take what comes within so many seconds."""
        end = time.monotonic() + seconds
        while (message := self._bus.receive(max(0.0, end - time.monotonic()))) is not None:
            self._add(message)

    def _add(self, message: Message) -> None:
        columns, boot = message.columns, message.header.boot
        if message.topic.startswith("health.v1/"):
            self.left_out[boot] = {name: int(columns[name][0]) for name in LEFT_OUT}
            self.boot, self.ended = boot, int(columns["intervals"][0])
            return
        both = np.nansum([columns["ul_bytes"], columns["dl_bytes"]], axis=0).astype(np.int64)
        self.record_bytes[boot] += int(both.sum())
        rows = zip(*(columns[c] for c in ("subscriber", "t_ms", "interval_ms", "app")), both.tolist(), strict=True)
        for who, t_ms, length_ms, app, octets in rows:
            self.by_subscriber[who] += octets
            if self._apart:
                interval = self.by_interval[boot, int(t_ms)]
                interval[who] = interval.get(who, 0) + octets
                self.apps[boot, int(t_ms)].add(app)
                self.lengths_ms[boot, int(t_ms)] = int(length_ms)

    def wait(self, intervals: int, *, not_of: str = "") -> None:
        """Take all until so many intervals more have ended, of another boot than *not_of*."""
        begun = None

        def ended() -> bool:
            nonlocal begun
            self.take()
            if self.boot in ("", not_of):
                return False
            begun = self.ended if begun is None else begun
            return self.ended >= begun + intervals

        wait_until(ended, f"{intervals} intervals of the function")

    def to_the_end(self) -> None:
        """Take all that the function says of the frames that came so far."""
        self.wait(AFTER)
        self.take(1.0)


@contextmanager
def endpoint() -> Iterator[str]:
    """Make an endpoint that nobody else has."""
    with TemporaryDirectory(prefix="snf-") as folder:
        yield f"ipc://{Path(folder)}/bus"


@contextmanager
def listening(where: str, *, apart: bool = True) -> Iterator[Told]:
    """Listen to all records and heartbeats."""
    with Subscriber(where, ["qoe.v1/", "health.v1/"]) as bus:
        yield Told(bus, apart=apart)
