"""Run every figure, print the table, write bench/results.json."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
from pathlib import Path

from bench import hot


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}"


def main() -> int:
    figures = hot.measure()
    print(machine())
    print(f"{'figure':52} {'value':>8} {'goal':>8}  met")
    for f in figures:
        print(f"{f.name:52} {f.value:8.2f} {'>=' if f.more else '<='}{f.goal:6.2f}  {'yes' if f.met else 'NO'}")
    for name, ns in figures[0].cases.items():
        print(f"    {name:16} {ns:6.0f} ns")
    rows = [dataclasses.asdict(f) | {"met": f.met, "machine": machine()} for f in figures]
    Path(__file__).with_name("results.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 0


sys.exit(main())
