"""The session that asks, as an operation sees it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The session that asks, and its user as he logged in: from where, and with which key (as OpenSSH prints it).

    ``groups`` are those of the users file; None: nobody has one there, as in a file from before there were groups.
    """

    session: int
    user: str = ""
    peer: str = ""  # address
    port: int = 0
    fingerprint: str = ""
    groups: frozenset[str] | None = frozenset()

    @property
    def logged(self) -> dict[str, object]:
        """Session and user as fields of a message of the log (the *extra* of logging)."""
        return ({"session": self.session} if self.session else {}) | ({"user": self.user} if self.user else {})
