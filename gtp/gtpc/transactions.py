"""Requests that wait for their response, and peers that began anew: the same for both versions of GTP-C.

A retransmission is the same bytes from the same socket with the same sequence number (TS 29.274, 7.6;
TS 29.060, 11.1) and changes nothing, also when the first one was answered already. Other bytes under a
number in use are a request of a peer that began anew: the old one is forgotten, so that a response is
never taken for the answer to it. What waits is bounded in number and in time.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Endpoint", "RestartCounters", "Transactions"]

_MAX_PENDING = 65_536  # requests that wait for their response
_PENDING_S = 60.0  # longer than N3 retransmissions after T3 (TS 29.274, 7.6 leaves both to the operator)
_MAX_PEERS = 4096

Endpoint = tuple[str, int]
_Key = tuple[Endpoint, Endpoint, int, int]  # from, to, sequence number, message type
Value = TypeVar("Value")


@dataclass(slots=True)
class _Waiting(Generic[Value]):
    value: Value
    mark: int  # of its bytes
    at_s: float


class Transactions(Generic[Value]):
    """Pairs requests with responses; *counters* names what led to no pair, with *prefix* before each name."""

    def __init__(self, counters: Counter[str], prefix: str) -> None:
        self._counters, self._prefix = counters, prefix
        self._pending: OrderedDict[_Key, _Waiting[Value]] = OrderedDict()
        self._answered: OrderedDict[_Key, tuple[int, float]] = OrderedDict()  # mark and time

    def ask(self, src: Endpoint, dst: Endpoint, sequence: int, kind: int, value: Value, mark: int, at_s: float) -> bool:
        """Let a request wait; False when it is a retransmission."""
        key = (src, dst, sequence, kind)
        self._forget(at_s)
        waiting, answered = self._pending.get(key), self._answered.get(key)
        if (waiting and waiting.mark == mark) or (answered and answered[0] == mark):
            self._count("retransmitted")
            return False
        if waiting:
            del self._pending[key]
            self._count("unanswered")
        self._answered.pop(key, None)
        self._pending[key] = _Waiting(value, mark, at_s)
        return True

    def answer(self, src: Endpoint, dst: Endpoint, sequence: int, kind: int, at_s: float) -> Value | None:
        """Return the request of type *kind* that a message from *src* answers."""
        key = (dst, src, sequence, kind)
        waiting = self._pending.pop(key, None)
        if waiting is None:
            self._count("retransmitted" if key in self._answered else "response_without_request")
            return None
        self._answered[key] = waiting.mark, at_s
        return waiting.value

    def began_anew(self, peer: str) -> None:
        """Forget what was answered to and by *peer*: its sequence numbers begin again."""
        for key in [k for k in self._answered if peer in (k[0][0], k[1][0])]:
            del self._answered[key]

    def _forget(self, at_s: float) -> None:
        while self._pending and (
            len(self._pending) >= _MAX_PENDING or at_s - next(iter(self._pending.values())).at_s > _PENDING_S
        ):
            self._pending.popitem(last=False)
            self._count("unanswered")
        while self._answered and (
            len(self._answered) >= _MAX_PENDING or at_s - next(iter(self._answered.values()))[1] > _PENDING_S
        ):
            self._answered.popitem(last=False)

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
