"""Publishers on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

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
