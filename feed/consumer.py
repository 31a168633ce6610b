"""The other end of the bus: a subscriber that decodes, finds gaps, and tells "quiet" from "dead"."""

from __future__ import annotations

import contextlib
import enum
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import zmq

from feed import wire
from feed.errors import SnfError
from feed.late import Question, beside
from feed.link import Link, Monitor
from feed.sockets import prepare

__all__ = ["CurveKeys", "Liveness", "Several", "Subscriber", "key_pair"]

_HEALTH, _SNAPSHOT = "health.v1/", b"snapshot.v1/"
_DEAD_S = 3.0  # three heartbeats
_QUIET_S = 12.0  # a batch is at most 10 s old by default
_MOST_HELD = 1000  # messages, while a snapshot is awaited
_MAX_TOPICS = 100_000  # topics whose sequence is remembered
_MOST_WAITING = 300  # messages of one reader, beside what the kernel buffers; one of 1,000 rows has 30 kB
_IN_A_ROW = 16  # messages of one publisher, before others are read


class Liveness(enum.Enum):
    """State of the publisher, as far as the subscriber can tell."""

    SILENT = "silent"  # nothing was ever heard: wrong endpoint, wrong key, or not running
    ALIVE = "alive"
    QUIET = "quiet"  # its heart beats, and there is nothing to publish
    DEAD = "dead"  # it was there, and its heart beats no more


@dataclass(frozen=True, slots=True, repr=False)
class CurveKeys:
    """Keys of a client of a CURVE publisher: the server's public key and the client's own pair (Z85)."""

    server_key: str
    public_key: str
    secret_key: str


def key_pair() -> tuple[str, str]:
    """Return a new (public, secret) CURVE key pair in Z85."""
    public, secret = zmq.curve_keypair()
    return public.decode(), secret.decode()


def _unconnected(context: zmq.Context[Any], endpoint: str, most_messages: int) -> zmq.Socket[bytes]:
    """Return a SUB socket in which so many messages wait at most."""
    socket: zmq.Socket[bytes] = context.socket(zmq.SUB)
    socket.linger = 0
    socket.rcvhwm = most_messages
    prepare(socket, endpoint, wire.MAX_BODY_BYTES)
    return socket


def _secure(socket: zmq.Socket[bytes], curve: CurveKeys | None) -> None:
    if curve is not None:
        socket.curve_serverkey = curve.server_key.encode()
        socket.curve_publickey = curve.public_key.encode()
        socket.curve_secretkey = curve.secret_key.encode()


def _connect(socket: zmq.Socket[bytes], endpoint: str, curve: CurveKeys | None) -> None:
    """Connect; raises SnfError when endpoint or keys are no such things."""
    try:
        _secure(socket, curve)
        port = endpoint.rpartition(":")[2]
        if endpoint.startswith("tcp:") and int(port) not in range(1, 65_536):  # ZeroMQ would wait there for ever
            raise ValueError(port)
        socket.connect(endpoint)
    except (zmq.ZMQError, ValueError):
        what = f"Cannot connect to {endpoint}{' with these keys' if curve else ''}."
        raise SnfError(what, "Give tcp://ADDRESS:PORT, and keys of 40 characters of Z85.") from None


