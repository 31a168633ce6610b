"""Processes that read payloads: two against one, by split ClientHellos a second, the feeding process included."""

from __future__ import annotations

import contextlib
import functools
import os
import time

import numpy as np
from numpy.typing import NDArray

from bench import rig
from bench.figure import Figure
from bench.traffic import client_hello
from nf.apps.signatures import Signatures
from nf.kernel.dataplane import DataPlane
from nf.naming.workers import Workers
from nf.settings import Limits

ROUNDS, FLOWS, CUT, BATCH = 5, 4000, 60, 500
_TCP = 6


def _records(record: np.dtype[np.void]) -> NDArray[np.void]:
    """Return the payload records of ClientHellos in two segments, each of a flow of another subscriber."""
    rows = np.zeros(2 * FLOWS, record)
    hello = client_hello("www.example.org")
    for row, data in (rows[::2], hello[:CUT]), (rows[1::2], hello[CUT:]):
        row["length"] = len(data)
        row["data"][:, : len(data)] = np.frombuffer(data, np.uint8)
        row["session"] = 1 + np.arange(FLOWS)
        row["key"]["proto"], row["key"]["port_b"] = _TCP, np.uint16(443).byteswap()
    rows["seq"][1::2] = CUT
    return rows


class _Bench:
    """The same records again and again, on flows with other numbers."""

    def __init__(self, rows: NDArray[np.void], pools: dict[int, Workers]) -> None:
        self.rows, self.pools = rows, pools
        self.numbers = np.repeat(np.arange(FLOWS, dtype=np.uint64), 2)

    def us(self, workers: int) -> float:
        """Return microseconds a flow, from the first record given to the last name back."""
        pool, heard = self.pools[workers], 0
        self.rows["number"] = self.numbers
        self.numbers += np.uint64(FLOWS)
        begun = time.perf_counter_ns()
        for at in range(0, len(self.rows), BATCH):
            pool.read(self.rows[at : at + BATCH])
        while heard < FLOWS:
            heard += sum(len(found) for found in pool.found())
            if not pool.status()["waiting"] and heard < FLOWS:
                raise RuntimeError(f"{FLOWS - heard} of {FLOWS} ClientHellos have no name")
            time.sleep(0.001)
        return (time.perf_counter_ns() - begun) / FLOWS / 1e3


def measure() -> list[Figure]:
    """Return the figure of the workers; needs two CPUs."""
    os.sched_setaffinity(0, rig.CPUS)
    plane = DataPlane(Limits(flows=1024, sessions=64), replay=True)
    rows = _records(plane.record_types["payload"])
    plane.close()
    with contextlib.ExitStack() as stack:
        signatures = Signatures.load()
        pools = {n: stack.enter_context(contextlib.closing(Workers(n, signatures, 0.0))) for n in (1, 2)}
        bench = _Bench(rows, pools)
        us = rig.interleave(
            {f"us a flow, {n} worker{'s' * (n > 1)}": functools.partial(bench.us, n) for n in pools}, ROUNDS
        )
    note = f"{FLOWS} ClientHellos of two segments each, in batches of {BATCH} records, minimum of {ROUNDS}; on all CPUs"
    one, two = us.values()
    return [Figure("2 naming workers / 1, new flows a second", one / two, "ratio", 1.5, us, note, more=True)]
