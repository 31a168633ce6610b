"""PFCP information elements (TS 29.244, 8): those that carry identity, addresses and tunnels.

Each class reads and writes one element. `walk` splits a message or a grouped element; what it does
not know it passes over by its length, as 8.1.1 asks.
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass

from gtp.codec import BadValue, Reader, tbcd, untbcd
from gtp.events import Identity

__all__ = ["FSeid", "FTeid", "Interface", "OuterHeader", "Type", "UeAddress", "ie", "walk"]

_IMSI_DIGITS = 15  # at most (TS 23.003, 2.2)


class Type(enum.IntEnum):
    """Element types (TS 29.244, table 8.1.2-1)."""

    CREATE_PDR = 1
    PDI = 2
    CREATE_FAR = 3
    FORWARDING_PARAMETERS = 4
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
    PRECEDENCE = 29
    DESTINATION_INTERFACE = 42
    APPLY_ACTION = 44
    PDR_ID = 56
    F_SEID = 57
    NODE_ID = 60
    FQ_CSID = 65
    OUTER_HEADER_CREATION = 84
    UE_IP_ADDRESS = 93
    OUTER_HEADER_REMOVAL = 95
    RECOVERY_TIME_STAMP = 96
    FAR_ID = 108
    PDN_TYPE = 113
    QFI = 124
    CREATE_TRAFFIC_ENDPOINT = 127
    CREATED_TRAFFIC_ENDPOINT = 128
    UPDATE_TRAFFIC_ENDPOINT = 129
    REMOVE_TRAFFIC_ENDPOINT = 130
    TRAFFIC_ENDPOINT_ID = 131
    USER_ID = 141
    APN_DNN = 159
    SRREQ_FLAGS = 161
    SESSION_RETENTION = 183
    ASSOCIATION_RESPONSE_FLAGS = 184
    S_NSSAI = 257


class Interface(enum.IntEnum):
    """Source and destination interface (TS 29.244, 8.2.2 and 8.2.24)."""

    ACCESS = 0
    CORE = 1
    N6_LAN = 2
    CP_FUNCTION = 3


def walk(r: Reader) -> Iterator[tuple[int, Reader]]:
    """Yield (type, value) of each element; raises CodecError when one does not fit."""
    while len(r):
        kind, length = r.unpack("!HH")
        yield kind, r.sub(length)


def ie(kind: Type, *parts: bytes) -> bytes:
    """Return an element with its header."""
    value = b"".join(parts)
    return kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


@dataclass(frozen=True, slots=True)
class FTeid:
    """F-TEID (8.2.3). ``choose``: the UPF shall choose one; equal ``choose_id`` share it. An empty address: none."""

    teid: int = 0
    ipv4: str = ""
    ipv6: str = ""
    choose: bool = False
    choose_id: int | None = None

    @classmethod
    def read(cls, r: Reader) -> FTeid:
        """Read the value of the element."""
        flags = r.uint(1)
        if flags & 4:
            return cls(choose=True, choose_id=r.uint(1) if flags & 8 else None)
        teid = r.uint(4)
        return cls(teid, r.ipv4() if flags & 1 else "", r.ipv6() if flags & 2 else "")

    def bytes(self) -> bytes:
        """Return the value of the element."""
        if self.choose:
            return bytes([5]) if self.choose_id is None else bytes([13, self.choose_id])
        flags = (1 if self.ipv4 else 0) | (2 if self.ipv6 else 0)
        return bytes([flags]) + self.teid.to_bytes(4, "big") + _addresses(self.ipv4, self.ipv6)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses it can be reached at."""
        return tuple(a for a in (self.ipv4, self.ipv6) if a)


def _addresses(*texts: str) -> bytes:
    return b"".join(ipaddress.ip_address(t).packed for t in texts if t)


