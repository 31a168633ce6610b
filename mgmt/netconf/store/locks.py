"""The sessions that are open, and the datastores that they have locked (RFC 6241, 7.5 and 7.6)."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from mgmt.netconf.rpcerror import RpcError

__all__ = ["Locks", "denied", "now"]


def now() -> str:
    """Return the time on the wall as RFC 3339 writes it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def denied(owner: int, message: str) -> RpcError:
    """Return the error for a lock that cannot be had; *owner*: the session in the way, 0 when it is none."""
    return RpcError("lock-denied", message, kind="protocol", info=[("session-id", str(owner))])


class Locks:
    """Sessions and their locks. Sessions open and end at any time; locks are the business of the one writer."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._sessions: dict[int, str] = {}
        self._last = 0
        self._held: dict[str, tuple[int, str]] = {}

    def open(self, user: str) -> int:
        """Return the number of a new session."""
        with self._mutex:
            self._last += 1
            self._sessions[self._last] = user
            return self._last

    def end(self, session: int) -> bool:
        """End a session; say if it was open. Its locks stay until they are released."""
        with self._mutex:
            return self._sessions.pop(session, None) is not None

    def has(self, session: int) -> bool:
        """Say if a session is open."""
        return session in self._sessions

    def user(self, session: int | None) -> str:
        """Return the user of an open session."""
        return "" if session is None else self._sessions.get(session, "")

    def check(self, session: int, *targets: str) -> None:
        """Raise RpcError when *session* has ended, or (in-use) when another one has locked one of *targets*."""
        if session not in self._sessions:
            raise RpcError("operation-failed", "The session has ended.", kind="protocol")
        for target in targets:
            owner, _ = self.owner(target)
            if owner not in (None, session):
                raise RpcError("in-use", f"Session {owner} has locked {target}.", kind="protocol")

    def owner(self, target: str) -> tuple[int | None, str]:
        """Return the session that has locked a datastore and since when (RFC 3339), None when nobody has."""
        return self._held.get(target, (None, ""))

    def of(self, session: int) -> list[str]:
        """Return the datastores that a session has locked."""
        return [target for target, (owner, _) in self._held.items() if owner == session]

    def take(self, session: int, target: str) -> None:
        """Lock a datastore. Raises RpcError (lock-denied) with the session that holds it."""
        owner, _ = self.owner(target)
        if owner is not None:
            raise denied(owner, f"Session {owner} has locked {target}.")
        self._held[target] = session, now()

    def check_owner(self, session: int, target: str) -> None:
        """Raise RpcError when a datastore is not locked by *session*."""
        owner, _ = self.owner(target)
        if owner is None:
            raise RpcError("operation-failed", f"{target} is not locked.", kind="protocol")
        if owner != session:
            raise denied(owner, f"Session {owner} has locked {target}.")

    def release(self, target: str) -> None:
        """Release a lock."""
        del self._held[target]
