"""An interval at the promised scale: a full book and a full table, of which some flows had packets.

A million flows of 131,072 subscribers with a session are in the table and in the book. Between two sweeps as many of
them as a case says get one packet each, by the walk of `bench.rig`. What estimates cost where all flows have much to
tell is a row of its own: `bench.estimators`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench import estimators, rig
from bench.figure import Figure
from feed.records import Columns, RecordBatch
from gtp.events import Identity, Session, SessionUp, Tunnel
from nf.apps.signatures import Signatures
from nf.flows.book import FlowBook
from nf.naming.inference import TURN_S
from nf.pipeline import Pipeline
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore, TableChange

MILLION, FLOWS_A_UE, ROUNDS = 1 << 20, 8, 3
ACTIVE = (1 << 14, 1 << 17, 1 << 18)  # of the flows, in the sweeps that are timed: powers of two, as the walk wants
_AT_ONCE = 4096  # sessions that are written to the kernel's table together
SMALL, ADDED, DRAINS = 10_000, 50, 40  # rows of a small book; new flows of a drain: 1,000 a second, 20 drains


@dataclass
class Counted:
    """A sink that counts rows."""

    rows: int = 0
    names: frozenset[str] = field(default_factory=frozenset)

    def records(self, batch: RecordBatch) -> None:
        self.rows += len(batch)

    def followed(self) -> frozenset[str]:
        return self.names

    def detail(self, subscriber: str, records: Columns, flows: Columns, t_start_s: float, t_end_s: float) -> None:
        raise RuntimeError("Nobody is followed.")


def _seconds(work: Callable[[], object]) -> float:
    begun = time.process_time_ns()
    work()
    return (time.process_time_ns() - begun) / 1e9


def sessions(table: rig.Table, store: BindingStore, subscribers: int, at_s: float) -> None:
    """Give each UE of the walk its session, by the address and the TEID that the walk writes."""
    changes: list[TableChange] = []
    for n in range(subscribers):
        if n % _AT_ONCE == 0:
            rig.progress(f"sessions {n} of {subscribers}")
            table.plane.write(changes)
            changes.clear()
        number, teid = 0x0A40_0000 + n, 0x1_0000 + n
        ue = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
        session = Session(f"bench-{n}", "pfcp", Identity(imsi=f"00101{n:010d}"), ue_ipv4=ue, dnn="internet",
                          instance="internet", tunnels=(Tunnel("10.10.0.2", teid),))  # fmt: skip
        changes += store.apply(SessionUp(at_s, session))
    table.plane.write(changes)


def _case(flows: int) -> str:
    return f"sweep, {flows:,} active of 1 M, s"


def _later(events: NDArray[np.void], first: int) -> NDArray[np.void]:
    """Return new flows as a drain reads them, numbered from *first* on."""
    new = events[:ADDED].copy()
    new["number"] = first + np.arange(ADDED, dtype=np.uint64)
    return new


def _added_us(book: FlowBook, events: NDArray[np.void]) -> float:
    """Return the microseconds of CPU that a new flow costs the book, in drains of some flows each."""
    first = int(book.rows["number"][-1]) + 1
    drains = [_later(events, first + ADDED * n) for n in range(DRAINS)]

    def add() -> None:
        for new in drains:
            book.add(new)
            book.at(new["number"])

    return _seconds(add) / (DRAINS * ADDED) * 1e6


def measure() -> list[Figure]:
    """Return the figures of sweeps and additions with a million flows present."""
    rig.one_cpu()
    table = rig.Table(MILLION, room=MILLION + MILLION // 4, sessions=MILLION // FLOWS_A_UE, remember=True)
    store, sink = BindingStore(MILLION // FLOWS_A_UE), Counted()
    pipeline = Pipeline(table.plane, Signatures.load(), store, Pseudonymiser(b"a key of the bench", 1), sink)
    pipeline.naming.inference.turn_s = TURN_S  # as the service runs

    def sweep() -> None:
        pipeline.sweep(table.plane.now_ns() / 1e9)

    try:
        sessions(table, store, MILLION // FLOWS_A_UE, table.plane.now_ns() / 1e9)
        small = FlowBook()
        small.add(table.events[:SMALL])
        for first in range(0, MILLION, 1 << 16):
            pipeline.book.add(table.events[first : first + (1 << 16)])
        table.touch(MILLION)  # each flow asks for its session
        sweep()

        def active(flows: int) -> Callable[[], float]:
            def once() -> float:
                table.touch(flows)
                before = sink.rows
                took = _seconds(sweep)
                if flows and sink.rows - before < flows // FLOWS_A_UE:
                    raise RuntimeError(f"{flows} active flows made {sink.rows - before} rows only.")
                return took

            return once

        cases = {_case(flows): active(flows) for flows in ACTIVE}
        cases["sweep, 1 M present and idle, s"] = active(0)
        cases["new flow, 10 k in the book, us"] = lambda: _added_us(small, table.events)
        cases["new flow, 1 M in the book, us"] = lambda: _added_us(pipeline.book, table.events)
        s = rig.interleave(cases, ROUNDS)
    finally:
        pipeline.close()
        table.close()
    note = (
        f"{MILLION} flows and {MILLION // FLOWS_A_UE} sessions present; CPU seconds of this process, minimum of "
        f"{ROUNDS}; new flows in drains of {ADDED}"
    )
    grows = s["new flow, 1 M in the book, us"] / s["new flow, 10 k in the book, us"]
    return [
        Figure("sweep, 131 k active of 1 M present", s[_case(ACTIVE[1])], "s", 0.12, s, note),
        Figure("sweep, 262 k active of 1 M present", s[_case(ACTIVE[2])], "s", 0.35, s, note),
        Figure("1 M present and idle, a second", s["sweep, 1 M present and idle, s"] * 1000, "ms", 10, s, note),
        Figure("new flow in a book of 1 M / of 10 k", grows, "ratio", 1.2, s, note),
        *estimators.measure(),
    ]
