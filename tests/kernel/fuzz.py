"""Generated and damaged packets through the kernel programs and their twin, as many as asked.

``python -m tests.kernel.fuzz --packets 1000000 --seed 29281`` prints each frame on which the two disagree, as hex with
what both say, and then exits 1. The same seed makes the same frames; each goes to one role, in turn.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle

from nf.settings import Encapsulation, Mode
from tests.kernel.mutate import anything
from tests.kernel.rig import TABLES, Outcome, Rig
from tests.kernel.twin import Truth, observe
from tests.kernel.wrappings import ALL

SEED = 29_281
ROLES = ("n3", "any", "n3", "n6")  # tunnels have the most to get wrong
OPENS = (ALL, Encapsulation.NONE, ALL, *(ALL & ~kind for kind in ALL), ALL, *ALL)  # encapsulations read through
BLOCK = 100  # frames between two of them
EVERY_S = 10
SHOWN = 20


def complaint(frame: bytes, role: str, truth: Truth, outcome: Outcome) -> str:
    """Return an empty text when twin and kernel agree, else both with the frame."""
    kernel = Truth(outcome.verdict, outcome.why - TABLES, outcome.flow)
    return "" if kernel == truth else f"{role} {frame.hex()}\n  standard {truth}\n  kernel   {kernel}"


def disagreements(rig: Rig, count: int, seed: int, met: Counter[str]) -> Iterator[tuple[int, str]]:
    """Run *count* frames; yield (frames so far, complaint or "") for each, and count the reasons in *met*."""
    for number, (frame, role) in enumerate(zip(anything(seed, count), cycle(ROLES), strict=False), 1):
        opens = OPENS[number // BLOCK % len(OPENS)]
        if number % BLOCK == 0:
            rig.plane.set_test_port(Mode.MIRROR, opens)
        outcome = rig.run(frame, role)
        if outcome.flow is not None:
            rig.forget()
        else:
            rig.forget_fragments()  # a tunnel with nothing in it leaves its first fragment too
        truth = observe(frame, role, opens)
        met.update(truth.why)
        yield number, complaint(frame, role, truth, outcome)
    rig.plane.take_test_runs()


def main(arguments: list[str] | None = None) -> int:
    """Run as many as asked; return 1 when there is any disagreement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--packets", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args(arguments)
    met: Counter[str] = Counter()
    rig, began, wrong = Rig(), time.monotonic(), 0
    due = began + EVERY_S
    try:
        for number, text in disagreements(rig, asked.packets, asked.seed, met):
            if text:
                wrong += 1
                if wrong <= SHOWN:
                    print(text, flush=True)
            if time.monotonic() >= due:
                due += EVERY_S
                rate = number / (time.monotonic() - began)
                print(f"{number:,} of {asked.packets:,} packets, {rate:,.0f} a second, {wrong} wrong", flush=True)
    finally:
        rig.close()
    print("  ".join(f"{name} {times:,}" for name, times in sorted(met.items())))
    print(
        f"{asked.packets:,} packets of seed {asked.seed} in {time.monotonic() - began:.0f} s:",
        f"kernel and twin disagree on {wrong:,}" if wrong else "kernel and twin agree on all",
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
