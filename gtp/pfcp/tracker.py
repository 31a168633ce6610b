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
    up            newer recovery time stamp,    -               SessionDown restarted
                  answered
    up            association released          -               SessionDown released
    -             modification, accepted        up (partial)    SessionUp without identity: a late start

All this is between nodes that are associated (`gtp.pfcp.peers`): what others say is kept apart until they are, and
ends nothing. Ending more than one session takes a request and its response.

Nothing is guessed: an identity comes from User ID only. Bad input is counted, never raised. `gtp.transactions` pairs
requests with responses. Between messages a session is a record (`gtp.rows`), found by a table of its names. Their
hashes are the same in every process, so that a file of both is read as it stands.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from gtp.codec import CodecError
from gtp.events import EndReason, Notice, SessionDown, SessionEvent, SessionMoved, SessionUp
from gtp.pfcp.message import ACCEPTED, Body, Header, Kind, messages, read_body
from gtp.pfcp.peers import Apart, Notices, Pair, Peers
from gtp.pfcp.rules import Name, Rules, RulesPacker, peers_of
from gtp.rows import Rows
from gtp.table import GOLDEN, NumberTable
from gtp.transactions import Endpoint, Transactions

__all__ = ["PfcpTracker"]

_MASK = (1 << 64) - 1
_MOST_ENDS = 65_536  # nodes of which the part of the hash is kept


@dataclass(slots=True)
class _Message:
    header: Header
    body: Body
    at_s: float
    src: Endpoint
    dst: Endpoint
    mark: int  # hash of its bytes
    datagram: int = 0
    over: tuple[Name, int] | None = None  # name and number of the session that is over if this message was meant


