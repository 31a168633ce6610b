"""Legs between two control nodes, the PDN connections on them, and the tunnels of each bearer.

A leg is a pair of control TEIDs: one for a UE on S11, one for a PDN connection on S5/S8 (TS 29.274, 4.1),
one for a PDP address on Gn (TS 29.060). A node is addressed by (its address, its TEID). The answering
node's TEID is its own to give, so that a name given again ends the leg that had it; the asking node may
use one TEID towards several peers (an MME has one for a UE, also while the UE moves to another SGW).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from gtp import places
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
    Tunnel,
)

__all__ = ["Contexts", "Leg", "Name", "Pdn", "Where", "apn_name"]

Name = tuple[str, int]  # address and control TEID of a receiver
Ends = dict[int, tuple[Tunnel, ...]]  # the tunnels of a bearer by their interface


class Where(Protocol):
    """A message, as far as it says where the UE is."""

    rat: str
    tai: str
    cell: str


@dataclass(slots=True)
class Pdn:
    """A PDN connection, or a PDP context with those that share its address. No repr of a subscriber: see Identity."""

    key: str = ""
    identity: Identity = field(default_factory=Identity)
    apn: str = ""
    ue_ipv4: str = ""
    ue_ipv6: str = ""
    csids: frozenset[bytes] = frozenset()
    bearers: dict[int, Ends] = field(default_factory=dict)  # by EPS bearer identity, or NSAPI
    session: Session | None = None
    place: Place = NOWHERE

    def see(self, at_s: float, *said: Where) -> None:
        """Take what messages say of the place."""
        for body in said:
            self.place = places.told(self.place, at_s, body.rat, body.tai, body.cell)

    def value(self) -> Session:
        """Return the session as the bearers say it now."""
        tunnels = {t: None for ends in self.bearers.values() for some in ends.values() for t in some}
        return Session(
            key=self.key,
            source="gtp-c",
            identity=self.identity,
            ue_ipv4=self.ue_ipv4,
            ue_ipv6=self.ue_ipv6,
            dnn=self.apn,
            instance=self.apn,
            tunnels=tuple(tunnels),
            place=self.place,
        )


@dataclass(slots=True, eq=False)
class Leg:
    """The connections of one pair of control TEIDs, by their default bearer."""

    asker: set[Name]
    answerer: set[Name]
    pdns: dict[int, Pdn] = field(default_factory=dict)

    @property
    def addresses(self) -> set[str]:
        """The addresses of both nodes."""
        return {a for a, _ in (*self.asker, *self.answerer)}

    def of_bearer(self, ebi: int) -> Pdn | None:
        """Return the connection that has a bearer."""
        return next((p for p in self.pdns.values() if ebi in p.bearers), None)


class Contexts:
    """All legs of a tracker. Keys of sessions begin with *prefix*; no more than *capacity* sessions are followed."""

    def __init__(self, prefix: str, capacity: int, counters: Counter[str]) -> None:
        self._prefix, self._capacity, self._counters = prefix, capacity, counters
        self._by_name: dict[Name, tuple[Leg, ...]] = {}
        self._legs: dict[int, Leg] = {}  # by id
        self._sessions = 0
        self._number = 0

    def count_from(self, number: int) -> None:
        """Continue the numbers in the keys of sessions from *number*, so that no key is that of another tracker."""
        self._number = number

    def __len__(self) -> int:
        return self._sessions

    def find(self, to: str, teid: int | None, sender: str) -> Leg | None:
        """Return the leg that a message to (*to*, *teid*) belongs to; *sender* tells apart legs that share a name."""
        legs = self._by_name.get((to, teid or 0), ())
        if len(legs) == 1:
            return legs[0]
        return next((leg for leg in legs if sender in leg.addresses), None)

    def begin(self, asker: set[Name], answerer: set[Name], at_s: float) -> tuple[Leg, list[SessionEvent]]:
        """Begin a leg; older legs whose names it takes have ended unseen, and end as superseded."""
        leg = Leg(asker, answerer)
        return leg, self._enter(leg, at_s)

    def rename(self, leg: Leg, asker: set[Name], at_s: float) -> list[SessionEvent]:
        """Give the leg another asking node: another MME, SGW or SGSN serves the UE from now on."""
        if asker <= leg.asker:
            return []
        self._leave(leg)
        leg.asker = asker
        return self._enter(leg, at_s)

    def _enter(self, leg: Leg, at_s: float) -> list[SessionEvent]:
        events: list[SessionEvent] = []
        peers = {a for a, _ in leg.answerer}
        for name in leg.asker | leg.answerer:
            for other in self._by_name.get(name, ()):
                given_again = name in leg.answerer & other.answerer
                asked_again = name in leg.asker & other.asker and bool(peers & {a for a, _ in other.answerer})
                if other is not leg and (given_again or asked_again):
                    events += self.end(other, EndReason.SUPERSEDED, at_s)
        for name in leg.asker | leg.answerer:
            self._by_name[name] = (*self._by_name.get(name, ()), leg)
        self._legs[id(leg)] = leg
        return events

    def _leave(self, leg: Leg) -> None:
        for name in leg.asker | leg.answerer:
            left = tuple(other for other in self._by_name.get(name, ()) if other is not leg)
            if left:
                self._by_name[name] = left
            else:
                self._by_name.pop(name, None)
        self._legs.pop(id(leg), None)

    def up(self, leg: Leg, number: int, pdn: Pdn, at_s: float) -> list[SessionEvent]:
        """Begin a connection on a leg, in place of one that had its number."""
        events: list[SessionEvent] = []
        if number in leg.pdns:
            events.append(self._drop(leg, number, EndReason.SUPERSEDED, at_s))
        if self._sessions >= self._capacity:
            self._counters[f"{self._prefix}_full"] += 1
            self.tidy(leg)
            return events
        self._number += 1
        self._sessions += 1
        pdn.key = f"{self._prefix}-{self._number}"
        leg.pdns[number] = pdn
        pdn.session = pdn.value()
        return [*events, SessionUp(at_s, pdn.session)]

    def changed(self, pdn: Pdn, at_s: float) -> list[SessionEvent]:
        """Return the event for a connection that changed, none if it is as it was."""
        before, pdn.session = pdn.session, pdn.value()
        if before is None or before == pdn.session:
            return []
        gone = tuple(t for t in before.tunnels if t not in pdn.session.tunnels)
        return [SessionMoved(at_s, pdn.session, gone)]

    def seen(self, leg: Leg, at_s: float) -> list[SessionEvent]:
        """Return the events of the connections of a leg that changed."""
        return [event for pdn in leg.pdns.values() for event in self.changed(pdn, at_s)]

    def down(self, leg: Leg, number: int, reason: EndReason, at_s: float) -> list[SessionEvent]:
        """End a connection, and its leg when it was the last one."""
        ended = self._drop(leg, number, reason, at_s)
        self.tidy(leg)
        return [ended]

    def end(self, leg: Leg, reason: EndReason, at_s: float) -> list[SessionEvent]:
        """End all connections of a leg."""
        events: list[SessionEvent] = [self._drop(leg, number, reason, at_s) for number in list(leg.pdns)]
        self.tidy(leg)
        return events

    def end_where(self, which: Callable[[Leg, Pdn], bool], reason: EndReason, at_s: float) -> list[SessionEvent]:
        """End the connections that *which* names."""
        found = [(leg, n) for leg in self._legs.values() for n, pdn in leg.pdns.items() if which(leg, pdn)]
        return [event for leg, number in found for event in self.down(leg, number, reason, at_s)]

    def purge(self, imsi: str, keys: Collection[str]) -> None:
        """Forget the connections of a subscriber, and those that have *keys*."""
        self.end_where(lambda _, pdn: pdn.identity.imsi == imsi or pdn.key in keys, EndReason.REMOVED, 0.0)

    def _drop(self, leg: Leg, number: int, reason: EndReason, at_s: float) -> SessionDown:
        pdn = leg.pdns.pop(number)
        self._sessions -= 1
        return SessionDown(at_s, pdn.session or pdn.value(), reason)

    def tidy(self, leg: Leg) -> None:
        """Remove a leg that has no connection."""
        if not leg.pdns:
            self._leave(leg)


def apn_name(labels: Iterable[bytes]) -> str:
    """Return an APN network identifier in lower case; the operator identifier is left out (TS 23.003, 9.1).

    Cores name one data network with and without "mncXXX.mccYYY.gprs", and case means nothing.
    """
    texts = [label.decode("ascii", "replace").lower() for label in labels]
    if len(texts) > 3 and texts[-1] == "gprs" and texts[-2].startswith("mcc") and texts[-3].startswith("mnc"):
        texts = texts[:-3]
    return ".".join(texts)
