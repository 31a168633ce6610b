"""Sessions over a restart: one file, replaced as a whole, that only the holder of the pseudonym key can read.

The file holds IMSIs, because the names of subscribers are made from them anew when the key is changed. It is
encrypted by AES-256-GCM (NIST SP 800-38D) under a key that HKDF-SHA-256 (RFC 5869) derives from the key of the
pseudonyms and a salt of the file's own; without such a key nothing is written. A chunk that cannot be
authenticated is not read.

    head      "SNFS", version of the format, of marshal, and of Python; 32 bytes of salt
    chunk     length of what follows (4 bytes), AES-GCM of zstd of marshal; the nonce is the number of the chunk,
              the associated data the head and whether it is the last chunk
"""

from __future__ import annotations

import marshal
import os
import secrets
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nf.errors import SnfError

__all__ = ["BadSnapshot", "load", "save"]

_VERSION = 3
_SALT_BYTES = 32
_HEAD = b"SNFS" + bytes([_VERSION, marshal.version, *sys.version_info[:2]])
_LENGTH = struct.Struct("!I")
_MOST_BYTES = 1 << 30  # of a chunk


class BadSnapshot(SnfError):
    """The file is not one of this function under this key."""


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt, b"supernetflow session snapshot").derive(key))


def save(path: Path, key: bytes, chunks: Iterable[Any]) -> int:
    """Write plain values, each a chunk; return the size in bytes. Raises OSError; then the old file is still there."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    salt = secrets.token_bytes(_SALT_BYTES)
    cipher, head, compress = _cipher(key, salt), _HEAD + salt, zstandard.ZstdCompressor(level=1)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(head)
            number, waiting = 0, iter(chunks)
            chunk, more = next(waiting), True
            while more:
                following = next(waiting, _END)
                more = following is not _END
                plain = compress.compress(marshal.dumps(chunk))
                sealed = cipher.encrypt(number.to_bytes(12, "big"), plain, head + bytes([not more]))
                file.write(_LENGTH.pack(len(sealed)) + sealed)
                chunk, number = following, number + 1
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        fresh.replace(path)
    except Exception:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
    return size


_END = object()


def load(path: Path, key: bytes) -> Iterator[Any]:
    """Yield the chunks of a file. Raises `BadSnapshot`, also after some chunks: then none of them may be used."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEAD) + _SALT_BYTES)
            if head[: len(_HEAD)] != _HEAD or len(head) != len(_HEAD) + _SALT_BYTES:
                raise BadSnapshot(f"{path} is of another version of this function.")
            cipher, number, last = _cipher(key, head[len(_HEAD) :]), 0, False
            while not last:
                (length,) = _LENGTH.unpack(file.read(4))
                sealed = file.read(length) if length <= _MOST_BYTES else b""
                plain, last = _opened(cipher, number, sealed, head)
                if len(sealed) != length or (last and file.read(1)):
                    raise InvalidTag
                yield marshal.loads(zstandard.ZstdDecompressor().decompress(plain))
                number += 1
    except (InvalidTag, struct.error):
        raise BadSnapshot(f"{path} is damaged, or of another key.") from None
    except OSError as error:
        raise BadSnapshot(f"{path} cannot be read: {error.strerror}.") from None


def _opened(cipher: AESGCM, number: int, sealed: bytes, head: bytes) -> tuple[bytes, bool]:
    """Return a chunk, and whether it is the last one."""
    nonce = number.to_bytes(12, "big")
    with suppress(InvalidTag):
        return cipher.decrypt(nonce, sealed, head + b"\0"), False
    return cipher.decrypt(nonce, sealed, head + b"\1"), True
