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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from feed.records import Columns

__all__ = [
    "DIGITS",
    "MAX_CELLS",
    "MAX_ROWS",
    "Coded",
    "WireError",
    "pack_columns",
    "unpack_coded",
    "unpack_columns",
]

DIGITS = 3  # significant digits of a published float: more would be noise, and a third of the bytes
MAX_CELLS = 1 << 24  # rows times columns that a decoder takes on: a constant column is a few bytes on the wire
MAX_ROWS = 50_000  # rows that a publisher puts in one message
_MISSING = -32_768  # mantissa of NaN
_TOGETHER = 32_768  # floats that are packed together: they and what is made of them fit the second-level cache
_UNSIGNED = {"u1", "u2", "u4", "u8"}
_RATE_TOLERANCE = 1e-4  # a rate within this of its bytes is their rate: less than half of the last digit

_Column = NDArray[Any] | list[str]
_Text = TypeVar("_Text")


@dataclass(frozen=True, slots=True)
class Coded:
    """A text column as it came: distinct values, and for each row the number of its value."""

    values: list[str]
    index: NDArray[Any]  # unsigned integers

    def __len__(self) -> int:
        return len(self.index)


class WireError(ValueError):
    """A message is not in the format of this version; the text says where."""


# -- to bytes ---------------------------------------------------------------


def _planes(values: NDArray[Any]) -> bytes:
    """Return little-endian values, first all their lowest bytes, then all second ones: alike bytes compress."""
    little = np.ascontiguousarray(values.astype(values.dtype.newbyteorder("<"), copy=False))
    if little.itemsize == 1:
        return little.tobytes()
    return little.view(np.uint8).reshape(len(little), -1).T.tobytes()


def _indexed(values: NDArray[Any], most: int) -> list[Any]:
    """Return unsigned integers, of which the largest is *most*, in the narrowest type that holds them."""
    narrow = values.astype(np.min_scalar_type(most))
    return [narrow.dtype.str[1:], _planes(narrow)]


def _pack_integers(values: NDArray[Any]) -> list[Any]:
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    if low == high:
        return ["int", low]
    # In uint64, differences of int64 do not overflow (modulo 2^64).
    return ["int", low, *_indexed(values.astype(np.uint64) - np.array(low).astype(np.uint64), high - low)]


