"""The authority of the first request of HTTP/2 with prior knowledge (RFC 9113, 3.3), without TLS.

gRPC within clouds, and old proxies, speak it. The header block is read by `hpack` with an empty table, as a
connection begins (RFC 7541, 2.3.2).
"""

from __future__ import annotations

from hpack import Decoder, HPACKError

from nf.apps.parsers.cursor import clean_name
from nf.apps.parsers.errors import Malformed, NeedMore, NotThis

__all__ = ["PREFACE", "authority"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, 3.4
_HEADERS, _PUSH, _CONTINUATION = 1, 5, 9  # frame types (RFC 9113, 6)
_END_HEADERS, _PADDED, _PRIORITY = 0x04, 0x08, 0x20
_MAX_FRAME = 16_384  # bytes; the limit until the other side allows more (RFC 9113, 4.2)
_MAX_FRAMES = 32  # read; the first request comes behind SETTINGS and WINDOW_UPDATE
_MAX_LIST = 16_384  # bytes of decoded header fields


def authority(stream: bytes) -> str:
    """Return ``:authority``, or else ``host``, of the first request; "" when it has neither.

    Raises NotThis, Malformed, or NeedMore when the request is not complete.
    """
    if not stream.startswith(PREFACE):
        if len(stream) >= 8 and PREFACE.startswith(stream):
            raise NeedMore
        raise NotThis
    at, block = len(PREFACE), b""
    for _ in range(_MAX_FRAMES):
        head = stream[at : at + 9]
        if len(head) < 9:
            raise NeedMore
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        if length > _MAX_FRAME or kind == _PUSH or bool(block) != (kind == _CONTINUATION):
            raise Malformed
        payload = stream[at + 9 : at + 9 + length]
        at += 9 + length
        if kind not in (_HEADERS, _CONTINUATION):
            continue
        if len(payload) < length:
            raise NeedMore
        block += _fragment(payload, flags) if kind == _HEADERS else payload
        if not block:
            raise Malformed
        if flags & _END_HEADERS:
            return _authority(block)
    raise Malformed


def _fragment(payload: bytes, flags: int) -> bytes:
    """Return the field block fragment of a HEADERS frame (RFC 9113, 6.2)."""
    begin, end = 0, len(payload)
    if flags & _PADDED:
        if not payload:
            raise Malformed
        begin, end = 1, end - payload[0]
    if flags & _PRIORITY:
        begin += 5
    if begin > end:
        raise Malformed
    return payload[begin:end]


def _authority(block: bytes) -> str:
    try:
        fields = Decoder(max_header_list_size=_MAX_LIST).decode(block, raw=True)
    except HPACKError:
        raise Malformed from None
    found = {
        bytes(name): bytes(value) for name, value in reversed(list(fields))
    }  # of a name that stands twice, the first
    value = found.get(b":authority") or found.get(b"host", b"")
    return clean_name(value) if value else ""
