"""The service Nupf_EventExposure of TS 29.564: who subscribes is told of user data usage and of QoS monitoring.

    feed ── thread ── Exposure.take ── windows ── Exposure.due ── POST to the consumer's URI
    consumer ── HTTP/2 ── Exposure.answer: POST, PATCH, DELETE on /nupf-ee/v1/ee-subscriptions

A subscriber is followed on the bus (``sub.v1``) while somebody is subscribed to it. A SUPI becomes a published name by
``imsi.v1``, which the operator has to export; it goes into this program and never out. An address becomes one by asking
the function (`find`). Everything is bounded: subscriptions, their life, the notifications that wait, and their tries.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import secrets
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from feed.consumer import CurveKeys, Subscriber
from feed.errors import SnfError
from feed.wire import FLOW_SCHEMA, HEALTH_SCHEMA, IMSI_SCHEMA, PURGE_SCHEMA, QOE_SCHEMA, Message, rows_of
from history.bridges.http2 import Lost, Request, Response, post, serve
from history.bridges.subscriptions import Problem, Wish, patched, read
from history.bridges.usage import Window

__all__ = ["Exposure", "Limits", "Place", "run"]

_ROOT = "/nupf-ee/v1/ee-subscriptions"
# Methods and their types of body: of a subscription, and of the collection.
_METHODS = {False: {"PATCH": "application/json-patch+json", "DELETE": ""}, True: {"POST": "application/json"}}
_TRIES = 3
_ANSWER_S = 5.0  # of a consumer
_MAX_DROPPED = 10  # notifications one after the other, then the subscription ends: nobody is there
_MAX_UNDER_WAY = 4  # notifications of one subscription that wait for their answers
_FIND_S = 60.0  # an address may be another subscriber's by then
_TURN_S = 0.2

Find = Callable[[str], str]  # from an address of a UE to the published name, "" when nobody has it


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that the operator sets."""

    subscriptions: int = 100  # the function lets at most 1000 subscribers be followed
    longest_s: float = 86_400.0  # a subscription ends then, unless it is changed
    pause_s: float = 1.0  # before a notification is sent a second time; twice as long before the third


@dataclass(slots=True)
class _Subscription:
    wish: Wish
    names: dict[str, str] = field(default_factory=dict)  # published name by function; "": at all of them
    window: Window = field(default_factory=Window)
    due_s: float = 0.0
    reports: int = 0
    dropped: int = 0  # one after the other
    under_way: int = 0
    found_s: float = 0.0


