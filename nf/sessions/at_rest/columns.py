"""Rows of records (`gtp.rows`) as columns of numpy: the value at place 3 of a record is the field "3"."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gtp.packing import BYTE, DIGITS, IPV4, IPV6, KEY, LONG, LONG_KEY, OCTETS, OCTETS_SIZE, PREFIX, REAL, WORD, Shape

__all__ = ["Rows", "columns", "row_type", "rows_at"]

Rows = NDArray[np.void]

_FORMATS: dict[str, Any] = {REAL: "<f8", BYTE: "u1", WORD: "<u4", LONG: "<u8", IPV4: "<u4", DIGITS: "<u8"}
_FORMATS |= {IPV6: ("u1", 16), PREFIX: ("u1", 16), KEY: "<u4", LONG_KEY: "<u8", OCTETS: ("u1", OCTETS_SIZE)}


def row_type(shape: Shape) -> np.dtype[np.void]:
    """Return the type of a row; values that are the same in all rows have no field."""
    places = list(shape.offsets)
    return np.dtype(
        {
            "names": [str(place) for place in places],
            "formats": [_FORMATS[shape.kinds[place][0]] for place in places],
            "offsets": list(shape.offsets.values()),
            "itemsize": shape.size,
        }
    )


def columns(shape: Shape, rows: bytes) -> Rows:
    """Return rows that may be changed."""
    return np.frombuffer(bytearray(rows), row_type(shape))


def rows_at(rows: Rows, which: NDArray[Any]) -> Rows:
    """Return some rows; numpy would copy them field by field."""
    whole: Rows = rows.view(f"V{rows.dtype.itemsize}")[which].view(rows.dtype)
    return whole
