"""Rights of clients of the bus: a key gets what it may have, whatever it asks for."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from feed.consumer import key_pair
from feed.wire import decode
from lab.wait import slowness
from nf.errors import SnfError
from nf.publish import Publisher
from nf.publish.bus import Bus
from nf.publish.rights import Asked, cut
from nf.settings import Consumer, Curve, Export, Listener, Rights
from tests.feed.samples import batch, eventually, flows, records

SERVER, ALICE, BOB = key_pair(), key_pair(), key_pair()
VIDEO = Rights(topics=("qoe.v1/nf1/video/",), follow=False)
FOLLOWER = Rights(topics=("health.v1/",), follow=True)
PAIRS = Rights(topics=(), follow=False, imsi=True)
ALL_PREFIXES = ["", "q", "qoe.v1/", "qoe.v1/nf1/v", "sub.v1/", "sub.v1/nf1/", "imsi.v1/", "health.v1/", "change.v1/"]
Connect = Callable[..., "zmq.Socket[bytes]"]


def export(curve: Curve | None, **more: Any) -> Export:
    """Return the settings of a publisher on a free port, whose batches leave at once."""
    return Export(**{"endpoint": "tcp://127.0.0.1:*", "batch_rows": 1, "curve": curve, **more})


def curve(alice: Rights | None = None, bob: Rights | None = None, *everything: str) -> Curve:
    """Return keys under which Alice and Bob have these rights, and others may read all but IMSIs."""
    given = [(ALICE, alice), (BOB, bob)]
    consumers = tuple(Consumer(pair[0], rights) for pair, rights in given if rights is not None)
    return Curve(SERVER[1], SERVER[0], clients=everything, consumers=consumers)


@pytest.fixture
def publish() -> Iterator[Callable[[Export], Publisher]]:
    """Start publishers."""
    started = []

    def begin(settings: Export) -> Publisher:
        publisher = Publisher(settings, "nf1")
        started.append(publisher)
        publisher.start()
        return publisher

    yield begin
    for publisher in started:
        publisher.stop()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Sockets of pyzmq alone, with a key pair."""
    context: zmq.Context[Any] = zmq.Context()

    def make(endpoint: str, pair: tuple[str, str] | None, *topics: str, kind: int = zmq.SUB) -> zmq.Socket[bytes]:
        sub: zmq.Socket[bytes] = context.socket(kind)
        sub.linger, sub.sndhwm, sub.rcvtimeo = 0, 0, round(10_000 * slowness())
        if pair is not None:
            sub.curve_serverkey, sub.curve_publickey, sub.curve_secretkey = SERVER[0].encode(), *map(str.encode, pair)
        sub.connect(endpoint)
        for topic in topics:
            sub.subscribe(topic)
        return sub

    yield make
    context.destroy(linger=0)


def publish_everything(publisher: Publisher) -> None:
    """Publish on each topic but the marks, and then on a class that closes the round."""
    for app_class in ("video", "voice", "unknown"):
        publisher.publish(batch(app_class=app_class))
    publisher.publish_subscriber("ab", records(1, 1), flows(1), 0, 1)
    publisher.publish_subscriber("cd", records(1, 1), flows(1), 0, 1)
    publisher.publish_imsis({"001010000000001": "ab"}, 0)


def topics_of(sub: zmq.Socket[bytes], last: str, seen: set[str] | None = None) -> set[str]:
    """Return the topics of what *sub* receives, until *last* is among them."""
    seen = set() if seen is None else seen
    while last not in seen:
        seen.add(sub.recv_multipart()[0].decode())
    while sub.poll(100):
        seen.add(sub.recv_multipart()[0].decode())
    return seen


