"""Gbit/s a core of the whole function: packet path, names, sweeps, messages; with 100,000 active flows.

The service runs on a port (bench/port.py), which gets the dense mixed capture many times over, each time of other
subscribers, as fast as the sender can. What sender and a program that drops take is no part of it, as a driver is not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench import captures, rig
from bench.dense import active_flows, flow_numbers
from bench.figure import Figure
from bench.port import Port
from bench.receivers import run, run_dropping
from lab.net import interruptible

ROUNDS, SECONDS, PPS = 2, 4.0, 1_000_000.0
ACTIVE, LEAST_COPIES, MOST_COPIES = 100_000, 8, 40
_TRIED = 30_000  # frames that tell the rate of the sender
_AHEAD_PPS = 400_000.0
_KEEPS_UP = 0.75  # of the intervals that passed must have been swept


def copies_for(numbers: NDArray[np.int64], pps: float, active: int = ACTIVE) -> int:
    """Return how many copies of the capture have so many active flows a second at a rate, MOST_COPIES if none have.

    *numbers* are of the flow of each frame.
    """
    for copies in range(LEAST_COPIES, MOST_COPIES, 4):
        if copies * active_flows(numbers, round(pps / copies)) >= active:
            return copies
    return MOST_COPIES


def measure() -> list[Figure]:
    """Return the figure."""
    path, dense = captures.made_dense()
    capture = captures.load_mixed(path)
    window = capture.frames[dense.ramp :]
    octets, numbers = sum(map(len, window)) / len(window), flow_numbers(window)
    with interruptible(), Port(capture) as port:
        rig.progress("the rate of the sender")
        pps = run(port, "ours", dense.ramp, _TRIED, PPS, LEAST_COPIES, _AHEAD_PPS).sent.pps
        copies, rounds = copies_for(numbers, pps), []
        frames = min(dense.window, round(SECONDS * pps / copies))
        for turn in range(ROUNDS):
            rig.progress(f"round {turn + 1} of {ROUNDS}")
            ours = run(port, "ours", dense.ramp, frames, PPS, copies, _AHEAD_PPS)
            rounds.append((ours, run_dropping(port, dense.ramp, frames, PPS, copies)))
    rig.progress("")
    dropping = min(sent.cpu_ns / sent.packets for _, sent in rounds)
    best = min((ours for ours, _ in rounds), key=lambda ours: sum(ours.ns))
    kernel_ns, process_ns = best.ns
    whole = kernel_ns - dropping + process_ns
    keeps_up = best.lost == 0 and best.pace >= _KEEPS_UP
    cases = {
        "bytes a packet": octets,
        "kpps": best.sent.pps / 1e3,
        "active flows a second": copies * active_flows(numbers, round(best.sent.pps / copies)),
        "sender and a program that drops, ns a packet": dropping,
        "softirq, ns a packet": kernel_ns - dropping,
        "processes, ns a packet": process_ns,
        "packets lost": best.lost,
        "intervals swept, of each second": best.pace,
        "Gbit/s a core, if it keeps up or not": octets * 8 / whole,
    }
    note = (
        f"the dense capture {copies} times over at {best.sent.pps / 1e3:.0f} kpps, messages read by a consumer; "
        f"processor time of softirq and process, less that of sender and a program that drops, minimum of {ROUNDS}; "
        "0 when a packet is lost, or when less than three of four intervals are swept in time"
    )
    return [
        Figure(
            "whole function, 100 k active flows", octets * 8 / whole if keeps_up else 0.0, "Gbit/s", 12, cases, note,
            more=True,
        )
    ]  # fmt: skip
