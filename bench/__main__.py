"""Run figures, print them with their goals, and write them to bench/results.json.

python -m bench              all of them, in about fifteen minutes
python -m bench NAME ...     some of them; the others stay in the file as they are
python -m bench --docs       then also write the file into the tables of the documentation

Each run measures its yardstick first and scales goals that are times or rates by it: bench/yardstick.py.
A figure that misses its goal is a figure: the status is 1 only when a script could not measure. The others run
all the same, and the end says which one failed, and its last words.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from collections.abc import Callable, Sequence

from bench import results, yardstick
from bench.figure import Figure
from bench.yardstick import Scale
from nf.errors import SnfError

__all__ = ["FAMILIES", "main", "measure_all"]

FAMILIES = (
    "hot",
    "many",
    "live",
    "hello",
    "ring",
    "drain",
    "scale",
    "shards",
    "verifier",
    "load",
    "share",
    "peers",
    "peers_live",
    "lossless",
    "core",
    "model",
    "workers",
    "identity",
    "management",
    "memory",
    "names",
    "capacity",
    "scrape",
    "collect",
    "questions",
)


def _show(figure: Figure) -> None:
    goal = f"{'>=' if figure.more else '<='} {results.goal_of(figure.goal, figure.stated)}"
    print(f"{figure.name:52} {figure.value:9.3g} {figure.unit:6} {goal:>8}  {'met' if figure.met else 'MISSED'}")
    if not figure.met:
        print(f"    missed: {results.reason(figure.name)}")


def _cases(figures: list[Figure]) -> None:
    """Print the cases once for figures that share them."""
    for cases in {id(f.cases): f.cases for f in figures}.values():
        for name, value in cases.items():
            print(f"    {name:48} {value:13,.6g}")


def _measure(name: str) -> list[Figure]:
    figures: list[Figure] = importlib.import_module(f"bench.{name}").measure()
    return figures


def measure_all(
    names: Sequence[str], measure: Callable[[str], list[Figure]], scale: Scale | None = None
) -> dict[str, str]:
    """Measure, print and write each family; return the last words of those that could not be measured."""
    scale = scale or Scale()
    failed: dict[str, str] = {}
    for name in names:
        begun = time.monotonic()
        try:
            figures = [scale.apply(figure) for figure in measure(name)]
        except KeyboardInterrupt:
            raise
        except (Exception, SystemExit) as error:  # the end of one script, whatever its cause, must not end the others
            where = traceback.extract_tb(error.__traceback__)[-1]
            said = str(error) or "without a word"
            failed[name] = f"{type(error).__name__}: {said} ({where.filename.rpartition('/')[2]}, line {where.lineno})"
            print(f"-- {name}: not measured")
            continue
        print(f"-- {name}, {time.monotonic() - begun:.0f} s")
        for figure in figures:
            _show(figure)
        _cases(figures)
        results.write(name, figures, scale.here)
    return failed


def _scale() -> tuple[Scale, dict[str, str]]:
    """Return the scale of this run, and the last words of its yardstick when there is none."""
    documents = yardstick.documented(results.rows())
    try:
        return Scale(yardstick.measure(), documents), {}
    except SnfError as error:
        return Scale(None, documents), {"yardstick": str(error)}


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 when every figure could be measured, met or not."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="*", help=f"of: {', '.join(FAMILIES)}")
    parser.add_argument("--docs", action="store_true", help="write the figures into docs/, too")
    asked = parser.parse_args(argv)
    names = asked.name or list(FAMILIES)
    if unknown := set(names) - set(FAMILIES):
        parser.error(f"no figure is named {', '.join(sorted(unknown))}; there are {', '.join(FAMILIES)}")
    print(results.machine())
    scale, failed = _scale()
    print(scale)
    failed |= measure_all(names, _measure, scale)
    if asked.docs:
        results.document()
    for name, words in failed.items():
        print(f"bench: {name} was not measured: {words}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a log shows how far it is
    sys.exit(main())
