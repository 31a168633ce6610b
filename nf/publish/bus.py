"""The sockets of the publisher: used by one thread alone, as ZeroMQ demands.

An XPUB socket learns of subscriptions only while it is read, so the thread that owns it waits on it. A message is made
once, under one sequence number, and goes out at each place where somebody was given its topic. Where a place has a
socket for late joiners (`nf.publish.snapshots`), the last messages are kept, and made though nobody hears them.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import zmq

from feed import wire
from feed.records import Columns
from nf.errors import SnfError
from nf.publish.auth import AllowList
from nf.publish.bindable import REBIND_S
from nf.publish.outlet import Follows, Outlet
from nf.publish.snapshots import Snapshots
from nf.publish.state import State
from nf.settings import Export, Listener

__all__ = ["Bus"]

log = logging.getLogger(__name__)

_LINGER_MS = 500
_PUMP_S = 0.01  # between two looks whether a client that is given a snapshot has read what it was sent


class Bus:
    """The bound sockets. Raises SnfError when an endpoint or keys cannot be used."""

    def __init__(self, export: Export, nf_id: str, boot: str, counters: Counter[str]) -> None:
        self.nf_id, self.boot, self.counters = nf_id, boot, counters
        self.follows = Follows(counters)
        self.heads: Counter[bytes] = Counter()  # topic to the sequence number of its next message
        self.readers: dict[Any, Callable[[], None]] = {}
        self.outlets: Mapping[str, Outlet] = {}  # replaced as a whole, so that other threads may read it
        self.desks: Mapping[str, Snapshots] = {}  # by place, as these
        self.state: State | None = None  # what late joiners are given,
        self.standing: Columns = {}  # and the alarms of subscribers that stand
        self._poller = zmq.Poller()
        self._context: zmq.Context[Any] = zmq.Context()
        self._context.linger = _LINGER_MS
        self._allow_list = AllowList(self._context, counters)
        try:
            for listener in export.listeners:
                self._open(listener)
                self._serve(listener)
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
        if any(desk.busy for desk in self.desks.values()):
            timeout_s = min(timeout_s, _PUMP_S)
        for source, _ in self._poller.poll(max(0, math.ceil(timeout_s * 1e3))):
            # A reader may have closed the socket of a later one.
            if source in self.readers:
                self.readers[source]()
        for outlet in self.outlets.values():
            outlet.mend()
        for desk in self.desks.values():
            desk.pump()

    # -- sending -----------------------------------------------------------

    def send(self, topic: bytes, schema: str, span_s: tuple[float, float], columns: Columns, epoch: int = 0) -> None:
        """Send one message if somebody was given its topic, and keep it for late joiners if there can be any.

        It uses up a sequence number in any case.
        """
        seq = self.heads[topic]
        self.heads[topic] += 1
        heard = [outlet for outlet in self.outlets.values() if outlet.asked.hears(topic)]
        kept = self.state is not None and self.state.tells(topic)
        self.counters["unheard_messages"] += not heard
        if not heard and not kept:
            return
        header = wire.Header(schema, self.nf_id, self.boot, seq, *span_s, epoch=epoch)
        try:
            frames = wire.encode(topic, header, columns)
        except wire.WireError as error:
            self.counters["unencodable_messages"] += 1
            log.error("a message of schema %s was not published: %s", schema, error)
            return
        if self.state is not None and kept:
            if schema == wire.PURGE_SCHEMA:
                self.state.erase(frozenset(columns["subscriber"]))
            self.state.keep(frames, time.monotonic())
        if not heard:
            return
        records = len(next(iter(columns.values()), ())) if schema == wire.QOE_SCHEMA else 0
        for outlet in heard:
            outlet.send(frames, records)
        self.counters["messages"] += 1
        self.counters["exported_bytes"] += sum(map(len, frames))
        self.counters["records"] += records

    def _snapshot(self, prefixes: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
        """Yield the current state of the topics with these prefixes, and its end."""
        now_s = time.time()
        if self.state is not None:
            yield from self.state.messages(prefixes, time.monotonic())
        alarms = wire.topic("alarm.v1", self.nf_id)
        if len(self.standing.get("t_ms", ())) and any(alarms.startswith(p) for p in prefixes):
            last = max(self.heads[alarms] - 1, 0) if alarms in self.heads else 0
            yield wire.encode(
                alarms, wire.Header(wire.ALARM_SCHEMA, self.nf_id, self.boot, last, now_s, now_s), self.standing
            )
        heads = {t: n for t, n in self.heads.items() if State.tells(t) and any(t.startswith(p) for p in prefixes)}
        header = wire.Header(wire.SNAPSHOT_SCHEMA, self.nf_id, self.boot, 0, now_s, now_s)
        columns: Columns = {
            "topic": [topic.decode() for topic in heads],
            "next_seq": np.array(list(heads.values()), np.uint64),
        }
        yield wire.encode(wire.topic("snapshot.v1", self.nf_id), header, columns)

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
                    undo.append(lambda before=before: self._serve(before))  # type: ignore[misc]
                    undo.append(lambda before=before: self._open(before))  # type: ignore[misc]
                else:
                    outlet.reconfigure(wanted[name])
                    undo.append(lambda outlet=outlet, before=before: outlet.reconfigure(before))  # type: ignore[misc]
                    undo.append(lambda before=before: self._serve(before))  # type: ignore[misc]
                    self._serve(wanted[name])
            for name in wanted.keys() - self.outlets.keys():
                self._open(wanted[name])
                undo.append(lambda name=name: self._close(name))  # type: ignore[misc]
                self._serve(wanted[name])
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
            self.state = State() if self.state is not None else None  # what was said under the other name
            for outlet in self.outlets.values():
                outlet.rename(nf_id)

    def _open(self, listener: Listener) -> None:
        outlet = Outlet(self._context, listener, self.nf_id, self._allow_list, self.follows, self._moved, self.counters)
        self.outlets = {**self.outlets, listener.name: outlet}
        self.add_reader(outlet.socket, outlet.read)

    def _serve(self, listener: Listener) -> None:
        """Give snapshots at a place, or not, as *listener* says; on failure it is as it was."""
        desk = self.desks.get(listener.name)
        if desk is not None and _desk_of(desk.listener) == _desk_of(listener):
            desk.listener = listener
            return
        if desk is not None:
            self._end_serving(listener.name)
        try:
            if listener.snapshot_endpoint:
                self._begin_serving(listener, REBIND_S if desk is not None else 0)
        except SnfError:
            if desk is not None:
                self._begin_serving(desk.listener, REBIND_S)
            raise

    def _begin_serving(self, listener: Listener, patience_s: float) -> None:
        outlet = self.outlets[listener.name]
        desk = Snapshots(self._context, outlet, listener, self._snapshot, self.counters, patience_s)
        self.desks = {**self.desks, listener.name: desk}
        self.add_reader(desk.socket, desk.read)
        self.state = self.state or State()

    def _end_serving(self, name: str) -> None:
        desk = self.desks[name]
        self._remove_reader(desk.socket)
        self.desks = {n: d for n, d in self.desks.items() if n != name}
        desk.close()
        if not self.desks:
            self.state = None

    def _moved(self, old: zmq.Socket[bytes], new: zmq.Socket[bytes]) -> None:
        self.add_reader(new, self._remove_reader(old))

    def _close(self, name: str) -> None:
        if name in self.desks:
            self._end_serving(name)
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


def _desk_of(listener: Listener) -> tuple[object, ...]:
    """Return the settings of snapshots that need a new socket to change."""
    keys = (listener.curve.secret_key, listener.curve.public_key) if listener.curve else None
    return listener.snapshot_endpoint, keys
