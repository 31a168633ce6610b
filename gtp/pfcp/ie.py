"""PFCP information elements (TS 29.244, 8): those that carry identity, addresses and tunnels.

Each class reads and writes one element. A reader takes ``data[at:end]``: a message has some thirty elements, and a
cursor for each would cost more than to read it.
"""

from __future__ import annotations

import enum
import ipaddress
import struct
from typing import NamedTuple

from gtp.codec import BadLength, BadValue, Truncated, tbcd, untbcd
from gtp.events import Identity

__all__ = ["FSeid", "FTeid", "Interface", "OuterHeader", "Type", "UeAddress", "ie"]

_IMSI_DIGITS = 15  # at most (TS 23.003, 2.2)


class Type(enum.IntEnum):
    """Element types (TS 29.244, table 8.1.2-1)."""

    CREATE_PDR = 1
    PDI = 2
    CREATE_FAR = 3
    FORWARDING_PARAMETERS = 4
    CREATE_URR = 6
    CREATE_QER = 7
    CREATED_PDR = 8
    UPDATE_PDR = 9
    UPDATE_FAR = 10
    UPDATE_FORWARDING_PARAMETERS = 11
    REMOVE_PDR = 15
    REMOVE_FAR = 16
    CAUSE = 19
    SOURCE_INTERFACE = 20
    F_TEID = 21
    NETWORK_INSTANCE = 22
    GATE_STATUS = 25
    MBR = 26
    PRECEDENCE = 29
    REPORTING_TRIGGERS = 37
    DESTINATION_INTERFACE = 42
    UP_FUNCTION_FEATURES = 43
    APPLY_ACTION = 44
    PFCPSMREQ_FLAGS = 49
    PDR_ID = 56
    F_SEID = 57
    NODE_ID = 60
    MEASUREMENT_METHOD = 62
    FQ_CSID = 65
    URR_ID = 81
    OUTER_HEADER_CREATION = 84
    CREATE_BAR = 85
    BAR_ID = 88
    CP_FUNCTION_FEATURES = 89
    UE_IP_ADDRESS = 93
    OUTER_HEADER_REMOVAL = 95
    RECOVERY_TIME_STAMP = 96
    FAR_ID = 108
    QER_ID = 109
    PDN_TYPE = 113
    QFI = 124
    CREATE_TRAFFIC_ENDPOINT = 127
    CREATED_TRAFFIC_ENDPOINT = 128
    UPDATE_TRAFFIC_ENDPOINT = 129
    REMOVE_TRAFFIC_ENDPOINT = 130
    TRAFFIC_ENDPOINT_ID = 131
    USER_ID = 141
    FRAMED_ROUTE = 153
    FRAMED_IPV6_ROUTE = 155
    APN_DNN = 159
    INTERFACE_TYPE = 160
    SRREQ_FLAGS = 161
    SESSION_RETENTION = 183
    ASSOCIATION_RESPONSE_FLAGS = 184
    UPDATED_PDR = 256
    S_NSSAI = 257


class Interface(enum.IntEnum):
    """Source and destination interface (TS 29.244, 8.2.2 and 8.2.24)."""

    ACCESS = 0
    CORE = 1
    N6_LAN = 2
    CP_FUNCTION = 3


def ie(kind: Type, *parts: bytes) -> bytes:
    """Return an element with its header."""
    value = b"".join(parts)
    return kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


_U32, _U64 = struct.Struct("!I").unpack_from, struct.Struct("!Q").unpack_from


def _need(size: int, at: int, end: int) -> None:
    if end - at < size:
        raise Truncated(size, end - at, at)


def read_uint(size: int, data: bytes, at: int, end: int) -> int:
    """Return a number of *size* bytes."""
    if end - at < size:
        raise Truncated(size, end - at, at)
    return int.from_bytes(data[at : at + size], "big")


def _ipv4(data: bytes, at: int, end: int) -> str:
    if end - at < 4:
        raise Truncated(4, end - at, at)
    return f"{data[at]}.{data[at + 1]}.{data[at + 2]}.{data[at + 3]}"


def _ipv6(data: bytes, at: int, end: int) -> str:
    if end - at < 16:
        raise Truncated(16, end - at, at)
    return str(ipaddress.IPv6Address(data[at : at + 16]))


def _pair(four: int, six: int, data: bytes, at: int, end: int) -> tuple[str, str]:
    """Return the IPv4 and the IPv6 address that stand there, as far as the flags say."""
    ipv4 = _ipv4(data, at, end) if four else ""
    at += 4 if four else 0
    return ipv4, _ipv6(data, at, end) if six else ""


def _addresses(*texts: str) -> bytes:
    return b"".join(ipaddress.ip_address(t).packed for t in texts if t)


