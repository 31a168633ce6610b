"""PFCP messages (TS 29.244, 7): header, bundles, and the rules of a session as values."""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gtp.codec import BadLength, BadVersion, Reader, Truncated
from gtp.events import Identity
from gtp.pfcp import ie
from gtp.pfcp.ie import FSeid, FTeid, OuterHeader, Type, UeAddress

__all__ = ["Body", "Far", "Header", "Kind", "Pdr", "messages", "read_body", "write"]

PORT = 8805  # 6.4
_FORWARD = 2  # FORW of Apply Action (8.2.26)
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


class Header(NamedTuple):
    """The header (7.2.2); ``seid`` is None for node messages."""

    kind: int
    seid: int | None
    sequence: int


@dataclass(slots=True)
class Pdr:
    """Tunnels and addresses of a packet detection rule; None: not said."""

    pdr_id: int = 0
    far_id: int | None = None
    source: int | None = None
    fteid: FTeid | None = None
    ue: list[UeAddress] = field(default_factory=list)
    instance: str | None = None
    endpoint: int | None = None  # traffic endpoint that holds the rest
    routes: tuple[str, ...] = ()  # prefixes behind the UE
    refused: int = 0  # routes that made no sense


@dataclass(slots=True)
class Far:
    """Content of a forwarding action rule; None: not said."""

    far_id: int = 0
    action: int | None = None
    destination: int | None = None
    header: OuterHeader | None = None

    @property
    def forwards(self) -> bool:
        """True if packets leave by the rule now, or nothing is said; a rule that buffers keeps its header for later."""
        return self.action is None or bool(self.action & _FORWARD)


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
    csids: frozenset[bytes] = frozenset()
    create_pdrs: Sequence[Pdr] = ()
    update_pdrs: Sequence[Pdr] = ()
    created_pdrs: Sequence[Pdr] = ()  # also updated ones: what the UPF chose for a rule
    remove_pdrs: Sequence[int] = ()
    create_fars: Sequence[Far] = ()
    update_fars: Sequence[Far] = ()
    remove_fars: Sequence[int] = ()
    endpoints: Sequence[Pdr] = ()  # created, updated or chosen by the UPF
    remove_endpoints: Sequence[int] = ()


_HEAD = struct.Struct("!BBH").unpack_from
_ELEMENT = struct.Struct("!HH").unpack_from
_SEID = struct.Struct("!Q").unpack_from


def messages(datagram: bytes) -> Iterator[tuple[Header, Reader]]:
    """Yield (header, body) of each message bundled in a datagram (6.5); raises CodecError."""
    at, end, more = 0, len(datagram), True
    while more:
        if end - at < 4:
            raise Truncated(4, end - at, at)
        flags, kind, length = _HEAD(datagram, at)
        if flags >> 5 != 1:
            raise BadVersion(flags >> 5, at=at)
        if length < (12 if flags & 1 else 4):
            raise BadLength(length, end - at - 4, at + 2)
        if length > end - at - 4:
            raise BadLength(length, end - at - 4, at + 4)
        stop = at + 4 + length
        seid, at = (_SEID(datagram, at + 4)[0], at + 12) if flags & 1 else (None, at + 4)
        sequence = int.from_bytes(datagram[at : at + 3], "big")
        yield Header(kind, seid, sequence), Reader(datagram, at + 4, stop)
        at, more = stop, bool(flags & 4) and stop < end


_Readers = Mapping[int, Callable[[bytes, int, int, Any], None]]


def _walk(readers: _Readers, data: bytes, at: int, end: int, into: Any) -> None:
    """Give each element that has a reader to it; the others are passed over by their length, as 8.1.1 asks."""
    while at < end:
        if end - at < 4:
            raise Truncated(4, end - at, at)
        kind, length = _ELEMENT(data, at)
        at += 4
        stop = at + length
        if stop > end:
            raise BadLength(length, end - at, at)
        reader = readers.get(kind)
        if reader is not None:
            reader(data, at, stop, into)
        at = stop


def _into(name: str, read: Callable[[bytes, int, int], Any]) -> Callable[[bytes, int, int, Any], None]:
    """Return a reader that puts what *read* returns into an attribute."""

    def reader(data: bytes, at: int, end: int, into: Any) -> None:
        setattr(into, name, read(data, at, end))

    return reader


def _uint(name: str, size: int, mask: int = 0xFFFF_FFFF) -> Callable[[bytes, int, int, Any], None]:
    """Return a reader that puts a number of *size* bytes into an attribute."""

    def reader(data: bytes, at: int, end: int, into: Any) -> None:
        if end - at < size:
            raise Truncated(size, end - at, at)
        setattr(into, name, int.from_bytes(data[at : at + size], "big") & mask)

    return reader


def _among(name: str, read: Callable[[bytes, int, int], Any]) -> Callable[[bytes, int, int, Any], None]:
    """Return a reader that appends what *read* returns to an attribute."""

    def reader(data: bytes, at: int, end: int, into: Any) -> None:
        setattr(into, name, (*getattr(into, name), read(data, at, end)))

    return reader


def _ue(data: bytes, at: int, end: int, pdr: Pdr) -> None:
    pdr.ue.append(UeAddress.read(data, at, end))


def _route(data: bytes, at: int, end: int, pdr: Pdr) -> None:
    if prefix := ie.read_route(data, at, end):
        pdr.routes = (*pdr.routes, prefix)
    else:
        pdr.refused += 1


