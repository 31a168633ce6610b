"""Lines of a fixed network as the tunnels that the programs take them for (bpf/line.h); pure.

    gateway (BNG), S-VLAN, C-VLAN, PPPoE session ── `ends` ── (receiving address, TEID) of uplink and downlink

A gateway is known by a number that is made of its name, so that a change of its Ethernet addresses changes no line.
"""

from __future__ import annotations

import hashlib
from ipaddress import IPv6Address

from nf.abi import LINE_BY_SESSION, LINE_DOWNLINK, LINE_GATEWAY_BITS, LINE_PREFIX, LINE_SESSION_BITS, LINE_VLAN

__all__ = ["End", "ends", "gateway_number", "gateway_value", "is_line", "tunnel_name"]

End = tuple[str, int]  # receiving address, TEID

_BEGINNING = f"{LINE_PREFIX:x}::"
_NUMBER_BYTES = LINE_GATEWAY_BITS // 8


def gateway_number(name: str) -> int:
    """Return the number of a gateway, of 48 bits: two of 256 gateways have one in 10^10 networks."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:_NUMBER_BYTES])


def gateway_value(name: str, *, by_session: bool) -> int:
    """Return what the programs are told of a gateway; *by_session*: several PPPoE sessions share a VLAN."""
    return gateway_number(name) | (LINE_BY_SESSION << LINE_GATEWAY_BITS if by_session else 0)


def ends(gateway: str, s_vlan: int, c_vlan: int, session: int) -> tuple[End, End]:
    """Return the ends of a line, of the uplink and of the downlink."""
    teid = c_vlan << LINE_SESSION_BITS | session
    number = gateway_number(gateway)
    up, down = (_address(s_vlan | way, number) for way in (0, LINE_DOWNLINK))
    return (up, teid), (down, teid)


def _address(word: int, number: int) -> str:
    return str(IPv6Address(LINE_PREFIX << 112 | word << LINE_GATEWAY_BITS | number))


def is_line(address: str) -> bool:
    """Say whether the receiver of a tunnel is the end of a line."""
    return address.startswith(_BEGINNING)


def tunnel_name(address: str, teid: int) -> str:
    """Return the name of who is known by a tunnel alone, or of a line: gateway's number, S-VLAN, C-VLAN, session."""
    if not is_line(address):
        return f"teid:{address}:0x{teid:08x}"
    whole = int(IPv6Address(address))
    number, s_vlan = whole & (1 << LINE_GATEWAY_BITS) - 1, whole >> LINE_GATEWAY_BITS & LINE_VLAN
    return f"line:{number:012x}/{s_vlan}.{teid >> LINE_SESSION_BITS}.{teid & (1 << LINE_SESSION_BITS) - 1}"
