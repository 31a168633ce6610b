"""Groups of subscribers: the group of each session, written for the kernel."""

from __future__ import annotations

from collections.abc import Iterable

from nf.apply.engine import Engine
from nf.sessions.groups import group_of

__all__ = ["put"]


def put(engine: Engine, numbers: Iterable[int]) -> None:
    """Write the groups of sessions, by number; the caller holds ``engine.tables``."""
    found = ((number, engine.store.label(number)) for number in numbers)
    groups = engine.pipeline.groups
    engine.plane.put_groups({n: group_of(label.dnn, label.imsi, groups) for n, label in found if label is not None})
