"""One cursor for all codecs, and the family of their errors.

CodecError            the bytes are not what the standard says; `at` is the offset
├── Truncated         they end before the field does: `need` and `have`
├── BadLength         a length field contradicts what surrounds it
├── BadVersion        another protocol version
└── BadValue          a field has a value that the standard excludes
"""

from __future__ import annotations

import ipaddress
import struct
from typing import Any

__all__ = ["BadLength", "BadValue", "BadVersion", "CodecError", "Reader", "Truncated", "tbcd", "untbcd"]


class CodecError(ValueError):
    """The bytes are not what the standard says."""

    def __init__(self, text: str, at: int) -> None:
        super().__init__(text)
        self.at = at


class Truncated(CodecError):
    """The bytes end before the field does."""

    def __init__(self, need: int, have: int, at: int) -> None:
        super().__init__(f"need {need} bytes at offset {at}, have {have}", at)
        self.need, self.have = need, have


class BadLength(CodecError):
    """A length field contradicts what surrounds it."""

    def __init__(self, need: int, have: int, at: int) -> None:
        super().__init__(f"length {need} at offset {at} does not fit, {have} bytes are there", at)
        self.need, self.have = need, have


class BadVersion(CodecError):
    """The protocol version is another one."""

    def __init__(self, version: int, at: int) -> None:
        super().__init__(f"version {version} at offset {at} is not supported", at)
        self.version = version


class BadValue(CodecError):
    """A field has a value that the standard excludes."""


class Reader:
    """A bounds-checked cursor over ``data[at:end]``; offsets in errors count from the start of *data*."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data, self.at = data, at
        self.end = len(data) if end is None else end

    def __len__(self) -> int:
        return self.end - self.at

    def need(self, n: int) -> None:
        """Raise Truncated unless *n* more bytes are there."""
        if n > self.end - self.at:
            raise Truncated(n, self.end - self.at, self.at)

    def take(self, n: int) -> bytes:
        """Return the next *n* bytes."""
        self.need(n)
        self.at += n
        return self.data[self.at - n : self.at]

    def skip(self, n: int) -> None:
        """Pass over *n* bytes."""
        self.need(n)
        self.at += n

    def rest(self) -> bytes:
        """Return all bytes that are left."""
        return self.take(len(self))

    def uint(self, n: int) -> int:
        """Return the next *n* bytes as an unsigned number."""
        return int.from_bytes(self.take(n), "big")

    def unpack(self, form: str) -> tuple[Any, ...]:
        """Return the fields of a `struct` format."""
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def sub(self, n: int) -> Reader:
        """Return a reader over the next *n* bytes and pass over them."""
        if n > self.end - self.at:
            raise BadLength(n, self.end - self.at, self.at)
        self.at += n
        return Reader(self.data, self.at - n, self.at)

    def ipv4(self) -> str:
        """Return an IPv4 address."""
        a, b, c, d = self.take(4)
        return f"{a}.{b}.{c}.{d}"

    def ipv6(self) -> str:
        """Return an IPv6 address."""
        return str(ipaddress.IPv6Address(self.take(16)))


_SWAPPED = bytes((b & 15) << 4 | b >> 4 for b in range(256))


def untbcd(raw: bytes, at: int = 0) -> str:
    """Return the digits of a TBCD string (TS 29.002, 17.7.8): low nibble first, 0xf fills the last one.

    Raises BadValue for a nibble that is no digit; *at* is where the string stands.
    """
    digits = raw.translate(_SWAPPED).hex()
    digits = digits.removesuffix("f")
    if not digits.isdecimal():
        raise BadValue(f"a nibble of the digits at offset {at} is no digit", at)
    return digits


def tbcd(digits: str) -> bytes:
    """Return digits as TBCD."""
    padded = digits + "f" * (len(digits) % 2)
    return bytes(int(padded[i + 1], 16) << 4 | int(padded[i], 16) for i in range(0, len(padded), 2))