def _decimal_exponent(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the exponent of the first digit of each value, which is not 0."""
    return np.floor(np.log10(np.abs(values))).astype(np.int64)


def _decades() -> tuple[NDArray[np.int16], NDArray[np.uint32]]:
    """Return for each exponent of a float32 (IEEE 754: 8 bits) the decimal one of the least value that has it, and
    from which bits on it is one more: between two powers of two is at most one of ten."""
    first = np.arange(1, 255, dtype=np.uint32) << 23
    low = _decimal_exponent(first.view(np.float32).astype(np.float64))
    with np.errstate(over="ignore"):
        near = (10.0 ** (low + 1)).astype(np.float32).view(np.uint32)  # infinite behind the last
    below = np.stack([near - 1, near])
    with np.errstate(invalid="ignore"):
        already = np.log10(below.view(np.float32).astype(np.float64)) >= low + 1
    border = np.where(already[0], below[0], np.where(already[1], near, near + 1))
    return np.pad(low.astype(np.int16), 1), np.pad(border.astype(np.uint32), 1)


_LOW, _BORDER = _decades()
_LARGEST = 128  # exponents of ten are less, by their absolute value
_POWERS = 10.0 ** np.arange(-_LARGEST, _LARGEST)


def _pack_doubles(values: NDArray[Any]) -> list[Any]:
    wide = values.astype(np.float64)
    known = np.isfinite(wide)
    if not known.any():
        return ["nan"]
    nonzero = known & (np.abs(wide) > 1e-100)
    exponent = np.zeros((1, len(wide)), np.int16)
    exponent[0, nonzero] = _decimal_exponent(wide[nonzero]) - (DIGITS - 1)
    return _decimals(wide[None], known[None], nonzero[None], exponent)[0]


def _pack_singles(columns: Sequence[NDArray[np.float32]]) -> list[list[Any]]:
    """Return several columns of float32 of one length; what is done to all of them at once costs once."""
    values = np.stack(columns)
    bits = values.view(np.uint32) & 0x7FFF_FFFF  # without the sign
    known = bits < 0x7F80_0000
    packed: list[list[Any]] = [["nan"] for _ in columns]
    some = np.flatnonzero(known.any(axis=1))
    if not len(some):
        return packed
    if len(some) < len(columns):
        values, bits, known = values[some], bits[some], known[some]
    nonzero, binary = known & (bits > 0), bits >> 23
    exponent = _LOW[binary] + (bits >= _BORDER[binary]) - (DIGITS - 1)
    # Numbers below the normal ones have one binary exponent, and many decimal ones.
    slow = (nonzero & (binary == 0)).any(axis=1)
    for at, row, whole in zip(some.tolist(), _decimals(values, known, nonzero, exponent), ~slow, strict=True):
        packed[at] = row if whole else _pack_doubles(columns[at])
    return packed


def _decimals(
    values: NDArray[Any], known: NDArray[np.bool_], nonzero: NDArray[np.bool_], exponent: NDArray[np.int16]
) -> list[list[Any]]:
    """Return columns (k, n), each with a value that is *known*; *exponent* is that of the last digit of each value."""
    for column in np.flatnonzero(~nonzero.all(axis=1)).tolist():
        # A zero with its neighbours' exponent costs nothing; one with an exponent of its own costs bytes.
        own = exponent[column][nonzero[column]]
        usual = np.bincount(own + _LARGEST).argmax() - _LARGEST if len(own) else 0
        exponent[column][~nonzero[column]] = usual
    exponent = np.minimum(exponent, _LARGEST - 1)
    mantissa = np.clip(np.rint(values / _POWERS[exponent + _LARGEST]), -32_767, 32_767)
    mantissa = np.where(known, mantissa, _MISSING).astype(np.int16)
    same = (exponent == exponent[:, :1]).all(axis=1).tolist()
    return [
        ["dec", int(exponents[0]) if is_same else _planes(exponents.astype(np.int8)), _planes(mantissas)]
        for exponents, mantissas, is_same in zip(exponent, mantissa, same, strict=True)
    ]


def _hex(values: Sequence[str]) -> bytes | None:
    """Return the bytes of values that all have the same number of hexadecimal digits, else None."""
    digits = len(values[0]) if values else 0
    if digits < 2 or digits % 2 or set(map(len, values)) != {digits}:
        return None
    joined = "".join(values)
    try:
        raw = bytes.fromhex(joined)
    except ValueError:
        return None
    return raw if raw.hex() == joined else None


def _pack_text(values: Sequence[str]) -> list[Any]:
    distinct = list(dict.fromkeys(values))
    raw = _hex(distinct)
    head: list[Any] = ["text", distinct] if raw is None else ["hex", len(distinct[0]), raw]
    if len(distinct) < 2:
        return head
    numbers = dict(zip(distinct, range(len(distinct)), strict=True))
    index = np.fromiter(map(numbers.__getitem__, values), np.uint32, len(values))
    return [*head, *_indexed(index, len(distinct) - 1)]


def _is_rate(name: str, values: NDArray[Any], columns: Columns) -> bool:
    octets, interval_ms = columns.get(name.removesuffix("_bps") + "_bytes"), columns.get("interval_ms")
    if not name.endswith("_bps") or not isinstance(octets, np.ndarray) or not isinstance(interval_ms, np.ndarray):
        return False
    if octets.dtype.kind not in "ui" or interval_ms.dtype.kind not in "ui" or not (interval_ms > 0).all():
        return False
    rate = _rate(octets, interval_ms)
    return bool((np.abs(values - rate) <= _RATE_TOLERANCE * np.abs(rate)).all())


def _rate(octets: NDArray[Any], interval_ms: NDArray[Any]) -> NDArray[np.float64]:
    return octets.astype(np.float64) * 8000 / interval_ms.astype(np.float64)


def pack_columns(columns: Columns) -> tuple[int, dict[str, list[Any]]]:
    """Return the number of rows and the columns as lists that MessagePack can write.

    A column is a list of text or a one-dimensional array of integers or floats. Raises WireError
    when one is something else or has another length.
    """
    packed: dict[str, list[Any]] = {}
    singles: list[str] = []
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
        elif _is_rate(name, column, columns):
            packed[name] = ["rate", name.removesuffix("_bps") + "_bytes"]
        elif column.dtype == np.float32:
            packed[name] = []  # its place
            singles.append(name)
        else:
            packed[name] = _pack_doubles(column)
    together = max(_TOGETHER // max(rows, 1), 1)
    for first in range(0, len(singles), together):
        names = singles[first : first + together]
        packed.update(zip(names, _pack_singles([columns[n] for n in names]), strict=True))  # type: ignore[misc]
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


def _unpack_text(distinct: Any, rest: Sequence[Any], rows: int) -> Coded:
    if not isinstance(distinct, list) or not all(isinstance(v, str) for v in distinct):
        raise WireError("the values of a text column are not text")
    if not rest:
        if rows and len(distinct) != 1:
            raise WireError(f"a text column without an index has {len(distinct)} values")
        return Coded(distinct, np.zeros(rows, np.uint8))
    index = _unsigned(rest, rows)
    if rows and int(index.max()) >= len(distinct):
        raise WireError(f"a text column names value {int(index.max())} of {len(distinct)}")
    return Coded(distinct, index)


def _unpack_hex(rest: Sequence[Any], rows: int) -> Coded:
    digits, raw = rest[:2]
    if not isinstance(raw, bytes) or not isinstance(digits, int) or digits < 2 or digits % 2 or len(raw) * 2 % digits:
        raise WireError("hexadecimal values do not have the digits they say")
    joined = raw.hex()
    return _unpack_text([joined[i : i + digits] for i in range(0, len(joined), digits)], rest[2:], rows)


def _listed(column: Coded) -> list[str]:
    if len(column.values) == 1:
        return column.values * len(column.index)
    return [column.values[i] for i in column.index.tolist()]


def _unpack_rate(name: Any, columns: Mapping[str, object], rows: int) -> NDArray[Any]:
    octets, interval_ms = columns.get(str(name)), columns.get("interval_ms")
    if not isinstance(octets, np.ndarray) or not isinstance(interval_ms, np.ndarray):
        raise WireError("a rate names a column that is not there")
    if not len(octets) == len(interval_ms) == rows:  # the place of another rate is empty
        raise WireError("a rate names another rate")
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = _rate(octets, interval_ms)
    return np.where(np.isfinite(rate), rate, np.nan)


def _unpack(column: Sequence[Any], rows: int) -> NDArray[Any] | Coded:
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
    return _unpack_all(packed, rows, _listed)


def unpack_coded(packed: Mapping[str, Any], rows: int) -> dict[str, NDArray[Any] | Coded]:
    """Return the same columns with text as it came, so that no row costs an object."""
    return _unpack_all(packed, rows, lambda column: column)


def _unpack_all(
    packed: Mapping[str, Any], rows: int, text: Callable[[Coded], _Text]
) -> dict[str, NDArray[Any] | _Text]:
    if rows * max(1, len(packed)) > MAX_CELLS:
        raise WireError(f"{rows} rows of {len(packed)} columns are more than {MAX_CELLS} values")
    columns: dict[str, NDArray[Any] | _Text] = {}
    rates: list[str] = []
    for name, column in packed.items():
        if not isinstance(name, str) or not isinstance(column, list) or not column:
            raise WireError("the body is not a map of names to columns")
        if column[0] == "rate":
            columns[name] = np.zeros(0)  # its place
            rates.append(name)
            continue
        found = _checked(name, column, rows)
        columns[name] = text(found) if isinstance(found, Coded) else found
    for name in rates:
        columns[name] = _unpack_rate(packed[name][-1], columns, rows)
    return columns


def _checked(name: str, column: Sequence[Any], rows: int) -> NDArray[Any] | Coded:
    try:
        return _unpack(column, rows)
    except WireError as error:
        raise WireError(f"column {name[:40]!r}: {error}") from None
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        raise WireError(f"column {name[:40]!r} is not of its kind: {type(error).__name__}") from None
