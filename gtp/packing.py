"""Values at rest: the state of a session in one or two hundred bytes, where objects of Python take thousands.

Sessions of one network differ only in numbers, addresses and digits. The common part is kept once, under a
number; a record holds that number and what varies. Records are made and read by one process, or come from a file that
it has authenticated, so that `marshal` may hold them: nothing else in Python is nearly as fast.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

__all__ = ["Constant", "Packer", "ipv4_number", "ipv4_text"]

_KEPT_TEXTS = 8192  # addresses of gNBs and UPFs, which many sessions share
_MOST_CONSTANTS = 16_384  # a sender of ever new constants gets records that hold theirs

Constant = tuple[Any, ...]  # plain values and tuples of them
_OCTETS = {str(n): n for n in range(256)}


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


class Packer:
    """Makes records of values, and values of its records. *constant* is the part that takes few different values."""

    def __init__(self) -> None:
        self._numbers: dict[Constant, int] = {}
        self._constants: list[Constant] = []

    def __len__(self) -> int:
        return len(self._constants)

    def pack(self, constant: Constant, values: list[Any]) -> bytes:
        """Return a record. *values* are strings, numbers, floats and None."""
        number = self._numbers.get(constant)
        if number is None:
            if len(self._constants) >= _MOST_CONSTANTS:
                return marshal.dumps((constant, values))
            number = self._numbers[constant] = len(self._constants)
            self._constants.append(constant)
        return marshal.dumps((number, values))

    def unpack(self, record: bytes) -> tuple[Any, list[Any]]:
        """Return (constant, values) of a record of this packer."""
        number, values = marshal.loads(record)
        return (self._constants[number] if type(number) is int else number), values

    def constant(self, record: bytes) -> Any:
        """Return only the constant of a record."""
        return self.unpack(record)[0]

    def dump(self) -> list[Constant]:
        """Return the constants, by which `load` of another packer makes it read these records."""
        return list(self._constants)

    def load(self, constants: Iterable[Constant]) -> None:
        """Take the constants of another packer; this one must have made nothing yet."""
        for constant in constants:
            self._numbers[constant] = len(self._constants)
            self._constants.append(constant)
