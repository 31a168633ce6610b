"""Run figures, print them, write them to bench/results.json, and that into the tables of the documentation.

python -m bench              all of them, in about ten minutes
python -m bench NAME ...     some of them; the others stay in the file as they are
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time

from bench import results
from bench.figure import Figure
from nf.errors import SnfError

FAMILIES = (
    "hot",
    "many",
    "live",
    "hello",
    "ring",
    "drain",
    "memory",
    "load",
    "share",
    "peers",
    "model",
    "workers",
    "identity",
    "names",
)


def _show(figure: Figure) -> None:
    goal = f"{'>=' if figure.more else '<='} {figure.goal:g}"
    print(f"{figure.name:52} {figure.value:9.3g} {figure.unit:6} {goal:>8}  {'met' if figure.met else 'MISSED'}")


def _cases(figures: list[Figure]) -> None:
    """Print the cases once for figures that share them."""
    for cases in {id(f.cases): f.cases for f in figures}.values():
        for name, value in cases.items():
            print(f"    {name:48} {value:13,.6g}")


def main() -> int:
    """Return 0 when every figure could be measured, met or not."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"of: {', '.join(FAMILIES)}")
    names = parser.parse_args().name or list(FAMILIES)
    if unknown := set(names) - set(FAMILIES):
        parser.error(f"no figure is named {', '.join(sorted(unknown))}; there are {', '.join(FAMILIES)}")
    print(results.machine())
    failed = 0
    for name in names:
        begun = time.monotonic()
        try:
            figures: list[Figure] = importlib.import_module(f"bench.{name}").measure()
        except (SnfError, OSError, RuntimeError) as error:
            failed += 1
            print(f"{name}: not measured: {error}", file=sys.stderr)
            continue
        print(f"-- {name}, {time.monotonic() - begun:.0f} s")
        for figure in figures:
            _show(figure)
        _cases(figures)
        results.write(name, figures)
        results.document()
    return 1 if failed else 0


sys.exit(main())
