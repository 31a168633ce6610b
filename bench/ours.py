"""Our own cost on a capture: kernel programs on each of its frames, and the user-space side at its usual pace.

The frames are in kernel memory and meet the live programs back to back (`bench.feed`), in slices of `SLICE` frames;
after each slice the rings are read, after each second of the capture the flow table, as the service does. Records are
made into messages as the publisher makes them, at its default batch settings. Reading the file, making sessions and
feeding are no part of any time told here.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench import rig
from bench.feed import Feed
from feed import wire
from feed.records import Columns, RecordBatch
from nf.apps.signatures import Signatures
from nf.kernel.dataplane import DataPlane
from nf.naming.inference import TURN_S
from nf.pipeline import Pipeline
from nf.privacy import Pseudonymiser
from nf.publish.batches import Batches
from nf.sessions import BindingStore
from nf.settings import Export, Limits, Role, StaticSession

__all__ = ["Capture", "Cost", "Messages", "Ours"]

SLICE = 4096  # frames between two looks at the rings: 4 ms at 1 M packets a second, where the service waits 50
INTERVAL_NS = Export().interval_ms * 1_000_000


@dataclass(frozen=True, slots=True)
class Capture:
    """Frames with their times, and the sessions that they belong to."""

    times_ns: NDArray[np.int64]
    frames: Sequence[bytes]
    lengths: NDArray[np.int64]  # bytes of each frame that a program or user space may look at
    sessions: tuple[StaticSession, ...]

    @property
    def octets(self) -> int:
        """Return the bytes on the wire."""
        return sum(map(len, self.frames))


@dataclass(slots=True)
class Cost:
    """One pass: its time, and its output."""

    kernel_ns: float = 0.0  # of the programs on all frames, the feed included
    user_ns: dict[str, float] = field(default_factory=lambda: {"drain": 0.0, "sweep": 0.0, "records": 0.0})
    exported_bytes: int = 0
    records: int = 0
    counters: dict[str, int] = field(default_factory=dict)
    named_flows: int = 0

    @property
    def user_total_ns(self) -> float:
        """Return all of the user-space side."""
        return sum(self.user_ns.values())


class Messages:
    """The sink: batches and messages as the publisher makes them."""

    def __init__(self, cost: Cost | None = None) -> None:
        export = Export()
        self.cost, self.batches, self.seq = cost or Cost(), Batches(export.batch_rows, export.batch_ms), 0

    def records(self, batch: RecordBatch) -> None:
        begun = time.process_time_ns()
        self._encode(self.batches.add(batch))
        took = time.process_time_ns() - begun
        self.cost.user_ns["records"] += took
        self.cost.user_ns["sweep"] -= took  # within which it was called

    def flush(self) -> None:
        self._encode(self.batches.flush())

    def ended(self) -> None:
        """Hear that an interval has ended."""

    def _encode(self, due: Sequence[RecordBatch]) -> None:
        for batch in due:
            header = wire.Header(wire.QOE_SCHEMA, "bench", "0123456789abcdef", self.seq, batch.t_start_s, batch.t_end_s)
            frames = wire.encode(wire.topic("qoe.v1", "bench", batch.app_class), header, batch.columns)
            self.seq += 1
            self.cost.exported_bytes += sum(map(len, frames))
            self.cost.records += len(batch)

    def followed(self) -> frozenset[str]:
        return frozenset()

    def detail(self, subscriber: str, records: Columns, flows: Columns, t_start_s: float, t_end_s: float) -> None:
        raise AssertionError("nobody is followed")


class Ours:
    """The function on a capture, again and again; ``close`` frees the kernel's memory."""

    def __init__(self, capture: Capture, limits: Limits | None = None) -> None:
        self.capture = capture
        self.feed = Feed(capture.frames, capture.lengths, size=max(1536, int(capture.lengths.max())))
        self.plane = DataPlane(limits or Limits(flows=131_072, sessions=65_536))
        self.plane.take_test_runs()
        self.plane.economy = True  # as the service runs
        self.program = self.plane.program(Role.N3)
        self.signatures = Signatures.load(())
        self._slices = self._plan()

    def _plan(self) -> list[tuple[int, bool]]:
        """Return (frames, whether an interval ends behind them) of each slice."""
        seconds = self.capture.times_ns // INTERVAL_NS
        ends = np.flatnonzero(np.diff(seconds)) + 1
        bounds = [0, *ends.tolist(), len(seconds)]
        out = []
        for first, last in itertools.pairwise(bounds):
            cuts = [*range(first, last, SLICE), last]
            out += [(b - a, b == last) for a, b in itertools.pairwise(cuts)]
        return out

    def empty(self) -> float:
        """Return the nanoseconds of the same feed in front of an empty program."""
        self.feed.aim(self.feed.empty)
        return float(sum(self.feed.run(frames) for frames, _ in self._slices))

    def run(
        self,
        around: Callable[[Callable[[], object]], object] = lambda work: work(),
        rounds: int = 1,
        sink: Messages | None = None,
    ) -> Cost:
        """Run the capture so many times one after the other, beginning with empty tables.

        *around* may profile what user space does; *sink* takes the records, of whose cost the answer is.
        """
        sink, store = sink or Messages(), BindingStore(65_536)
        cost = sink.cost
        pseudonymiser = Pseudonymiser(bytes(32), 1)
        offset_s = time.time() - time.monotonic()
        pipeline = Pipeline(
            self.plane, self.signatures, store, pseudonymiser, sink, clock_offset_s=offset_s, idle_s=math.inf
        )
        pipeline.naming.inference.turn_s = TURN_S  # as the service runs
        self.plane.write(store.configure((), self.capture.sessions, time.time()))
        before = self.plane.read_counters()

        def timed(stage: str, work: Callable[[], object]) -> None:
            begun = time.process_time_ns()
            around(work)
            cost.user_ns[stage] += time.process_time_ns() - begun

        at_s = float(self.capture.times_ns[0]) / 1e9 // 1
        pipeline.begin(at_s)
        for number, (frames, ends) in enumerate(self._slices * rounds):
            if number % len(self._slices) == 0:
                self.feed.aim(self.program)
            cost.kernel_ns += self.feed.run(frames)
            timed("drain", pipeline.drain)
            if ends:
                at_s += INTERVAL_NS / 1e9
                timed("sweep", functools.partial(pipeline.sweep, at_s))
                sink.ended()
        timed("records", sink.flush)
        cost.counters = {n: v - before[n] for n, v in self.plane.read_counters().items()}
        self._clear(pipeline, store)
        return cost

    def ring_bytes(self, cost: Cost) -> dict[str, int]:
        """Return the bytes that a pass put into the rings, by kind of content."""
        types = self.plane.record_types
        count, size = cost.counters, {name: types[name].itemsize for name in ("payload", "event")}
        head = size["payload"] - types["payload"]["data"].itemsize
        return {
            "payloads": count["handed_off_octets"],
            "heads": head * count["handed_off"],
            "events": size["event"] * count["flow_new"],
            "room of payload records": size["payload"] * count["handed_off"],
        }

    def _clear(self, pipeline: Pipeline, store: BindingStore) -> None:
        rig.drop_all(self.plane)
        self.plane.write(store.configure(self.capture.sessions, (), time.time()))

    def close(self) -> None:
        """Free the kernel's memory."""
        self.plane.close()
        self.feed.close()
