"""Sessions over a restart: what a store gives to the next process, and what it takes back, one by one or in columns.

The last to get a tunnel or an address has it, as before; of two at one time the first that is taken back. A session
that is known already stays as it is, and a full store takes no more.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gtp.packing import Shape, ipv4_text
from nf.kernel.changes import TableChange
from nf.privacy import Pseudonymiser
from nf.sessions.at_rest.columns import Rows, row_type
from nf.sessions.at_rest.maps import KeyPacker, Keys, Numbers, tags_of
from nf.sessions.at_rest.records import NUMBER, Freezer
from nf.sessions.binding import TunnelKey, UeKey
from nf.sessions.known import Known

__all__ = ["Intake", "Record"]

_NUMBERS = 0xFFFF_FFFE
_WORD = (1 << 32) - 1

Record = tuple[int, bytes, bytes]  # shape, its rows, and their tags; shape -1: one record of no shape
Times = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Intake(Known):
    """The bindings, and the way out of one process into the next."""

    def __init__(self, capacity: int, first: int, history: int, pseudonymiser: Pseudonymiser | None) -> None:
        super().__init__(capacity, history, pseudonymiser)
        self._capacity, self._next = capacity, first

    def _number(self) -> int:
        while self._bindings.is_used(self._next):
            self._next = self._next % _NUMBERS + 1
        number, self._next = self._next, self._next % _NUMBERS + 1
        return number

    def _numbers(self, count: int) -> Numbers:
        numbers = ((self._next - 1 + np.arange(count)) % _NUMBERS + 1).astype(np.uint32)
        if self._bindings.used(numbers).any():
            return np.array([self._number() for _ in range(count)], np.uint32)
        self._next = (self._next - 1 + count) % _NUMBERS + 1
        return numbers

    @property
    def freezer(self) -> Freezer:
        """The reader and maker of the records of this store."""
        return self._bindings.freezer

    @property
    def key_packer(self) -> KeyPacker:
        """The packer of the keys of sessions."""
        return self._key_packer

    def dump(self) -> tuple[list[Any], list[Record]]:
        """Return (constants, records) of the sessions that hold, for `nf.sessions.restart.restore`. They hold IMSIs."""
        with self._lock:
            tables, odd = self._bindings.columns()
            subscribers = self._by_imsi.columns()
            constants = [self._bindings.freezer.packer.dump(), self._by_imsi.proof()]
        records = []
        for shape, rows in tables:
            numbers = np.frombuffer(rows, row_type(shape))[str(NUMBER)].copy()
            records.append((shape.number, rows, tags_of(subscribers, numbers).tobytes()))
        return constants, [*records, *((-1, record, b"") for record in odd)]

    def changing(self) -> threading.RLock:
        """Return the lock that keeps others out while sessions are taken back."""
        return self._lock

    # -- one by one ----------------------------------------------------------

    def take_back(self, record: bytes, keys: Sequence[str], source: str, imsi: str) -> int:
        """Take back the session of a record of `freezer`; return its number, 0 when it is known or finds no room."""
        number = self._number()
        if len(self) >= self._capacity or self._by_key.claim(keys[0], number):
            return 0
        for key in keys[1:]:
            self._by_key[key] = number
        self._bindings.take(number, self.freezer.numbered(record, number), source)
        if imsi:
            self._by_imsi.add(imsi, number)
        return number

    def take_back_tunnel(self, key: TunnelKey, number: int, since_s: float) -> bool:
        """Give a tunnel to a session that was taken back, unless another got it later; return whether it has it."""
        if not self._tunnels.claim(key, number):
            return True
        holder = self._of(self._tunnels, key)
        if holder is not None:
            got_s = (at_s for t, at_s in holder.held.items() if (t.address, t.teid) == key)
            if next(got_s, since_s) >= since_s:
                return False
        self._tunnels[key] = number
        return True

    def take_back_ue(self, ue: UeKey, number: int, since_s: float) -> list[TableChange] | None:
        """Give a UE address to a session that was taken back, unless another got it later.

        Returns the changes of the kernel's table; None when it is only that the address is the session's.
        """
        if not self._ues.claim(ue, number):
            return None if ":" not in ue[1] else self._entries.put(*ue, number)
        holder = self._of(self._ues, ue)
        if holder is not None and holder.ue_s >= since_s:
            return []
        self._ues[ue] = number
        return [*self._entries.drop(*ue), *self._entries.put(*ue, number)]

    def take_back_routes(self, number: int, instance: str, routes: Sequence[str]) -> list[TableChange]:
        """Give a session that was taken back its further prefixes; return the changes of the kernel's table."""
        return self._routes.put(number, instance, routes)

    # -- in columns ----------------------------------------------------------

    def take_back_keys(self, keys: Keys) -> tuple[NDArray[np.intp], Numbers]:
        """Return which of many sessions are taken back, by their packed keys, and their numbers."""
        unknown = np.flatnonzero(~self._by_key.has_packed(keys))[: max(0, self._capacity - len(self))]
        numbers = self._numbers(len(unknown))
        first = self._by_key.claim_all(keys[unknown], numbers) == 0
        return unknown[first], numbers[first]

    def take_back_rows(self, shape: Shape, rows: Rows, numbers: Numbers, source: str) -> None:
        """Hold the sessions of rows; *shape* is of `freezer`. The rows get the numbers."""
        rows[str(NUMBER)] = numbers
        self._bindings.take_all(shape, rows, numbers, source)

    def take_back_subscribers(self, tags: Keys, numbers: Numbers) -> None:
        """Name sessions by the tags of their subscribers."""
        self._by_imsi.add_all(tags, numbers)

    def tag(self, imsi: str) -> int:
        """Return the tag of a subscriber."""
        return self._by_imsi.tag(imsi)

    @property
    def proof(self) -> int:
        """The number that only stores of the same pseudonyms have: their tags are the same."""
        return self._by_imsi.proof()

    def take_back_tunnels(self, keys: Keys, numbers: Numbers, since_s: Times) -> Mask:
        """Do what `take_back_tunnel` does for many packed tunnels; return who has his."""
        last = _last(keys, numbers, since_s)
        known = self._tunnels.claim_all(keys[last], numbers[last])
        has = np.zeros(len(keys), np.bool_)
        has[last] = True
        for row in last[known > 0].tolist():
            key = int(keys[row])
            tunnel = ipv4_text(key >> 32), key & _WORD
            has[row] = self.take_back_tunnel(tunnel, int(numbers[row]), float(since_s[row]))
        return has

    def take_back_ues(
        self, instances: Sequence[str], of: NDArray[np.intp], addresses: Numbers, numbers: Numbers, since_s: Times
    ) -> tuple[Mask, list[TableChange]]:
        """Do what `take_back_ue` does for many IPv4 addresses, each *of* one of the instances.

        Returns who has his with nothing else to be done, and the changes of the kernel's table for the others.
        """
        words = np.array([self._ue_packer.instances.number(name) for name in instances], np.uint64)
        keys = words[of] << np.uint64(32) | addresses.astype(np.uint64)
        last = _last(keys, numbers, since_s)
        known = self._ues.claim_all(keys[last], numbers[last])
        has = np.zeros(len(keys), np.bool_)
        has[last] = known == 0
        changes: list[TableChange] = []
        for row in last[known > 0].tolist():
            ue = instances[of[row]], ipv4_text(int(addresses[row]))
            changes += self.take_back_ue(ue, int(numbers[row]), float(since_s[row])) or ()
        return has, changes


def _last(keys: Keys, numbers: Numbers, since_s: Times) -> NDArray[np.intp]:
    """Return the row of each key that got it last, of several at one time the first by number."""
    if not len(keys):
        return np.zeros(0, np.intp)
    order = np.argsort(keys)
    if not (np.diff(keys[order]) == 0).any():
        return order
    order = np.lexsort((numbers, -since_s, keys))
    last: NDArray[np.intp] = order[np.concatenate([[True], np.diff(keys[order]) != 0])]
    return last
