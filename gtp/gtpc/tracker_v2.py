"""Following GTPv2-C from a mirror: S11, S5/S8, S4, S2a and S2b (TS 29.274, clause 7.2).

A request takes effect when its response accepts it, bearer by bearer:

    message pair                                          event
    Create Session                                        SessionUp
    Modify Bearer, Modify Access Bearers, Update Bearer   SessionMoved if a tunnel changed
    Create Bearer, Delete Bearer (of dedicated ones)      SessionMoved
    Release Access Bearers                                SessionMoved: the UE went idle
    Change Notification, or any of these, with a place    SessionMoved if the place changed
    Delete Session, Delete Bearer (of the default one)    SessionDown deleted
    Delete PDN Connection Set                             SessionDown released
    any message with a newer restart counter              SessionDown restarted, of the sender's sessions
    Modify Bearer of an unknown session                   SessionUp without identity: a late start

The segments S11 and S5/S8 of one connection are sessions of their own; they share the PGW's tunnel, and
both name the subscriber. The identity comes from the element IMSI of Create Session only and is never
carried over to another connection. Bad input is counted, never raised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from gtp.codec import CodecError
from gtp.events import EndReason, Identity, SessionEvent, Side, Tunnel
from gtp.gtpc.contexts import Contexts, Ends, Leg, Name, Pdn
from gtp.gtpc.v2 import ACCEPTED, Bearer, Body, FTeid, Header, Kind, messages, read_body
from gtp.transactions import Endpoint, RestartCounters, Transactions

__all__ = ["GtpV2Tracker"]

# Interface types of F-TEID (table 8.22-1), by the receiver of user traffic there and its direction.
_RADIO = frozenset({0, 2, 15, 38})  # S1-U eNodeB, S12 RNC, S4 SGSN, S11-U MME: the ends that an idle UE gives up
_AT_SGW = frozenset({1, 3, 4, 16, 39})  # S1-U, S12, S5/S8, S4, S11-U
_AT_PGW = frozenset({5, 33, 37})  # S5/S8, S2b, S2a
_UPLINK = frozenset({1, 3, 5, 16, 33, 37, 39})
_DOWNLINK = _RADIO | {4, 31, 34}  # S5/S8 SGW, S2b ePDG, S2a TWAN
_ANSWERS = {10: 11, 17: 11, 6: 7, 30: 32, 35: 36}  # control end of the asking node: that of the answering node
_CONTEXT_NOT_FOUND = 64  # cause (table 8.4-1)
_MAX_SESSIONS = 2_000_000  # two segments of each of a million sessions


@dataclass(slots=True)
class _Request:
    header: Header
    body: Body
    src: Endpoint
    dst: Endpoint
    leg: Leg | None = None  # its session is over if this message was meant


class GtpV2Tracker:
    """Turns GTPv2-C datagrams into session events; ``counters`` has a name for each reason why a datagram gave none."""

    def __init__(self, capacity: int = _MAX_SESSIONS) -> None:
        self.counters: Counter[str] = Counter()
        self._contexts = Contexts("gtpv2", capacity, self.counters)
        self._transactions: Transactions[_Request] = Transactions(self.counters, "gtpv2")
        self._restarts = RestartCounters()

    def count_from(self, number: int) -> None:
        """Continue the numbers in the keys of sessions from *number*, so that no key is that of another tracker."""
        self._contexts.count_from(number)

    def purge(self, imsi: str, keys: Collection[str]) -> None:
        """Forget the sessions of a subscriber, and those that have *keys*."""
        self._contexts.purge(imsi, keys)

    def __len__(self) -> int:
        return len(self._contexts)

    def feed(self, payload: bytes, src: Endpoint, dst: Endpoint, at_s: float) -> list[SessionEvent]:
        """Take one UDP payload seen from *src* to *dst*; never raises."""
        events: list[SessionEvent] = []
        try:
            for header, reader in messages(payload):
                self.counters["gtpv2_messages"] += 1
                if header.kind not in _REQUESTS and header.kind - 1 not in _REQUESTS:
                    self.counters["gtpv2_other_messages"] += 1
                    continue
                mark = hash(reader.data[reader.at : reader.end])
                body = read_body(reader)
                if body.identity_refused:
                    self.counters["gtpv2_identity_refused"] += body.identity_refused
                events += self._message(_Request(header, body, src, dst), mark, at_s)
        except CodecError as error:
            self.counters[f"gtpv2_{_REFUSED.get(type(error).__name__, 'codec_error')}"] += 1
        return events

    def _message(self, said: _Request, mark: int, at_s: float) -> list[SessionEvent]:
        header, events = said.header, self._recovered(said.src[0], said.body, at_s)
        if header.kind in _REQUESTS:
            return events + self._asked(said, mark, at_s)
        if header.kind == Kind.DELETE_SESSION_REQUEST + 1 and said.body.cause in ACCEPTED:
            said.leg = self._contexts.find(said.dst[0], header.teid, said.src[0])
        request = self._transactions.answer(said.src, said.dst, header.sequence, header.kind - 1, said, at_s)
        return events if request is None else events + self._answered(request, said, at_s)

    def _asked(self, said: _Request, mark: int, at_s: float) -> list[SessionEvent]:
        names = said.src, said.dst, said.header.sequence, said.header.kind
        if said.header.kind == Kind.DELETE_SESSION_REQUEST:
            said.leg = self._contexts.find(said.dst[0], said.header.teid, said.src[0])
        elif said.header.kind == Kind.CREATE_SESSION_REQUEST and not said.header.teid:
            mine = next((f for f in said.body.fteids if f.interface in _ANSWERS), None)
            leg = self._contexts.find(said.src[0], mine.teid if mine else 0, said.dst[0])
            said.leg = leg if leg is not None and said.dst[0] in {a for a, _ in leg.answerer} else None
        if not self._transactions.ask(*names, said, mark, at_s):
            return []
        events: list[SessionEvent] = []
        for half in self._transactions.halves():
            events += self._half_seen(half, at_s)
        early = self._transactions.early(*names, at_s)
        return events if early is None else events + self._answered(said, early, at_s)

    def _half_seen(self, half: _Request, at_s: float) -> list[SessionEvent]:
        """End the session that half an exchange shows to be over; its other message was lost on the way here.

        A node that asks for a deletion gives the session up, and a control TEID that is given to a new UE was free.
        """
        leg = half.leg
        if leg is None or not leg.pdns or (half.header.kind not in _REQUESTS and len(leg.pdns) > 1):
            return []  # a response does not say which connection it was
        self.counters["gtpv2_ended_by_half"] += 1
        if half.header.kind == Kind.CREATE_SESSION_REQUEST:
            return self._contexts.end(leg, EndReason.SUPERSEDED, at_s)
        return self._deleted(leg, half.body, at_s)

    def _recovered(self, peer: str, body: Body, at_s: float) -> list[SessionEvent]:
        """End the sessions of a peer with a newer restart counter: it lost them (TS 23.007, clauses 14 to 17a)."""
        if not self._restarts.restarted(peer, body.recovery):
            return []
        self.counters["gtpv2_restarts"] += 1
        self._transactions.began_anew(peer)
        return self._contexts.end_where(lambda leg, _: peer in leg.addresses, EndReason.RESTARTED, at_s)

    def _answered(self, request: _Request, response: _Request, at_s: float) -> list[SessionEvent]:
        kind, cause = request.header.kind, response.body.cause
        if kind == Kind.ECHO_REQUEST:
            return []
        ended = kind in (Kind.DELETE_SESSION_REQUEST, Kind.DELETE_BEARER_REQUEST) and cause == _CONTEXT_NOT_FOUND
        if cause not in ACCEPTED and not ended:
            self.counters["gtpv2_rejected"] += 1
            return []
        if kind == Kind.CREATE_SESSION_REQUEST:
            return self._created(request, response, at_s)
        if kind == Kind.DELETE_PDN_CONNECTION_SET_REQUEST:
            csids = request.body.csids
            return self._contexts.end_where(lambda _, pdn: bool(pdn.csids & csids), EndReason.RELEASED, at_s)
        leg = self._contexts.find(request.dst[0], request.header.teid, request.src[0])
        if leg is not None and self._is_for_another(leg, request, response):
            self.counters["gtpv2_other_teid"] += 1
            return []
        for pdn in leg.pdns.values() if leg is not None else ():
            pdn.see(at_s, request.body, response.body)
        return self._answered_in(leg, request, response, at_s) + (self._contexts.seen(leg, at_s) if leg else [])

    def _answered_in(self, leg: Leg | None, request: _Request, response: _Request, at_s: float) -> list[SessionEvent]:
        match request.header.kind:
            case Kind.MODIFY_BEARER_REQUEST | Kind.MODIFY_ACCESS_BEARERS_REQUEST:
                return self._modified(leg, request, response, at_s)
            case Kind.CREATE_BEARER_REQUEST:
                return self._bearers_created(leg, request, response, at_s)
            case _ if leg is None:
                self.counters["gtpv2_unknown_session"] += 1
                return []
            case Kind.UPDATE_BEARER_REQUEST:
                return self._changed(leg, [*_accepted(request.body, response.body)], at_s)
            case Kind.DELETE_BEARER_REQUEST:
                return self._bearers_deleted(leg, request.body, response.body, at_s)
            case Kind.RELEASE_ACCESS_BEARERS_REQUEST:
                return self._released(leg, request.body, at_s)
            case Kind.CHANGE_NOTIFICATION_REQUEST:
                return []
        return self._deleted(leg, request.body, at_s)

    def _is_for_another(self, leg: Leg, request: _Request, response: _Request) -> bool:
        """Say whether a response goes to another leg than the request's: it answers one that was not seen."""
        teid = response.header.teid
        mine = {t for a, t in leg.asker | leg.answerer if a == request.src[0]} | {f.teid for f in request.body.fteids}
        return bool(teid and mine and teid not in mine)

    # -- sessions ------------------------------------------------------------

    def _created(self, request: _Request, response: _Request, at_s: float) -> list[SessionEvent]:
        ask, answer = request.body, response.body
        mine = next((f for f in ask.fteids if f.interface in _ANSWERS), None)
        number = (ask.ebis or [b.ebi for b in ask.bearers if not b.instance] or [0])[0]
        if mine is None or not number:
            self.counters["gtpv2_without_fteid"] += 1
            return []
        if response.header.teid != mine.teid:  # it answers another request, one that was not seen
            self.counters["gtpv2_other_teid"] += 1
            return []
        theirs = next((f for f in answer.fteids if f.interface == _ANSWERS[mine.interface]), None)
        asker, answerer = _names(request.src[0], mine), _names(request.dst[0], theirs)
        if request.header.teid:
            answerer.add((request.dst[0], request.header.teid))
        leg, events = self._leg_for(request, asker, answerer, at_s)
        pdn = Pdn(
            identity=Identity(ask.imsi, ask.imei, ask.msisdn or answer.msisdn),
            apn=ask.apn or answer.apn,
            ue_ipv4=answer.ue_ipv4 or ask.ue_ipv4,
            ue_ipv6=answer.ue_ipv6 or ask.ue_ipv6,
            csids=frozenset(ask.csids | answer.csids),
        )
        pdn.see(at_s, ask)
        at_sgw = _ANSWERS[mine.interface] == 11
        for ebi, fteids in _accepted(ask, answer):
            _set_ends(pdn.bearers.setdefault(ebi, {}), fteids, at_sgw)
        return events + self._contexts.up(leg, number, pdn, at_s)

    def _leg_for(
        self, request: _Request, asker: set[Name], answerer: set[Name], at_s: float
    ) -> tuple[Leg, list[SessionEvent]]:
        """Return the UE's leg that a further connection goes to, or a new one.

        An IMSI other than the leg's says that the end of the leg was not seen.
        """
        leg = self._contexts.find(request.dst[0], request.header.teid, request.src[0]) if request.header.teid else None
        known = {pdn.identity.imsi for pdn in leg.pdns.values()} - {"", request.body.imsi} if leg else set()
        if leg is None or known:
            return self._contexts.begin(asker, answerer, at_s)
        return leg, self._contexts.rename(leg, asker, at_s)

    def _deleted(self, leg: Leg, ask: Body, at_s: float) -> list[SessionEvent]:
        """End the connection of the linked bearer, or all of the leg where none is named (scope indication)."""
        if not ask.ebis:
            return self._contexts.end(leg, EndReason.DELETED, at_s)
        if ask.ebis[0] not in leg.pdns:
            self.counters["gtpv2_unknown_session"] += 1
            return []
        return self._contexts.down(leg, ask.ebis[0], EndReason.DELETED, at_s)

    # -- bearers -------------------------------------------------------------

    def _modified(self, leg: Leg | None, request: _Request, response: _Request, at_s: float) -> list[SessionEvent]:
        accepted = [*_accepted(request.body, response.body)]
        if leg is None:
            return self._late(request, response, accepted, at_s)
        events: list[SessionEvent] = []
        mine = next((f for f in request.body.fteids if f.interface in _ANSWERS), None)
        if mine is not None:  # another MME or SGW serves the UE from now on
            events += self._contexts.rename(leg, _names(request.src[0], mine), at_s)
        for bearer in request.body.bearers:
            pdn = leg.of_bearer(bearer.ebi)
            if bearer.instance and pdn is not None:
                pdn.bearers.pop(bearer.ebi)
                events += self._contexts.changed(pdn, at_s)
        return events + self._changed(leg, accepted, at_s)

    def _changed(self, leg: Leg, accepted: list[tuple[int, list[FTeid]]], at_s: float) -> list[SessionEvent]:
        """Set the ends of bearers; a bearer whose beginning was not seen is a session of its own."""
        events: list[SessionEvent] = []
        changed: dict[int, Pdn] = {}
        for ebi, fteids in accepted:
            pdn = leg.of_bearer(ebi)
            if pdn is None:
                events += self._late_bearer(leg, ebi, fteids, at_s)
                continue
            _set_ends(pdn.bearers[ebi], fteids, _is_at_sgw(pdn, fteids))
            changed[id(pdn)] = pdn
        for pdn in changed.values():
            events += self._contexts.changed(pdn, at_s)
        return events

    def _late(
        self, request: _Request, response: _Request, accepted: list[tuple[int, list[FTeid]]], at_s: float
    ) -> list[SessionEvent]:
        """Begin sessions, without identity, from the change of one whose beginning was not seen."""
        if not request.header.teid or not response.header.teid or not any(fteids for _, fteids in accepted):
            self.counters["gtpv2_unknown_session"] += 1
            return []
        asker, answerer = {(request.src[0], response.header.teid)}, {(request.dst[0], request.header.teid)}
        leg, events = self._contexts.begin(asker, answerer, at_s)
        for ebi, fteids in accepted:
            events += self._late_bearer(leg, ebi, fteids, at_s, request.body)
        self._contexts.tidy(leg)
        return events

    def _late_bearer(self, leg: Leg, ebi: int, fteids: list[FTeid], at_s: float, *said: Body) -> list[SessionEvent]:
        pdn = Pdn(bearers={ebi: {}})
        pdn.see(at_s, *said)
        _set_ends(pdn.bearers[ebi], fteids, _is_at_sgw(pdn, fteids))
        if not pdn.bearers[ebi]:
            return []
        self.counters["gtpv2_late_sessions"] += 1
        return self._contexts.up(leg, ebi, pdn, at_s)

    def _bearers_created(
        self, leg: Leg | None, request: _Request, response: _Request, at_s: float
    ) -> list[SessionEvent]:
        """Add the bearers that the answer names; the core's ends, repeated there, tell the request's bearer of each."""
        ask, events = request.body, list[SessionEvent]()
        if not ask.ebis or not request.header.teid or not response.header.teid:
            self.counters["gtpv2_unknown_session"] += 1
            return []
        made: list[tuple[int, list[FTeid]]] = []
        for bearer in response.body.bearers:
            ends = {(f.interface, f.teid) for f in bearer.fteids}
            asked = [b for b in ask.bearers if ends & {(f.interface, f.teid) for f in b.fteids}]
            if bearer.cause in ACCEPTED and bearer.ebi:
                made.append((bearer.ebi, [f for b in (*asked[:1], bearer) for f in b.fteids]))
        if leg is None:  # the node that answers sessions asks here
            names = {(request.dst[0], request.header.teid)}, {(request.src[0], response.header.teid)}
            leg, events = self._contexts.begin(*names, at_s)
        known = leg.pdns.get(ask.ebis[0])
        pdn = known or Pdn()
        for ebi, fteids in made:
            _set_ends(pdn.bearers.setdefault(ebi, {}), fteids, _is_at_sgw(pdn, fteids))
        if known is not None or not pdn.value().tunnels:
            self._contexts.tidy(leg)
            return events + self._contexts.changed(pdn, at_s)
        self.counters["gtpv2_late_sessions"] += 1
        return events + self._contexts.up(leg, ask.ebis[0], pdn, at_s)

    def _bearers_deleted(self, leg: Leg, ask: Body, answer: Body, at_s: float) -> list[SessionEvent]:
        """End the connection of the linked bearer, the default one, and remove listed bearers that were accepted."""
        refused = {b.ebi for b in answer.bearers if b.cause not in ACCEPTED and b.cause != _CONTEXT_NOT_FOUND}
        events: list[SessionEvent] = []
        for ebi in (*ask.ebis[:1], *ask.listed_ebis):
            pdn = leg.of_bearer(ebi)
            if ebi in leg.pdns:
                events += self._contexts.down(leg, ebi, EndReason.DELETED, at_s)
            elif pdn is not None and ebi not in refused:
                pdn.bearers.pop(ebi)
                events += self._contexts.changed(pdn, at_s)
        return events

    def _released(self, leg: Leg, ask: Body, at_s: float) -> list[SessionEvent]:
        """Remove the radio ends of a UE that went idle (TS 23.401, 5.3.5)."""
        events: list[SessionEvent] = []
        for pdn in leg.pdns.values():
            for ebi, ends in pdn.bearers.items():
                if not ask.ebis or ebi in ask.ebis:
                    _drop_radio(ends)
            events += self._contexts.changed(pdn, at_s)
        return events


