"""nDPI, nfstream and our function on the same port: the whole processor time of a packet, where nobody loses one.

The dense mixed capture (bench/dense.py) is offered at 100,000 packets a second. The time is that of the softirq and of
a tool's processes, less what the same costs with a program that drops (bench/port.py). Where a tool loses packets the
rate is lowered for all until none does.
"""

from __future__ import annotations

from bench import captures, rig
from bench.dense import PPS, Dense, active_flows, flow_numbers
from bench.figure import Figure
from bench.port import Port, Sent
from bench.receivers import Run, run, run_dropping
from lab.net import interruptible

ROUNDS, SECONDS = 2, 3.0
LOWER, LEAST_PPS = 0.7, 10_000.0
TOOLS = ("nDPI", "nfstream", "ours")


class Lost(Exception):
    """A tool lost packets; the text says how many of how many."""


def _round(port: Port, dense: Dense, pps: float) -> tuple[dict[str, Run], Sent]:
    """Run each tool once; raises Lost when one of them loses a packet."""
    frames = min(dense.window, round(SECONDS * pps))
    runs = {}
    for tool in TOOLS:
        rig.progress(f"{tool}, {pps / 1e3:.0f} kpps")
        one = runs[tool] = run(port, tool, dense.ramp, frames, pps)
        if one.lost:
            raise Lost(f"{tool} lost {one.lost} packets at {pps / 1e3:.0f} kpps")
    rig.progress("a program that drops")
    return runs, run_dropping(port, dense.ramp, frames, pps)


def _rounds(port: Port, dense: Dense) -> tuple[float, list[tuple[dict[str, Run], Sent]], list[str]]:
    """Return the highest rate of the ladder at which nobody loses, its rounds, and what was lost above it."""
    pps, told = float(PPS), list[str]()
    while pps >= LEAST_PPS:
        try:
            return pps, [_round(port, dense, pps) for _ in range(ROUNDS)], told
        except Lost as lost:
            told.append(str(lost))
            pps *= LOWER
    raise RuntimeError(f"No rate is without loss: {'; '.join(told)}.")


def measure() -> list[Figure]:
    """Return the figures of both peers."""
    path, dense = captures.made_dense()
    capture = captures.load_mixed(path)
    with interruptible(), Port(capture) as port:
        pps, rounds, told = _rounds(port, dense)
    rig.progress("")
    active = active_flows(flow_numbers(capture.frames[dense.ramp :]), round(pps))
    cases = {"kpps offered": pps / 1e3, "active flows a second": active}
    dropping = min(sent.cpu_ns / sent.packets for _, sent in rounds)
    cases["sender and a program that drops, ns a packet"] = dropping
    whole = {}
    for tool in TOOLS:
        kernel_ns, process_ns = min((runs[tool].ns for runs, _ in rounds), key=sum)
        whole[tool] = kernel_ns - dropping + process_ns
        cases[f"{tool}, softirq, ns a packet"] = kernel_ns - dropping
        cases[f"{tool}, processes, ns a packet"] = process_ns
        cases[f"{tool}, whole, ns a packet"] = whole[tool]
    note = (
        f"{dense}. Offered at {pps / 1e3:.0f} kpps for {SECONDS:.0f} s, nobody lost a packet"
        f"{''.join(f'; {words}, so the rate is lower for all' for words in told)}. Processor time of sender, softirq "
        f"and the tool's processes, less that of sender and a program that drops, minimum of {ROUNDS}; peers with "
        "rings of 64 MB"
    )
    return [
        Figure("live port, nDPI / ours", whole["nDPI"] / whole["ours"], "ratio", 4, cases, note, more=True),
        Figure("live port, nfstream / ours", whole["nfstream"] / whole["ours"], "ratio", 8, cases, note, more=True),
    ]
