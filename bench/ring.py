"""Reading 64-byte records: bcc's callback for each against our reader of columns, on one ring filled anew each time."""

from __future__ import annotations

import mmap
import time
from typing import Any

import numpy as np

from bench import rig
from bench.figure import Figure
from nf.kernel import syscall
from nf.kernel.ring import Ring

ROUNDS, RECORDS, RING_BYTES = 9, 50_000, 4 << 20
_TEXT = """
struct record { u64 w[8]; };
BPF_RINGBUF_OUTPUT(ring, PAGES);
BPF_ARRAY(record_type, struct record, 1);
int produce(struct xdp_md *ctx)
{
	struct record *r = ring.ringbuf_reserve(sizeof(*r));

	if (!r)
		return XDP_ABORTED;
	r->w[0] = 1;
	ring.ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return XDP_DROP;
}
"""


def measure() -> list[Figure]:
    """Return the figure of the ring reader."""
    rig.one_cpu()
    bpf: Any = rig.bcc()(text=_TEXT, cflags=[f"-DPAGES={RING_BYTES // mmap.PAGESIZE}"])
    try:
        fill = syscall.TestRun(bpf.load_func(b"produce", rig.bcc().XDP).fd, 128)
        table = bpf["ring"]
        ours = Ring(table.map_fd, RING_BYTES, np.dtype(bpf["record_type"].Leaf))
        heard = [0]

        def callback(context: Any, data: Any, size: int) -> None:
            heard[0] += 1

        table.open_ring_buffer(callback)

        def by_callback() -> float:
            fill.repeat(bytes(64), RECORDS)
            heard[0] = 0
            begun = time.perf_counter_ns()
            bpf.ring_buffer_consume()
            took = time.perf_counter_ns() - begun
            assert heard[0] == RECORDS, heard
            return took / RECORDS

        def by_columns() -> float:
            fill.repeat(bytes(64), RECORDS)
            begun = time.perf_counter_ns()
            records = ours.read()
            took = time.perf_counter_ns() - begun
            assert len(records) == RECORDS, len(records)
            return took / RECORDS

        ns = rig.interleave({"bcc callback": by_callback, "columns": by_columns}, ROUNDS)
        ours.close()
    finally:
        bpf.cleanup()
    note = f"ns a record of 64 bytes, empty callback, minimum of {ROUNDS} x {RECORDS} records"
    return [
        Figure("ring reader: bcc callback / ours", ns["bcc callback"] / ns["columns"], "ratio", 15, ns, note, more=True)
    ]