class Exposure:
    """Subscriptions and their windows; used by several threads. ``counters`` are by name."""

    def __init__(self, limits: Limits, token: str = "", find: Find | None = None) -> None:
        self.counters: Counter[str] = Counter()
        self._limits, self._token, self._find = limits, token, find
        self._all: dict[str, _Subscription] = {}
        self._functions: set[str] = set()
        self._imsis_heard = False
        self._labels: dict[str, set[tuple[str, str]]] = {}  # by topic: of the interval whose flows come next
        self._lock = threading.Lock()

    # -- the feed ------------------------------------------------------------

    def topics(self) -> set[str]:
        """Return the topics to be subscribed to for those who are subscribed here."""
        with self._lock:
            who = [(nf, name) for s in self._all.values() for nf, name in s.names.items() if name]
            wanted = {f"sub.v1/{nf}/{name}/" for at, name in who for nf in ([at] if at else self._functions)}
            self._labels = {topic: labels for topic, labels in self._labels.items() if topic in wanted}
            return wanted

    def take(self, message: Message) -> None:
        """Take a message of the feed in; one whose columns are not those of its schema is counted, and is no end."""
        with self._lock:
            try:
                self._take(message)
            except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
                self.counters["foreign"] += 1

    def _take(self, message: Message) -> None:
        nf, schema = message.header.nf, message.header.schema
        if schema == HEALTH_SCHEMA:
            self._functions.add(nf)
        elif schema == IMSI_SCHEMA:
            self._name(nf, message)
        elif schema == PURGE_SCHEMA:
            self._forget({*map(str, message.columns.get("subscriber", ()))})
        elif schema == QOE_SCHEMA and message.topic.startswith("sub.v1/"):
            columns = (message.columns.get(name, [""] * message.header.rows) for name in ("dnn", "slice"))
            self._labels[message.topic] = {*zip(*columns, strict=True)}
        elif schema == FLOW_SCHEMA:
            labels, name = self._labels.pop(message.topic, set()), message.topic.split("/")[2]
            rows = rows_of(message)
            for subscription in self._all.values():
                if name in (subscription.names.get(nf), subscription.names.get("")):
                    subscription.window.add(nf, subscription.wish, labels, rows)

    def _name(self, nf: str, message: Message) -> None:
        """Give published names to those who are subscribed to by SUPI; a new one takes the place of the one before."""
        self._imsis_heard = True
        wanted = [s for s in self._all.values() if s.wish.imsi]
        named = dict(zip(message.columns["imsi"], message.columns["subscriber"], strict=True)) if wanted else {}
        for subscription in wanted:
            if subscription.wish.imsi in named:
                subscription.names[nf] = str(named[subscription.wish.imsi])

    def _forget(self, names: set[str]) -> None:
        """End the subscriptions to whom the operator erases."""
        for number in [n for n, s in self._all.items() if names & {*s.names.values()}]:
            del self._all[number]
            self.counters["erased"] += 1

    # -- requests --------------------------------------------------------------

    async def answer(self, request: Request) -> Response:
        """Return the response to a request (6.1.3)."""
        self.counters["requests"] += 1
        try:
            return await self._route(request)
        except Problem as problem:
            self.counters["refused"] += 1
            headers = {"content-type": "application/problem+json"}
            headers |= {"www-authenticate": "Bearer"} if problem.status == 401 else {}
            return Response(problem.status, headers, problem.body())

    async def _route(self, request: Request) -> Response:
        said = request.headers.get("authorization", "").encode()
        if self._token and not hmac.compare_digest(said, f"Bearer {self._token}".encode()):
            raise Problem(401, "", "This needs the token of the probe's operator.")
        path, kind = request.path.partition("?")[0], request.headers.get("content-type", "").partition(";")[0].strip()
        number = path.removeprefix(f"{_ROOT}/")
        if path != _ROOT and (number == path or not number or "/" in number):
            raise Problem(404, "RESOURCE_URI_STRUCTURE_NOT_FOUND", "There is no such resource.")
        wants = _METHODS[path == _ROOT]
        if request.method not in wants:
            raise Problem(405, "", f"This resource knows {' and '.join(wants)}.")
        if wants[request.method] and kind != wants[request.method]:
            raise Problem(415, "", f"The body has to be {wants[request.method]}.")
        if request.cut:
            raise Problem(413, "", "The body is too long.")
        if request.method == "POST":
            return await self._create(request)
        if request.method == "DELETE":
            self._delete(number)
        else:
            await self._change(number, request.body)
        return Response(204)

    async def _create(self, request: Request) -> Response:
        wish = read(request.body, time.time(), self._limits.longest_s)
        subscription = _Subscription(wish)
        await self._check(subscription)
        with self._lock:
            if len(self._all) >= self._limits.subscriptions:
                raise Problem(500, "INSUFFICIENT_RESOURCES", "There are as many subscriptions as may be.")
            number = secrets.token_hex(16)
            subscription.due_s = time.time() + wish.period_s
            self._all[number] = subscription
        self.counters["created"] += 1
        authority, scheme = request.headers.get(":authority", ""), request.headers.get(":scheme", "http")
        uri = f"{scheme}://{authority}{_ROOT}/{number}"
        body = json.dumps({"subscription": wish.document, "subscriptionId": uri}).encode()
        return Response(201, {"content-type": "application/json", "location": uri}, body)

    async def _check(self, subscription: _Subscription) -> None:
        """Find the subscriber of an address; raises Problem when there is no way to the subscriber."""
        wish = subscription.wish
        if wish.imsi and not self._imsis_heard:
            raise Problem(403, "", "The operator exports no IMSI: subscribe by address.", "/subscription/supi")
        if wish.address and self._find is None:
            raise Problem(403, "", "Addresses are not looked up here (--find).", "/subscription/ueIpAddress")
        if wish.address and not await self._look_up(subscription):
            raise Problem(404, "", "The probe knows no session with this address.", "/subscription/ueIpAddress")

    async def _look_up(self, subscription: _Subscription) -> bool:
        assert self._find is not None
        try:
            name = await asyncio.to_thread(self._find, subscription.wish.lookup)
        except SnfError:
            raise Problem(503, "", "The probe does not say whose the address is.") from None
        with self._lock:
            subscription.names = {"": name}
            subscription.found_s = time.time()
        return bool(name)

    async def _change(self, number: str, body: bytes) -> None:
        with self._lock:
            subscription = self._at(number)
            subscription.wish = patched(subscription.wish, body, time.time(), self._limits.longest_s)
            subscription.due_s = time.time() + subscription.wish.period_s
        self.counters["changed"] += 1

    def _delete(self, number: str) -> None:
        with self._lock:
            self._at(number)
            del self._all[number]
        self.counters["deleted"] += 1

    def _at(self, number: str) -> _Subscription:
        if number not in self._all:
            raise Problem(404, "SUBSCRIPTION_NOT_FOUND", "There is no such subscription; it may have ended.")
        return self._all[number]

    # -- reports ---------------------------------------------------------------

    def due(self, now_s: float) -> list[tuple[str, str, bytes]]:
        """Return (subscription, URI, body) of the notifications that are due, and end what has expired."""
        with self._lock:
            for number in [n for n, s in self._all.items() if now_s >= s.wish.expiry_s]:
                del self._all[number]
                self.counters["expired"] += 1
            due = [(n, s) for n, s in self._all.items() if now_s >= s.due_s and (s.wish.period_s or s.window.sessions)]
            made = [(n, s.wish.notify_uri, self._report(n, s, now_s)) for n, s in due]
            return [(number, uri, body) for number, uri, body in made if body]

    def _report(self, number: str, subscription: _Subscription, now_s: float) -> bytes:
        """Return the next notification, nothing without traffic or while too many wait; the last one ends it all."""
        wish = subscription.wish
        items, subscription.window = subscription.window.items(wish.events), Window()
        subscription.due_s = max(subscription.due_s + wish.period_s, now_s)
        if not items:
            return b""
        if subscription.under_way >= _MAX_UNDER_WAY:
            self.counters["notifications_dropped"] += 1
            return b""
        subscription.under_way += 1
        subscription.reports += 1
        if subscription.reports == wish.max_reports:
            del self._all[number]
            self.counters["completed"] += 1
        return json.dumps({"notificationItems": items, "correlationId": wish.correlation}).encode()

    async def refresh(self, now_s: float) -> None:
        """Ask again whose the addresses are, each once a minute."""
        with self._lock:
            old = [s for s in self._all.values() if s.wish.address and now_s - s.found_s > _FIND_S]
        for subscription in old:
            with contextlib.suppress(Problem):
                await self._look_up(subscription)

    async def notify(self, number: str, uri: str, body: bytes, tls: ssl.SSLContext) -> None:
        """Send a notification, again when it is refused, and count it as dropped when all tries are."""
        taken = False
        for attempt in range(_TRIES):
            await asyncio.sleep(self._limits.pause_s * 2 ** (attempt - 1) if attempt else 0)
            try:
                taken = await _sent(uri, body, tls)
            except Lost:
                taken = False
            if taken:
                break
            self.counters["notifications_refused"] += 1
        self.counters["notifications_sent" if taken else "notifications_dropped"] += 1
        with self._lock:
            subscription = self._all.get(number)
            if subscription is None:
                return
            subscription.under_way -= 1
            subscription.dropped = 0 if taken else subscription.dropped + 1
            if subscription.dropped >= _MAX_DROPPED:
                del self._all[number]
                self.counters["given_up"] += 1


