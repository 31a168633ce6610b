"""Changes of the kernel's tables for a binding, and the UE addresses that those can tell apart."""

from __future__ import annotations

import ipaddress

from gtp.events import Tunnel
from nf.kernel.changes import DropUe, PutTunnel, PutUe, TableChange
from nf.sessions.binding import Binding, routes_of

__all__ = ["UeEntries", "put_tunnel", "slash64"]


def put_tunnel(tunnel: Tunnel, binding: Binding) -> PutTunnel:
    """Return the change that binds a tunnel to a session in the kernel."""
    session, routed = binding.session, bool(routes_of(binding.session))
    return PutTunnel(tunnel.address, tunnel.teid, tunnel.side, binding.index, session.ue_ipv4, session.ue_ipv6, routed)


class UeEntries:
    """The kernel's entries of UE addresses: it looks IPv6 up by its /64 (TS 23.501, 5.8.2.2.3).

    Some cores give several UEs addresses of one /64. The entry could then be of any of them, so it is
    taken away until one session alone is left in it. An IPv4 address is an entry of its own.
    """

    def __init__(self) -> None:
        self._held: dict[tuple[str, bytes], dict[str, int]] = {}  # by (instance, entry): address to number

    def put(self, instance: str, address: str, index: int) -> list[TableChange]:
        """Add a session's address; return what that changes in the kernel's table."""
        if ":" not in address:
            return [PutUe(instance, address, index)]
        held = self._held.setdefault((instance, slash64(address)), {})
        before = dict(held)
        held[address] = index
        if len(set(held.values())) == 1:
            return [PutUe(instance, address, index)]
        return [DropUe(instance, a) for a in before] if len(set(before.values())) == 1 else []

    def drop(self, instance: str, address: str) -> list[TableChange]:
        """Remove a session's address; return what that changes in the kernel's table."""
        if ":" not in address:
            return [DropUe(instance, address)]
        key = instance, slash64(address)
        held = self._held.get(key, {})
        told = len(set(held.values())) == 1
        held.pop(address, None)
        changes: list[TableChange] = [DropUe(instance, address)] if told else []
        if not held:
            self._held.pop(key, None)
        elif not told and len(set(held.values())) == 1:
            changes += [PutUe(instance, a, n) for a, n in held.items()]
        return changes

    def instances(self) -> set[str]:
        """Return the network instances of IPv6 addresses."""
        return {instance for instance, _ in self._held}

    def is_shared(self, instance: str, address: str) -> bool:
        """Say whether any session is in the entry of an IPv6 address."""
        return ":" in address and bool(self._held.get((instance, slash64(address))))

    def only(self, instance: str, address: str) -> int | None:
        """Return the number of the only session in the entry of an address."""
        numbers = set(self._held.get((instance, slash64(address)), {}).values()) if ":" in address else set()
        return numbers.pop() if len(numbers) == 1 else None


def slash64(address: str) -> bytes:
    """Return the /64 that an IPv6 address is in."""
    return ipaddress.IPv6Address(address.partition("/")[0]).packed[:8]
