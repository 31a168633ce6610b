"""Tools that several figures share: pinning, interleaving, and a table full of flows that a test run walks over."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from nf.kernel import objects, source, syscall
from nf.kernel.dataplane import DataPlane
from nf.kernel.programs import takes_frags
from nf.settings import Action, Limits, Role

__all__ = [
    "APP",
    "BLOCK",
    "CPUS",
    "EMPTY",
    "Table",
    "bcc",
    "interleave",
    "load",
    "one_cpu",
    "progress",
    "tcp_frame",
    "udp_frame",
]

APP = 1
UNKNOWN = 1 << 30  # flows a second without a session: no limit, the table is filled at once
CPUS = sorted(os.sched_getaffinity(0))
BLOCK = 8_192  # flows whose events fit a CPU's ring
_VERDICTS = 1 << 13  # answers at a time: far fewer than the table of them holds
_TEXT = """
struct plan {
	u32 mask;	/* flows walked over, less one; a power of two less one */
	u32 first;	/* number of the first */
	u32 again;	/* burst - 1: a power of two less one */
	u32 sequential; /* one after the other, else at random */
	u32 x;
	u32 n;
	u32 pad[10];
};
BPF_F_TABLE("array", u32, struct plan, plans, 256, BPF_F_MMAPABLE); /* by CPU */
BPF_PROG_ARRAY(target, 1);

/* Make the packet one of another flow and run the program under test on it. A UE has eight flows. */
int walk(struct xdp_md *ctx)
{
	u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	u32 cpu = bpf_get_smp_processor_id() & 255, id;
	struct plan *p = plans.lookup(&cpu);

	if (!p || data + 82 > end)
		return XDP_ABORTED;
	p->n++;
	if (p->sequential) {
		id = p->n;
	} else {
		if (!(p->n & p->again))
			p->x = p->x * 1664525 + 1013904223; /* Numerical Recipes, 7.1: all 2^32 values, the upper bits well mixed */
		id = p->x >> 12;
	}
	id = (id & p->mask) + p->first;
	*(u32 *)(data + 46) = bpf_htonl(0x10000 + (id >> 3));
	*(u32 *)(data + 70) = bpf_htonl(0x0a400000 + (id >> 3));
	*(u16 *)(data + 78) = bpf_htons(20000 + (id & 7));
	target.call(ctx, 0);
	return XDP_ABORTED;
}

int empty(struct xdp_md *ctx) { return XDP_DROP; }
"""
EMPTY = "int empty(struct xdp_md *ctx) { return XDP_DROP; }"
_PLAN = np.dtype([(name, "u4") for name in ("mask", "first", "again", "sequential", "x", "n")] + [("pad", "u4", 10)])


def bcc() -> Any:
    """Return bcc's class BPF; our shim is in force from its first use on."""
    source.use_shim()
    from bcc import BPF

    return BPF


def load(compiled: Any, name: str) -> int:
    """Return the descriptor of a compiled function as an XDP program that may tail-call ours: flagged as they are."""
    code = np.frombuffer(compiled.dump_func(name.encode()), objects.INSTRUCTION).copy()
    return objects.load_program(name, code, objects.HAS_FRAGS if takes_frags() else 0)


def one_cpu() -> int:
    """Pin this thread to the last CPU that it may use, and return its number."""
    os.sched_setaffinity(0, CPUS[-1:])
    return CPUS[-1]


def progress(text: str) -> None:
    """Show on a terminal a step that takes long."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def drop_all(plane: DataPlane) -> None:
    """Empty the flow table of a replay."""
    plane.flows.hold(plane.flows.present())
    plane.read_ended()


def interleave(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Run all cases in turn, *rounds* times, and return the least of each."""
    seen: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds):
        progress(f"round {turn + 1} of {rounds}")
        for name, case in cases.items():
            seen[name].append(case())
    progress("")
    return {name: min(values) for name, values in seen.items()}


def _frame(transport: Any, size: int) -> bytes:
    tunnel = GTP_U_Header(teid=0x100, gtp_type=255, E=1, next_ex=0x85) / GTPPDUSessionContainer(type=1, QFI=9)
    head = Ether() / IP(src="10.10.0.1", dst="10.10.0.2") / UDP(sport=2152, dport=2152) / tunnel
    layers = head / IP(src="10.45.0.2", dst="192.0.2.80") / transport
    return bytes(layers / Raw(b"\x55" * (size - len(layers))))


def tcp_frame(size: int = 300) -> bytes:
    """Return an uplink frame: Ethernet, IPv4, UDP, GTP-U with PSC, IPv4, TCP with time stamps."""
    return _frame(TCP(sport=40000, dport=443, flags="PA", options=[("Timestamp", (1, 1))]), size)


def udp_frame(size: int = 300) -> bytes:
    """Return the same with UDP."""
    return _frame(UDP(sport=40000, dport=443), size)