class FTeid(NamedTuple):
    """F-TEID (8.2.3). ``choose``: the UPF shall choose one; equal ``choose_id`` share it. An empty address: none."""

    teid: int = 0
    ipv4: str = ""
    ipv6: str = ""
    choose: bool = False
    choose_id: int | None = None

    @classmethod
    def read(cls, data: bytes, at: int, end: int) -> FTeid:
        """Read the value of the element."""
        if at >= end:
            raise Truncated(1, 0, at)
        flags = data[at]
        if flags & 4:
            if flags & 8:
                _need(1, at + 1, end)
                return cls(choose=True, choose_id=data[at + 1])
            return cls(choose=True)
        if end - at < 5:
            raise Truncated(4, end - at - 1, at + 1)
        (teid,) = _U32(data, at + 1)
        return cls(teid, *_pair(flags & 1, flags & 2, data, at + 5, end))

    def bytes(self) -> bytes:
        """Return the value of the element."""
        if self.choose:
            return bytes([5]) if self.choose_id is None else bytes([13, self.choose_id])
        flags = (1 if self.ipv4 else 0) | (2 if self.ipv6 else 0)
        return bytes([flags]) + self.teid.to_bytes(4, "big") + _addresses(self.ipv4, self.ipv6)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses it can be reached at."""
        return tuple([a for a in (self.ipv4, self.ipv6) if a])


class FSeid(NamedTuple):
    """F-SEID (8.2.37)."""

    seid: int
    ipv4: str = ""
    ipv6: str = ""

    @classmethod
    def read(cls, data: bytes, at: int, end: int) -> FSeid:
        """Read the value of the element."""
        if end - at < 9:
            raise Truncated(9, end - at, at)
        flags, (seid,) = data[at], _U64(data, at + 1)
        return cls(seid, *_pair(flags & 2, flags & 1, data, at + 9, end))

    def bytes(self) -> bytes:
        """Return the value of the element."""
        flags = (2 if self.ipv4 else 0) | (1 if self.ipv6 else 0)
        return bytes([flags]) + self.seid.to_bytes(8, "big") + _addresses(self.ipv4, self.ipv6)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the entity that chose it."""
        return tuple([a for a in (self.ipv4, self.ipv6) if a])


class UeAddress(NamedTuple):
    """UE IP Address (8.2.62). ``ipv6`` is an address; a prefix when its length is neither 64 nor 128."""

    ipv4: str = ""
    ipv6: str = ""
    destination: bool = False  # S/D: the UE is the destination

    @classmethod
    def read(cls, data: bytes, at: int, end: int) -> UeAddress:
        """Read the value of the element."""
        if at >= end:
            raise Truncated(1, 0, at)
        flags = data[at]
        four, six = flags & 18 == 2, flags & 33 == 1
        ipv4, ipv6 = _pair(four, six, data, at + 1, end)
        if not flags & 72:
            return cls(ipv4, ipv6, flags & 4 == 4)
        at += 1 + 4 * four + 16 * six
        delegated = read_uint(1, data, at, end) if flags & 8 else 0
        at += 1 if flags & 8 else 0
        length = read_uint(1, data, at, end) if flags & 64 else 64 - delegated
        if ipv6 and length not in (64, 128):
            if not 0 < length <= 128:  # also when more than 64 bits are delegated
                raise BadValue(f"IPv6 prefix length {length}", at)
            ipv6 = str(ipaddress.ip_network(f"{ipv6}/{length}", strict=False))
        return cls(ipv4, ipv6, flags & 4 == 4)

    def bytes(self) -> bytes:
        """Return the value of the element."""
        v6, _, length = self.ipv6.partition("/")
        flags = (2 if self.ipv4 else 0) | (1 if v6 else 0) | (4 if self.destination else 0) | (64 if length else 0)
        return bytes([flags]) + _addresses(self.ipv4, v6) + (bytes([int(length)]) if length else b"")


