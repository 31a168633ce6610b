"""Make one labelled set, or all of a list: ``python -m lab.truth KIND --seed N --out DIR [--set NAME=VALUE ...]``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from lab.net import LabError, interruptible
from lab.truth.choice import KINDS
from lab.truth.sets import LISTS, make, make_all

__all__ = ["main"]

_CACHE = Path(os.environ.get("SNF_TRUTH_CACHE", "/var/cache/snf-truth"))


def _given(words: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in words)


def main() -> None:
    """Run the command line; exit 1 with a sentence when a set cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m lab.truth", description=__doc__)
    parser.add_argument("kind", choices=[*KINDS, "make"])
    parser.add_argument("which", nargs="?", choices=LISTS, help="of make: the list of sets.toml")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder of the set, or of all sets of a list")
    parser.add_argument("--cache", type=Path, default=_CACHE, help="folder of content and players")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a choice instead of the seed's"
    )
    parser.add_argument("--only", default="", help="of make: sets whose name has this in it")
    args = parser.parse_args()
    if (args.kind == "make") != bool(args.which):
        parser.error("say: KIND --seed N, or: make fit, or: make judge")
    try:
        with interruptible():
            if args.kind == "make":
                make_all(args.which, args.out, args.cache, only=args.only)
            else:
                make(args.kind, args.seed, _given(args.set), args.out, args.cache)
    except KeyboardInterrupt:
        sys.exit("The lab is gone; the set is not made.")
    except (LabError, ValueError, KeyError) as error:
        sys.exit(f"lab.truth: {error}")


if __name__ == "__main__":
    main()
