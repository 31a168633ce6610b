"""Requests and the responses that belong to them, as a mirror shows them: the same for PFCP and GTP-C.

A retransmission is the same bytes from the same socket with the same sequence number (TS 29.244, 6.4;
TS 29.274, 7.6; TS 29.060, 11.1) and changes nothing, also when the first one was answered already. Other
bytes under a number in use are a request of a peer that began anew: the old one is forgotten, so that a
response is never taken for the answer to it.

A mirror brings both directions by ways of their own: a response may come before its request, and waits
`EARLY_S` for it. Waiting messages are bounded in number and in time.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["EARLY_S", "Endpoint", "RestartCounters", "Transactions"]

EARLY_S = 0.5  # most time that a request may be seen after its response: the buffers of a mirror, not of a network
_MAX_PENDING = 65_536  # requests that wait for their response
_MAX_EARLY = 4096
_PENDING_S = 20.0  # retransmissions end before: 3 of 3 s are usual, the standards leave both to the operator
_MAX_PEERS = 4096

Endpoint = tuple[str, int]
_Key = tuple[Endpoint, Endpoint, int, int]  # from, to, sequence number, message type of the request
Value = TypeVar("Value")


@dataclass(slots=True)
class _Waiting(Generic[Value]):
    value: Value
    mark: int  # of its bytes
    at_s: float


class Transactions(Generic[Value]):
    """Pairs requests with responses; *counters* counts messages without a pair, each name beginning with *prefix*."""

    def __init__(self, counters: Counter[str], prefix: str) -> None:
        self._counters, self._prefix = counters, prefix
        self._pending: OrderedDict[_Key, _Waiting[Value]] = OrderedDict()
        self._answered: OrderedDict[_Key, tuple[int, float]] = OrderedDict()  # mark and time
        self._early: OrderedDict[_Key, _Waiting[Value]] = OrderedDict()  # responses
        self._halves: list[Value] = []

    def ask(self, src: Endpoint, dst: Endpoint, sequence: int, kind: int, value: Value, mark: int, at_s: float) -> bool:
        """Store a request until its response comes; False when it is a retransmission."""
        key = (src, dst, sequence, kind)
        self._forget(at_s)
        waiting, answered = self._pending.get(key), self._answered.get(key)
        if (waiting and waiting.mark == mark) or (answered and answered[0] == mark):
            self._count("retransmitted")
            return False
        if waiting:
            self._give_up(key)
        self._answered.pop(key, None)
        self._pending[key] = _Waiting(value, mark, at_s)
        return True

    def early(self, src: Endpoint, dst: Endpoint, sequence: int, kind: int, at_s: float) -> Value | None:
        """Return the response to a request that was just asked, if it came before it."""
        key = (src, dst, sequence, kind)
        response = self._early.pop(key, None)
        if response is None or not 0 <= at_s - response.at_s <= EARLY_S:
            return None
        self._answered[key] = self._pending.pop(key).mark, at_s
        self._count("reordered")
        return response.value

    def answer(self, src: Endpoint, dst: Endpoint, sequence: int, kind: int, value: Value, at_s: float) -> Value | None:
        """Return the request of type *kind* that the message *value* from *src* answers."""
        key = (dst, src, sequence, kind)
        waiting = self._pending.pop(key, None)
        if waiting is not None:
            self._answered[key] = waiting.mark, at_s
            return waiting.value
        if key in self._answered:
            self._count("retransmitted")
            return None
        self._count("response_without_request")
        self._early[key] = _Waiting(value, 0, at_s)
        if len(self._early) > _MAX_EARLY:
            self._early.popitem(last=False)
        return None

    def knows(self, src: Endpoint, dst: Endpoint, sequence: int, kind: int) -> bool:
        """Say whether a response from *src* would answer a request of type *kind*, now or again."""
        key = (dst, src, sequence, kind)
        return key in self._pending or key in self._answered

    def halves(self) -> list[Value]:
        """Return the halves given up since the last call: requests without a response, responses without a request."""
        if not self._halves:
            return []
        halves, self._halves = self._halves, []
        return halves

    def began_anew(self, peer: str, other: str = "") -> None:
        """Forget the requests and responses of *peer*, or only those with *other*: its numbers begin again."""
        for held in (self._pending, self._answered, self._early):
            for key in [k for k in held if peer in (ends := (k[0][0], k[1][0])) and (not other or other in ends)]:
                del held[key]  # type: ignore[attr-defined]

    def _forget(self, at_s: float) -> None:
        while self._pending and (
            len(self._pending) >= _MAX_PENDING or at_s - next(iter(self._pending.values())).at_s > _PENDING_S
        ):
            self._give_up(next(iter(self._pending)))
        while self._early and at_s - next(iter(self._early.values())).at_s > EARLY_S:
            self._halves.append(self._early.popitem(last=False)[1].value)
        while self._answered and (
            len(self._answered) >= _MAX_PENDING or at_s - next(iter(self._answered.values()))[1] > _PENDING_S
        ):
            self._answered.popitem(last=False)

    def _give_up(self, key: _Key) -> None:
        self._halves.append(self._pending.pop(key).value)
        self._count("unanswered")

    def _count(self, name: str) -> None:
        self._counters[f"{self._prefix}_{name}"] += 1


class RestartCounters:
    """The restart counter of each peer: eight bits that roll over (TS 23.007, clause 18)."""

    def __init__(self) -> None:
        self._last: OrderedDict[str, int] = OrderedDict()

    def restarted(self, peer: str, counter: int | None) -> bool:
        """Take the counter that *peer* said; True when it is newer than the last one."""
        if counter is None:
            return False
        last = self._last.get(peer)
        if last is not None and not 0 < (counter - last) % 256 < 128:
            return False  # the same, or an older one that came late
        self._last[peer] = counter
        self._last.move_to_end(peer)
        if len(self._last) > _MAX_PEERS:
            self._last.popitem(last=False)
        return last is not None
