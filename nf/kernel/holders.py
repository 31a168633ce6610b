"""Network instances of UE addresses, for a million of them: a number each, a set for the few of several."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gtp.packing import ipv4_number, ipv4_text
from gtp.table import NumberTable
from nf.kernel.claims import claim_all

__all__ = ["Holders"]


class Holders:
    """The instances of UE addresses. Instances are numbers below 2^32 - 1."""

    def __init__(self) -> None:
        self._only = NumberTable()  # IPv4 address to its instance, counted from 1
        self._several: dict[str, set[int]] = {}  # addresses of more than one instance, and IPv6

    def add(self, address: str, instance: int) -> set[int]:
        """Add an address to an instance; return all instances it is in when there are more than this one."""
        number = ipv4_number(address)
        held = self._several.get(address)
        if held is None and number is not None:
            only = self._only.claim(number, instance + 1)
            if only in (0, instance + 1):
                return set()
            self._only.pop(number)
            held = self._several[address] = {only - 1}
        elif held is None:
            held = self._several[address] = set()
        held.add(instance)
        return held if len(held) > 1 else set()

    def add_alone(self, addresses: NDArray[np.uint32], instances: NDArray[np.uint32]) -> NDArray[np.bool_]:
        """Add many IPv4 addresses, as numbers, each to its instance; return which are added: those of no other one."""
        several = np.zeros(len(addresses), np.bool_)
        if self._several:
            several = np.array([ipv4_text(address) in self._several for address in addresses.tolist()], np.bool_)
        alone = np.flatnonzero(~several)
        own = instances[alone] + np.uint32(1)
        known = claim_all(self._only, addresses[alone].astype(np.uint64), own)
        added = np.zeros(len(addresses), np.bool_)
        added[alone] = (known == 0) | (known == own)
        return added

    def leave(self, address: str, instance: int) -> set[int]:
        """Remove an address from an instance; return those that it is in still, if there were several."""
        number = ipv4_number(address)
        held = self._several.get(address)
        if held is None:
            if number is not None and self._only.get(number) == instance + 1:
                self._only.pop(number)
            return set()
        held.discard(instance)
        if number is not None and len(held) == 1:
            self._only.put(number, next(iter(held)) + 1)
            return self._several.pop(address)
        if not held:
            del self._several[address]
        return held
