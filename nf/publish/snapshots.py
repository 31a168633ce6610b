"""The ROUTER socket of a place, where late joiners ask for the current state (docs/feed.md, Snapshot).

A question is a message of frames, `snapshot.v1` and topics or prefixes. Its answer is messages as they are on the bus,
and one at the end with the next sequence number of each topic. Rights are those of subscriptions, asked for with each
question, so that a key which lost them gets nothing by an old connection.

An answer is sent as fast as its client reads, a burst at a time, so that the feed goes on meanwhile. Memory: the
references of `_MOST_ANSWERED` answers at most, and `_HIGH_WATER_MARK` messages in each connection.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import zmq

from feed.sockets import prepare
from nf.publish.auth import secure
from nf.publish.bindable import bind
from nf.publish.outlet import Outlet, user_of
from nf.settings import Listener

__all__ = ["QUESTION", "Snapshots"]

QUESTION = b"snapshot.v1"
_MOST_TOPICS = 64
_MOST_BYTES = 1024  # of a frame, as of a subscription
_MOST_ANSWERED, _MOST_WAITING = 4, 60
_HIGH_WATER_MARK = 64  # messages; one of 1,000 records has 22 kB
_BURST = 64  # messages and questions before others are served
_LONGEST_S = 30.0  # for one answer: a client that reads so slowly has an old state by then
_ANYBODY = ""

Compose = Callable[[Sequence[bytes]], Iterable[Sequence[bytes]]]


@dataclass(slots=True)
class _Answer:
    messages: Iterator[Sequence[bytes]]
    next: Sequence[bytes] | None
    end_s: float


class Snapshots:
    """The socket and the answers under way. Raises SnfError when the endpoint or the keys cannot be used.

    *compose* returns the messages of the state with topics of some prefixes, and the end of a snapshot.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        outlet: Outlet,
        listener: Listener,
        compose: Compose,
        counters: Counter[str],
        patience_s: float = 0,
    ) -> None:
        self.listener, self.counters, self.answered = listener, counters, 0
        self._outlet, self._compose = outlet, compose
        self._waiting: dict[bytes, list[bytes]] = {}  # topics by connection
        self._answers: dict[bytes, _Answer] = {}
        self.socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self.socket.sndhwm = self.socket.rcvhwm = _HIGH_WATER_MARK
        self.socket.set(zmq.ROUTER_MANDATORY, 1)  # a client that reads slowly is told of, and waited for
        prepare(self.socket, listener.snapshot_endpoint, _MOST_BYTES)
        try:
            if listener.curve is not None:
                secure(self.socket, listener.curve, outlet.domain)
            self.endpoint = bind(self.socket, listener.snapshot_endpoint, patience_s)
        except Exception:
            self.socket.close()
            raise

    @property
    def busy(self) -> bool:
        """Say whether an answer is under way or waits."""
        return bool(self._answers or self._waiting)

    def read(self) -> None:
        """Read the questions that are there."""
        for _ in range(_BURST):
            try:
                who, *frames = self.socket.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._ask(who.bytes, frames)

    def _ask(self, who: bytes, frames: Sequence[zmq.Frame]) -> None:
        if not 2 <= len(frames) <= 1 + _MOST_TOPICS or frames[0].bytes != QUESTION:
            self.counters["foreign_messages"] += 1
            return
        user = user_of(frames[0]) if self.listener.curve is not None else _ANYBODY
        if user is None or len(self._waiting) >= _MOST_WAITING or who in self._waiting or who in self._answers:
            self.counters["snapshots_refused"] += 1
            return
        may = (prefix for frame in frames[1:] for prefix in self._outlet.may(user, frame.bytes))
        self._waiting[who] = list(dict.fromkeys(may))

    def pump(self) -> None:
        """Send what clients take now."""
        now_s = time.monotonic()
        for who in list(self._waiting)[: max(0, _MOST_ANSWERED - len(self._answers))]:
            messages = iter(list(self._compose(self._waiting.pop(who))))
            self._answers[who] = _Answer(messages, next(messages, None), now_s + _LONGEST_S)
        for who, answer in list(self._answers.items()):
            if not self._send(who, answer) or now_s > answer.end_s:
                del self._answers[who]
                self.counters["snapshots_broken_off"] += 1
            elif answer.next is None:
                del self._answers[who]
                self.answered += 1

    def _send(self, who: bytes, answer: _Answer) -> bool:
        """Send a burst of an answer; False when its client is gone."""
        for _ in range(_BURST):
            if answer.next is None:
                break
            try:
                self.socket.send_multipart([who, *answer.next], zmq.NOBLOCK)
            except zmq.Again:
                break
            except zmq.ZMQError:  # EHOSTUNREACH
                return False
            answer.next = next(answer.messages, None)
        return True

    def close(self) -> None:
        """Close the socket; answers under way break off."""
        self.socket.close()
