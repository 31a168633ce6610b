"""A map of 64-bit keys to 32-bit numbers in some 17 bytes an entry, where a dict of Python takes 80.

Open addressing with linear probing (Knuth, The Art of Computer Programming 3, 6.4, algorithms L and R), cut
into segments by the upper bits of the hash, so that growing moves a thousandth of the entries at a time and
nobody waits for it. A segment has any number of slots: it grows by a quarter.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

__all__ = ["FIRST_SLOTS", "GOLDEN", "SEGMENT_SHIFT", "WITHIN_MASK", "WITHIN_SHIFT", "NumberTable"]

_SEGMENT_BITS = 10
GOLDEN = 0x9E37_79B9_7F4A_7C15  # 2^64 divided by the golden ratio: spreads keys that count up (Knuth 6.4)
_MASK = (1 << 64) - 1
SEGMENT_SHIFT = 64 - _SEGMENT_BITS  # the upper bits of the hash are the segment,
WITHIN_SHIFT, WITHIN_MASK = SEGMENT_SHIFT - 32, (1 << 32) - 1  # the next 32, times slots, the place in it
FIRST_SLOTS = 8  # of a new segment


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

    def __len__(self) -> int:
        return self._size

    def get(self, key: int) -> int:
        """Return the number of *key*, else 0."""
        spread = key * GOLDEN & _MASK
        segment = self._segments[spread >> SEGMENT_SHIFT]
        if segment is None:
            return 0
        keys, numbers = segment.keys, segment.numbers
        slots = len(numbers)
        at = (spread >> WITHIN_SHIFT & WITHIN_MASK) * slots >> 32
        while number := numbers[at]:
            if keys[at] == key:
                return number
            at += 1
            if at == slots:
                at = 0
        return 0

    def put(self, key: int, number: int) -> None:
        """Give *key* a number."""
        spread = key * GOLDEN & _MASK
        if _place(self._roomy(spread), spread, key, number):
            self._size += 1

    def claim(self, key: int, number: int) -> int:
        """Give *key* a number if it has none; return the one that it had, else 0."""
        spread = key * GOLDEN & _MASK
        segment = self._roomy(spread)
        keys, numbers = segment.keys, segment.numbers
        slots = len(numbers)
        at = (spread >> WITHIN_SHIFT & WITHIN_MASK) * slots >> 32
        while known := numbers[at]:
            if keys[at] == key:
                return known
            at += 1
            if at == slots:
                at = 0
        keys[at], numbers[at] = key, number
        segment.used += 1
        self._size += 1
        return 0

    def _roomy(self, spread: int) -> _Segment:
        """Return the segment of a key, with room for one more."""
        segment = self._segments[spread >> SEGMENT_SHIFT]
        if segment is None:
            segment = self._segments[spread >> SEGMENT_SHIFT] = _Segment(FIRST_SLOTS)
        elif segment.used * 5 >= len(segment.numbers) * 4:
            segment = self._segments[spread >> SEGMENT_SHIFT] = _grown(segment)
        return segment

    def pop(self, key: int) -> int:
        """Take *key* out and return the number that it had, else 0."""
        spread = key * GOLDEN & _MASK
        segment = self._segments[spread >> SEGMENT_SHIFT]
        if segment is None:
            return 0
        keys, numbers = segment.keys, segment.numbers
        slots = len(numbers)
        at = (spread >> WITHIN_SHIFT & WITHIN_MASK) * slots >> 32
        while (number := numbers[at]) and keys[at] != key:
            at += 1
            if at == slots:
                at = 0
        if not number:
            return 0
        _close_gap(keys, numbers, at, slots)
        segment.used -= 1
        self._size -= 1
        return number

    # -- many ----------------------------------------------------------------

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

    def dump(self) -> list[tuple[bytes, bytes, int] | None]:
        """Return all entries as plain values, for `load`."""
        return [None if s is None else (s.keys.tobytes(), s.numbers.tobytes(), s.used) for s in self._segments]

    def load(self, segments: list[tuple[bytes, bytes, int] | None]) -> None:
        """Have these entries and no others: (keys, numbers, entries) by segment, each where `get` looks for it."""
        loaded: list[_Segment | None] = []
        for each in segments:
            segment = None
            if each is not None:
                segment = _Segment(0)
                segment.keys.frombytes(each[0])
                segment.numbers.frombytes(each[1])
                segment.used = each[2]
            loaded.append(segment)
        self._segments, self._size = loaded, sum(each[2] for each in segments if each is not None)


def _place(segment: _Segment, spread: int, key: int, number: int) -> bool:
    """Write an entry; True when its key is new."""
    keys, numbers = segment.keys, segment.numbers
    slots = len(numbers)
    at = (spread >> WITHIN_SHIFT & WITHIN_MASK) * slots >> 32
    while numbers[at]:
        if keys[at] == key:
            numbers[at] = number
            return False
        at += 1
        if at == slots:
            at = 0
    keys[at], numbers[at] = key, number
    segment.used += 1
    return True


def _grown(old: _Segment) -> _Segment:
    slots = len(old.numbers)
    new = _Segment(slots + max(slots // 4, FIRST_SLOTS))
    for key, number in zip(old.keys, old.numbers, strict=True):
        if number:
            _place(new, key * GOLDEN & _MASK, key, number)
    return new


def _close_gap(keys: array[int], numbers: array[int], gap: int, slots: int) -> None:
    """Move up entries that were pushed past *gap*, so that no search ends there too early (algorithm R)."""
    at = gap
    while True:
        at = at + 1 if at + 1 < slots else 0
        if not numbers[at]:
            break
        home = ((keys[at] * GOLDEN & _MASK) >> WITHIN_SHIFT & WITHIN_MASK) * slots >> 32
        if (at - home) % slots >= (at - gap) % slots:
            keys[gap], numbers[gap] = keys[at], numbers[at]
            gap = at
    numbers[gap] = 0
