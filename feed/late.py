"""The question for the current state, and its answer as it comes (docs/feed.md, Snapshot)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from feed import wire
from feed.sockets import prepare

__all__ = ["Question", "beside"]

_QUESTION = b"snapshot.v1"
_MOST_TOPICS = 64  # of a question
_FIRST_S = 0.5  # for the first message of an answer: a handshake of CURVE is four round trips
_NEXT_S = 2.0  # for the next one


def beside(endpoint: str) -> str:
    """Return where snapshots are given, by custom, for who reads at *endpoint*; empty when that cannot be told."""
    if endpoint.startswith("ipc://"):
        return f"{endpoint}.snapshot"
    head, colon, port = endpoint.rpartition(":")
    return f"{head}{colon}{int(port) + 1}" if port.isdecimal() and int(port) < 0xFFFF else ""


class Question:
    """A question under way. *secure* gives the socket its keys. Raises zmq.ZMQError when *endpoint* is none."""

    def __init__(
        self,
        context: zmq.Context[Any],
        endpoint: str,
        topics: Sequence[str],
        secure: Callable[[zmq.Socket[bytes]], object],
    ) -> None:
        self.socket: zmq.Socket[bytes] = context.socket(zmq.DEALER)
        self.socket.linger = 0
        prepare(self.socket, endpoint, wire.MAX_BODY_BYTES)
        try:
            secure(self.socket)
            self.socket.connect(endpoint)
            asked = [topic.encode() for topic in topics] if len(topics) <= _MOST_TOPICS else [b""]
            self.socket.send_multipart([_QUESTION, *asked], zmq.NOBLOCK)
        except zmq.ZMQError:
            self.close()
            raise
        self._end_s = time.monotonic() + _FIRST_S

    def left_s(self) -> float:
        """Return how long the next message is worth waiting for."""
        return self._end_s - time.monotonic()

    def take(self) -> list[bytes] | None:
        """Return the next frames, None when there are none yet."""
        if not self.socket.poll(0):
            return None
        self.came()
        return self.socket.recv_multipart()

    def came(self) -> None:
        """Note that frames came: the next ones are waited for."""
        self._end_s = time.monotonic() + _NEXT_S

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()
