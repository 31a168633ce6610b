"""The links of this network namespace as the kernel has them, and word of their changes (rtnetlink(7)).

Layouts follow include/uapi/linux/{netlink,rtnetlink,if_link}.h. Whoever makes a `LinkTable` decides the namespace: it
may be asked from threads that are in another one.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nf.settings import Interface

__all__ = ["LinkState", "LinkTable", "is_meant"]

_HEADER, _LINK, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BxHiII"), struct.Struct("=HH")
_ROUTE, _GROUP_LINK = 0, 1  # NETLINK_ROUTE, RTMGRP_LINK
_NEWLINK, _GETLINK, _ERROR, _DONE = 16, 18, 2, 3
_REQUEST, _DUMP, _INTERRUPTED = 1, 0x300, 0x10  # NLM_F_*
_ADDRESS, _NAME, _OPERSTATE, _EXT_MASK, _XDP = 1, 3, 16, 29, 43  # IFLA_*
_XDP_PROGRAMS = (4, 5, 6, 7)  # IFLA_XDP_PROG_ID, _DRV_PROG_ID, _SKB_PROG_ID, _HW_PROG_ID
_SKIP_STATS = 1 << 3  # RTEXT_FILTER_SKIP_STATS
_UP, _LOWER_UP, _DORMANT = 1, 1 << 16, 1 << 17  # IFF_*
_TESTING = 4  # IF_OPER_TESTING
_NESTED = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_BYTES = 1 << 16
_PATIENCE_S = 5.0
_TRIES = 5  # a table that changes while it is read is read again


@dataclass(frozen=True, slots=True)
class LinkState:
    """A device now."""

    name: str
    ifindex: int
    mac: str
    flags: int  # IFF_*
    operstate: int  # IF_OPER_*
    programs: frozenset[int]  # numbers of the XDP programs on it

    @property
    def oper_status(self) -> str:
        """The value of oper-status of RFC 8343.

        By the flags and not by IF_OPER_*, which the kernel changes up to a second later, and which say "down" of a
        card without a carrier.
        """
        if not self.flags & _UP:
            return "down"
        if not self.flags & _LOWER_UP:
            return "lower-layer-down"
        if self.operstate == _TESTING:
            return "testing"
        return "dormant" if self.flags & _DORMANT else "up"


def is_meant(interface: Interface, link: LinkState) -> bool:
    """Say whether a device is the one that a configured interface means, by name or MAC address."""
    return link.mac == interface.mac.lower() if interface.mac else link.name == interface.name


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind & _NESTED, data[at + _ATTRIBUTE.size : at + size]
        at += max(_ATTRIBUTE.size, (size + 3) & ~3)


def _link(body: bytes) -> LinkState:
    _, _, ifindex, flags, _ = _LINK.unpack_from(body)
    found = dict(_attributes(body[_LINK.size :]))
    xdp = dict(_attributes(found.get(_XDP, b"")))
    programs = (int.from_bytes(xdp.get(kind, b""), "little") for kind in _XDP_PROGRAMS)
    return LinkState(
        found.get(_NAME, b"").split(b"\0")[0].decode(errors="replace"),
        ifindex,
        found.get(_ADDRESS, b"").hex(":"),
        flags,
        found.get(_OPERSTATE, b"\0")[0],
        frozenset(programs) - {0},
    )


class LinkTable:
    """The links of the namespace in which this was made: reading them, and waiting for one of them to change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ask = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE)
        self._ask.settimeout(_PATIENCE_S)
        self._news = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE)
        self._news.setblocking(False)
        self._news.bind((0, _GROUP_LINK))
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._sequence = 0

    def read(self) -> Mapping[int, LinkState]:
        """Return all links by their index; raises OSError."""
        with self._lock:
            for _ in range(_TRIES):
                links, whole = self._dump()
                if whole:
                    break
            return links

    def _dump(self) -> tuple[dict[int, LinkState], bool]:
        self._sequence += 1
        body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + _ATTRIBUTE.pack(8, _EXT_MASK) + struct.pack("=I", _SKIP_STATS)
        head = _HEADER.pack(_HEADER.size + len(body), _GETLINK, _REQUEST | _DUMP, self._sequence, 0)
        self._ask.send(head + body)
        links: dict[int, LinkState] = {}
        whole = True
        while True:
            data, at = self._ask.recv(_BYTES), 0
            while at + _HEADER.size <= len(data):
                length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
                if sequence == self._sequence:
                    whole = whole and not flags & _INTERRUPTED
                    if kind == _DONE:
                        return links, whole
                    if kind == _ERROR:
                        code = -struct.unpack_from("=i", data, at + _HEADER.size)[0]
                        raise OSError(code, os.strerror(code))
                    if kind == _NEWLINK:
                        link = _link(data[at + _HEADER.size : at + length])
                        links[link.ifindex] = link
                at += max(_HEADER.size, (length + 3) & ~3)

    def wait(self, seconds: float) -> bool:
        """Wait until a link changed or `wake` was called, for at most so long; return whether it was so."""
        ready = select.select([self._news.fileno(), self._wake], [], [], seconds)[0]
        if self._wake in ready:
            os.eventfd_read(self._wake)
        while True:
            try:
                self._news.recv(_BYTES)
            except BlockingIOError:
                return bool(ready)
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # more changes than fit: they are seen in the table
                    raise

    def wake(self) -> None:
        """End a `wait`."""
        os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Free the sockets; nobody may be waiting."""
        self._ask.close()
        self._news.close()
        os.close(self._wake)
