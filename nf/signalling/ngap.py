"""NGAP from a mirrored N2 interface: tunnels and slice of each PDU session, place and MSIN of each UE.

It is for sites whose PFCP has no User ID, and tells the place of a UE, which N4 does not have. A UE is known by its ids
at AMF and gNB; it names itself by the SUCI in Registration Request or Identity Response. Only the null scheme shows the
MSIN (TS 33.501, C.2); it is kept as MSIN, and never completed to an IMSI. pycrate decodes the ASN.1 (about 0.3 ms a
message: beside the hot path).

    procedure (TS 38.413, 9.4.3)                     event
    Initial Context Setup, PDU Session Setup         SessionUp, when the gNB has answered
    Path Switch Request, Handover Notify             SessionMoved, or SessionUp where that was not seen
    any message with User Location Information       SessionMoved if the place changed
    PDU Session Release, UE Context Release          SessionDown deleted
    NG Setup                                         SessionDown restarted, of all sessions of the gNB
"""

from __future__ import annotations

import ipaddress
import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from gtp import places
from gtp.codec import BadValue, untbcd
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
    Side,
    Tunnel,
)
from gtp.pfcp.ie import read_snssai
from gtp.sctp import SctpMessage

__all__ = ["PORT", "NgapTracker", "msin_of"]

PORT = 38412  # TS 38.412, 7
_PPID = 60  # TS 38.412, 7
_MAX_UES = 500_000
_HANDOVER_RESOURCES, _HANDOVER_NOTIFY, _CONTEXT_SETUP, _INITIAL_UE = 13, 11, 14, 15
_NG_SETUP, _PATH_SWITCH, _RELEASE, _SETUP, _CONTEXT_RELEASE = 21, 25, 28, 29, 41
_NAS_CARRIERS = (_INITIAL_UE, 46)  # InitialUEMessage, UplinkNASTransport
_AMF_ID, _NAS_PDU, _RAN_ID, _SOURCE_AMF_ID, _UE_IDS, _LOCATION = 10, 38, 85, 100, 114, 121  # protocol IE ids (9.4.7)
# Technologies beside cells, by the choice and by the ids of its extensions (9.3.1.16): names of TS 29.571, RatType.
_NOT_CELLULAR = {
    "userLocationInformationN3IWF-with-PortNumber": "WLAN", 439: "WLAN", 244: "TRUSTED_N3GA", 248: "TRUSTED_WLAN",
    243: "WIRELINE",
}  # fmt: skip
_TELLS_SESSIONS = (_CONTEXT_SETUP, _SETUP, _PATH_SWITCH, _HANDOVER_RESOURCES)
_PLAIN, _INTEGRITY = 0, (1, 3)  # security header types whose content is not ciphered (TS 24.501, 9.3.1)
_REGISTRATION, _IDENTITY_RESPONSE = 0x41, 0x5C  # TS 24.501, table 9.7.1

_NO_SD = b"\xff\xff\xff"  # TS 23.003, 28.4.2

_lock = threading.Lock()  # pycrate decodes into one object that all threads share


def _decode(raw: bytes) -> Any:
    from pycrate_asn1dir import NGAP  # takes a second: only where there is an N2 mirror

    with _lock:
        pdu = NGAP.NGAP_PDU_Descriptions.NGAP_PDU
        pdu.from_aper(raw)
        return pdu.get_val()


@dataclass(slots=True)
class _Pdu:
    uplink: tuple[Tunnel, ...] = ()
    downlink: tuple[Tunnel, ...] = ()
    offered: tuple[Tunnel, ...] = ()  # by the gNB that a handover goes to
    snssai: str = ""
    session: Session | None = None


@dataclass(slots=True, repr=False)
class _Ue:
    """A UE's context. No repr: it would show the subscriber."""

    msin: str = ""
    names: set[tuple[str, str, int]] = field(default_factory=set)
    pdus: dict[int, _Pdu] = field(default_factory=dict)  # by PDU session id
    place: Place = NOWHERE


