"""The server name of a TLS or DTLS ClientHello (RFC 8446, 4.1.2; RFC 6066, 3; RFC 6347, 4.2).

Pure functions: bytes in, `Hello` out. The name is returned as soon as its extension is there, even
when the rest of a long (post-quantum) ClientHello is not.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nf.apps.parsers.cursor import Pieces, Reader, clean_name
from nf.apps.parsers.errors import Malformed, NeedMore, NotThis

__all__ = ["DtlsHello", "Hello", "handshake_hello", "tls_hello"]

_HANDSHAKE = 22  # content type (RFC 8446, 5.1)
_CLIENT_HELLO = 1
_SERVER_NAME, _USE_SRTP, _ECH = 0, 14, 0xFE0D  # extension types (IANA TLS ExtensionType Values)
_MAX_HELLO = 16_384  # bytes; the largest in the field, with two post-quantum shares, are below 4,000
_MAX_RECORD = 16_384 + 256


@dataclass(frozen=True, slots=True)
class Hello:
    """The content of a ClientHello: ``name`` is empty when it carries none."""

    name: str
    ech: bool = False  # an encrypted_client_hello extension is there, real or grease
    srtp: bool = False  # the use_srtp extension (RFC 5764) is there: keys of a call


def tls_hello(stream: bytes) -> Hello:
    """Return the ClientHello at the start of a TCP *stream*, from any number of records.

    Raises NotThis, Malformed or NeedMore.
    """
    if stream[:1] != b"\x16" or stream[1:2] not in (b"", b"\x03"):
        if _sslv2(stream):
            return Hello("")
        raise NotThis
    parts: list[bytes] = []
    have, at, whole = 0, 0, True
    while have < _MAX_HELLO and at + 5 <= len(stream):
        kind, major, length = stream[at], stream[at + 1], int.from_bytes(stream[at + 3 : at + 5], "big")
        if kind != _HANDSHAKE or major != 3:
            break  # the handshake ended, or was left, within the bytes we have
        if not 0 < length <= _MAX_RECORD:
            raise Malformed
        part = stream[at + 5 : at + 5 + length]
        parts.append(part)
        have += len(part)
        at += 5 + length
        whole = len(part) == length
    if not parts:
        raise NeedMore
    return handshake_hello(parts[0] if len(parts) == 1 else b"".join(parts), ended=whole and at + 5 <= len(stream))


def _sslv2(stream: bytes) -> bool:
    """Recognise an SSLv2-framed ClientHello (RFC 5246, E.2), which has no extensions."""
    return len(stream) > 5 and stream[0] & 0x80 != 0 and stream[2] == _CLIENT_HELLO and stream[3:5] in _V2_VERSIONS


_V2_VERSIONS = (b"\x03\x00", b"\x03\x01", b"\x03\x02", b"\x03\x03")


def handshake_hello(message: bytes, *, ended: bool = False) -> Hello:
    """Return the ClientHello that *message* (handshake header included) starts with, as in a CRYPTO stream.

    *ended* says that no further bytes can come, so that missing ones are `Malformed`.
    """
    if message[:1] != b"\x01":
        raise NotThis if message else NeedMore
    r = Reader(message, 1, 4)
    length = r.number(3)
    if length > _MAX_HELLO:
        raise Malformed
    try:
        return _body(Reader(message, 4, 4 + length), cookie=False)
    except NeedMore:
        if ended:
            raise Malformed from None
        raise


@dataclass(slots=True)
class DtlsHello:
    """A ClientHello of DTLS in the fragments of any number of datagrams of one sender (RFC 6347, 4.2.3)."""

    message: tuple[int, int] = (-1, 0)  # number and length of the message to which the pieces belong
    pieces: Pieces = field(default_factory=Pieces)

    def feed(self, datagram: bytes) -> Hello:
        """Add a datagram; return the ClientHello as soon as its name is there. Raises NotThis, Malformed, NeedMore.

        One with another number, as after a HelloVerifyRequest, replaces the one before.
        """
        at, mine = 0, False
        while _is_dtls_hello(datagram, at):
            number, length = int.from_bytes(datagram[at + 17 : at + 19], "big"), _u24(datagram, at + 14)
            offset, size = _u24(datagram, at + 19), _u24(datagram, at + 22)
            if length > _MAX_HELLO or offset + size > length:
                raise Malformed
            if (number, length) != self.message:
                self.message, self.pieces = (number, length), Pieces()
            self.pieces.add(offset, datagram[at + 25 : at + 25 + size])
            at, mine = at + 13 + int.from_bytes(datagram[at + 11 : at + 13], "big"), True
        if not mine:
            raise NotThis
        return _body(Reader(self.pieces.start(), 0, self.message[1]), cookie=True)


def _u24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "big")


def _is_dtls_hello(data: bytes, at: int) -> bool:
    """Say whether a record with a part of a ClientHello is at an offset (RFC 6347, 4.1 and 4.2.2)."""
    return (
        len(data) >= at + 25
        and data[at] == _HANDSHAKE
        and data[at + 1] == 0xFE
        and data[at + 2] in (0xFF, 0xFD, 0xFC)
        and data[at + 13] == _CLIENT_HELLO
    )


def _body(r: Reader, *, cookie: bool) -> Hello:
    major = r.number(2) >> 8
    if major not in (3, 0xFE, 0x7F):  # 0x7f: drafts of TLS 1.3
        raise Malformed
    r.skip(32)
    r.skip(r.number(1))  # session
    if cookie:
        r.skip(r.number(1))
    r.skip(r.number(2))  # cipher suites
    r.skip(r.number(1))  # compression methods
    if r.at == r.end:
        return Hello("")  # before TLS 1.2 extensions may be missing
    extensions = r.within(r.number(2))
    if r.at != r.end:
        raise Malformed
    return _extensions(extensions)


def _extensions(r: Reader) -> Hello:
    name, ech, srtp = "", False, False
    while r.at < r.end:
        try:
            kind, length = r.number(2), r.number(2)
        except NeedMore:
            if name:
                break  # the rest cannot change the name
            raise
        if kind == _SERVER_NAME:
            name = _server_name(r.within(length))
            continue
        ech |= kind == _ECH
        srtp |= kind == _USE_SRTP
        r.skip(length)
    return Hello(name, ech, srtp)


def _server_name(r: Reader) -> str:
    if r.at == r.end:
        return ""  # as a server answers; some clients send it too
    names = r.within(r.number(2))
    while names.at < names.end:
        kind, length = names.number(1), names.number(2)
        if kind == 0:  # host_name, the only one defined
            return clean_name(names.take(length))
        names.skip(length)
    return ""