class Table:
    """A data plane with *flows* flows that have their application, and a walk over them. ``close`` frees it.

    ``events`` are the events of their beginnings, where *remember* is true.
    """

    def __init__(self, flows: int, *, room: int | None = None, sessions: int = 65_536, remember: bool = False) -> None:
        self.plane = DataPlane(Limits(room or flows + flows // 4, sessions, unknown_flows_per_s=UNKNOWN))
        self.plane.take_test_runs()
        self.plane.economy = True  # as the service runs
        self.plane.set_policies({APP: (Action.INSPECT, 0)}, [APP])
        self.program = self.plane.program(Role.N3)
        self._bpf = bcc()(text=_TEXT)
        self.walk = load(self._bpf, "walk")
        self.empty = load(self._bpf, "empty")
        plans = mmap.mmap(self._bpf["plans"].map_fd, 256 * _PLAN.itemsize, mmap.MAP_SHARED)
        self._plans = np.frombuffer(plans, _PLAN)
        self._frame = tcp_frame()
        self.aim(self.program)
        events = self.fill(flows)
        self.events = events if remember else events[:0].copy()

    def aim(self, program: int) -> None:
        """End the walk in this program from now on."""
        target = self._bpf["target"]
        target[target.Key(0)] = target.Leaf(program)

    def plan(
        self, flows: int, *, burst: int = 1, first: int = 0, sequential: bool = False, cpu: int | None = None
    ) -> None:
        """Set the walk of the next run of this thread, or on *cpu*: flows and bursts are powers of two."""
        if cpu is None:
            (cpu,) = os.sched_getaffinity(0)  # `one_cpu` was called: the plan is that of a CPU
        plan = self._plans[cpu : cpu + 1]
        plan["mask"], plan["first"], plan["again"] = flows - 1, first, burst - 1
        plan["sequential"], plan["n"] = sequential, -1 & 0xFFFF_FFFF
        if not int(plan["x"][0]):
            plan["x"] = 12345

    def timer(
        self, repeat: int, flows: int, *, burst: int = 1, live: bool = False, program: int | None = None
    ) -> Callable[[], float]:
        """Return a function that walks and says nanoseconds a packet, the kernel's loop and the walk included.

        The walk ends in *program*, or in ours.
        """
        run = syscall.TestRun(self.walk, 512)

        def once() -> float:
            self.aim(self.program if program is None else program)
            self.plan(flows, burst=burst)
            return float(run.repeat(self._frame, repeat, live=live))

        return once

    def touch(self, flows: int, program: int | None = None) -> None:
        """Give each of the first *flows*, none or a power of two, one packet, in *program* or in ours."""
        if flows:
            self.aim(self.program if program is None else program)
            self.plan(flows, sequential=True)
            syscall.TestRun(self.walk, 512).repeat(self._frame, flows)

    def walk_over(self, first: int, flows: int) -> None:
        """Give so many flows, from number *first* on, one packet each."""
        self.plan(1 << 20, first=first, sequential=True)
        syscall.TestRun(self.walk, 512).repeat(self._frame, flows)

    def fill(self, flows: int, each: Callable[[NDArray[np.void]], None] = lambda events: None) -> NDArray[np.void]:
        """Begin the flows, and give each its application, so that nothing is handed over any more; return the events.

        *each* is given the events of a block of flows when it has begun.
        A test run of many packets costs 15 ms beside them (the kernel re-arms its XDP dispatcher), so blocks are large.
        """
        run = syscall.TestRun(self.walk, 512)
        told = []
        for first in range(0, flows, BLOCK):
            progress(f"flows {first} of {flows}")
            self.walk_over(first, min(BLOCK, flows - first))
            told.append(self.plane.read_events())
            each(told[-1])
        events = np.concatenate(told)
        step = min(flows, _VERDICTS)
        for first in range(0, flows, step):
            part = events[first : first + step]
            apps = np.full(len(part), APP, np.uint16)
            self.plane.put_verdicts(part["key"], part["number"], apps, np.ones(len(part), bool))
            self.plan(1 << 20, first=first, sequential=True)
            run.repeat(self._frame, step)
        self.plane.read_payloads()
        progress("")
        return events

    def check(self, flows: int) -> None:
        """Raise RuntimeError unless 99 % of the flows have their application: else a figure is of another path.

        The table of answers is an LRU, which now and then loses a young one.
        """
        _, values = self.plane.read_flows()
        named = int((values["app"] == APP).sum())
        if named < 0.99 * flows:
            raise RuntimeError(f"Only {named} of {flows} flows have their application.")

    def close(self) -> None:
        """Free the kernel's memory."""
        self.plane.close()
        os.close(self.walk)
        os.close(self.empty)
        del self._plans
        self._bpf.cleanup()
