"""Figures by the lab's truth: python -m bench.truth.lab [--sets FOLDER] [--fit] [KIND ...].

Each set is replayed through the whole function (`bench.truth.lab_sets`), and what its records say is held against what
browser, player, sockets and peers said. Where there are sets to judge by, no other is judged; --fit takes the others.
Without a set there is no figure, and those that bench/accuracy.json has stay, with the day and the seeds in their note.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

from bench import rig
from bench.figure import Figure
from bench.truth import lab_loads, lab_talks, lab_video
from bench.truth.lab_sets import FOLDER, LabSet, Player, Row, found, plane

__all__ = ["chosen", "figures", "main"]

_JUDGES: dict[str, Callable[[list[LabSet], Callable[[LabSet], list[Row]]], list[Figure]]] = {
    "video": lab_video.figures,
    "call": lab_talks.calls,
    "rtp": lab_talks.voices,
    "game": lab_talks.games,
    "cloud": lab_talks.clouds,
    "page": lab_loads.pages,
    "download": lab_loads.downloads,
}


def chosen(sets: list[LabSet], *, fit: bool = False) -> list[LabSet]:
    """Return the sets of one kind to judge by, the others where there are none of these, or with *fit*."""
    judged = [s for s in sets if s.judged]
    others = [s for s in sets if not s.judged]
    return others if fit else judged or others


def figures(folder: Path = FOLDER, *, fit: bool = False, kinds: tuple[str, ...] = tuple(_JUDGES)) -> list[Figure]:
    """Return the rows of the lab's truth, of the sets below *folder*; none where there are none."""
    by_kind = {kind: chosen([s for s in found(folder) if s.kind == kind], fit=fit) for kind in kinds}
    if not any(by_kind.values()):
        return []
    rows = list[Figure]()
    with plane() as compiled:
        player = Player(compiled)

        def replayed(some: LabSet) -> list[Row]:
            rig.progress(f"replay of {some.folder.name}")
            return player.replayed(some)

        for kind, sets in by_kind.items():
            rows += [f for f in _JUDGES[kind](sets, replayed) if not math.isnan(f.value)] if sets else []
    rig.progress("")
    return rows


def main() -> int:
    """Print the figures; return 1 where there is no set."""
    parser = argparse.ArgumentParser(prog="python -m bench.truth.lab", description=__doc__)
    parser.add_argument(
        "--sets", type=Path, default=FOLDER, help="folder with sets; SNF_TRUTH_SETS, or that of make truth"
    )
    parser.add_argument("--fit", action="store_true", help="judge the sets for fitting")
    parser.add_argument("kinds", nargs="*", choices=[[], *_JUDGES], default=[])
    args = parser.parse_args()
    rows = figures(args.sets, fit=args.fit, kinds=tuple(args.kinds) or tuple(_JUDGES))
    for figure in rows:
        print(
            f"{figure.name}: {figure.value:.3f} {figure.unit} (goal {figure.goal:g}, met {figure.met}) {figure.cases}"
        )
        print(f"    {figure.note}")
    if not rows:
        print(f"There is no labelled set below {args.sets}. `make truth` makes them.", file=sys.stderr)
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
