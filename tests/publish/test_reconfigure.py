"""A publisher takes another configuration while it runs."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import msgpack
import pytest

from nf.errors import SnfError
from nf.publish import Publisher
from nf.settings import Export
from tests.feed.samples import batch, eventually, flows, header, records

Start = Callable[..., Publisher]


class TestReconfigure:
    """A change of configuration is in force when the call returns, or nothing changed."""

    def test_another_endpoint_serves_and_the_old_one_is_free(self, start: Start, plain: Any) -> None:
        publisher = start()
        old = publisher.endpoint

        publisher.reconfigure(Export(endpoint="tcp://127.0.0.2:*", batch_rows=1))

        assert publisher.endpoint.startswith("tcp://127.0.0.2:")
        sub = plain(publisher.endpoint, "qoe.v1/")
        assert eventually(lambda: publisher.subscriptions == 1)
        publisher.publish(batch())
        assert header(sub)["rows"] == 10
        assert eventually(lambda: is_free(old))

    def test_an_address_that_cannot_be_had_leaves_the_old_one_running(self, start: Start, plain: Any) -> None:
        publisher = start()
        sub = plain(publisher.endpoint, "qoe.v1/")
        assert eventually(lambda: publisher.subscriptions == 1)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            busy = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
            for endpoint in (
                busy,
                "tcp://192.0.2.1:5556",
                "tcp://127.0.0.1:99999",
                "tcp://nonsense",
                "carrier://pigeon",
            ):
                with pytest.raises(SnfError, match="cannot bind") as refused:
                    publisher.reconfigure(Export(endpoint=endpoint))
                assert endpoint in str(refused.value)

        publisher.publish(batch())

        assert header(sub)["rows"] == 10
        assert publisher.export.batch_rows == 1

    def test_the_same_port_on_another_address_is_taken_over(self, start: Start, plain: Any) -> None:
        publisher = start()
        port = publisher.endpoint.rpartition(":")[2]

        publisher.reconfigure(Export(endpoint=f"tcp://*:{port}", batch_rows=1))

        sub = plain(f"tcp://127.0.0.2:{port}", "qoe.v1/")
        assert eventually(lambda: publisher.subscriptions == 1)
        publisher.publish(batch())
        assert header(sub)["rows"] == 10

    def test_a_new_high_water_mark_keeps_the_address_and_subscribers_come_back(self, start: Start, plain: Any) -> None:
        publisher = start()
        endpoint = publisher.endpoint
        sub = plain(endpoint, "qoe.v1/")
        assert eventually(lambda: publisher.subscriptions == 1)

        publisher.reconfigure(Export(endpoint="tcp://127.0.0.1:*", batch_rows=1, high_water_mark=5))

        assert publisher.endpoint == endpoint
        assert eventually(lambda: not sub.poll(5) and publisher.subscriptions == 1)  # a SUB says it again as it is read
        publisher.publish(batch())
        assert header(sub)["rows"] == 10

    def test_batching_changes_without_touching_the_socket(self, start: Start, plain: Any) -> None:
        publisher = start(batch_rows=1000, batch_ms=60_000)
        sub = plain(publisher.endpoint, "qoe.v1/")
        assert eventually(lambda: publisher.subscriptions == 1)

        publisher.reconfigure(Export(endpoint="tcp://127.0.0.1:*", batch_rows=10))
        publisher.publish(batch(10))

        assert header(sub)["rows"] == 10
        assert publisher.status()["rebinds"] == 0

    def test_under_another_name_a_subscriber_is_followed_by_that(self, start: Start, plain: Any) -> None:
        publisher = start()
        sub = plain(publisher.endpoint, "sub.v1/nf1/ab/", "sub.v1/nf2/cd/", "qoe.v1/")
        assert eventually(lambda: publisher.followed() == {"ab"})

        publisher.rename("nf2")
        assert eventually(lambda: not sub.poll(5) and publisher.subscriptions == 3)
        publisher.publish_subscriber("cd", records(1, 1), flows(1), 0, 1)
        topic, head, _ = sub.recv_multipart()

        assert publisher.followed() == {"cd"}
        assert (topic, msgpack.unpackb(head)["nf"]) == (b"sub.v1/nf2/cd/", "nf2")

    def test_an_unlimited_queue_is_refused(self, start: Start) -> None:
        with pytest.raises(SnfError, match="high-water mark"):
            start().reconfigure(Export(endpoint="tcp://127.0.0.1:*", high_water_mark=0))

    def test_a_start_on_a_busy_address_says_so(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            publisher = Publisher(Export(endpoint=f"tcp://127.0.0.1:{taken.getsockname()[1]}"), "nf1")
            with pytest.raises(SnfError, match=r"cannot bind tcp://127.0.0.1:\d+: Address already in use"):
                publisher.start()
            publisher.stop()


def is_free(endpoint: str) -> bool:
    """Say whether nobody listens there."""
    host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0
