"""The verifier's figures of the programs on this kernel; one near its limit here may be beyond it elsewhere."""

from __future__ import annotations

from bench.figure import Figure
from nf.kernel.programs import Programs
from nf.settings import Limits

LIMIT = 1_000_000  # instructions processed, BPF_COMPLEXITY_LIMIT_INSNS of include/linux/bpf.h
ROUNDS = 5
SECONDS = 0.8  # of the 2.0 s of a start with a warm cache


def measure() -> list[Figure]:
    """Return a figure for each program, and one for the time that all of them take."""
    programs = Programs(Limits(flows=1024, sessions=256), replay=False, alone=True)
    try:
        said = [programs.verify() for _ in range(ROUNDS)]
    finally:
        programs.close()
    replay = Programs(Limits(flows=1024, sessions=256), replay=True, alone=True)
    try:
        any_role = replay.verify()["snf_any"]
    finally:
        replay.close()
    fastest = {name: min(one[name].seconds for one in said) for name in said[0]}
    cases = {f"ms, {name}": 1000 * seconds for name, seconds in fastest.items()}
    note = f"statistics of the kernel at hand (log level 4), times the minimum of {ROUNDS}; other kernels: make kernels"
    figures = [
        Figure(f"verifier, {name}", float(found.instructions), "insn", LIMIT / 2, cases, note)
        for name, found in {**said[0], "snf_any": any_role}.items()
    ]
    return [*figures, Figure("verifier, all programs of live ports", sum(fastest.values()), "s", SECONDS, cases, note)]
