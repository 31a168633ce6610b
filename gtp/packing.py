"""Values at rest: the state of a session in sixty bytes, where objects of Python take thousands.

Sessions of one network differ only in numbers, addresses and digits. The common part is kept once, as a shape: a
constant, and the kind of each value. A record holds the number of its shape and the fields of its values, each in the
width of its kind, so that all records of a shape are rows of one table. Values of no such kind make a record that holds
everything itself. Records are made and read by one process, or come from a file that it has authenticated, so that
`marshal` may hold these.
"""

from __future__ import annotations

import ipaddress
import marshal
import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

__all__ = [
    "DIGITS", "FIELDS", "IPV4", "IPV6", "OCTETS", "OCTETS_SIZE", "ODD",
    "Constant", "Packer", "Shape", "forms_of", "ipv4_number", "ipv4_text", "reader",
]  # fmt: skip

_MOST_SHAPES = 16_384  # a sender of ever new constants gets records that hold theirs
_MOST_VALUES = 96  # of a shape, which takes a hundred bytes a value: a session with thirty tunnels of before
_MOST_DIGITS = 18  # with the leading one that keeps zeros, they fit 64 bits
_KEPT_TEXTS = 8192  # addresses of gNBs and UPFs, which many sessions share

ODD = b"\xff\xff\xff\xff"  # begins a record of no shape
Constant = tuple[Any, ...]  # plain values and tuples of them
_OCTETS = {str(n): n for n in range(256)}
_NUMBER = struct.Struct("<I")


def ipv4_number(text: str) -> int | None:
    """Return an IPv4 address in canonical text as a number; None for any other text."""
    try:
        a, b, c, d = text.split(".")
        return _OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d]
    except (ValueError, KeyError):
        return None


@lru_cache(_KEPT_TEXTS)
def ipv4_text(number: int) -> str:
    """Return the canonical text of an IPv4 address."""
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


_ipv4 = lru_cache(_KEPT_TEXTS)(ipv4_number)


# -- kinds ----------------------------------------------------------------------

# The first letter of a kind says how its field is written (`struct`); a key and a prefix have their words behind it.
NOTHING, EMPTY, REAL, BYTE, WORD, LONG, IPV4, DIGITS, IPV6, PREFIX, KEY, LONG_KEY, OCTETS = "nefbiqadxpkKo"
FIELDS = {REAL: "d", BYTE: "B", WORD: "I", LONG: "Q", IPV4: "I", DIGITS: "Q", IPV6: "16s", PREFIX: "16s"}
FIELDS |= {KEY: "I", LONG_KEY: "Q", OCTETS: "20s"}
OCTETS_SIZE = 20  # of the one kind of bytes that records hold: a place (gtp.places)


def _split_text(text: str) -> tuple[str, Any] | None:
    """Return kind and field of a text that is neither empty nor IPv4 nor digits."""
    if ":" in text:
        host, slash, length = text.partition("/")
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            return None
        kind = f"{PREFIX}/{length}" if slash else IPV6
        return (kind, address.packed) if f"{address}{slash}{length}" == text else None
    word, hyphen, digits = text.rpartition("-")
    if not (hyphen and digits.isdecimal() and digits.isascii()) or len(digits) > _MOST_DIGITS or len(word) > 16:
        return None
    if len(digits) > 1 and digits[0] == "0":
        return None
    number = int(digits)
    return (LONG_KEY if number >> 32 else KEY) + word, number


def _split(values: list[Any], wide: int) -> tuple[tuple[str, ...], list[Any]] | None:
    """Return the kinds of values and the fields of those that have one; None when a value is of no kind.

    The first *wide* are words, however small.
    """
    kinds: list[str] = []
    fields: list[Any] = []
    add_kind, add_field = kinds.append, fields.append
    for value in values:
        of = type(value)
        if of is str:
            if not value:
                add_kind(EMPTY)
            elif value.isdecimal() and len(value) <= _MOST_DIGITS and value.isascii():
                add_kind(DIGITS)
                add_field(int("1" + value))
            elif "." in value and (number := _ipv4(value)) is not None:
                add_kind(IPV4)
                add_field(number)
            elif (found := _split_text(value)) is not None:
                add_kind(found[0])
                add_field(found[1])
            else:
                return None
        elif of is int:
            if value < 0 or value >> 64:
                return None
            add_kind(BYTE if value < 256 and len(kinds) >= wide else WORD if value < 1 << 32 else LONG)
            add_field(value)
        elif value is None:
            add_kind(NOTHING)
        elif of is float:
            add_kind(REAL)
            add_field(value)
        elif of is bytes and len(value) == OCTETS_SIZE:
            add_kind(OCTETS)
            add_field(value)
        else:
            return None
    return tuple(kinds), fields