def _names(address: str, fteid: FTeid | None) -> set[Name]:
    """Return the names of a node: it may send from another address than its F-TEID names."""
    return {(a, fteid.teid) for a in (address, *fteid.addresses)} if fteid is not None else set()


def _accepted(ask: Body, answer: Body) -> Iterable[tuple[int, list[FTeid]]]:
    """Yield (bearer, its ends by request and response) of each bearer that was accepted.

    A response need not repeat a bearer that was accepted as it was asked for (table 7.2.8-2).
    """
    asked: dict[int, Bearer] = {b.ebi: b for b in ask.bearers if not b.instance}
    answered: dict[int, Bearer] = {b.ebi: b for b in answer.bearers if not b.instance}
    for ebi in dict.fromkeys((*asked, *answered)):
        reply = answered.get(ebi)
        if not ebi or (reply is not None and reply.cause is not None and reply.cause not in ACCEPTED):
            continue
        yield ebi, [f for b in (asked.get(ebi), reply) if b is not None for f in b.fteids]


def _is_at_sgw(pdn: Pdn, fteids: Iterable[FTeid]) -> bool:
    """Say whether a leg ends at an SGW: the radio side is known on S11 only."""
    kinds = {f.interface for f in fteids} | {i for ends in pdn.bearers.values() for i in ends}
    return bool(kinds & (_RADIO | _AT_SGW - {4}))


def _set_ends(ends: Ends, fteids: Iterable[FTeid], at_sgw: bool) -> None:
    """Set the tunnels of a bearer; a bearer has one radio end (a handover between them replaces it)."""
    local = _AT_SGW if at_sgw else _AT_PGW
    for f in fteids:
        if not f.teid or f.interface not in _UPLINK | _DOWNLINK:
            continue
        if f.interface in _RADIO:
            _drop_radio(ends)
        side = Side.UPLINK if f.interface in _UPLINK else Side.DOWNLINK
        ends[f.interface] = tuple(Tunnel(a, f.teid, side, f.interface in local) for a in f.addresses)


def _drop_radio(ends: Ends) -> None:
    for interface in _RADIO & ends.keys():
        del ends[interface]


_REQUESTS = frozenset(Kind)
_REFUSED = {
    "Truncated": "truncated",
    "BadLength": "bad_length",
    "BadVersion": "bad_version",
    "BadValue": "bad_value",
}
