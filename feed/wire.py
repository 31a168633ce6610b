"""The messages on the bus: three frames ``topic | header | body``. The format for third parties is docs/feed.md.

topic     text; every element ends with "/"
header    a MessagePack map: schema, nf, boot, seq, t_start, t_end, rows, encoding
body      a MessagePack map of column name to column (`feed.columns`), compressed with zstd
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import zstandard
from numpy.typing import NDArray

from feed.columns import Coded, WireError, pack_columns, unpack_coded, unpack_columns
from feed.records import (
    ALARM_COLUMNS,
    CHANGE_COLUMNS,
    DELAY_DISTRIBUTION_COLUMNS,
    FLOW_COLUMNS,
    RECORD_COLUMNS,
    SPARSE_COLUMNS,
    Columns,
)

__all__ = [
    "ALARM_SCHEMA",
    "CHANGE_SCHEMA",
    "DELAY_SCHEMA",
    "ENCODING",
    "FLOW_SCHEMA",
    "HEALTH_SCHEMA",
    "IMSI_SCHEMA",
    "PURGE_SCHEMA",
    "SCHEMAS",
    "SNAPSHOT_SCHEMA",
    "CodedMessage",
    "Header",
    "Message",
    "WireError",
    "decode",
    "decode_coded",
    "encode",
    "rows_of",
    "topic",
]

ENCODING = "columns1+zstd"  # a change that an old decoder cannot read takes the next number
QOE_SCHEMA = "snf.qoe.v1"  # columns: feed.records.RECORD_COLUMNS
FLOW_SCHEMA = "snf.flow.v1"  # columns: feed.records.FLOW_COLUMNS
HEALTH_SCHEMA = "snf.health.v1"  # columns: feed.records.HEALTH_COLUMNS
IMSI_SCHEMA = "snf.imsi.v1"  # columns: subscriber, imsi
CHANGE_SCHEMA = "snf.change.v1"  # columns: feed.records.CHANGE_COLUMNS
DELAY_SCHEMA = "snf.delay.v1"  # columns: feed.records.DELAY_DISTRIBUTION_COLUMNS
PURGE_SCHEMA = "snf.purge.v1"  # columns: feed.records.PURGE_COLUMNS
ALARM_SCHEMA = "snf.alarm.v1"  # columns: feed.records.ALARM_COLUMNS
SNAPSHOT_SCHEMA = "snf.snapshot.v1"  # columns: feed.records.SNAPSHOT_COLUMNS
SCHEMAS = frozenset(
    {
        *(QOE_SCHEMA, FLOW_SCHEMA, HEALTH_SCHEMA, IMSI_SCHEMA, CHANGE_SCHEMA, DELAY_SCHEMA),
        *(PURGE_SCHEMA, ALARM_SCHEMA, SNAPSHOT_SCHEMA),
    }
)
MAX_BODY_BYTES = 64 << 20  # a decoder refuses what would become larger
MAX_HEADER_BYTES = 4096
_LEVEL = 6  # zstd: a third of the time of 13 and 5 % larger; a few messages a second are made
_threads = threading.local()


@dataclass(frozen=True, slots=True)
class Header:
    """The second frame. Times are seconds since the epoch."""

    schema: str
    nf: str
    boot: str  # of the publishing process: another one means that sequences begin anew
    seq: int  # of this topic and boot, from 0 on
    t_start: float
    t_end: float
    rows: int = 0  # `encode` writes how many the columns have
    encoding: str = ENCODING
    epoch: int = 0  # number of the key of the pseudonyms in the rows


@dataclass(frozen=True, slots=True)
class Message:
    """A decoded message. Columns: text as list, integers as u8 or i8, floats as f8; NaN is missing."""

    topic: str
    header: Header
    columns: Mapping[str, NDArray[Any] | list[str]]

    @property
    def app_class(self) -> str:
        """The application class of a ``qoe.v1`` topic, else empty."""
        parts = self.topic.split("/")
        return parts[2] if parts[0] == "qoe.v1" and len(parts) > 2 else ""


@dataclass(frozen=True, slots=True)
class CodedMessage:
    """A decoded message whose text columns are as they came, and whose sparse columns are there if they came."""

    topic: str
    header: Header
    columns: Mapping[str, NDArray[Any] | Coded]


_TABLES = {
    QOE_SCHEMA: RECORD_COLUMNS,
    FLOW_SCHEMA: FLOW_COLUMNS,
    CHANGE_SCHEMA: CHANGE_COLUMNS,
    DELAY_SCHEMA: DELAY_DISTRIBUTION_COLUMNS,
    ALARM_SCHEMA: ALARM_COLUMNS,
}
_SPARSE = frozenset(SPARSE_COLUMNS)
_EMPTY = (["nan"], ["text", [""]])  # columns as they are packed, without a value in any row


def topic(family: str, nf_id: str, *rest: str) -> bytes:
    """Return e.g. ``qoe.v1/<nf>/<class>/``. Every element ends with "/", because subscriptions match text."""
    return "".join(f"{part}/" for part in (family, nf_id, *rest)).encode()


def encode(topic_: bytes, header: Header, columns: Columns) -> list[bytes]:
    """Return the three frames; raises WireError when the columns are no columns."""
    rows, packed = pack_columns(columns)
    packed = {name: column for name, column in packed.items() if name not in _SPARSE or column not in _EMPTY}
    head = {
        "schema": header.schema,
        "nf": header.nf,
        "boot": header.boot,
        "seq": header.seq,
        "t_start": header.t_start,
        "t_end": header.t_end,
        "rows": rows,
        "encoding": header.encoding,
        "epoch": header.epoch,
    }
    return [topic_, msgpack.packb(head), _compressor().compress(msgpack.packb(packed))]


def _compressor() -> zstandard.ZstdCompressor:
    """Return the compressor of this thread: one is not safe in two, and a new one costs more than a small message."""
    kept: zstandard.ZstdCompressor | None = getattr(_threads, "compressor", None)
    if kept is None:
        kept = _threads.compressor = zstandard.ZstdCompressor(level=_LEVEL)
    return kept


def _header(raw: bytes) -> Header:
    if len(raw) > MAX_HEADER_BYTES:
        raise WireError(f"a header of {len(raw)} bytes is too long")
    head = msgpack.unpackb(raw)
    if not isinstance(head, dict):
        raise WireError("the header is not a map")
    kinds: dict[str, type | tuple[type, ...]] = {
        **dict.fromkeys(("schema", "nf", "boot", "encoding"), str),
        **dict.fromkeys(("seq", "rows"), int),
        **dict.fromkeys(("t_start", "t_end"), (int, float)),
    }
    for name, kind in kinds.items():
        if not isinstance(head.get(name), kind) or isinstance(head[name], bool):
            raise WireError(f"the header has no valid {name}")
    if head["encoding"] != ENCODING:
        raise WireError(f"encoding {head['encoding'][:40]!r} is not known, only {ENCODING}")
    if head["schema"] not in SCHEMAS:
        raise WireError(f"schema {head['schema'][:40]!r} is not known, only {', '.join(sorted(SCHEMAS))}")
    epoch = head.get("epoch", 0)  # an older function says none
    if not isinstance(epoch, int) or isinstance(epoch, bool):
        raise WireError("the header has no valid epoch")
    if head["rows"] < 0 or head["seq"] < 0 or epoch < 0:
        raise WireError("rows, seq and epoch are not negative")
    return Header(**{name: head[name] for name in kinds}, epoch=epoch)  # more keys may come: they are no error


def _body(raw: bytes) -> dict[str, Any]:
    # The size that the frame itself says is allocated before anything is checked, so it is checked here.
    if not 0 <= zstandard.frame_content_size(raw) <= MAX_BODY_BYTES:
        raise WireError("the body does not say its size, or it is too large")
    body = msgpack.unpackb(zstandard.ZstdDecompressor().decompress(raw))
    if not isinstance(body, dict):
        raise WireError("the body is not a map of columns")
    return body


def _with_sparse(header: Header, columns: dict[str, Any]) -> dict[str, Any]:
    """Return the columns with those that were left out because they are missing in every row."""
    known = _TABLES.get(header.schema, {})
    left_out = {
        name: [""] * header.rows if known[name].dtype == "str" else np.full(header.rows, np.nan)
        for name in SPARSE_COLUMNS
        if name in known and name not in columns
    }
    if not left_out or not columns:
        return columns
    all_of_them = columns | left_out
    return {name: all_of_them[name] for name in known if name in all_of_them} | columns


def decode(frames: Sequence[bytes]) -> Message:
    """Return the message; raises WireError for anything that is not one."""
    with _told():
        topic_, header, body = _opened(frames)
        columns = unpack_columns(body, header.rows)
        return Message(topic_, header, _with_sparse(header, columns))


def decode_coded(frames: Sequence[bytes]) -> CodedMessage:
    """Return the message with text as it came, for who keeps rows without looking at each; raises WireError."""
    with _told():
        topic_, header, body = _opened(frames)
        return CodedMessage(topic_, header, unpack_coded(body, header.rows))


def _opened(frames: Sequence[bytes]) -> tuple[str, Header, dict[str, Any]]:
    if len(frames) != 3:
        raise WireError(f"a message has three frames, this has {len(frames)}")
    return frames[0].decode(), _header(frames[1]), _body(frames[2])


@contextmanager
def _told() -> Iterator[None]:
    """Make of whatever the libraries say of bytes that are no message a WireError."""
    try:
        yield
    except WireError:
        raise
    except (
        ValueError,
        TypeError,
        OverflowError,
        RecursionError,
        zstandard.ZstdError,
        msgpack.UnpackException,
    ) as error:
        raise WireError(f"this is no message: {type(error).__name__}") from None


def rows_of(message: Message) -> list[dict[str, Any]]:
    """Return the rows as dictionaries of plain values; missing is None."""
    columns = {name: column if isinstance(column, list) else _plain(column) for name, column in message.columns.items()}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(column: NDArray[Any]) -> list[Any]:
    if column.dtype.kind != "f":
        return list(column.tolist())
    return [None if missing else value for value, missing in zip(column.tolist(), np.isnan(column), strict=True)]
