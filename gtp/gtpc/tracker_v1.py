"""Following GTPv1-C from a mirror: Gn and Gp between SGSN and GGSN (TS 29.060, clause 7.3).

    message pair                              event
    Create PDP Context, with an IMSI          SessionUp
    Create PDP Context, linked to another     SessionMoved: a secondary context has the address of its first
    Update PDP Context                        SessionMoved if a tunnel changed (another SGSN, direct tunnel)
    MS Info Change Notification, or any of    SessionMoved if the place changed
    these, with a place
    Delete PDP Context, with teardown         SessionDown deleted, of all contexts with its address
    Delete PDP Context                        SessionMoved, or SessionDown deleted with the last context
    any message with a newer restart counter  SessionDown restarted, of the sender's sessions
    Update PDP Context of an unknown one      SessionUp without identity: a late start

A context is known by its NSAPI under a pair of control TEIDs. A request takes effect when its response
accepts it. The identity comes from the element IMSI only. Bad input is counted, never raised.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from gtp.codec import CodecError, Reader
from gtp.events import EndReason, Identity, SessionEvent, Side, Tunnel
from gtp.gtpc.contexts import Contexts, Ends, Leg, Name, Pdn
from gtp.gtpc.v1 import ACCEPTED, Body, Header, Kind, read_body, read_header
from gtp.transactions import Endpoint, RestartCounters, Transactions

__all__ = ["GtpV1Tracker"]

_SGSN, _GGSN = 0, 1  # the ends of a context: the SGSN, or the RNC by a direct tunnel, and the GGSN
_NON_EXISTENT = 192  # cause (7.7.1)
_MAX_SESSIONS = 1_000_000


@dataclass(slots=True)
class _Request:
    header: Header
    body: Body
    src: Endpoint
    dst: Endpoint


class GtpV1Tracker:
    """Turns GTPv1-C datagrams into session events; ``counters`` has a name for each reason why a datagram gave none."""

    def __init__(self, capacity: int = _MAX_SESSIONS) -> None:
        self.counters: Counter[str] = Counter()
        self._contexts = Contexts("gtpv1", capacity, self.counters)
        self._transactions: Transactions[_Request] = Transactions(self.counters, "gtpv1")
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
        try:
            reader = Reader(payload)
            header = read_header(reader)
            self.counters["gtpv1_messages"] += 1
            if header.kind not in _REQUESTS and header.kind - 1 not in _REQUESTS:
                self.counters["gtpv1_other_messages"] += 1
                return []
            mark = hash(payload[reader.at : reader.end])
            body = read_body(reader)
        except CodecError as error:
            self.counters[f"gtpv1_{_REFUSED.get(type(error).__name__, 'codec_error')}"] += 1
            return []
        if body.identity_refused:
            self.counters["gtpv1_identity_refused"] += body.identity_refused
        return self._message(_Request(header, body, src, dst), mark, at_s)

    def _message(self, said: _Request, mark: int, at_s: float) -> list[SessionEvent]:
        header, events = said.header, self._recovered(said.src[0], said.body, at_s)
        if header.sequence is None:
            self.counters["gtpv1_without_sequence"] += 1
            return events
        if header.kind in _REQUESTS:
            names = said.src, said.dst, header.sequence, header.kind
            fresh = self._transactions.ask(*names, said, mark, at_s)
            self._transactions.halves()  # half an exchange does not tell its context; a newer one takes its TEIDs
            early = self._transactions.early(*names, at_s) if fresh else None
            return events if early is None else events + self._answered(said, early, at_s)
        request = self._transactions.answer(said.src, said.dst, header.sequence, header.kind - 1, said, at_s)
        return events if request is None else events + self._answered(request, said, at_s)

    def _recovered(self, peer: str, body: Body, at_s: float) -> list[SessionEvent]:
        """End the sessions of a peer with a newer restart counter: it lost them (TS 23.007, clauses 10 and 11)."""
        if not self._restarts.restarted(peer, body.recovery):
            return []
        self.counters["gtpv1_restarts"] += 1
        self._transactions.began_anew(peer)
        return self._contexts.end_where(lambda leg, _: peer in leg.addresses, EndReason.RESTARTED, at_s)

    def _answered(self, request: _Request, response: _Request, at_s: float) -> list[SessionEvent]:
        kind, cause = request.header.kind, response.body.cause
        if kind == Kind.ECHO_REQUEST:
            return []
        ended = kind == Kind.DELETE_PDP_CONTEXT_REQUEST and cause == _NON_EXISTENT
        if cause not in ACCEPTED and not ended:
            self.counters["gtpv1_rejected"] += 1
            return []
        leg = self._contexts.find(request.dst[0], request.header.teid, request.src[0])
        for pdn in leg.pdns.values() if leg is not None else ():
            pdn.see(at_s, request.body)
        return self._answered_in(leg, request, response, at_s) + (self._contexts.seen(leg, at_s) if leg else [])

    def _answered_in(self, leg: Leg | None, request: _Request, response: _Request, at_s: float) -> list[SessionEvent]:
        kind = request.header.kind
        if kind == Kind.MS_INFO_CHANGE_NOTIFICATION_REQUEST:
            self.counters["gtpv1_unknown_session"] += leg is None
            return []
        if not request.body.nsapis:
            self.counters["gtpv1_without_nsapi"] += 1
            return []
        if kind == Kind.CREATE_PDP_CONTEXT_REQUEST:
            return self._created(leg, request, response, at_s)
        if kind == Kind.UPDATE_PDP_CONTEXT_REQUEST:
            return self._updated(leg, request, response, at_s)
        return self._deleted(leg, request.body, at_s)

    def _created(self, leg: Leg | None, request: _Request, response: _Request, at_s: float) -> list[SessionEvent]:
        ask, answer, nsapi = request.body, response.body, request.body.nsapis[0]
        if len(ask.nsapis) > 1:
            return self._secondary(leg, request, response, at_s)
        if ask.teid_control is None or answer.teid_control is None:
            self.counters["gtpv1_without_teid"] += 1
            return []
        if response.header.teid != ask.teid_control:  # it answers another request, one that was not seen
            self.counters["gtpv1_other_teid"] += 1
            return []
        leg, events = self._contexts.begin(_names(request), _names(response), at_s)
        pdn = Pdn(
            identity=Identity(ask.imsi, ask.imei, ask.msisdn),
            apn=ask.apn,
            ue_ipv4=answer.ue_ipv4 or ask.ue_ipv4,
            ue_ipv6=answer.ue_ipv6 or ask.ue_ipv6,
            bearers={nsapi: _ends(ask, answer)},
        )
        pdn.see(at_s, ask)
        return events + self._contexts.up(leg, nsapi, pdn, at_s)

    def _secondary(self, leg: Leg | None, request: _Request, response: _Request, at_s: float) -> list[SessionEvent]:
        ask = request.body
        pdn = leg.of_bearer(ask.nsapis[1]) if leg else None
        if pdn is None:
            self.counters["gtpv1_unknown_session"] += 1
            return []
        pdn.bearers[ask.nsapis[0]] = _ends(ask, response.body)
        return self._contexts.changed(pdn, at_s)

    def _updated(self, leg: Leg | None, request: _Request, response: _Request, at_s: float) -> list[SessionEvent]:
        """Apply an update from either side; a new SGSN names its own control TEID, a direct tunnel the RNC's end."""
        ask, answer, nsapi = request.body, response.body, request.body.nsapis[0]
        if leg is None:
            return self._late(request, response, at_s)
        pdn = leg.of_bearer(nsapi)
        if pdn is None:
            self.counters["gtpv1_unknown_session"] += 1
            return []
        from_ggsn = (request.dst[0], request.header.teid) in leg.asker
        ends = _ends(answer, ask) if from_ggsn else _ends(ask, answer)
        events: list[SessionEvent] = []
        if not from_ggsn and ask.teid_control is not None:
            events += self._contexts.rename(leg, _names(request), at_s)
        pdn.bearers[nsapi].update(ends)
        return events + self._contexts.changed(pdn, at_s)

    def _late(self, request: _Request, response: _Request, at_s: float) -> list[SessionEvent]:
        """Begin a context, without identity, from the update of one whose beginning was not seen."""
        ends = _ends(request.body, response.body)
        # Only an SGSN that takes over a context names its control TEID; without one the sender may be a GGSN.
        if not ends or not request.header.teid or not request.body.teid_control:
            self.counters["gtpv1_unknown_session"] += 1
            return []
        self.counters["gtpv1_late_sessions"] += 1
        answerer = _names(response) | {(request.dst[0], request.header.teid)}
        leg, events = self._contexts.begin(_names(request), answerer, at_s)
        nsapi = request.body.nsapis[0]
        pdn = Pdn(bearers={nsapi: ends})
        pdn.see(at_s, request.body)
        return events + self._contexts.up(leg, nsapi, pdn, at_s)

    def _deleted(self, leg: Leg | None, ask: Body, at_s: float) -> list[SessionEvent]:
        pdn = leg.of_bearer(ask.nsapis[0]) if leg else None
        if leg is None or pdn is None:
            self.counters["gtpv1_unknown_session"] += 1
            return []
        if ask.teardown or len(pdn.bearers) == 1:
            number = next(n for n, other in leg.pdns.items() if other is pdn)
            return self._contexts.down(leg, number, EndReason.DELETED, at_s)
        del pdn.bearers[ask.nsapis[0]]
        return self._contexts.changed(pdn, at_s)


def _names(said: _Request) -> set[Name]:
    """Return the names of the sender: its first address is the one for signalling (7.3.1, 7.3.2)."""
    teid = said.body.teid_control
    return {(a, teid) for a in (said.src[0], *said.body.addresses[:1])} if teid is not None else set()


def _ends(sgsn: Body, ggsn: Body) -> Ends:
    """Return the ends of a context as each side gives its own: its second address is for user traffic."""
    ends: Ends = {}
    for end, side, body in ((_SGSN, Side.DOWNLINK, sgsn), (_GGSN, Side.UPLINK, ggsn)):
        if body.teid_data and len(body.addresses) > 1:
            ends[end] = (Tunnel(body.addresses[1], body.teid_data, side, end == _GGSN),)
    return ends


_REQUESTS = frozenset(Kind)
_REFUSED = {
    "Truncated": "truncated",
    "BadLength": "bad_length",
    "BadVersion": "bad_version",
    "BadValue": "bad_value",
}
