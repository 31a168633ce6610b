"""User messages out of SCTP frames (RFC 9260): the part that a mirrored N2 interface needs, without association state.

Messages in several chunks, and fragmented IP, are counted and left out: NGAP messages that name tunnels fit.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from dataclasses import dataclass

from gtp.link import IPV4, IPV6

__all__ = ["SCTP", "SctpMessage", "sctp_in_ip"]

SCTP = 132  # IP protocol number
_DATA, _WHOLE = 0, 3  # chunk type; flags B and E: first and last fragment at once (3.3.1)
_HEADER_BYTES, _DATA_BYTES, _MAX_CHUNKS = 12, 16, 64


@dataclass(frozen=True, slots=True)
class SctpMessage:
    """One user message."""

    src: str
    dst: str
    protocol: int  # payload protocol identifier
    payload: bytes


def sctp_in_ip(kind: int, p: bytes, counters: Counter[str]) -> list[SctpMessage]:
    """Return the whole user messages of an IP packet of the ethertype *kind*."""
    if kind == IPV4 and len(p) >= 20 and p[9] == SCTP:
        if int.from_bytes(p[6:8], "big") & 0x3FFF:
            counters["sctp_fragments"] += 1
            return []
        body = p[(p[0] & 15) * 4 : int.from_bytes(p[2:4], "big") or len(p)]  # segmentation offload writes zero
        ends = str(ipaddress.IPv4Address(p[12:16])), str(ipaddress.IPv4Address(p[16:20]))
    elif kind == IPV6 and len(p) >= 40 and p[6] == SCTP:
        body = p[40 : 40 + (int.from_bytes(p[4:6], "big") or len(p))]
        ends = str(ipaddress.IPv6Address(p[8:24])), str(ipaddress.IPv6Address(p[24:40]))
    else:
        return []
    return _chunks(body, ends, counters)


def _chunks(body: bytes, ends: tuple[str, str], counters: Counter[str]) -> list[SctpMessage]:
    out: list[SctpMessage] = []
    at = _HEADER_BYTES
    for _ in range(_MAX_CHUNKS):
        if at + 4 > len(body):
            break
        kind, flags, length = body[at], body[at + 1], int.from_bytes(body[at + 2 : at + 4], "big")
        if length < 4 or at + length > len(body):
            counters["sctp_truncated"] += 1
            break
        if kind == _DATA and flags & _WHOLE != _WHOLE:
            counters["sctp_message_in_parts"] += 1
        elif kind == _DATA and length > _DATA_BYTES:
            protocol = int.from_bytes(body[at + 12 : at + 16], "big")
            out.append(SctpMessage(*ends, protocol, body[at + _DATA_BYTES : at + length]))
        at += (length + 3) & ~3
    return out
