"""The host of an HTTP/1 request (RFC 9112, 3.2), of CONNECT, and of SSDP, which is HTTP over UDP."""

from __future__ import annotations

import re

from nf.apps.parsers.cursor import clean_name
from nf.apps.parsers.errors import Malformed, NeedMore, NotThis

__all__ = ["host", "host_in_rest", "is_tunnel"]

# IANA HTTP Method Registry: those of RFC 9110 and WebDAV that open a connection; UPnP's of SSDP.
_METHODS = (
    *(b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"CONNECT ", b"TRACE "),
    *(b"PROPFIND ", b"REPORT ", b"MKCOL ", b"SEARCH ", b"M-SEARCH ", b"NOTIFY ", b"SUBSCRIBE "),
)
_MAX_HEAD = 16_384
_LINE = re.compile(rb"[A-Z-]+ (\S{1,8192}) HTTP/1\.[01]")
_HOST = re.compile(rb"\r?\n[Hh][Oo][Ss][Tt][ \t]*:[ \t]*([^\r\n]*?)[ \t]*\r?\n")


def host(stream: bytes) -> str:
    """Return the host that a request names, without its port; "" when it names none.

    Raises NotThis, Malformed, or NeedMore when the head has not ended.
    """
    if not stream.startswith(_METHODS):
        if stream and len(stream) < 10 and any(m.startswith(stream) for m in _METHODS):
            raise NeedMore
        raise NotThis
    stream = stream[:_MAX_HEAD]
    line_ends = stream.find(b"\n")
    if line_ends < 0:
        if len(stream) >= _MAX_HEAD:
            raise Malformed
        raise NeedMore
    line = _LINE.fullmatch(stream[:line_ends].rstrip(b"\r"))
    if line is None:
        raise NotThis  # SIP, RTSP, or HTTP/0.9
    head_ends = _end(stream)
    head = stream if head_ends < 0 else stream[:head_ends]
    if found := _HOST.search(head):
        return clean_name(found[1]) if found[1] else ""
    if is_tunnel(stream):
        return clean_name(line[1])
    if head_ends < 0 and len(stream) < _MAX_HEAD:
        raise NeedMore
    return ""


def host_in_rest(rest: bytes) -> str:
    """Return the host that a later part of a request head names, when bytes before it are missing; else NeedMore."""
    head_ends = _end(rest)
    found = _HOST.search(rest[:_MAX_HEAD] if head_ends < 0 else rest[:head_ends])
    if found is None or not found[1]:
        raise NeedMore
    return clean_name(found[1])


def is_tunnel(stream: bytes) -> bool:
    """Say whether a request asks a proxy for a connection (RFC 9110, 9.3.6): another protocol follows in it."""
    return stream.startswith(b"CONNECT ")


def _end(stream: bytes) -> int:
    """Return the offset behind the header section and its last line break, or -1."""
    ends = [at + 2 for at in (stream.find(b"\r\n\r\n"), stream.find(b"\n\n") - 1) if at >= 0]
    return min(ends, default=-1)
