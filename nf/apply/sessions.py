"""Sessions: the configured ones, and the way of any session's changes into the kernel's tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nf.apply import groups
from nf.apply.engine import Engine, Tables
from nf.apply.transaction import Undo
from nf.sessions import PutTunnel, PutUe, TableChange
from nf.settings import Settings

__all__ = ["apply", "verify", "write"]


def apply(engine: Engine, now_s: Callable[[], float], old: Settings, new: Settings) -> Undo:
    """Put the configured sessions into the store and the kernel's tables, in the place of the old ones."""

    def configure(before: Settings, after: Settings) -> None:
        with engine.tables:
            write(engine, engine.store.configure(before.sessions, after.sessions, now_s()))

    configure(old, new)
    return lambda: configure(new, old)


def verify(engine: Engine, old: Settings, new: Settings) -> list[str]:
    """Look for the tunnels of the sessions that differ in the kernel's table; return what is not there, in words."""
    was = {session.name: session for session in old.sessions}
    changed = [s for s in new.sessions if (before := was.get(s.name)) is not s and before != s]
    keys = [tunnel for session in changed for tunnel in (*session.uplink, *session.downlink)]
    with engine.tables:
        missing = len(keys) - int(engine.plane.sessions.has_tunnels(keys).sum()) if keys else 0
    return [f"{missing} tunnels of static sessions found no room in the kernel's table"] if missing else []


def write(engine: Tables, changes: Sequence[TableChange]) -> None:
    """Write changes of bindings; groups of sessions first, so that flows that are bound from now on have theirs.

    The caller keeps others from the tables meanwhile.
    """
    if engine.pipeline.groups:
        groups.put(engine, {change.session for change in changes if isinstance(change, PutTunnel | PutUe)})
    engine.plane.write(changes)
