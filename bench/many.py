"""Many flows against one: the table is filled first, then a walk in the kernel picks a flow for each packet.

The walk rewrites TEID, UE address and port of one frame and tail-calls the program that an interface gets, so the
bytes of the packet stay in the cache and the measured cost is the table's. The floor program (bench/floor.c) gets the
same walk over as many flows of its own.
"""

from __future__ import annotations

from bench import rig
from bench.figure import Figure
from bench.floor import Floor

ROUNDS, REPEAT = 9, 300_000
MILLION, SMALL = 1 << 20, 1 << 16


def measure() -> list[Figure]:
    """Return the figures of 65,536 and 1,048,576 flows."""
    rig.one_cpu()
    table, floor = rig.Table(MILLION), Floor(MILLION)
    try:
        table.touch(MILLION, floor.fd)
        ns = rig.interleave(
            {
                "hot": table.timer(REPEAT, 1),
                "65k random": table.timer(REPEAT, SMALL),
                "65k bursts of 4": table.timer(REPEAT, SMALL, burst=4),
                "1M random": table.timer(REPEAT, MILLION),
                "1M bursts of 4": table.timer(REPEAT, MILLION, burst=4),
                "1M bursts of 16": table.timer(REPEAT, MILLION, burst=16),
                "65k random, floor": table.timer(REPEAT, SMALL, program=floor.fd),
                "1M random, floor": table.timer(REPEAT, MILLION, program=floor.fd),
            },
            ROUNDS,
        )
        table.check(MILLION)
        floor.check(MILLION)
    finally:
        floor.close()
        table.close()
    note = (
        f"ns a packet, loop and walk included, minimum of {ROUNDS} x {REPEAT}; hot is the same walk over one flow; "
        "floor: the program of bench/floor.c after the same walk"
    )
    small, large = (ns[f"{case} random"] / ns[f"{case} random, floor"] for case in ("65k", "1M"))
    return [
        Figure("65 k flows at random / floor", small, "ratio", 1.0, ns, note),
        Figure("1 M flows at random / floor", large, "ratio", 0.9, ns, note),
        Figure("1 M flows at random / hot", ns["1M random"] / ns["hot"], "ratio", 5.5, ns, note),
        Figure("1 M flows in bursts of 4 / hot", ns["1M bursts of 4"] / ns["hot"], "ratio", 2.5, ns, note),
    ]
