"""Live frames: a frame of its own for each packet, batches of 64, as a driver has them (BPF_F_TEST_XDP_LIVE_FRAMES).

The floor program (bench/floor.c) gets the same frames after the same walk.
"""

from __future__ import annotations

from bench import rig
from bench.figure import Figure
from bench.floor import Floor
from nf.kernel import syscall

ROUNDS, REPEAT, FLOWS = 9, 300_000, 1 << 16


def measure() -> list[Figure]:
    """Return the figures of live frames."""
    rig.one_cpu()
    table, floor = rig.Table(FLOWS), Floor(FLOWS)
    frame = rig.tcp_frame()
    empty, full = syscall.TestRun(table.empty, 512), syscall.TestRun(table.program, 512)
    try:
        table.timer(1, 1)()  # the flow of the walk's first number is there; that of the bare frame begins here
        full.repeat(frame, 1)
        table.touch(FLOWS, floor.fd)
        ns = rig.interleave(
            {
                "empty": lambda: float(empty.repeat(frame, REPEAT, live=True)),
                "1 flow": table.timer(REPEAT, 1, live=True),
                "65k flows": table.timer(REPEAT, FLOWS, live=True),
                "floor, 1 flow": table.timer(REPEAT, 1, live=True, program=floor.fd),
                "floor, 65k flows": table.timer(REPEAT, FLOWS, live=True, program=floor.fd),
            },
            ROUNDS,
        )
        table.check(FLOWS)
        floor.check(FLOWS)
    finally:
        floor.close()
        table.close()
    note = (
        f"ns a packet with page recycling, final verdict drop, minimum of {ROUNDS} x {REPEAT}, the walk that picks "
        "the flow included; floor: the program of bench/floor.c after the same walk"
    )
    cases = ns | {f"Mpps {name}": 1e3 / value for name, value in ns.items()}
    return [
        Figure("live frames, 1 flow / floor", ns["1 flow"] / ns["floor, 1 flow"], "ratio", 1.5, cases, note),
        Figure("live frames, 65 k flows / floor", ns["65k flows"] / ns["floor, 65k flows"], "ratio", 1.0, cases, note),
    ]
