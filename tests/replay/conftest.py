"""Replays of captures through one compiled data plane, whose tables are emptied between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from feed.records import RecordBatch
from nf.apps.signatures import Signatures
from nf.kernel.dataplane import DataPlane
from nf.privacy import Pseudonymiser
from nf.replay.records import Collector
from nf.replay.run import Replay, Result
from nf.sessions.report import sessions_rows
from nf.settings import Limits, Role
from tests.kernel.rig import drop_all

KEY = b"a key for the tests of replay ..."


@dataclass(frozen=True)
class Replayed:
    """Results of a replay."""

    result: Result
    sessions: list[dict[str, Any]]
    batches: list[RecordBatch]

    @property
    def flows(self) -> list[dict[str, Any]]:
        return self.result.flows


def empty(plane: DataPlane) -> None:
    drop_all(plane)
    plane.sessions.clear()
    for name in (
        "fragments",
        "leg_sights",
        "copies",
        "sights",
        "paths",
        "echoes",
    ):  # the same capture again is no copy of itself
        plane._maps[name].clear()
    plane.read_events()
    plane.read_payloads()


@pytest.fixture(scope="session")
def plane() -> Iterator[DataPlane]:
    plane = DataPlane(Limits(flows=65_536, sessions=4096), replay=True, split_legs=True)
    yield plane
    plane.close()


@pytest.fixture(scope="session")
def replay(plane: DataPlane) -> Callable[..., Replayed]:
    signatures = Signatures.load()

    def run(*paths: Path, roles: Sequence[Role | None] = (), interval_s: float = 1.0) -> Replayed:
        empty(plane)
        sink = Collector()
        replay = Replay(signatures, Pseudonymiser(KEY, 1), sink, interval_s=interval_s, plane=plane)
        result = replay.run(list(paths), list(roles) or [None] * len(paths))
        return Replayed(result, sessions_rows(replay.store), sink.batches)

    return run