class NgapTracker:
    """The tracker that turns NGAP messages into session events; ``counters`` names everything that led to none."""

    def __init__(self, capacity: int = _MAX_UES) -> None:
        self.counters: Counter[str] = Counter()
        self._capacity = capacity
        self._ues: OrderedDict[int, _Ue] = OrderedDict()  # by id(), the least recently heard first
        self._by_name: dict[tuple[str, str, int], _Ue] = {}  # ("amf", address, id) and ("ran", address, id)
        self._number = 0

    def count_from(self, number: int) -> None:
        """Count the keys of sessions on from *number*, so that they are not those of another tracker."""
        self._number = number

    def purge(self, imsi: str, keys: Collection[str]) -> None:
        """Forget the UEs that have a session with one of *keys*: N2 names a subscriber by a part of the IMSI only."""
        mine = [ue for ue in self._ues.values() if any(p.session and p.session.key in keys for p in ue.pdus.values())]
        for ue in mine:
            self._forget(ue)

    def __len__(self) -> int:
        return sum(pdu.session is not None for ue in self._ues.values() for pdu in ue.pdus.values())

    def feed(self, message: SctpMessage, at_s: float) -> list[SessionEvent]:
        """Take one SCTP user message; never raises."""
        if message.protocol != _PPID:
            return []
        self.counters["ngap_messages"] += 1
        try:
            direction, body = _decode(message.payload)
            code, (_, value) = body["procedureCode"], body["value"]
            elements = {e["id"]: e["value"] for e in value["protocolIEs"]}
            return self._message(message, direction, code, elements, at_s)
        except Exception:  # pycrate raises errors of any kind for damaged bytes
            self.counters["ngap_malformed"] += 1
            return []

    def _message(self, m: SctpMessage, direction: str, code: int, e: dict[int, Any], at_s: float) -> list[SessionEvent]:
        asks = direction == "initiatingMessage"
        if code == _NG_SETUP and asks:
            return [x for ue in self._of_gnb(m.src) for x in self._end(ue, EndReason.RESTARTED, at_s)]
        events: list[SessionEvent] = []
        if code == _INITIAL_UE:
            events += self._begin(m, e, at_s)
        ue = self._ue(m, e, create=code in _TELLS_SESSIONS, at_gnb=code != _HANDOVER_RESOURCES)
        if ue is None:
            return events
        if code in _NAS_CARRIERS and asks and _NAS_PDU in e:
            ue.msin = msin_of(e[_NAS_PDU][1]) or ue.msin
        if _LOCATION in e:
            with suppress(BadValue):  # digits of a network that are none: nothing is said
                ue.place = places.told(ue.place, at_s, *_where(e[_LOCATION][1]))
        # The request of a handover tells the UPF's end of a UE that was not known; else it is not in force yet.
        if code in (_CONTEXT_SETUP, _SETUP) or (code == _HANDOVER_RESOURCES and not (asks and ue.pdus)):
            self._take(ue, e, asks, handover=code == _HANDOVER_RESOURCES)
        if code == _PATH_SWITCH:
            self._take(ue, e, asks=False, handover=asks)
        if code == _HANDOVER_NOTIFY or (code == _PATH_SWITCH and direction == "successfulOutcome"):
            for pdu in ue.pdus.values():
                pdu.downlink, pdu.offered = pdu.offered or pdu.downlink, ()
        if code == _RELEASE and not asks:
            events += [x for n in _numbers(e) for x in self._drop(ue, n, EndReason.DELETED, at_s)]
        if code == _CONTEXT_RELEASE and not asks:
            return events + self._end(ue, EndReason.DELETED, at_s)
        return events + self._say(ue, at_s)

    # -- UEs -------------------------------------------------------------------

    def _begin(self, m: SctpMessage, e: dict[int, Any], at_s: float) -> list[SessionEvent]:
        """Enter the UE to which a gNB gives an id; end the sessions of the UE that had it."""
        name = ("ran", m.src, e[_RAN_ID][1])
        events = self._end(self._by_name[name], EndReason.SUPERSEDED, at_s) if name in self._by_name else []
        self._enter(_Ue(), name)
        return events

    def _ue(self, m: SctpMessage, e: dict[int, Any], create: bool, at_gnb: bool) -> _Ue | None:
        """Return the UE of a message, by either of its ids; learn new ids, and a new UE if *create*."""
        ids = e[_UE_IDS][1][1] if _UE_IDS in e else {}
        pair = ids if isinstance(ids, dict) else {"aMF-UE-NGAP-ID": ids}
        amf = e[_AMF_ID][1] if _AMF_ID in e else pair.get("aMF-UE-NGAP-ID")
        amf = e[_SOURCE_AMF_ID][1] if _SOURCE_AMF_ID in e else amf
        ran = e[_RAN_ID][1] if _RAN_ID in e else pair.get("rAN-UE-NGAP-ID")
        names = [("amf", end, amf) for end in (m.src, m.dst) if amf is not None]
        names += [("ran", end, ran) for end in (m.src, m.dst) if ran is not None]
        found = next((self._by_name[n] for n in names if n in self._by_name), None)
        if found is None and not (create and names):
            return None
        ue = found or _Ue()
        for name in names if at_gnb or found is None else names[:0]:
            self._enter(ue, name)
        self._ues.move_to_end(id(ue))
        return ue

    def _enter(self, ue: _Ue, name: tuple[str, str, int]) -> None:
        other = self._by_name.get(name)
        if other is not None and other is not ue:
            other.names.discard(name)
        self._by_name[name] = ue
        ue.names.add(name)
        self._ues[id(ue)] = ue
        if len(self._ues) > self._capacity:
            self.counters["ngap_full"] += 1
            self._forget(next(iter(self._ues.values())))

    def _forget(self, ue: _Ue) -> None:
        for name in ue.names:
            if self._by_name.get(name) is ue:
                del self._by_name[name]
        self._ues.pop(id(ue), None)

    def _of_gnb(self, address: str) -> list[_Ue]:
        return list(
            {id(ue): ue for (kind, a, _), ue in self._by_name.items() if kind == "ran" and a == address}.values()
        )

    # -- sessions --------------------------------------------------------------

    def _take(self, ue: _Ue, e: dict[int, Any], asks: bool, handover: bool) -> None:
        """Take the tunnels of a message: the UPF's end from the AMF, the gNB's from the gNB."""
        slices = _slices(e) if asks else {}
        for number, transfer in _transfers(e):
            side = Side.UPLINK if asks else Side.DOWNLINK
            tunnels = tuple(_tunnels(transfer, side))
            if not tunnels:
                continue
            pdu = ue.pdus.setdefault(number, _Pdu())
            pdu.snssai = slices.get(number) or pdu.snssai
            if asks:
                pdu.uplink = tunnels
            elif handover:
                pdu.offered = tunnels
            else:
                pdu.downlink = tunnels

    def _say(self, ue: _Ue, at_s: float) -> list[SessionEvent]:
        events: list[SessionEvent] = []
        for pdu in ue.pdus.values():
            if not pdu.downlink:
                continue  # the gNB has not answered
            before = pdu.session
            if before is None:
                self._number += 1
            key = before.key if before else f"ngap-{self._number}"
            tunnels = *pdu.uplink, *pdu.downlink
            now = Session(key, "ngap", Identity(msin=ue.msin), snssai=pdu.snssai, tunnels=tunnels, place=ue.place)
            if now == before:
                continue
            pdu.session = now
            gone = tuple(t for t in before.tunnels if t not in now.tunnels) if before else ()
            events.append(SessionUp(at_s, now) if before is None else SessionMoved(at_s, now, gone))
        return events

    def _drop(self, ue: _Ue, number: int, reason: EndReason, at_s: float) -> list[SessionEvent]:
        pdu = ue.pdus.pop(number, None)
        return [SessionDown(at_s, pdu.session, reason)] if pdu is not None and pdu.session is not None else []

    def _end(self, ue: _Ue, reason: EndReason, at_s: float) -> list[SessionEvent]:
        self._forget(ue)
        return [x for number in list(ue.pdus) for x in self._drop(ue, number, reason, at_s)]