class TestCut:
    """A subscription is cut to the rights of its key."""

    @pytest.mark.parametrize(
        ("asked", "given"),
        [
            (b"", (b"qoe.v1/nf1/video/",)),
            (b"qoe", (b"qoe.v1/nf1/video/",)),
            (b"qoe.v1/nf1/video", (b"qoe.v1/nf1/video/",)),
            (b"qoe.v1/nf1/video/", (b"qoe.v1/nf1/video/",)),
            (b"qoe.v1/nf1/video/x", (b"qoe.v1/nf1/video/x",)),
            (b"qoe.v1/nf1/voice/", ()),
            (b"qoe.v1/nf1/videos", ()),
            (b"sub.v1/nf1/ab/", ()),
            (b"imsi.v1/", ()),
            (b"health.v1/", ()),
            (b"\xff", ()),
        ],
    )
    def test_one_class(self, asked: bytes, given: tuple[bytes, ...]) -> None:
        assert cut(asked, VIDEO) == given

    @pytest.mark.parametrize(
        ("asked", "given"),
        [
            (b"", (b"alarm.v1/", b"change.v1/", b"delay.v1/", b"health.v1/", b"purge.v1/", b"qoe.v1/")),
            (b"purge.v1/nf1/", (b"purge.v1/nf1/",)),
            (b"sub.v1/nf1/ab/", (b"sub.v1/nf1/ab/",)),
            (b"sub.v1/nf1/ab", ()),
            (b"sub.v1/nf1/", ()),
            (b"sub.v1//ab/", ()),
            (b"sub.v1/nf1/ab/x/", ()),
            (b"sub.v1/", ()),
            (b"sub", ()),
            (b"imsi.v1/nf1/", ()),
        ],
    )
    def test_a_key_without_a_list_has_all_but_imsis(self, asked: bytes, given: tuple[bytes, ...]) -> None:
        assert cut(asked, Rights()) == given

    @pytest.mark.parametrize("family", ["alarm.v1/", "purge.v1/"])
    @pytest.mark.parametrize(
        ("topics", "given"),
        [
            (("qoe.v1/",), ""),
            (("qoe.v1/nf1/",), "nf1/"),
            (("qoe.v1/nf1/video/", "qoe.v1/nf1/voice/"), None),
            (("health.v1/", "change.v1/"), None),
            ((), None),
        ],
    )
    def test_what_is_about_all_records_comes_with_all_records(
        self, family: str, topics: tuple[str, ...], given: str | None
    ) -> None:
        rights = Rights(topics, follow=True, imsi=True)
        assert cut(family.encode(), rights) == (() if given is None else ((family + given).encode(),))
        assert cut(family.encode(), Rights((*topics, family))) == (family.encode(),)

    @pytest.mark.parametrize("asked", [b"", b"imsi", b"imsi.v1/nf1/"])
    def test_imsis_are_a_right_of_their_own(self, asked: bytes) -> None:
        assert cut(asked, PAIRS) == ((asked,) if asked.startswith(b"imsi.v1/") else (b"imsi.v1/",))


class TestCutOfAnything:
    """Whatever a client asks for and may have: what reaches it are topics that it asked for and may have."""

    def test_by_a_plain_reading_of_rights(self) -> None:
        draw = random.Random(7)
        names = ("qoe.v1", "sub.v1", "imsi.v1", "health.v1", "change.v1", "nf1", "nf2", "video", "voice", "ab", "")
        topics = [f"qoe.v1/{nf}/{kind}/" for nf in ("nf1", "nf2") for kind in ("video", "voice")]
        topics += ["sub.v1/nf1/ab/", "sub.v1/nf1/abc/", "imsi.v1/nf1/", "health.v1/nf1/", "change.v1/nf1/"]
        topics += ["alarm.v1/nf1/", "purge.v1/nf2/"]
        reached = 0
        for _ in range(5000):
            may = [t[: draw.choice([i + 1 for i, c in enumerate(t) if c == "/"])] for t in draw.sample(topics[:4], 2)]
            rights = Rights(tuple(may), follow=draw.random() < 0.5, imsi=draw.random() < 0.5)
            asked = "/".join(draw.choices(names, k=draw.randint(0, 4)))[: draw.randint(0, 24)]
            asked = draw.choice([asked, draw.choice(topics)])
            given = [prefix.decode() for prefix in cut(asked.encode(), rights)]
            for topic in topics:
                kind = topic.partition("/")[0]
                allowed = any(topic.startswith(prefix) for prefix in may)
                allowed |= kind == "imsi.v1" and rights.imsi
                of_all = {"qoe.v1/", f"qoe.v1/{topic[-4:]}"}  # the name of the function with its delimiter
                allowed |= kind in ("alarm.v1", "purge.v1") and not of_all.isdisjoint(may)
                allowed |= kind == "sub.v1" and rights.follow and asked == topic
                wanted = topic.startswith(asked) and allowed
                got = any(topic.startswith(prefix) for prefix in given)
                assert got == wanted, (asked, rights, topic, given)
                reached += got
        assert reached > 1000


