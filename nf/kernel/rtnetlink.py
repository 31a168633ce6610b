"""rtnetlink(7): requests, and the links of this network namespace as the kernel has them, with word of their changes.

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

__all__ = ["LinkState", "LinkTable", "attribute", "attributes", "dump", "is_meant", "request"]

_HEADER, _LINK, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BxHiII"), struct.Struct("=HH")
_ROUTE, _GROUP_LINK = 0, 1  # NETLINK_ROUTE, RTMGRP_LINK
_NEWLINK, _GETLINK, _NEWSTATS, _GETSTATS, _ERROR, _DONE = 16, 18, 92, 94, 2, 3
_REQUEST, _ACK, _DUMP, _INTERRUPTED = 1, 4, 0x300, 0x10  # NLM_F_*
_CAPPED, _HAS_WORDS, _WORDS = 0x100, 0x200, 1  # NLM_F_CAPPED, NLM_F_ACK_TLVS, NLMSGERR_ATTR_MSG
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11
_ADDRESS, _NAME, _OPERSTATE, _EXT_MASK, _XDP = 1, 3, 16, 29, 43  # IFLA_*
_XDP_PROGRAMS = (4, 5, 6, 7)  # IFLA_XDP_PROG_ID, _DRV_PROG_ID, _SKB_PROG_ID, _HW_PROG_ID
_SKIP_STATS = 1 << 3  # RTEXT_FILTER_SKIP_STATS
_STATS, _LINK_64 = struct.Struct("=BxHII"), 1  # struct if_stats_msg, IFLA_STATS_LINK_64
_RX_DROPPED, _RX_MISSED = 6, 15  # places in struct rtnl_link_stats64
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


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (kind, value) of each attribute."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind & _NESTED, data[at + _ATTRIBUTE.size : at + size]
        at += max(_ATTRIBUTE.size, (size + 3) & ~3)


def attribute(kind: int, value: bytes) -> bytes:
    """Return an attribute with its padding."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _ROUTE)
    made.settimeout(_PATIENCE_S)
    return made


def request(kind: int, flags: int, body: bytes) -> str:
    """Ask the kernel for a change in this thread's network namespace; return "" or why it refused."""
    with _socket() as netlink:
        for option in (_CAP_ACK, _EXT_ACK):
            netlink.setsockopt(_SOL_NETLINK, option, 1)
        netlink.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK | flags, 1, 0) + body)
        return _refusal(netlink.recv(_BYTES))


def _refusal(answer: bytes) -> str:
    """Return the words of a refusal, the kernel's own where it has some; "" for an acknowledgement."""
    length, kind, flags, _, _ = _HEADER.unpack_from(answer)
    if kind != _ERROR:
        return "the kernel answered with another message"
    code = struct.unpack_from("=i", answer, _HEADER.size)[0]
    if not code:
        return ""
    at = _HEADER.size + 4 + _HEADER.size
    if not flags & _CAPPED:
        at = _HEADER.size + 4 + struct.unpack_from("=I", answer, _HEADER.size + 4)[0]
    if flags & _HAS_WORDS:
        words = dict(attributes(answer[at:length])).get(_WORDS, b"")
        if words:
            return words.split(b"\0")[0].decode(errors="replace")
    return os.strerror(-code)


def dump(kind: int, body: bytes) -> Iterator[bytes]:
    """Yield the bodies of what the kernel has of this kind in this thread's network namespace; raises OSError."""
    with _socket() as netlink:
        netlink.send(_HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _DUMP, 1, 0) + body)
        while True:
            data, at = netlink.recv(_BYTES), 0
            while at + _HEADER.size <= len(data):
                length, told, *_ = _HEADER.unpack_from(data, at)
                if told == _DONE:
                    return
                if told == _ERROR:
                    code = -struct.unpack_from("=i", data, at + _HEADER.size)[0]
                    raise OSError(code, os.strerror(code))
                yield data[at + _HEADER.size : at + length]
                at += max(_HEADER.size, (length + 3) & ~3)


def _link(body: bytes) -> LinkState:
    _, _, ifindex, flags, _ = _LINK.unpack_from(body)
    found = dict(attributes(body[_LINK.size :]))
    xdp = dict(attributes(found.get(_XDP, b"")))
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

    def dropped(self, ifindex: int) -> int:
        """Return how many received frames a device dropped, as /proc/net/dev counts them: for want of room, or unread.

        Raises OSError, also when there is no such device.
        """
        body = _STATS.pack(socket.AF_UNSPEC, 0, ifindex, 1 << (_LINK_64 - 1))
        with self._lock:
            self._sequence += 1
            self._ask.send(_HEADER.pack(_HEADER.size + len(body), _GETSTATS, _REQUEST, self._sequence, 0) + body)
            while True:
                data = self._ask.recv(_BYTES)
                length, kind, _, sequence, _ = _HEADER.unpack_from(data)
                if sequence == self._sequence:  # else it is of a question that was given up
                    break
        if kind != _NEWSTATS:
            code = -struct.unpack_from("=i", data, _HEADER.size)[0]
            raise OSError(code, os.strerror(code))
        counts = dict(attributes(data[_HEADER.size + _STATS.size : length]))[_LINK_64]
        return sum(struct.unpack_from("=Q", counts, 8 * place)[0] for place in (_RX_DROPPED, _RX_MISSED))

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
