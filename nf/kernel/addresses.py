"""Addresses as text, and as the 16 bytes of abi.h."""

from __future__ import annotations

import functools
import ipaddress

__all__ = ["address_bytes", "address_text", "ue_bytes"]


def address_bytes(text: str) -> bytes:
    """Return the 16 bytes of abi.h: IPv4 as ::ffff:a.b.c.d; of an IPv6 prefix its first address."""
    ip = ipaddress.ip_address(text.partition("/")[0])
    return (b"\0" * 10 + b"\xff\xff" + ip.packed) if ip.version == 4 else ip.packed


@functools.lru_cache(maxsize=65_536)
def address_text(raw: bytes) -> str:
    """Return the canonical text of the 16 bytes of abi.h."""
    ip = ipaddress.IPv6Address(raw)
    return str(ip.ipv4_mapped or ip)


def ue_bytes(text: str) -> bytes:
    """Return the bytes by which the programs look a UE address up: IPv6 by its /64 (TS 23.501, 5.8.2.2.3)."""
    raw = address_bytes(text)
    return raw if ":" not in text else raw[:8] + bytes(8)
