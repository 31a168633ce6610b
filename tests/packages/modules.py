"""Runs by the collector's own Python, in the machine: imports all that a collector may use, and prints how many.

It imports nothing of tests. What asks the kernel is the probe's, and is left out.
"""

from __future__ import annotations

import importlib
import pkgutil


def main() -> None:
    """Import every module of the feed, the history and the commands."""
    names = []
    for room in ("feed", "history", "mgmt.cli"):
        found = importlib.import_module(room)
        names += [room, *(each.name for each in pkgutil.walk_packages(found.__path__, f"{room}."))]
    for name in names:
        importlib.import_module(name)
    print(len(names))


if __name__ == "__main__":
    main()
