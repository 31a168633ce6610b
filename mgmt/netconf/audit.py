"""The log of who did what, and its counters: logins, sessions, and commits by the paths that they changed.

No value is in it. A flood of peers is not a flood of lines: of what comes often, a second has a few
lines and then one with the number.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

from mgmt.netconf.caller import Caller
from mgmt.netconf.events import AlarmChange, ConfigChange, Event, RestartNeeded, SessionEnd, SessionStart
from mgmt.netconf.store.changes import Changed

__all__ = ["Audit", "safe"]

log = logging.getLogger(__name__)

_PATHS = 20  # named in one line; of more, the number
_SHOWN = 64  # characters of a user name that are shown
_LINES = 10  # of failed logins a second, each with its user, address and key


def safe(name: str) -> str:
    """Return what somebody sent as his name, fit for a line of a log: short, and nothing that a terminal acts on."""
    shown = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "?" for c in name[:_SHOWN])
    return f'"{shown}"{"..." if len(name) > _SHOWN else ""}'


class Audit:
    """Logs and counts; *caller_of* knows each open session by its number. Safe to use from several threads."""

    def __init__(self, caller_of: Callable[[int], Caller]) -> None:
        self._caller_of = caller_of
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._closed: Counter[str] = Counter()  # not in the log yet, by reason
        self._told_s = self._second_s = float("-inf")
        self._lines = self._unlogged = 0  # failed logins: of this second, and not in the log yet

    def counts(self) -> Mapping[str, int]:
        """Return what was counted since the start, by name."""
        with self._lock:
            return dict(self._counts)

    # -- connections and logins --------------------------------------------

    def connected(self) -> None:
        """Count a connection."""
        self._count("connections")

    def closed(self, why: str) -> None:
        """Count a connection that was closed before it had a session; `tell` logs it."""
        with self._lock:
            self._counts[f"closed_{why}"] += 1
            self._closed[why] += 1

    def logged_in(self, caller: Caller) -> None:
        """Log and count a login."""
        self._count("logins")
        log.info("login of %s %s", safe(caller.user), _origin(caller), extra=caller.logged)

    def failed(self, user: str, peer: str, how: str) -> None:
        """Count a login that failed, and log it where there were not many; *how* names key or method."""
        with self._lock:
            self._counts["failed_logins"] += 1
            now_s = time.monotonic()
            if now_s - self._second_s >= 1.0:
                self._second_s, self._lines = now_s, 0
            self._lines += 1
            if self._lines > _LINES:
                self._unlogged += 1
                return
        log.warning("login of %s from %s failed: %s", safe(user), peer, how, extra={"user": safe(user).strip('"')})

    def tell(self) -> None:
        """Log in one line each what was only counted, at most once a second."""
        with self._lock:
            closed, unlogged = self._closed, self._unlogged
            now_s = time.monotonic()
            if not (closed or unlogged) or now_s - self._told_s < 1.0:
                return
            self._told_s, self._closed, self._unlogged = now_s, Counter(), 0
        if unlogged:
            log.warning("%d more logins failed", unlogged)
        if closed:
            named = ", ".join(f"{n} {why.replace('_', ' ')}" for why, n in sorted(closed.items()))
            # A peer that goes by itself is what a probe of a load balancer does.
            level = logging.INFO if closed.keys() == {"gone"} else logging.WARNING
            log.log(level, "%d connections were closed before they had a session: %s", closed.total(), named)

    @property
    def untold(self) -> bool:
        """Say if `tell` has something to log."""
        with self._lock:
            return bool(self._closed or self._unlogged)

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts[name] += 1

    # -- events ------------------------------------------------------------

    def listen(self, event: Event) -> None:
        """Log and count an event."""
        if isinstance(event, SessionStart):
            self._count("sessions")
            caller = self._caller_of(event.session)
            log.info("session %d of %s is open", event.session, _who(caller), extra=caller.logged)
        elif isinstance(event, SessionEnd):
            self._count(f"sessions_{event.reason.replace('-', '_')}")
            by = "" if event.killed_by is None else f" by {self._session(event.killed_by)}"
            log.log(
                logging.WARNING if by else logging.INFO,
                "%s has ended: %s%s",
                self._session(event.session),
                event.reason,
                by,
                extra=self._caller_of(event.session).logged,
            )
        elif isinstance(event, ConfigChange):
            self._count("commits")
            who = "the function" if event.session is None else self._session(event.session)
            by_whom = {} if event.session is None else self._caller_of(event.session).logged
            log.warning("%s committed revision %d: %s", who, event.revision, _paths(event.changes), extra=by_whom)
        elif isinstance(event, AlarmChange):
            log.warning(
                "alarm %s %s: %s", event.alarm.kind, "cleared" if event.alarm.cleared else "raised", event.alarm.text
            )
        elif isinstance(event, RestartNeeded) and event.leaves:
            log.warning("a restart is needed for limits: %s", ", ".join(event.leaves))

    def _session(self, number: int) -> str:
        return f"session {number} of {_who(self._caller_of(number))}"


def _who(caller: Caller) -> str:
    return f"{caller.user} {_origin(caller)}" if caller.fingerprint else caller.user


def _origin(caller: Caller) -> str:
    return f"from {caller.peer} port {caller.port} with {caller.fingerprint}"


def _paths(changes: tuple[Changed, ...]) -> str:
    found = Counter((each.operation, each.schema_path) for each in changes)
    named = [f"{operation} {path}{f' ({n})' if n > 1 else ''}" for (operation, path), n in found.items()]
    more = [f"{len(named) - _PATHS} more paths"] if len(named) > _PATHS else []
    return ", ".join(named[:_PATHS] + more) or "nothing differs"
