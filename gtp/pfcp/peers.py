"""Which nodes speak PFCP with each other: who counts, by what was seen of them (TS 29.244, 5.8, 6.2.6 and 6.2.2).

Two nodes are associated once an association or a heartbeat between them was answered, or session requests of both
were. While no association was seen at all, one answered session request is enough: whoever listens late sees nothing
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
_MOST_PAIRS = 65_536  # whoever makes up nodes pushes nobody out: new ones are then not learned
_MOST_NAMES = 65_536
_MOST_APART = 65_536  # exchanges that wait
_APART_S = (
    180.0  # a heartbeat comes once a minute (7.4.2: the interval is the operator's; 60 s is usual), or two are lost
)
_TOLD_S = 60.0  # between two notices of one pair
_MOST_NOTICES = 1000
Exchange = TypeVar("Exchange")


class Peers:
    """The nodes and who of them is associated with whom."""

    def __init__(self) -> None:
        self.strict = False  # an association was seen
        self._node_of: dict[str, str] = {}  # by another address or name
        self._names_of: dict[str, list[str]] = {}  # the same from the other end
        self._nodes: set[str] = set()  # of pairs
        self._pairs: set[Pair] = set()
        self._asked: set[tuple[str, str]] = set()  # who of a pair got an answer to a session request
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
        """Let the node of *address* have other addresses and names, which nobody has yet."""
        node = self.node(address)
        for name in names:
            if name and name != node and name not in self._node_of and name not in self._nodes:
                if len(self._node_of) >= _MOST_NAMES:
                    return
                self._node_of[name] = node
                self._names_of.setdefault(node, []).append(name)

    def others(self, names: Iterable[str]) -> Iterator[str]:
        """Yield what the nodes of some names are called beside."""
        for name in names:
            if name:
                node = self.node(name)
                yield node
                yield from self._names_of.get(node, ())

    # -- who is associated ---------------------------------------------------

    def use(self, allowed: Iterable[str]) -> None:
        """Let only these addresses and prefixes be peers, each with all others; none: those that are learned."""
        self._allowed = tuple(ipaddress.ip_network(text, strict=False) for text in allowed)

    @property
    def listed(self) -> bool:
        """Whether the operator says who the peers are."""
        return bool(self._allowed)

    def allows(self, address: str) -> bool:
        """Say whether the operator's list, where there is one, has an address."""
        return not self._allowed or any(ipaddress.ip_address(address) in network for network in self._allowed)

    def associated(self, pair: Pair) -> bool:
        """Say whether two nodes are associated."""
        return self.listed or pair in self._pairs

    def learn(self, pair: Pair) -> bool:
        """Let two nodes be associated; True when they were not."""
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
        """Let two nodes be associated no longer."""
        self._pairs.discard(pair)
        self._asked -= {pair, pair[::-1]}

    # -- over a restart --------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """Return all that was learned as plain values."""
        return {"strict": self.strict, "pairs": list(self._pairs), "names": dict(self._node_of)}

    def load(self, dumped: dict[str, Any]) -> None:
        """Know again what was learned before."""
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
        """Keep one."""
        self._forget(at_s)
        if self._number >= _MOST_APART:
            self._counters["pfcp_apart_lost"] += 1
            return
        self._held.setdefault(pair, deque()).append((at_s, exchange))
        self._number += 1

    def take(self, pair: Pair, at_s: float) -> list[tuple[float, Exchange]]:
        """Return those between two nodes in their order, each with its time, and keep them no longer."""
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
    """What the operator is to be told, until `take`; bounded, as strangers decide how much it would be."""

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
        """Return what there is to tell, once."""
        told = list(self._waiting)
        self._waiting.clear()
        return told
