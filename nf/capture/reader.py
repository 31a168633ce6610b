"""One capture file: its kind, and its packets one after another."""

from __future__ import annotations

import contextlib
import mmap
import stat
import struct
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from nf.capture import archive, pcapng
from nf.capture.links import NAMES
from nf.errors import BadCapture

__all__ = ["Capture", "Packet", "check_capture", "open_capture"]

Packet = tuple[int, bytes, int, int]
"""(nanoseconds since the epoch, bytes captured, bytes on the wire, link type)."""

MAX_RECORD_BYTES = 262_144  # MAXIMUM_SNAPLEN of libpcap; a larger record is damage

_PCAP_HEADER_BYTES = 24
_PCAP = {  # magic number: byte order, nanoseconds in a unit of the fraction
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_PACKED = {b"BZh": "bunzip2", b"\xfd7zXZ": "unxz"}
_TEXT = "Give a pcap or pcapng file."


class Capture:
    """An open capture; iterate it once. ``close`` (or leaving a with block) frees the file."""

    def __init__(self, path: Path, most: int) -> None:
        self.path = path
        self.bytes_read = 0
        """Bytes consumed so far, of ``size``, for a progress bar; of an archive the unpacked bytes."""
        self.notes: Counter[str] = Counter()
        """Faults of the file, with their numbers."""
        self._data = _map(path)
        if archive.is_packed(self._data[:4]):
            self._data.close()
            self._data = self._unpacked(most)
        self.size = len(self._data)
        magic = bytes(self._data[:4])
        try:
            self.format = _format(path, magic)
            if self.format == "pcapng":
                pcapng.byte_order(path, self._data)
            else:
                self._order, self._scale = _PCAP[magic]
                self._link = _pcap_link(path, self._data, self._order)
        except BadCapture:
            self.close()
            raise

    def _unpacked(self, most: int) -> mmap.mmap:
        with archive.unpacked(self.path, self.note, lambda magic: _format(self.path, magic), most) as file:
            try:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError:  # mmap refuses an empty file
                raise BadCapture(f"{self.path} unpacks to nothing.", _TEXT) from None

    def __iter__(self) -> Iterator[Packet]:
        return pcapng.packets(self, self._data) if self.format == "pcapng" else self._pcap()

    def _pcap(self) -> Iterator[Packet]:
        data, size, link, scale = self._data, self.size, self._link, self._scale
        header = struct.Struct(self._order + "IIII")
        read, length = header.unpack_from, header.size
        at = self.bytes_read = _PCAP_HEADER_BYTES
        while at + length <= size:
            seconds, fraction, captured, wire = read(data, at)
            start = at + length
            at = start + captured
            if captured > MAX_RECORD_BYTES:
                self.note("has a damaged record; the rest is not read")
                at = size
                break
            if at > size:
                break
            self.bytes_read = at
            yield seconds * 1_000_000_000 + fraction * scale, data[start:at], wire, link
        if at != size:
            self.note("ends inside a packet")
        self.bytes_read = size

    def note(self, what: str) -> None:
        """Count a fault of the file."""
        self.notes[f"{self.path.name} {what}"] += 1

    def close(self) -> None:
        """Free the file."""
        self._data.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def open_capture(path: Path | str, most: int = archive.MAX_BYTES) -> Capture:
    """Open a pcap or pcapng file of any byte order and time resolution, as it is or packed by gzip or zstd.

    Raises `BadCapture` when it cannot be read, is neither, is a pcap file of a link type that is not read, or unpacks
    to more than *most* bytes.
    """
    return Capture(Path(path), most)


class _Known(Exception):
    """Signal that an archive's content begins as a capture does."""


def check_capture(path: Path) -> None:
    """Raise `BadCapture` when a file does not begin as a capture does; of an archive only the beginning is unpacked."""
    with contextlib.closing(_map(path)) as data:
        packed = archive.is_packed(data[:4])
    if not packed:
        open_capture(path).close()
        return

    def known(magic: bytes) -> None:
        _format(path, magic)
        raise _Known

    try:
        archive.unpacked(path, lambda _: None, known).close()
    except _Known:
        return
    raise BadCapture(f"{path} unpacks to nothing.", _TEXT)


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(path.stat().st_mode):
                raise BadCapture(f"{path} is not a regular file.", "Write the capture to a file first.")
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:  # mmap refuses an empty file
        raise BadCapture(f"{path} is empty.", _TEXT) from None
    except OSError as error:
        raise BadCapture(f"{path} cannot be read: {error.strerror}.", _TEXT) from None


def _format(path: Path, magic: bytes) -> str:
    if magic == pcapng.SECTION:
        return "pcapng"
    for start, command in _PACKED.items():
        if magic.startswith(start[:4]):
            raise BadCapture(f"{path} is compressed.", f"Unpack it first: {command} {path.name}")
    if magic not in _PCAP:
        raise BadCapture(f"{path} is not a capture: it begins with 0x{magic.hex()}.", _TEXT)
    return "pcap"


def _pcap_link(path: Path, data: mmap.mmap, order: str) -> int:
    if len(data) < _PCAP_HEADER_BYTES:
        raise BadCapture(f"{path} ends inside its file header.", _TEXT)
    # The upper half of the field says whether frames end with a check sum; the IP length leaves it out.
    link = int(struct.unpack_from(order + "I", data, 20)[0]) & 0xFFFF
    if link not in NAMES:
        read = ", ".join(f"{number} ({name})" for number, name in sorted(NAMES.items()))
        raise BadCapture(f"{path} has link type {link}, which is not read.", f"Capture with one of: {read}.")
    return link
