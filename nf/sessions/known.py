"""Known sessions: the maps that find them, and the questions about them. `nf.sessions.store` changes them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nf.privacy import Pseudonymiser
from nf.sessions.at_rest.bindings import Bindings
from nf.sessions.at_rest.maps import CompactMap, KeyPacker, SubscriberMap, UePacker, pack_tunnel
from nf.sessions.at_rest.records import Label
from nf.sessions.binding import Binding, TunnelKey, UeKey
from nf.sessions.changes import UeEntries
from nf.sessions.past import PastHolders
from nf.sessions.routes import Routes

__all__ = ["Known"]

K = TypeVar("K")


class Known:
    """The bindings by number, tunnel, UE address, IMSI and key. May be asked while another thread changes it."""

    def __init__(self, capacity: int, history: int, pseudonymiser: Pseudonymiser | None) -> None:
        self._lock = threading.RLock()
        self._bindings = Bindings(history)
        self._key_packer = KeyPacker()
        self._by_key: CompactMap[str] = CompactMap(self._key_packer)  # of each part
        self._tunnels: CompactMap[TunnelKey] = CompactMap(pack_tunnel)
        self._ue_packer = UePacker()
        self._ues: CompactMap[UeKey] = CompactMap(self._ue_packer)
        self._past = PastHolders(2 * capacity)  # only the recent past is asked about
        self._entries, self._routes = UeEntries(), Routes()
        self._by_imsi = SubscriberMap(pseudonymiser or Pseudonymiser(b"", 0))

    def _of(self, numbers: CompactMap[K], key: K) -> Binding | None:
        number = numbers.get(key)
        return self._bindings.at(number) if number else None

    def by_index(self, index: int) -> Binding | None:
        """Return the binding of a number, also for a while after its end. It is not to be changed."""
        with self._lock:
            self._bindings.cool()
            return self._bindings.at(index)

    def by_tunnel(self, address: str, teid: int, at_s: float | None = None) -> Binding | None:
        """Return the holder of a tunnel now, or at *at_s*."""
        key = (address, teid)
        with self._lock:
            self._bindings.cool()
            now = self._of(self._tunnels, key)
            if at_s is None or (now is not None and now.first_s <= at_s):
                return now
            if number := self._past.at(key, at_s):
                return self._bindings.at(number)
            # The first packets may precede the response that bound them: they are of the present holder.
            return now if key not in self._past else None

    def by_tunnels(self, keys: Sequence[TunnelKey], at_s: float) -> list[Binding | None]:
        """Return the holder of each tunnel at *at_s*; nobody holds one without an address."""
        return [self.by_tunnel(address, teid, at_s) if address else None for address, teid in keys]

    def number_of_tunnel(self, address: str, teid: int) -> int:
        """Return the number of the session that holds a tunnel now, 0 when none does."""
        return self._tunnels.get((address, teid))

    def by_ue(self, instance: str, address: str) -> Binding | None:
        """Return the session of a UE address in a network instance, also by a /64 or prefix that it alone has."""
        with self._lock:
            self._bindings.cool()
            binding = self._of(self._ues, (instance, address))
            if binding is None and (
                index := self._entries.only(instance, address) or self._routes.find(instance, address)
            ):
                binding = self._bindings.at(index)
            return binding if binding is not None and binding.last_s is None else None

    def by_imsi(self, imsi: str) -> list[Binding]:
        """Return the sessions that a subscriber has now."""
        with self._lock:
            self._bindings.cool()
            found = (self._bindings.at(number) for number in self._by_imsi.get(imsi))
            return [b for b in found if b is not None and b.whole.identity.imsi == imsi]

    def numbers_by_pseudonym(self, digits: str, most: int = 1000) -> list[int]:
        """Return at most *most* sessions whose subscriber's pseudonym begins with *digits*; a few may be of others."""
        with self._lock:
            return self._by_imsi.beginning_with(digits, most)

    def instances(self) -> list[str]:
        """Return the network instances that UE addresses were ever of."""
        with self._lock:
            return list(dict.fromkeys([*self._ue_packer.instances, *self._entries.instances()]))

    def use(self, pseudonymiser: Pseudonymiser) -> None:
        """Find sessions by the names that *pseudonymiser* gives, from now on."""
        with self._lock:
            by_imsi = SubscriberMap(pseudonymiser)
            for number in self._bindings.numbers():
                label = self.label(number)
                if label is not None and label.imsi:
                    by_imsi.add(label.imsi, number)
            self._by_imsi = by_imsi

    def label(self, index: int) -> Label | None:
        """Return what is published of a session, also for a while after its end."""
        return self._bindings.label(index)

    def on_relabelled(self, tell: Callable[[list[int]], None]) -> None:
        """Call *tell* after each change with the sessions whose `label` may be another, in the thread of the change."""
        with self._lock:
            self._bindings.on_relabelled.append(tell)

    def subscriber(self, index: int, pseudonymiser: Pseudonymiser) -> str:
        """Return the published name of a session's subscriber: a pseudonym, or its address while unknown."""
        found = self.label(index)
        return found.published(pseudonymiser) if found else "unknown"

    def history(self) -> Iterator[Binding]:
        """Return the bindings that ended (the latest of them), then those that hold."""
        return self._bindings.history()

    def numbers(self) -> list[int]:
        """Return the numbers of the sessions that hold."""
        return self._bindings.numbers()

    def count_by_source(self) -> Counter[str]:
        """Return how many sessions hold, by source."""
        return +self._bindings.sources

    def nameless(self) -> NDArray[np.uint32]:
        """Return the numbers of the sessions that `partial` counts."""
        with self._lock:
            return np.fromiter(self._bindings.partial, np.uint32, len(self._bindings.partial))

    @property
    def partial(self) -> int:
        """The number of sessions that hold without known subscriber and UE address: they began before we did."""
        return len(self._bindings.partial)

    def __len__(self) -> int:
        return len(self._bindings)
