"""The nodes that speak PFCP with each other, learned from their exchanges (TS 29.244, 5.8, 6.2.6 and 6.2.2).

Two nodes are associated once an association or a heartbeat between them was answered, or session requests of both
were. While no association was seen at all, one answered session request is enough: a late listener sees nothing
else. After that it says nothing against two nodes whose own association was before the start, and nothing for them:
their next heartbeat does, which comes within a minute.

A node has several addresses: those of its F-SEIDs and of its Node ID. An address that is known already stays where it
is, so that nobody takes another's by naming it.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from gtp.events import EndReason, Notice, PeersRefused, SessionsEnded

__all__ = ["Apart", "Notices", "Pair", "Peers"]

Pair = tuple[str, str]  # two nodes, in order
_MOST_PAIRS = 65_536  # invented nodes push nobody out: beyond this number no new one is learned
_MOST_NAMES = 65_536
_MOST_APART = 65_536  # exchanges that wait
_APART_S = (
    180.0  # a heartbeat comes once a minute (7.4.2: the interval is the operator's; 60 s is usual), or two are lost
)
_TOLD_S = 60.0  # between two notices of one pair
_MOST_NOTICES = 1000
Exchange = TypeVar("Exchange")


class Peers:
    """The nodes and their associations."""

    def __init__(self) -> None:
        self.strict = False  # an association was seen
        self._node_of: dict[str, str] = {}  # node by another address or name
        self._names_of: dict[str, list[str]] = {}  # other addresses and names by node
        self._nodes: set[str] = set()  # nodes of all pairs
        self._pairs: set[Pair] = set()
        self._asked: set[tuple[str, str]] = set()  # (asker, answerer) of answered session requests
        self._allowed: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    # -- nodes and their names ---------------------------------------------

    def node(self, address: str) -> str:
        """Return the node that an address belongs to."""
        return self._node_of.get(address, address)

    def pair(self, one: str, other: str) -> Pair:
        """Return the nodes of two addresses."""
        a, b = self.node(one), self.node(other)
        return (a, b) if a <= b else (b, a)

    def names(self, address: str, names: Iterable[str]) -> None:
        """Give the node of *address* other addresses and names; one that is known already stays with its node."""
        node = self.node(address)
        for name in names:
            if name and name != node and name not in self._node_of and name not in self._nodes:
                if len(self._node_of) >= _MOST_NAMES:
                    return
                self._node_of[name] = node
                self._names_of.setdefault(node, []).append(name)

    def others(self, names: Iterable[str]) -> Iterator[str]:
        """Yield the nodes of some names, each with its other addresses and names."""
        for name in names:
            if name:
                node = self.node(name)
                yield node
                yield from self._names_of.get(node, ())

    # -- who is associated ---------------------------------------------------

    def use(self, allowed: Iterable[str]) -> None:
        """Accept only these addresses and prefixes as peers, each with all others; without any, peers are learned."""
        self._allowed = tuple(ipaddress.ip_network(text, strict=False) for text in allowed)

    @property
    def listed(self) -> bool:
        """True if the operator lists the peers."""
        return bool(self._allowed)

    def allows(self, address: str) -> bool:
        """Say whether an address is on the operator's list; without a list, every address is allowed."""
        return not self._allowed or any(ipaddress.ip_address(address) in network for network in self._allowed)

    @property
    def pairs(self) -> frozenset[Pair]:
        """The two nodes of each association that was learned."""
        return frozenset(self._pairs)

    def associated(self, pair: Pair) -> bool:
        """Say whether two nodes are associated."""
        return self.listed or pair in self._pairs

    def learn(self, pair: Pair) -> bool:
        """Associate two nodes; False when they were already, or when there is no room."""
        if pair in self._pairs or len(self._pairs) >= _MOST_PAIRS:
            return False
        self._pairs.add(pair)
        self._nodes.update(pair)
        return True

    def answered(self, asker: str, answerer: str) -> bool:
        """Note an answered session request; True when it makes the two associated."""
        pair = self.pair(asker, answerer)
        if pair in self._pairs:
            return False
        if not self.strict:
            return self.learn(pair)
        if len(self._asked) >= _MOST_PAIRS:
            self._asked.clear()
        self._asked.add((self.node(asker), self.node(answerer)))
        return (self.node(answerer), self.node(asker)) in self._asked and self.learn(pair)

    def release(self, pair: Pair) -> None:
        """End the association of two nodes."""
        self._pairs.discard(pair)
        self._asked -= {pair, pair[::-1]}

    # -- over a restart --------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """Return all that was learned as plain values."""
        return {"strict": self.strict, "pairs": list(self._pairs), "names": dict(self._node_of)}

    def load(self, dumped: dict[str, Any]) -> None:
        """Restore what `dump` returned."""
        self.strict = self.strict or dumped["strict"]
        for pair in dumped["pairs"]:
            self.learn(tuple(pair))
        for name, node in dumped["names"].items():
            self.names(node, (name,))


class Apart(Generic[Exchange]):
    """Answered exchanges between nodes that are not associated yet, until they are."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._held: OrderedDict[Pair, deque[tuple[float, Exchange]]] = OrderedDict()
        self._number = 0

    def __len__(self) -> int:
        return self._number

    def keep(self, pair: Pair, exchange: Exchange, at_s: float) -> None:
        """Keep one exchange."""
        self._forget(at_s)
        if self._number >= _MOST_APART:
            self._counters["pfcp_apart_lost"] += 1
            return
        self._held.setdefault(pair, deque()).append((at_s, exchange))
        self._number += 1

    def take(self, pair: Pair, at_s: float) -> list[tuple[float, Exchange]]:
        """Remove and return the exchanges between two nodes in their order, each with its time."""
        self._forget(at_s)
        taken = list(self._held.pop(pair, ()))
        self._number -= len(taken)
        return taken

    def _forget(self, at_s: float) -> None:
        for pair in [p for p, held in self._held.items() if at_s - held[0][0] > _APART_S]:
            held = self._held[pair]
            while held and at_s - held[0][0] > _APART_S:
                held.popleft()
                self._number -= 1
                self._counters["pfcp_apart_lost"] += 1
            if not held:
                del self._held[pair]


class Notices:
    """Notices for the operator until `take`; bounded, because strangers decide how many there would be."""

    def __init__(self) -> None:
        self._waiting: deque[Notice] = deque(maxlen=_MOST_NOTICES)
        self._told_s: OrderedDict[Pair, float] = OrderedDict()
        self._untold: Counter[Pair] = Counter()

    def refused(self, peers: Pair, at_s: float, *, apart: bool) -> None:
        """Note that nodes were refused."""
        self._untold[peers] += 1
        if not 0 <= at_s - self._told_s.get(peers, at_s - _TOLD_S) < _TOLD_S:
            self._told_s[peers] = at_s
            self._waiting.append(PeersRefused(at_s, peers, self._untold.pop(peers), apart))
        if len(self._told_s) > _MOST_NOTICES:
            self._untold.pop(self._told_s.popitem(last=False)[0], None)

    def ended(self, peers: Pair, at_s: float, sessions: int, reason: EndReason) -> None:
        """Note that several sessions ended together."""
        self._waiting.append(SessionsEnded(at_s, peers, sessions, reason))

    def take(self) -> list[Notice]:
        """Return the notices, each once."""
        told = list(self._waiting)
        self._waiting.clear()
        return told
