"""From nothing to a program that could be attached: a process of its own each time, its start and imports apart."""

from __future__ import annotations

import subprocess
import sys

from bench import rig
from bench.figure import Figure

ROUNDS = 7
_PROGRAM = """
import time
from nf.kernel.dataplane import DataPlane
from nf.settings import Limits, Role
begun = time.perf_counter()
plane = DataPlane(Limits())
plane.program(Role.N3)
print(time.perf_counter() - begun)
plane.close()
"""


def _once() -> float:
    run = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    return float(run.stdout)


def measure() -> list[Figure]:
    """Return the figure of the start."""
    seconds = rig.interleave({"s": _once}, ROUNDS)
    note = f"import of bcc, compiling, maps for 131,072 flows, snf_n3 verified; minimum of {ROUNDS} processes"
    return [Figure("compile, maps and load through the shim", seconds["s"], "s", 1.5, seconds, note)]
