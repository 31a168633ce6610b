"""Publishers on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from lab.wait import slowness
from nf.publish import Publisher
from nf.settings import Export


@pytest.fixture
def start() -> Iterator[Callable[..., Publisher]]:
    """Start publishers on free ports of loopback; each batch leaves at once unless told otherwise."""
    started: list[Publisher] = []

    def begin(**export: Any) -> Publisher:
        publisher = Publisher(Export(**{"endpoint": "tcp://127.0.0.1:*", "batch_rows": 1, **export}), "nf1")
        started.append(publisher)
        publisher.start()
        return publisher

    yield begin
    for publisher in started:
        publisher.stop()


@pytest.fixture
def plain() -> Iterator[Callable[..., zmq.Socket[bytes]]]:
    """SUB sockets without anything of ours around them."""
    context: zmq.Context[Any] = zmq.Context()
    kept = []  # a socket that nobody refers to is closed

    def connect(endpoint: str, *topics: str, **options: int) -> zmq.Socket[bytes]:
        sub: zmq.Socket[bytes] = context.socket(zmq.SUB)
        sub.linger, sub.rcvtimeo = 0, round(20_000 * slowness())
        for name, value in options.items():
            sub.set(getattr(zmq, name), value)
        sub.connect(endpoint)
        for topic in topics:
            sub.subscribe(topic)
        kept.append(sub)
        return sub

    yield connect
    context.destroy(linger=0)
