"""CURVE: who is on the list reads, and nobody else, also while the list changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from zmq.utils.monitor import recv_monitor_message

from feed.consumer import CurveKeys, Subscriber, key_pair
from nf.errors import SnfError
from nf.publish import Publisher
from nf.settings import Curve, Export
from tests.feed.samples import batch, eventually

SERVER = key_pair()
HANDSHAKES = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
ALLOWED, SECOND, STRANGER = key_pair(), key_pair(), key_pair()


def export(*clients: str, **more: Any) -> Export:
    """Return the settings of a publisher that these public keys may read."""
    curve = Curve(secret_key=SERVER[1], public_key=SERVER[0], clients=clients)
    return Export(**{"endpoint": "tcp://127.0.0.1:*", "batch_rows": 1, "curve": curve, **more})


@pytest.fixture
def secure() -> Iterator[Publisher]:
    """A publisher that one client may read."""
    publisher = Publisher(export(ALLOWED[0]), "nf1")
    publisher.start()
    yield publisher
    publisher.stop()


def keys(pair: tuple[str, str], server: str = SERVER[0]) -> CurveKeys:
    """Return what a client with this pair knows."""
    return CurveKeys(server_key=server, public_key=pair[0], secret_key=pair[1])


def hears(publisher: Publisher, curve: CurveKeys | None, within_s: float = 1.0) -> bool:
    """Say whether a client with these keys receives a batch."""
    with Subscriber(publisher.endpoint, ["qoe.v1/"], curve) as bus:

        def heard() -> bool:
            publisher.publish(batch())
            return bus.receive(0.05) is not None

        return eventually(heard, within_s)


class TestClients:
    """A client proves the possession of a key on the list."""

    def test_a_client_on_the_list_reads(self, secure: Publisher) -> None:
        assert hears(secure, keys(ALLOWED))

    def test_a_client_with_another_key_gets_nothing(self, secure: Publisher) -> None:
        assert not hears(secure, keys(STRANGER))
        assert secure.status()["clients_refused"] >= 1
        assert secure.subscriptions == 0

    def test_a_client_without_curve_gets_nothing(self, secure: Publisher) -> None:
        assert not hears(secure, None)

    def test_a_client_that_knows_another_server_gets_nothing(self, secure: Publisher) -> None:
        assert not hears(secure, keys(ALLOWED, server=STRANGER[0]))

    def test_an_empty_list_lets_nobody_in(self) -> None:
        publisher = Publisher(export(), "nf1")
        publisher.start()
        try:
            assert not hears(publisher, keys(ALLOWED))
        finally:
            publisher.stop()

    @pytest.mark.parametrize(
        ("pair", "event"),
        [
            (ALLOWED, zmq.EVENT_HANDSHAKE_SUCCEEDED),
            (STRANGER, zmq.EVENT_HANDSHAKE_FAILED_AUTH),
            (None, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL),
        ],
    )
    def test_libzmq_itself_says_how_the_handshake_ended(
        self, secure: Publisher, pair: tuple[str, str] | None, event: int
    ) -> None:
        context: zmq.Context[Any] = zmq.Context()
        sub = context.socket(zmq.SUB)
        try:
            if pair is not None:
                sub.curve_serverkey, sub.curve_publickey, sub.curve_secretkey = (k.encode() for k in (SERVER[0], *pair))
            handshakes = (
                zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
            )
            monitor = sub.get_monitor_socket(handshakes)
            sub.connect(secure.endpoint)

            assert monitor.poll(3000)
            assert recv_monitor_message(monitor)["event"] == event
        finally:
            context.destroy(linger=0)


class TestListChanges:
    """The list changes while the publisher runs."""

    def test_a_new_client_is_let_in_and_the_others_notice_nothing(self, secure: Publisher) -> None:
        with Subscriber(secure.endpoint, ["qoe.v1/"], keys(ALLOWED)) as old:
            assert eventually(lambda: secure.subscriptions == 2)

            secure.reconfigure(export(ALLOWED[0], SECOND[0]))

            assert hears(secure, keys(SECOND))
            assert old.receive(1.5)
            assert secure.status()["rebinds"] == 0

    def test_a_removed_client_loses_its_connection_and_the_others_come_back(self, secure: Publisher) -> None:
        secure.reconfigure(export(ALLOWED[0], SECOND[0]))
        with (
            Subscriber(secure.endpoint, ["qoe.v1/nf1/video/"], keys(ALLOWED)) as stays,
            Subscriber(secure.endpoint, ["qoe.v1/nf1/voice/"], keys(SECOND)) as goes,
        ):
            assert eventually(lambda: secure.subscriptions == 3)

            secure.reconfigure(export(ALLOWED[0]))

            for bus in (goes, stays):  # a SUB comes back as it is read
                eventually(lambda b=bus: b.receive(0.01) is None and secure.subscriptions == 2, 0.8)  # type: ignore[misc]
            assert eventually(lambda: secure.status()["clients_refused"] >= 1)
            assert secure.subscriptions == 2
            secure.publish(batch(app_class="voice"))
            secure.publish(batch(app_class="video"))
            assert stays.receive(3)
            assert goes.receive(0.5) is None

    def test_curve_can_be_turned_on_while_it_runs(self) -> None:
        publisher = Publisher(Export(endpoint="tcp://127.0.0.1:*", batch_rows=1), "nf1")
        publisher.start()
        try:
            assert hears(publisher, None)
            publisher.reconfigure(export(ALLOWED[0]))
            assert not hears(publisher, None)
            assert hears(publisher, keys(ALLOWED))
        finally:
            publisher.stop()


class TestBadKeys:
    """Keys that are no keys are refused with a sentence that holds none of them."""

    @pytest.mark.parametrize(
        "curve",
        [
            Curve(secret_key="short", public_key=SERVER[0]),
            Curve(secret_key=SERVER[1], public_key="\N{SNOWMAN}" * 40),
            Curve(secret_key=SERVER[1], public_key='"' * 40),
            Curve(secret_key=SERVER[1], public_key=SERVER[0], clients=("nobody",)),
            Curve(secret_key=STRANGER[1], public_key=SERVER[0]),
        ],
    )
    def test_the_publisher_stays_as_it_was(self, secure: Publisher, curve: Curve) -> None:
        with pytest.raises(SnfError) as refused:
            secure.reconfigure(Export(endpoint="tcp://127.0.0.1:*", batch_rows=1, curve=curve))

        assert "key" in str(refused.value)
        assert not any(k and k in str(refused.value) for k in (curve.secret_key, *curve.clients))
        assert hears(secure, keys(ALLOWED))

    def test_a_client_with_a_bad_key_gets_a_sentence(self) -> None:
        with pytest.raises(SnfError, match="40 characters of Z85"):
            Subscriber("tcp://127.0.0.1:5556", [], CurveKeys("short", *ALLOWED))

    def test_a_client_with_a_bad_endpoint_gets_a_sentence(self) -> None:
        with pytest.raises(SnfError, match="Cannot connect to nonsense"):
            Subscriber("nonsense", [])
