"""Shards: two processes against one, by active flows a second, from the flow table to records.

The flows of `bench.scale`, of subscribers with a session; time on the wall, on all CPUs that this process may use.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable

from bench import rig, scale
from bench.figure import Figure
from nf.apps.signatures import Signatures
from nf.naming.inference import TURN_S
from nf.pipeline import Pipeline, Shards
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore

FLOWS, FLOWS_A_UE, ROUNDS = 1 << 17, scale.FLOWS_A_UE, 5
_KEY = b"a key of the bench"


def _seconds(table: rig.Table, sink: scale.Counted, sweep: Callable[[float], object]) -> float:
    """Return how long an interval takes in which all flows had packets."""
    cpus = os.sched_getaffinity(0)
    rig.one_cpu()
    table.touch(FLOWS)
    os.sched_setaffinity(0, cpus)
    before, begun = sink.rows, time.perf_counter_ns()
    sweep(table.plane.now_ns() / 1e9)
    took = (time.perf_counter_ns() - begun) / 1e9
    if sink.rows - before < FLOWS // FLOWS_A_UE:
        raise RuntimeError(f"{FLOWS} active flows made {sink.rows - before} rows only.")
    return took


def _told(table: rig.Table, pipeline: Pipeline | Shards) -> None:
    """Have all flows told once more, in blocks that the rings hold: their beginnings were read with the table."""
    table.plane.tell_again()
    for first in range(0, FLOWS, rig.BLOCK):
        table.walk_over(first, rig.BLOCK)
        pipeline.drain()
    pipeline.sweep(table.plane.now_ns() / 1e9)


def measure() -> list[Figure]:
    """Return the figure of two shards; needs two CPUs."""
    os.sched_setaffinity(0, rig.CPUS)
    with contextlib.ExitStack() as stack:
        cases: dict[str, Callable[[], float]] = {}
        for count in (1, 2):
            rig.one_cpu()
            table = rig.Table(FLOWS, room=FLOWS + FLOWS // 4, sessions=FLOWS // FLOWS_A_UE)
            stack.callback(table.close)
            os.sched_setaffinity(0, rig.CPUS)
            store, sink = BindingStore(FLOWS // FLOWS_A_UE), scale.Counted()
            parts = table.plane, Signatures.load(), store, Pseudonymiser(_KEY, 1), sink
            pipeline = Shards(count, *parts, turn_s=TURN_S) if count > 1 else Pipeline(*parts)
            stack.callback(pipeline.close)
            if isinstance(pipeline, Pipeline):
                pipeline.naming.inference.turn_s = TURN_S  # as the service runs
            scale.sessions(table, store, FLOWS // FLOWS_A_UE, table.plane.now_ns() / 1e9)
            _told(table, pipeline)
            cases[f"{FLOWS:,} active flows, {count} process{'es' * (count > 1)}, s"] = functools.partial(
                _seconds, table, sink, pipeline.sweep
            )
        s = rig.interleave(cases, ROUNDS)
    one, two = s.values()
    note = f"{FLOWS} flows of {FLOWS // FLOWS_A_UE} subscribers, seconds on the wall, minimum of {ROUNDS}; on all CPUs"
    return [Figure("2 shards / 1, active flows a second", one / two, "ratio", 1.6, s, note, more=True)]
