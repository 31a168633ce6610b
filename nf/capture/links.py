"""Link types: any header before the IP packet becomes an Ethernet header.

The kernel program sees Ethernet only. The addresses of a header made here are zero; nothing reads them.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["NAMES", "SNAP", "to_ethernet"]

SNAP = 3400  # bytes of a frame that BPF_PROG_TEST_RUN takes: a page less head room and tail (net/bpf/test_run.c)

NAMES = {
    0: "BSD loopback",
    1: "Ethernet",
    9: "PPP",
    12: "raw IP",
    14: "raw IP",
    50: "PPP on a serial line",
    101: "raw IP",
    108: "OpenBSD loopback",
    113: "Linux cooked v1",
    228: "raw IPv4",
    229: "raw IPv6",
    276: "Linux cooked v2",
}
"""The link types that are read, by their number in a capture file."""

_MACS = bytes(12)
_IPV4, _IPV6 = _MACS + b"\x08\x00", _MACS + b"\x86\xdd"
_AF_INET, _AF_INET6 = 2, frozenset({10, 23, 24, 28, 30})  # AF_INET6 of Linux, Windows, NetBSD, FreeBSD, macOS
_PPP = {0x0021: b"\x08\x00", 0x0057: b"\x86\xdd", 0x0281: b"\x88\x47"}  # IPv4, IPv6, MPLS (RFC 3032, 4.3)
_SLL_BYTES, _SLL2_BYTES = 16, 20


def to_ethernet(frame: bytes, link: int, snap: int = SNAP) -> bytes | None:
    """Return *frame* of link type *link* as an Ethernet frame of at most *snap* bytes.

    VLAN tags stay where they are, also those behind a Linux cooked header. None when the link type is
    not read or the frame ends inside its link header.
    """
    if link == 1:
        return frame if len(frame) <= snap else frame[:snap]
    make = _MAKERS.get(link)
    made = make(frame) if make else None
    return made if made is None or len(made) <= snap else made[:snap]


def _raw(frame: bytes) -> bytes | None:
    if not frame:
        return None
    # Anything but version 6 is left to the program, which counts a packet that is no IPv4 as malformed.
    return (_IPV6 if frame[0] >> 4 == 6 else _IPV4) + frame


def _sll(frame: bytes) -> bytes | None:
    return _MACS + frame[14:] if len(frame) >= _SLL_BYTES else None


def _sll2(frame: bytes) -> bytes | None:
    return _MACS + frame[:2] + frame[_SLL2_BYTES:] if len(frame) >= _SLL2_BYTES else None


def _loopback(frame: bytes) -> bytes | None:
    """Read the address family, four bytes in the order of the capturing machine (0) or in network order (108)."""
    if len(frame) < 4:
        return None
    family = int.from_bytes(frame[:4], "little")
    if family > 0xFFFF:
        family = int.from_bytes(frame[:4], "big")
    if family == _AF_INET:
        return _IPV4 + frame[4:]
    return (_IPV6 if family in _AF_INET6 else _MACS + b"\0\0") + frame[4:]


def _ppp(frame: bytes) -> bytes | None:
    """Return the payload of PPP (RFC 1661, 2), with or without the address and control of HDLC (RFC 1662, 3.1)."""
    at = 2 if frame[:2] == b"\xff\x03" else 0
    protocol, length = int.from_bytes(frame[at : at + 2], "big"), 2
    if len(frame) > at and frame[at] & 1:  # compressed to one octet (RFC 1661, 6.5)
        protocol, length = frame[at], 1
    if len(frame) < at + length:
        return None
    return _MACS + _PPP.get(protocol, b"\0\0") + frame[at + length :]


_MAKERS: dict[int, Callable[[bytes], bytes | None]] = {
    0: _loopback,
    9: _ppp,
    50: _ppp,
    12: _raw,
    14: _raw,
    101: _raw,
    108: _loopback,
    113: _sll,
    228: lambda frame: _IPV4 + frame,
    229: lambda frame: _IPV6 + frame,
    276: _sll2,
}
