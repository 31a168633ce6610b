"""A subscriber that hears nothing is told why: by the state of its connection."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from feed.consumer import CurveKeys, Subscriber, key_pair
from feed.link import Link
from nf.publish import Publisher
from nf.settings import Curve
from tests.feed.samples import eventually

SERVER, ALLOWED, STRANGER = key_pair(), key_pair(), key_pair()
CURVE = Curve(secret_key=SERVER[1], public_key=SERVER[0], clients=(ALLOWED[0],))


def keys(pair: tuple[str, str], server: str = SERVER[0]) -> CurveKeys:
    """Return what a client with this pair knows."""
    return CurveKeys(server_key=server, public_key=pair[0], secret_key=pair[1])


def becomes(bus: Subscriber, wanted: Link) -> bool:
    """Say whether the connection comes into a state."""
    return eventually(lambda: bus.receive(0.01) or bus.link is wanted)


class TestLink:
    """Each way to hear nothing has a state of its own."""

    @pytest.mark.parametrize("curve", [None, CURVE], ids=["plain", "curve"])
    def test_who_is_let_in_has_an_open_one(self, start: Callable[..., Publisher], curve: Curve | None) -> None:
        with Subscriber(start(curve=curve).endpoint, [], keys(ALLOWED) if curve else None) as bus:
            assert becomes(bus, Link.OPEN)

    def test_a_key_that_is_not_on_the_list_is_refused(self, start: Callable[..., Publisher]) -> None:
        with Subscriber(start(curve=CURVE).endpoint, [], keys(STRANGER)) as bus:
            assert becomes(bus, Link.REFUSED)

    @pytest.mark.parametrize(
        ("curve", "mine"),
        [(CURVE, keys(ALLOWED, STRANGER[0])), (CURVE, None), (None, keys(ALLOWED))],
        ids=["another server key", "no keys", "keys for one without"],
    )
    def test_a_handshake_of_two_kinds_is_cut(
        self, start: Callable[..., Publisher], curve: Curve | None, mine: CurveKeys | None
    ) -> None:
        with Subscriber(start(curve=curve).endpoint, [], mine) as bus:
            assert becomes(bus, Link.CUT)

    def test_nobody_there_is_not_reached(self) -> None:
        with Subscriber("tcp://127.0.0.1:1", []) as bus:
            assert bus.receive(0.3) is None
            assert bus.link is Link.UNREACHED

    def test_one_who_takes_connections_and_says_nothing_is_reached(self) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as mute,
            Subscriber(f"tcp://127.0.0.1:{mute.getsockname()[1]}", []) as bus,
        ):
            assert becomes(bus, Link.REACHED)

    def test_a_function_that_ends_is_lost_and_found_again(self, start: Callable[..., Publisher]) -> None:
        publisher = start()
        with Subscriber(publisher.endpoint, []) as bus:
            assert becomes(bus, Link.OPEN)
            endpoint = publisher.endpoint
            publisher.stop()
            assert becomes(bus, Link.LOST)

            start(endpoint=endpoint)
            assert becomes(bus, Link.OPEN)