async def _sent(uri: str, body: bytes, tls: ssl.SSLContext) -> bool:
    """Return whether a consumer took a notification; one redirection is followed (6.1.5.2.3.1: 307, 308)."""
    headers = {"content-type": "application/json"}
    response = await post(uri, headers, body, tls, _ANSWER_S)
    target = response.headers.get("location", "")
    if response.status in (307, 308) and target.startswith(("http://", "https://")):
        response = await post(target, headers, body, tls, _ANSWER_S)
    return response.status in (200, 204)


@dataclass(frozen=True, slots=True)
class Place:
    """The place to listen at, and what TLS trusts there and in notifications."""

    address: str
    port: int
    tls: ssl.SSLContext | None
    trusted: ssl.SSLContext


def run(
    exposure: Exposure,
    place: Place,
    endpoint: str,
    curve: CurveKeys | None,
    stop: threading.Event,
    ready: Callable[[int], None],
) -> None:
    """Serve until *stop* is set; *ready* is called with the port. Raises SnfError when place or keys are wrong."""
    with Subscriber(endpoint, ["health.v1/", "imsi.v1/", "purge.v1/"], curve) as bus:
        listener = threading.Thread(target=_listen, args=(bus, exposure, stop), name="feed")
        try:
            asyncio.run(_serve(exposure, place, stop, listener, ready))
        except OSError as error:
            what = f"Port {place.port} of {place.address} cannot be listened to: {error.strerror or error}."
            raise SnfError(what, "Give another one with --listen.") from None
        finally:
            stop.set()
            if listener.ident is not None:
                listener.join()
        exposure.counters["gaps"], exposure.counters["malformed"] = bus.gaps, bus.malformed


def _listen(bus: Subscriber, exposure: Exposure, stop: threading.Event) -> None:
    following: set[str] = set()
    while not stop.is_set():
        message = bus.receive(_TURN_S)
        if message is not None:
            exposure.take(message)
        wanted = exposure.topics()
        for topic in wanted - following:
            bus.subscribe(topic)
        for topic in following - wanted:
            bus.unsubscribe(topic)
        following = wanted


async def _serve(
    exposure: Exposure, place: Place, stop: threading.Event, listener: threading.Thread, ready: Callable[[int], None]
) -> None:
    server = await serve(exposure.answer, place.address, place.port, place.tls)
    listener.start()
    ready(server.sockets[0].getsockname()[1])
    under_way: set[asyncio.Task[None]] = set()
    refreshing: asyncio.Task[None] | None = None
    while not stop.is_set():
        for number, uri, body in exposure.due(time.time()):
            task = asyncio.create_task(exposure.notify(number, uri, body, place.trusted))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        if refreshing is None or refreshing.done():
            refreshing = asyncio.create_task(exposure.refresh(time.time()))
        await asyncio.sleep(_TURN_S)
    server.close()
