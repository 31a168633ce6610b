"""GTPv2-C messages (TS 29.274): header, piggybacked messages, and the elements that name subscribers and tunnels."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from gtp.codec import BadLength, BadValue, BadVersion, Reader, untbcd
from gtp.gtpc.contexts import apn_name
from gtp.places import rat_name, read_uli

__all__ = ["ACCEPTED", "PORT", "Bearer", "Body", "FTeid", "Header", "Kind", "Type", "messages", "read_body"]

PORT = 2123  # 4.2.1.1
ACCEPTED = range(16, 64)  # causes of acceptance in a response (8.4)
_IMSI_DIGITS = 15  # at most (TS 23.003, 2.2)


class Kind(enum.IntEnum):
    """Message types (table 6.1-1); the response to each is one more."""

    ECHO_REQUEST = 1
    CREATE_SESSION_REQUEST = 32
    MODIFY_BEARER_REQUEST = 34
    DELETE_SESSION_REQUEST = 36
    CHANGE_NOTIFICATION_REQUEST = 38
    CREATE_BEARER_REQUEST = 95
    UPDATE_BEARER_REQUEST = 97
    DELETE_BEARER_REQUEST = 99
    DELETE_PDN_CONNECTION_SET_REQUEST = 101
    RELEASE_ACCESS_BEARERS_REQUEST = 170
    MODIFY_ACCESS_BEARERS_REQUEST = 211


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
    RAT_TYPE = 82
    ULI = 86
    F_TEID = 87
    BEARER_CONTEXT = 93
    FQ_CSID = 132


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
    identity_refused: int = 0  # elements of identity that made no sense
    cause: int | None = None
    recovery: int | None = None
    apn: str = ""
    ue_ipv4: str = ""
    ue_ipv6: str = ""
    ebis: list[int] = field(default_factory=list)  # instance 0: the linked bearer, or a list of radio bearers
    listed_ebis: list[int] = field(default_factory=list)  # instance 1: the bearers to be deleted
    csids: set[bytes] = field(default_factory=set)
    fteids: list[FTeid] = field(default_factory=list)
    bearers: list[Bearer] = field(default_factory=list)
    rat: str = ""  # the place of the UE, as `gtp.places` has it
    tai: str = ""
    cell: str = ""


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
        labels.append(r.sub(r.uint(1)).rest())
    return apn_name(labels)


def _read_paa(r: Reader, b: Body) -> None:
    """Read a PDN address (8.14): IPv4 1, IPv6 2, both 3; an address of zeros is one still to be chosen.

    IPv6 is a prefix with the interface identifier that the UE shall use; without one it is the prefix alone.
    """
    pdn_type = r.uint(1) & 7
    if pdn_type in (2, 3):
        length, address = r.uint(1), ipaddress.IPv6Address(r.take(16))
        if length > 128:
            raise BadValue(f"a prefix of {length} bits at offset {r.at - 17}", r.at - 17)
        if int(address) >> 64 and int(address) & (1 << 64) - 1 and length in (0, 64, 128):
            b.ue_ipv6 = str(address)
        elif int(address) >> 64:
            b.ue_ipv6 = str(ipaddress.IPv6Network((address, length or 64), strict=False))
    if pdn_type in (1, 3):
        address4 = r.ipv4()
        b.ue_ipv4 = "" if address4 == "0.0.0.0" else address4


def _read_digits(r: Reader, b: Body) -> str:
    """Read digits of identity; digits that make no sense stay unknown, and the rest of the message is still read."""
    at, raw = r.at, r.rest()
    try:
        return untbcd(raw, at)
    except BadValue:
        b.identity_refused += 1
        return ""


def _read_imsi(r: Reader, b: Body) -> str:
    digits = _read_digits(r, b)
    if len(digits) > _IMSI_DIGITS:
        b.identity_refused += 1
        return ""
    return digits


def _read_csids(r: Reader) -> set[bytes]:
    """Read FQ-CSID (8.62): node type and number of CSIDs, node, CSIDs; each is told apart by its node."""
    flags = r.uint(1)
    node = r.take({0: 4, 1: 16, 2: 4}.get(flags >> 4, 0))
    return {bytes([flags >> 4]) + node + r.take(2) for _ in range(flags & 15)}


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
                b.imsi = _read_imsi(value, b)
            case Type.MEI:
                b.imei = _read_digits(value, b)
            case Type.MSISDN:
                b.msisdn = _read_digits(value, b)
            case Type.CAUSE:
                b.cause = value.uint(1)
            case Type.RECOVERY:
                b.recovery = value.uint(1)
            case Type.APN:
                b.apn = _read_labels(value)
            case Type.EBI:
                (b.listed_ebis if instance else b.ebis).append(value.uint(1) & 15)
            case Type.FQ_CSID:
                b.csids |= _read_csids(value)
            case Type.PAA:
                _read_paa(value, b)
            case Type.F_TEID:
                b.fteids.append(_read_fteid(value, instance))
            case Type.RAT_TYPE:
                b.rat = rat_name(value.uint(1))
            case Type.ULI if not (instance and (b.tai or b.cell)):  # instance 1 is for the SGW's own use
                b.tai, b.cell = read_uli(value)
            case Type.BEARER_CONTEXT:
                b.bearers.append(_read_bearer(value, instance))
    return b
