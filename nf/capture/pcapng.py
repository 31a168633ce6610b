"""Blocks of a pcapng file: sections, interfaces, packets; every other block is passed over.

An interface says its link type, the resolution of its clock (if_tsresol) and the offset of its times
(if_tsoffset); a new section forgets the interfaces of the one before and may have another byte order.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nf.errors import BadCapture

if TYPE_CHECKING:
    from nf.capture.reader import Capture, Packet

__all__ = ["SECTION", "byte_order", "packets"]

SECTION = b"\x0a\x0d\x0d\x0a"  # reads the same in both byte orders

_SECTION, _INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 0x0A0D0D0A, 1, 2, 3, 6
_MAGIC = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_BLOCK_BYTES, _SECTION_BYTES = 12, 28  # the least a block, and a section header, can have
_MAX_BLOCK_BYTES = 16 << 20  # as wireshark: a larger block is damage
_OPT_END, _IF_TSRESOL, _IF_TSOFFSET = 0, 9, 14
_S = 1_000_000_000  # nanoseconds
_LOST = "has packets of an unknown interface or length"


@dataclass(frozen=True, slots=True)
class _Interface:
    link: int
    snap: int  # 0: packets are whole
    multiply: int  # nanoseconds = ticks * multiply // divide + offset_ns
    divide: int
    offset_ns: int


def byte_order(path: Path, data: mmap.mmap) -> str:
    """Return the byte order of the first section; raise BadCapture when there is no section."""
    order = _MAGIC.get(data[8:12])
    if order is None or len(data) < _SECTION_BYTES:
        raise BadCapture(f"{path} begins like pcapng but has no section header.", "Give a pcap or pcapng file.")
    return order


def packets(capture: Capture, data: mmap.mmap) -> Iterator[Packet]:
    """Yield the packets of all sections; keep ``capture.bytes_read`` and note faults."""
    size, at, last_ns, interfaces = capture.size, 0, 0, list[_Interface]()
    order, trouble = "<", "ends inside a packet"
    two, five = struct.Struct("<II"), struct.Struct("<IIIII")
    while at + 8 <= size:
        kind, length = two.unpack_from(data, at)
        if kind == _SECTION:
            interfaces, order = [], _MAGIC.get(data[at + 8 : at + 12], order)
            two, five = struct.Struct(order + "II"), struct.Struct(order + "IIIII")
            length = two.unpack_from(data, at)[1]
        stop = at + length
        if length < _BLOCK_BYTES or length & 3 or length > _MAX_BLOCK_BYTES:
            trouble = "has a damaged record; the rest is not read"
            break
        if stop > size:
            break
        capture.bytes_read = stop
        if kind == _ENHANCED and length >= 32:
            number, high, low, captured, wire = five.unpack_from(data, at + 8)
            if number < len(interfaces) and at + 28 + captured <= stop - 4:
                i = interfaces[number]
                last_ns = (high << 32 | low) * i.multiply // i.divide + i.offset_ns
                yield last_ns, data[at + 28 : at + 28 + captured], wire, i.link
            else:
                capture.note(_LOST)
        elif kind == _INTERFACE:
            interfaces.append(_interface(data, at, stop, order))
        elif kind in (_PACKET, _SIMPLE):
            body = data[at + 8 : stop - 4]
            packet = (_packet if kind == _PACKET else _simple)(body, order, interfaces, last_ns)
            if packet is None:
                capture.note(_LOST)
            else:
                last_ns = packet[0]
                yield packet
        at = stop
    if at != size:
        capture.note(trouble)
    capture.bytes_read = size


def _interface(data: mmap.mmap, at: int, stop: int, order: str) -> _Interface:
    """Read an Interface Description Block (draft-ietf-opsawg-pcapng, 4.2)."""
    if stop - at < 20:
        return _Interface(-1, 0, 1, 1, 0)  # a link type that nobody reads
    link, _, snap = struct.unpack_from(order + "HHI", data, at + 8)
    multiply, divide, offset_s = 1000, 1, 0
    option, end = at + 16, stop - 4
    while option + 4 <= end:
        code, length = struct.unpack_from(order + "HH", data, option)
        value, option = option + 4, option + 4 + (length + 3 & ~3)
        if code == _OPT_END or option > end:
            break
        if code == _IF_TSRESOL and length == 1:
            exponent = data[value] & 0x7F
            if data[value] & 0x80:
                multiply, divide = _S, 1 << exponent
            else:
                multiply, divide = (10 ** (9 - exponent), 1) if exponent <= 9 else (1, 10 ** (exponent - 9))
        elif code == _IF_TSOFFSET and length == 8:
            offset_s = struct.unpack_from(order + "q", data, value)[0]
    return _Interface(link, snap, multiply, divide, offset_s * _S)


def _simple(body: bytes, order: str, interfaces: list[_Interface], last_ns: int) -> Packet | None:
    """Read a Simple Packet Block of the first interface; it has no time and gets that of its predecessor."""
    if not interfaces or len(body) < 4:
        return None
    i = interfaces[0]
    (wire,) = struct.unpack_from(order + "I", body)
    return last_ns, body[4 : 4 + min(wire, i.snap or wire)], wire, i.link


def _packet(body: bytes, order: str, interfaces: list[_Interface], last_ns: int) -> Packet | None:
    """Read a Packet Block, which is obsolete (draft-ietf-opsawg-pcapng, appendix A)."""
    if len(body) < 20:
        return None
    number, _, high, low, captured, wire = struct.unpack_from(order + "HHIIII", body)
    if number >= len(interfaces) or 20 + captured > len(body):
        return None
    i = interfaces[number]
    t_ns = (high << 32 | low) * i.multiply // i.divide + i.offset_ns
    return t_ns, body[20 : 20 + captured], wire, i.link
