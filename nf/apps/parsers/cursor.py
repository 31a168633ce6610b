"""Common parts of the payload parsers: a cursor, bytes that come in pieces, and the check of host names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nf.apps.parsers.errors import Malformed, NeedMore

__all__ = ["Pieces", "Reader", "clean_name"]


class Reader:
    """A bounds-checked cursor over *data* up to *end*, which may lie beyond the bytes that are there.

    Reading beyond *end* is `Malformed`: an inner length contradicts an outer one. Reading beyond
    the bytes, but within *end*, is `NeedMore`.
    """

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data, self.at, self.end = data, at, len(data) if end is None else end

    def skip(self, n: int) -> int:
        """Step over *n* bytes, which need not be there yet; return the offset of the first."""
        at = self.at
        if at + n > self.end:
            raise Malformed
        self.at = at + n
        return at

    def take(self, n: int) -> bytes:
        """Return the next *n* bytes."""
        at = self.skip(n)
        if at + n > len(self.data):
            raise NeedMore
        return self.data[at : at + n]

    def number(self, n: int) -> int:
        """Return the next *n* bytes as an unsigned number in network order."""
        return int.from_bytes(self.take(n), "big")

    def within(self, n: int) -> Reader:
        """Return a cursor over the next *n* bytes and step over them."""
        at = self.skip(n)
        return Reader(self.data, at, at + n)


class Pieces:
    """A byte stream that comes in pieces, in any order, overlapping: TCP segments or CRYPTO frames.

    Bounded: beyond *limit* bytes or *most* pieces, new pieces are ignored, or with *rolling* replace the oldest
    ones. Offsets may be negative, as those of a TCP segment from before the first one seen. Where pieces
    overlap, the bytes of the one that begins earlier count.
    """

    __slots__ = ("_limit", "_most", "_parts", "_rolling", "_size")

    def __init__(self, limit: int = 16_384, most: int = 256, *, rolling: bool = False) -> None:
        self._parts: dict[int, bytes] = {}
        self._size, self._limit, self._most, self._rolling = 0, limit, most, rolling

    def __len__(self) -> int:
        return len(self._parts)

    def add(self, offset: int, data: bytes) -> None:
        """Keep *data*, whose first byte is byte *offset* of the stream."""
        have = self._parts.get(offset, b"")
        grown = len(data) - len(have)
        while self._rolling and grown > 0 and not have and self._parts and self._is_full(grown):
            self._size -= len(self._parts.pop(next(iter(self._parts))))
        if grown <= 0 or self._size + grown > self._limit or (not have and len(self._parts) >= self._most):
            return
        self._size += grown
        self._parts[offset] = have + data[len(have) :]

    def _is_full(self, grown: int) -> bool:
        return self._size + grown > self._limit or len(self._parts) >= self._most

    def drop(self, before: int) -> None:
        """Forget the pieces that end at byte *before* of the stream or earlier."""
        for offset in [at for at, part in self._parts.items() if at + len(part) <= before]:
            self._size -= len(self._parts.pop(offset))

    def start(self, first: int = 0) -> bytes:
        """Return the bytes from byte *first* of the stream to the first gap."""
        if len(self._parts) == 1 and first in self._parts:
            return self._parts[first]
        at, out = first, []
        for offset in sorted(self._parts):
            if offset > at:
                break
            fresh = self._parts[offset][at - offset :]
            out.append(fresh)
            at += len(fresh)
        return b"".join(out)

    def offsets(self) -> list[int]:
        """Return the offsets at which the pieces begin, the earliest first."""
        return sorted(self._parts)

    def starts(self) -> Iterator[bytes]:
        """Yield the bytes from the begin of each piece to the next gap, the earliest first.

        A protocol may begin behind another: after STARTTLS, SOCKS, or bytes seen twice.
        """
        for offset in sorted(self._parts):
            yield self.start(offset)


_NAME = re.compile(rb"[A-Za-z0-9_.:\[\]%~+*@/=-]{1,255}")
# Host and port of RFC 3986, 3.2; two colons without brackets are an IPv6 address, and no port.
_AUTHORITY = re.compile(r"\[([^\]]*)\](?::\d*)?|([^:]*):\d*")


def clean_name(raw: bytes) -> str:
    """Return a host name as lower-case text without its final dot (RFC 4343: case says nothing), brackets and port.

    Raises `Malformed` for bytes that no host name has, so that published names are always plain.
    """
    if not _NAME.fullmatch(raw):
        raise Malformed
    name = raw.decode("ascii").lower()
    if found := _AUTHORITY.fullmatch(name):
        name = found[1] or found[2] or ""
    return name.rstrip(".")
