"""Maps of sessions at rest: keys to the numbers of bindings, in some 17 bytes each (`gtp.table`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gtp.packing import ipv4_number
from gtp.table import NumberTable
from nf.kernel.claims import claim_all, entries
from nf.privacy import Pseudonymiser
from nf.sessions.binding import TunnelKey, UeKey

__all__ = [
    "KEY_DIGITS",
    "CompactMap",
    "KeyPacker",
    "Keys",
    "Numbers",
    "SubscriberMap",
    "UePacker",
    "pack_tunnel",
    "pack_tunnels",
    "tags_of",
]

K = TypeVar("K")
KEY_DIGITS, _KEY_BITS = 14, 47  # of the number of a key
Keys = NDArray[np.uint64]
Numbers = NDArray[np.uint32]


class CompactMap(Generic[K]):
    """A map of keys to numbers. *pack* gives a key a 64-bit number of its own; a dict holds keys without one."""

    __slots__ = ("_others", "_pack", "_table")

    def __init__(self, pack: Callable[[K], int | None]) -> None:
        self._pack, self._table = pack, NumberTable()
        self._others: dict[K, int] = {}

    def __len__(self) -> int:
        return len(self._table) + len(self._others)

    def __contains__(self, key: K) -> bool:
        return self.get(key) != 0

    def get(self, key: K) -> int:
        """Return the number of *key*, else 0."""
        packed = self._pack(key)
        return self._others.get(key, 0) if packed is None else self._table.get(packed)

    def __setitem__(self, key: K, number: int) -> None:
        packed = self._pack(key)
        if packed is None:
            self._others[key] = number
        else:
            self._table.put(packed, number)

    def claim(self, key: K, number: int) -> int:
        """Give *key* a number if it has none; return the one that it had, else 0."""
        packed = self._pack(key)
        if packed is not None:
            return self._table.claim(packed, number)
        known = self._others.setdefault(key, number)
        return 0 if known == number else known

    def claim_all(self, packed: Keys, numbers: Numbers) -> Numbers:
        """Do what `claim` does for each of many packed keys; return the numbers that they had, else 0."""
        return claim_all(self._table, packed, numbers)

    def has_packed(self, packed: Keys) -> NDArray[np.bool_]:
        """Say which of many packed keys have a number."""
        return np.isin(packed, entries(self._table)[0])

    def pop(self, key: K) -> int:
        """Take *key* out and return its number, else 0."""
        packed = self._pack(key)
        return self._others.pop(key, 0) if packed is None else self._table.pop(packed)


def pack_tunnel(key: TunnelKey) -> int | None:
    """Pack (receiving IPv4 address, TEID)."""
    address = ipv4_number(key[0])
    return None if address is None else address << 32 | key[1]


class _Words:
    """Numbers of words, in the order in which they came."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._numbers))

    def number(self, word: str) -> int:
        return self._numbers.setdefault(word, len(self._numbers))


def pack_tunnels(addresses: Numbers, teids: Numbers) -> Keys:
    """Pack (receiving IPv4 address as a number, TEID) in columns."""
    return addresses.astype(np.uint64) << np.uint64(32) | teids.astype(np.uint64)


class UePacker:
    """The packer of (network instance, IPv4 address)."""

    def __init__(self) -> None:
        self.instances = _Words()

    def __call__(self, key: UeKey) -> int | None:
        """Return the number; None for IPv6."""
        address = ipv4_number(key[1])
        return None if address is None else self.instances.number(key[0]) << 32 | address


class KeyPacker:
    """The packer of keys of sessions: a word, a hyphen and a number, as most trackers make them."""

    def __init__(self) -> None:
        self._words = _Words()

    def __call__(self, key: str) -> int | None:
        """Return the number; None for a key of another form."""
        word, _, digits = key.rpartition("-")
        if not (word and digits.isdecimal() and digits.isascii()) or len(digits) > KEY_DIGITS or len(word) > 16:
            return None
        if len(digits) > 1 and digits[0] == "0":
            return None
        return self._words.number(word) << _KEY_BITS | int(digits)

    def pack_all(self, word: str, numbers: Keys) -> Keys:
        """Pack many keys of one word; *numbers* have fourteen digits at most."""
        return numbers | np.uint64(self._words.number(word) << _KEY_BITS)


