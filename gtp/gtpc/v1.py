"""GTPv1-C messages (TS 29.060): header and the elements that name subscribers and tunnels."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from gtp.codec import BadLength, BadValue, BadVersion, Reader, untbcd
from gtp.gtpc.contexts import apn_name
from gtp.places import rat_name, read_geographic

__all__ = ["ACCEPTED", "Body", "Header", "Kind", "Type", "read_body", "read_header"]

ACCEPTED = range(128, 192)  # causes of acceptance in a response (7.7.1)
_IMSI_DIGITS = 15  # at most (TS 23.003, 2.2)
_MAX_EXTENSIONS = 8
_TLV = 0x80  # bit of elements that carry their length (7.7)


class Kind(enum.IntEnum):
    """Message types (table 1); the response to each is one more."""

    ECHO_REQUEST = 1
    CREATE_PDP_CONTEXT_REQUEST = 16
    UPDATE_PDP_CONTEXT_REQUEST = 18
    DELETE_PDP_CONTEXT_REQUEST = 20
    MS_INFO_CHANGE_NOTIFICATION_REQUEST = 128


class Type(enum.IntEnum):
    """Element types (table 37)."""

    CAUSE = 1
    IMSI = 2
    RECOVERY = 14
    TEID_DATA = 16
    TEID_CONTROL = 17
    TEARDOWN = 19
    NSAPI = 20
    END_USER_ADDRESS = 128
    APN = 131
    GSN_ADDRESS = 133
    MSISDN = 134
    RAT_TYPE = 151
    ULI = 152
    IMEI = 154


# Values of elements without a length field (table 37); any other type below 128 cannot be passed over.
_TV_BYTES = {
    1: 1, 2: 8, 3: 6, 4: 4, 5: 4, 8: 1, 9: 28, 11: 1, 12: 3, 13: 1, 14: 1, 15: 1, 16: 4, 17: 4, 18: 5, 19: 1, 20: 1,
    21: 1, 22: 9, 23: 1, 24: 1, 25: 2, 26: 2, 27: 2, 28: 2, 29: 1, 117: 10, 127: 4,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Header:
    """The header (clause 6); ``sequence`` is None when the message has none."""

    kind: int
    teid: int
    sequence: int | None


@dataclass(slots=True, repr=False)
class Body:
    """The elements of a message that matter to a tracker. No repr: it would show the subscriber."""

    imsi: str = ""
    imei: str = ""
    msisdn: str = ""
    identity_refused: int = 0  # elements of identity that made no sense
    cause: int | None = None
    recovery: int | None = None
    teid_data: int | None = None
    teid_control: int | None = None
    teardown: bool = False
    nsapis: list[int] = field(default_factory=list)  # the context's own, then the one it is linked to
    apn: str = ""
    ue_ipv4: str = ""
    ue_ipv6: str = ""
    addresses: list[str] = field(default_factory=list)  # of the sender: for signalling, for user traffic, alternatives
    rat: str = ""  # the place of the MS, as `gtp.places` has it
    tai: str = ""
    cell: str = ""


def read_header(r: Reader) -> Header:
    """Read the header and leave *r* at the elements. Raises CodecError."""
    flags, kind, length, teid = r.unpack("!BBHI")
    if flags >> 5 != 1 or not flags & 0x10:  # GTP', for charging, has the protocol type bit clear
        raise BadVersion(flags >> 5, at=r.at - 8)
    if length > len(r):
        raise BadLength(length, len(r), r.at - 6)
    r.end = r.at + length
    if not flags & 7:
        return Header(kind, teid, None)
    sequence, _, extension = r.unpack("!HBB")
    for _ in range(_MAX_EXTENSIONS if flags & 4 else 0):
        if not extension:
            break
        size = r.uint(1) * 4
        if not size:
            raise BadLength(0, len(r), r.at - 1)
        r.skip(size - 2)
        extension = r.uint(1)
    return Header(kind, teid, sequence if flags & 2 else None)


def _walk(r: Reader) -> Iterator[tuple[int, Reader]]:
    """Yield (type, value) of each element (7.7)."""
    while len(r):
        at, kind = r.at, r.uint(1)
        if kind & _TLV:
            yield kind, r.sub(r.uint(2))
        elif kind in _TV_BYTES:
            yield kind, r.sub(_TV_BYTES[kind])
        else:
            raise BadValue(f"element type {kind} at offset {at} is not known", at)


def _read_digits(r: Reader, b: Body, most: int = 16) -> str:
    """Read digits of identity; digits that make no sense stay unknown, and the rest of the message is still read."""
    at, raw = r.at, r.rest()
    try:
        digits = untbcd(raw, at)
    except BadValue:
        digits = "-" * (most + 1)
    if len(digits) > most:
        b.identity_refused += 1
        return ""
    return digits


def _read_address(r: Reader, b: Body) -> None:
    """Read an end user address (7.7.27): IETF only; IPv4 0x21, IPv6 0x57, both 0x8d; empty is still to be chosen."""
    organisation, number = r.uint(1) & 15, r.uint(1)
    if organisation != 1:
        return
    if number in (0x21, 0x8D) and len(r) in (4, 20):
        address4 = r.ipv4()
        b.ue_ipv4 = "" if address4 == "0.0.0.0" else address4
    if number in (0x57, 0x8D) and len(r) >= 16:
        address = ipaddress.IPv6Address(r.take(16))
        if int(address) >> 64:
            low = int(address) & (1 << 64) - 1
            b.ue_ipv6 = str(address) if low else f"{address}/64"


def read_body(r: Reader) -> Body:
    """Read the elements of a message. Raises CodecError."""
    b = Body()
    for kind, value in _walk(r):
        match kind:
            case Type.CAUSE:
                b.cause = value.uint(1)
            case Type.IMSI:
                b.imsi = _read_digits(value, b, _IMSI_DIGITS)
            case Type.RECOVERY:
                b.recovery = value.uint(1)
            case Type.TEID_DATA:
                b.teid_data = value.uint(4)
            case Type.TEID_CONTROL:
                b.teid_control = value.uint(4)
            case Type.TEARDOWN:
                b.teardown = bool(value.uint(1) & 1)
            case Type.NSAPI:
                b.nsapis.append(value.uint(1) & 15)
            case Type.END_USER_ADDRESS:
                _read_address(value, b)
            case Type.APN:
                labels = []
                while len(value):
                    labels.append(value.sub(value.uint(1)).rest())
                b.apn = apn_name(labels)
            case Type.GSN_ADDRESS if len(value) in (4, 16):
                b.addresses.append(value.ipv4() if len(value) == 4 else value.ipv6())
            case Type.MSISDN:
                value.skip(1)  # nature of the number and numbering plan (TS 29.002)
                b.msisdn = _read_digits(value, b)
            case Type.RAT_TYPE:
                b.rat = rat_name(value.uint(1))
            case Type.ULI:
                b.tai, b.cell = read_geographic(value)
            case Type.IMEI:
                b.imei = _read_digits(value, b)
    return b
