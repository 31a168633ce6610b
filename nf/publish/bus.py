"""The sockets of the publisher: used by one thread alone, as ZeroMQ demands.

An XPUB socket learns of subscriptions only while it is read, so the thread that owns it waits on it.
Each further socket (a ROUTER with a snapshot for late joiners) is one more entry of ``readers``.
"""

from __future__ import annotations

import errno
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import zmq

from feed import wire
from feed.records import Columns
from feed.sockets import prepare
from nf.errors import SnfError
from nf.publish.auth import AllowList, client_keys, secure
from nf.settings import Export

__all__ = ["MAX_FOLLOWED", "Bus"]

log = logging.getLogger(__name__)

MAX_FOLLOWED = 1000  # each costs a message of its own an interval; more would undo the data budget
_REBIND_S = 2.0  # closing the old socket of an endpoint is asynchronous, a listener may linger so long
_LINGER_MS = 500
_MAX_PORT = 65_535
_MAX_SUBSCRIPTION_BYTES = 1024  # a topic has about a hundred


class Bus:
    """The bound socket and its subscriptions. Raises SnfError when the endpoint or the keys cannot be used."""

    def __init__(self, export: Export, nf_id: str, boot: str, counters: Counter[str]) -> None:
        self.export, self.nf_id, self.boot, self.counters = export, nf_id, boot, counters
        self.subscriptions: set[bytes] = set()
        self.followed: frozenset[str] = frozenset()
        self.heads: Counter[bytes] = Counter()  # topic to the sequence number of its next message
        self.readers: dict[Any, Callable[[], None]] = {}
        self._poller = zmq.Poller()
        self._context: zmq.Context[Any] = zmq.Context()
        self._context.linger = _LINGER_MS
        self._allow_list = AllowList(self._context, counters)
        try:
            self._allow_list.allowed = client_keys(export.curve)
            self._socket = self._configured(export)
            self.endpoint = _bind(self._socket, export.endpoint)
        except SnfError:
            self._context.destroy(linger=0)
            raise
        self.add_reader(self._allow_list.socket, self._allow_list.answer)
        self.add_reader(self._socket, self._read_subscription)

    def add_reader(self, source: Any, read: Callable[[], None]) -> None:
        """Call *read* whenever *source*, a socket or a file descriptor, can be read."""
        self._poller.register(source, zmq.POLLIN)
        self.readers[source] = read

    def wait(self, timeout_s: float) -> None:
        """Wait for subscriptions, handshakes and the other readers, and serve those that are there."""
        for source, _ in self._poller.poll(max(0, math.ceil(timeout_s * 1e3))):
            # A reader may have closed the socket of a later one.
            if source in self.readers:
                self.readers[source]()

    # -- sending -----------------------------------------------------------

    def send(self, topic: bytes, schema: str, span_s: tuple[float, float], columns: Columns) -> None:
        """Send one message if somebody subscribes to its topic; it uses up a sequence number in any case."""
        seq = self.heads[topic]
        self.heads[topic] += 1
        if not self.heard(topic):
            self.counters["unheard_messages"] += 1
            return
        header = wire.Header(schema, self.nf_id, self.boot, seq, *span_s)
        try:
            frames = wire.encode(topic, header, columns)
        except wire.WireError as error:
            self.counters["unencodable_messages"] += 1
            log.error("a message of schema %s was not published: %s", schema, error)
            return
        self._socket.send_multipart(frames)
        self.counters["messages"] += 1
        self.counters["exported_bytes"] += sum(map(len, frames))
        self.counters["records"] += len(next(iter(columns.values()), ())) if schema == wire.QOE_SCHEMA else 0

    def heard(self, topic: bytes) -> bool:
        """Say whether a subscription matches *topic*, as libzmq does: by its first bytes."""
        return any(topic[:n] in self.subscriptions for n in range(len(topic) + 1))

    # -- subscriptions -----------------------------------------------------

    def _read_subscription(self) -> None:
        message = self._socket.recv()
        kind, topic = message[:1], message[1:]
        if kind == b"\x01":
            self.subscriptions.add(topic)
        elif kind == b"\x00":
            self.subscriptions.discard(topic)
        else:  # a subscriber may send anything; it is no subscription
            self.counters["foreign_messages"] += 1
            return
        self._follow(topic, begin=kind == b"\x01")

    def _follow(self, topic: bytes, *, begin: bool) -> None:
        """Begin or end to follow the subscriber of an exact topic; a prefix, which means everybody, is ignored."""
        prefix = wire.topic("sub.v1", self.nf_id)
        if not topic.startswith(prefix) or not topic.endswith(b"/") or topic == prefix:
            return
        subscriber = topic[len(prefix) : -1].decode(errors="replace")
        if not begin:
            self.followed -= {subscriber}
        elif len(self.followed) < MAX_FOLLOWED:
            self.followed |= {subscriber}
        else:
            self.counters["follows_refused"] += 1

    # -- configuration -----------------------------------------------------

    def _configured(self, export: Export) -> zmq.Socket[bytes]:
        if export.high_water_mark < 1:
            raise SnfError("A high-water mark below 1 would let memory grow without bound.", "Give 1 or more.")
        socket: zmq.Socket[bytes] = self._context.socket(zmq.XPUB)
        # Before bind, or it has no effect on the connections that the bind accepts.
        socket.sndhwm = export.high_water_mark
        prepare(socket, export.endpoint, _MAX_SUBSCRIPTION_BYTES)
        try:
            if export.curve is not None:
                secure(socket, export.curve)
        except SnfError:
            socket.close()
            raise
        return socket

    def reconfigure(self, export: Export) -> None:
        """Change to *export*; on failure SnfError is raised and the old socket stays in use.

        A new client is admitted without touching others. A removed one must lose its connection, and
        ZeroMQ can only cut all: those still allowed connect again by themselves.
        """
        allowed = client_keys(export.curve)
        old = self.export
        removed = self._allow_list.allowed - allowed
        if removed or _binding(old) != _binding(export):
            self._rebind(old, export, allowed)
        self._allow_list.allowed = allowed
        self.export = export

    def _rebind(self, old: Export, export: Export, allowed: frozenset[bytes]) -> None:
        new, before = self._configured(export), self._allow_list.allowed
        self._allow_list.allowed = allowed  # the new list judges clients that connect during the bind
        endpoint = self.endpoint if export.endpoint == old.endpoint else export.endpoint
        clash = endpoint.rpartition(":")[2] == self.endpoint.rpartition(":")[2]  # the old socket may hold the port
        try:
            if clash:
                self._socket.unbind(self.endpoint)
            endpoint = _bind(new, endpoint, patience_s=_REBIND_S if clash else 0)
        except SnfError:
            new.close()
            self._allow_list.allowed = before
            if clash:
                _bind(self._socket, self.endpoint, patience_s=_REBIND_S)
            raise
        self._poller.unregister(self._socket)
        self.readers.pop(self._socket)
        self._socket.close()
        self.subscriptions.clear()  # clients that connect again subscribe again
        self.followed = frozenset()
        self._socket, self.endpoint = new, endpoint
        self.add_reader(new, self._read_subscription)
        self.counters["rebinds"] += 1

    def close(self) -> None:
        """Close all sockets; what a subscriber has not read within the linger time is lost."""
        self._allow_list.close()
        self._socket.close()
        self._context.term()


def _bind(socket: zmq.Socket[bytes], endpoint: str, patience_s: float = 0) -> str:
    """Bind and return the endpoint as bound; ask again for *patience_s* while the address is in use."""
    port = endpoint.rpartition(":")[2]
    end_s = time.monotonic() + patience_s
    while True:
        try:
            if endpoint.startswith("tcp:") and port.isdecimal() and int(port) > _MAX_PORT:
                raise zmq.ZMQError(errno.EINVAL)  # libzmq would take the port modulo 65536
            socket.bind(endpoint)
            return socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE or time.monotonic() >= end_s:
                raise SnfError(
                    f"The publisher cannot bind {endpoint}: {zmq.strerror(error.errno or 0)}.",
                    "Give tcp://ADDRESS:PORT with an address of this host and a port that no process holds.",
                ) from None
        time.sleep(0.01)


def _binding(export: Export) -> tuple[object, ...]:
    """Return the settings that need a new socket to change."""
    keys = (export.curve.secret_key, export.curve.public_key) if export.curve else None
    return export.endpoint, export.high_water_mark, keys
