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
requests with responses. Between messages a session is a record (`gtp.packing`), found by a table of its names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from gtp.codec import CodecError
from gtp.events import EndReason, SessionDown, SessionEvent, SessionMoved, SessionUp
from gtp.pfcp.message import ACCEPTED, Body, Header, Kind, messages, read_body
from gtp.pfcp.rules import Name, Rules, RulesPacker
from gtp.table import NumberTable
from gtp.transactions import Endpoint, Transactions

__all__ = ["PfcpTracker"]

_MASK = (1 << 64) - 1

_Which = Callable[[str, str], bool]  # of SMF and UPF


@dataclass(slots=True)
class _Request:
    header: Header
    body: Body
    at_s: float
    src: Endpoint
    dst: Endpoint
    mark: int  # of its bytes
    over: int = 0  # the session that is over if this message was meant


class PfcpTracker:
    """Turns PFCP datagrams into session events; ``counters`` names everything that led to none."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._transactions: Transactions[_Request] = Transactions(self.counters, "pfcp")
        self._rules = RulesPacker()
        self._records: dict[int, bytes] = {}
        self._names = NumberTable()  # by a hash: the rules that are found say whether it is them
        self._clashes: dict[Name, int] = {}  # names whose hash another one had
        self._recovery: dict[str, int] = {}
        self._number = 0

    def count_from(self, number: int) -> None:
        """Let the keys of sessions count on from *number*, so that they are not those of another tracker."""
        self._number = number

    def dump(self) -> dict[str, Any]:
        """Return all sessions as plain values, for `restore`. They hold IMSIs."""
        constants = self._rules.packer.dump()
        return {"constants": constants, "records": dict(self._records), "recovery": dict(self._recovery)}

    def restore(self, dumped: dict[str, Any]) -> None:
        """Know the sessions of a tracker of before again; this one must know none yet."""
        self._rules.packer.load(dumped["constants"])
        self._recovery.update(dumped["recovery"])
        for number, record in dumped["records"].items():
            self._name(self._rules.names(record), number)
            self._records[number] = record
        self._number = max(self._number, *dumped["records"], 0)

    def __len__(self) -> int:
        return len(self._records)

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
            request.over = self._number_of(("up", request.dst[0], header.seid or 0))
        elif header.kind == Kind.ESTABLISHMENT_REQUEST and request.body.fseid is not None:
            request.over = self._number_of(("cp", request.src[0], request.body.fseid.seid))
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
            rules = self._at(half.over)
            if rules is not None:
                self.counters["pfcp_ended_by_half"] += 1
                deleted = half.header.kind in (Kind.DELETION_REQUEST, Kind.DELETION_RESPONSE)
                events.append(self._end(rules, EndReason.DELETED if deleted else EndReason.SUPERSEDED, at_s))
        return events

    def _response(self, response: _Request) -> list[SessionEvent]:
        header, src, dst, at_s = response.header, response.src, response.dst, response.at_s
        if header.kind == Kind.DELETION_RESPONSE and response.body.cause in ACCEPTED:
            response.over = self._number_of(("cp", dst[0], header.seid or 0))
        elif header.kind == Kind.ESTABLISHMENT_RESPONSE and response.body.fseid is not None:
            response.over = self._number_of(("up", src[0], response.body.fseid.seid))
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
        rules = self._find(("up", request.dst[0], request.header.seid or 0))
        mine = {seid for side, _, seid in rules.names if side == "cp"} if rules else set()
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
        return self._end_all(lambda smf, upf: peer in (smf, upf), EndReason.RESTARTED, at_s)

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
        return self._end_all(between, EndReason.RELEASED, at_s, lambda rules: bool(rules.csids & csids))

    def _end_all(
        self, which: _Which, reason: EndReason, at_s: float, also: Callable[[Rules], bool] = lambda _: True
    ) -> list[SessionEvent]:
        wanted = [n for n, record in self._records.items() if which(*self._rules.peers(record))]
        found = (self._rules.unpack(n, self._records[n]) for n in wanted)
        return [self._end(rules, reason, at_s) for rules in found if also(rules)]

    # -- sessions at rest ------------------------------------------------------

    def _at(self, number: int) -> Rules | None:
        record = self._records.get(number)
        return None if record is None else self._rules.unpack(number, record)

    def _find(self, name: Name) -> Rules | None:
        rules = self._at(self._names.get(hash(name) & _MASK))
        if rules is None or name not in rules.names:
            rules = self._at(self._clashes.get(name, 0)) if self._clashes else None
        return rules

    def _number_of(self, name: Name) -> int:
        rules = self._find(name)
        return rules.number if rules else 0

    def _keep(self, rules: Rules, names: set[Name]) -> None:
        """Put a session to rest; *names* are those that it had not before."""
        self._name(names, rules.number)
        rules.names |= names
        self._records[rules.number] = self._rules.pack(rules)

    def _name(self, names: Iterable[Name], number: int) -> None:
        for name in names:
            mark = hash(name) & _MASK
            other = self._names.get(mark)
            if other and other != number and name not in self._rules.unpack(other, self._records[other]).names:
                self._clashes[name] = number
            else:
                self._names.put(mark, number)

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
        names = {("cp", a, cp.seid) for a in (smf, *cp.addresses)} | {("up", a, up.seid) for a in (upf, *up.addresses)}
        for name in names:
            known = self._find(name)
            if known is not None:  # its deletion was not seen
                events.append(self._end(known, EndReason.SUPERSEDED, at_s))
        self._number += 1
        rules = Rules(self._number, smf, upf)
        rules.change(request.body, response)
        self._keep(rules, names)
        return [*events, SessionUp(at_s, rules.value())]

    def _modified(self, request: _Request, response: Body, at_s: float) -> list[SessionEvent]:
        rules = self._find(("up", request.dst[0], request.header.seid or 0))
        if rules is None:
            return self._late(request, response, at_s)
        before, cp = rules.value(), request.body.fseid
        rules.change(request.body, response)
        # The SMF may change its F-SEID (table 7.5.4.1-1).
        self._keep(rules, {("cp", a, cp.seid) for a in cp.addresses} if cp is not None else set())
        after = rules.value()
        if after == before:
            return []
        gone = tuple(t for t in before.tunnels if t not in after.tunnels)
        return [SessionMoved(at_s, after, gone)]

    def _late(self, request: _Request, response: Body, at_s: float) -> list[SessionEvent]:
        """A modification of a session whose beginning was not seen: learn what it says, without identity."""
        self.counters["pfcp_late_sessions"] += 1
        self._number += 1
        rules = Rules(self._number, request.src[0], request.dst[0])
        rules.change(request.body, response)
        value = rules.value()
        if not value.tunnels and not value.ue_ipv4 and not value.ue_ipv6:
            return []
        self._keep(rules, {("up", request.dst[0], request.header.seid or 0)})
        return [SessionUp(at_s, value)]

    def _deleted(self, request: _Request, reason: EndReason, side: str, peer: str, at_s: float) -> list[SessionEvent]:
        rules = self._find((side, peer, request.header.seid or 0))
        if rules is None:
            self.counters["pfcp_unknown_session"] += 1
            return []
        return [self._end(rules, reason, at_s)]

    def _end(self, rules: Rules, reason: EndReason, at_s: float) -> SessionDown:
        for name in rules.names:
            mark = hash(name) & _MASK
            if self._names.get(mark) == rules.number:
                self._names.pop(mark)
            if self._clashes.get(name) == rules.number:
                del self._clashes[name]
        self._records.pop(rules.number, None)
        return SessionDown(at_s, rules.value(), reason)


def _between(request: _Request) -> _Which:
    """Sessions between the two peers of a node message."""
    pair = {request.src[0], request.dst[0]}
    return lambda smf, upf: {smf, upf} == pair


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


_REQUESTS = frozenset(k for k in Kind if k.name.endswith("REQUEST"))
_RESPONSES = frozenset(k for k in Kind if k.name.endswith("RESPONSE"))
