"""Search for an IMSI in whatever a run has left: in each form that it may have, behind what files are packed with.

Files are searched as they are, with their names; Parquet by its columns as well, text of gzip unpacked, and messages of
the feed (`.frames`: MessagePack lists of frames) decompressed and decoded.
"""

from __future__ import annotations

import base64
import gzip
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgpack
import pyarrow.parquet as pq
import zstandard

from feed import wire

__all__ = ["FORMS", "contents", "forms", "search"]


def swapped(digits: str) -> bytes:
    """Return digits as TBCD (TS 29.274, 8.3): the first one of two in the low half of a byte."""
    return bytes.fromhex("".join(digits[i + 1] + digits[i] for i in range(0, len(digits) - 1, 2)))


def plain_forms(imsi: str) -> dict[str, bytes]:
    """Return what an IMSI is as bytes; packed digits from the first one on, and from the second."""
    even, odd, number = imsi[:14], imsi[1:15], int(imsi)
    return {
        "digits": imsi.encode(),
        "digits of the subscriber alone": imsi[5:].encode(),
        "UTF-16": imsi.encode("utf-16-le"),
        "TBCD": swapped(even),
        "TBCD from the second digit": swapped(odd),
        "packed": bytes.fromhex(even),
        "packed from the second digit": bytes.fromhex(odd),
        "little-endian": number.to_bytes(8, "little"),
        "big-endian": number.to_bytes(8, "big"),
        "double": struct.pack("<d", number),
    }


def forms(imsi: str) -> dict[str, tuple[bytes, ...]]:
    """Return all that is searched for: these bytes, their hexadecimal digits, their base64 at each of three places."""
    found: dict[str, tuple[bytes, ...]] = {}
    for name, raw in plain_forms(imsi).items():
        found[name] = (raw,)
        found[f"{name}, in hexadecimal"] = (raw.hex().encode(), raw.hex().upper().encode())
        found[f"{name}, in base64"] = tuple(_in_base64(raw))
    return found


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """Yield the characters that are of these bytes alone, whatever is before and behind; in both alphabets."""
    for before in range(3):
        characters = base64.b64encode(bytes(before) + raw)[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
        yield from (characters, characters.translate(bytes.maketrans(b"+/", b"-_")))


FORMS = tuple(forms("001019876543210"))


def contents(path: Path) -> Iterator[bytes]:
    """Yield what is in a file, as it is and unpacked."""
    raw = path.read_bytes()
    yield raw
    if raw[:2] == b"\x1f\x8b":
        yield gzip.decompress(raw)
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        yield repr(table.schema).encode()
        for column in table.columns:
            yield "\n".join(map(str, column.unique().to_pylist())).encode()
    if path.suffix == ".frames":
        for frames in msgpack.Unpacker(path.open("rb")):
            yield from _of_message(frames)


def _of_message(frames: list[bytes]) -> Iterator[bytes]:
    topic, header, body = frames
    yield topic + b" " + repr(msgpack.unpackb(header)).encode()
    yield zstandard.decompress(body)
    for values in wire.decode(frames).columns.values():
        yield "\n".join(map(str, values)).encode()


def search(folder: Path, imsis: Iterable[str]) -> list[tuple[str, str]]:
    """Return (file, form) of each IMSI that is found, never the IMSI."""
    wanted = [(form, each) for imsi in imsis for form, many in forms(imsi).items() for each in many]
    found = set()
    for path in sorted(folder.rglob("*")):
        where = str(path.relative_to(folder))
        pieces = [where.encode()] if not path.is_file() else [where.encode(), *contents(path)]
        found |= {(where, form) for piece in pieces for form, each in wanted if each in piece}
    return sorted(found)
