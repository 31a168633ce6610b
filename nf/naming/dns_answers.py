"""Names of addresses by DNS answers, subscriber by subscriber, each with the time until it holds."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

__all__ = ["Answers", "Learned"]

_MAX_PAIRS = 131_072  # (subscriber, address)
_MAX_NAMES = 8  # of one address; with more it serves everybody
# Clients and their resolvers keep using answers that have expired (Pang, Akella, Shaikh, Krishnamurthy, Seshan: On
# the Responsiveness of DNS-based Network Control, IMC 2004), and applications keep addresses for their own life.
# The floor is a choice: long enough for that, and several names of an address within it make it ambiguous.
_MIN_TTL_S, _MAX_TTL_S = 3_600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class Learned:
    """A name of an address, by a DNS answer."""

    name: str
    until_s: float


class Answers:
    """Bounded memory of answers: the pair neither learned nor looked up for longest leaves; ``evicted`` counts them."""

    def __init__(self, most: int = _MAX_PAIRS) -> None:
        self._most = most
        self._pairs: OrderedDict[tuple[int, str, str], tuple[Learned, ...]] = OrderedDict()
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._pairs)

    def learn(self, session: int, client: str, address: str, name: str, ttl_s: float, at_s: float) -> None:
        """Record that DNS told *session* (or, if that is 0, *client*) *address* for *name*."""
        key = _key(session, client, address)
        new = Learned(name, at_s + min(_MAX_TTL_S, max(_MIN_TTL_S, ttl_s)))
        others = [old for old in self._pairs.pop(key, ()) if old.name != name and old.until_s > at_s]
        self._pairs[key] = (new, *others[: _MAX_NAMES - 1])
        while len(self._pairs) > self._most:
            self._pairs.popitem(last=False)
            self.evicted += 1

    def names(self, session: int, client: str, address: str, at_s: float) -> tuple[str, ...]:
        """Return the names that *address* has for this subscriber, the latest first."""
        keys = [_key(session, client, address)]
        if session:
            keys.append(_key(0, client, address))  # learned before the session was known
        for key in keys:
            if learned := self._pairs.get(key):
                self._pairs.move_to_end(key)
                if holding := tuple(x.name for x in learned if x.until_s > at_s):
                    return holding
        return ()


def _key(session: int, client: str, address: str) -> tuple[int, str, str]:
    return session, "" if session else client, address
