"""Bindings at rest: a session in a hundred bytes instead of two thousand, and the maps that find it.

A city has a million sessions and touches two thousand of them a second. A session that is touched is a `Binding`;
at rest it is a record (`gtp.packing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np

from gtp.events import Identity, Session, Side, Tunnel
from gtp.packing import Packer, ipv4_number
from gtp.table import NumberTable
from nf.privacy import Pseudonymiser
from nf.sessions.binding import LEARNED, Binding, TunnelKey, UeKey, addresses_of, together

__all__ = [
    "FIRST_S",
    "IMSI",
    "KEY",
    "NOBODY",
    "OWN_TIME",
    "SIDES",
    "TUNNELS",
    "TUNNEL_VALUES",
    "UE_IPV4",
    "UE_IPV6",
    "UE_S",
    "CompactMap",
    "Freezer",
    "KeyPacker",
    "Label",
    "SubscriberMap",
    "UePacker",
    "label_of",
    "pack_tunnel",
]

NOBODY = "none"  # source of an identity that nobody told
SIDES = (Side.UPLINK, Side.DOWNLINK)
K = TypeVar("K")


# -- records ------------------------------------------------------------------

# Places of the values in a record of one part: three of the binding, those of `_split`, then its tunnels.
FIRST_S, UE_S, _LAST_S, KEY, IMSI, _IMEI, _MSISDN, _NAI, _MSIN, UE_IPV4, UE_IPV6, TUNNELS = range(12)
TUNNEL_VALUES = 2  # address and TEID of each


class Freezer:
    """The converter of bindings to records and back. The number of a binding is not in its record."""

    def __init__(self) -> None:
        self.packer = Packer()

    def freeze(self, b: Binding) -> bytes:
        """Return a binding as bytes."""
        values: list[Any] = [b.first_s, b.ue_s if b.ue_s != b.first_s else None, b.last_s]
        parts = tuple([_split(s, values) for s in b.parts.values()])
        said = tuple([(_split(s, values) if b.parts.get(key) is not s else None) for key, s in b.said.items()])
        if all(each is None for each in said):
            said = ()
        other = len(b.checked) if b.checked != addresses_of(b.session) else 0
        if other:
            values += b.checked
        held, last = _split_held(b, values), () if b.parts else _split(b.session, values)
        return self.packer.pack((parts, said, b.ended_by, other, held, last), values)

    def thaw(self, index: int, record: bytes) -> Binding:
        """Return the binding that `freeze` made *record* of."""
        (part_shapes, said_shapes, ended_by, other, held_shape, last), values = self.packer.unpack(record)
        each = iter(values)
        first_s, ue_s, last_s = next(each), next(each), next(each)
        parts = {s.key: s for s in [_joined(shape, each) for shape in part_shapes]}
        said = parts.copy()
        if said_shapes:
            order = iter(parts.values())
            said = {s.key: s for s in [_joined(shape, each) if shape else next(order) for shape in said_shapes]}
        checked = tuple(islice(each, other))
        session = together(parts) if parts else None
        held = _joined_held(held_shape, session.tunnels if session else (), first_s, each)
        if session is None:
            session = _joined(last, each)
        return Binding(
            index=index,
            session=session,
            first_s=first_s,
            parts=parts,
            said=said,
            last_s=last_s,
            ended_by=ended_by,
            held=held,
            ue_s=first_s if ue_s is None else ue_s,
            checked=checked or addresses_of(session),
        )

    def label(self, index: int, record: bytes) -> Label:
        """Return what is published of a session; ``name`` is that of one without an IMSI."""
        (parts, said, _, _, held, _), values = self.packer.unpack(record)
        if len(parts) != 1 or said or not held or held[0] != 0:
            return label_of(self.thaw(index, record))
        source, dnn, _, instance, tunnels = parts[0][:5]
        imsi, ue = values[IMSI], values[UE_IPV4] or values[UE_IPV6]
        if imsi:
            return Label(imsi, "", source, dnn)
        if ue or not tunnels:
            return Label("", f"ue:{instance}:{ue}" if ue else "unknown", source, dnn)
        return Label("", f"teid:{values[TUNNELS]}:0x{values[TUNNELS + 1]:08x}", source, dnn)


def _split(s: Session, values: list[Any]) -> tuple[Any, ...]:
    """Append the varying values of a session to *values*, in the order of `KEY` to `TUNNELS`; return the rest."""
    i = s.identity
    values += (s.key, i.imsi, i.imei, i.msisdn, i.nai, i.msin, s.ue_ipv4, s.ue_ipv6)
    for t in s.tunnels:
        values += (t.address, t.teid)
    shape = (s.source, s.dnn, s.snssai, s.instance, bytes([_code(t) for t in s.tunnels]))
    if not s.routes:
        return shape
    values += s.routes
    return (*shape, len(s.routes))


def _code(t: Tunnel) -> int:
    return (2 if t.side is Side.DOWNLINK else 0) | t.local


def _joined(shape: tuple[Any, ...], each: Iterator[Any]) -> Session:
    source, dnn, snssai, instance, codes, *more = shape
    key, imsi, imei, msisdn, nai, msin, ipv4, ipv6 = islice(each, 8)
    tunnels = tuple([Tunnel(next(each), next(each), SIDES[code >> 1], code & 1 == 1) for code in codes])
    routes = tuple(islice(each, more[0])) if more else ()
    identity = Identity(imsi, imei, msisdn, nai, msin)
    return Session(key, source, identity, ipv4, ipv6, dnn, snssai, instance, tunnels, routes)


_OWN, OWN_TIME = 0x80, 0x40  # a tunnel that the session has not; a time of its own follows


def _split_held(b: Binding, values: list[Any]) -> tuple[int, ...]:
    """Append times of tunnels, and tunnels that the session has not, to *values*; return the place or code of each."""
    places = {(t.address, t.teid, t.side, t.local): n for n, t in enumerate(b.session.tunnels)} if b.parts else {}
    shape = []
    for t, at_s in b.held.items():
        place = places.get((t.address, t.teid, t.side, t.local), -1)
        if not 0 <= place < OWN_TIME:
            place = _OWN | _code(t)
            values += (t.address, t.teid)
        if at_s != b.first_s:
            place |= OWN_TIME
            values.append(at_s)
        shape.append(place)
    return tuple(shape)


def _joined_held(
    shape: tuple[int, ...], tunnels: tuple[Tunnel, ...], first_s: float, each: Iterator[Any]
) -> dict[Tunnel, float]:
    held = {}
    for mark in shape:
        place = mark & ~OWN_TIME
        tunnel = (
            Tunnel(next(each), next(each), SIDES[place >> 1 & 1], place & 1 == 1) if place & _OWN else tunnels[place]
        )
        held[tunnel] = next(each) if mark & OWN_TIME else first_s
    return held


class Label:
    """The part of a session that is published with each of its records. No repr: it holds the IMSI."""

    __slots__ = ("dnn", "imsi", "name", "source")

    def __init__(self, imsi: str, name: str, source: str, dnn: str) -> None:
        self.imsi, self.name, self.source, self.dnn = imsi, name, source, dnn

    @property
    def identity_source(self) -> str:
        """The source of the subscriber, or of the UE address; `NOBODY` where a tunnel is all that is known."""
        return self.source if self.imsi or self.name.startswith("ue:") else NOBODY

    def published(self, pseudonymiser: Pseudonymiser) -> str:
        """Return the published name: a pseudonym, or an address while the subscriber is not known."""
        return pseudonymiser.name(self.imsi) if self.imsi else self.name


def label_of(binding: Binding) -> Label:
    """Return what is published of a session."""
    whole = binding.whole
    if whole.ue_ipv4 or whole.ue_ipv6:
        name = f"ue:{whole.instance}:{whole.ue_ipv4 or whole.ue_ipv6}"
    else:
        first = next(iter(binding.held), None)
        name = f"teid:{first.address}:0x{first.teid:08x}" if first else "unknown"
    told = {p.source for p in binding.said.values() if p.ue_ipv4 or p.ue_ipv6}
    source = LEARNED if not whole.identity.imsi and told == {LEARNED} else whole.source
    return Label(whole.identity.imsi, name, source, whole.dnn)


# -- maps ---------------------------------------------------------------------


class CompactMap(Generic[K]):
    """A map of keys to numbers. *pack* gives a key a 64-bit number of its own; a dict holds keys without one."""

    __slots__ = ("_others", "_pack", "_table")

    def __init__(self, pack: Callable[[K], int | None]) -> None:
        self._pack, self._table = pack, NumberTable()
        self._others: dict[K, int] = {}

    def __len__(self) -> int:
        return len(self._table) + len(self._others)

    def reserve(self, entries: int) -> None:
        """Make room for so many entries in an empty map."""
        self._table.reserve(entries)

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
        if not (word and digits.isdecimal() and digits.isascii()) or len(digits) > 14 or len(word) > 16:
            return None
        if len(digits) > 1 and digits[0] == "0":
            return None
        return self._words.number(word) << 47 | int(digits)


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

    def reserve(self, entries: int) -> None:
        """Make room for so many subscribers in an empty map."""
        self._first.reserve(entries)

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