_PDI: _Readers = {  # elements of a PDI, of a traffic endpoint, and of a Created PDR
    Type.SOURCE_INTERFACE: _uint("source", 1, 15),
    Type.F_TEID: _into("fteid", FTeid.read),
    Type.UE_IP_ADDRESS: _ue,
    Type.NETWORK_INSTANCE: _into("instance", ie.read_labels),
    Type.TRAFFIC_ENDPOINT_ID: _uint("endpoint", 1),
    Type.FRAMED_ROUTE: _route,
    Type.FRAMED_IPV6_ROUTE: _route,
}
_PDR: _Readers = {
    **_PDI,
    Type.PDR_ID: _uint("pdr_id", 2),
    Type.FAR_ID: _uint("far_id", 4),
    Type.PDI: lambda data, at, end, pdr: _walk(_PDI, data, at, end, pdr),
}
_PARAMETERS: _Readers = {
    Type.DESTINATION_INTERFACE: _uint("destination", 1, 15),
    Type.OUTER_HEADER_CREATION: _into("header", OuterHeader.read),
}
_FAR: _Readers = {
    Type.FAR_ID: _uint("far_id", 4),
    Type.APPLY_ACTION: _uint("action", 1),
    Type.FORWARDING_PARAMETERS: lambda data, at, end, far: _walk(_PARAMETERS, data, at, end, far),
    Type.UPDATE_FORWARDING_PARAMETERS: lambda data, at, end, far: _walk(_PARAMETERS, data, at, end, far),
}


def _pdr(data: bytes, at: int, end: int) -> Pdr:
    pdr = Pdr()
    _walk(_PDR, data, at, end, pdr)
    return pdr


def _far(data: bytes, at: int, end: int) -> Far:
    far = Far()
    _walk(_FAR, data, at, end, far)
    return far


@dataclass(slots=True)
class _Number:
    value: int = -1


def _id(wanted: Type, size: int) -> Callable[[bytes, int, int], int]:
    """Return a function that finds the number in a group whose only purpose it is."""
    readers: _Readers = {wanted: _uint("value", size)}

    def read(data: bytes, at: int, end: int) -> int:
        number = _Number()
        _walk(readers, data, at, end, number)
        return number.value

    return read


def _identity(data: bytes, at: int, end: int, b: Body) -> None:
    b.identity, b.identity_refused = ie.read_user_id(data, at, end)


def _retention(_data: bytes, _at: int, _end: int, b: Body) -> None:
    b.retained = True


def _flag(name: str) -> Callable[[bytes, int, int, Any], None]:
    """Return a reader of the first bit of a byte."""
    return _into(name, lambda data, at, end: ie.read_uint(1, data, at, end) & 1 == 1)


def _csids(data: bytes, at: int, end: int, b: Body) -> None:
    b.csids |= ie.read_csids(data, at, end)


_BODY: _Readers = {
    Type.CREATE_PDR: _among("create_pdrs", _pdr),
    Type.UPDATE_PDR: _among("update_pdrs", _pdr),
    Type.CREATED_PDR: _among("created_pdrs", _pdr),
    Type.UPDATED_PDR: _among("created_pdrs", _pdr),
    Type.REMOVE_PDR: _among("remove_pdrs", _id(Type.PDR_ID, 2)),
    Type.CREATE_FAR: _among("create_fars", _far),
    Type.UPDATE_FAR: _among("update_fars", _far),
    Type.REMOVE_FAR: _among("remove_fars", _id(Type.FAR_ID, 4)),
    Type.CREATE_TRAFFIC_ENDPOINT: _among("endpoints", _pdr),
    Type.UPDATE_TRAFFIC_ENDPOINT: _among("endpoints", _pdr),
    Type.CREATED_TRAFFIC_ENDPOINT: _among("endpoints", _pdr),
    Type.REMOVE_TRAFFIC_ENDPOINT: _among("remove_endpoints", _id(Type.TRAFFIC_ENDPOINT_ID, 1)),
    Type.CAUSE: _uint("cause", 1),
    Type.F_SEID: _into("fseid", FSeid.read),
    Type.NODE_ID: _into("node_id", ie.read_node_id),
    Type.RECOVERY_TIME_STAMP: _uint("recovery", 4),
    Type.USER_ID: _identity,
    Type.APN_DNN: _into("dnn", ie.read_labels),
    Type.S_NSSAI: _into("snssai", ie.read_snssai),
    Type.SESSION_RETENTION: _retention,
    Type.ASSOCIATION_RESPONSE_FLAGS: _flag("retained"),  # PSREI (8.2.134)
    Type.SRREQ_FLAGS: _flag("ended_by_upf"),
    Type.FQ_CSID: _csids,
}


def read_body(r: Reader) -> Body:
    """Read the elements of a message; unknown ones are passed over. Raises CodecError."""
    b = Body()
    _walk(_BODY, r.data, r.at, r.end, b)
    return b


def write(kind: Kind, sequence: int, *elements: bytes, seid: int | None = None, more: bool = False) -> bytes:
    """Return a message; *more*: another one follows in the same datagram."""
    body = (b"" if seid is None else seid.to_bytes(8, "big")) + sequence.to_bytes(3, "big") + b"\0" + b"".join(elements)
    flags = 0x20 | (4 if more else 0) | (0 if seid is None else 1)
    return bytes([flags, kind]) + len(body).to_bytes(2, "big") + body
