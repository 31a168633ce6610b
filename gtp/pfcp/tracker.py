"""Following PFCP between SMF and UPF from a mirror (TS 29.244, 6.2 and 7.5).

A session is known by two names: (UPF address, UP SEID) and (SMF address, CP SEID). A request takes
effect when its response accepts it; then the rules are changed and what they now say of identity,
addresses and tunnels is compared with what they said before:

    state         message pair                  becomes         event
    -             establishment, accepted       up              SessionUp
    up            modification, accepted        up              SessionMoved if anything changed
    up            deletion, accepted            -               SessionDown deleted
    up            deletion, of which half was   -               SessionDown deleted
                  seen
    up            report with PSDBU, answered   -               SessionDown reported
    up            newer recovery time stamp     -               SessionDown restarted
    up            association released          -               SessionDown released
    -             modification, accepted        up (partial)    SessionUp without identity: a late start

Nothing is guessed: an identity comes from User ID only. Bad input is counted, never raised. `gtp.transactions` pairs
requests with responses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gtp.codec import CodecError
from gtp.events import EndReason, Identity, Session, SessionDown, SessionEvent, SessionMoved, SessionUp, Side, Tunnel
from gtp.pfcp.ie import FTeid, Interface
from gtp.pfcp.message import ACCEPTED, Body, Far, Header, Kind, Pdr, messages, read_body
from gtp.transactions import Endpoint, Transactions

__all__ = ["PfcpTracker"]

_NOT_ACCESS = (Interface.CORE, Interface.N6_LAN, Interface.CP_FUNCTION)  # the SMF answers router solicitations
_FORWARD = 2  # bit of Apply Action (8.2.26)

_Which = Callable[["_State"], bool]


@dataclass(slots=True)
class _Request:
    header: Header
    body: Body
    at_s: float
    src: Endpoint
    dst: Endpoint
    mark: int  # of its bytes
    state: _State | None = None  # the session that is over if this message was meant


@dataclass(slots=True)
class _State:
    """The rules of one session."""

    key: str
    smf: str
    upf: str
    identity: Identity = field(default_factory=Identity)
    dnn: str = ""
    snssai: str = ""
    csids: set[bytes] = field(default_factory=set)
    pdrs: dict[int, Pdr] = field(default_factory=dict)
    fars: dict[int, Far] = field(default_factory=dict)
    endpoints: dict[int, Pdr] = field(default_factory=dict)
    names: set[tuple[str, str, int]] = field(default_factory=set)  # ("up" or "cp", address, SEID)
    session: Session | None = None

    def change(self, request: Body, response: Body) -> None:
        """Apply what an accepted request, and what the response chose."""
        if request.identity:
            self.identity = request.identity
        self.dnn, self.snssai = request.dnn or self.dnn, request.snssai or self.snssai
        self.csids |= request.csids
        for pdr in request.create_pdrs:
            self.pdrs[pdr.pdr_id] = pdr
        for pdr in request.update_pdrs:
            _merge_pdr(self.pdrs.setdefault(pdr.pdr_id, Pdr(pdr.pdr_id)), pdr)
        for endpoint in (*request.endpoints, *response.endpoints):
            if endpoint.endpoint is not None:
                _merge_pdr(self.endpoints.setdefault(endpoint.endpoint, Pdr()), endpoint)
        for number in request.remove_pdrs:
            self.pdrs.pop(number, None)
        for number in request.remove_endpoints:
            self.endpoints.pop(number, None)
        for far in request.create_fars:
            self.fars[far.far_id] = far
        for far in request.update_fars:
            _merge_far(self.fars.setdefault(far.far_id, Far(far.far_id)), far)
        for number in request.remove_fars:
            self.fars.pop(number, None)
        self._chosen(response.created_pdrs)

    def _chosen(self, created: Iterable[Pdr]) -> None:
        """Fill in F-TEIDs and addresses that the UPF chose; rules with one CHOOSE ID share one (5.5.1)."""
        by_choose_id: dict[int, FTeid] = {}
        for answer in created:
            pdr = self.pdrs.setdefault(answer.pdr_id, Pdr(answer.pdr_id))
            asked = pdr.fteid
            if answer.fteid is not None:
                if asked is not None and asked.choose_id is not None:
                    by_choose_id[asked.choose_id] = answer.fteid
                pdr.fteid = answer.fteid
            pdr.ue.extend(answer.ue)
        for pdr in self.pdrs.values():
            if pdr.fteid is not None and pdr.fteid.choose and pdr.fteid.choose_id in by_choose_id:
                pdr.fteid = by_choose_id[pdr.fteid.choose_id]

    def value(self) -> Session:
        """Return the session as the rules say it now."""
        tunnels: dict[Tunnel, None] = {}
        ipv4 = ipv6 = instance = ""
        for pdr in self.pdrs.values():
            said = self.endpoints.get(pdr.endpoint, Pdr()) if pdr.endpoint is not None else Pdr()
            source = pdr.source if pdr.source is not None else said.source
            fteid = pdr.fteid or said.fteid
            for ue in (*pdr.ue, *said.ue):
                ipv4, ipv6 = ipv4 or ue.ipv4, ipv6 or ue.ipv6
            if source == Interface.ACCESS or not instance:
                instance = pdr.instance or said.instance or instance
            side = _side_of_source(source)
            if fteid is not None and not fteid.choose and side is not None:
                tunnels.update({Tunnel(a, fteid.teid, side): None for a in fteid.addresses})
        for far in self.fars.values():
            side = _side_of_destination(far.destination)
            if far.header is not None and side is not None:
                tunnels.update({Tunnel(a, far.header.teid, side, local=False): None for a in far.header.addresses})
        return Session(
            key=self.key,
            source="pfcp",
            identity=self.identity,
            ue_ipv4=ipv4,
            ue_ipv6=ipv6,
            dnn=self.dnn or instance,
            snssai=self.snssai,
            instance=self.dnn or instance,
            tunnels=tuple(tunnels),
        )


def _side_of_source(source: int | None) -> Side | None:
    """Which way traffic flows that the UPF receives on an interface."""
    if source == Interface.ACCESS:
        return Side.UPLINK
    return Side.DOWNLINK if source in _NOT_ACCESS else None


def _side_of_destination(destination: int | None) -> Side | None:
    """Which way traffic flows that the UPF sends out of an interface."""
    if destination == Interface.ACCESS:
        return Side.DOWNLINK
    return Side.UPLINK if destination in _NOT_ACCESS else None


def _merge_pdr(into: Pdr, new: Pdr) -> None:
    for name in ("far_id", "source", "instance", "endpoint"):
        if getattr(new, name) is not None:
            setattr(into, name, getattr(new, name))
    if new.fteid is not None and not (new.fteid.choose and into.fteid is not None):
        into.fteid = new.fteid
    if new.ue:
        into.ue = list(new.ue)


def _merge_far(into: Far, new: Far) -> None:
    if new.action is not None:
        into.action = new.action
        if not new.action & _FORWARD:
            into.header = None  # the UE went idle: its radio tunnel is gone (TS 23.502, 4.2.6)
    if new.destination is not None:
        into.destination = new.destination
    if new.header is not None:
        into.header = new.header


class PfcpTracker:
    """Turns PFCP datagrams into session events; ``counters`` names everything that led to none."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._transactions: Transactions[_Request] = Transactions(self.counters, "pfcp")
        self._by_name: dict[tuple[str, str, int], _State] = {}
        self._states: dict[str, _State] = {}
        self._recovery: dict[str, int] = {}
        self._number = 0

    def __len__(self) -> int:
        return len(self._states)

    def feed(self, payload: bytes, src: Endpoint, dst: Endpoint, at_s: float) -> list[SessionEvent]:
        """Take one UDP payload seen from *src* to *dst*; never raises."""
        events: list[SessionEvent] = []
        try:
            for header, body in messages(payload):
                self.counters["pfcp_messages"] += 1
                mark = hash(body.data[body.at : body.end])
                events += self._message(header, read_body(body), src, dst, at_s, mark)
        except CodecError as error:
            self.counters[f"pfcp_{_snake(type(error).__name__)}"] += 1
        return events

    def _message(
        self, header: Header, body: Body, src: Endpoint, dst: Endpoint, at_s: float, mark: int
    ) -> list[SessionEvent]:
        if body.identity_refused:
            self.counters["pfcp_identity_refused"] += body.identity_refused
        said = _Request(header, body, at_s, src, dst, mark)
        if header.kind in _REQUESTS:
            return self._request(said)
        if header.kind in _RESPONSES:
            return self._response(said)
        self.counters["pfcp_other_messages"] += 1
        return []

    def _request(self, request: _Request) -> list[SessionEvent]:
        at_s, header = request.at_s, request.header
        names = request.src, request.dst, header.sequence, header.kind
        if header.kind == Kind.DELETION_REQUEST:
            request.state = self._by_name.get(("up", request.dst[0], header.seid or 0))
        elif header.kind == Kind.ESTABLISHMENT_REQUEST and request.body.fseid is not None:
            request.state = self._by_name.get(("cp", request.src[0], request.body.fseid.seid))
        events: list[SessionEvent] = []
        if header.kind == Kind.HEARTBEAT_REQUEST:
            events += self._recovered(request.src[0], request.body, at_s)
        if not self._transactions.ask(*names, request, request.mark, at_s):
            return events
        events += self._half_seen(at_s)
        early = self._transactions.early(*names, at_s)
        return events if early is None else events + self._answer(request, early.header, early.body, at_s)

    def _half_seen(self, at_s: float) -> list[SessionEvent]:
        """Exchanges of which one message was lost on the way here, and what they say of a session that we know.

        Who asks for a deletion lets go of the session, and a SEID that is given to a new session was free:
        in both cases the one that had it is over, and nobody may be found under its name.
        """
        events: list[SessionEvent] = []
        for half in self._transactions.halves():
            if half.state is not None and half.state.key in self._states:
                self.counters["pfcp_ended_by_half"] += 1
                deleted = half.header.kind in (Kind.DELETION_REQUEST, Kind.DELETION_RESPONSE)
                events.append(self._end(half.state, EndReason.DELETED if deleted else EndReason.SUPERSEDED, at_s))
        return events

    def _response(self, response: _Request) -> list[SessionEvent]:
        header, src, dst, at_s = response.header, response.src, response.dst, response.at_s
        if header.kind == Kind.DELETION_RESPONSE and response.body.cause in ACCEPTED:
            response.state = self._by_name.get(("cp", dst[0], header.seid or 0))
        elif header.kind == Kind.ESTABLISHMENT_RESPONSE and response.body.fseid is not None:
            response.state = self._by_name.get(("up", src[0], response.body.fseid.seid))
        request = self._transactions.answer(src, dst, header.sequence, header.kind - 1, response, at_s)
        if header.kind == Kind.HEARTBEAT_RESPONSE:
            return self._recovered(src[0], response.body, at_s)
        return [] if request is None else self._answer(request, header, response.body, at_s)

    def _answer(self, request: _Request, header: Header, body: Body, at_s: float) -> list[SessionEvent]:
        if body.cause not in ACCEPTED and header.kind != Kind.REPORT_RESPONSE:
            self.counters["pfcp_rejected"] += 1
            return []
        match header.kind:
            case Kind.ASSOCIATION_SETUP_RESPONSE:
                return self._associated(request, body, at_s)
            case Kind.ASSOCIATION_RELEASE_RESPONSE:
                return self._end_all(_between(request), EndReason.RELEASED, at_s)
            case Kind.SET_DELETION_RESPONSE:
                return self._end_set(request, at_s)
            case Kind.ESTABLISHMENT_RESPONSE:
                return self._established(request, header.seid, body, at_s)
            case Kind.MODIFICATION_RESPONSE | Kind.DELETION_RESPONSE if self._is_for_another(request, header):
                self.counters["pfcp_other_seid"] += 1
                return []
            case Kind.MODIFICATION_RESPONSE:
                return self._modified(request, body, at_s)
            case Kind.DELETION_RESPONSE:
                return self._deleted(request, EndReason.DELETED, "up", request.dst[0], at_s)
        if header.kind == Kind.REPORT_RESPONSE and request.body.ended_by_upf:
            return self._deleted(request, EndReason.REPORTED, "cp", request.dst[0], at_s)
        return []

    def _is_for_another(self, request: _Request, response: Header) -> bool:
        """Say whether a response names another session than the request: it answers one that was not seen."""
        state = self._by_name.get(("up", request.dst[0], request.header.seid or 0))
        mine = {seid for side, _, seid in state.names if side == "cp"} if state else set()
        return bool(mine and response.seid and response.seid not in mine and request.body.fseid is None)

    # -- node messages -------------------------------------------------------

    def _recovered(self, peer: str, body: Body, at_s: float) -> list[SessionEvent]:
        """A newer recovery time stamp: the peer restarted and its sessions are gone (TS 23.527, 4.2)."""
        if body.recovery is None:
            return []
        known = self._recovery.get(peer)
        if known is not None and body.recovery <= known:
            return []  # an older one came late
        self._recovery[peer] = body.recovery
        if known is None:
            return []
        self.counters["pfcp_restarts"] += 1
        self._transactions.began_anew(peer)
        return self._end_all(lambda s: peer in (s.smf, s.upf), EndReason.RESTARTED, at_s)

    def _associated(self, request: _Request, response: Body, at_s: float) -> list[SessionEvent]:
        """A new association ends the old one's sessions, unless the UPF retained them when asked (6.2.6.2.1)."""
        events: list[SessionEvent] = []
        retained = request.body.retained and response.retained
        for peer, body in ((request.src[0], request.body), (request.dst[0], response)):
            if retained and body.recovery is not None:
                self._recovery[peer] = body.recovery
            events += self._recovered(peer, body, at_s)
            if body.recovery is not None:
                self._recovery[peer] = body.recovery  # the last word, also of a clock that was set back
        if not retained:
            self._transactions.began_anew(request.src[0])
            events += self._end_all(_between(request), EndReason.RESTARTED, at_s)
        return events

    def _end_set(self, request: _Request, at_s: float) -> list[SessionEvent]:
        csids = request.body.csids
        between = _between(request)
        return self._end_all(lambda s: between(s) and bool(s.csids & csids), EndReason.RELEASED, at_s)

    def _end_all(self, which: _Which, reason: EndReason, at_s: float) -> list[SessionEvent]:
        return [self._end(s, reason, at_s) for s in list(self._states.values()) if which(s)]

    # -- session messages ----------------------------------------------------

    def _established(
        self, request: _Request, answered_seid: int | None, response: Body, at_s: float
    ) -> list[SessionEvent]:
        smf, upf = request.src[0], request.dst[0]
        cp, up = request.body.fseid, response.fseid
        if cp is None or up is None:
            self.counters["pfcp_without_fseid"] += 1
            return []
        if answered_seid != cp.seid:  # it answers another request, that was not seen
            self.counters["pfcp_other_seid"] += 1
            return []
        events: list[SessionEvent] = []
        self._number += 1
        state = _State(key=f"pfcp-{self._number}", smf=smf, upf=upf)
        names = {("cp", a, cp.seid) for a in (smf, *cp.addresses)} | {("up", a, up.seid) for a in (upf, *up.addresses)}
        for name in names:
            if name in self._by_name:  # its deletion was not seen
                events.append(self._end(self._by_name[name], EndReason.SUPERSEDED, at_s))
        state.names = names
        self._by_name.update(dict.fromkeys(names, state))
        self._states[state.key] = state
        state.change(request.body, response)
        state.session = state.value()
        return [*events, SessionUp(at_s, state.session)]

    def _modified(self, request: _Request, response: Body, at_s: float) -> list[SessionEvent]:
        state = self._by_name.get(("up", request.dst[0], request.header.seid or 0))
        if state is None:
            return self._late(request, response, at_s)
        before = state.session
        if request.body.fseid is not None:  # the SMF may change its F-SEID (table 7.5.4.1-1)
            names = {("cp", a, request.body.fseid.seid) for a in request.body.fseid.addresses}
            state.names |= names
            self._by_name.update(dict.fromkeys(names, state))
        state.change(request.body, response)
        state.session = state.value()
        if before is None or state.session == before:
            return []
        gone = tuple(t for t in before.tunnels if t not in state.session.tunnels)
        return [SessionMoved(at_s, state.session, gone)]

    def _late(self, request: _Request, response: Body, at_s: float) -> list[SessionEvent]:
        """A modification of a session whose beginning was not seen: learn what it says, without identity."""
        self.counters["pfcp_late_sessions"] += 1
        self._number += 1
        state = _State(key=f"pfcp-{self._number}", smf=request.src[0], upf=request.dst[0])
        state.change(request.body, response)
        value = state.value()
        if not value.tunnels and not value.ue_ipv4 and not value.ue_ipv6:
            return []
        state.session = value
        state.names = {("up", request.dst[0], request.header.seid or 0)}
        self._by_name.update(dict.fromkeys(state.names, state))
        self._states[state.key] = state
        return [SessionUp(at_s, value)]

    def _deleted(self, request: _Request, reason: EndReason, side: str, peer: str, at_s: float) -> list[SessionEvent]:
        state = self._by_name.get((side, peer, request.header.seid or 0))
        if state is None:
            self.counters["pfcp_unknown_session"] += 1
            return []
        return [self._end(state, reason, at_s)]

    def _end(self, state: _State, reason: EndReason, at_s: float) -> SessionDown:
        for name in state.names:
            if self._by_name.get(name) is state:
                del self._by_name[name]
        self._states.pop(state.key, None)
        return SessionDown(at_s, state.session or state.value(), reason)


def _between(request: _Request) -> _Which:
    """Sessions between the two peers of a node message."""
    pair = {request.src[0], request.dst[0]}
    return lambda s: {s.smf, s.upf} == pair


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


_REQUESTS = frozenset(k for k in Kind if k.name.endswith("REQUEST"))
_RESPONSES = frozenset(k for k in Kind if k.name.endswith("RESPONSE"))
