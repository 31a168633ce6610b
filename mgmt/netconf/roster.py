"""The sessions that are open: who they are, what was counted of them (RFC 6022, 2.1.4 and 2.1.5), how each is told
something unasked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime

from mgmt.netconf.caller import Caller
from mgmt.netconf.events import Event, SessionEnd

__all__ = ["Counts", "OpenSession", "Roster", "Statistics"]

Send = Callable[[bytes], bool]
"""Queues a notification for a session, without waiting; says if the session takes it."""


@dataclass(slots=True)
class Counts:
    """Messages of a session, or of all."""

    in_rpcs: int = 0
    in_bad_rpcs: int = 0
    out_rpc_errors: int = 0
    out_notifications: int = 0

    def plus(self, other: Counts) -> Counts:
        """Return the sums."""
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class OpenSession:
    """A session, since when it is open, and its counts."""

    caller: Caller
    send: Send
    since: datetime
    counts: Counts = field(default_factory=Counts)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts since the start of the server."""

    start: datetime
    in_bad_hellos: int
    in_sessions: int
    dropped_sessions: int
    counts: Counts


class Roster:
    """Knows the open sessions. Safe to use from several threads."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now, self._start = now, now()
        self._lock = threading.Lock()
        self._open: dict[int, OpenSession] = {}
        self._ended = Counts()
        self._sessions = self._bad_hellos = self._dropped = 0

    def enter(self, caller: Caller, send: Send) -> None:
        """Take a session whose hello is about to be sent."""
        with self._lock:
            self._sessions += 1
            self._open[caller.session] = OpenSession(caller, send, self._now())

    def leave(self, session: int) -> None:
        """Forget a session that has ended."""
        with self._lock:
            known = self._open.pop(session, None)
            if known is not None:
                self._ended = self._ended.plus(known.counts)

    def listen(self, event: Event) -> None:
        """Count how sessions end."""
        if isinstance(event, SessionEnd):
            with self._lock:
                self._bad_hellos += event.reason == "bad-hello"
                self._dropped += event.reason in ("dropped", "timeout")

    def caller(self, session: int) -> Caller:
        """Return who has a session; one that is not open has a number only."""
        known = self._open.get(session)
        return known.caller if known is not None else Caller(session)

    def answered(self, session: int, *, bad: bool, error: bool) -> None:
        """Count a message of a session, and its reply; *bad*: it was no correct rpc."""
        known = self._open.get(session)
        if known is not None:
            known.counts.in_rpcs += not bad
            known.counts.in_bad_rpcs += bad
            known.counts.out_rpc_errors += error

    def notify(self, session: int, message: bytes) -> None:
        """Send a notification to a session, if it is open."""
        with self._lock:
            known = self._open.get(session)
            if known is not None and known.send(message):
                known.counts.out_notifications += 1

    def sessions(self) -> list[OpenSession]:
        """Return the open sessions."""
        with self._lock:
            return list(self._open.values())

    def statistics(self) -> Statistics:
        """Return the counts of all sessions, those that have ended among them."""
        with self._lock:
            counts = self._ended
            for known in self._open.values():
                counts = counts.plus(known.counts)
            return Statistics(self._start, self._bad_hellos, self._sessions, self._dropped, counts)