class OuterHeader(NamedTuple):
    """Outer Header Creation (8.2.56) of a GTP-U tunnel."""

    teid: int
    ipv4: str = ""
    ipv6: str = ""

    @classmethod
    def read(cls, data: bytes, at: int, end: int) -> OuterHeader | None:
        """Read the value; None when the header is not GTP-U."""
        _need(2, at, end)
        what = data[at]
        if not what & 3:
            return None
        _need(4, at + 2, end)
        (teid,) = _U32(data, at + 2)
        return cls(teid, *_pair(what & 1, what & 2, data, at + 6, end))

    def bytes(self) -> bytes:
        """Return the value of the element."""
        what = (0x0100 if self.ipv4 else 0) | (0x0200 if self.ipv6 else 0)
        return what.to_bytes(2, "big") + self.teid.to_bytes(4, "big") + _addresses(self.ipv4, self.ipv6)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses of the receiver."""
        return tuple([a for a in (self.ipv4, self.ipv6) if a])


def _sized(data: bytes, at: int, end: int) -> tuple[bytes, int]:
    """Return the bytes behind a length of one byte, and where they end."""
    _need(1, at, end)
    stop = at + 1 + data[at]
    if stop > end:
        raise BadLength(data[at], end - at - 1, at + 1)
    return data[at + 1 : stop], stop


def read_user_id(data: bytes, at: int, end: int) -> tuple[Identity, int]:
    """Read User ID (8.2.101): digits of IMSI, IMEI, MSISDN; SUPI, GPSI and PEI when they carry one of these.

    Returns the identity and how many of its parts made no sense: such a part stays unknown and
    takes nothing else along.
    """
    _need(1, at, end)
    flags, at, refused = data[at], at + 1, 0
    digits = ["", "", ""]
    for n, bit in enumerate((1, 2, 4)):
        if flags & bit:
            raw, stop = _sized(data, at, end)
            try:
                digits[n] = untbcd(raw, at + 1)
            except BadValue:
                refused += 1
            at = stop
    found = {"imsi": digits[0], "imei": digits[1], "msisdn": digits[2], "nai": ""}
    if flags & 8:
        raw, at = _sized(data, at, end)
        found["nai"] = raw.decode(errors="replace")
    for bit in (16, 32, 64) if flags & 0x70 else ():  # SUPI, GPSI, PEI: "imsi-DIGITS" and the like (TS 29.571, 5.3.2)
        if flags & bit:
            raw, at = _sized(data, at, end)
            kind, _, value = raw.decode(errors="replace").partition("-")
            name = {"imeisv": "imei"}.get(kind, kind)
            if name in found and not found[name] and (name == "nai" or (value.isascii() and value.isdecimal())):
                found[name] = value
    if len(found["imsi"]) > _IMSI_DIGITS:
        found["imsi"], refused = "", refused + 1
    return Identity(**found), refused


def user_id(identity: Identity) -> bytes:
    """Return the value of User ID."""
    out, flags = b"", 0
    for bit, digits in ((1, identity.imsi), (2, identity.imei), (4, identity.msisdn)):
        if digits:
            flags |= bit
            raw = tbcd(digits)
            out += bytes([len(raw)]) + raw
    return bytes([flags]) + out


_CLASSES = ((0, 8), (128, 16), (192, 24))  # RFC 2865, 5.22: length of a route that tells none, by its first octet


def read_route(data: bytes, at: int, end: int) -> str:
    """Read Framed-Route (8.2.109) or Framed-IPv6-Route (8.2.111): a prefix, then gateway and metrics (RFC 2865, 5.22).

    Returns the prefix in canonical text; empty when it makes no sense, or would be everybody's.
    """
    text = data[at:end].rstrip(b"def read_csids").decode("ascii", errors="replace").partition(" ")[0]
    try:
        address, slash, length = text.partition("/")
        ip = ipaddress.ip_address(address)
        if not slash and ip.version == 4:
            length = str(next(bits for first, bits in reversed(_CLASSES) if ip.packed[0] >= first))
        network = ipaddress.ip_network(f"{address}/{length or ip.max_prefixlen}", strict=False)
    except ValueError:
        return ""
    return str(network) if network.prefixlen else ""


def read_csids(data: bytes, at: int, end: int) -> set[bytes]:
    """Read FQ-CSID (8.2.61): each node address with one of its connection set identifiers."""
    _need(1, at, end)
    first, at = data[at], at + 1
    size = 16 if first >> 4 == 1 else 4
    _need(size + 2 * (first & 15), at, end)
    node, at = bytes([first >> 4]) + data[at : at + size], at + size
    return {node + data[n : n + 2] for n in range(at, at + 2 * (first & 15), 2)}


def read_labels(data: bytes, at: int, end: int) -> str:
    """Read APN/DNN (8.2.103) or a Network Instance (8.2.4), which is labels or plain text."""
    raw = data[at:end]
    labels, at = [], 0
    while at < len(raw) and 0 < raw[at] < len(raw) - at:
        labels.append(raw[at + 1 : at + 1 + raw[at]])
        at += 1 + raw[at]
    text = b".".join(labels) if labels and at == len(raw) else raw
    return text.decode(errors="replace")


def labels(text: str) -> bytes:
    """Return a name as labels (TS 23.003, 9.1)."""
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split("."))


def read_snssai(data: bytes, at: int, end: int) -> str:
    """Read S-NSSAI (8.2.176) as "SST" or "SST-SD"; SD 0xffffff means none (TS 23.003, 28.4.2)."""
    _need(4, at, end)
    sst, sd = data[at], int.from_bytes(data[at + 1 : at + 4], "big")
    return str(sst) if sd == 0xFFFFFF else f"{sst}-{sd:06x}"


def snssai(text: str) -> bytes:
    """Return the value of S-NSSAI."""
    sst, _, sd = text.partition("-")
    return bytes([int(sst)]) + int(sd or "ffffff", 16).to_bytes(3, "big")


def node_id(text: str) -> bytes:
    """Return the value of Node ID (8.2.38) for an address."""
    ip = ipaddress.ip_address(text)
    return bytes([0 if ip.version == 4 else 1]) + ip.packed


def read_node_id(data: bytes, at: int, end: int) -> str:
    """Read Node ID (8.2.38): an address or a name."""
    _need(1, at, end)
    kind = data[at] & 15
    if kind == 0:
        return _ipv4(data, at + 1, end)
    return _ipv6(data, at + 1, end) if kind == 1 else read_labels(data, at + 1, end)
