"""The sockets of the publisher: used by one thread alone, as ZeroMQ demands.

An XPUB socket learns of subscriptions only while it is read, so the thread that owns it waits on it. A message is made
once, under one sequence number, and goes out at each place where somebody was given its topic.
Each further socket (a ROUTER with a snapshot for late joiners) is one more entry of ``readers``.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import zmq

from feed import wire
from feed.records import Columns
from nf.errors import SnfError
from nf.publish.auth import AllowList
from nf.publish.outlet import Follows, Outlet
from nf.settings import Export, Listener

__all__ = ["Bus"]

log = logging.getLogger(__name__)

_LINGER_MS = 500


class Bus:
    """The bound sockets. Raises SnfError when an endpoint or keys cannot be used."""

    def __init__(self, export: Export, nf_id: str, boot: str, counters: Counter[str]) -> None:
        self.nf_id, self.boot, self.counters = nf_id, boot, counters
        self.follows = Follows(counters)
        self.heads: Counter[bytes] = Counter()  # topic to the sequence number of its next message
        self.readers: dict[Any, Callable[[], None]] = {}
        self.outlets: Mapping[str, Outlet] = {}  # replaced as a whole, so that other threads may read it
        self._poller = zmq.Poller()
        self._context: zmq.Context[Any] = zmq.Context()
        self._context.linger = _LINGER_MS
        self._allow_list = AllowList(self._context, counters)
        try:
            for listener in export.listeners:
                self._open(listener)
        except SnfError:
            self._context.destroy(linger=0)
            raise
        self.add_reader(self._allow_list.socket, self._allow_list.answer)

    @property
    def endpoint(self) -> str:
        """The endpoint of the place that is always there, as bound."""
        return self.outlets[""].endpoint

    @property
    def subscriptions(self) -> int:
        """Number of topics and prefixes that somebody asks for, by place."""
        return sum(len(outlet.asked) for outlet in self.outlets.values())

    def add_reader(self, source: Any, read: Callable[[], None]) -> None:
        """Call *read* whenever *source*, a socket or a file descriptor, can be read."""
        self._poller.register(source, zmq.POLLIN)
        self.readers[source] = read

    def _remove_reader(self, source: Any) -> Callable[[], None]:
        self._poller.unregister(source)
        return self.readers.pop(source)

    def wait(self, timeout_s: float) -> None:
        """Wait for subscriptions, handshakes and the other readers, and serve those that are there."""
        for source, _ in self._poller.poll(max(0, math.ceil(timeout_s * 1e3))):
            # A reader may have closed the socket of a later one.
            if source in self.readers:
                self.readers[source]()
        for outlet in self.outlets.values():
            outlet.mend()

    # -- sending -----------------------------------------------------------

    def send(self, topic: bytes, schema: str, span_s: tuple[float, float], columns: Columns, epoch: int = 0) -> None:
        """Send one message if somebody was given its topic; it uses up a sequence number in any case."""
        seq = self.heads[topic]
        self.heads[topic] += 1
        heard = [outlet for outlet in self.outlets.values() if outlet.asked.hears(topic)]
        if not heard:
            self.counters["unheard_messages"] += 1
            return
        header = wire.Header(schema, self.nf_id, self.boot, seq, *span_s, epoch=epoch)
        try:
            frames = wire.encode(topic, header, columns)
        except wire.WireError as error:
            self.counters["unencodable_messages"] += 1
            log.error("a message of schema %s was not published: %s", schema, error)
            return
        records = len(next(iter(columns.values()), ())) if schema == wire.QOE_SCHEMA else 0
        for outlet in heard:
            outlet.send(frames, records)
        self.counters["messages"] += 1
        self.counters["exported_bytes"] += sum(map(len, frames))
        self.counters["records"] += records

    # -- configuration -----------------------------------------------------

    def reconfigure(self, export: Export) -> None:
        """Change to *export*; on failure SnfError is raised and everything is as it was."""
        wanted = {listener.name: listener for listener in export.listeners}
        undo: list[Callable[[], object]] = []
        try:
            for name, outlet in list(self.outlets.items()):
                before = outlet.listener
                if name not in wanted:
                    self._close(name)
                    undo.append(lambda before=before: self._open(before))  # type: ignore[misc]
                else:
                    outlet.reconfigure(wanted[name])
                    undo.append(lambda outlet=outlet, before=before: outlet.reconfigure(before))  # type: ignore[misc]
            for name in wanted.keys() - self.outlets.keys():
                self._open(wanted[name])
                undo.append(lambda name=name: self._close(name))  # type: ignore[misc]
        except SnfError:
            for step in reversed(undo):
                try:
                    step()
                except SnfError as error:
                    log.error("the publisher could not go back: %s", error)
            raise

    def rename(self, nf_id: str) -> None:
        """Publish under another name of the function."""
        if nf_id != self.nf_id:
            self.nf_id = nf_id
            for outlet in self.outlets.values():
                outlet.rename(nf_id)

    def _open(self, listener: Listener) -> None:
        outlet = Outlet(self._context, listener, self.nf_id, self._allow_list, self.follows, self._moved, self.counters)
        self.outlets = {**self.outlets, listener.name: outlet}
        self.add_reader(outlet.socket, outlet.read)

    def _moved(self, old: zmq.Socket[bytes], new: zmq.Socket[bytes]) -> None:
        self.add_reader(new, self._remove_reader(old))

    def _close(self, name: str) -> None:
        outlet = self.outlets[name]
        self._remove_reader(outlet.socket)
        self.outlets = {n: o for n, o in self.outlets.items() if n != name}
        outlet.close()

    def close(self) -> None:
        """Close all sockets; what a subscriber has not read within the linger time is lost."""
        self._allow_list.close()
        for name in list(self.outlets):
            self._close(name)
        self._context.term()