class Subscriber:
    """A context manager over one SUB socket; used by one thread.

    ``gaps`` counts messages that were published and did not arrive, found by the sequence of each
    topic and by the heartbeat; ``malformed`` those that could not be decoded; ``restarts`` new boots.
    Raises SnfError when endpoint or keys are no such things; a publisher that is not there is no error.
    """

    def __init__(self, endpoint: str, topics: Sequence[str], curve: CurveKeys | None = None) -> None:
        self.gaps = self.malformed = self.restarts = 0
        self.heard_s: float | None = None  # monotonic time of the last message
        self.data_s: float | None = None  # of the last one that was no heartbeat
        self._endpoint, self._curve = endpoint, curve
        self._late: Question | None = None
        self._held: deque[list[bytes]] = deque()  # messages that came while a snapshot is awaited
        self._topics: list[str] = []
        self._heads: dict[str, tuple[str, int]] = {}
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = _unconnected(self._context, endpoint, _MOST_WAITING)
        self._monitor = Monitor(self._socket)
        try:
            _connect(self._socket, endpoint, curve)
        except SnfError:
            self.close()
            raise
        self._socket.subscribe(_HEALTH)
        for topic in topics:
            self.subscribe(topic)

    def subscribe(self, topic: str) -> None:
        """Ask for a topic or a prefix; end it with "/" to match whole elements."""
        self._socket.subscribe(topic)
        self._topics.append(topic)

    def unsubscribe(self, topic: str) -> None:
        """Stop asking for a topic or a prefix."""
        if topic in self._topics:
            self._socket.unsubscribe(topic)
            self._topics.remove(topic)
        for known in [t for t in self._heads if t.startswith(topic)]:
            del self._heads[known]  # later misses of this topic are no gap

    def snapshot(self, endpoint: str = "") -> None:
        """Ask for the current state of the topics: `receive` then gives it first, and drops what is older.

        *endpoint*: where snapshots are given, by custom beside the endpoint of the feed. Where nobody answers, the feed
        goes on without. Who must miss nothing asks when a heartbeat was heard: then the subscriptions hold.
        """
        self._end_late()
        endpoint = endpoint or beside(self._endpoint)
        if endpoint and self._topics:
            with contextlib.suppress(zmq.ZMQError):  # the place beside an endpoint need not be one
                self._late = Question(self._context, endpoint, self._topics, partial(_secure, curve=self._curve))

    def receive(self, timeout_s: float) -> wire.Message | None:
        """Return the next message that was asked for, or None when none came in time."""
        deadline_s = time.monotonic() + timeout_s
        self._monitor.read()
        while (read := self._read(deadline_s)) is not None:
            frames, past = read
            self.heard_s = time.monotonic()
            try:
                message = wire.decode(frames)
            except wire.WireError:
                self.malformed += 1
            else:
                if self._note_past(message) if past else self._note(message):
                    return message
            if time.monotonic() >= deadline_s:
                break  # a stream of other messages is no reason to stay
        return None

    def _read(self, deadline_s: float) -> tuple[list[bytes], bool] | None:
        """Return the next frames, and whether they are of a snapshot; None when none came in time."""
        while self._late is not None:
            left_s = min(self._late.left_s(), deadline_s - time.monotonic())
            zmq.select([self._socket, self._late.socket], [], [], timeout=max(0.0, left_s))
            if (frames := self._late.take()) is not None:
                return frames, True
            if self._socket.poll(0):
                frames = self._socket.recv_multipart()
                if frames[0].startswith(_HEALTH.encode()):
                    return frames, False
                self.heard_s = time.monotonic()
                self._held.append(frames)
            elif left_s <= 0 and self._late.left_s() > 0:
                return None
            if self._late.left_s() <= 0 or len(self._held) >= _MOST_HELD:
                self._end_late()
        if self._held:
            return self._held.popleft(), False
        if self._socket.poll(max(0, round((deadline_s - time.monotonic()) * 1e3))):
            return self._socket.recv_multipart(), False
        return None

    def _end_late(self) -> None:
        if self._late is not None:
            self._late.close()
            self._late = None

    def messages(self, seconds: float | None = None, quiet_s: float = 1.0) -> Iterator[wire.Message | None]:
        """Yield messages for *seconds* (None: for ever), and None whenever nothing came for *quiet_s*."""
        end_s = None if seconds is None else time.monotonic() + seconds
        while end_s is None or time.monotonic() < end_s:
            yield self.receive(quiet_s if end_s is None else max(0.0, min(quiet_s, end_s - time.monotonic())))

    @property
    def link(self) -> Link:
        """The state of the connection now."""
        return self._monitor.read()

    def liveness(self, quiet_s: float = _QUIET_S) -> Liveness:
        """Return the state of the publisher now; "quiet" is one without data for *quiet_s*."""
        now_s = time.monotonic()
        if self.heard_s is None:
            return Liveness.SILENT
        if now_s - self.heard_s > _DEAD_S:
            return Liveness.DEAD
        return Liveness.ALIVE if self.data_s is not None and now_s - self.data_s <= quiet_s else Liveness.QUIET

    def _note(self, message: wire.Message) -> bool:
        """Check the sequence; return whether the topic was asked for: some heartbeats are heard for sequences alone.

        What a snapshot had already is not wanted.
        """
        if self._has(message):
            return False
        self._check(message.topic, message.header.boot, message.header.seq)
        if message.header.schema == wire.HEALTH_SCHEMA:
            if self._late is None and not self._held:  # else they may count messages that wait here
                self._check_heads(message)
        else:
            self.data_s = self.heard_s
        return self._wants(message)

    def _wants(self, message: wire.Message) -> bool:
        return any(message.topic.startswith(topic) for topic in self._topics)

    def _has(self, message: wire.Message) -> bool:
        known = self._heads.get(message.topic)
        return known is not None and known[0] == message.header.boot and message.header.seq <= known[1]

    def _note_past(self, message: wire.Message) -> bool:
        """Take a message of a snapshot; return whether it is wanted. With the end, later ones are checked again."""
        if message.header.schema == wire.SNAPSHOT_SCHEMA:
            self._end_late()
            for topic, head in self._told_heads(message):
                if head and not ((known := self._heads.get(topic)) and known[0] == message.header.boot):
                    self._heads[topic] = (message.header.boot, head - 1)
                elif head and known:
                    self._heads[topic] = (known[0], max(known[1], head - 1))
            return False
        if message.header.schema != wire.ALARM_SCHEMA:  # what stands has the number of another message
            if self._has(message):
                return False
            self._heads[message.topic] = (message.header.boot, message.header.seq)
        if message.header.schema != wire.HEALTH_SCHEMA:
            self.data_s = self.heard_s
        return self._wants(message)

    def _check(self, topic: str, boot: str, seq: int) -> None:
        known = self._heads.get(topic)
        if known is not None and known[0] != boot:
            self.restarts += topic.startswith(_HEALTH)  # the publisher began anew: no gap
        elif known is not None and seq > known[1] + 1:
            self.gaps += seq - known[1] - 1
        if len(self._heads) >= _MAX_TOPICS:
            self._heads.clear()
        self._heads[topic] = (boot, seq)

    def _check_heads(self, message: wire.Message) -> None:
        """Count the messages lost at the end of a topic, which no later message of the topic reveals."""
        for topic, head in self._told_heads(message):
            known = self._heads.get(topic)
            if known is not None and known[0] == message.header.boot and head > known[1] + 1:
                self.gaps += head - known[1] - 1
                self._heads[topic] = (known[0], head - 1)

    @staticmethod
    def _told_heads(message: wire.Message) -> list[tuple[str, int]]:
        """Return the next sequence number of each topic, as a heartbeat or the end of a snapshot tells it."""
        topics, heads = message.columns.get("topic"), message.columns.get("next_seq")
        if not isinstance(topics, list) or heads is None:
            return []
        return [(topic, int(head)) for topic, head in zip(topics, heads, strict=True)]

    def close(self) -> None:
        """Close the socket."""
        self._end_late()
        self._monitor.close()
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class Several:
    """A context manager over SUB sockets to several publishers, read by one thread; frames come as they are.

    For who keeps what comes: sequences are his to check. Raises SnfError as Subscriber does.
    """

    def __init__(self, sources: Sequence[tuple[str, CurveKeys | None]], topics: Sequence[str]) -> None:
        self._context: zmq.Context[Any] = zmq.Context()
        self._poller = zmq.Poller()
        self._sources = list(sources)
        self._subscribed: list[zmq.Socket[bytes]] = []
        self._sockets: dict[Any, int] = {}
        self._questions: dict[int, Question] = {}
        most = max(4, _MOST_WAITING // max(1, len(sources)))
        try:
            for number, (endpoint, curve) in enumerate(sources):
                socket = _unconnected(self._context, endpoint, most)
                self._sockets[socket] = number
                self._subscribed.append(socket)
                _connect(socket, endpoint, curve)
                self._poller.register(socket, zmq.POLLIN)
                for topic in topics:
                    socket.subscribe(topic)
        except SnfError:
            self.close()
            raise

    def ask(self, number: int, topics: Sequence[str]) -> None:
        """Ask a source for its current state, by custom beside its endpoint.

        Its messages come from `receive` as past ones, and no others of this source until the answer is over.
        """
        endpoint, curve = self._sources[number]
        if number in self._questions or not (place := beside(endpoint)):
            return
        with contextlib.suppress(zmq.ZMQError):  # the place beside an endpoint need not be one
            question = Question(self._context, place, topics, partial(_secure, curve=curve))
            self._questions[number], self._sockets[question.socket] = question, number
            self._poller.unregister(self._subscribed[number])
            self._poller.register(question.socket, zmq.POLLIN)

    def asking(self, number: int) -> bool:
        """Say whether an answer of a source is awaited."""
        return number in self._questions

    def receive(self, timeout_s: float) -> Iterator[tuple[int, list[bytes], bool]]:
        """Yield what is there, as (number of the source, frames, past), a few of each; wait for the first one."""
        wait_s = min([timeout_s, *(question.left_s() for question in self._questions.values())])
        for socket, _ in self._poller.poll(max(0, round(wait_s * 1e3))):
            number = self._sockets[socket]
            past = socket is not self._subscribed[number]
            for _ in range(_IN_A_ROW):
                if past != (number in self._questions):  # it was asked since, or the answer is over
                    break
                try:
                    frames = socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                if past:
                    self._questions[number].came()
                    if frames[0].startswith(_SNAPSHOT):
                        self._end(number)
                yield number, frames, past
        for number in [number for number, question in self._questions.items() if question.left_s() <= 0]:
            self._end(number)

    def _end(self, number: int) -> None:
        question = self._questions.pop(number)
        self._poller.unregister(question.socket)
        del self._sockets[question.socket]
        question.close()
        self._poller.register(self._subscribed[number], zmq.POLLIN)

    def close(self) -> None:
        """Close the sockets."""
        for socket in self._sockets:
            socket.close()
        for socket in self._subscribed:
            socket.close()
        self._context.term()

    def __enter__(self) -> Several:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()
