"""The tables as Arrow and Parquet have them, and columns of numpy and of the feed made into tables.

Text is a dictionary, so that an index of the feed goes into a file without a string for each row. An integer of eight
bytes is signed: Spark makes a decimal of an unsigned one. A float that is missing is null. A column that a table knows
and the caller does not is empty text, or null; one that the caller knows alone is kept behind those of the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from feed.columns import Coded
from feed.records import Column
from history.tables import TABLES

__all__ = ["BadColumn", "Values", "check", "narrow", "schema_of", "table_of"]

Values = NDArray[Any] | Coded | Sequence[str]

_TEXT = pa.dictionary(pa.int32(), pa.string())
_TYPES: Mapping[str, Any] = {
    "str": _TEXT,
    "u1": pa.uint8(),
    "u4": pa.uint32(),
    "u8": pa.int64(),
    "i4": pa.int32(),
    "i8": pa.int64(),
    "f4": pa.float32(),
    "f8": pa.float64(),
}
_LIMITS = {
    "u1": (0, 255),
    "u4": (0, 2**32 - 1),
    "u8": (0, 2**63 - 1),
    "i4": (-(2**31), 2**31 - 1),
    "i8": (-(2**63), 2**63 - 1),
}  # of a file, where eight bytes are signed


class BadColumn(ValueError):
    """A column is not of the type that its table has; the text names it."""


@cache
def schema_of(table: str) -> Any:
    """Return the pyarrow schema of a table."""
    return pa.schema([(name, _TYPES[column.dtype]) for name, column in TABLES[table].items()])


def table_of(table: str, columns: Mapping[str, Values], rows: int) -> Any:
    """Return a pyarrow table with all columns of *table*, and what *columns* has beside them. Raises BadColumn."""
    arrays: dict[str, Any] = {}
    for name, column in TABLES[table].items():
        values = columns.get(name)
        arrays[name] = _nothing(column, rows) if _is_missing(values) else _array(name, values, column.dtype)
    for name, values in columns.items():
        if name not in arrays:
            arrays[name] = _array(name, values, _kind(values))
    return pa.table(arrays)


def _nothing(column: Column, rows: int) -> Any:
    if column.dtype != "str":
        return pa.nulls(rows, _TYPES[column.dtype])
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([""]))


def check(table: str, columns: Mapping[str, Values]) -> None:
    """Raise BadColumn when one of *columns* does not fit its column of *table*, as `table_of` would."""
    for name, column in TABLES[table].items():
        values = columns.get(name)
        if values is None or _is_missing(values):
            continue
        if isinstance(values, np.ndarray) == (column.dtype == "str"):
            raise BadColumn(f"column {name[:40]!r} is not of type {column.dtype}")
        if isinstance(values, np.ndarray) and len(values) and (limits := _LIMITS.get(column.dtype)):
            low, high = (np.nanmin, np.nanmax) if values.dtype.kind == "f" else (np.min, np.max)
            if low(values) < limits[0] or high(values) > limits[1]:
                raise BadColumn(f"column {name[:40]!r} does not fit type {column.dtype}")
    for name, values in columns.items():
        if name in TABLES[table] or not isinstance(values, np.ndarray) or values.dtype.kind != "u":
            continue
        if len(values) and values.max() > _LIMITS["i8"][1]:
            raise BadColumn(f"column {name[:40]!r} does not fit type i8")


def narrow(table: str, name: str, values: Values) -> Values:
    """Return a column that fits its table with the numbers that a file has of it, which take less room in memory."""
    if isinstance(values, Coded):
        return Coded(values.values, values.index.astype(np.min_scalar_type(len(values.values)), copy=False))
    column = TABLES[table].get(name)
    if not isinstance(values, np.ndarray) or column is None or column.dtype == "str":
        return values
    if (values.dtype.kind == "f") != column.dtype.startswith("f"):  # of another version: `table_of` rounds it
        return values
    with np.errstate(over="ignore"):  # a number beyond all floats of four bytes is infinite
        return values.astype(column.dtype, copy=False)


def _is_missing(values: Values | None) -> bool:
    """Say whether there is no column, or one without a value in any row, which has no type on the wire."""
    return values is None or (
        isinstance(values, np.ndarray) and values.dtype.kind == "f" and bool(np.isnan(values).all())
    )


def _kind(values: Values) -> str:
    if not isinstance(values, np.ndarray):
        return "str"
    return "f8" if values.dtype.kind == "f" else "i8"


def _array(name: str, values: Values | None, dtype: str) -> Any:
    if isinstance(values, np.ndarray) == (dtype == "str"):
        raise BadColumn(f"column {name[:40]!r} is not of type {dtype}")
    if isinstance(values, Coded):
        index = pa.array(values.index.astype(np.int32, copy=False))
        return pa.DictionaryArray.from_arrays(index, pa.array(values.values, pa.string()))
    if not isinstance(values, np.ndarray):
        return pa.array(values, pa.string()).dictionary_encode()
    wanted = _TYPES[dtype]
    try:
        if dtype.startswith("f"):
            with np.errstate(over="ignore"):
                return pa.array(values.astype(dtype, copy=False), from_pandas=True)
        if values.dtype.kind == "f":  # in no form of the wire, but of the type in another version
            return pa.array(np.rint(values), from_pandas=True).cast(wanted)
        return pa.array(values).cast(wanted)  # in which too large a value is an error
    except (pa.ArrowInvalid, ValueError, TypeError):
        raise BadColumn(f"column {name[:40]!r} does not fit type {dtype}") from None
