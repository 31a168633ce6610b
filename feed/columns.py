"""The body of a message: columns to bytes and back. The format for third parties is docs/feed.md.

A column is a MessagePack list whose first element says how the rest reads; *blob* is what `_planes` says.

    ["int", base]                    every row is base
    ["int", base, type, blob]        base + blob, blob of unsigned integers
    ["dec", exponent, blob]          blob x 10^exponent; blob of i2, -32768 is missing
    ["dec", blob of i1, blob]        the same with an exponent for each row
    ["nan"]                          missing in every row
    ["rate", name]                   8000 x column *name* / column "interval_ms"
    ["text", [values]]               every row is the one value
    ["text", [values], type, blob]   blob indexes values
    ["hex", digits, bytes, ...]      as text; the values are joined and each has so many hexadecimal digits

Integers and text stay exact; a float is rounded to three significant digits.
Raises WireError on anything that cannot be read, and on a body that would need more than `MAX_CELLS`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import Columns

__all__ = ["DIGITS", "MAX_CELLS", "MAX_ROWS", "WireError", "pack_columns", "unpack_columns"]

DIGITS = 3  # significant digits of a published float: more would be noise, and a third of the bytes
MAX_CELLS = 1 << 24  # rows times columns that a decoder takes on: a constant column is a few bytes on the wire
MAX_ROWS = 50_000  # rows that a publisher puts in one message
_MISSING = -32_768  # mantissa of NaN
_UNSIGNED = {"u1", "u2", "u4", "u8"}
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_RATE_TOLERANCE = 1e-4  # a rate within this of its bytes is their rate: less than half of the last digit

_Column = NDArray[Any] | list[str]


class WireError(ValueError):
    """A message is not in the format of this version; the text says where."""


# -- to bytes ---------------------------------------------------------------


def _planes(values: NDArray[Any]) -> bytes:
    """Return little-endian values, first all their lowest bytes, then all second ones: alike bytes compress."""
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<")))
    return little.view(np.uint8).reshape(len(little), -1).T.tobytes()


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(np.min_scalar_type(int(values.max())))


def _indexed(values: NDArray[Any]) -> list[Any]:
    narrow = _narrow(values)
    return [narrow.dtype.str[1:], _planes(narrow)]


def _pack_integers(values: NDArray[Any]) -> list[Any]:
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    if low == high:
        return ["int", low]
    # In uint64, differences of int64 do not overflow (modulo 2^64).
    return ["int", low, *_indexed(values.astype(np.uint64) - np.array(low).astype(np.uint64))]


def _pack_floats(values: NDArray[Any]) -> list[Any]:
    wide = values.astype(np.float64)
    known = np.isfinite(wide)
    if not known.any():
        return ["nan"]
    exponent = np.zeros(len(wide), np.int64)
    nonzero = known & (np.abs(wide) > 1e-100)
    exponent[nonzero] = np.floor(np.log10(np.abs(wide[nonzero]))).astype(np.int64) - (DIGITS - 1)
    # A zero with its neighbours' exponent costs nothing; one with an exponent of its own costs bytes.
    exponent[~nonzero] = np.bincount(exponent[nonzero] + 128).argmax() - 128 if nonzero.any() else 0
    exponent = np.minimum(exponent, 127)
    mantissa = np.full(len(wide), _MISSING, np.int16)
    mantissa[known] = np.clip(np.round(wide[known] / 10.0 ** exponent[known]), -32_767, 32_767)
    same = bool((exponent == exponent[0]).all())
    return ["dec", int(exponent[0]) if same else _planes(exponent.astype(np.int8)), _planes(mantissa)]


def _pack_text(values: Sequence[str]) -> list[Any]:
    numbers: dict[str, int] = {}
    index = np.array([numbers.setdefault(v, len(numbers)) for v in values], np.uint32)
    distinct = list(numbers)
    digits = len(distinct[0]) if distinct else 0
    if digits > 1 and all(len(v) == digits and _HEX.fullmatch(v) for v in distinct):
        head: list[Any] = ["hex", digits, bytes.fromhex("".join(distinct))]
    else:
        head = ["text", distinct]
    return head if len(distinct) < 2 else [*head, *_indexed(index)]


def _is_rate(name: str, columns: Columns) -> bool:
    octets, interval_ms = columns.get(name.removesuffix("_bps") + "_bytes"), columns.get("interval_ms")
    if not name.endswith("_bps") or not isinstance(octets, np.ndarray) or not isinstance(interval_ms, np.ndarray):
        return False
    if octets.dtype.kind not in "ui" or interval_ms.dtype.kind not in "ui" or not (interval_ms > 0).all():
        return False
    return bool(np.allclose(columns[name], _rate(octets, interval_ms), rtol=_RATE_TOLERANCE, atol=0))


def _rate(octets: NDArray[Any], interval_ms: NDArray[Any]) -> NDArray[np.float64]:
    return octets.astype(np.float64) * 8000 / interval_ms.astype(np.float64)


def pack_columns(columns: Columns) -> tuple[int, dict[str, list[Any]]]:
    """Return the number of rows and the columns as lists that MessagePack can write.

    A column is a list of text or a one-dimensional array of integers or floats. Raises WireError
    when one is something else or has another length.
    """
    packed: dict[str, list[Any]] = {}
    rows = len(next(iter(columns.values()), ()))
    for name, column in columns.items():
        if len(column) != rows:
            raise WireError(f"column {name} has {len(column)} rows, the first has {rows}")
        if isinstance(column, list):
            packed[name] = _pack_text(column)
        elif column.ndim != 1 or column.dtype.kind not in "uif":
            raise WireError(f"column {name} is neither text nor numbers in one dimension")
        elif column.dtype.kind in "ui":
            packed[name] = _pack_integers(column)
        else:
            packed[name] = (
                ["rate", name.removesuffix("_bps") + "_bytes"] if _is_rate(name, columns) else _pack_floats(column)
            )
    return rows, packed


# -- and back ---------------------------------------------------------------


def _blob(kind: Any, raw: Any, rows: int) -> NDArray[Any]:
    dtype = np.dtype(f"<{kind}")
    if not isinstance(raw, bytes) or len(raw) != rows * dtype.itemsize:
        raise WireError(f"{rows} rows of {kind} are not {rows * dtype.itemsize} bytes")
    planes = np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, rows)
    return np.ascontiguousarray(planes.T).view(dtype).reshape(rows)


def _unsigned(rest: Sequence[Any], rows: int) -> NDArray[Any]:
    kind, raw = rest
    if kind not in _UNSIGNED:
        raise WireError(f"type {str(kind)[:20]!r} is not one of {', '.join(sorted(_UNSIGNED))}")
    return _blob(kind, raw, rows)


def _unpack_integers(rest: Sequence[Any], rows: int) -> NDArray[Any]:
    base = rest[0]
    if not isinstance(base, int) or isinstance(base, bool):
        raise WireError("the base of an integer column is no integer")
    offsets = _unsigned(rest[1:], rows).astype(np.uint64) if len(rest) > 1 else np.zeros(rows, np.uint64)
    # Modulo 2^64, so that a negative base needs no case of its own.
    return (np.array(base % 2**64, np.uint64) + offsets).astype(np.int64 if base < 0 else np.uint64)


def _unpack_floats(rest: Sequence[Any], rows: int) -> NDArray[Any]:
    exponent, raw = rest
    if isinstance(exponent, bytes):
        exponents = _blob("i1", exponent, rows).astype(np.int64)
    elif isinstance(exponent, int) and -128 <= exponent <= 127:
        exponents = np.full(rows, exponent, np.int64)
    else:
        raise WireError("an exponent is neither a small number nor one for each row")
    mantissa = _blob("i2", raw, rows)
    wide = mantissa.astype(np.float64)
    # Dividing by a positive power gives the nearest float: 123 at -1 is 12.3, not 12.300000000000001.
    values = np.where(exponents < 0, wide / 10.0 ** np.maximum(-exponents, 0), wide * 10.0 ** np.maximum(exponents, 0))
    return np.where(mantissa == _MISSING, np.nan, values)


def _unpack_text(distinct: Any, rest: Sequence[Any], rows: int) -> list[str]:
    if not isinstance(distinct, list) or not all(isinstance(v, str) for v in distinct):
        raise WireError("the values of a text column are not text")
    if not rest:
        if rows and len(distinct) != 1:
            raise WireError(f"a text column without an index has {len(distinct)} values")
        return distinct * rows
    index = _unsigned(rest, rows)
    if rows and int(index.max()) >= len(distinct):
        raise WireError(f"a text column names value {int(index.max())} of {len(distinct)}")
    return [distinct[i] for i in index.tolist()]


def _unpack_hex(rest: Sequence[Any], rows: int) -> list[str]:
    digits, raw = rest[:2]
    if not isinstance(raw, bytes) or not isinstance(digits, int) or digits < 2 or digits % 2 or len(raw) * 2 % digits:
        raise WireError("hexadecimal values do not have the digits they say")
    joined = raw.hex()
    return _unpack_text([joined[i : i + digits] for i in range(0, len(joined), digits)], rest[2:], rows)


def _unpack_rate(name: Any, columns: Mapping[str, _Column]) -> NDArray[Any]:
    octets, interval_ms = columns.get(str(name)), columns.get("interval_ms")
    if not isinstance(octets, np.ndarray) or not isinstance(interval_ms, np.ndarray):
        raise WireError("a rate names a column that is not there")
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = _rate(octets, interval_ms)
    return np.where(np.isfinite(rate), rate, np.nan)


def _unpack(column: Sequence[Any], rows: int) -> _Column:
    kind, rest = column[0], column[1:]
    if kind == "int":
        return _unpack_integers(rest, rows)
    if kind == "dec":
        return _unpack_floats(rest, rows)
    if kind == "nan":
        return np.full(rows, np.nan)
    if kind == "text":
        return _unpack_text(rest[0], rest[1:], rows)
    if kind == "hex":
        return _unpack_hex(rest, rows)
    raise WireError(f"column kind {str(kind)[:20]!r} is not known")


def unpack_columns(packed: Mapping[str, Any], rows: int) -> dict[str, _Column]:
    """Return the columns in their order: text as list, integers as u8 or i8, floats as f8 with NaN for missing."""
    if rows * max(1, len(packed)) > MAX_CELLS:
        raise WireError(f"{rows} rows of {len(packed)} columns are more than {MAX_CELLS} values")
    columns: dict[str, _Column] = {}
    rates: list[str] = []
    for name, column in packed.items():
        if not isinstance(name, str) or not isinstance(column, list) or not column:
            raise WireError("the body is not a map of names to columns")
        columns[name] = [] if column[0] == "rate" else _checked(name, column, rows)
        if column[0] == "rate":
            rates.append(name)
    for name in rates:
        columns[name] = _unpack_rate(packed[name][-1], columns)
    return columns


def _checked(name: str, column: Sequence[Any], rows: int) -> _Column:
    try:
        return _unpack(column, rows)
    except WireError as error:
        raise WireError(f"column {name[:40]!r}: {error}") from None
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise WireError(f"column {name[:40]!r} is not of its kind: {type(error).__name__}") from None
