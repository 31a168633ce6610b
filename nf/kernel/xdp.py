"""Putting a program on an interface, by rtnetlink: IFLA_XDP of RTM_SETLINK (include/uapi/linux/if_link.h)."""

from __future__ import annotations

import socket
import struct

from nf.kernel.rtnetlink import attribute, request

__all__ = ["DRIVER", "GENERIC", "NO_REPLACE", "set_program"]

NO_REPLACE, GENERIC, DRIVER = 1, 2, 4  # XDP_FLAGS_UPDATE_IF_NOEXIST, _SKB_MODE, _DRV_MODE

_LINK = struct.Struct("=BxHiII")
_SETLINK, _NESTED = 19, 0x8000  # RTM_SETLINK, NLA_F_NESTED
_IFLA_XDP, _XDP_FD, _XDP_FLAGS = 43, 1, 3


def set_program(ifindex: int, fd: int, flags: int) -> str:
    """Put the program *fd* on an interface, or with -1 take its program off; return "" or why the kernel refused."""
    xdp = attribute(_XDP_FD, struct.pack("=i", fd)) + attribute(_XDP_FLAGS, struct.pack("=I", flags))
    body = _LINK.pack(socket.AF_UNSPEC, 0, ifindex, 0, 0) + attribute(_IFLA_XDP | _NESTED, xdp)
    return request(_SETLINK, 0, body)
