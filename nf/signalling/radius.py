"""RADIUS accounting from a mirror: the subscriber of each UE address, for sites that see N6 or SGi only.

    Acct-Status-Type             event
    Start, Interim-Update        SessionUp, or SessionMoved if anything changed
    Stop                         SessionDown deleted
    Accounting-On, -Off          SessionDown restarted, of all sessions of that gateway

RFC 2866; the IMSI is 3GPP-IMSI (TS 29.061, 16.4.7), never User-Name, and the place is 3GPP-User-Location-Info and
3GPP-RAT-Type. A fixed line is known by Agent-Circuit-Id (RFC 4679, 3.3.1), which an access node gives one line;
NAS-Port-Id may be that of a VLAN with many lines. A session is known by its gateway and Acct-Session-Id, which the
gateway gives once: a Start that comes after its Stop is late and changes nothing. There are no tunnels here; a session
joins those of PFCP and GTP-C by the UE address.
pyrad decodes. Bad input is counted, never raised.
"""

from __future__ import annotations

import io
import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from pyrad.dictionary import Dictionary
from pyrad.packet import AccountingRequest, Packet, PacketError

from gtp.codec import Reader
from gtp.events import (
    NOWHERE,
    EndReason,
    Identity,
    Place,
    Session,
    SessionDown,
    SessionEvent,
    SessionMoved,
    SessionUp,
)
from gtp.gtpc.contexts import apn_name
from gtp.places import rat_name, read_geographic, told

__all__ = ["PORT", "RadiusTracker"]

PORT = 1813  # RFC 2866, 3
_START, _STOP, _INTERIM, _ON, _OFF = 1, 2, 3, 7, 8  # Acct-Status-Type (RFC 2866, 5.1)
_MAX_SESSIONS = 1_000_000
_MAX_STOPPED = 65_536
_IMSI_DIGITS, _DIGITS = 15, 16  # at most (TS 23.003, 2.2, 6.2)
_HEADER_BYTES = 20
_UNASSIGNED = ("255.255.255.255", "255.255.255.254", "0.0.0.0")  # Framed-IP-Address (RFC 2865, 5.8)

# Attributes that matter: RFC 2865, 2866, 3162, 4679, 6911 and TS 29.061, table 7.
_DICTIONARY = """
ATTRIBUTE NAS-IP-Address 4 ipaddr
ATTRIBUTE Framed-IP-Address 8 ipaddr
ATTRIBUTE Called-Station-Id 30 string
ATTRIBUTE Calling-Station-Id 31 string
ATTRIBUTE NAS-Identifier 32 string
ATTRIBUTE Acct-Status-Type 40 integer
ATTRIBUTE Acct-Session-Id 44 octets
ATTRIBUTE NAS-IPv6-Address 95 ipv6addr
ATTRIBUTE Framed-IPv6-Prefix 97 ipv6prefix
ATTRIBUTE Framed-IPv6-Address 168 ipv6addr
VENDOR 3GPP 10415
BEGIN-VENDOR 3GPP
ATTRIBUTE 3GPP-IMSI 1 string
ATTRIBUTE 3GPP-IMEISV 20 string
ATTRIBUTE 3GPP-RAT-Type 21 octets
ATTRIBUTE 3GPP-User-Location-Info 22 octets
END-VENDOR 3GPP
VENDOR ADSL-Forum 3561
BEGIN-VENDOR ADSL-Forum
ATTRIBUTE Agent-Circuit-Id 1 string
END-VENDOR ADSL-Forum
"""

_Key = tuple[str, bytes]  # gateway and Acct-Session-Id


