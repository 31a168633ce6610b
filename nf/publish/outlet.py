"""One bound XPUB socket: who asks for what on it, what each may have, and what goes out.

libzmq hands over each subscription with the name of its user and leaves it to us what that connection gets
(XPUB_MANUAL). Two things of libzmq 4.3 matter here:

- Which connection a subscription is of, libzmq counts by subscriptions alone. A message that is no subscription puts
  that count out, and the rights of one client would go to the connection of another. So whatever is read after such a
  message, until the socket is empty, is given to nobody, and the socket is made anew, so that clients connect and ask
  again. Under CURVE the sender loses its access first; others may do it once in ten seconds.
- A connection that ends tells its topics once more, without its user (`nf.publish.rights.Asked`).
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import zmq

from feed.sockets import prepare
from nf.errors import SnfError
from nf.publish.auth import AllowList, client_rights, secure
from nf.publish.bindable import REBIND_S, bind
from nf.publish.rights import Asked, cut, followed_by
from nf.settings import Listener, Rights

__all__ = ["Follows", "Outlet", "user_of"]

log = logging.getLogger(__name__)

MAX_FOLLOWED = 1000  # each costs a message of its own an interval; more would undo the data budget
_MAX_TOPICS = 10_000  # of all clients: ten times what can be followed
_MAX_OF_KEY = 5000
_MAX_SUBSCRIPTION_BYTES = 1024  # a topic has about a hundred
_MEND_S = 10.0  # between two sockets that were made anew for what anybody may send
_BURST = 1024  # subscriptions read before others are served
_ANYBODY = ""  # the user of a socket without CURVE


class Follows:
    """Subscribers that somebody follows, on whatever socket."""

    def __init__(self, counters: Counter[str]) -> None:
        self._times: Counter[str] = Counter()
        self._counters = counters
        self.subscribers: frozenset[str] = frozenset()  # replaced as a whole, so that other threads may read it

    def begin(self, subscriber: str) -> bool:
        """Follow *subscriber*; False, and counted, when too many are followed."""
        if subscriber not in self._times and len(self._times) >= MAX_FOLLOWED:
            self._counters["follows_refused"] += 1
            return False
        self._times[subscriber] += 1
        self.subscribers |= {subscriber}
        return True

    def end(self, subscriber: str) -> None:
        """Follow *subscriber* once less."""
        self._times[subscriber] -= 1
        if self._times[subscriber] <= 0:
            del self._times[subscriber]
            self.subscribers -= {subscriber}


class Outlet:
    """A bound socket and its subscriptions. Raises SnfError when the endpoint or the keys cannot be used.

    *moved* is told of each other socket that takes the place of one.
    """

    def __init__(
        self,
        context: zmq.Context[Any],
        listener: Listener,
        nf_id: str,
        admission: AllowList,
        follows: Follows,
        moved: Callable[[zmq.Socket[bytes], zmq.Socket[bytes]], None],
        counters: Counter[str],
    ) -> None:
        self.listener, self.nf_id, self.counters = listener, nf_id, counters
        self.asked = Asked()
        self.records = 0
        self._context, self._admission, self._follows, self._moved = context, admission, follows, moved
        self.domain = f"snf/{listener.name}"
        self._out_of_step = self._owes = False  # a client, whose subscription was not given, another connection
        self._mended_s = -math.inf
        self._shut_out: set[str] = set()
        self._rights = client_rights(listener.curve)
        self._admit()
        self.socket = self._configured(listener)
        try:
            self.endpoint = bind(self.socket, listener.endpoint)
        except SnfError:
            self.socket.close()
            raise

    def send(self, frames: Sequence[bytes], records: int) -> None:
        """Send a message with so many records to those who were given its topic."""
        self.socket.send_multipart(frames)
        self.records += records

    # -- subscriptions -----------------------------------------------------

    def read(self) -> None:
        """Read the subscriptions that are there."""
        for _ in range(_BURST):
            try:
                frame = self.socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                self._out_of_step = False
                return
            user = user_of(frame) if self.listener.curve is not None else _ANYBODY
            kind, topic = frame.bytes[:1], frame.bytes[1:]
            if kind == b"\x01" and user is not None:
                self._begin(user, topic)
            elif kind == b"\x00":
                self._end(user, topic)
            else:  # a subscriber may send anything; it is no subscription
                self.counters["foreign_messages"] += 1
                self._out_of_step = True
                self._refuse_further(user, "sent something that is no subscription")
            if user and self.asked.topics_of(user) > _MAX_OF_KEY:
                self._refuse_further(user, f"asked for more than {_MAX_OF_KEY} topics")

    def mend(self) -> None:
        """Make the socket anew when a client waits for that."""
        now_s = time.monotonic()
        if self._owes and (self._shut_out or now_s - self._mended_s >= _MEND_S):
            self._mended_s, self._owes = now_s, False
            self._rebind(self.listener, self._rights)

    def _begin(self, user: str, topic: bytes) -> None:
        """Give *user*, whose message was read last, what it may have of *topic*."""
        if len(self.asked) >= _MAX_TOPICS and not self.asked.knows(topic):
            self.counters["subscriptions_refused"] += 1  # and not remembered: the memory for them is bounded
            return
        prefixes = self._due(user, topic)
        self.asked.begin(user, topic, prefixes)
        if prefixes != (topic,):
            self.counters["subscriptions_cut" if prefixes else "subscriptions_refused"] += 1
        for prefix in prefixes:
            self.socket.set(zmq.SUBSCRIBE, prefix)

    def _due(self, user: str, topic: bytes) -> tuple[bytes, ...]:
        if self._out_of_step:
            self._owes = True
            return ()
        prefixes = self.may(user, topic)
        if prefixes and (before := self.asked.given(user, topic)):  # another connection of the same key
            return before
        subscriber = followed_by(topic, self.nf_id)
        if prefixes and subscriber is not None and not self._follows.begin(subscriber):
            return ()
        return prefixes

    def may(self, user: str, topic: bytes) -> tuple[bytes, ...]:
        """Return what *user* may have of *topic* now."""
        rights = Rights() if self.listener.curve is None else self._rights.get(user)
        return () if rights is None or user in self._shut_out else cut(topic, rights)

    def _end(self, user: str | None, topic: bytes) -> None:
        subscriber, before = followed_by(topic, self.nf_id), self.asked.holders(topic)
        lost: tuple[bytes, ...] = ()
        if user is None:
            self.asked.end_unknown(topic)
        else:
            lost = self.asked.end(user, topic)
        if subscriber is not None:
            lost = (topic,)  # no other subscription of the connection stands for it
            for _ in range(before - self.asked.holders(topic)):
                self._follows.end(subscriber)
        for prefix in lost if not self._out_of_step else ():
            self.socket.set(zmq.UNSUBSCRIBE, prefix)

    def _refuse_further(self, user: str | None, why: str) -> None:
        """Take the access of *user*, who does what no subscriber does, until the configuration changes."""
        if not user or user in self._shut_out:
            return
        log.warning("the client with the key %s %s; it is shut out until the next change of the exporter", user, why)
        self._shut_out.add(user)
        self._admit()
        self.counters["clients_shut_out"] += 1
        self._owes = True

    # -- configuration -----------------------------------------------------

    def _admit(self) -> None:
        self._admission.allowed[self.domain] = self._rights.keys() - self._shut_out

    def _configured(self, listener: Listener) -> zmq.Socket[bytes]:
        if listener.high_water_mark < 1:
            raise SnfError("A high-water mark below 1 would let memory grow without bound.", "Give 1 or more.")
        socket: zmq.Socket[bytes] = self._context.socket(zmq.XPUB)
        # Before bind, or it has no effect on the connections that the bind accepts.
        socket.sndhwm = listener.high_water_mark
        socket.set(zmq.XPUB_MANUAL, 1)
        prepare(socket, listener.endpoint, _MAX_SUBSCRIPTION_BYTES)
        try:
            if listener.curve is not None:
                secure(socket, listener.curve, self.domain)
        except SnfError:
            socket.close()
            raise
        return socket

    def reconfigure(self, listener: Listener) -> None:
        """Change to *listener*; on failure SnfError is raised and the old socket stays in use.

        A new client is admitted without touching others. One that is removed, or has other rights, must lose its
        connection, and ZeroMQ can only cut all: those still allowed connect again by themselves.
        """
        rights = client_rights(listener.curve)
        self._shut_out.clear()
        if _binding(self.listener) != _binding(listener) or any(rights.get(k) != r for k, r in self._rights.items()):
            self._rebind(listener, rights)
        self._rights, self.listener = rights, listener
        self._admit()

    def rename(self, nf_id: str) -> None:
        """Make the socket anew, so that all ask again: whom they follow depends on the name of the function."""
        self._rebind(self.listener, self._rights)
        self.nf_id = nf_id

    def _rebind(self, listener: Listener, rights: Mapping[str, Rights]) -> None:
        new, before = self._configured(listener), self._rights
        self._rights = rights  # they judge clients that connect during the bind
        self._admit()
        endpoint = self.endpoint if listener.endpoint == self.listener.endpoint else listener.endpoint
        clash = endpoint.rpartition(":")[2] == self.endpoint.rpartition(":")[2]  # the old socket may hold the port
        try:
            if clash:
                self.socket.unbind(self.endpoint)
            endpoint = bind(new, endpoint, patience_s=REBIND_S if clash else 0)
        except SnfError:
            new.close()
            self._rights = before
            self._admit()
            if clash:
                bind(self.socket, self.endpoint, patience_s=REBIND_S)
            raise
        self._moved(self.socket, new)
        self.socket.close()
        self._forget()
        self.socket, self.endpoint = new, endpoint
        self.counters["rebinds"] += 1

    def _forget(self) -> None:
        """Forget all subscriptions: clients that connect again subscribe again."""
        for topic in self.asked.topics():
            if (subscriber := followed_by(topic, self.nf_id)) is not None:
                for _ in range(self.asked.holders(topic)):
                    self._follows.end(subscriber)
        self.asked, self._out_of_step, self._owes = Asked(), False, False

    def close(self) -> None:
        """Close the socket; what a subscriber has not read within the linger time is lost."""
        self._forget()
        self._admission.allowed.pop(self.domain, None)
        self.socket.close()


def user_of(frame: zmq.Frame) -> str | None:
    """Return the public key of the client that *frame* is of; None when it is of a connection that ended."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return None


def _binding(listener: Listener) -> tuple[object, ...]:
    """Return the settings that need a new socket to change."""
    keys = (listener.curve.secret_key, listener.curve.public_key) if listener.curve else None
    return listener.endpoint, listener.high_water_mark, keys
