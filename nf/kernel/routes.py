"""Prefixes of sessions beyond their first addresses, as the programs look them up (bpf/session.h): the longest counts.

Few sessions have any, so that they are a trie of their own, which is asked where the session table knows nobody and
only while there is a prefix at all. A prefix is there for its tunnels (is this address the session's?) and for each
network instance, and for ports that name none, as long as one session alone has it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.abi import ROUTE_OF_INSTANCE, ROUTE_OF_TUNNEL
from nf.kernel import syscall
from nf.kernel.addresses import address_bytes
from nf.kernel.maps import Map

__all__ = ["RouteTable"]

_SCOPE_BITS = 64  # kind and scope, which are whole in each key
_MAPPED_BITS = 96  # before the address of an IPv4 prefix
_ANY = 0  # instance of ports that name none

_Key = tuple[int, int, str]  # kind, scope, prefix


class RouteTable:
    """The map ``routes``; ``refused`` counts prefixes that found no room."""

    def __init__(self, table: Map, control: NDArray[np.void]) -> None:
        self.refused = 0
        self._table, self._control, self._most = table, control, len(table)
        self._holders: dict[str, set[tuple[int, int]]] = {}  # by prefix: (instance, session)
        self._there: dict[_Key, int] = {}

    def change(self, rows: Mapping[tuple[int, str, int], bool]) -> None:
        """Take (number of a network instance, prefix, session) rows: true where the session has it, else false."""
        before = {key: self._there.get(key, 0) for _, prefix, _ in rows for key in self._keys(prefix, rows)}
        for (instance, prefix, session), has in rows.items():
            holders = self._holders.setdefault(prefix, set())
            (holders.add if has else holders.discard)((instance, session))
            if not holders:
                del self._holders[prefix]
        after = {key: self._session(key) for key in before}
        self._write({key: session for key, session in after.items() if session != before[key]})

    def _keys(self, prefix: str, rows: Mapping[tuple[int, str, int], bool]) -> set[_Key]:
        """Return all entries that a change of the holders of a prefix may concern."""
        told = {(i, s) for i, p, s in rows if p == prefix} | self._holders.get(prefix, set())
        of_tunnels = {(ROUTE_OF_TUNNEL, session, prefix) for _, session in told}
        return of_tunnels | {(ROUTE_OF_INSTANCE, i, prefix) for i in (_ANY, *(i for i, _ in told))}

    def _session(self, key: _Key) -> int:
        """Return the session that an entry is to have, 0 when there is to be none."""
        kind, scope, prefix = key
        holders = self._holders.get(prefix, set())
        if kind == ROUTE_OF_TUNNEL:
            return scope if any(session == scope for _, session in holders) else 0
        found = {session for instance, session in holders if scope in (_ANY, instance)}
        return found.pop() if len(found) == 1 else 0

    def _write(self, changed: Mapping[_Key, int]) -> None:
        if not changed:
            return
        gone = [key for key, session in changed.items() if not session and key in self._there]
        come = {key: session for key, session in changed.items() if session}
        if gone:
            syscall.delete_batch(self._table.fd, _packed(gone, self._table.key))
            for key in gone:
                del self._there[key]
        room = self._most - len(self._there)
        fits = [key for n, key in enumerate(sorted(come, key=lambda k: k not in self._there)) if n < room]
        self.refused += len(come) - len(fits)
        if fits:
            values = np.array([come[key] for key in fits], np.uint32)
            syscall.update_batch(self._table.fd, _packed(fits, self._table.key), values)
            self._there |= {key: come[key] for key in fits}
        self._control["routes"] = len(self._there)
        self._control["generation"] += 1  # addresses of a prefix may be in any range: all flows ask again

    def clear(self) -> None:
        """Forget all, also what another process wrote."""
        self._table.clear()
        self._holders.clear()
        self._there.clear()
        self._control["routes"] = 0


def _packed(keys: list[_Key], dtype: np.dtype[Any]) -> NDArray[np.void]:
    """Return keys of the map (``struct route_key``)."""
    out = np.zeros(len(keys), dtype)
    for at, (kind, scope, prefix) in enumerate(keys):
        network = ipaddress.ip_network(prefix, strict=False)
        bits = network.prefixlen + (_MAPPED_BITS if network.version == 4 else 0)
        address = np.frombuffer(address_bytes(str(network.network_address)), np.uint8)
        out[at] = (_SCOPE_BITS + bits, kind, scope, address)
    return out
