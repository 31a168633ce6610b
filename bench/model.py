"""The model of docs/scaling.md, checked here: the independence of receive rings, and the cost of flows.

One thread a CPU runs the program over flows of its own (as RSS does), at the same time; packets a second of both
together against those of one. The model says: twice as many.
"""

from __future__ import annotations

import functools
import os
import threading

from bench import rig
from bench.figure import Figure
from nf.kernel import syscall

ROUNDS, REPEAT = 7, 1_000_000
FLOWS = {"10 k": 1 << 13, "100 k": 1 << 17, "1 M": 1 << 20}


class _Rings:
    """The walk on one or two CPUs at once."""

    def __init__(self, table: rig.Table, cpus: list[int]) -> None:
        self.table, self.cpus = table, cpus
        self.frame = rig.tcp_frame()

    def ns(self, rings: int, flows: int) -> float:
        """Return nanoseconds a packet of a ring (the mean of the rings), with *flows* flows in all."""
        share, took = flows // rings, [0.0] * rings
        ready = threading.Barrier(rings)

        def one(i: int) -> None:
            cpu = self.cpus[i]
            os.sched_setaffinity(0, {cpu})
            self.table.plan(share, burst=4, first=share * i, cpu=cpu)
            run = syscall.TestRun(self.table.walk, 512)
            ready.wait()
            took[i] = run.repeat(self.frame, REPEAT)

        threads = [threading.Thread(target=one, args=(i,)) for i in range(rings)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(took) / rings


def measure() -> list[Figure]:
    """Return the figures of the model; needs two CPUs."""
    rig.one_cpu()
    cpus = rig.CPUS[-2:]
    table = rig.Table(max(FLOWS.values()))
    rings = _Rings(table, cpus)
    try:
        ns = rig.interleave(
            {
                f"{name} flows, {n} ring{'s' * (n > 1)}": functools.partial(rings.ns, n, flows)
                for name, flows in FLOWS.items()
                for n in range(1, len(cpus) + 1)
            },
            ROUNDS,
        )
    finally:
        table.close()
    note = (
        f"ns a packet of each ring, bursts of 4 of one flow, loop and walk included, minimum of {ROUNDS} x {REPEAT}; "
        "the flows are shared out between the rings; 10 k is 8,192, 100 k 131,072, 1 M 1,048,576"
    )
    return [
        Figure(
            f"2 rings / 1 ring, packets a second, {name} flows",
            2 * ns[f"{name} flows, 1 ring"] / ns[f"{name} flows, 2 rings"],
            "ratio",
            1.8,
            ns,
            note,
            more=True,
        )
        for name in FLOWS
        if len(cpus) > 1
    ]
