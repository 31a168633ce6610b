"""One hot flow against an empty and a floor program: BPF_PROG_TEST_RUN, interleaved, the minimum of the rounds.

The live build is run. The same frame comes again and again, so the TCP case takes the branch of a retransmission,
which closes the RTT probe and opens none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import rig
from bench.figure import Figure
from bench.floor import Floor
from nf.kernel import syscall
from nf.kernel.dataplane import DataPlane
from nf.settings import Action, Limits, Role

ROUNDS, REPEAT = 9, 200_000


def timer(fd: int, packet: bytes) -> Callable[[], float]:
    """Return a function that runs the program REPEAT times on *packet* and says nanoseconds a run, loop included."""
    run = syscall.TestRun(fd, len(packet) + 64)
    return lambda: float(run.repeat(packet, REPEAT))


def measure() -> list[Figure]:
    """Return the figures of the hot path."""
    rig.one_cpu()
    plane, floor = DataPlane(Limits(flows=1024, sessions=256)), Floor(1024)
    empty: Any = rig.bcc()(text=rig.EMPTY)
    try:
        fd = rig.load(empty, "empty")
        try:
            return _figures(plane, fd, floor)
        finally:
            os.close(fd)
    finally:
        empty.cleanup()
        floor.close()
        plane.close()


def _figures(plane: DataPlane, empty_fd: int, floor: Floor) -> list[Figure]:
    plane.take_test_runs()
    fd = plane.program(Role.N3)
    frames = {"tcp": rig.tcp_frame(), "udp": rig.udp_frame()}
    for packet in frames.values():
        syscall.TestRun(fd, 400)(packet)
    keys, flows = plane.read_flows()
    plane.put_verdicts(keys, flows["number"], np.full(len(keys), rig.APP), np.ones(len(keys), bool))
    timers = {kind: timer(fd, packet) for kind, packet in frames.items()}

    def under(action: Action, kind: str) -> Callable[[], float]:
        def once() -> float:
            plane.set_policies({rig.APP: (action, 0)}, [rig.APP])
            return timers[kind]()

        return once

    cases = {"empty": timer(empty_fd, frames["tcp"])} | {
        f"{kind} {action.value}": under(action, kind)
        for action in (Action.INSPECT, Action.COUNT, Action.SUPPRESS)
        for kind in frames
    }
    cases |= {f"{kind} floor": timer(floor.fd, packet) for kind, packet in frames.items()}
    ns = rig.interleave(cases, ROUNDS)
    floor.check(len(frames))
    if not (plane.read_flows()[1]["app"] == rig.APP).all():
        raise RuntimeError("The flows did not get their application: the figure would be of another path.")
    note = (
        f"ns a packet, loop included, minimum of {ROUNDS} x {REPEAT}; same frame: TCP is a retransmission; "
        "floor: the program of bench/floor.c on it"
    )
    udp, tcp = (ns[f"{kind} inspect"] / ns[f"{kind} floor"] for kind in ("udp", "tcp"))
    return [
        Figure("hot flow, UDP (no RTT probe) / floor", udp, "ratio", 1.8, ns, note),
        Figure("hot flow, TCP inspected / floor", tcp, "ratio", 2.0, ns, note),
        Figure("hot flow, TCP inspected / empty", ns["tcp inspect"] / ns["empty"], "ratio", 4.0, ns, note),
        Figure("hot flow, UDP (no RTT probe) / empty", ns["udp inspect"] / ns["empty"], "ratio", 3.3, ns, note),
        Figure("hot flow, TCP under policy count / empty", ns["tcp count"] / ns["empty"], "ratio", 3.3, ns, note),
        Figure("hot flow, TCP under policy suppress / empty", ns["tcp suppress"] / ns["empty"], "ratio", 3.3, ns, note),
    ]
