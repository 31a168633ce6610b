"""What payloads without a name give away: protocols of real-time traffic that are clear by their first bytes."""

from __future__ import annotations

__all__ = ["recognise"]

_STUN_COOKIE = b"\x21\x12\xa4\x42"  # RFC 8489, 5
_SIP = (b"INVITE ", b"REGISTER ", b"OPTIONS ", b"SIP/2.0 ", b"ACK ", b"BYE ", b"SUBSCRIBE ", b"NOTIFY ", b"PUBLISH ")


def is_stun(data: bytes) -> bool:
    """Two zero bits, the cookie, and a length that fits (RFC 8489, 5)."""
    return (
        len(data) >= 20
        and data[0] < 4
        and data[4:8] == _STUN_COOKIE
        and int.from_bytes(data[2:4], "big") + 20 <= len(data) + 3
    )


def is_sip(data: bytes) -> bool:
    """A request or status line of RFC 3261, 7.1 and 7.2."""
    return data.startswith(_SIP) and b"SIP/2.0" in data[:512]


def recognise(data: bytes) -> str:
    """Return the application that a payload shows by itself: "SIP", "WebRTC", or ""."""
    if is_sip(data):
        return "SIP"
    return "WebRTC" if is_stun(data) else ""
