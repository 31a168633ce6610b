"""Each interval of a run of the lab through the compiled passes and their references, in the function as it runs.

``python -m tests.fast.lab_intervals --seconds 84`` plays the story of the demonstration beside a function that does
both (`tests.fast.both`), and exits 1 with what differs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lab import plan
from lab.demo import BATCH_MS, USES, Demo
from lab.lab import Lab
from lab.net import interruptible
from lab.operator import PART, Operator

SECONDS = 84  # of the demonstration
LOST = "an interval was lost"  # in the log of a function of which a sweep failed (nf/service.py)


class _Operator(Operator):
    """An operator of a function that does both."""

    @property
    def report(self) -> Path:
        """The file that the function leaves."""
        return self.lab.folder / "both.json"

    def command(self) -> list[str]:
        """Return the command line of the function."""
        words = super().command()
        at = words.index("mgmt.cli.main")
        return [*words[:at], "tests.fast.both", str(self.report), *words[at + 1 :]]


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the lab: the intervals that the function published, and what both kinds of passes were given."""

    intervals: int
    swept: int
    moved: int
    rows: int  # intervals in which flows became rows
    keys: int
    wrong: str

    def __str__(self) -> str:
        return (
            f"{self.swept} intervals of the lab, {self.moved:,} states of flows, {self.rows} intervals with rows, "
            f"{self.keys:,} keys: {self.wrong or 'compiled passes and references agree'}"
        )


def run(seconds: float) -> Run:
    """Play the story, and return what was compared."""
    key = secrets.token_bytes(32)
    with Lab(plan.subscribers(*USES)) as lab, _Operator(lab) as operator:
        operator.start_function()
        operator.configure(key, BATCH_MS)
        demo = Demo(lab, operator, Console(file=io.StringIO()), seconds, key)
        with contextlib.redirect_stdout(io.StringIO()):
            demo.play()
        operator.stop_function()
        met = json.loads(operator.report.read_text(encoding="ascii"))
        log = (lab.folder / f"{PART}.log").read_text(encoding="utf-8")
    intervals = int(demo.health.get("intervals", 0))
    wrong = log[log.index(LOST) :][:4000] if LOST in log else ""
    if not wrong and not 0 < intervals <= met["swept"]:
        wrong = f"of {intervals} intervals {met['swept']} were compared"
    return Run(intervals, met["swept"], met["moved"], len(met["flows"]), met["keys"], wrong)


def main(arguments: list[str] | None = None) -> int:
    """Run as long as asked; return 1 when anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    with interruptible():
        done = run(parser.parse_args(arguments).seconds)
    print(done, flush=True)
    return 1 if done.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
