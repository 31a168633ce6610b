"""``make fuzz``: damaged packets through the kernel program and its twin, as many as asked.

python -m tests.kernel.fuzz --packets 1000000 --seed 1

Verdict, reasons, flow key and counters must be the same on each. A disagreement is printed with its
bytes, so that it can be put into the table of packets; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tests.kernel.mutate import damaged
from tests.kernel.rig import Rig
from tests.kernel.test_packets import complaint
from tests.kernel.twin import observe

ROLES = ("n3", "any", "n6")
SHOWN = 10  # disagreements that are printed


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packets", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    console, rig, found = Console(stderr=True), Rig(), []
    columns = (
        TextColumn("fuzzing"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} packets, {task.fields[wrong]} disagree"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("fuzz", total=options.packets, wrong=0)
        for number, frame in enumerate(damaged(options.seed, options.packets)):
            role = ROLES[number % len(ROLES)]
            outcome = rig.run(frame, role)
            if outcome.flow is not None:
                rig.forget()
            text = complaint(frame, role, observe(frame, role), outcome)
            if text:
                found.append(text)
            if not number % 512:
                bar.update(task, completed=number, wrong=len(found))
        bar.update(task, completed=options.packets, wrong=len(found))
    rig.close()
    for text in found[:SHOWN]:
        print(text)
    print(f"{options.packets:,} packets, seed {options.seed}: {len(found)} disagreements")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
