"""Reading a million flows: bcc's ``items()`` against batches into columns, and an interval with the deltas.

The cost of an interval at this scale has its goals in bench/scale.py.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import rig
from bench.figure import Figure
from nf.flows.deltas import FlowDeltas
from nf.kernel import syscall

ROUNDS, MILLION, PART, INTERVAL_S = 7, 1 << 20, 20_000, 10.0
_TEXT = """
struct key { u64 w[2]; };
struct value { u64 w[WORDS]; };
BPF_TABLE("lru_hash", struct key, struct value, copy, 65536);
"""


def _by_items(keys: NDArray[np.void], values: NDArray[np.void]) -> tuple[Any, Any]:
    """Return bcc's object and its table, of entries like ours."""
    bpf = rig.bcc()(text=_TEXT, cflags=[f"-DWORDS={values.dtype.itemsize // 8}"])
    syscall.update_batch(bpf["copy"].map_fd, keys, values)
    return bpf, bpf["copy"]


def _seconds(work: Any) -> float:
    begun = time.process_time_ns()
    work()
    return (time.process_time_ns() - begun) / 1e9


def _no_names(numbers: NDArray[np.uint64]) -> tuple[NDArray[np.uint16], NDArray[np.uint8], NDArray[np.uint8]]:
    return np.zeros(len(numbers), np.uint16), np.zeros(len(numbers), np.uint8), np.zeros(len(numbers), np.uint8)


def measure() -> list[Figure]:
    """Return the figures of reading a full flow table."""
    rig.one_cpu()
    table = rig.Table(MILLION, room=MILLION + MILLION // 4)
    plane = table.plane
    keys, values = plane.read_flows()
    bpf, copy = _by_items(keys[: PART * 2], values[: PART * 2])
    deltas = FlowDeltas(len(plane.flows))
    walk = table.timer(MILLION // 2, 1 << 20)

    def interval() -> float:
        walk()  # about four flows in ten have packets
        seconds = _seconds(read_and_compare)
        plane.new_epoch()
        return seconds

    def read_and_compare() -> None:
        places = plane.flows.moved()[0]
        deltas.update(places, *plane.flows.at(places), _no_names, (0.0, INTERVAL_S))

    try:
        s = rig.interleave(
            {
                "items": lambda: _seconds(lambda: list(itertools.islice(copy.items(), PART))) * len(keys) / len(copy),
                "read": lambda: _seconds(plane.read_flows),
                "read and deltas": interval,
            },
            ROUNDS,
        )
    finally:
        bpf.cleanup()
        table.close()
    cases = {f"{name}, s": value for name, value in s.items()}
    note = (
        f"{len(keys)} flows of {values.dtype.itemsize} bytes; bcc on {2 * PART} entries and scaled; CPU seconds, "
        f"minimum of {ROUNDS}; half a million packets at random between two intervals"
    )
    ratio = s["items"] / s["read"]
    return [Figure("reading 1 M flows: bcc items() / ours", ratio, "ratio", 12, cases, note, more=True)]
