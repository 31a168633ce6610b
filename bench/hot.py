"""One hot flow against an empty program: BPF_PROG_TEST_RUN, interleaved, the minimum of the rounds.

The live build is run (its clock is bpf_ktime_get_ns). The same frame comes again and again, so the
TCP case takes the branch of a retransmission, which closes the RTT probe and opens none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from bench.figure import Figure
from nf.kernel import syscall
from nf.kernel.dataplane import DataPlane
from nf.settings import Action, Limits, Mode

ROUNDS, REPEAT = 9, 200_000
EMPTY = "int empty(struct xdp_md *ctx) { return XDP_DROP; }"
APP = 1


def frame(transport: Any) -> bytes:
    """Return an uplink frame of 300 bytes: Ethernet, IPv4, UDP, GTP-U with PSC, IPv4, *transport*."""
    tunnel = GTP_U_Header(teid=0x100, gtp_type=255, E=1, next_ex=0x85) / GTPPDUSessionContainer(type=1, QFI=9)
    head = Ether() / IP(src="10.10.0.1", dst="10.10.0.2") / UDP(sport=2152, dport=2152) / tunnel
    layers = head / IP(src="10.45.0.2", dst="192.0.2.80") / transport
    return bytes(layers / Raw(b"\x55" * (300 - len(layers))))


def timer(fd: int, packet: bytes) -> Callable[[], float]:
    """Return a function that runs the program REPEAT times on *packet* and says nanoseconds a run, loop included."""
    run = syscall.TestRun(fd, len(packet) + 64)

    def once() -> float:
        run._attr.repeat = REPEAT
        run(packet)
        return float(run._attr.duration)  # the kernel's mean, whole nanoseconds

    return once


def measure() -> list[Figure]:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    plane = DataPlane(Limits(flows=1024, sessions=256))
    empty = plane._BPF(text=EMPTY)
    try:
        return _figures(plane, empty.load_func(b"empty", plane._BPF.XDP).fd)
    finally:
        empty.cleanup()
        plane.close()


def _figures(plane: DataPlane, empty_fd: int) -> list[Figure]:
    plane._set_port(1, slot=0, mode=Mode.MIRROR, instance="")  # a test run comes from the loopback, index 1
    fd = plane._load("snf_n3").fd
    frames = {
        "tcp": frame(TCP(sport=40000, dport=443, flags="PA", options=[("Timestamp", (1, 1))])),
        "udp": frame(UDP(sport=40000, dport=443)),
    }
    for packet in frames.values():
        syscall.TestRun(fd, 400)(packet)
    keys, flows = plane.read_flows()
    plane.put_verdicts(keys, flows["number"], np.full(len(keys), APP), np.ones(len(keys), bool))
    run_empty = timer(empty_fd, frames["tcp"])
    cases: dict[str, list[float]] = {"empty": []}
    for _ in range(ROUNDS):
        for action in (Action.INSPECT, Action.COUNT, Action.SUPPRESS):
            plane.set_policies({APP: (action, 0)}, [APP])
            for kind, packet in frames.items():
                cases["empty"].append(run_empty())
                cases.setdefault(f"{kind} {action.value}", []).append(timer(fd, packet)())
    if not (plane.read_flows()[1]["app"] == APP).all():
        raise RuntimeError("The flows did not get their application: the figure would be of another path.")
    ns = {name: min(values) for name, values in cases.items()}
    note = (
        f"ns a packet, loop included, minimum of {ROUNDS} x {REPEAT}; same frame: TCP takes the retransmission branch"
    )
    return [
        Figure("hot flow, TCP inspected / empty", ns["tcp inspect"] / ns["empty"], "ratio", 4.0, ns, note),
        Figure("hot flow, UDP (no RTT probe) / empty", ns["udp inspect"] / ns["empty"], "ratio", 3.3, ns, note),
        Figure("hot flow, TCP under policy count / empty", ns["tcp count"] / ns["empty"], "ratio", 3.3, ns, note),
        Figure("hot flow, TCP under policy suppress / empty", ns["tcp suppress"] / ns["empty"], "ratio", 3.3, ns, note),
    ]


__all__ = ["frame", "measure", "timer"]
