"""The other end of the bus: a subscriber that decodes, finds gaps, and tells "quiet" from "dead"."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import zmq

from nf.errors import SnfError
from nf.publish import wire

__all__ = ["CurveKeys", "Subscriber", "key_pair"]


@dataclass(frozen=True, slots=True, repr=False)
class CurveKeys:
    """What a client of a CURVE publisher needs: the server's public key and its own pair (Z85)."""

    server_key: str
    public_key: str
    secret_key: str


def key_pair() -> tuple[str, str]:
    """Return a new (public, secret) CURVE key pair in Z85."""
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


class Subscriber:
    """A context manager over one SUB socket.

    ``gaps`` counts messages that were published and did not arrive; ``malformed`` those that could
    not be decoded; ``heard_s`` is the monotonic time of the last message of any kind.
    """

    def __init__(self, endpoint: str, topics: Sequence[str], curve: CurveKeys | None = None) -> None:
        self.gaps = self.malformed = self.restarts = 0
        self.heard_s: float | None = None
        self._heads: dict[str, tuple[str, int]] = {}
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = 1000
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        try:
            if curve is not None:
                self._socket.curve_serverkey = curve.server_key.encode()
                self._socket.curve_publickey = curve.public_key.encode()
                self._socket.curve_secretkey = curve.secret_key.encode()
            self._socket.connect(endpoint)
        except (zmq.ZMQError, ValueError) as error:
            self.close()
            raise SnfError(
                f"Cannot connect to {endpoint}: {error}.", "Give tcp://ADDRESS:PORT and valid keys."
            ) from None
        for topic in topics:
            self.subscribe(topic)

    def subscribe(self, topic: str) -> None:
        """Ask for a topic or a prefix; end it with "/" to match whole elements."""
        self._socket.subscribe(topic)

    def unsubscribe(self, topic: str) -> None:
        """Ask no longer."""
        self._socket.unsubscribe(topic)

    def receive(self, timeout_s: float) -> wire.Message | None:
        """Return the next message, or None when nothing came in time."""
        deadline = time.monotonic() + timeout_s
        while (left_s := deadline - time.monotonic()) > 0 or timeout_s == 0:
            if not self._socket.poll(max(0, int(left_s * 1e3))):
                return None
            frames = self._socket.recv_multipart()
            self.heard_s = time.monotonic()
            try:
                message = wire.decode(frames)
            except wire.WireError:
                self.malformed += 1
                continue
            self._check_sequence(message)
            return message
        return None

    def messages(self, seconds: float | None = None, quiet_s: float = 1.0) -> Iterator[wire.Message | None]:
        """Yield messages for *seconds* (None: for ever), and None whenever nothing came for *quiet_s*."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            left_s = quiet_s if end is None else min(quiet_s, max(0.001, end - time.monotonic()))
            yield self.receive(left_s)

    def _check_sequence(self, message: wire.Message) -> None:
        boot, seq = message.header.boot, message.header.seq
        known = self._heads.get(message.topic)
        if known is not None and known[0] != boot:
            self.restarts += 1  # the publisher began anew: no gap
        elif known is not None and seq > known[1] + 1:
            self.gaps += seq - known[1] - 1
        self._heads[message.topic] = (boot, seq)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()
