"""The sources of sessions as an operator sees them: does one listen, was it heard, what did it tell."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from nf.signalling.tap import N4Listener

__all__ = ["Source", "sources"]

_LATELY_S = 180.0  # PFCP nodes heartbeat each minute (TS 29.244, 7.4.2; gtp/pfcp/peers.py)
_SIGNALLED = ("pfcp", "gtp-c", "radius", "ngap")


@dataclass(frozen=True, slots=True)
class Source:
    """A source. ``oper_status``: up (heard lately), silent, or down (nothing listens). ``heard_s``: when it spoke."""

    oper_status: str
    sessions: int
    messages: int | None = None  # None: it is no signalling
    heard_s: float | None = None


def sources(
    sessions: Mapping[str, int], listeners: Mapping[str, N4Listener], waiting: Collection[str], now_s: float
) -> dict[str, Source]:
    """Return all sources by name: those of signalling, and others that told a session."""
    listening = [listener for name, listener in list(listeners.items()) if name not in waiting]
    heard = [dict(listener.signalling.heard_s) for listener in listening]
    said = [listener.signalling.messages() for listener in list(listeners.values())]
    found = {}
    for name in _SIGNALLED:
        last_s = max((each[name] for each in heard if name in each), default=None)
        lately = last_s is not None and now_s - last_s <= _LATELY_S
        status = "down" if not listening else "up" if lately else "silent"
        found[name] = Source(status, sessions.get(name, 0), sum(each[name] for each in said), last_s)
    others = {name: Source("up", number) for name, number in sessions.items() if name not in found}
    return found | others
