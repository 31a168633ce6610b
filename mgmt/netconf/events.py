"""Events of the server, told to whoever asked: the log of who did what, notifications, statistics."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from mgmt.netconf.store.changes import Changed
from mgmt.vitals.alarms import Alarm

__all__ = [
    "AlarmChange",
    "ConfigChange",
    "ConfirmedCommit",
    "Event",
    "Events",
    "RestartNeeded",
    "SessionEnd",
    "SessionStart",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionStart:
    """A session has exchanged hellos."""

    session: int


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """A session has ended: ``closed``, ``killed``, ``dropped``, ``timeout``, ``bad-hello`` or ``other`` (RFC 6470)."""

    session: int
    reason: str
    killed_by: int | None = None


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """Running has another revision; *session* is None when the function itself changed it."""

    session: int | None
    revision: int
    changes: tuple[Changed, ...]


@dataclass(frozen=True, slots=True)
class ConfirmedCommit:
    """A confirmed commit came to ``start``, ``extend``, ``complete``, ``cancel`` or ``timeout`` (RFC 6470); of the
    first two *timeout_s* is the time until it is undone. *session* is None at a time-out."""

    session: int | None
    event: str
    timeout_s: int | None = None


@dataclass(frozen=True, slots=True)
class RestartNeeded:
    """Leaves of ``limits`` were committed and wait for the next start; none: what waited is in force after all."""

    leaves: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AlarmChange:
    """An alarm was raised or cleared, or has another text (RFC 8632)."""

    alarm: Alarm


Event = SessionStart | SessionEnd | ConfigChange | ConfirmedCommit | RestartNeeded | AlarmChange


class Events:
    """Tells events to listeners in the order in which they came; a listener that fails is logged and hurts nobody."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Tell *listener* every event from now on, in the thread in which it happens: it must not wait."""
        self._listeners.append(listener)

    def tell(self, event: Event) -> None:
        """Tell all listeners."""
        for listener in self._listeners:
            try:
                listener(event)
            except Exception as error:
                log.error("a listener to events failed with %s", type(error).__name__)
