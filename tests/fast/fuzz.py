"""Random columns through the compiled passes and their references, as many rows as asked; then under sanitizers.

``python -m tests.fast.fuzz --rows 1000000 --seed 29281`` prints the first columns on which the two disagree, and then
exits 1. It does the same in a process with a build that AddressSanitizer and UndefinedBehaviorSanitizer watch.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from nf.fast import build
from nf.fast.library import ENVIRONMENT, Library, load
from nf.kernel.dataplane import DataPlane
from nf.settings import Limits
from tests.fast.columns import States, a_history, any_flows, any_keys, numbers_differ, places_differ, rows_differ

SEED = 29_281
MOST = 50_000  # flows of an interval


def run(library: Library, rows: int, seed: int) -> str:
    """Compare on so many flows, and on half as many rows of a memory; return what is wrong, or ""."""
    rng, done = np.random.default_rng(seed), 0
    while done < rows:
        n = int(min(10 ** rng.uniform(0, np.log10(MOST)), rows - done)) or 1
        length_s = float(rng.choice([0.001, 1.0, 10.0]))
        key = any_keys(rng, n)
        wrong = rows_differ(library, any_flows(rng, n, length_s), key, length_s)
        if numbers_differ(library, key):
            wrong.append("numbers of keys")
        if places_differ(library, np.sort(key), any_keys(rng, n)):
            wrong.append("places of keys")
        if wrong:
            return f"rows of {n} flows after {done} of seed {seed} differ in {', '.join(wrong)}"
        done += n
    plane, done = DataPlane(Limits(flows=1024, sessions=64), replay=True, tails_later=True), 0
    try:
        while done < rows:
            states = States(rng, plane.record_types, int(10 ** rng.uniform(0, 4.5)))
            for _ in range(8):
                if wrong := states.differ(library):
                    return f"states differ after {done} of seed {seed} in {', '.join(wrong)}"
                done += states.places
    finally:
        plane.close()
    done = 0
    while done < rows // 2:
        try:
            done += a_history(library, rng, 50, int(10 ** rng.uniform(0, 3.5))) + 1
        except AssertionError as error:
            return f"memories differ after {done} rows of seed {seed}: {error}"
    return ""


def sanitized(arguments: list[str]) -> int:
    """Run this in a process that the sanitizers watch; return its status."""
    cc = build.compiler() or "cc"
    asan = subprocess.run(
        [cc, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "columns.so"
        build.build(output, sanitize=True)
        environment = os.environ | {
            "LD_PRELOAD": asan,
            # Python keeps much on purpose when it ends; numpy asks for arrays that do not fit, and says so itself.
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            ENVIRONMENT: str(output),
        }
        command = [sys.executable, "-m", "tests.fast.fuzz", *arguments, "--watched"]
        return subprocess.run(command, env=environment, check=False).returncode


def main(arguments: list[str] | None = None) -> int:
    """Run as many as asked, without sanitizers and with them; return 1 when anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--watched", action="store_true", help="this is the process that the sanitizers watch")
    asked = parser.parse_args(arguments)
    began = time.monotonic()
    library = load(Path(os.environ.get(ENVIRONMENT) or build.SHARED_OBJECT))
    wrong = run(library, asked.rows, asked.seed)
    how = "under sanitizers" if asked.watched else "as set up"
    print(f"{asked.rows:,} rows of seed {asked.seed} in {time.monotonic() - began:.0f} s, {how}:",
          wrong or "compiled passes and references agree", flush=True)  # fmt: skip
    if wrong or asked.watched:
        return 1 if wrong else 0
    status = sanitized(["--rows", str(asked.rows), "--seed", str(asked.seed)])
    if status:
        print(f"The process that the sanitizers watched ended with {status}.")
    return 1 if status else 0


if __name__ == "__main__":
    sys.exit(main())
