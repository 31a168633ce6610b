"""Values at rest: a state of a session in a hundred bytes, where objects of Python take thousands.

Sessions of one network say the same but for numbers, addresses and digits. What is the same, the *shape*, is kept
once; a record holds the number of its shape and what varies, packed by its kind:

    kind  value                                      bytes
    e     empty string, or None                      0
    I Q   number below 2^32, 2^64                    4, 8
    d     float                                      8
    4     IPv4 address in canonical text             4
    D     up to 18 decimal digits                    8
    K     a word, a hyphen and a number: pfcp-12     8
    S     other text                                 2 + its length

Who sends ever new shapes gets records that hold theirs.
"""

from __future__ import annotations

import marshal
import struct
from collections.abc import Iterable
from typing import Any

__all__ = ["Packer", "ipv4_number", "ipv4_text"]

_MOST_SHAPES = 16_384
_ALONE = b"\0\0"  # a record that holds its shape
_FORMAT = {"I": "I", "Q": "Q", "d": "d", "4": "I", "D": "Q", "K": "Q"}
_MOST_DIGITS = 18  # a one in front of them, which keeps leading zeros, and they are below 2^64
_MOST_WORD = 16

Constant = tuple[Any, ...]  # plain values and tuples of them
_Kind = str  # the letter; after K the word


_OCTETS = {str(n): n for n in range(256)}


def ipv4_number(text: str) -> int | None:
    """Return an IPv4 address in canonical text as a number; None for any other text."""
    try:
        a, b, c, d = text.split(".")
        return _OCTETS[a] << 24 | _OCTETS[b] << 16 | _OCTETS[c] << 8 | _OCTETS[d]
    except (ValueError, KeyError):
        return None


def ipv4_text(number: int) -> str:
    """Return the canonical text of an IPv4 address."""
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


class _Shape:
    __slots__ = ("constant", "kinds", "layout", "number")

    def __init__(self, number: int, constant: Constant, kinds: tuple[_Kind, ...]) -> None:
        self.number, self.constant, self.kinds = number, constant, kinds
        self.layout = struct.Struct("!H" + "".join(_FORMAT.get(k[0], "") for k in kinds))


class Packer:
    """Makes records of values, and values of records it made. *constant* is what few different values have."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[Constant, tuple[_Kind, ...]], _Shape] = {}
        self._by_number: list[_Shape | None] = [None]

    def __len__(self) -> int:
        return len(self._shapes)

    def pack(self, constant: Constant, values: Iterable[Any]) -> bytes:
        """Return a record. *constant* is a tuple of plain values; *values* are strings, numbers, floats and None."""
        kinds: list[_Kind] = []
        packed: list[Any] = []
        texts: list[bytes] = []
        for value in values:
            if not value and value in ("", None):
                kinds.append("e" if value == "" else "n")
            elif type(value) is not str:
                kinds.append("d" if type(value) is float else "I" if value < 1 << 32 else "Q")
                packed.append(value)
            elif value.isdigit() and value.isascii() and len(value) <= _MOST_DIGITS:
                kinds.append("D")
                packed.append(int("1" + value))
            elif (address := ipv4_number(value)) is not None:
                kinds.append("4")
                packed.append(address)
            else:
                _pack_text(value, kinds, packed, texts)
        key = constant, tuple(kinds)
        shape = self._shapes.get(key)
        if shape is None:
            if len(self._by_number) >= _MOST_SHAPES:
                alone = _Shape(0, (), key[1])
                body = alone.layout.pack(0, *packed) + b"".join(texts)
                return _ALONE + marshal.dumps((constant, key[1], body))
            shape = self._shapes[key] = _Shape(len(self._by_number), constant, key[1])
            self._by_number.append(shape)
        return shape.layout.pack(shape.number, *packed) + b"".join(texts)

    def unpack(self, record: bytes) -> tuple[Any, list[Any]]:
        """Return (constant, values) of a record of this packer."""
        shape = self._by_number[record[0] << 8 | record[1]]
        if shape is None:
            constant, kinds, record = marshal.loads(memoryview(record)[2:])
            shape = _Shape(0, constant, kinds)
        packed = iter(shape.layout.unpack_from(record))
        next(packed)
        at = shape.layout.size
        values: list[Any] = []
        for kind in shape.kinds:
            letter = kind[0]
            if letter == "e":
                values.append("")
            elif letter == "n":
                values.append(None)
            elif letter == "4":
                values.append(ipv4_text(next(packed)))
            elif letter == "D":
                values.append(str(next(packed))[1:])
            elif letter == "K":
                values.append(f"{kind[1:]}-{next(packed)}")
            elif letter == "S":
                end = at + 2 + (record[at] << 8 | record[at + 1])
                values.append(record[at + 2 : end].decode())
                at = end
            else:
                values.append(next(packed))
        return shape.constant, values

    def constant(self, record: bytes) -> Any:
        """Return only what few different values have of a record."""
        shape = self._by_number[record[0] << 8 | record[1]]
        return self.unpack(record)[0] if shape is None else shape.constant

    # -- whole -----------------------------------------------------------------

    def dump(self) -> list[tuple[Constant, tuple[_Kind, ...]]]:
        """Return the shapes, by which `load` of another packer makes it read these records."""
        return list(self._shapes)

    def load(self, shapes: Iterable[tuple[Constant, tuple[_Kind, ...]]]) -> None:
        """Take the shapes of another packer; this one must have made nothing yet."""
        for constant, kinds in shapes:
            shape = self._shapes[constant, kinds] = _Shape(len(self._by_number), constant, kinds)
            self._by_number.append(shape)


def _pack_text(value: str, kinds: list[_Kind], packed: list[Any], texts: list[bytes]) -> None:
    word, _, digits = value.rpartition("-")
    if word and len(word) <= _MOST_WORD and digits.isdecimal() and digits.isascii() and len(digits) <= _MOST_DIGITS:
        number = int(digits)
        if len(digits) == len(str(number)):
            kinds.append("K" + word)
            packed.append(number)
            return
    raw = value.encode()
    kinds.append("S")
    texts.append(len(raw).to_bytes(2, "big") + raw)