class PfcpTracker:
    """Turns PFCP datagrams into session events; ``counters`` has a name for each reason why a datagram gave none."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._transactions: Transactions[_Message] = Transactions(self.counters, "pfcp")
        self._peers = Peers()
        self._apart: Apart[tuple[_Message, _Message]] = Apart(self.counters)
        self._notices = Notices()
        self._rules = RulesPacker()
        self._rows = Rows(self._rules.packer)
        self._names = NumberTable()  # place of a record by hash of a name; the rules found there confirm the name
        self._clashes: dict[Name, int] = {}  # names whose hash another name had
        self._ends: dict[tuple[str, str], int] = {}  # parts of hashes
        self._recovery: dict[tuple[str, str], int] = {}  # of a node, as it told another node
        self._number = self._datagrams = self._ended_by = 0

    @property
    def apart(self) -> int:
        """Number of answered exchanges that wait for their nodes to be known."""
        return len(self._apart)

    def notices(self) -> list[Notice]:
        """Return the notices for the operator, each once."""
        return self._notices.take()

    def use_peers(self, allowed: Iterable[str]) -> None:
        """Accept only nodes with these addresses or prefixes as peers; without any, peers are learned."""
        self._peers.use(allowed)

    def count_from(self, number: int) -> None:
        """Continue the numbers in the keys of sessions from *number*, so that no key is that of another tracker."""
        self._number = number

    def dump(self) -> dict[str, Any]:
        """Return all sessions as plain values, for `restore`. They hold IMSIs. Nobody may feed it meanwhile."""
        return {
            "shapes": self._rules.packer.dump(),
            "rows": self._rows.dump(),
            "names": self._names.dump(),
            "clashes": dict(self._clashes),
            "nodes": {"recovery": dict(self._recovery), "peers": self._peers.dump()},
            "sessions": len(self),
            "last": self._number,
        }

    def restore(self, dumped: dict[str, Any]) -> None:
        """Restore the sessions of an earlier tracker; this one must know none yet."""
        self._rules.packer.load(dumped["shapes"])
        self._rows.load(dumped["rows"])
        self._names.load(dumped["names"])
        self._clashes.update(dumped["clashes"])
        self._recovery.update(dumped["nodes"]["recovery"])
        self._peers.load(dumped["nodes"]["peers"])
        self._number = max(self._number, dumped["last"])

    def associations(self) -> dict[Pair, int]:
        """Return how many sessions the two nodes of each association have."""
        found = Counter(dict.fromkeys(self._peers.pairs, 0))
        for ends, sessions in self._rules.between(self._rows).items():
            found[self._peers.pair(*ends)] += sessions
        return dict(found)

    def purge(self, imsi: str, keys: Collection[str]) -> None:
        """Forget the sessions of a subscriber, and those that have *keys*."""
        for place in self._rules.places_of(self._rows, imsi, keys):
            self._end(self._at(place), EndReason.REMOVED, 0.0)

    def __len__(self) -> int:
        return len(self._rows)

    def feed(self, payload: bytes, src: Endpoint, dst: Endpoint, at_s: float) -> list[SessionEvent]:
        """Take one UDP payload seen from *src* to *dst*; never raises."""
        events: list[SessionEvent] = []
        if self._peers.listed and not (self._peers.allows(src[0]) and self._peers.allows(dst[0])):
            self._refuse(src[0], dst[0], at_s, apart=False)
            return events
        self._datagrams += 1
        try:
            for header, body in messages(payload):
                self.counters["pfcp_messages"] += 1
                mark = hash(body.data[body.at : body.end])
                message = _Message(header, read_body(body), at_s, src, dst, mark, self._datagrams)
                events += self._message(message)
        except CodecError as error:
            self.counters[f"pfcp_{_snake(type(error).__name__)}"] += 1
        return events

    def _message(self, said: _Message) -> list[SessionEvent]:
        if said.body.identity_refused:
            self.counters["pfcp_identity_refused"] += said.body.identity_refused
        rules = (*said.body.create_pdrs, *said.body.update_pdrs, *said.body.endpoints)
        if refused := sum(rule.refused for rule in rules):
            self.counters["pfcp_route_refused"] += refused
        if said.header.kind in _REQUESTS:
            return self._request(said)
        if said.header.kind in _RESPONSES:
            return self._response(said)
        self.counters["pfcp_other_messages"] += 1
        return []

    def _request(self, request: _Message) -> list[SessionEvent]:
        at_s, header = request.at_s, request.header
        names = request.src, request.dst, header.sequence, header.kind
        if header.kind == Kind.DELETION_REQUEST:
            request.over = self._known(("up", request.dst[0], header.seid or 0))
        elif header.kind == Kind.ESTABLISHMENT_REQUEST and request.body.fseid is not None:
            request.over = self._known(("cp", request.src[0], request.body.fseid.seid))
        if not self._transactions.ask(*names, request, request.mark, at_s):
            return []
        events = self._half_seen(at_s)
        early = self._transactions.early(*names, at_s)
        return events if early is None else events + self._answer(request, early, at_s)

    def _half_seen(self, at_s: float) -> list[SessionEvent]:
        """End the sessions that half an exchange shows to be over; its other message was lost on the way here.

        A node that asks for a deletion gives the session up, and a SEID that is given to a new session was free:
        in both cases the session that had it is over, and nobody may be found under its name. One datagram, whatever it
        bundles, ends at most one session this way.
        """
        events: list[SessionEvent] = []
        for half in self._transactions.halves():
            rules = self._find(half.over[0]) if half.over is not None else None
            if rules is None or half.over is None or rules.number != half.over[1]:
                continue
            if half.datagram == self._ended_by or not self._peers.associated(self._pair(half)):
                self._refuse(half.src[0], half.dst[0], at_s, apart=False)
                continue
            self._ended_by = half.datagram
            self.counters["pfcp_ended_by_half"] += 1
            deleted = half.header.kind in (Kind.DELETION_REQUEST, Kind.DELETION_RESPONSE)
            events.append(self._end(rules, EndReason.DELETED if deleted else EndReason.SUPERSEDED, at_s))
        return events

    def _response(self, response: _Message) -> list[SessionEvent]:
        header, src, dst, at_s = response.header, response.src, response.dst, response.at_s
        if header.kind == Kind.DELETION_RESPONSE and response.body.cause in ACCEPTED:
            response.over = self._known(("cp", dst[0], header.seid or 0))
        elif header.kind == Kind.ESTABLISHMENT_RESPONSE and response.body.fseid is not None:
            response.over = self._known(("up", src[0], response.body.fseid.seid))
        asked = self._asked(response)
        request = self._transactions.answer(asked, dst, header.sequence, header.kind - 1, response, at_s)
        return [] if request is None else self._answer(request, response, at_s)

    def _asked(self, response: _Message) -> Endpoint:
        """Return the endpoint that a message's request went to: a node may answer from another of its addresses."""
        src, body = response.src, response.body
        said = (src, response.dst, response.header.sequence, response.header.kind - 1)
        if self._transactions.knows(*said):
            return src
        names = (src[0], body.node_id, *(body.fseid.addresses if body.fseid else ()))
        for name in self._peers.others(names):
            if self._transactions.knows((name, src[1]), *said[1:]):
                self.counters["pfcp_other_address"] += 1
                return name, src[1]
        return src

    def _answer(self, request: _Message, response: _Message, at_s: float) -> list[SessionEvent]:
        kind, body = response.header.kind, response.body
        if kind == Kind.HEARTBEAT_RESPONSE:
            return self._heard(request, response, at_s)
        if body.cause not in ACCEPTED and kind != Kind.REPORT_RESPONSE:
            self.counters["pfcp_rejected"] += 1
            return []
        match kind:
            case Kind.ASSOCIATION_SETUP_RESPONSE:
                return self._associated(request, response, at_s)
            case Kind.ASSOCIATION_RELEASE_RESPONSE:
                events = self._end_all(request, EndReason.RELEASED, at_s)
                self._peers.release(self._pair(request))
                return events
            case Kind.SET_DELETION_RESPONSE:
                return self._end_all(request, EndReason.RELEASED, at_s, request.body.csids)
            case (
                Kind.ESTABLISHMENT_RESPONSE | Kind.MODIFICATION_RESPONSE | Kind.DELETION_RESPONSE | Kind.REPORT_RESPONSE
            ):
                return self._between_peers(request, response, at_s)
        return []

    def _between_peers(self, request: _Message, response: _Message, at_s: float) -> list[SessionEvent]:
        """Take an answered session request, if its two ends are associated; keep it apart while that is not known."""
        pair, admitted = self._pair(request), False
        if not self._peers.associated(pair):
            admitted = self._peers.answered(request.src[0], request.dst[0])
            if not admitted:
                self._apart.keep(pair, (request, response), at_s)
                self._refuse(request.src[0], request.dst[0], at_s, apart=True)
                return []
        events = self._admit(pair, at_s) if admitted else []
        return events + self._session(request, response, at_s)

    def _session(self, request: _Message, response: _Message, at_s: float) -> list[SessionEvent]:
        header, body = response.header, response.body
        match header.kind:
            case Kind.ESTABLISHMENT_RESPONSE:
                return self._established(request, response, at_s)
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

    def _admit(self, pair: Pair, at_s: float) -> list[SessionEvent]:
        """Take the exchanges that were kept apart until two nodes were known to be associated."""
        events: list[SessionEvent] = []
        for then_s, (request, response) in self._apart.take(pair, at_s):
            self.counters["pfcp_apart_taken"] += 1
            events += self._session(request, response, then_s)
        return events

    def _refuse(self, one: str, other: str, at_s: float, *, apart: bool) -> None:
        self.counters["pfcp_not_associated" if apart else "pfcp_refused"] += 1
        self._notices.refused((min(one, other), max(one, other)), at_s, apart=apart)

    def _pair(self, message: _Message) -> Pair:
        return self._peers.pair(message.src[0], message.dst[0])

    def _is_for_another(self, request: _Message, response: Header) -> bool:
        """Say whether a response names another session than the request: it answers one that was not seen."""
        rules = self._find(("up", request.dst[0], request.header.seid or 0))
        mine = {seid for side, _, seid in rules.names if side == "cp"} if rules else set()
        return bool(mine and response.seid and response.seid not in mine and request.body.fseid is None)

    # -- node messages -------------------------------------------------------

    def _heard(self, request: _Message, response: _Message, at_s: float) -> list[SessionEvent]:
        """Associate the two nodes of an answered heartbeat, and note since when each one runs (TS 23.527, 4.2)."""
        pair = self._pair(request)
        learned = self._peers.learn(pair)
        events = [*self._recovered(request, at_s), *self._recovered(response, at_s)]
        return events + (self._admit(pair, at_s) if learned else [])

    def _recovered(self, said: _Message, at_s: float, *, retained: bool = False) -> list[SessionEvent]:
        """End the sender's sessions with the other node if its recovery time stamp is newer, unless they are retained.

        Other nodes see the restart themselves: a stamp between one pair ends no session of another pair.
        """
        if said.body.recovery is None:
            return []
        key = self._peers.node(said.src[0]), self._peers.node(said.dst[0])
        known = self._recovery.get(key)
        if known is not None and said.body.recovery <= known:
            return []  # an older one came late
        if known is not None or self._peers.associated(self._pair(said)):
            self._recovery[key] = said.body.recovery
        if known is None or retained:
            return []
        self.counters["pfcp_restarts"] += 1
        self._transactions.began_anew(said.src[0], said.dst[0])
        return self._end_all(said, EndReason.RESTARTED, at_s)

    def _associated(self, request: _Message, response: _Message, at_s: float) -> list[SessionEvent]:
        """Associate two nodes; the old association's sessions end unless the UPF retained them (6.2.6.2.1)."""
        self._peers.strict = True
        pair = self._pair(request)
        learned = self._peers.learn(pair)
        events: list[SessionEvent] = []
        retained = request.body.retained and response.body.retained
        for said in (request, response):
            self._peers.names(said.src[0], (said.body.node_id,))
            events += self._recovered(said, at_s, retained=retained)
            if said.body.recovery is not None:  # the last stamp counts, also of a clock that was set back
                self._recovery[self._peers.node(said.src[0]), self._peers.node(said.dst[0])] = said.body.recovery
        if not retained:
            self._transactions.began_anew(*(request.src[0], request.dst[0]))
            events += self._end_all(request, EndReason.RESTARTED, at_s)
        return events + (self._admit(pair, at_s) if learned else [])

    def _end_all(
        self, message: _Message, reason: EndReason, at_s: float, csids: frozenset[bytes] | None = None
    ) -> list[SessionEvent]:
        """End the sessions between the two ends of a message, or only those that have one of some FQ-CSIDs."""
        pair = self._pair(message)
        found = [self._at(place) for place in self._between(pair)]
        events: list[SessionEvent] = [
            self._end(rules, reason, at_s) for rules in found if csids is None or rules.csids & csids
        ]
        if len(events) > 1:
            self.counters["pfcp_ended_together"] += len(events)
            self._notices.ended((message.src[0], message.dst[0]), at_s, len(events), reason)
        return events

    # -- sessions at rest ------------------------------------------------------

    def _at(self, place: int) -> Rules:
        return self._rules.unpack(self._rows.get(place), place)

    def _between(self, pair: Pair) -> list[int]:
        """Return the places of the sessions between two nodes; rows of one shape are all between the same two."""
        wanted: list[int] = []
        for shape, places in self._rows.places():
            if shape is None:
                constants = ((place, self._rules.packer.constant(self._rows.get(place))) for place in places)
                wanted += [place for place, constant in constants if self._peers.pair(*peers_of(constant)) == pair]
            elif self._peers.pair(*peers_of(shape.constant)) == pair:
                wanted += places
        return wanted

    def _mark(self, name: Name) -> int:
        """Return the hash of a name: of the names of one node no two are equal."""
        side, address, seid = name
        end = self._ends.get((side, address))
        if end is None:
            if len(self._ends) >= _MOST_ENDS:
                self._ends.clear()
            end = self._ends[side, address] = zlib.crc32(f"{side} {address}".encode()) * GOLDEN
        return end + seid & _MASK

    def _find(self, name: Name) -> Rules | None:
        place = self._names.get(self._mark(name))
        rules = self._at(place) if place else None
        if rules is None or name not in rules.names:
            other = self._clashes.get(name, 0) if self._clashes else 0
            rules = self._at(other) if other else None
        return rules

    def _known(self, name: Name) -> tuple[Name, int] | None:
        rules = self._find(name)
        return (name, rules.number) if rules else None

    def _keep(self, rules: Rules, names: set[Name]) -> None:
        """Put a session to rest; *names* are the ones that are new."""
        had, rules.names = rules.names, rules.names | names
        before, rules.place = rules.place, self._rows.put(self._rules.pack(rules), rules.place)
        if rules.place != before:
            for name in had:
                if self._clashes.get(name) == before:
                    self._clashes[name] = rules.place
                if self._names.get(mark := self._mark(name)) == before:
                    self._names.put(mark, rules.place)
            if before:
                self._rows.free(before)
        self._name(names, rules.place)

    def _name(self, names: Iterable[Name], place: int) -> None:
        for name in names:
            mark = self._mark(name)
            other = self._names.claim(mark, place)
            if other and other != place:
                if name in self._at(other).names:
                    self._names.put(mark, place)
                else:
                    self._clashes[name] = place

    # -- session messages ----------------------------------------------------

    def _established(self, request: _Message, response: _Message, at_s: float) -> list[SessionEvent]:
        smf, upf = request.src[0], request.dst[0]
        cp, up = request.body.fseid, response.body.fseid
        if cp is None or up is None:
            self.counters["pfcp_without_fseid"] += 1
            return []
        if response.header.seid != cp.seid:  # it answers another request, one that was not seen
            self.counters["pfcp_other_seid"] += 1
            return []
        self._peers.names(smf, cp.addresses)
        self._peers.names(upf, (response.src[0], response.body.node_id, *up.addresses))
        events: list[SessionEvent] = []
        names = {("cp", a, cp.seid) for a in (smf, *cp.addresses)} | {("up", a, up.seid) for a in (upf, *up.addresses)}
        for name in names:
            known = self._find(name)
            if known is not None:  # its deletion was not seen
                events.append(self._end(known, EndReason.SUPERSEDED, at_s))
        self._number += 1
        rules = Rules(self._number, smf, upf)
        rules.change(request.body, response.body)
        self._keep(rules, names)
        return [*events, SessionUp(at_s, rules.value())]

    def _modified(self, request: _Message, response: Body, at_s: float) -> list[SessionEvent]:
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

    def _late(self, request: _Message, response: Body, at_s: float) -> list[SessionEvent]:
        """Begin a session, without identity, from the modification of one whose beginning was not seen."""
        self.counters["pfcp_late_sessions"] += 1
        self._number += 1
        rules = Rules(self._number, request.src[0], request.dst[0])
        rules.change(request.body, response)
        value = rules.value()
        if not value.tunnels and not value.ue_ipv4 and not value.ue_ipv6:
            return []
        self._keep(rules, {("up", request.dst[0], request.header.seid or 0)})
        return [SessionUp(at_s, value)]

    def _deleted(self, request: _Message, reason: EndReason, side: str, peer: str, at_s: float) -> list[SessionEvent]:
        rules = self._find((side, peer, request.header.seid or 0))
        if rules is None:
            self.counters["pfcp_unknown_session"] += 1
            return []
        return [self._end(rules, reason, at_s)]

    def _end(self, rules: Rules, reason: EndReason, at_s: float) -> SessionDown:
        for name in rules.names:
            mark = self._mark(name)
            if self._names.get(mark) == rules.place:
                self._names.pop(mark)
            if self._clashes.get(name) == rules.place:
                del self._clashes[name]
        self._rows.free(rules.place)
        return SessionDown(at_s, rules.value(), reason)


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


_REQUESTS = frozenset(k for k in Kind if k.name.endswith("REQUEST"))
_RESPONSES = frozenset(k for k in Kind if k.name.endswith("RESPONSE"))
