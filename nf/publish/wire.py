"""The messages on the bus: three frames ``topic | header | body``. The format for third parties is docs/feed.md.

Header: a MessagePack map. Body: a MessagePack map of columns, compressed with zstd. A numeric
column is ``[type, bytes]`` with numpy's type code and little-endian values; a text column is
``["dict", [distinct values], type, bytes]`` with the index of each row's value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np
import zstandard
from numpy.typing import NDArray

from nf.records import Columns

__all__ = ["ENCODING", "Header", "Message", "WireError", "decode", "encode", "round_significant", "topic"]

ENCODING = "msgpack-columns+zstd"
VERSION = 1  # of this framing; the schema of the columns has its own name
DIGITS = 3  # significant digits of published floats: finer ones are noise and cost a third of the budget
MAX_BODY_BYTES = 64 << 20  # a decoder refuses a larger body
_TYPES = frozenset({"u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"})
_compressor = zstandard.ZstdCompressor(level=3)


class WireError(ValueError):
    """A message is not in the format of this version; the text says where."""


@dataclass(frozen=True, slots=True)
class Header:
    """The second frame. Times are seconds since the epoch."""

    schema: str
    nf: str
    boot: str  # of the publishing process: another one means that sequences begin anew
    seq: int  # of this topic, from 0 on
    t_start: float
    t_end: float
    rows: int
    encoding: str = ENCODING
    version: int = VERSION


@dataclass(frozen=True, slots=True)
class Message:
    """A decoded message."""

    topic: str
    header: Header
    columns: Mapping[str, NDArray[Any] | list[str]]


def topic(family: str, nf_id: str, *rest: str) -> bytes:
    """Return e.g. ``qoe.v1/<nf>/<class>/``. Every element ends with "/", because subscriptions match text."""
    return "".join(f"{part}/" for part in (family, nf_id, *rest)).encode()


def round_significant(values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Round to DIGITS significant digits; NaN and infinities stay."""
    wide = values.astype(np.float64)
    usable = np.isfinite(wide) & (wide != 0)
    scale = np.ones_like(wide)
    scale[usable] = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.abs(wide[usable]))))
    with np.errstate(invalid="ignore"):
        return (np.round(wide * scale) / scale).astype(np.float32)


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    """Return unsigned integers in the smallest type that holds them all."""
    if values.dtype.kind == "u" and len(values):
        return values.astype(np.min_scalar_type(int(values.max())))
    return values


def _pack(values: NDArray[Any]) -> list[Any]:
    values = round_significant(values) if values.dtype.kind == "f" else _narrow(values)
    little = values.astype(values.dtype.newbyteorder("<"))
    # Bytes of equal weight side by side: neighbours then resemble each other and compress.
    planes = little.view(np.uint8).reshape(len(little), -1).T if little.dtype.itemsize > 1 else little
    return [little.dtype.str[1:], planes.tobytes()]


def _unpack(kind: str, raw: bytes, rows: int) -> NDArray[Any]:
    if kind not in _TYPES:
        raise WireError(f"column type {kind!r} is not known")
    dtype = np.dtype(f"<{kind}")
    if len(raw) != rows * dtype.itemsize:
        raise WireError(f"column has {len(raw)} bytes, {rows} rows of {kind} need {rows * dtype.itemsize}")
    planes = np.frombuffer(raw, np.uint8).reshape(dtype.itemsize, rows)
    return np.ascontiguousarray(planes.T).view(dtype).reshape(rows)


def encode(topic_: bytes, header: Header, columns: Columns) -> list[bytes]:
    """Return the three frames."""
    body: dict[str, list[Any]] = {}
    for name, column in columns.items():
        if isinstance(column, list):
            distinct, index = np.unique(np.array(column, dtype=object).astype(str), return_inverse=True)
            body[name] = ["dict", distinct.tolist(), *_pack(index.astype(np.uint32))]
        else:
            body[name] = _pack(np.asarray(column))
    head = {
        "v": header.version,
        "schema": header.schema,
        "nf": header.nf,
        "boot": header.boot,
        "seq": header.seq,
        "t_start": header.t_start,
        "t_end": header.t_end,
        "rows": header.rows,
        "encoding": header.encoding,
    }
    return [topic_, msgpack.packb(head), _compressor.compress(msgpack.packb(body))]


def _header(raw: bytes) -> Header:
    head = msgpack.unpackb(raw)
    if not isinstance(head, dict):
        raise WireError("the header is not a map")
    if head.get("v") != VERSION:
        raise WireError(f"version {head.get('v')!r} of the framing is not known, only {VERSION}")
    if head.get("encoding") != ENCODING:
        raise WireError(f"encoding {head.get('encoding')!r} is not known, only {ENCODING}")
    try:
        header = Header(
            schema=str(head["schema"]),
            nf=str(head["nf"]),
            boot=str(head["boot"]),
            seq=int(head["seq"]),
            t_start=float(head["t_start"]),
            t_end=float(head["t_end"]),
            rows=int(head["rows"]),
        )
    except KeyError as missing:
        raise WireError(f"the header has no {missing.args[0]}") from None
    if not 0 <= header.rows <= MAX_BODY_BYTES:
        raise WireError(f"{header.rows} rows cannot be")
    return header


def _column(value: Any, rows: int) -> NDArray[Any] | list[str]:
    if not isinstance(value, list):
        raise WireError("a column is not a list")
    if len(value) == 4 and value[0] == "dict":
        distinct = [str(v) for v in value[1]]
        index = _unpack(value[2], value[3], rows)
        if rows and int(index.max()) >= len(distinct):
            raise WireError(f"a text column names value {int(index.max())} of {len(distinct)}")
        return [distinct[i] for i in index.tolist()]
    if len(value) != 2 or not isinstance(value[1], bytes):
        raise WireError("a column is neither numbers nor text")
    return _unpack(str(value[0]), value[1], rows)


def decode(frames: list[bytes]) -> Message:
    """Return the message; raises WireError for anything that is not one."""
    if len(frames) != 3:
        raise WireError(f"a message has three frames, this has {len(frames)}")
    try:
        header = _header(frames[1])
        raw = zstandard.ZstdDecompressor().decompress(frames[2], max_output_size=MAX_BODY_BYTES)
        body = msgpack.unpackb(raw)
        if not isinstance(body, dict):
            raise WireError("the body is not a map of columns")
        columns = {str(name): _column(value, header.rows) for name, value in body.items()}
        return Message(frames[0].decode(), header, columns)
    except WireError:
        raise
    except (ValueError, TypeError, IndexError, zstandard.ZstdError, msgpack.UnpackException, RecursionError) as error:
        raise WireError(f"not a message: {type(error).__name__}") from None
