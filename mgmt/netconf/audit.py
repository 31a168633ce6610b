"""The log of who did what: sessions, and commits by the paths that they changed, without keys or values."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

from mgmt.netconf.caller import Caller
from mgmt.netconf.events import AlarmChange, ConfigChange, Event, RestartNeeded, SessionEnd, SessionStart
from mgmt.netconf.store.changes import Changed

__all__ = ["audit"]

log = logging.getLogger(__name__)

_PATHS = 20  # named in one line; of more, the number


def audit(caller_of: Callable[[int], Caller]) -> Callable[[Event], None]:
    """Return a listener that logs; *caller_of* knows each open session by its number."""

    def listen(event: Event) -> None:
        if isinstance(event, SessionStart):
            log.info("session %d of %s is open", event.session, caller_of(event.session).user)
        elif isinstance(event, SessionEnd):
            by = f" by session {event.killed_by}" if event.killed_by is not None else ""
            log.info("session %d has ended: %s%s", event.session, event.reason, by)
        elif isinstance(event, ConfigChange):
            who = "the function" if event.session is None else f"session {event.session} of {_user(event.session)}"
            log.warning("%s committed revision %d: %s", who, event.revision, _paths(event.changes))
        elif isinstance(event, AlarmChange):
            log.warning(
                "alarm %s %s: %s", event.alarm.kind, "cleared" if event.alarm.cleared else "raised", event.alarm.text
            )
        elif isinstance(event, RestartNeeded) and event.leaves:
            log.warning("a restart is needed for limits: %s", ", ".join(event.leaves))

    def _user(session: int) -> str:
        return caller_of(session).user

    return listen


def _paths(changes: tuple[Changed, ...]) -> str:
    found = Counter((each.operation, each.schema_path) for each in changes)
    named = [f"{operation} {path}{f' ({n})' if n > 1 else ''}" for (operation, path), n in found.items()]
    more = [f"{len(named) - _PATHS} more paths"] if len(named) > _PATHS else []
    return ", ".join(named[:_PATHS] + more) or "nothing differs"
