"""GTPv2-C messages as bytes: the part of TS 29.274 that the lab and the tests need."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from gtp.codec import tbcd
from gtp.gtpc.v2 import FTeid, Kind, Type

__all__ = [
    "Connection",
    "bearer",
    "cause",
    "create_request",
    "create_response",
    "delete_request",
    "echo_request",
    "element",
    "fteid",
    "message",
    "modify_request",
    "response",
]

_ACCEPTED = 16
_QOS = bytes([9 << 2 | 1, 9]) + bytes(20)  # bearer QoS (8.15): priority 9, QCI 9, no bit rates
_SERVING_NETWORK, _RAT_TYPE, _AMBR, _BEARER_QOS, _SELECTION, _PDN_TYPE, _APN_RESTRICTION = 83, 82, 72, 80, 128, 99, 127
_E_UTRAN = 6  # RAT type (8.17)


@dataclass(frozen=True, slots=True, repr=False)
class Connection:
    """A PDN connection as MME and SGW speak of it on S11. No repr: it would show the subscriber."""

    imsi: str
    ue_ipv4: str
    mme: FTeid  # S11 control ends; their interface types are set here
    sgw: FTeid
    s1u_sgw: FTeid
    s5u_pgw: FTeid
    apn: str = "internet"
    ebi: int = 5
    msisdn: str = ""


def element(kind: int, value: bytes, instance: int = 0) -> bytes:
    """Return an element (8.2.1)."""
    return kind.to_bytes(1, "big") + len(value).to_bytes(2, "big") + bytes([instance]) + value


def message(kind: int, teid: int | None, sequence: int, *elements: bytes) -> bytes:
    """Return a message (5.1); without a TEID the header has none."""
    body = (teid.to_bytes(4, "big") if teid is not None else b"") + sequence.to_bytes(3, "big") + b"\0"
    body += b"".join(elements)
    return bytes([0x48 if teid is not None else 0x40, kind]) + len(body).to_bytes(2, "big") + body


def fteid(f: FTeid) -> bytes:
    """Return F-TEID (8.22)."""
    flags = bool(f.ipv4) << 7 | bool(f.ipv6) << 6 | f.interface
    addresses = b"".join(ipaddress.ip_address(a).packed for a in f.addresses)
    return element(Type.F_TEID, bytes([flags]) + f.teid.to_bytes(4, "big") + addresses, f.instance)


def cause(number: int = _ACCEPTED) -> bytes:
    """Return Cause (8.4)."""
    return element(Type.CAUSE, bytes([number, 0]))


def bearer(ebi: int, *ends: FTeid, answer: int | None = None, qos: bool = False) -> bytes:
    """Return a bearer context (8.28)."""
    parts = [element(Type.EBI, bytes([ebi])), *([cause(answer)] if answer is not None else []), *map(fteid, ends)]
    parts += [element(_BEARER_QOS, _QOS)] if qos else []
    return element(Type.BEARER_CONTEXT, b"".join(parts))


def create_request(sequence: int, c: Connection) -> bytes:
    """Return Create Session Request of an attach on S11 (7.2.1)."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in c.apn.split("."))
    return message(
        Kind.CREATE_SESSION_REQUEST,
        0,
        sequence,
        element(Type.IMSI, tbcd(c.imsi)),
        *([element(Type.MSISDN, tbcd(c.msisdn))] if c.msisdn else []),
        element(_SERVING_NETWORK, bytes.fromhex("00f110")),  # MCC 001, MNC 01: the test network (TS 36.508, 4.4.2)
        element(_RAT_TYPE, bytes([_E_UTRAN])),
        fteid(FTeid(10, c.mme.teid, c.mme.ipv4, c.mme.ipv6)),
        element(Type.APN, labels),
        element(_SELECTION, b"\0"),
        element(_PDN_TYPE, b"\1"),
        element(Type.PAA, b"\1" + bytes(4)),
        element(_APN_RESTRICTION, b"\0"),
        element(_AMBR, (1000).to_bytes(4, "big") * 2),
        bearer(c.ebi, qos=True),
    )


def create_response(sequence: int, c: Connection, number: int = _ACCEPTED) -> bytes:
    """Return Create Session Response (7.2.2)."""
    if number != _ACCEPTED:
        refused = bearer(c.ebi, answer=number)
        return message(Kind.CREATE_SESSION_REQUEST + 1, c.mme.teid, sequence, cause(number), refused)
    ends = (
        FTeid(1, c.s1u_sgw.teid, c.s1u_sgw.ipv4, c.s1u_sgw.ipv6),
        FTeid(5, c.s5u_pgw.teid, c.s5u_pgw.ipv4, c.s5u_pgw.ipv6, instance=2),
    )
    return message(
        Kind.CREATE_SESSION_REQUEST + 1,
        c.mme.teid,
        sequence,
        cause(),
        fteid(FTeid(11, c.sgw.teid, c.sgw.ipv4, c.sgw.ipv6)),
        element(Type.PAA, b"\1" + ipaddress.IPv4Address(c.ue_ipv4).packed),
        element(_APN_RESTRICTION, b"\0"),
        bearer(c.ebi, *ends, answer=_ACCEPTED),
    )


def modify_request(sequence: int, c: Connection, s1u_enb: FTeid) -> bytes:
    """Return Modify Bearer Request with the radio's end of the tunnel (7.2.7)."""
    return message(Kind.MODIFY_BEARER_REQUEST, c.sgw.teid, sequence, bearer(c.ebi, s1u_enb))


def delete_request(sequence: int, c: Connection) -> bytes:
    """Return Delete Session Request (7.2.9)."""
    return message(Kind.DELETE_SESSION_REQUEST, c.sgw.teid, sequence, element(Type.EBI, bytes([c.ebi])))


def response(kind: Kind, sequence: int, teid: int, *elements: bytes, number: int = _ACCEPTED) -> bytes:
    """Return the response to a request of *kind*: its cause, and more."""
    return message(kind + 1, teid, sequence, cause(number), *elements)


def echo_request(sequence: int, recovery: int) -> bytes:
    """Return Echo Request (7.1.1)."""
    return message(Kind.ECHO_REQUEST, None, sequence, element(Type.RECOVERY, bytes([recovery])))
