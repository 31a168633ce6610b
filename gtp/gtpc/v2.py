"""GTPv2-C messages (TS 29.274): header, piggybacked messages, and the elements that name subscribers and tunnels."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from gtp.codec import BadLength, BadVersion, Reader, untbcd

__all__ = ["ACCEPTED", "PORT", "Bearer", "Body", "FTeid", "Header", "Type", "messages", "read_body"]

PORT = 2123  # 4.2.1.1
ACCEPTED = range(16, 64)  # causes of acceptance in a response (8.4)


class Type(enum.IntEnum):
    """Element types (table 8.1-1)."""

    IMSI = 1
    CAUSE = 2
    RECOVERY = 3
    APN = 71
    EBI = 73
    MEI = 75
    MSISDN = 76
    PAA = 79
    F_TEID = 87
    BEARER_CONTEXT = 93


@dataclass(frozen=True, slots=True)
class Header:
    """The header (5.1); ``teid`` is None for messages without one (Echo)."""

    kind: int
    teid: int | None
    sequence: int


@dataclass(frozen=True, slots=True)
class FTeid:
    """F-TEID (8.22); ``interface`` is the interface type, ``instance`` says which endpoint of the message it is."""

    interface: int
    teid: int
    ipv4: str = ""
    ipv6: str = ""
    instance: int = 0

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses it can be reached at."""
        return tuple(a for a in (self.ipv4, self.ipv6) if a)


@dataclass(slots=True)
class Bearer:
    """A bearer context (8.28); ``instance`` 1 is one to be removed in a Create Session or Modify Bearer request."""

    ebi: int = 0
    cause: int | None = None
    instance: int = 0
    fteids: list[FTeid] = field(default_factory=list)


@dataclass(slots=True, repr=False)
class Body:
    """The elements of a message that matter to a tracker. No repr: it would show the subscriber."""

    imsi: str = ""
    imei: str = ""
    msisdn: str = ""
    cause: int | None = None
    recovery: int | None = None
    apn: str = ""
    ue_ipv4: str = ""
    ue_ipv6: str = ""
    ebis: list[int] = field(default_factory=list)
    fteids: list[FTeid] = field(default_factory=list)
    bearers: list[Bearer] = field(default_factory=list)


def messages(datagram: bytes) -> Iterator[tuple[Header, Reader]]:
    """Yield (header, body) of a message and of the one piggybacked on it (5.5.1); raises CodecError."""
    r = Reader(datagram)
    more = True
    while more:
        start = r.at
        flags, kind, length = r.unpack("!BBH")
        if flags >> 5 != 2:
            raise BadVersion(flags >> 5, at=start)
        if length < (8 if flags & 8 else 4):
            raise BadLength(length, len(r), start + 2)
        body = r.sub(length)
        teid = body.uint(4) if flags & 8 else None
        sequence = body.uint(3)
        body.skip(1)
        yield Header(kind, teid, sequence), body
        more = bool(flags & 0x10) and len(r) > 0


def _walk(r: Reader) -> Iterator[tuple[int, int, Reader]]:
    """Yield (type, instance, value) of each element (8.2.1)."""
    while len(r):
        kind, length, instance = r.unpack("!BHB")
        yield kind, instance & 15, r.sub(length)


def _read_fteid(r: Reader, instance: int) -> FTeid:
    flags, teid = r.unpack("!BI")
    return FTeid(flags & 0x3F, teid, r.ipv4() if flags & 0x80 else "", r.ipv6() if flags & 0x40 else "", instance)


def _read_labels(r: Reader) -> str:
    """Read an APN (8.6, TS 23.003 clause 9.1)."""
    labels = []
    while len(r):
        labels.append(r.sub(r.uint(1)).rest().decode("ascii", "replace"))
    return ".".join(labels)


def _read_paa(r: Reader, b: Body) -> None:
    """Read a PDN address (8.14): IPv4 1, IPv6 2, both 3; an address of zeros is one still to be chosen."""
    pdn_type = r.uint(1) & 7
    if pdn_type in (2, 3):
        length, address = r.uint(1), r.ipv6()
        if int(ipaddress.IPv6Address(address)):
            b.ue_ipv6 = (
                str(ipaddress.IPv6Network((address, min(length, 128)), strict=False)) if length < 128 else address
            )
    if pdn_type in (1, 3):
        address = r.ipv4()
        b.ue_ipv4 = "" if address == "0.0.0.0" else address


def _read_bearer(r: Reader, instance: int) -> Bearer:
    bearer = Bearer(instance=instance)
    for kind, number, value in _walk(r):
        match kind:
            case Type.EBI:
                bearer.ebi = value.uint(1) & 15
            case Type.CAUSE:
                bearer.cause = value.uint(1)
            case Type.F_TEID:
                bearer.fteids.append(_read_fteid(value, number))
    return bearer


def read_body(r: Reader) -> Body:
    """Read the elements of a message; unknown ones are passed over. Raises CodecError."""
    b = Body()
    for kind, instance, value in _walk(r):
        match kind:
            case Type.IMSI:
                b.imsi = untbcd(value.rest())
            case Type.MEI:
                b.imei = untbcd(value.rest())
            case Type.MSISDN:
                b.msisdn = untbcd(value.rest())
            case Type.CAUSE:
                b.cause = value.uint(1)
            case Type.RECOVERY:
                b.recovery = value.uint(1)
            case Type.APN:
                b.apn = _read_labels(value)
            case Type.EBI:
                b.ebis.append(value.uint(1) & 15)
            case Type.PAA:
                _read_paa(value, b)
            case Type.F_TEID:
                b.fteids.append(_read_fteid(value, instance))
            case Type.BEARER_CONTEXT:
                b.bearers.append(_read_bearer(value, instance))
    return b
