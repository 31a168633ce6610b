"""The host of an HTTP/1 request (RFC 9112, 3.2), also of CONNECT, and of HTTP/2 prior knowledge: none."""

from __future__ import annotations

from nf.apps.errors import Malformed, NeedMore, NotThis
from nf.apps.tls import valid_host

__all__ = ["host"]

_METHODS = (b"GET ", b"POST ", b"HEAD ", b"PUT ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"CONNECT ", b"TRACE ")
_MAX_HEAD = 16_384


def host(stream: bytes) -> str:
    """Return the host that a request names, without its port; "" when the head ends without one.

    Raises NotThis, Malformed, or NeedMore when the head has not ended.
    """
    if not stream.startswith(_METHODS):
        if any(m.startswith(stream[: len(m)]) for m in _METHODS) and stream:
            raise NeedMore
        raise NotThis
    head, _, rest = stream[:_MAX_HEAD].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    request = lines[0].split(b" ")
    if len(request) < 2 or (len(lines) > 1 and not lines[0].endswith((b"HTTP/1.1", b"HTTP/1.0"))):
        raise NotThis
    complete = lines if rest or stream[: len(head) + 4].endswith(b"\r\n\r\n") else lines[:-1]
    for line in complete[1:]:
        name, colon, value = line.partition(b":")
        if colon and name.strip().lower() == b"host":
            return _without_port(value.strip())
    if request[0] == b"CONNECT":
        return _without_port(request[1])
    if complete is lines or len(stream) >= _MAX_HEAD:
        return ""
    raise NeedMore


def _without_port(value: bytes) -> str:
    if value.startswith(b"["):
        address, bracket, _ = value[1:].partition(b"]")
        if not bracket or not all(c in b"0123456789abcdefABCDEF:." for c in address):
            raise Malformed("host")
        return address.decode()
    return valid_host(value.split(b":", 1)[0])
