"""The session that asks, as an operation sees it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Caller"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The session that asks, and its user as he logged in: from where, and with which key (as OpenSSH prints it)."""

    session: int
    user: str = ""
    peer: str = ""
    fingerprint: str = ""