class TestOnTheBus:
    """A client with a key receives by its rights, whatever it asks for."""

    def test_a_key_with_one_class_gets_nothing_else_by_any_prefix(self, publish: Any, connect: Connect) -> None:
        publisher = publish(export(curve(VIDEO, FOLLOWER)))
        alice = connect(publisher.endpoint, ALICE, *ALL_PREFIXES, "sub.v1/nf1/ab/")
        follower = connect(publisher.endpoint, BOB, "sub.v1/nf1/ab/")
        assert eventually(lambda: publisher.subscriptions == 10)

        publish_everything(publisher)

        assert topics_of(alice, "qoe.v1/nf1/video/") == {"qoe.v1/nf1/video/"}
        assert topics_of(follower, "sub.v1/nf1/ab/") == {"sub.v1/nf1/ab/"}
        assert publisher.status()["subscriptions_refused"] == 6  # four kinds of topics, and the stream in three ways

    def test_the_empty_prefix_is_all_that_a_key_may_have(self, publish: Any, connect: Connect) -> None:
        publisher = publish(export(curve(Rights(("qoe.v1/nf1/voice/", "health.v1/"), follow=True, imsi=True))))
        alice = connect(publisher.endpoint, ALICE, "")
        assert eventually(lambda: publisher.subscriptions == 1)

        publish_everything(publisher)

        told = topics_of(alice, "health.v1/nf1/", topics_of(alice, "imsi.v1/nf1/"))
        assert told == {"qoe.v1/nf1/voice/", "health.v1/nf1/", "imsi.v1/nf1/"}

    @pytest.mark.parametrize("curve_on", [True, False])
    def test_a_followed_stream_reaches_its_follower_only(self, curve_on: bool, publish: Any, connect: Connect) -> None:
        publisher = publish(export(curve(None, FOLLOWER, ALICE[0]) if curve_on else None))
        keys = (ALICE, BOB) if curve_on else (None, None)
        dashboard = connect(publisher.endpoint, keys[0], *ALL_PREFIXES, "sub.v1/nf1/a", "sub.v1/nf1/cd/")
        follower = connect(publisher.endpoint, keys[1], "sub.v1/nf1/ab/")
        assert eventually(lambda: publisher.followed() == {"ab", "cd"} and publisher.subscriptions == 12)

        publish_everything(publisher)

        assert topics_of(follower, "sub.v1/nf1/ab/") == {"sub.v1/nf1/ab/"}
        seen = topics_of(dashboard, "sub.v1/nf1/cd/")
        assert {topic for topic in seen if topic.startswith(("sub", "imsi"))} == {"sub.v1/nf1/cd/"}

    def test_who_ends_a_wide_subscription_keeps_the_narrow_one(self, publish: Any, connect: Connect) -> None:
        publisher = publish(export(curve(VIDEO)))
        alice = connect(publisher.endpoint, ALICE, "", "qoe.v1/nf1/video/")
        assert eventually(lambda: publisher.subscriptions == 2)

        alice.unsubscribe("")
        assert eventually(lambda: publisher.subscriptions == 1)
        publisher.publish(batch(app_class="video"))

        assert alice.recv_multipart()[0] == b"qoe.v1/nf1/video/"

    def test_a_connection_that_ends_is_forgotten_though_libzmq_names_no_user(
        self, publish: Any, connect: Connect
    ) -> None:
        publisher = publish(export(curve(FOLLOWER, FOLLOWER)))
        alice, bob = (connect(publisher.endpoint, pair, "sub.v1/nf1/ab/", "video") for pair in (ALICE, BOB))
        assert eventually(lambda: publisher.subscriptions == 2 and publisher.followed() == {"ab"})

        alice.close()
        publisher.publish_subscriber("ab", records(1, 1), flows(1), 0, 1)
        assert decode(bob.recv_multipart()).topic == "sub.v1/nf1/ab/"
        bob.close()

        assert eventually(lambda: publisher.subscriptions == 0 and publisher.followed() == frozenset())


