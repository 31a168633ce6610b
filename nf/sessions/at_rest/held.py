"""Records of bindings by number: rows of tables (`gtp.rows`), found by pages of places."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from gtp.packing import ODD, Packer, Shape
from gtp.rows import Rows

__all__ = ["Held"]

_BITS = 8
_PAGE = 1 << _BITS  # numbers of a page: numbers count up, so that a page is full, and later empty, as a whole
_WITHIN = _PAGE - 1
_NUMBER = slice(4, 8)  # of a record: the number of the binding is its first value
_TRIES = 8  # of a reader whose record was moved meanwhile, each time anew


class Held:
    """Records by number. Reading is safe beside changes by another thread."""

    def __init__(self, packer: Packer) -> None:
        self.rows = Rows(packer)
        self._row = self.rows.row
        self._pages: dict[int, array[int]] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, number: int) -> bool:
        return self.place(number) != 0

    def place(self, number: int) -> int:
        """Return the place of a record in `rows`, 0 when there is none."""
        page = self._pages.get(number >> _BITS)
        return 0 if page is None else page[number & _WITHIN]

    def row(self, number: int) -> tuple[Shape, bytearray, int] | None:
        """Return the record of a number as `Rows.row`; the caller has to look whether the number is in it."""
        page = self._pages.get(number >> _BITS)
        return None if page is None else self._row(page[number & _WITHIN])

    def get(self, number: int) -> bytes | None:
        """Return the record of a number."""
        for _ in range(_TRIES):
            place = self.place(number)
            if not place:
                return None
            try:
                record = self.rows.get(place)
            except KeyError:
                continue
            if record[:4] == ODD or int.from_bytes(record[_NUMBER], "little") == number:
                return record
        return None

    def numbers(self) -> list[int]:
        """Return all numbers."""
        pages = [np.flatnonzero(np.array(page)) + (n << _BITS) for n, page in list(self._pages.items())]
        found: list[int] = np.concatenate([np.zeros(0, np.intp), *pages]).tolist()
        return found

    def items(self) -> Iterator[tuple[int, bytes]]:
        """Yield (number, record)."""
        for number in self.numbers():
            record = self.get(number)
            if record is not None:
                yield number, record

    # -- changes -------------------------------------------------------------

    def put(self, number: int, record: bytes) -> None:
        """Keep a record."""
        page = self._pages.get(number >> _BITS)
        if page is None:
            page = self._pages[number >> _BITS] = array("I", bytes(4 * _PAGE))
        old = page[number & _WITHIN]
        page[number & _WITHIN] = place = self.rows.put(record, old)
        if old and old != place:
            self.rows.free(old)

    def pop(self, number: int) -> bool:
        """Forget a record; return whether there was one."""
        place = self.place(number)
        if not place:
            return False
        page = self._pages[number >> _BITS]
        page[number & _WITHIN] = 0
        self.rows.free(place)
        if not any(page):
            del self._pages[number >> _BITS]
        return True

    def extend(self, shape: Shape, rows: NDArray[np.void], numbers: NDArray[np.uint32]) -> None:
        """Keep the rows of many records of one shape; none of the *numbers*, which are in them, has one yet."""
        if not len(rows):
            return
        places = self.rows.extend(shape, rows.tobytes()) + np.arange(len(rows), dtype=np.uint32)
        pages, of = np.unique(numbers >> _BITS, return_inverse=True)
        table = np.zeros((len(pages), _PAGE), np.uint32)
        table[of, numbers & _WITHIN] = places
        for number, fresh in zip(pages.tolist(), table, strict=True):
            page = np.array(self._pages.get(number, array("I", bytes(4 * _PAGE))), np.uint32)
            self._pages[number] = array("I", (page + fresh).tobytes())