@dataclass(frozen=True, slots=True)
class FSeid:
    """F-SEID (8.2.37)."""

    seid: int
    ipv4: str = ""
    ipv6: str = ""

    @classmethod
    def read(cls, r: Reader) -> FSeid:
        """Read the value of the element."""
        flags, seid = r.unpack("!BQ")
        return cls(seid, r.ipv4() if flags & 2 else "", r.ipv6() if flags & 1 else "")

    def bytes(self) -> bytes:
        """Return the value of the element."""
        flags = (2 if self.ipv4 else 0) | (1 if self.ipv6 else 0)
        return bytes([flags]) + self.seid.to_bytes(8, "big") + _addresses(self.ipv4, self.ipv6)

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the entity that chose it."""
        return tuple(a for a in (self.ipv4, self.ipv6) if a)


@dataclass(frozen=True, slots=True)
class UeAddress:
    """UE IP Address (8.2.62). ``ipv6`` is an address; a prefix when its length is neither 64 nor 128."""

    ipv4: str = ""
    ipv6: str = ""
    destination: bool = False  # S/D: the UE is the destination

    @classmethod
    def read(cls, r: Reader) -> UeAddress:
        """Read the value of the element."""
        flags = r.uint(1)
        ipv4 = r.ipv4() if flags & 2 and not flags & 16 else ""
        ipv6 = r.ipv6() if flags & 1 and not flags & 32 else ""
        delegated = r.uint(1) if flags & 8 else 0
        length = r.uint(1) if flags & 64 else 64 - delegated
        if ipv6 and length not in (64, 128):
            if not 0 < length <= 128:  # also when more than 64 bits are delegated
                raise BadValue(f"IPv6 prefix length {length}", r.at - 1)
            ipv6 = str(ipaddress.ip_network(f"{ipv6}/{length}", strict=False))
        return cls(ipv4, ipv6, bool(flags & 4))

    def bytes(self) -> bytes:
        """Return the value of the element."""
        v6, _, length = self.ipv6.partition("/")
        flags = (2 if self.ipv4 else 0) | (1 if v6 else 0) | (4 if self.destination else 0) | (64 if length else 0)
        return bytes([flags]) + _addresses(self.ipv4, v6) + (bytes([int(length)]) if length else b"")


@dataclass(frozen=True, slots=True)
class OuterHeader:
    """Outer Header Creation (8.2.56) of a GTP-U tunnel."""

    teid: int
    ipv4: str = ""
    ipv6: str = ""

    @classmethod
    def read(cls, r: Reader) -> OuterHeader | None:
        """Read the value; None when the header is not GTP-U."""
        what = r.uint(2)
        if not what & 0x0300:
            return None
        teid = r.uint(4)
        return cls(teid, r.ipv4() if what & 0x0100 else "", r.ipv6() if what & 0x0200 else "")

    def bytes(self) -> bytes:
        """Return the value of the element."""
        what = (0x0100 if self.ipv4 else 0) | (0x0200 if self.ipv6 else 0)
        return what.to_bytes(2, "big") + self.teid.to_bytes(4, "big") + _addresses(self.ipv4, self.ipv6)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it leads to."""
        return tuple(a for a in (self.ipv4, self.ipv6) if a)


def read_user_id(r: Reader) -> tuple[Identity, int]:
    """Read User ID (8.2.101): digits of IMSI, IMEI, MSISDN; SUPI, GPSI and PEI when they carry one of these.

    Returns the identity and how many of its parts made no sense: such a part stays unknown and
    takes nothing else along.
    """
    flags, refused = r.uint(1), 0
    found = {"imsi": "", "imei": "", "msisdn": "", "nai": ""}
    for bit, name in ((1, "imsi"), (2, "imei"), (4, "msisdn")):
        if flags & bit:
            at, raw = r.at, r.sub(r.uint(1)).rest()
            try:
                found[name] = untbcd(raw, at)
            except BadValue:
                refused += 1
    if flags & 8:
        found["nai"] = r.sub(r.uint(1)).rest().decode(errors="replace")
    for bit in (16, 32, 64):  # SUPI, GPSI, PEI: "imsi-DIGITS" and the like (TS 29.571, 5.3.2)
        if flags & bit:
            kind, _, value = r.sub(r.uint(1)).rest().decode(errors="replace").partition("-")
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


def read_csids(r: Reader) -> set[bytes]:
    """Read FQ-CSID (8.2.61): each node address with one of its connection set identifiers."""
    first = r.uint(1)
    node = bytes([first >> 4]) + r.take(16 if first >> 4 == 1 else 4)
    return {node + r.take(2) for _ in range(first & 15)}


def read_labels(r: Reader) -> str:
    """Read APN/DNN (8.2.103) or a Network Instance (8.2.4), which is labels or plain text."""
    raw = r.rest()
    labels, at = [], 0
    while at < len(raw) and 0 < raw[at] < len(raw) - at:
        labels.append(raw[at + 1 : at + 1 + raw[at]])
        at += 1 + raw[at]
    text = b".".join(labels) if labels and at == len(raw) else raw
    return text.decode(errors="replace")


def labels(text: str) -> bytes:
    """Return a name as labels (TS 23.003, 9.1)."""
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split("."))


def read_snssai(r: Reader) -> str:
    """Read S-NSSAI (8.2.176) as "SST" or "SST-SD"; SD 0xffffff means none (TS 23.003, 28.4.2)."""
    sst, sd = r.uint(1), r.uint(3)
    return str(sst) if sd == 0xFFFFFF else f"{sst}-{sd:06x}"


def snssai(text: str) -> bytes:
    """Return the value of S-NSSAI."""
    sst, _, sd = text.partition("-")
    return bytes([int(sst)]) + int(sd or "ffffff", 16).to_bytes(3, "big")


def node_id(text: str) -> bytes:
    """Return the value of Node ID (8.2.38) for an address."""
    ip = ipaddress.ip_address(text)
    return bytes([0 if ip.version == 4 else 1]) + ip.packed


def read_node_id(r: Reader) -> str:
    """Read Node ID (8.2.38): an address or a name."""
    kind = r.uint(1) & 15
    if kind == 0:
        return r.ipv4()
    return r.ipv6() if kind == 1 else read_labels(r)