class TestChanges:
    """A change of rights is in force when the commit ends."""

    def test_a_right_that_is_taken_away_cuts_at_once(self, publish: Any, connect: Connect) -> None:
        wide = Rights(("qoe.v1/",), follow=True)
        publisher = publish(export(curve(wide, FOLLOWER)))
        alice = connect(publisher.endpoint, ALICE, "qoe.v1/", "sub.v1/nf1/ab/")
        assert eventually(lambda: publisher.subscriptions == 2 and publisher.followed() == {"ab"})

        publisher.reconfigure(export(curve(VIDEO, FOLLOWER)))
        assert publisher.followed() == frozenset()
        publish_everything(publisher)  # reaches nobody
        assert eventually(lambda: not alice.poll(5) and publisher.subscriptions == 2)
        publish_everything(publisher)

        assert topics_of(alice, "qoe.v1/nf1/video/") == {"qoe.v1/nf1/video/"}
        assert publisher.followed() == frozenset()

    def test_a_right_that_is_given_reaches_who_is_connected(self, publish: Any, connect: Connect) -> None:
        publisher = publish(export(curve(VIDEO)))
        alice = connect(publisher.endpoint, ALICE, "")
        assert eventually(lambda: publisher.subscriptions == 1)

        publisher.reconfigure(export(curve(PAIRS)))
        assert eventually(lambda: not alice.poll(5) and publisher.subscriptions == 1)
        publish_everything(publisher)

        assert topics_of(alice, "imsi.v1/nf1/") == {"imsi.v1/nf1/"}


class TestHostileClient:
    """A client with a key cannot get another one's rights, nor take its streams away."""

    def test_a_message_that_is_no_subscription_moves_no_rights(self, connect: Connect) -> None:
        counters: Counter[str] = Counter()
        bus = Bus(export(curve(Rights(("qoe.v1/",)), VIDEO)), "nf1", "boot", counters)
        try:
            sends, alice, bob = (connect(bus.endpoint, pair, kind=zmq.XSUB) for pair in (BOB, ALICE, BOB))
            assert eventually(lambda: served(bus)["clients_allowed"] == 3)

            for sub, message in ((sends, b"\x07no subscription"), (alice, b"\x01qoe.v1/"), (bob, b"\x01qoe.v1/")):
                sub.send(message)
                time.sleep(0.1)  # all arrive while the bus reads nothing: libzmq would give Bob what is Alice's
            assert eventually(lambda: served(bus)["clients_shut_out"] == 1)

            def alice_hears() -> bool:
                bus.wait(0.01)
                bus.send(b"qoe.v1/nf1/voice/", "snf.qoe.v1", (0, 1), batch().columns)
                return bool(alice.poll(10))

            assert eventually(alice_hears)  # she came back by herself
            assert not bob.poll(300)
            assert counters["rebinds"] == 1
        finally:
            bus.close()

    def test_without_keys_it_costs_a_connection_and_no_subscription(self, connect: Connect) -> None:
        counters: Counter[str] = Counter()
        bus = Bus(export(None), "nf1", "boot", counters)
        try:
            sends = connect(bus.endpoint, None, kind=zmq.XSUB)
            sends.send(b"\x07no subscription")
            time.sleep(0.1)
            sub = connect(bus.endpoint, None, "qoe.v1/")
            time.sleep(0.1)  # both are read together

            def heard() -> bool:
                bus.wait(0.01)
                bus.send(b"qoe.v1/nf1/voice/", "snf.qoe.v1", (0, 1), batch().columns)
                return bool(sub.poll(10))

            assert eventually(heard)
            assert counters["foreign_messages"] == 1
        finally:
            bus.close()

    @pytest.mark.parametrize("curve_on", [True, False])
    def test_topics_without_end_do_not_fill_the_memory(self, curve_on: bool, publish: Any, connect: Connect) -> None:
        publisher = publish(export(curve(FOLLOWER, FOLLOWER) if curve_on else None))
        alice = connect(publisher.endpoint, ALICE if curve_on else None, "health.v1/")
        bob = connect(publisher.endpoint, BOB if curve_on else None, kind=zmq.XSUB)
        assert eventually(lambda: publisher.subscriptions == 1)

        for number in range(15_000):
            bob.send(b"\x01sub.v1/nf1/%x/" % number)

        status = publisher.status
        assert eventually(lambda: status()["clients_shut_out" if curve_on else "subscriptions_refused"] > 0)
        assert publisher.subscriptions <= 10_000
        assert alice.recv_multipart()[0] == b"health.v1/nf1/"

    def test_nobody_ends_what_another_one_asked_for(self, publish: Any, connect: Connect) -> None:
        publisher = publish(export(curve(FOLLOWER, FOLLOWER)))
        alice = connect(publisher.endpoint, ALICE, "sub.v1/nf1/ab/")
        assert eventually(lambda: publisher.followed() == {"ab"})
        bob = connect(publisher.endpoint, BOB, kind=zmq.XSUB)

        for _ in range(3):
            bob.send(b"\x00sub.v1/nf1/ab/")
        bob.send(b"\x01health.v1/")

        assert eventually(lambda: publisher.subscriptions == 2)
        publisher.publish_subscriber("ab", records(1, 1), flows(1), 0, 1)
        assert alice.recv_multipart()[0] == b"sub.v1/nf1/ab/"


