"""The highest rate at which a tool loses no packet, nDPI and our function, on the same two CPUs.

The dense mixed capture is offered faster and faster, with as many more subscribers and flows (`Port.rewind`). Who asks
for more than the sender can give is told by what it gave.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from bench import captures, rig
from bench.dense import PPS, Dense
from bench.figure import Figure
from bench.port import Port
from bench.receivers import run
from lab.net import interruptible

TRIAL_S = 3.0  # a ring of 64 MB takes 20,000 packets a second that nobody reads for so long
LEAST_PPS, MOST_PPS, STEP = 30_000.0, 1_600_000.0, 1.1


def highest(trial: Callable[[float], tuple[float, int]], least: float, most: float, step: float) -> float:
    """Return the highest rate without loss, to a factor of *step*: what was reached, not what was offered.

    *trial* offers a rate and says (rate that was reached, packets lost). Raises RuntimeError when *least* has loss.
    """
    reached, lost = trial(most)
    if not lost:
        return reached
    above = min(most, reached)
    good, lost = trial(least)
    if lost:
        raise RuntimeError(f"{lost} packets are lost at the least rate, {least:.0f} a second.")
    below = least
    while above / below > step:
        offered = math.sqrt(above * below)
        reached, lost = trial(offered)
        if lost:
            above = offered
        else:
            below, good = offered, max(good, reached)
    return good


def _trial(port: Port, dense: Dense, tool: str, pace: dict[float, float], pps: float) -> tuple[float, int]:
    """Offer a rate, with the flows that a network of that rate has; note the tool's pace by the rate that it got."""
    rig.progress(f"{tool}, {pps / 1e3:.0f} kpps")
    copies = max(1, math.ceil(pps / PPS))
    frames = min(dense.window, round(TRIAL_S * pps / copies))
    one = run(port, tool, dense.ramp, frames, pps, copies)
    pace[one.sent.pps] = one.pace
    return one.sent.pps, one.lost


def measure() -> list[Figure]:
    """Return the figure of nDPI."""
    path, dense = captures.made_dense()
    with interruptible(), Port(captures.load_mixed(path)) as port:
        pps, pace = {}, dict[str, dict[float, float]]()
        for tool in ("ours", "nDPI"):
            trial = functools.partial(_trial, port, dense, tool, pace.setdefault(tool, {}))
            pps[tool] = highest(trial, LEAST_PPS, MOST_PPS, STEP)
    rig.progress("")
    cases = {f"{tool}, kpps without loss": value / 1e3 for tool, value in pps.items()}
    cases["ours, intervals swept, of each second"] = pace["ours"][pps["ours"]]
    note = (
        f"the dense capture in copies, 10,000 active flows for each 100 kpps, {TRIAL_S:.0f} s each; sender on one of "
        f"two CPUs, tools on both, nDPI with a ring of 64 MB; to a factor of {STEP}; ours is at most what the sender "
        "gives"
    )
    ratio = pps["ours"] / pps["nDPI"]
    return [Figure("highest rate without loss, ours / nDPI", ratio, "ratio", 5, cases, note, more=True)]