def _where(location: tuple[str, Any]) -> tuple[str, str, str]:
    """Return radio access technology, tracking area and cell of User Location Information (9.3.1.16)."""
    kind, value = location
    if kind == "userLocationInformationNR":
        return "NR", _area(value["tAI"]), _cell(value["nR-CGI"], "nRCellIdentity")
    if kind == "userLocationInformationEUTRA":
        return "EUTRA", _area(value["tAI"]), _cell(value["eUTRA-CGI"], "eUTRACellIdentity")
    tai = value.get("tAI") if isinstance(value, dict) else None
    return _NOT_CELLULAR.get(value["id"] if kind == "choice-Extensions" else kind, ""), _area(tai) if tai else "", ""


def _area(tai: dict[str, Any]) -> str:
    return places.area_text(tai["pLMNIdentity"], tai["tAC"])


def _cell(cgi: dict[str, Any], identity: str) -> str:
    return places.cell_text(cgi["pLMNIdentity"], *cgi[identity])


def _transfers(e: dict[int, Any]) -> Iterator[tuple[int, Any]]:
    """Yield (PDU session id, transfer) of each list of PDU sessions in a message."""
    for item in _items(e):
        yield item["pDUSessionID"], next((v for k, v in item.items() if k.endswith("Transfer")), None)