def served(bus: Bus) -> Counter[str]:
    """Do what waits for *bus*, and return its counters."""
    bus.wait(0.01)
    return bus.counters


class TestAsked:
    """The account of what is asked for follows what libzmq tells, in any order of ends."""

    def test_it_is_kept_until_as_many_ended_as_asked(self) -> None:
        asked = Asked()
        asked.begin("alice", b"t/", (b"t/",))
        asked.begin("bob", b"t/", ())

        asked.end_unknown(b"t/")
        kept = asked.hears(b"t/x")
        asked.end_unknown(b"t/")

        assert kept
        assert not asked.hears(b"t/x")
        assert len(asked) == 0

    def test_an_end_of_what_nobody_asked_for_changes_nothing(self) -> None:
        asked = Asked()
        asked.begin("alice", b"t/", (b"t/",))

        assert asked.end("bob", b"t/") == ()
        asked.end_unknown(b"u/")

        assert asked.hears(b"t/")

    def test_a_prefix_of_two_subscriptions_ends_with_the_second(self) -> None:
        asked = Asked()
        asked.begin("alice", b"", (b"t/",))
        asked.begin("alice", b"t/", (b"t/",))

        assert asked.end("alice", b"") == ()
        assert asked.end("alice", b"t/") == (b"t/",)


class TestSeveralPlaces:
    """One message goes out at each place where somebody was given its topic, under one sequence number."""

    def test_each_has_keys_and_rights_of_its_own(self, publish: Any, connect: Connect) -> None:
        second = Listener("b", "tcp://127.0.0.1:*", curve=curve(VIDEO))
        publisher = publish(export(curve(None, None, ALICE[0]), further=(second,)))
        there = publisher._bus.outlets["b"].endpoint
        wide, narrow = connect(publisher.endpoint, ALICE, "qoe.v1/"), connect(there, ALICE, "")
        stranger = connect(there, BOB, "")
        assert eventually(lambda: publisher.subscriptions == 2)

        for app_class in ("voice", "video", "video"):
            publisher.publish(batch(app_class=app_class))

        here = [decode(wide.recv_multipart()) for _ in range(3)]
        assert [(m.topic, m.header.seq) for m in here[1:]] == [("qoe.v1/nf1/video/", 0), ("qoe.v1/nf1/video/", 1)]
        assert [decode(narrow.recv_multipart()).header.seq for _ in range(2)] == [0, 1]
        assert not stranger.poll(200)
        places = {name: (place.up, place.records, place.subscriptions) for name, place in publisher.places().items()}
        assert places == {"": (True, 30, 1), "b": (True, 20, 1)}

    def test_a_place_that_cannot_be_had_leaves_all_as_they_were(self, publish: Any, connect: Connect) -> None:
        second = Listener("b", "tcp://127.0.0.1:*")
        publisher = publish(export(None, further=(second,)))
        there = publisher._bus.outlets["b"].endpoint
        sub = connect(publisher.endpoint, None, "qoe.v1/")
        assert eventually(lambda: publisher.subscriptions == 1)

        with pytest.raises(SnfError, match=r"cannot bind tcp://192.0.2.1:6000"):
            publisher.reconfigure(export(None, further=(Listener("c", "tcp://192.0.2.1:6000"),)))
        publisher.publish(batch())

        assert sub.recv_multipart()
        assert publisher.places().keys() == {"", "b"}
        assert there.startswith("tcp://127.0.0.1:")

    def test_one_that_is_taken_out_listens_no_more(self, publish: Any) -> None:
        publisher = publish(export(None, further=(Listener("b", "tcp://127.0.0.1:*"),)))
        host, _, port = publisher._bus.outlets["b"].endpoint.removeprefix("tcp://").rpartition(":")

        publisher.reconfigure(export(None))

        def is_free() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((host, int(port))) != 0

        assert eventually(is_free)
        assert publisher.places().keys() == {""}
