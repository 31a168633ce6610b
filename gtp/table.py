"""A map of 64-bit keys to 32-bit numbers in some 20 bytes an entry, where a dict of Python takes 80.

Open addressing with linear probing (Knuth, The Art of Computer Programming 3, 6.4, algorithms L and R), cut
into segments by the upper bits of the hash, so that growing moves a thousandth of the entries at a time and
nobody waits for it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

__all__ = ["NumberTable"]

_SEGMENT_BITS = 10
_GOLDEN = 0x9E37_79B9_7F4A_7C15  # 2^64 divided by the golden ratio: spreads keys that count up (Knuth 6.4)
_MASK = (1 << 64) - 1
_SHIFT = 64 - _SEGMENT_BITS
_WITHIN = 20  # bits of the hash passed over for the place in a segment
_FIRST = 8  # slots of a new segment


class _Segment:
    __slots__ = ("keys", "numbers", "used")

    def __init__(self, slots: int) -> None:
        self.keys, self.numbers = array("Q", bytes(8 * slots)), array("I", bytes(4 * slots))
        self.used = 0


class NumberTable:
    """Numbers by key: keys are 0 to 2^64 - 1, numbers 1 to 2^32 - 1; 0 is the answer for a key that is not there."""

    __slots__ = ("_segments", "_size")

    def __init__(self) -> None:
        self._segments: list[_Segment | None] = [None] * (1 << _SEGMENT_BITS)
        self._size = 0

    def reserve(self, entries: int) -> None:
        """Make room for so many entries in a table that is empty, so that it need not grow for them."""
        slots = _FIRST
        while slots * 2 < entries * 3 >> _SEGMENT_BITS:
            slots *= 2
        if self._size == 0 and slots > _FIRST:
            self._segments = [_Segment(slots) for _ in self._segments]

    def __len__(self) -> int:
        return self._size

    def get(self, key: int) -> int:
        """Return the number of *key*, else 0."""
        spread = key * _GOLDEN & _MASK
        segment = self._segments[spread >> _SHIFT]
        if segment is None:
            return 0
        keys, numbers = segment.keys, segment.numbers
        last = len(numbers) - 1
        at = spread >> _WITHIN & last
        while number := numbers[at]:
            if keys[at] == key:
                return number
            at = at + 1 & last
        return 0

    def put(self, key: int, number: int) -> None:
        """Give *key* a number."""
        spread = key * _GOLDEN & _MASK
        segment = self._segments[spread >> _SHIFT]
        if segment is None:
            segment = self._segments[spread >> _SHIFT] = _Segment(_FIRST)
        elif segment.used * 4 >= len(segment.numbers) * 3:
            segment = self._segments[spread >> _SHIFT] = _grown(segment)
        if _place(segment, spread, key, number):
            self._size += 1

    def claim(self, key: int, number: int) -> int:
        """Give *key* a number if it has none; return the one that it had, else 0."""
        spread = key * _GOLDEN & _MASK
        segment = self._segments[spread >> _SHIFT]
        if segment is None:
            segment = self._segments[spread >> _SHIFT] = _Segment(_FIRST)
        elif segment.used * 4 >= len(segment.numbers) * 3:
            segment = self._segments[spread >> _SHIFT] = _grown(segment)
        keys, numbers = segment.keys, segment.numbers
        last = len(numbers) - 1
        at = spread >> _WITHIN & last
        while known := numbers[at]:
            if keys[at] == key:
                return known
            at = at + 1 & last
        keys[at], numbers[at] = key, number
        segment.used += 1
        self._size += 1
        return 0

    def pop(self, key: int) -> int:
        """Take *key* out and return the number that it had, else 0."""
        spread = key * _GOLDEN & _MASK
        segment = self._segments[spread >> _SHIFT]
        if segment is None:
            return 0
        keys, numbers = segment.keys, segment.numbers
        last = len(numbers) - 1
        at = spread >> _WITHIN & last
        while (number := numbers[at]) and keys[at] != key:
            at = at + 1 & last
        if not number:
            return 0
        _close_gap(keys, numbers, at, last)
        segment.used -= 1
        self._size -= 1
        return number

    def columns(self) -> Iterator[tuple[array[int], array[int]]]:
        """Yield (keys, numbers) of a part of the entries; where the number is 0 there is none."""
        for segment in self._segments:
            if segment is not None:
                yield segment.keys, segment.numbers

    def items(self) -> Iterator[tuple[int, int]]:
        """Yield (key, number) of all entries, which must not change meanwhile."""
        for segment in self._segments:
            if segment is not None:
                yield from ((k, n) for k, n in zip(segment.keys, segment.numbers, strict=True) if n)


def _place(segment: _Segment, spread: int, key: int, number: int) -> bool:
    """Write an entry; True when its key is new."""
    keys, numbers = segment.keys, segment.numbers
    last = len(numbers) - 1
    at = spread >> _WITHIN & last
    while numbers[at]:
        if keys[at] == key:
            numbers[at] = number
            return False
        at = at + 1 & last
    keys[at], numbers[at] = key, number
    segment.used += 1
    return True


def _grown(old: _Segment) -> _Segment:
    new = _Segment(2 * len(old.numbers))
    for key, number in zip(old.keys, old.numbers, strict=True):
        if number:
            _place(new, key * _GOLDEN & _MASK, key, number)
    return new


def _close_gap(keys: array[int], numbers: array[int], gap: int, last: int) -> None:
    """Move up entries that were pushed past *gap*, so that no search ends there too early (algorithm R)."""
    at = gap
    while True:
        at = at + 1 & last
        if not numbers[at]:
            break
        home = (keys[at] * _GOLDEN & _MASK) >> _WITHIN & last
        if (at - home & last) >= (at - gap & last):
            keys[gap], numbers[gap] = keys[at], numbers[at]
            gap = at
    numbers[gap] = 0
