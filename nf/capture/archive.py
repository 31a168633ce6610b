"""Packed captures: gzip and zstd files, recognised by their first bytes and unpacked to a file without a name, which
is gone with the capture.

The unpacked size has a limit, because a few kilobytes can unpack to terabytes; an archive that does not begin as a
capture is left after its first bytes. One that ends early or is damaged gives its whole part, and a note.
"""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import zstandard

from nf.errors import BadCapture

__all__ = ["MAX_BYTES", "is_packed", "unpacked"]

MAX_BYTES = 16 << 30  # of what an archive holds; a sensor's hour at 30 Mbit/s

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"  # RFC 8878, 3.1.2: bytes 1 to 3 of a frame that parallel packers begin with
_COMMAND = {True: "gunzip", False: "unzstd"}
_PIECE = 1 << 20
_ZSTD_PIECE = 1 << 10  # four bytes can say 128 kB (RFC 8878, 3.1.1.2), so a piece is 32 MB at most
_ENDS, _DAMAGED = "ends inside its compressed data", "has damaged compressed data; the rest is not read"


def is_packed(magic: bytes) -> bool:
    """Say whether `unpacked` reads a file with these four first bytes."""
    return magic.startswith((_GZIP, _ZSTD)) or (magic[1:4] == _SKIPPABLE and magic[0] & 0xF0 == 0x50)


def unpacked(
    path: Path, note: Callable[[str], None], known: Callable[[bytes], object], most: int = MAX_BYTES
) -> IO[bytes]:
    """Return an open file, which the caller closes, with the content of the archive at *path*.

    *note* gets the faults of the archive. *known* gets the first four bytes, to refuse a file that is no capture
    before more of it is unpacked. Raises `BadCapture` when it holds more than *most* bytes or there is no room for it.
    """
    out = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the capture)
    begun, size = b"", 0
    try:
        with path.open("rb") as packed:
            is_gzip = packed.read(2) == _GZIP
            packed.seek(0)
            for piece in _gzip(packed, note) if is_gzip else _zstd(packed, note):
                if len(begun) < 4:
                    begun += piece[:4]
                    if len(begun) >= 4:
                        known(begun[:4])
                size += len(piece)
                if size > most:
                    command = f"{_COMMAND[is_gzip]} {path.name}"
                    raise BadCapture(
                        f"{path} unpacks to more than {most / (1 << 30):g} GiB.", f"Unpack it first: {command}"
                    )
                out.write(piece)
        out.flush()
    except OSError as error:
        out.close()
        raise BadCapture(
            f"{path} cannot be unpacked into {tempfile.gettempdir()}: {error.strerror}.",
            "Set TMPDIR to a folder with more room.",
        ) from None
    except BaseException:
        out.close()
        raise
    return out


def _gzip(packed: IO[bytes], note: Callable[[str], None]) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=packed) as file:
        try:
            while piece := file.read1(_PIECE):
                yield piece
        except EOFError:
            note(_ENDS)
        except (gzip.BadGzipFile, zlib.error):
            note(_DAMAGED)


def _zstd(packed: IO[bytes], note: Callable[[str], None]) -> Iterator[bytes]:
    """Yield the content of all frames of a file (RFC 8878, 3: they follow one another)."""
    frame = None
    try:
        while piece := packed.read(_ZSTD_PIECE):
            while piece:
                frame = frame or zstandard.ZstdDecompressor().decompressobj()
                yield frame.decompress(piece)
                piece = frame.unused_data
                if frame.eof:
                    frame = None
    except zstandard.ZstdError:
        note(_DAMAGED)
    else:
        if frame is not None:
            note(_ENDS)
