"""The ZeroMQ publisher: one XPUB socket on a thread of its own, which also reads who subscribes.

Other threads hand messages over by a bounded queue and never wait. A message that finds the queue
full is dropped and counted; one that a slow subscriber does not read is dropped by ZeroMQ at the
high-water mark, and shows there as a gap of the topic's sequence.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import zmq
import zmq.auth
from zmq.auth.base import Authenticator

from nf.errors import SnfError
from nf.publish import wire
from nf.records import SCHEMA, Columns, RecordBatch
from nf.settings import Curve, Export

__all__ = ["FLOW_SCHEMA", "HEALTH_SCHEMA", "Publisher"]

log = logging.getLogger(__name__)

FLOW_SCHEMA = "snf.flow.v1"
HEALTH_SCHEMA = "snf.health.v1"
_QUEUE_MESSAGES = 4096  # handed over and not yet sent; at tens of messages a second this is minutes
_HEARTBEAT_S = 1.0
_POLL_MS = 20  # between two looks at the queue
_ZAP_DOMAIN = "snf"


@dataclass(slots=True)
class _Batch:
    """Rows of one class that wait for company."""

    parts: list[RecordBatch]
    rows: int
    since_s: float


def _merged(parts: list[RecordBatch]) -> Columns:
    merged: dict[str, Any] = {}
    for name, first in parts[0].columns.items():
        columns = [p.columns[name] for p in parts]
        if isinstance(first, list):
            merged[name] = [value for column in columns for value in column]
        else:
            merged[name] = np.concatenate([np.asarray(c) for c in columns])
    return merged


class _Auth:
    """The allow-list: answers ZAP requests of the context's sockets (RFC 27/ZAP) in the publisher's thread."""

    def __init__(self, context: zmq.Context[Any]) -> None:
        self._authenticator = Authenticator(context)
        self._authenticator.start()
        self._context = context
        self.allowed: frozenset[bytes] = frozenset()
        self._authenticator.configure_curve_callback(domain=_ZAP_DOMAIN, credentials_provider=self)

    def callback(self, domain: str, key: bytes) -> bool:
        """Say whether a client with this public key (Z85) may connect."""
        return key in self.allowed

    @property
    def socket(self) -> zmq.Socket[bytes]:
        assert self._authenticator.zap_socket is not None
        return self._authenticator.zap_socket

    def handle(self) -> None:
        """Answer one request; the base class is a coroutine that never waits."""
        message = self.socket.recv_multipart()
        step = self._authenticator.handle_zap_message(message)
        try:
            step.send(None)
        except StopIteration:
            return

    def stop(self) -> None:
        self._authenticator.stop()


class Publisher:
    """Publishes batches, followed subscribers and a heartbeat. ``start`` binds, ``stop`` sends what waits."""

    def __init__(self, export: Export, nf_id: str) -> None:
        self.export, self.nf_id = export, nf_id
        self.boot = os.urandom(8).hex()
        self.counters: Counter[str] = Counter()
        self._queue: queue.Queue[tuple[bytes, str, float, float, int, Columns]] = queue.Queue(_QUEUE_MESSAGES)
        self._commands: queue.Queue[tuple[Export, queue.Queue[SnfError | None]]] = queue.Queue()
        self._waiting: dict[str, _Batch] = {}
        self._waiting_lock = threading.Lock()
        self._followed: frozenset[str] = frozenset()
        self._subscriptions: Counter[bytes] = Counter()
        self._sequence: Counter[bytes] = Counter()
        self._inspected_bytes = 0
        self._started_s = time.time()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # -- from other threads -------------------------------------------------

    def start(self) -> None:
        """Bind and begin; raises SnfError when the endpoint cannot be had."""
        answer: queue.Queue[SnfError | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, args=(answer,), name="publisher", daemon=True)
        self._thread.start()
        error = answer.get()
        if error is not None:
            self._thread.join()
            self._thread = None
            raise error

    def stop(self) -> None:
        """Send what waits and close; may be called twice."""
        if self._thread is None:
            return
        self.flush()
        self._stop.set()
        self._thread.join()
        self._thread = None

    def reconfigure(self, export: Export) -> None:
        """Change endpoint, keys, allow-list or batching; on failure the old ones stay and SnfError is raised."""
        if self._thread is None:
            self.export = export
            return
        answer: queue.Queue[SnfError | None] = queue.Queue()
        self._commands.put((export, answer))
        error = answer.get()
        if error is not None:
            raise error

    def publish(self, batch: RecordBatch) -> None:
        """Take rows of one class; they leave when ``batch_rows`` are together or ``batch_ms`` have passed.

        Time is that of the batches, so that a replay batches as the live function does.
        """
        if not len(batch):
            return
        with self._waiting_lock:
            waiting = self._waiting.setdefault(batch.app_class, _Batch([], 0, batch.t_start_s))
            waiting.parts.append(batch)
            waiting.rows += len(batch)
            age_s = batch.t_end_s - waiting.since_s
            if waiting.rows >= self.export.batch_rows or age_s * 1e3 >= self.export.batch_ms:
                self._send_batch(batch.app_class)

    def flush(self) -> None:
        """Send all rows that wait."""
        with self._waiting_lock:
            for app_class in list(self._waiting):
                self._send_batch(app_class)

    def publish_subscriber(
        self, subscriber: str, records: Columns, flows: Columns, t_start_s: float, t_end_s: float
    ) -> None:
        """Publish one interval of a followed subscriber: its records, then its flows, on one topic."""
        topic = wire.topic("sub.v1", self.nf_id, subscriber)
        self._hand_over(topic, SCHEMA, t_start_s, t_end_s, records)
        self._hand_over(topic, FLOW_SCHEMA, t_start_s, t_end_s, flows)

    def followed(self) -> frozenset[str]:
        """Return the subscribers whose exact topic somebody subscribes to.

        A subscription to a prefix (``sub.v1/<nf>/``) follows nobody: it would undo the data budget.
        """
        return self._followed

    def inspected(self, total_bytes: int) -> None:
        """Say how many bytes the data plane has inspected so far; the heartbeat carries it."""
        self._inspected_bytes = total_bytes

    @property
    def exported_bytes(self) -> int:
        """Bytes of all frames sent so far, each message counted once however many subscribers there are."""
        return self.counters["exported_bytes"]

    @property
    def subscriptions(self) -> int:
        """How many topics and prefixes are subscribed to."""
        return len(self._subscriptions)

    def _send_batch(self, app_class: str) -> None:
        waiting = self._waiting.pop(app_class)
        topic = wire.topic("qoe.v1", self.nf_id, app_class)
        start_s, end_s = waiting.parts[0].t_start_s, waiting.parts[-1].t_end_s
        self._hand_over(topic, SCHEMA, start_s, end_s, _merged(waiting.parts))

    def _hand_over(self, topic: bytes, schema: str, start_s: float, end_s: float, columns: Columns) -> None:
        rows = len(next(iter(columns.values()), ()))
        try:
            self._queue.put_nowait((topic, schema, start_s, end_s, rows, columns))
        except queue.Full:
            self.counters["dropped_messages"] += 1
            self.counters["dropped_rows"] += rows

    # -- the thread that owns the sockets ------------------------------------

    def _run(self, answer: queue.Queue[SnfError | None]) -> None:
        with zmq.Context() as context:
            context.linger = 500
            auth = _Auth(context)
            try:
                socket = self._bind(context, auth, self.export)
            except SnfError as error:
                auth.stop()
                answer.put(error)
                return
            answer.put(None)
            beat_s = 0.0
            while not self._stop.is_set() or not self._queue.empty():
                socket = self._command(context, auth, socket)
                self._listen(socket, auth)
                self._send_waiting(socket)
                if time.monotonic() - beat_s >= _HEARTBEAT_S:
                    beat_s = time.monotonic()
                    self._heartbeat(socket)
            socket.close()
            auth.stop()

    def _bind(self, context: zmq.Context[Any], auth: _Auth, export: Export) -> zmq.Socket[bytes]:
        socket = context.socket(zmq.XPUB)
        # Before bind, or it has no effect on the connections that the bind accepts.
        socket.sndhwm = export.high_water_mark
        socket.setsockopt(zmq.XPUB_VERBOSER, 0)
        socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3000)
        try:
            if export.curve is not None:
                self._secure(socket, auth, export.curve)
            socket.bind(export.endpoint)
        except (zmq.ZMQError, ValueError) as error:
            socket.close()
            raise SnfError(
                f"The publisher cannot bind {export.endpoint}: {error}.", "Choose a free tcp://ADDRESS:PORT."
            ) from None
        return socket

    def _secure(self, socket: zmq.Socket[bytes], auth: _Auth, curve: Curve) -> None:
        auth.allowed = frozenset(key.encode() for key in curve.clients)
        socket.curve_secretkey = curve.secret_key.encode()
        socket.curve_publickey = curve.public_key.encode()
        socket.curve_server = True
        socket.zap_domain = _ZAP_DOMAIN.encode()

    def _command(self, context: zmq.Context[Any], auth: _Auth, socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
        try:
            export, answer = self._commands.get_nowait()
        except queue.Empty:
            return socket
        rebind = (export.endpoint, export.high_water_mark, export.curve) != (
            self.export.endpoint,
            self.export.high_water_mark,
            self.export.curve,
        )
        error: SnfError | None = None
        if rebind:
            same = export.endpoint == self.export.endpoint
            if same:
                socket.unbind(self.export.endpoint)
            allowed = auth.allowed
            try:
                new = self._bind(context, auth, export)
            except SnfError as refused:
                error = refused
                auth.allowed = allowed
                if same:
                    socket.bind(self.export.endpoint)
            else:
                socket.close()
                socket = new
                self._subscriptions.clear()
                self._follow()
        if error is None:
            self.export = export
        answer.put(error)
        return socket

    def _listen(self, socket: zmq.Socket[bytes], auth: _Auth) -> None:
        """Wait a moment for subscriptions and key checks."""
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(auth.socket, zmq.POLLIN)
        for ready, _ in poller.poll(_POLL_MS if self._queue.empty() else 0):
            if ready is auth.socket:
                auth.handle()
                continue
            message = socket.recv()
            if message[:1] == b"\x01":
                self._subscriptions[message[1:]] += 1
            elif message[:1] == b"\x00":
                self._subscriptions.pop(message[1:], None)
            self._follow()

    def _follow(self) -> None:
        prefix = wire.topic("sub.v1", self.nf_id)
        names = (t[len(prefix) :].decode(errors="replace") for t in self._subscriptions if t.startswith(prefix))
        self._followed = frozenset(n[:-1] for n in names if len(n) > 1 and n.endswith("/"))

    def _send_waiting(self, socket: zmq.Socket[bytes]) -> None:
        for _ in range(64):  # then look at subscriptions again
            try:
                topic, schema, start_s, end_s, rows, columns = self._queue.get_nowait()
            except queue.Empty:
                return
            self._send(socket, topic, schema, (start_s, end_s), rows, columns)

    def _send(
        self,
        socket: zmq.Socket[bytes],
        topic: bytes,
        schema: str,
        span_s: tuple[float, float],
        rows: int,
        columns: Columns,
    ) -> None:
        header = wire.Header(schema, self.nf_id, self.boot, self._sequence[topic], *span_s, rows)
        frames = wire.encode(topic, header, columns)
        self._sequence[topic] += 1
        socket.send_multipart(frames)
        self.counters["messages"] += 1
        self.counters["exported_bytes"] += sum(map(len, frames))
        if schema != HEALTH_SCHEMA:
            self.counters["records"] += rows

    def _heartbeat(self, socket: zmq.Socket[bytes]) -> None:
        heads = {t.decode(): n for t, n in self._sequence.items()}
        now = time.time()
        columns: Columns = {
            "uptime_s": np.array([now - self._started_s]),
            "inspected_bytes": np.array([self._inspected_bytes], np.uint64),
            "exported_bytes": np.array([self.counters["exported_bytes"]], np.uint64),
            "records": np.array([self.counters["records"]], np.uint64),
            "dropped_messages": np.array([self.counters["dropped_messages"]], np.uint64),
            "heads": [" ".join(f"{t}={n}" for t, n in heads.items() if not t.startswith("sub.v1/"))],
        }
        topic = wire.topic("health.v1", self.nf_id)
        self._send(socket, topic, HEALTH_SCHEMA, (now - _HEARTBEAT_S, now), 1, columns)
