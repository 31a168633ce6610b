"""The publisher of batches on a thread of its own: the pipeline hands them over and never waits.

    publish() ── Batches ── bounded queue ──(eventfd)── thread: Bus (XPUBs, allow-list) ── subscribers
    followed() <───────────────────────────────────────── subscriptions

A message that finds the queue full is dropped and counted. One that a slow subscriber does not
read is dropped by ZeroMQ at the high-water mark of that subscriber, and is a gap in its sequence.
Late joiners are given the last messages by `nf.publish.snapshots`, on the same thread.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from feed import wire
from feed.change import Mark
from feed.columns import MAX_ROWS
from feed.records import CHANGE_COLUMNS, HEALTH_COLUMNS, SCHEMA, Columns, RecordBatch
from nf.errors import SnfError
from nf.publish.batches import Batches, split
from nf.publish.bus import Bus
from nf.settings import Export

__all__ = ["Place", "Publisher"]

log = logging.getLogger(__name__)

LEFT_OUT = ("unflowed_bytes", "unread_bytes", "outside_bytes")

_COUNTERS = (
    "messages",
    "records",
    "exported_bytes",
    "unheard_messages",  # not encoded, as nobody subscribes to their topic
    "unencodable_messages",
    "dropped_messages",
    "dropped_rows",
    "clients_allowed",
    "clients_refused",
    "clients_shut_out",
    "subscriptions_cut",
    "subscriptions_refused",
    "follows_refused",
    "rebinds",
    "snapshots_refused",
    "snapshots_broken_off",
)
_QUEUE_MESSAGES = 1024  # handed over and not yet sent; at a few messages a second this is minutes
_BURST = 64  # messages sent before subscriptions are read again
_HEARTBEAT_S = 1.0
_ANSWER_S = 10.0  # for a change of configuration, of which binding again takes two at most


@dataclass(slots=True)
class _Change:
    """A configuration on its way to the thread, and its answer."""

    export: Export
    nf_id: str
    done: threading.Event = field(default_factory=threading.Event)
    error: SnfError | None = None


@dataclass(frozen=True, slots=True)
class _Outgoing:
    topic: bytes
    schema: str
    span_s: tuple[float, float]
    columns: Columns
    epoch: int
    standing: Columns | None = None  # alarms that stand from then on; the columns may then have no row


@dataclass(frozen=True, slots=True)
class Place:
    """A place where records can be read."""

    up: bool  # it listens
    records: int  # sent to those who were given their topic
    subscriptions: int
    snapshots: int = 0  # given to late joiners


class Publisher:
    """Publisher of batches, followed subscribers and a heartbeat. ``start`` binds, ``stop`` sends the rows that wait.

    All methods may be called from any thread. None waits for a subscriber.
    """

    def __init__(self, export: Export, nf_id: str) -> None:
        self.export, self.nf_id = export, nf_id
        self.boot = ""
        self.counters: Counter[str] = Counter()
        self._batches = Batches(export.batch_rows, export.batch_ms)
        self._lock = threading.Lock()  # of _batches and counters
        self._queue: queue.Queue[_Outgoing | _Change] = queue.Queue(_QUEUE_MESSAGES)
        self._not_read, self._epoch = "", 0
        self._redirect_lost = 0
        self._left_out = dict.fromkeys(LEFT_OUT, 0)
        self._told = dict.fromkeys(("sessions", "partial_sessions"), 0)
        self._inspected_bytes = self._intervals = self._clock_steps = self._clock_step_ms = 0
        self._started_s = self._turned_s = time.monotonic()
        self._stop = threading.Event()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread: threading.Thread | None = None
        self._bus: Bus | None = None

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._wake)

    # -- life --------------------------------------------------------------

    @property
    def started(self) -> bool:
        """Say whether it was started, and not stopped since."""
        return self._thread is not None

    def start(self) -> None:
        """Bind and begin, once; raise SnfError when the endpoint or the keys cannot be used."""
        if self._thread is not None:
            return
        # Made here so that the caller gets the error; from its start on (a full fence, as ZeroMQ asks) the thread alone
        # uses it.
        self.boot = os.urandom(4).hex()
        bus = self._bus = Bus(self.export, self.nf_id, self.boot, self.counters)
        bus.add_reader(self._wake, self._awake)
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(bus,), name="publisher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send the rows that wait and close; may be called twice."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self.flush()
        self._stop.set()
        self._signal()
        thread.join()
        self._bus = None

    def reconfigure(self, export: Export) -> None:
        """Change endpoint, keys, allow-list or batching; on failure the old ones stay and SnfError is raised."""
        self._change(_Change(export, self.nf_id))
        self.export = export
        with self._lock:
            self._batches.batch_rows, self._batches.batch_ms = export.batch_rows, export.batch_ms

    def rename(self, nf_id: str) -> None:
        """Publish under another name of the function; who follows a subscriber asks again, under that name."""
        self._change(_Change(self.export, nf_id))
        self.nf_id = nf_id

    def _change(self, change: _Change) -> None:
        """Have the thread take a configuration; raises SnfError when it does not."""
        if self._thread is None:
            return
        try:
            self._queue.put(change, timeout=_ANSWER_S)
        except queue.Full:
            raise SnfError(
                "The publisher does not take a new configuration.", "Look at its log, and start it again."
            ) from None
        self._signal()
        if not change.done.wait(_ANSWER_S):
            raise SnfError(
                "The publisher did not answer to a new configuration.", "Look at its log, and start it again."
            )
        if change.error is not None:
            raise change.error

    # -- publication -------------------------------------------------------

    def publish(self, batch: RecordBatch) -> None:
        """Take rows of one class; they leave when ``batch_rows`` are together or ``batch_ms`` have passed.

        Time is that of the batches; when no more come, the heartbeat sends rows that have waited ``batch_ms``.
        """
        with self._lock:
            self._send_batches(self._batches.add(batch, time.monotonic()))

    def flush(self) -> None:
        """Send all rows that wait."""
        with self._lock:
            self._send_batches(self._batches.flush())

    def publish_subscriber(
        self, subscriber: str, records: Columns, flows: Columns, t_start_s: float, t_end_s: float
    ) -> None:
        """Publish one interval of a followed subscriber: its records, then its flows, on one topic."""
        topic = wire.topic("sub.v1", self.nf_id, subscriber)
        with self._lock:
            self._hand_over(topic, SCHEMA, (t_start_s, t_end_s), records)
            self._hand_over(topic, wire.FLOW_SCHEMA, (t_start_s, t_end_s), flows)

    def publish_imsis(self, names: Mapping[str, str], at_s: float) -> None:
        """Publish the published name of each IMSI, on a topic of its own."""
        if names:
            columns: Columns = {"subscriber": list(names.values()), "imsi": list(names)}
            with self._lock:
                self._hand_over(wire.topic("imsi.v1", self.nf_id), wire.IMSI_SCHEMA, (at_s, at_s), columns)

    def publish_mark(self, mark: Mark) -> None:
        """Publish a mark of a change."""
        columns: Columns = {
            "t_ms": np.array([round(mark.at_s * 1e3)], np.uint64),
            **{name: [getattr(mark, name)] for name in CHANGE_COLUMNS if name != "t_ms"},
        }
        with self._lock:
            self._hand_over(wire.topic("change.v1", self.nf_id), wire.CHANGE_SCHEMA, (mark.at_s, mark.at_s), columns)

    def publish_purge(self, names: Mapping[str, int], why: str, at_s: float) -> None:
        """Publish names, with the epochs of their keys, whose records up to now are to be erased.

        Rows that wait go first. Names come in an order of their own: that of their subscribers would say something.
        """
        if not names:
            return
        self.flush()
        rows = sorted((epoch, name) for name, epoch in names.items())
        columns: Columns = {
            "t_ms": np.full(len(rows), math.ceil(at_s * 1e3), np.uint64),
            "subscriber": [name for _, name in rows],
            "epoch": np.array([epoch for epoch, _ in rows], np.uint32),
            "why": [why] * len(rows),
        }
        with self._lock:
            self._hand_over(wire.topic("purge.v1", self.nf_id), wire.PURGE_SCHEMA, (at_s, at_s), columns)

    def publish_alarms(self, changes: Columns, standing: Columns, at_s: float) -> None:
        """Publish alarms of subscribers that were raised and cleared, and have those *standing* for late joiners."""
        topic = wire.topic("alarm.v1", self.nf_id)
        with self._lock:
            self._put(_Outgoing(topic, wire.ALARM_SCHEMA, (at_s, at_s), changes, self._epoch, standing))
        self._signal()

    def named_by(self, epoch: int) -> None:
        """Name subscribers by the key of *epoch* from now on; send the rows that wait, with names of the one before."""
        with self._lock:
            self._send_batches(self._batches.flush())
            self._epoch = epoch

    def publish_delays(self, counts: Columns, t_start_s: float, t_end_s: float) -> None:
        """Publish how many delays of a span were how long: the columns of DELAY_DISTRIBUTION_COLUMNS but its times."""
        rows = len(counts["n"])
        if not rows:
            return
        columns: Columns = {
            "t_ms": np.full(rows, round(t_end_s * 1e3), np.uint64),
            "interval_ms": np.full(rows, round((t_end_s - t_start_s) * 1e3), np.uint32),
            **counts,
        }
        with self._lock:
            self._hand_over(wire.topic("delay.v1", self.nf_id), wire.DELAY_SCHEMA, (t_start_s, t_end_s), columns)

    def inspected(self, total_bytes: int, left_out: Mapping[str, int] = MappingProxyType({}), lost: int = 0) -> None:
        """Record that an interval ended, and the number of bytes inspected so far, for the heartbeat.

        *left_out*: bytes of these that are in no record, by the columns LEFT_OUT. *lost*: frames, as redirect_lost.
        """
        self._inspected_bytes, self._redirect_lost = int(total_bytes), int(lost)
        self._left_out = {name: int(left_out.get(name, 0)) for name in LEFT_OUT}
        self._intervals += 1

    def stepped(self, seconds: float) -> None:
        """Record a step of the wall clock; send the rows that wait, so that no batch mixes times of both sides."""
        self.flush()
        self._clock_steps, self._clock_step_ms = self._clock_steps + 1, round(seconds * 1e3)

    def not_read(self, text: str) -> None:
        """Record what the ports do not read, for the heartbeat."""
        self._not_read = text

    def tell(self, figures: Mapping[str, int]) -> None:
        """Record figures of the function for the heartbeat, by its columns; others stay as they are."""
        self._told = {**self._told, **figures}

    def _send_batches(self, batches: list[RecordBatch]) -> None:
        for batch in batches:
            topic = wire.topic("qoe.v1", self.nf_id, batch.app_class)
            self._hand_over(topic, SCHEMA, (batch.t_start_s, batch.t_end_s), batch.columns)

    def _hand_over(self, topic: bytes, schema: str, span_s: tuple[float, float], columns: Columns) -> None:
        for piece in split(columns, MAX_ROWS):
            self._put(_Outgoing(topic, schema, span_s, piece, self._epoch))
        self._signal()

    def _put(self, item: _Outgoing) -> None:
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self.counters["dropped_messages"] += 1
            self.counters["dropped_rows"] += _rows(item.columns)

    # -- state -------------------------------------------------------------

    def followed(self) -> frozenset[str]:
        """Return the subscribers whose exact topic, ``sub.v1/<nf>/<subscriber>/``, somebody subscribes to.

        A subscription to a prefix (``sub.v1/<nf>/``, or nothing) follows nobody: it would mean
        everybody and undo the data budget. At most `nf.publish.outlet.MAX_FOLLOWED` are followed.
        """
        bus = self._bus
        return bus.follows.subscribers if bus is not None else frozenset()

    @property
    def endpoint(self) -> str:
        """The endpoint as bound, with the port that a wildcard got; empty when not started."""
        bus = self._bus
        return bus.endpoint if bus is not None else ""

    @property
    def snapshot_endpoint(self) -> str:
        """The endpoint of snapshots at the place that is always there, as bound; empty when there is none."""
        desk = bus.desks.get("") if (bus := self._bus) is not None else None
        return desk.endpoint if desk is not None else ""

    def places(self) -> Mapping[str, Place]:
        """Return the state of each place where records can be read, by the name of its listener."""
        outlets, desks = (bus.outlets, bus.desks) if (bus := self._bus) is not None else ({}, {})
        given = {name: desk.answered for name, desk in desks.items()}
        gone = Place(up=False, records=0, subscriptions=0)
        return dict.fromkeys((listener.name for listener in self.export.listeners), gone) | {
            name: Place(True, outlet.records, len(outlet.asked), given.get(name, 0)) for name, outlet in outlets.items()
        }

    @property
    def exported_bytes(self) -> int:
        """Bytes of all frames published so far: each message counts once, and not at all if nobody subscribes."""
        return self.status()["exported_bytes"]

    @property
    def subscriptions(self) -> int:
        """Number of topics and prefixes that somebody subscribes to."""
        bus = self._bus
        return bus.subscriptions if bus is not None else 0

    def status(self) -> dict[str, int]:
        """Return all counters by name, for operational state."""
        return {name: self.counters[name] for name in _COUNTERS} | {
            "uptime_ms": int((time.monotonic() - self._started_s) * 1e3),
            "inspected_bytes": self._inspected_bytes,
            **self._left_out,
            "intervals": self._intervals,
            "redirect_lost": self._redirect_lost,
            "clock_steps": self._clock_steps,
            "clock_step_ms": self._clock_step_ms,
            "subscriptions": self.subscriptions,
            "followed": len(self.followed()),
            "sessions": self._told["sessions"],
            "partial_sessions": self._told["partial_sessions"],
            "next_batch_ms": self._next_batch_ms(),
        }

    def _next_batch_ms(self) -> int:
        with self._lock:
            due_s = self._batches.due_s(time.monotonic())
        return 0 if due_s is None else max(1, round(due_s * 1e3))

    @property
    def age_s(self) -> float | None:
        """Seconds since the thread turned last, which it does with each heartbeat; None when it does not run."""
        thread = self._thread
        return time.monotonic() - self._turned_s if thread is not None and thread.is_alive() else None

    # -- the thread --------------------------------------------------------

    def _signal(self) -> None:
        with contextlib.suppress(BlockingIOError):  # a full counter wakes as well
            os.eventfd_write(self._wake, 1)

    def _awake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def _run(self, bus: Bus) -> None:
        beat_s = time.monotonic()
        while not (self._stop.is_set() and self._queue.empty()):
            self._turned_s = time.monotonic()
            try:
                bus.wait(0 if not self._queue.empty() else beat_s - time.monotonic())
                self._send(bus)
                if time.monotonic() >= beat_s:
                    beat_s = time.monotonic() + _HEARTBEAT_S
                    with self._lock:
                        self._send_batches(self._batches.expire(time.monotonic()))
                    self._heartbeat(bus)
            except Exception:
                # One bad message must not end the publication; nothing of a message is in the log.
                log.exception("a message was lost")
                self._stop.wait(0.1)
        bus.close()

    def _send(self, bus: Bus) -> None:
        for _ in range(_BURST):
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, _Outgoing):
                if item.standing is not None:
                    bus.standing = item.standing
                if item.standing is None or _rows(item.columns):
                    bus.send(item.topic, item.schema, item.span_s, item.columns, item.epoch)
                continue
            try:
                bus.reconfigure(item.export)
                bus.rename(item.nf_id)
            except SnfError as error:
                item.error = error
            except Exception as error:  # the waiting caller must get an answer, and it is no success
                log.exception("a configuration was not taken")
                item.error = SnfError(f"The publisher failed on a new configuration: {type(error).__name__}.")
            item.done.set()

    def _heartbeat(self, bus: Bus) -> None:
        topic = wire.topic("health.v1", self.nf_id)
        heads = {t: n for t, n in bus.heads.items() if not t.startswith(b"sub.v1/")}
        heads[topic] = bus.heads[topic] + 1
        columns: dict[str, np.ndarray | list[str]] = {
            "topic": [t.decode() for t in heads],
            "next_seq": np.array(list(heads.values()), np.uint64),
        }
        numbers = self._told | self.status()
        for name in list(HEALTH_COLUMNS)[2:]:
            columns[name] = np.full(len(heads), numbers.get(name, 0), np.int64)
        columns["not_read"] = [self._not_read] * len(heads)
        now_s = time.time()
        bus.send(topic, wire.HEALTH_SCHEMA, (now_s - _HEARTBEAT_S, now_s), columns, self._epoch)


def _rows(columns: Columns) -> int:
    return len(next(iter(columns.values()), ()))