def _digits(field: int) -> str:
    return str(field)[1:]


def forms_of(digits: str) -> tuple[bytes, bytes]:
    """Return the bytes as which digits are in a record: of a shape, and of none."""
    return struct.pack("<" + FIELDS[DIGITS], int("1" + digits)), digits.encode("ascii")


def _ipv6(field: bytes) -> str:
    return str(ipaddress.IPv6Address(field))


def reader(kind: str) -> Callable[[Any], Any] | None:
    """Return the function that makes a value of its field; None where the field is the value."""
    match kind[0]:
        case "a":
            return ipv4_text
        case "d":
            return _digits
        case "x":
            return _ipv6
        case "p":
            return lambda field: _ipv6(field) + kind[1:]
        case "k" | "K":
            return lambda field: f"{kind[1:]}-{field}"
    return None


class Shape:
    """The common part of records: the constant, and the ``kinds`` of their values, by place.

    ``offsets`` gives the place of each field in a row of ``size`` bytes, by the place of its value.
    """

    __slots__ = ("_readers", "_values", "constant", "fields", "kinds", "number", "offsets", "prefix", "size")

    def __init__(self, number: int, constant: Constant, kinds: tuple[str, ...]) -> None:
        self.number, self.constant, self.kinds = number, constant, kinds
        self.prefix = _NUMBER.pack(number)
        places = [place for place, kind in enumerate(kinds) if kind[0] in FIELDS]
        codes = [FIELDS[kinds[place][0]] for place in places]
        self.fields = struct.Struct("<" + "".join(codes))
        self.size = self.fields.size
        self.offsets = {p: struct.calcsize("<" + "".join(codes[:n])) for n, p in enumerate(places)}
        self._values = [None if kind == NOTHING else "" for kind in kinds]
        self._readers = [(place, reader(kinds[place])) for place in places]

    def read(self, rows: bytes | bytearray, at: int) -> list[Any]:
        """Return the values of the row at *at*."""
        values: list[Any] = self._values.copy()
        for (place, read), field in zip(self._readers, self.fields.unpack_from(rows, at), strict=True):
            values[place] = field if read is None else read(field)
        return values


class Packer:
    """Makes records of values, and values of its records. *constant* is the part that takes few different values.

    The first *wide* values are numbers below 2^32 which are words in each row, however small.
    """

    def __init__(self, wide: int = 0) -> None:
        self._wide = wide
        self._numbers: dict[tuple[Constant, tuple[str, ...]], int] = {}
        self.shapes: list[Shape] = []

    def __len__(self) -> int:
        return len(self.shapes)

    def pack(self, constant: Constant, values: list[Any]) -> bytes:
        """Return a record. *values* are strings, numbers, floats, None, and bytes of OCTETS_SIZE."""
        split = _split(values, self._wide) if len(values) <= _MOST_VALUES else None
        shape = None if split is None else self.shape(constant, split[0])
        if split is None or shape is None:
            return ODD + marshal.dumps((constant, values))
        return shape.prefix + shape.fields.pack(*split[1])

    def shape(self, constant: Constant, kinds: tuple[str, ...]) -> Shape | None:
        """Return a shape, which is made if there is room for one; else None."""
        number = self._numbers.get((constant, kinds))
        if number is not None:
            return self.shapes[number]
        if len(self.shapes) >= _MOST_SHAPES:
            return None
        shape = Shape(len(self.shapes), constant, kinds)
        self._numbers[constant, kinds] = shape.number
        self.shapes.append(shape)
        return shape

    def shape_of(self, record: bytes) -> Shape | None:
        """Return the shape of a record, None of an odd one."""
        return None if record[:4] == ODD else self.shapes[_NUMBER.unpack_from(record)[0]]

    def unpack(self, record: bytes) -> tuple[Any, list[Any]]:
        """Return (constant, values) of a record of this packer."""
        shape = self.shape_of(record)
        if shape is None:
            constant, values = marshal.loads(record[4:])
            return constant, values
        return shape.constant, shape.read(record, 4)

    def constant(self, record: bytes) -> Any:
        """Return only the constant of a record."""
        shape = self.shape_of(record)
        return marshal.loads(record[4:])[0] if shape is None else shape.constant

    def dump(self) -> list[tuple[Constant, tuple[str, ...]]]:
        """Return the shapes, by which `load` of another packer makes it read these records."""
        return [(shape.constant, shape.kinds) for shape in self.shapes]

    def load(self, shapes: Iterable[tuple[Constant, tuple[str, ...]]]) -> None:
        """Take the shapes of another packer; this one must have made nothing yet."""
        for constant, kinds in shapes:
            self.shape(constant, kinds)
