"""A flow table at its limit: many more flows than places, and the bytes of all of them as a consumer adds them up.

The function runs in a process of its own. Each subscriber has one flow that goes on; all others come again after so
many others that their place was another one's meanwhile. Now and then more begin at once than the table gives up in
time, so that some find no place.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from nf.settings import Export, Limits, Settings
from tests.live.flood import KNOWN, SESSIONS, UNKNOWN, user_frame
from tests.live.told import Told, endpoint, listening
from tests.live.wire import N3, N6, Wire, wire

__all__ = ["FLOWS", "PACKET_BYTES", "PLACES", "Seen", "full", "hold_full"]

PLACES = 8192
STRIDE = 4  # one frame in so many is of the flow that a subscriber always has
ROUND = KNOWN * STRIDE  # frames, in which each subscriber sends as much as any other
FLOWS = 100 * ROUND  # that take turns: five times as many as there are places
BURST = 2 * PLACES // ROUND  # rounds at once
BURST_EVERY = 100  # rounds
PACE_S = 0.1  # between two rounds: 4,000 frames and 3,000 new flows a second
PACKET_BYTES = 20 + 8 + 64  # of the UE's packet in `user_frame`: IPv4, UDP, payload


def full(where: str) -> Settings:
    """Return the settings of a function with too small a table; it publishes at *where*."""
    return Settings(
        interfaces=(N3, N6),  # inline, so that the source knows what has arrived
        sessions=SESSIONS,
        limits=Limits(flows=PLACES, sessions=256),
        export=Export(endpoint=where, batch_ms=1000),
    )


CHILD = """
import json
import sys
import threading
from lab.net import child_of_the_lab
child_of_the_lab(sys.argv[1])
from nf.service import Service
from nf.settings import Settings
from tests.live.full_table import full
with Service() as service:
    service.apply(Settings(), full(sys.argv[2]))
    thread = threading.Thread(target=service.run)
    thread.start()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(service.plane.read_counters("n3")), flush=True)
    service.stop()
    thread.join()
"""


@dataclass
class Seen:
    """The bytes of the source, and those that a consumer of the bus was told of."""

    sent_bytes: int
    record_bytes: int
    by_subscriber: Mapping[str, int]
    left_out: Mapping[str, int]  # of the last heartbeat
    lost: int  # messages
    counters: Mapping[str, int]  # of the port, at the end
    resident: Sequence[tuple[float, int]]  # seconds, bytes of the function's process
    seconds: float

    @property
    def missing_bytes(self) -> int:
        """Bytes that were sent and nobody tells of."""
        return self.sent_bytes - self.record_bytes - sum(self.left_out.values())

    def usual_resident(self, begin: float, end: float) -> float:
        """Return the median of the memory in a part of the time, from 0 to 1.

        An interval takes some, and gives it back, and so does the allocator now and then.
        """
        return median(octets for at_s, octets in self.resident if begin <= at_s / self.seconds <= end)


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def _send(bump: Wire, told: Told, pid: int, seconds: float) -> list[tuple[float, int]]:
    """Send rounds and bursts for so long, and return the memory of the function now and then."""
    frame, begun, turn = user_frame(), time.monotonic(), 0
    resident: list[tuple[float, int]] = []
    while (at_s := time.monotonic() - begun) < seconds:
        turn += 1
        bump.send(frame, ROUND * BURST if turn % BURST_EVERY == 0 else ROUND)
        if turn % BURST_EVERY == BURST_EVERY // 2:
            resident.append((at_s, _resident_bytes(pid)))
        told.take(max(0.0, turn * PACE_S - (time.monotonic() - begun)))
    return resident


def hold_full(seconds: float) -> Seen:
    """Hold the table full for so long, and return what became of it."""
    with (
        endpoint() as where,
        wire(**UNKNOWN | {"STRIDE": STRIDE, "FLOWS": FLOWS}) as bump,
        subprocess.Popen(
            [sys.executable, "-c", CHILD, bump.path, where], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        with listening(where, apart=False) as told:
            told.wait(1)
            resident = _send(bump, told, child.pid, seconds)
            told.to_the_end()
        child.stdin.write("\n")
        child.stdin.flush()
        counters = json.loads(child.stdout.readline())
        sent = bump.sent()
        assert bump.seen() == sent
        child.communicate()
    return Seen(
        sent_bytes=sent * PACKET_BYTES,
        record_bytes=told.record_bytes[told.boot],
        by_subscriber=told.by_subscriber,
        left_out=told.left_out[told.boot],
        lost=told.lost,
        counters=counters,
        resident=resident,
        seconds=seconds,
    )