class SubscriberMap:
    """The sessions of each subscriber, the oldest first.

    It is kept by the first half of the pseudonym, so that the pseudonym finds them as well as the IMSI. Halves of two
    subscribers may be equal: the caller has to compare the IMSI.
    """

    def __init__(self, pseudonymiser: Pseudonymiser) -> None:
        self._tag = pseudonymiser.tag
        self._first = NumberTable()
        self._more: dict[int, tuple[int, ...]] = {}  # beyond the first

    def __len__(self) -> int:
        return len(self._first)

    def get(self, imsi: str) -> tuple[int, ...]:
        """Return the numbers of the sessions of a subscriber."""
        return self._of_tag(self._tag(imsi))

    def _of_tag(self, tag: int) -> tuple[int, ...]:
        first = self._first.get(tag)
        return (first, *self._more.get(tag, ())) if first else ()

    def add(self, imsi: str, number: int) -> None:
        """Add a session to a subscriber."""
        tag = self._tag(imsi)
        first = self._first.claim(tag, number)
        if first and number not in (first, *self._more.get(tag, ())):
            self._more[tag] = (*self._more.get(tag, ()), number)

    def proof(self) -> int:
        """Return a number that only a map of the same pseudonyms has."""
        return self._tag("")

    def tag(self, imsi: str) -> int:
        """Return the tag by which a subscriber is found."""
        return self._tag(imsi)

    def columns(self) -> tuple[Keys, Numbers]:
        """Return (tags, numbers), a row for each session of each subscriber, in no order."""
        tags, numbers = entries(self._first)
        more = [(tag, number) for tag, others in self._more.items() for number in others]
        return (
            np.concatenate([tags, np.array([tag for tag, _ in more], np.uint64)]),
            np.concatenate([numbers, np.array([number for _, number in more], np.uint32)]),
        )

    def add_all(self, tags: Keys, numbers: Numbers) -> None:
        """Add many sessions, each to the subscriber of a tag; none is known yet."""
        known = claim_all(self._first, tags, numbers)
        again = np.flatnonzero(known)
        for tag, number in zip(tags[again].tolist(), numbers[again].tolist(), strict=True):
            self._more[tag] = (*self._more.get(tag, ()), number)

    def discard(self, imsi: str, number: int) -> None:
        """Remove a session from a subscriber."""
        tag = self._tag(imsi)
        numbers = tuple(n for n in self._of_tag(tag) if n != number)
        self._more.pop(tag, None)
        if not numbers:
            self._first.pop(tag)
            return
        self._first.put(tag, numbers[0])
        if len(numbers) > 1:
            self._more[tag] = numbers[1:]

    def beginning_with(self, digits: str, most: int) -> list[int]:
        """Return at most *most* numbers of sessions whose pseudonym begins with these hexadecimal digits; 16 count."""
        digits = digits[:16]
        if not digits or any(c not in "0123456789abcdef" for c in digits):
            return []
        low, high = (int(digits.ljust(16, fill), 16) for fill in "0f")
        if low == high:
            return list(self._of_tag(low))
        found: list[int] = []
        for keys, numbers in self._first.columns():
            tags = np.frombuffer(keys, np.uint64)
            hits = np.flatnonzero((tags >= low) & (tags <= high) & (np.frombuffer(numbers, np.uint32) > 0))
            for tag in tags[hits].tolist():
                found += self._of_tag(tag)
            if len(found) >= most:
                break
        return found[:most]


def tags_of(subscribers: tuple[Keys, Numbers], numbers: Numbers) -> Keys:
    """Return the tag of each of many sessions by the columns of a `SubscriberMap`, 0 where it is not clear."""
    tags, known = subscribers
    if not len(known):
        return np.zeros(len(numbers), np.uint64)
    order = np.argsort(known)
    tags, known = tags[order], known[order]
    twice = np.flatnonzero(known[1:] == known[:-1])  # its subscriber changed: which tag is the present one?
    tags[twice] = tags[twice + 1] = 0
    at = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
    return np.where(known[at] == numbers, tags[at], np.uint64(0))
