"""Labelled sets of the lab of truth (`python -m lab.truth`), replayed through the whole function.

A set is a folder with captures of N3 and N4, the truth of its clients and its conditions. Sets are in
SNF_TRUTH_SETS, by default where `make truth` puts them. Seeds from 2000 on are those of the list to judge by
(lab/truth/sets.toml); the others were there for fitting.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bench import rig
from nf.apps.signatures import Signatures
from nf.kernel.dataplane import DataPlane
from nf.privacy import Pseudonymiser
from nf.replay.records import Collector, record_rows
from nf.replay.run import Replay
from nf.settings import Limits, Role

__all__ = ["FOLDER", "JUDGED_FROM", "LabSet", "Player", "found", "plane", "said"]

FOLDER = Path(os.environ.get("SNF_TRUTH_SETS", "/var/cache/snf-truth/sets"))
JUDGED_FROM = 2000  # seed of the first set to judge by
_SETTLED_S = 1.0  # records are of seconds; one is told at its end
_KEY = b"key of the lab of truth ......."

Row = dict[str, Any]


@dataclass(frozen=True)
class LabSet:
    """One set: its folder, and what its files say."""

    folder: Path
    kind: str
    seed: int
    void: bool
    begin_s: float

    @property
    def judged(self) -> bool:
        """Say if it is one to judge by."""
        return self.seed >= JUDGED_FROM

    @cached_property
    def truth(self) -> dict[str, Any]:
        """Return what its clients said."""
        return dict(json.loads((self.folder / "truth.json").read_text("utf-8")))

    @cached_property
    def conditions(self) -> dict[str, Any]:
        """Return its choices, its radio and the load of the host."""
        return dict(json.loads((self.folder / "conditions.json").read_text("utf-8")))

    @property
    def options(self) -> dict[str, Any]:
        """Return its choices."""
        return dict(self.conditions["options"])

    @cached_property
    def late_s(self) -> frozenset[int]:
        """Return the seconds in which the path of its packets was late."""
        load = self.conditions["load"]
        told = load.get("path", load).get("over_limit", [])
        if isinstance(told, list):
            return frozenset(int(s) for s in told)
        by_second = load.get("worst_ms_by_second", {})
        return frozenset(int(s) for s, ms in by_second.items() if ms > load.get("limit_ms", 5.0))

    def timely(self, end_s: float) -> bool:
        """Say if the second that ends at *end_s*, and the one before it, were on time."""
        return not {int(end_s) - 2, int(end_s) - 1, int(end_s)} & self.late_s


@dataclass
class Player:
    """Replays sets, one after the other, and remembers their rows."""

    plane: DataPlane
    signatures: Signatures = field(default_factory=Signatures.load)
    rows: dict[Path, list[Row]] = field(default_factory=dict)
    flows: dict[Path, list[Row]] = field(default_factory=dict)

    def replayed(self, some: LabSet) -> list[Row]:
        """Return the records of a set, each with `end_s` in the clock of its truth, by time."""
        if some.folder not in self.rows:
            self._run(some)
        return self.rows[some.folder]

    def _run(self, some: LabSet) -> None:
        self.plane.sessions.clear()
        rig.drop_all(self.plane)
        for read in (self.plane.read_events, self.plane.read_payloads, self.plane.read_names, self.plane.read_ended):
            read()
        sink = Collector()
        replay = Replay(self.signatures, Pseudonymiser(_KEY, 1), sink, plane=self.plane)
        files = [some.folder / "n3.pcap", some.folder / "n4.pcap"]
        result = replay.run(files, [Role.N3, Role.N4])
        rows = [row | {"end_s": row["t_ms"] / 1000} for row in record_rows(sink.batches)]
        self.rows[some.folder] = sorted(rows, key=lambda row: row["end_s"])
        self.flows[some.folder] = result.flows


@contextmanager
def plane() -> Iterator[DataPlane]:
    """Yield a data plane for replays, and close it."""
    compiled = DataPlane(Limits(flows=65_536), replay=True, split_legs=True)
    try:
        yield compiled
    finally:
        compiled.close()


def found(folder: Path = FOLDER) -> list[LabSet]:
    """Return the sets below *folder* whose captures and truth are there, by kind and seed; one of each."""
    sets: dict[tuple[str, str], LabSet] = {}
    for path in sorted(folder.glob("**/truth.json")):
        where = path.parent
        if all((where / name).is_file() for name in ("n3.pcap", "n4.pcap", "conditions.json")):
            head = json.loads(path.read_text("utf-8"))
            sets[head["kind"], where.name] = LabSet(where, head["kind"], head["seed"], head["void"], head["begin"])
    return sorted(sets.values(), key=lambda s: (s.kind, s.seed, s.folder.name))


def said(some: list[LabSet]) -> str:
    """Return what a figure says of its sets: their seeds, how many were void, and the day of the newest."""
    if not some:
        return "no set"
    seeds = sorted({s.seed for s in some})
    day = time.strftime("%Y-%m-%d", time.gmtime(max(s.begin_s for s in some)))
    list_ = "to judge by" if all(s.judged for s in some) else "of development, none to judge by was made"
    void = sum(s.void for s in some)
    return (
        f"lab truth; sets {list_}: seeds {', '.join(map(str, seeds))}, the newest of {day};"
        f" {void} of {len(some)} void (the host was short of time)"
    )
