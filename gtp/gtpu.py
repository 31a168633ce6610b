"""GTP-U (TS 29.281) and the PDU Session Container (TS 38.415), both ways.

Used by the lab's tunnel ends and by tests; the data path has its own parser in bpf/gtpu.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from gtp.codec import BadLength, BadVersion, CodecError, Reader

__all__ = [
    "ECHO_REQUEST",
    "ECHO_RESPONSE",
    "END_MARKER",
    "ERROR_INDICATION",
    "GPDU",
    "PORT",
    "Message",
    "SessionContainer",
    "decode",
    "echo_request",
    "encode",
    "encode_gpdu",
    "end_marker",
]

PORT = 2152  # TS 29.281, 4.4.2
ECHO_REQUEST, ECHO_RESPONSE, ERROR_INDICATION, END_MARKER, GPDU = 1, 2, 26, 254, 255  # table 6.1-1
_E, _S, _PN = 4, 2, 1
_PSC = 0x85  # figure 5.2.1-3
MAX_EXTENSIONS = 8


@dataclass(frozen=True, slots=True)
class SessionContainer:
    """PDU Session Container (TS 38.415, 5.5.2): a packet's QoS flow and measurements. Missing is None."""

    uplink: bool
    qfi: int
    rqi: bool = False  # downlink: reflective QoS
    ppi: int | None = None  # downlink: paging policy
    sent: int | None = None  # downlink sending time, NTP 64 bit; in uplink the repeated one
    received: int | None = None  # uplink: downlink receiving time at the gNB
    returned: int | None = None  # uplink: uplink sending time at the gNB
    dl_delay_ms: int | None = None  # uplink: delay results of the RAN
    ul_delay_ms: int | None = None
    sequence: int | None = None  # QFI sequence number, 24 bit
    n3n9_delay_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One GTP-U message. ``extensions`` are all but the PDU Session Container: (type, content)."""

    kind: int
    teid: int
    payload: bytes = b""
    sequence: int | None = None
    npdu: int | None = None
    container: SessionContainer | None = None
    extensions: tuple[tuple[int, bytes], ...] = field(default=())


def _read_downlink(r: Reader, first: int) -> SessionContainer:
    second = r.uint(1)
    ppi = r.uint(1) >> 5 if second & 0x80 else None
    sent = r.uint(8) if first & 0x08 else None
    sequence = r.uint(3) if first & 0x04 else None
    return SessionContainer(False, second & 0x3F, bool(second & 0x40), ppi, sent, sequence=sequence)


def _read_uplink(r: Reader, first: int) -> SessionContainer:
    second = r.uint(1)
    sent, received, returned = (r.uint(8), r.uint(8), r.uint(8)) if first & 0x08 else (None, None, None)
    dl = r.uint(4) if first & 0x04 else None
    ul = r.uint(4) if first & 0x02 else None
    sequence = r.uint(3) if first & 0x01 else None
    n3n9 = r.uint(4) if second & 0x80 else None
    return SessionContainer(
        True,
        second & 0x3F,
        sent=sent,
        received=received,
        returned=returned,
        dl_delay_ms=dl,
        ul_delay_ms=ul,
        sequence=sequence,
        n3n9_delay_ms=n3n9,
    )


def _read_container(r: Reader) -> SessionContainer | None:
    first = r.uint(1)
    if first >> 4 > 1:
        return None  # a type of a later release
    return _read_uplink(r, first) if first >> 4 else _read_downlink(r, first)


def decode(datagram: bytes) -> Message:
    """Return the message in a UDP payload; bytes behind its length are ignored.

    Raises CodecError: Truncated, BadVersion when it is not GTPv1 with PT=1, BadLength.
    """
    r = Reader(datagram)
    flags, kind, length, teid = r.unpack("!BBHI")
    if flags >> 5 != 1 or not flags & 0x10:
        raise BadVersion(flags >> 5, at=0)
    r = r.sub(length)
    sequence = npdu = container = None
    extensions: list[tuple[int, bytes]] = []
    if flags & (_E | _S | _PN):
        number, pdu, following = r.unpack("!HBB")
        sequence = number if flags & _S else None
        npdu = pdu if flags & _PN else None
        following = following if flags & _E else 0
        for _ in range(MAX_EXTENSIONS):
            if not following:
                break
            size = r.uint(1) * 4
            if not size:
                raise BadLength(0, len(r), r.at - 1)
            content = r.sub(size - 2)
            if following == _PSC:
                container = _read_container(content)
            else:
                extensions.append((following, content.rest()))
            following = r.uint(1)
        if following:
            raise CodecError(f"more than {MAX_EXTENSIONS} extension headers", r.at)
    return Message(kind, teid, r.rest(), sequence, npdu, container, tuple(extensions))


def _container_bytes(c: SessionContainer) -> bytes:
    def opt(value: int | None, size: int) -> bytes:
        return b"" if value is None else value.to_bytes(size, "big")

    if c.uplink:
        flags = (
            (8 if c.sent is not None else 0)
            | (4 if c.dl_delay_ms is not None else 0)
            | (2 if c.ul_delay_ms is not None else 0)
            | (1 if c.sequence is not None else 0)
        )
        body = bytes([0x10 | flags, c.qfi | (0x80 if c.n3n9_delay_ms is not None else 0)])
        if c.sent is not None:
            body += opt(c.sent, 8) + opt(c.received or 0, 8) + opt(c.returned or 0, 8)
        body += opt(c.dl_delay_ms, 4) + opt(c.ul_delay_ms, 4) + opt(c.sequence, 3) + opt(c.n3n9_delay_ms, 4)
    else:
        flags = (8 if c.sent is not None else 0) | (4 if c.sequence is not None else 0)
        body = bytes([flags, c.qfi | (0x40 if c.rqi else 0) | (0x80 if c.ppi is not None else 0)])
        if c.ppi is not None:
            body += bytes([c.ppi << 5])
        body += opt(c.sent, 8) + opt(c.sequence, 3)
    return body


def _extension(content: bytes, following: int) -> bytes:
    content += bytes(-(len(content) + 2) % 4)
    return bytes([(len(content) + 2) // 4]) + content + bytes([following])


def encode(m: Message) -> bytes:
    """Return the bytes of a message."""
    chain = [(_PSC, _container_bytes(m.container))] if m.container else []
    chain += m.extensions
    flags = 0x30 | (_E if chain else 0) | (_S if m.sequence is not None else 0) | (_PN if m.npdu is not None else 0)
    body = b""
    if flags & 7:
        body = struct.pack("!HBB", m.sequence or 0, m.npdu or 0, chain[0][0] if chain else 0)
        for i, (_, content) in enumerate(chain):
            body += _extension(content, chain[i + 1][0] if i + 1 < len(chain) else 0)
    body += m.payload
    return struct.pack("!BBHI", flags, m.kind, len(body), m.teid) + body


def echo_request(sequence: int) -> bytes:
    """Return Echo Request (7.2.1)."""
    return encode(Message(ECHO_REQUEST, 0, sequence=sequence))


def end_marker(teid: int) -> bytes:
    """Return End Marker (7.3.2): the last packet on a tunnel that was left."""
    return encode(Message(END_MARKER, teid))


def encode_gpdu(teid: int, inner: bytes, qfi: int, *, uplink: bool) -> bytes:
    """Return user data in a tunnel with a four-octet PDU Session Container (type 1 uplink, 0 downlink)."""
    length = 8 + len(inner)
    kind = 0x10 if uplink else 0x00
    return struct.pack("!BBHIHBBBBBB", 0x34, GPDU, length, teid, 0, 0, _PSC, 1, kind, qfi, 0) + inner
