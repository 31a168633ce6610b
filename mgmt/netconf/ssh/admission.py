"""Decides which connections stay while they have not logged in, and how long. No sockets, no clock.

Nobody is refused for coming late: where there is no room, one that has done less, or has waited longer, goes. So a
flood of silent connections holds places, and a client that talks keeps his (the idea of MaxStartups in sshd_config(5),
with the choice by what a peer has done so far instead of by chance).
"""

from __future__ import annotations

import enum
import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from nf.settings import Management

__all__ = ["Guest", "Lobby", "Penalties", "Stage", "source_of"]

_YOUNG_S = 0.5  # two round trips by satellite: who is younger may still be on the way with his first word
_NETWORK_V6 = 64  # bits that one host has at least (RFC 7934, 3)


class Stage(enum.IntEnum):
    """The distance that a connection has come."""

    SILENT = 0  # has not said that it talks SSH
    GREETED = 1
    KEYED = 2  # has exchanged keys with the server
    LOGGED_IN = 3


class Guest(Protocol):
    """A connection, as far as it is judged here."""

    @property
    def source(self) -> str:
        """The source, of `source_of`."""

    @property
    def since_s(self) -> float:
        """The time at which it came."""

    @property
    def stage(self) -> Stage:
        """The distance that it has come."""

    @property
    def failed(self) -> bool:
        """A login failed on it."""


def source_of(address: str) -> str:
    """Return what counts as one source: an IPv4 address, or the network of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, _NETWORK_V6), strict=False))
        found = found.ipv4_mapped
    return str(found)


T = TypeVar("T", bound=Guest)


class Lobby(Generic[T]):
    """The connections that have not logged in. Not safe to use from several threads."""

    def __init__(self) -> None:
        self._guests: dict[T, None] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def __iter__(self) -> Iterator[T]:
        return iter(list(self._guests))

    def enter(self, guest: T, limits: Management) -> list[T]:
        """Take a connection in, and return those that go for it.

        First of its own source, when that has too many. Then of the source that has the most: a source with one
        connection loses it only when each has one. Of those one on which a login failed, then one that had its time to
        begin, then the least far, then the oldest.
        """
        gone: list[T] = []
        own = [g for g in self._guests if g.source == guest.source]
        if len(own) >= limits.per_source:
            gone.append(self._leaves(own, guest.since_s))
        while len(self._guests) >= limits.unauthenticated:
            many = Counter(g.source for g in self._guests)
            most = max(many.values())
            gone.append(self._leaves([g for g in self._guests if many[g.source] == most], guest.since_s))
        self._guests[guest] = None
        return gone

    def _leaves(self, among: list[T], now_s: float) -> T:
        victim = min(among, key=lambda g: (not g.failed, now_s - g.since_s < _YOUNG_S, g.stage, g.since_s))
        self.leave(victim)
        return victim

    def leave(self, guest: T) -> bool:
        """Forget a connection, and say if it was here."""
        return self._guests.pop(guest, self) is None

    def login_s(self, limits: Management) -> float:
        """Return the seconds that a connection has: fewer, the fuller it is."""
        fullness = min(1.0, len(self._guests) / limits.unauthenticated)
        return limits.login_s - max(0.0, limits.login_s - limits.least_login_s) * fullness


class Penalties:
    """The waits of sources that failed to log in. Not safe to use from several threads.

    The first failures are free: a client tries the keys of its agent one after the other. Each after that has its
    answer twice as long after the one before, whatever the number of connections; who is answered late is nobody else.
    """

    FREE = 5
    FIRST_S, MOST_S = 0.25, 5.0
    BEHIND_S = 20.0  # the latest answer: longer than a connection has
    FORGOTTEN_S = 30.0  # without a failure, half of them
    SOURCES = 1024  # remembered; of more, those that failed last

    def __init__(self) -> None:
        self._failed: OrderedDict[str, tuple[float, float, float]] = OrderedDict()  # failures, at, answered until

    def _of(self, source: str, now_s: float) -> tuple[float, float]:
        failures, at_s, until_s = self._failed.get(source, (0.0, now_s, now_s))
        return failures * 0.5 ** ((now_s - at_s) / self.FORGOTTEN_S), until_s

    def failed(self, source: str, now_s: float) -> float:
        """Count a failure and return the seconds until its answer."""
        failures, until_s = self._of(source, now_s)
        failures += 1
        until_s = min(max(until_s, now_s) + self._step_s(failures), now_s + self.BEHIND_S)
        self._failed[source] = failures, now_s, until_s
        self._failed.move_to_end(source)
        if len(self._failed) > self.SOURCES:
            self._failed.popitem(last=False)
        return until_s - now_s

    def forgive(self, source: str, failures: int, now_s: float) -> None:
        """Take back what failed before a login of the same connection."""
        if source in self._failed:
            left, until_s = self._of(source, now_s)
            self._failed[source] = max(0.0, left - failures), now_s, until_s

    def hold_s(self, source: str, now_s: float) -> float:
        """Return the seconds that a new connection of a source waits for its key exchange, which costs the most."""
        return min(1.0, self._step_s(self._of(source, now_s)[0])) if source in self._failed else 0.0

    def _step_s(self, failures: float) -> float:
        over = failures - self.FREE
        return min(self.MOST_S, self.FIRST_S * 2.0 ** (over - 1)) if over > 0 else 0.0
