"""A bridge of Nupf_EventExposure in this process, the function that it reads, and what it is asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from feed.consumer import CurveKeys, key_pair
from feed.records import FLOW_COLUMNS
from history.bridges.http2 import client_context
from history.bridges.nupf import Exposure, Limits, Place, run
from lab.wait import comes_true
from nf.publish import Publisher
from nf.settings import Consumer, Curve, Export, Rights
from tests.feed.samples import flows, records
from tests.history.upf_client import Client, Sink

SERVER, BRIDGE = key_pair(), key_pair()
IMSI, NAME = "001010000000001", "5f" * 16
ADDRESSES = {"10.45.0.2": NAME}
PATCH = "application/json-patch+json"


def settings(*, imsi: bool = True) -> Export:
    """Return a publisher's settings under which the bridge may follow, and may read IMSIs."""
    rights = Rights(topics=("health.v1/", "purge.v1/"), follow=True, imsi=imsi)
    curve = Curve(SERVER[1], SERVER[0], consumers=(Consumer(BRIDGE[0], rights),))
    return Export(endpoint="tcp://127.0.0.1:*", batch_rows=1, curve=curve)


@dataclass
class Bridge:
    """A bridge in this process, with the function that it reads."""

    publisher: Publisher
    exposure: Exposure
    client: Client

    def interval(self, **columns: Any) -> None:
        """Publish an interval of two flows of a second: 1,000 and 3,000 bytes up, 20,000 and 40,000 down."""
        t_s = 1_785_000_000.0
        two = (
            columns
            if len(columns) == len(FLOW_COLUMNS)
            else flows(2)
            | {
                "t_ms": np.full(2, t_s * 1e3, np.uint64),
                "interval_ms": np.full(2, 1000, np.uint32),
                "proto": np.array([6, 17], np.uint8),
                "ul_bytes": np.array([1000, 3000], np.uint64),
                "dl_bytes": np.array([20_000, 40_000], np.uint64),
                "ul_packets": np.array([10, 30], np.uint32),
                "dl_packets": np.array([20, 40], np.uint32),
                "app": ["youtube", "whatsapp"],
                "name": ["youtube.com", "whatsapp.net"],
                "app_basis": ["sni", "dns_answer"],
                "ran_ul_ms": np.array([10.0, np.nan]),
                "n3_rtt_ms": np.array([4.0, 4.0]),
                "ran_dl_ms": np.array([6.0, 6.0]),
                **columns,
            }
        )
        table = records(1, 1) | {"subscriber": [NAME], "dnn": ["internet"], "slice": ["1-00000a"]}
        self.publisher.publish_subscriber(NAME, table, two, t_s - 1, t_s)

    def named(self) -> None:
        """Publish whose name is whose."""
        self.publisher.publish_imsis({IMSI: NAME, "001010000000002": "aa" * 16}, time.time())

    def follows(self, name: str = NAME) -> bool:
        return comes_true(lambda: name in self.publisher.followed(), 20)

    def notified(self, sink: Sink, **columns: Any) -> dict[str, Any]:
        """Publish an interval of whom the bridge follows; return the first notification."""
        self.interval(**columns)
        assert comes_true(lambda: bool(sink.got), 20)
        return sink.got[0]

    def counted(self, name: str, n: int = 1) -> bool:
        return comes_true(lambda: self.exposure.counters[name] >= n, 20)


Start = Callable[..., Bridge]


@contextmanager
def bridges() -> Iterator[Start]:
    """Start bridges to publishers that have told one IMSI."""
    begun: list[tuple[Bridge, threading.Event, threading.Thread]] = []

    def find(address: str) -> str:
        return ADDRESSES.get(address, "")

    def begin(limits: Limits | None = None, token: str = "", *, imsi: bool = True) -> Bridge:
        publisher = Publisher(settings(imsi=imsi), "nf1")
        publisher.start()
        exposure = Exposure(limits or Limits(pause_s=0.02), token, find)
        stop, ports = threading.Event(), list[int]()
        place = Place("127.0.0.1", 0, None, client_context(None))
        curve = CurveKeys(SERVER[0], *BRIDGE)
        arguments = (exposure, place, publisher.endpoint, curve, stop, ports.append)
        thread = threading.Thread(target=run, args=arguments)
        thread.start()
        assert comes_true(lambda: bool(ports), 20)
        bridge = Bridge(publisher, exposure, Client(ports[0]))
        begun.append((bridge, stop, thread))
        assert comes_true(lambda: publisher.subscriptions >= 2 + imsi, 20)
        if imsi:
            assert comes_true(lambda: bridge.named() or exposure._imsis_heard, 20)
        assert comes_true(lambda: bool(exposure._functions), 20)
        return bridge

    try:
        yield begin
    finally:
        for bridge, stop, thread in begun:
            stop.set()
            thread.join()
            bridge.publisher.stop()


@contextmanager
def sinks() -> Iterator[Callable[..., Sink]]:
    """Make consumers that are notified."""
    made: list[Sink] = []

    def make(*statuses: int, **more: str) -> Sink:
        made.append(Sink(*statuses, **more))
        return made[-1]

    try:
        yield make
    finally:
        for each in made:
            each.close()


def usage(*measures: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "USER_DATA_USAGE_MEASURES",
        "measurementTypes": list(measures or ("VOLUME_MEASUREMENT",)),
        "granularityOfMeasurement": "PER_SESSION",
        **more,
    }


def wanted(uri: str, *events: dict[str, Any], period_s: int = 0, **more: Any) -> dict[str, Any]:
    """Return an UpfEventSubscription with its five mandatory attributes, by SUPI."""
    mode: dict[str, Any] = {"trigger": "PERIODIC", "repPeriod": period_s} if period_s else {"trigger": "ONE_TIME"}
    return {
        "eventList": list(events or (usage(),)),
        "eventNotifyUri": uri,
        "notifyCorrelationId": "c-1",
        "eventReportingMode": mode,
        "nfId": "550e8400-e29b-41d4-a716-446655440000",
        **({} if "ueIpAddress" in more else {"supi": f"imsi-{IMSI}"}),
        **more,
    }


def edited(subscription: dict[str, Any], path: str, value: Any = ...) -> dict[str, Any]:
    """Return a subscription with one attribute changed, or left out."""
    *way, last = path.split(".")
    copy = dict(subscription)
    node: Any = copy
    for step in way:
        inner = list(node[step]) if isinstance(node[step], list) else dict(node[step])
        node[step] = inner
        if isinstance(inner, list):
            inner[0] = dict(inner[0])
            node = inner[0]
        else:
            node = inner
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return copy
