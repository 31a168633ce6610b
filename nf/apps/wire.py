"""What the payload parsers share: a cursor, bytes that come in pieces, and what a host name is."""

from __future__ import annotations

import re

from nf.apps.errors import Malformed, NeedMore

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
        """Step over *n* bytes, which need not be there yet; return where they begin."""
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

    Where two pieces overlap, what came first stays (as most receivers do). At most *limit* bytes
    are kept, in at most *limit* // 16 pieces; what lies beyond is ignored. Offsets may be negative: a segment
    before the first one seen.
    """

    __slots__ = ("_limit", "_parts", "_size")

    def __init__(self, limit: int = 16_384) -> None:
        self._parts: dict[int, bytes] = {}
        self._size, self._limit = 0, limit

    def add(self, offset: int, data: bytes) -> None:
        """Keep *data*, whose first byte is byte *offset* of the stream."""
        if not data or self._size + len(data) > self._limit or len(self._parts) >= self._limit // 16:
            return
        have = self._parts.get(offset)
        if have is None or len(have) < len(data):
            self._size += len(data) - len(have or b"")
            self._parts[offset] = data if have is None else have + data[len(have) :]

    def start(self, first: int | None = None) -> bytes:
        """Return the bytes from stream byte *first* (or the earliest seen) to the first gap."""
        if not self._parts:
            return b""
        offsets = sorted(self._parts)
        at = begin = offsets[0] if first is None else first
        out: list[bytes] = []
        for offset in offsets:
            if offset > at:
                break
            fresh = self._parts[offset][at - offset :]
            out.append(fresh)
            at += len(fresh)
        return b"".join(out) if at > begin else b""


_NAME = re.compile(rb"[A-Za-z0-9_.:\[\]%~+*@/=-]{1,255}")


def clean_name(raw: bytes) -> str:
    """Return a host name as lower-case text without its final dot (RFC 4343: case says nothing).

    Raises `Malformed` for bytes that no host name has, so that what is published is always plain.
    """
    if not _NAME.fullmatch(raw):
        raise Malformed
    return raw.decode("ascii").lower().rstrip(".")
