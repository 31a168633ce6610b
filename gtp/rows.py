"""Records at rest (`gtp.packing`), as rows of one table a shape: a record costs its fields and nothing else.

A record has a place, a number of 32 bits. Rows stand in blocks of 64, each of one shape; a block that nothing is in any
more is given back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gtp.packing import Packer, Shape

__all__ = ["Rows"]

_BITS = 6
_ROWS = 1 << _BITS  # of a block
_WITHIN = _ROWS - 1
_ODD_PLACE = 1 << 31  # and up: places of records without shape


class _Block:
    __slots__ = ("free", "rows", "shape", "used")

    def __init__(self, shape: Shape, rows: bytearray) -> None:
        self.shape, self.rows = shape, rows
        self.used = 0  # rows that were ever used are the first
        self.free = bytearray()  # those of them that are free again

    @property
    def room(self) -> int:
        return _ROWS - self.used + len(self.free)


class Rows:
    """Records of one packer by place; 0 is no place. Reading one is safe beside changes by another thread."""

    __slots__ = ("_blocks", "_left", "_next_odd", "_odd", "_open", "_packer", "_size")

    def __init__(self, packer: Packer) -> None:
        self._packer = packer
        self._blocks: list[_Block | None] = [None]  # so that no place is 0
        self._left: list[int] = []  # numbers of blocks that were given back
        self._open: dict[int, dict[int, None]] = {}  # numbers of blocks with room, by shape
        self._odd: dict[int, bytes] = {}
        self._next_odd = _ODD_PLACE
        self._size = 0

    def __len__(self) -> int:
        return self._size

    # -- one record ----------------------------------------------------------

    def put(self, record: bytes, old: int = 0) -> int:
        """Keep a record, over the one at *old* if it is of the same shape; return its place.

        Where that is another place than *old*, `free` gives the old one back, once nobody is led there any more.
        """
        shape = self._packer.shape_of(record)
        if old and shape is self._shape(old):
            if shape is None:
                self._odd[old] = record
            else:
                self._write(old, shape, record)
            return old
        place = self._new(shape)
        if shape is None:
            self._odd[place] = record
        else:
            self._write(place, shape, record)
        return place

    def get(self, place: int) -> bytes:
        """Return a record."""
        if place & _ODD_PLACE:
            return self._odd[place]
        block = self._blocks[place >> _BITS]
        if block is None:
            raise KeyError(place)
        at = (place & _WITHIN) * block.shape.size
        return block.shape.prefix + block.rows[at : at + block.shape.size]

    def row(self, place: int) -> tuple[Shape, bytearray, int] | None:
        """Return the shape of a record, and the table and offset of its fields; None of an odd or unknown one."""
        block = None if place & _ODD_PLACE else self._blocks[place >> _BITS]
        return None if block is None else (block.shape, block.rows, (place & _WITHIN) * block.shape.size)

    def free(self, place: int) -> None:
        """Forget a record, and overwrite it: rows that are free are written into files with the others."""
        self._size -= 1
        if place & _ODD_PLACE:
            del self._odd[place]
            return
        number = place >> _BITS
        block = self._blocks[number]
        if block is None:
            raise KeyError(place)
        within, size = place & _WITHIN, block.shape.size
        block.rows[within * size : (within + 1) * size] = bytes(size)
        block.free.append(within)
        with_room = self._open.setdefault(block.shape.number, {})
        with_room[number] = None
        if len(block.free) == block.used:
            del with_room[number]
            self._blocks[number] = None
            self._left.append(number)

    def _shape(self, place: int) -> Shape | None:
        block = None if place & _ODD_PLACE else self._blocks[place >> _BITS]
        return None if block is None else block.shape

    def _write(self, place: int, shape: Shape, record: bytes) -> None:
        block, at = self._blocks[place >> _BITS], (place & _WITHIN) * shape.size
        if block is not None:
            block.rows[at : at + shape.size] = record[4:]

    def _new(self, shape: Shape | None) -> int:
        self._size += 1
        if shape is None:
            place, self._next_odd = self._next_odd, (self._next_odd + 1) | _ODD_PLACE
            return place
        with_room = self._open.get(shape.number)
        first = with_room is None
        if with_room is None:
            with_room = self._open[shape.number] = {}
        number = (
            next(reversed(with_room))
            if with_room
            else self._block(shape, bytearray(0 if first else _ROWS * shape.size))
        )
        block = self._blocks[number]
        if block is None:
            raise KeyError(number)
        with_room[number] = None
        if block.free:
            within = block.free.pop()
        else:
            within = block.used
            block.used += 1
            if len(block.rows) < block.used * shape.size:  # the only block of a shape grows as it needs to
                block.rows += bytes(shape.size)
        if not block.room:
            del with_room[number]
        return number << _BITS | within

    def _block(self, shape: Shape, rows: bytearray) -> int:
        block = _Block(shape, rows)
        if self._left:
            number = self._left.pop()
            self._blocks[number] = block
            return number
        self._blocks.append(block)
        return len(self._blocks) - 1

    # -- many ----------------------------------------------------------------

    def places(self) -> Iterator[tuple[Shape | None, list[int]]]:
        """Yield the places of all records, some of one shape at a time; None: of odd ones."""
        for number, block in enumerate(self._blocks):
            if block is not None:
                left = set(block.free)
                yield block.shape, [number << _BITS | n for n in range(block.used) if n not in left]
        yield None, list(self._odd)

    def sizes(self) -> Iterator[tuple[Shape, int]]:
        """Yield shapes, and how many records some rows of them are; without odd records."""
        for block in self._blocks:
            if block is not None:
                yield block.shape, block.used - len(block.free)

    @property
    def odd(self) -> list[bytes]:
        """The records without a shape."""
        return list(self._odd.values())

    def holding(self, looks: Callable[[Shape], Sequence[bytes]]) -> list[int]:
        """Return the places of all records that hold one of the fields that *looks* gives for their shape.

        Others may be among them: fields are looked for as bytes, and odd records not at all.
        """
        found: dict[int, None] = {}
        wanted: dict[int, Sequence[bytes]] = {}
        for number, block in enumerate(self._blocks):
            if block is None:
                continue
            shape = block.shape
            if shape.number not in wanted:
                wanted[shape.number] = looks(shape)
            for field in wanted[shape.number]:
                at = block.rows.find(field)
                while at >= 0:
                    within = at // shape.size
                    if within < block.used and within not in block.free:
                        found[number << _BITS | within] = None
                    at = block.rows.find(field, at + 1)
        return [*found, *self._odd]

    def columns(self) -> tuple[list[tuple[Shape, bytes]], list[bytes]]:
        """Return (shape, its rows) of all records that have one, and the odd records."""
        pieces: dict[int, list[bytes | bytearray]] = {}
        for block in self._blocks:
            if block is not None:
                pieces.setdefault(block.shape.number, []).extend(_used(block))
        return [(self._packer.shapes[n], b"".join(some)) for n, some in pieces.items()], list(self._odd.values())

    def extend(self, shape: Shape, rows: bytes | memoryview) -> int:
        """Take the rows of many records, one of them at least; the first place is returned, the others follow."""
        first, step = len(self._blocks), _ROWS * shape.size
        with_room = self._open.setdefault(shape.number, {})
        for at in range(0, len(rows), step):
            piece = bytearray(rows[at : at + step])
            block = _Block(shape, piece)
            block.used = len(piece) // shape.size
            self._size += block.used
            self._blocks.append(block)
        if block.room:
            block.rows += bytes(step - len(piece))
            with_room[len(self._blocks) - 1] = None
        return first << _BITS

    # -- over a restart --------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """Return all as plain values, for `load`, by which each record is in its place again."""
        blocks = [
            None if b is None else (b.shape.number, b.used, bytes(b.rows[: b.used * b.shape.size]), bytes(b.free))
            for b in self._blocks
        ]
        return {"blocks": blocks, "odd": dict(self._odd)}

    def load(self, dumped: dict[str, Any]) -> None:
        """Take the records of another; this one must be empty, and its packer have the other's shapes."""
        self._blocks, self._odd = [], dict(dumped["odd"])
        self._next_odd = max(self._odd, default=_ODD_PLACE - 1) + 1 | _ODD_PLACE
        self._size = len(self._odd)
        for number, each in enumerate(dumped["blocks"]):
            block = None
            if each is not None:
                block = _Block(self._packer.shapes[each[0]], bytearray(each[2]))
                block.used, block.free = each[1], bytearray(each[3])
                self._size += block.used - len(block.free)
                if block.room:
                    block.rows += bytes((_ROWS - block.used) * block.shape.size)
                    self._open.setdefault(block.shape.number, {})[number] = None
            elif number:
                self._left.append(number)
            self._blocks.append(block)


def _used(block: _Block) -> Iterator[bytes | bytearray]:
    """Yield the rows of a block that are in use."""
    size, at = block.shape.size, 0
    for within in sorted(block.free):
        if within > at:
            yield block.rows[at * size : within * size]
        at = within + 1
    if block.used > at:
        yield block.rows[at * size : block.used * size]
