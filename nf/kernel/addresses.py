"""Addresses as text, and as the 16 bytes of abi.h."""

from __future__ import annotations

import functools
import ipaddress
import socket

__all__ = ["address_bytes", "address_text"]

_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2


def address_bytes(text: str) -> bytes:
    """Return the 16 bytes of abi.h: IPv4 as ::ffff:a.b.c.d; of an IPv6 prefix its first address.

    Raises ValueError.
    """
    host = text.partition("/")[0]
    try:
        if ":" in host:
            return socket.inet_pton(socket.AF_INET6, host)
        return _MAPPED + socket.inet_pton(socket.AF_INET, host)  # five times as fast as ipaddress, for a million
    except OSError:
        raise ValueError(f"{text!r} is no IP address") from None


@functools.lru_cache(maxsize=65_536)
def address_text(raw: bytes) -> str:
    """Return the canonical text of the 16 bytes of abi.h."""
    ip = ipaddress.IPv6Address(raw)
    return str(ip.ipv4_mapped or ip)