class RadiusTracker:
    """The tracker that turns RADIUS accounting into session events; ``counters`` names everything that led to none."""

    def __init__(self, capacity: int = _MAX_SESSIONS) -> None:
        self.counters: Counter[str] = Counter()
        self._capacity = capacity
        self._dictionary = Dictionary(io.StringIO(_DICTIONARY))
        self._sessions: dict[_Key, Session] = {}
        self._stopped: OrderedDict[_Key, None] = OrderedDict()
        self._number = 0

    def count_from(self, number: int) -> None:
        """Count the keys of sessions on from *number*, so that they are not those of another tracker."""
        self._number = number

    def purge(self, imsi: str, keys: Collection[str]) -> None:
        """Forget the sessions of a subscriber, and those that have *keys*."""
        mine = [k for k, session in self._sessions.items() if session.identity.imsi == imsi or session.key in keys]
        for key in mine:
            del self._sessions[key]

    def __len__(self) -> int:
        return len(self._sessions)

    def feed(self, payload: bytes, src: tuple[str, int], at_s: float) -> list[SessionEvent]:
        """Take one UDP payload from *src*; never raises."""
        if payload[:1] != bytes([AccountingRequest]):
            self.counters["radius_other_messages"] += 1
            return []
        self.counters["radius_messages"] += 1
        packet = self._decode(payload)
        if packet is None:
            self.counters["radius_malformed"] += 1
            return []
        gateway = _text(packet, "NAS-IP-Address", "NAS-IPv6-Address", "NAS-Identifier") or src[0]
        status = _first(packet, "Acct-Status-Type")
        if status in (_ON, _OFF):
            return self._restarted(gateway, at_s)
        key = gateway, _first(packet, "Acct-Session-Id") or b""
        if not key[1] or status not in (_START, _STOP, _INTERIM):
            self.counters["radius_without_session"] += 1
            return []
        return self._stop(key, at_s) if status == _STOP else self._say(key, packet, at_s)

    def _decode(self, payload: bytes) -> Packet | None:
        """Decode by pyrad, if every attribute ends within the packet: pyrad takes a last one that is cut short."""
        at, end = _HEADER_BYTES, int.from_bytes(payload[2:4], "big")
        while at + 1 < end <= len(payload) and payload[at + 1] >= 2:
            at += payload[at + 1]
        if at != end:
            return None
        try:
            return Packet(packet=payload, dict=self._dictionary)
        except PacketError:
            return None

    def _restarted(self, gateway: str, at_s: float) -> list[SessionEvent]:
        self.counters["radius_restarts"] += 1
        keys = [key for key in self._sessions if key[0] == gateway]
        return [SessionDown(at_s, self._sessions.pop(key), EndReason.RESTARTED) for key in keys]

    def _stop(self, key: _Key, at_s: float) -> list[SessionEvent]:
        self._stopped[key] = None
        if len(self._stopped) > _MAX_STOPPED:
            self._stopped.popitem(last=False)
        session = self._sessions.pop(key, None)
        if session is None:
            self.counters["radius_unknown_session"] += 1
            return []
        return [SessionDown(at_s, session, EndReason.DELETED)]

    def _say(self, key: _Key, packet: Packet, at_s: float) -> list[SessionEvent]:
        if key in self._stopped:
            self.counters["radius_after_stop"] += 1
            return []
        before = self._sessions.get(key)
        if before is None and len(self._sessions) >= self._capacity:
            self.counters["radius_full"] += 1
            return []
        if before is None:
            self._number += 1
        session = self._session(before.key if before else f"radius-{self._number}", packet)
        session = replace(session, place=_place(before.place if before else NOWHERE, packet, at_s))
        if not session.ue_ipv4 and not session.ue_ipv6:
            self.counters["radius_without_address"] += 1
            return []
        if session == before:
            return []
        self._sessions[key] = session
        return [SessionUp(at_s, session) if before is None else SessionMoved(at_s, session)]

    def _session(self, key: str, packet: Packet) -> Session:
        ipv4, circuit = _text(packet, "Framed-IP-Address"), _text(packet, "Agent-Circuit-Id")
        apn = apn_name(_text(packet, "Called-Station-Id").encode().split(b"."))
        return Session(
            key=key,
            source="radius",
            identity=Identity(
                self._digits(packet, "3GPP-IMSI", _IMSI_DIGITS),
                self._digits(packet, "3GPP-IMEISV", _DIGITS),
                self._digits(packet, "Calling-Station-Id", _DIGITS - 1) if not circuit else "",
                f"line:{circuit}" if circuit else "",
            ),
            ue_ipv4="" if ipv4 in _UNASSIGNED else ipv4,
            ue_ipv6=_ipv6(packet),
            dnn=apn,
            instance=apn,
        )

    def _digits(self, packet: Packet, name: str, most: int) -> str:
        """Return the digits of an identity; one that makes no sense stays unknown."""
        text = _text(packet, name).removeprefix("+")
        if text and not (text.isascii() and text.isdecimal() and len(text) <= most):
            self.counters["radius_identity_refused"] += 1
            return ""
        return text


def _place(before: Place, packet: Packet, at_s: float) -> Place:
    """Return the place after a packet (TS 29.061, 16.4.7.2); RAT types beside those of TS 29.274 say nothing."""
    number, location = _first(packet, "3GPP-RAT-Type"), _first(packet, "3GPP-User-Location-Info")
    rat = rat_name(number[0]) if isinstance(number, bytes) and len(number) == 1 else ""
    where = read_geographic(Reader(location)) if isinstance(location, bytes) else ("", "")
    return told(before, at_s, rat, *where)


def _first(packet: Packet, *names: str) -> Any:
    """Return the first value of the first attribute that is there and can be read."""
    for name in names:
        try:
            values = packet.get(name)
        except (ValueError, TypeError, LookupError):
            continue
        if values:
            return values[0]
    return None


def _text(packet: Packet, *names: str) -> str:
    """Return the first value of text or address; a value that is no UTF-8 (pyrad leaves it as bytes) is none."""
    value = _first(packet, *names)
    return value if isinstance(value, str) else ""


def _ipv6(packet: Packet) -> str:
    """Return the UE's address, or its prefix (TS 29.061, 16.4.3: Framed-IPv6-Prefix)."""
    for name in ("Framed-IPv6-Address", "Framed-IPv6-Prefix"):
        text = _text(packet, name)
        try:
            network = ipaddress.IPv6Network(text, strict=False)
        except ValueError:
            continue
        if int(network.network_address):
            return text if network.prefixlen == 128 and "/" not in text else str(network)
    return ""
