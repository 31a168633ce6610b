"""Groups of subscribers: the group of each session, written for the kernel."""

from __future__ import annotations

from collections.abc import Iterable

from nf.apply.engine import Tables
from nf.sessions.groups import group_of

__all__ = ["put"]


def put(engine: Tables, numbers: Iterable[int]) -> None:
    """Write the groups of sessions, by number; the caller keeps others from the tables meanwhile."""
    found = ((number, engine.store.label(number)) for number in numbers)
    groups = engine.pipeline.groups
    engine.plane.put_groups({n: group_of(label.dnn, label.imsi, groups) for n, label in found if label is not None})
