"""Addresses of a session beyond its first: routes and prefixes behind the UE (TS 29.244, 5.16; TS 23.501, 5.6.14).

A session may have more than one address of each family: framed routes, further IPv6 prefixes of a multi-homed session,
a delegated prefix. They are prefixes here, kept apart from the addresses that every session has, since few sessions
have any. While two sessions of a network instance have the same prefix, packets of N6 to it could be of either: it is
of neither until one is left. Among prefixes the longest counts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from nf.kernel.changes import DropRoute, PutRoute, TableChange

__all__ = ["Routes"]

_Route = tuple[str, str]  # network instance and prefix


class Routes:
    """The prefixes of each session, and their changes for the kernel."""

    def __init__(self) -> None:
        self._held: dict[_Route, set[int]] = {}
        self._of: dict[int, frozenset[_Route]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def put(self, number: int, instance: str, prefixes: Iterable[str]) -> list[TableChange]:
        """Give a session these prefixes and no others; return what that changes in the kernel's table."""
        wanted = frozenset((instance, prefix) for prefix in prefixes)
        had = self._of.get(number, frozenset())
        if wanted == had:
            return []
        changes: list[TableChange] = []
        for route in sorted(had - wanted):
            changes.append(DropRoute(*route, number))
            self._held[route].discard(number)
            if not self._held[route]:
                del self._held[route]
        for route in sorted(wanted - had):
            changes.append(PutRoute(*route, number))
            self._held.setdefault(route, set()).add(number)
        self._of[number] = wanted
        if not wanted:
            del self._of[number]
        return changes

    def find(self, instance: str, address: str) -> int:
        """Return the number of the session that alone has the longest prefix of an address, else 0."""
        if not self._held:
            return 0
        ip = ipaddress.ip_address(address)
        for length in range(ip.max_prefixlen, 0, -1):
            numbers = self._held.get((instance, str(ipaddress.ip_network(f"{ip}/{length}", strict=False))))
            if numbers:
                return next(iter(numbers)) if len(numbers) == 1 else 0
        return 0
