"""PFCP messages (TS 29.244, 7): header, bundles, and the rules of a session as values."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field

from gtp.codec import BadLength, BadVersion, Reader
from gtp.events import Identity
from gtp.pfcp import ie
from gtp.pfcp.ie import FSeid, FTeid, OuterHeader, Type, UeAddress

__all__ = ["Body", "Far", "Header", "Kind", "Pdr", "messages", "read_body", "write"]

PORT = 8805  # 6.4
ACCEPTED = range(1, 64)  # causes of acceptance (8.2.1)


class Kind(enum.IntEnum):
    """Message types (table 7.3-1)."""

    HEARTBEAT_REQUEST = 1
    HEARTBEAT_RESPONSE = 2
    ASSOCIATION_SETUP_REQUEST = 5
    ASSOCIATION_SETUP_RESPONSE = 6
    ASSOCIATION_RELEASE_REQUEST = 9
    ASSOCIATION_RELEASE_RESPONSE = 10
    SET_DELETION_REQUEST = 14
    SET_DELETION_RESPONSE = 15
    ESTABLISHMENT_REQUEST = 50
    ESTABLISHMENT_RESPONSE = 51
    MODIFICATION_REQUEST = 52
    MODIFICATION_RESPONSE = 53
    DELETION_REQUEST = 54
    DELETION_RESPONSE = 55
    REPORT_REQUEST = 56
    REPORT_RESPONSE = 57


@dataclass(frozen=True, slots=True)
class Header:
    """The header (7.2.2); ``seid`` is None for node messages."""

    kind: int
    seid: int | None
    sequence: int


@dataclass(slots=True)
class Pdr:
    """What a packet detection rule says of tunnels and addresses; None: not said."""

    pdr_id: int = 0
    far_id: int | None = None
    source: int | None = None
    fteid: FTeid | None = None
    ue: list[UeAddress] = field(default_factory=list)
    instance: str | None = None
    endpoint: int | None = None  # traffic endpoint that says the rest


@dataclass(slots=True)
class Far:
    """What a forwarding action rule says; None: not said."""

    far_id: int = 0
    action: int | None = None
    destination: int | None = None
    header: OuterHeader | None = None


@dataclass(slots=True)
class Body:
    """The elements of a message that matter to a tracker."""

    cause: int | None = None
    fseid: FSeid | None = None
    node_id: str = ""
    recovery: int | None = None
    identity: Identity | None = None
    identity_refused: int = 0  # parts of User ID that made no sense
    dnn: str = ""
    snssai: str = ""
    retained: bool = False  # request: retention is asked for; response: it was granted
    ended_by_upf: bool = False  # PSDBU
    csids: set[bytes] = field(default_factory=set)
    create_pdrs: list[Pdr] = field(default_factory=list)
    update_pdrs: list[Pdr] = field(default_factory=list)
    created_pdrs: list[Pdr] = field(default_factory=list)
    remove_pdrs: list[int] = field(default_factory=list)
    create_fars: list[Far] = field(default_factory=list)
    update_fars: list[Far] = field(default_factory=list)
    remove_fars: list[int] = field(default_factory=list)
    endpoints: list[Pdr] = field(default_factory=list)  # created, updated or chosen by the UPF
    remove_endpoints: list[int] = field(default_factory=list)


def messages(datagram: bytes) -> Iterator[tuple[Header, Reader]]:
    """Yield (header, body) of each message bundled in a datagram (6.5); raises CodecError."""
    r = Reader(datagram)
    more = True
    while more:
        start = r.at
        flags, kind, length = r.unpack("!BBH")
        if flags >> 5 != 1:
            raise BadVersion(flags >> 5, at=start)
        if length < (12 if flags & 1 else 4):
            raise BadLength(length, len(r), start + 2)
        body = r.sub(length)
        seid = body.uint(8) if flags & 1 else None
        sequence = body.uint(3)
        body.skip(1)
        yield Header(kind, seid, sequence), body
        more = bool(flags & 4) and len(r) > 0


def _read_pdr(r: Reader) -> Pdr:
    pdr = Pdr()
    for kind, value in ie.walk(r):
        match kind:
            case Type.PDR_ID:
                pdr.pdr_id = value.uint(2)
            case Type.FAR_ID:
                pdr.far_id = value.uint(4)
            case Type.PDI:
                _read_pdi(value, pdr)
            case _:
                _read_pdi_element(kind, value, pdr)
    return pdr


def _read_pdi(r: Reader, pdr: Pdr) -> None:
    for kind, value in ie.walk(r):
        _read_pdi_element(kind, value, pdr)


def _read_pdi_element(kind: int, value: Reader, pdr: Pdr) -> None:
    """Elements of a PDI, of a traffic endpoint, and of a Created PDR."""
    match kind:
        case Type.SOURCE_INTERFACE:
            pdr.source = value.uint(1) & 15
        case Type.F_TEID:
            pdr.fteid = FTeid.read(value)
        case Type.UE_IP_ADDRESS:
            pdr.ue.append(UeAddress.read(value))
        case Type.NETWORK_INSTANCE:
            pdr.instance = ie.read_labels(value)
        case Type.TRAFFIC_ENDPOINT_ID:
            pdr.endpoint = value.uint(1)


def _read_far(r: Reader) -> Far:
    far = Far()
    for kind, value in ie.walk(r):
        match kind:
            case Type.FAR_ID:
                far.far_id = value.uint(4)
            case Type.APPLY_ACTION:
                far.action = value.uint(1)
            case Type.FORWARDING_PARAMETERS | Type.UPDATE_FORWARDING_PARAMETERS:
                for inner, content in ie.walk(value):
                    if inner == Type.DESTINATION_INTERFACE:
                        far.destination = content.uint(1) & 15
                    elif inner == Type.OUTER_HEADER_CREATION:
                        far.header = OuterHeader.read(content)
    return far


def _read_id(r: Reader, wanted: Type, size: int) -> int:
    for kind, value in ie.walk(r):
        if kind == wanted:
            return value.uint(size)
    return -1


def read_body(r: Reader) -> Body:
    """Read the elements of a message; unknown ones are passed over. Raises CodecError."""
    b = Body()
    for kind, value in ie.walk(r):
        if not _read_rule(kind, value, b):
            _read_plain(kind, value, b)
    return b


def _read_rule(kind: int, value: Reader, b: Body) -> bool:
    match kind:
        case Type.CREATE_PDR:
            b.create_pdrs.append(_read_pdr(value))
        case Type.UPDATE_PDR:
            b.update_pdrs.append(_read_pdr(value))
        case Type.CREATED_PDR:
            b.created_pdrs.append(_read_pdr(value))
        case Type.REMOVE_PDR:
            b.remove_pdrs.append(_read_id(value, Type.PDR_ID, 2))
        case Type.CREATE_FAR:
            b.create_fars.append(_read_far(value))
        case Type.UPDATE_FAR:
            b.update_fars.append(_read_far(value))
        case Type.REMOVE_FAR:
            b.remove_fars.append(_read_id(value, Type.FAR_ID, 4))
        case Type.CREATE_TRAFFIC_ENDPOINT | Type.UPDATE_TRAFFIC_ENDPOINT | Type.CREATED_TRAFFIC_ENDPOINT:
            b.endpoints.append(_read_pdr(value))
        case Type.REMOVE_TRAFFIC_ENDPOINT:
            b.remove_endpoints.append(_read_id(value, Type.TRAFFIC_ENDPOINT_ID, 1))
        case _:
            return False
    return True


def _read_plain(kind: int, value: Reader, b: Body) -> None:
    match kind:
        case Type.CAUSE:
            b.cause = value.uint(1)
        case Type.F_SEID:
            b.fseid = FSeid.read(value)
        case Type.NODE_ID:
            b.node_id = ie.read_node_id(value)
        case Type.RECOVERY_TIME_STAMP:
            b.recovery = value.uint(4)
        case Type.USER_ID:
            b.identity, b.identity_refused = ie.read_user_id(value)
        case Type.APN_DNN:
            b.dnn = ie.read_labels(value)
        case Type.S_NSSAI:
            b.snssai = ie.read_snssai(value)
        case Type.SESSION_RETENTION:
            b.retained = True
        case Type.ASSOCIATION_RESPONSE_FLAGS:
            b.retained = bool(value.uint(1) & 1)  # PSREI (8.2.134)
        case Type.SRREQ_FLAGS:
            b.ended_by_upf = bool(value.uint(1) & 1)
        case Type.FQ_CSID:
            b.csids |= ie.read_csids(value)


def write(kind: Kind, sequence: int, *elements: bytes, seid: int | None = None, more: bool = False) -> bytes:
    """Return a message; *more*: another one follows in the same datagram."""
    body = (b"" if seid is None else seid.to_bytes(8, "big")) + sequence.to_bytes(3, "big") + b"\0" + b"".join(elements)
    flags = 0x20 | (4 if more else 0) | (0 if seid is None else 1)
    return bytes([flags, kind]) + len(body).to_bytes(2, "big") + body
