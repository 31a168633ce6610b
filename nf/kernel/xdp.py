"""Putting a program on an interface, by rtnetlink: IFLA_XDP of RTM_SETLINK (include/uapi/linux/if_link.h)."""

from __future__ import annotations

import os
import socket
import struct

__all__ = ["DRIVER", "GENERIC", "NO_REPLACE", "set_program"]

NO_REPLACE, GENERIC, DRIVER = 1, 2, 4  # XDP_FLAGS_UPDATE_IF_NOEXIST, _SKB_MODE, _DRV_MODE

_HEADER, _LINK, _ATTRIBUTE = struct.Struct("=IHHII"), struct.Struct("=BxHiII"), struct.Struct("=HH")
_SETLINK, _REQUEST, _ACK, _NESTED = 19, 1, 4, 0x8000  # RTM_SETLINK, NLM_F_REQUEST, NLM_F_ACK, NLA_F_NESTED
_IFLA_XDP, _XDP_FD, _XDP_FLAGS = 43, 1, 3
_ERROR, _CAPPED, _HAS_WORDS, _WORDS = 2, 0x100, 0x200, 1  # NLMSG_ERROR, NLM_F_CAPPED, NLM_F_ACK_TLVS, NLMSGERR_ATTR_MSG
_SOL_NETLINK, _CAP_ACK, _EXT_ACK = 270, 10, 11


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + b"\0" * (-len(value) % 4)


def set_program(ifindex: int, fd: int, flags: int) -> str:
    """Put the program *fd* on an interface, or with -1 take its program off; return "" or why the kernel refused."""
    xdp = _attribute(_XDP_FD, struct.pack("=i", fd)) + _attribute(_XDP_FLAGS, struct.pack("=I", flags))
    body = _LINK.pack(socket.AF_UNSPEC, 0, ifindex, 0, 0) + _attribute(_IFLA_XDP | _NESTED, xdp)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        for option in (_CAP_ACK, _EXT_ACK):
            netlink.setsockopt(_SOL_NETLINK, option, 1)
        netlink.send(_HEADER.pack(_HEADER.size + len(body), _SETLINK, _REQUEST | _ACK, 1, 0) + body)
        return _refusal(netlink.recv(65_536))


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
    while flags & _HAS_WORDS and at + _ATTRIBUTE.size <= length:
        size, attribute = _ATTRIBUTE.unpack_from(answer, at)
        if attribute == _WORDS:
            return answer[at + _ATTRIBUTE.size : at + size].split(b"\0")[0].decode(errors="replace")
        at += max(_ATTRIBUTE.size, (size + 3) & ~3)
    return os.strerror(-code)
