"""Sessions: those that are configured, and how changes of any session reach the kernel's tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nf.apply import groups
from nf.apply.engine import Engine
from nf.apply.transaction import Undo
from nf.sessions import PutTunnel, PutUe, TableChange
from nf.sessions.kernel_tables import apply_changes
from nf.settings import Settings

__all__ = ["apply", "write"]


def apply(engine: Engine, now_s: Callable[[], float], old: Settings, new: Settings) -> Undo:
    """Know the configured sessions."""

    def configure(before: Settings, after: Settings) -> None:
        with engine.tables:
            write(engine, engine.store.configure(before.sessions, after.sessions, now_s()))

    configure(old, new)
    return lambda: configure(new, old)


def write(engine: Engine, changes: Sequence[TableChange]) -> None:
    """Write changes of bindings; the group of a session first, for the flows that are bound to it from now on.

    The caller holds ``engine.tables``.
    """
    if engine.pipeline.groups:
        groups.put(engine, {change.index for change in changes if isinstance(change, PutTunnel | PutUe)})
    apply_changes(engine.plane, changes)
