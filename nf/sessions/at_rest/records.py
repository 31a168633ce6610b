"""Bindings at rest: a session in sixty bytes instead of two thousand.

A city has a million sessions and touches two thousand of them a second. A session that is touched is a `Binding`;
at rest it is a record (`gtp.packing`), of nearly all a row of a table (`gtp.rows`).
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from gtp import places
from gtp.events import NOWHERE, Identity, Session, Side, Tunnel
from gtp.packing import DIGITS, FIELDS, IPV4, IPV6, Packer, Shape, reader
from nf.privacy import Pseudonymiser
from nf.sessions.at_rest.held import Held
from nf.sessions.binding import CONFIGURED, LEARNED, LINE, Binding, addresses_of, together
from nf.sessions.lines import is_line, tunnel_name

__all__ = [
    "FIRST_S",
    "IMSI",
    "KEY",
    "NOBODY",
    "NUMBER",
    "OWN_TIME",
    "OWN_VALUES",
    "PART_VALUES",
    "SIDES",
    "TUNNELS",
    "TUNNEL_VALUES",
    "UE_IPV4",
    "UE_IPV6",
    "UE_S",
    "Freezer",
    "Label",
    "is_placed",
    "label_of",
    "routes_in",
]

NOBODY = "none"  # source of an identity that nobody told
SIDES = (Side.UPLINK, Side.DOWNLINK)
NUMBER_BYTES = 4


# Places of the values in a record of one part: four of the binding, those of `_split`, then its tunnels.
NUMBER, FIRST_S, UE_S, _LAST_S, KEY, IMSI, _IMEI, _MSISDN, NAI, _MSIN, UE_IPV4, UE_IPV6, TUNNELS = range(13)
OWN_VALUES, PART_VALUES = KEY, TUNNELS - KEY  # of the binding; of each part before its tunnels
TUNNEL_VALUES = 2  # address and TEID of each
_PLAIN = 5  # of the shape of a part that has nothing behind its tunnels


def routes_in(part: tuple[Any, ...]) -> int:
    """Return how many further prefixes a part of this shape has behind its tunnels."""
    return int(part[_PLAIN]) if len(part) > _PLAIN else 0


def is_placed(part: tuple[Any, ...]) -> bool:
    """Say whether a part of this shape has a place, its last value."""
    return len(part) > _PLAIN + 1


class Freezer:
    """The converter of bindings to records and back."""

    def __init__(self) -> None:
        self.packer = Packer(wide=1)
        self._quick: dict[int, _Quick | None] = {}  # by shape

    def freeze(self, b: Binding) -> bytes:
        """Return a binding as bytes."""
        values: list[Any] = [b.index, b.first_s, b.ue_s if b.ue_s != b.first_s else None, b.last_s]
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
        _, first_s, ue_s, last_s = islice(each, OWN_VALUES)
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

    def numbered(self, record: bytes, number: int) -> bytes:
        """Return a record as that of another number."""
        shape = self.packer.shape_of(record)
        if shape is None:
            constant, values = self.packer.unpack(record)
            return self.packer.pack(constant, [number, *values[1:]])
        return shape.prefix + number.to_bytes(NUMBER_BYTES, "little") + record[len(shape.prefix) + NUMBER_BYTES :]

    def label_in(self, held: Held, number: int) -> Label | None:
        """Return the label of a number; of nearly all without reading more of the row than the IMSI."""
        row = held.row(number)
        if row is not None:
            shape, rows, at = row
            try:
                quick = self._quick[shape.number]
            except KeyError:
                quick = self._quick[shape.number] = _of_digits(shape)
            if quick is not None:
                with contextlib.suppress(struct.error):  # the rows became fewer since the place was asked for
                    found, imsi, *peers = quick.read(rows, at)
                    place = places.words(peers.pop()) if quick.placed else _NO_WORDS
                    if found == number and len(set(peers)) <= 1:
                        gnb = quick.text(peers[0]) if quick.text else ""
                        return Label(str(imsi)[1:], "", *quick.words, gnb, place)
        record = held.get(number)
        return None if record is None else self.label(number, record)

    def label(self, index: int, record: bytes) -> Label:
        """Return what is published of a session; ``name`` is that of one without an IMSI."""
        (parts, said, _, _, held, _), values = self.packer.unpack(record)
        if not _is_plain(parts, said, held):
            return label_of(self.thaw(index, record))
        source, dnn, snssai, instance, codes = parts[0][:5]
        imsi, ue = values[IMSI], values[UE_IPV4] or values[UE_IPV6]
        far, near = ({values[place] for place in _places(codes, which)} for which in (_far(source), _NEAR))
        place = places.words(values[_place_in(parts[0])]) if is_placed(parts[0]) else _NO_WORDS
        where = source, dnn, snssai, _far_end(far, near), place
        if imsi:
            return Label(imsi, "", *where)
        if own := _own_name(source, values[NAI]):
            return Label("", own, *where)
        if ue or not codes:
            return Label("", f"ue:{instance}:{ue}" if ue else "unknown", *where)
        return Label("", tunnel_name(values[TUNNELS], values[TUNNELS + 1]), *where)


@dataclass(frozen=True, slots=True)
class _Quick:
    """The way to the label of a row: ``read`` gives number, IMSI and the far ends on the access side as they are kept,
    ``text`` the address of one of these, and ``words`` are what all rows of the shape have: source, DNN, slice. Where
    it is ``placed``, the last one is the place.
    """

    read: Callable[[bytearray, int], tuple[Any, ...]]
    text: Callable[[Any], str] | None
    words: tuple[str, str, str]
    placed: bool


_NEAR = (0, 1)  # codes of tunnels of the uplink
_NO_WORDS = ("", "", "")  # of a place


def _place_in(part: tuple[Any, ...]) -> int:
    """Return where the place of the first part is among the values of a record."""
    return TUNNELS + TUNNEL_VALUES * len(part[4]) + routes_in(part)


def _places(codes: bytes, which: tuple[int, ...]) -> list[int]:
    """Return the places of the addresses of tunnels of some codes, among the values of a record."""
    return [TUNNELS + TUNNEL_VALUES * n for n, code in enumerate(codes) if code in which]


def _far(source: str) -> tuple[int, ...]:
    """Return the codes of tunnels on which the access side receives; a configuration says no more than "down"."""
    return (2, 3) if source == CONFIGURED else (2,)


def _far_end(far: set[str], near: set[str]) -> str:
    """Return the one address on the access side that receives the downlink, "" of none or several.

    Of several ones those that receive the uplink as well are UPFs, or an SGW, on the way. Which of the others a flow
    goes to, only its packets say.
    """
    ends = far - near if len(far) > 1 else far
    return next(iter(ends)) if len(ends) == 1 else ""


def _is_plain(parts: tuple[Any, ...], said: tuple[Any, ...], held: tuple[int, ...]) -> bool:
    """Say whether one part said all of a session, which has its first tunnel still."""
    return len(parts) == 1 and not said and bool(held) and held[0] == 0


def _of_digits(shape: Shape) -> _Quick | None:
    """Return how the label of a row is read; None where it takes more than the IMSI."""
    parts, said, _, _, held, _ = shape.constant
    if not _is_plain(parts, said, held) or shape.kinds[IMSI] != DIGITS:
        return None
    source, dnn, snssai, _, codes = parts[0][:5]
    ends, placed = _places(codes, _far(source)), is_placed(parts[0])
    kinds = {shape.kinds[place] for place in ends}
    if len(kinds) > 1 or kinds - {IPV4, IPV6}:
        return None
    form, end = "<I", NUMBER_BYTES
    for place in (IMSI, *ends, *([_place_in(parts[0])] if placed else ())):
        field = FIELDS[shape.kinds[place]]
        form += f"{shape.offsets[place] - end}x{field}"
        end = shape.offsets[place] + struct.calcsize(f"<{field}")
    text = reader(kinds.pop()) if kinds else None
    return _Quick(struct.Struct(form).unpack_from, text, (source, dnn, snssai), placed)


def _split(s: Session, values: list[Any]) -> tuple[Any, ...]:
    """Append the varying values of a session to *values*, in the order of `KEY` to `TUNNELS`; return the rest."""
    i = s.identity
    values += (s.key, i.imsi, i.imei, i.msisdn, i.nai, i.msin, s.ue_ipv4, s.ue_ipv6)
    for t in s.tunnels:
        values += (t.address, t.teid)
    shape = (s.source, s.dnn, s.snssai, s.instance, bytes([_code(t) for t in s.tunnels]))
    if not s.routes and not s.place:
        return shape
    values += s.routes
    if not s.place:
        return (*shape, len(s.routes))
    values.append(places.packed(s.place))
    return (*shape, len(s.routes), True)


def _code(t: Tunnel) -> int:
    return (2 if t.side is Side.DOWNLINK else 0) | t.local


def _joined(shape: tuple[Any, ...], each: Iterator[Any]) -> Session:
    source, dnn, snssai, instance, codes = shape[:_PLAIN]
    key, imsi, imei, msisdn, nai, msin, ipv4, ipv6 = islice(each, 8)
    tunnels = tuple([Tunnel(next(each), next(each), SIDES[code >> 1], code & 1 == 1) for code in codes])
    routes = tuple(islice(each, routes_in(shape)))
    place = places.unpacked(next(each)) if is_placed(shape) else NOWHERE
    identity = Identity(imsi, imei, msisdn, nai, msin)
    return Session(key, source, identity, ipv4, ipv6, dnn, snssai, instance, tunnels, routes, place)


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


_NAMELESS = ("", "unknown")


class Label:
    """The part of a session that is published with each of its records. No repr: it holds the IMSI."""

    __slots__ = ("dnn", "gnb", "imsi", "name", "place", "slice", "source")

    def __init__(
        self,
        imsi: str,
        name: str,
        source: str,
        dnn: str,
        slice_: str = "",
        gnb: str = "",
        place: tuple[str, str, str] = _NO_WORDS,
    ) -> None:
        self.imsi, self.name, self.source, self.dnn, self.slice = imsi, name, source, dnn, slice_
        self.place = place  # radio access technology, tracking area, cell
        self.gnb = (
            "" if is_line(gnb) else gnb
        )  # address of the far end on the access side, where signalling tells of one

    @property
    def identity_source(self) -> str:
        """The source of the subscriber, or of the UE address; `NOBODY` where a tunnel is all that is known."""
        return NOBODY if not self.imsi and (self.name.startswith("teid:") or self.name in _NAMELESS) else self.source

    def published(self, pseudonymiser: Pseudonymiser) -> str:
        """Return the published name: a pseudonym of the IMSI, or of address or tunnel while that is not known."""
        return pseudonymiser.name(self.imsi) if self.imsi else pseudonymiser.unknown(self.name)


def _own_name(source: str, nai: str) -> str:
    """Return the name that a configuration gives, or that of a fixed line; what a core calls a subscriber is none."""
    return nai if source == CONFIGURED or nai.startswith(LINE) else ""


def label_of(binding: Binding) -> Label:
    """Return what is published of a session."""
    whole = binding.whole
    if own := _own_name(whole.source, whole.identity.nai):
        name = own
    elif whole.ue_ipv4 or whole.ue_ipv6:
        name = f"ue:{whole.instance}:{whole.ue_ipv4 or whole.ue_ipv6}"
    else:
        first = next(iter(binding.held), None)
        name = tunnel_name(first.address, first.teid) if first else "unknown"
    told = {p.source for p in binding.said.values() if p.ue_ipv4 or p.ue_ipv6}
    source = LEARNED if not whole.identity.imsi and told == {LEARNED} else whole.source
    now = binding.parts.values() or (binding.session,)
    far = {t.address for p in now for t in p.tunnels if _code(t) in _far(p.source)}
    near = {t.address for p in now for t in p.tunnels if _code(t) in _NEAR}
    place = places.newest(p.place for p in now)
    words = place.rat, place.tai, place.cell
    return Label(whole.identity.imsi, name, source, whole.dnn, whole.snssai, _far_end(far, near), words)