def _items(e: dict[int, Any]) -> Iterator[dict[str, Any]]:
    for _, value in e.values():
        for item in value if isinstance(value, list) else ():
            if isinstance(item, dict) and "pDUSessionID" in item:
                yield item


def _slices(e: dict[int, Any]) -> dict[int, str]:
    """Return the S-NSSAI (TS 38.413, 9.3.1.24) of each PDU session of which a message says it."""
    said = {item["pDUSessionID"]: item["s-NSSAI"] for item in _items(e) if "s-NSSAI" in item}
    raw = {number: s["sST"] + s.get("sD", _NO_SD) for number, s in said.items()}
    return {number: read_snssai(value, 0, len(value)) for number, value in raw.items()}


def _numbers(e: dict[int, Any]) -> list[int]:
    return [number for number, _ in _transfers(e)]


def _tunnels(value: Any, side: Side) -> Iterator[Tunnel]:
    """Yield the GTP tunnels in a transfer, wherever it has them, but for those of data forwarding."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if "orwarding" not in name:
                yield from _tunnels(inner, side)
    elif isinstance(value, list):
        for inner in value:
            yield from _tunnels(inner, side)
    elif isinstance(value, tuple) and len(value) == 2:
        if value[0] == "gTPTunnel":
            number, bits = value[1]["transportLayerAddress"]
            teid = int.from_bytes(value[1]["gTP-TEID"], "big")
            yield from (Tunnel(a, teid, side, local=False) for a in _addresses(number, bits))
        else:
            yield from _tunnels(value[1], side)


def _addresses(number: int, bits: int) -> list[str]:
    """Return the addresses of a transport layer address: 32 bits, 128, or both (TS 38.414, 5.1)."""
    raw = number.to_bytes(bits // 8, "big")
    out = [str(ipaddress.IPv4Address(raw[:4]))] if len(raw) in (4, 20) else []
    return out + ([str(ipaddress.IPv6Address(raw[-16:]))] if len(raw) in (16, 20) else [])


def msin_of(nas: bytes) -> str:
    """Return the MSIN of a null-scheme SUCI in a NAS message that is not ciphered (TS 24.501, 9.11.3.4), or ""."""
    if len(nas) > 9 and nas[0] == 0x7E and nas[1] in _INTEGRITY:
        nas = nas[7:]  # message authentication code and sequence number
    if len(nas) < 6 or nas[0] != 0x7E or nas[1] != _PLAIN or nas[2] not in (_REGISTRATION, _IDENTITY_RESPONSE):
        return ""
    at = 4 if nas[2] == _REGISTRATION else 3
    size = int.from_bytes(nas[at : at + 2], "big")
    suci = nas[at + 2 : at + 2 + size]
    # Type SUCI with an IMSI in it; home network, routing indicator, scheme and key before the scheme's output.
    if len(suci) != size or size < 9 or suci[0] != 0x01 or suci[6] & 15:
        return ""
    try:
        return untbcd(suci[8:])
    except BadValue:
        return ""
