"""The publisher on real sockets: sequences, slow readers, who follows whom, and changes while it runs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest
import zmq

from feed.consumer import Liveness, Subscriber
from feed.records import RecordBatch
from lab.wait import slowness
from nf.publish import Publisher
from nf.settings import Export
from tests.feed.samples import batch, eventually, flows, header, records

Start = Callable[..., Publisher]


class TestTopics:
    """A message goes to those who subscribed to its topic, by its text from the beginning."""

    def test_a_class_goes_to_its_topic(self, start: Start, plain: Any) -> None:
        publisher = start()
        sub = plain(publisher.endpoint, "qoe.v1/nf1/voice/")
        assert eventually(lambda: publisher.subscriptions == 1)

        publisher.publish(batch(app_class="video"))
        publisher.publish(batch(app_class="voice"))

        topic, head, _ = sub.recv_multipart()
        assert topic == b"qoe.v1/nf1/voice/"
        assert msgpack.unpackb(head)["rows"] == 10

    def test_a_subscription_ended_by_a_slash_gets_no_longer_name(self, start: Start, plain: Any) -> None:
        publisher = start()
        exact, open_ended = plain(publisher.endpoint, "qoe.v1/nf1/v/"), plain(publisher.endpoint, "qoe.v1/nf1/v")
        assert eventually(lambda: publisher.subscriptions == 2)

        for app_class in ("voice", "v"):
            publisher.publish(batch(app_class=app_class))

        assert exact.recv_multipart()[0] == b"qoe.v1/nf1/v/"
        assert [open_ended.recv_multipart()[0] for _ in range(2)] == [b"qoe.v1/nf1/voice/", b"qoe.v1/nf1/v/"]

    def test_what_nobody_hears_is_not_made(self, start: Start) -> None:
        publisher = start()

        publisher.publish(batch())

        assert eventually(lambda: publisher.status()["unheard_messages"] >= 2)  # and the heartbeat
        assert publisher.exported_bytes == 0

    def test_a_very_large_batch_is_several_messages(self, start: Start, plain: Any) -> None:
        publisher = start()
        sub = plain(publisher.endpoint, "qoe.v1/")
        assert eventually(lambda: publisher.subscriptions == 1)

        publisher.publish(RecordBatch("web", 0, 1, {"t_ms": np.arange(120_000)}))

        assert [header(sub)["rows"] for _ in range(3)] == [50_000, 50_000, 20_000]


class TestSequence:
    """Each topic counts its own messages, and a boot id tells a restart from a gap."""

    def test_each_topic_counts_from_zero(self, start: Start, plain: Any) -> None:
        publisher = start()
        sub = plain(publisher.endpoint, "qoe.v1/")
        assert eventually(lambda: publisher.subscriptions == 1)

        for app_class in ("video", "voice", "video", "video"):
            publisher.publish(batch(app_class=app_class))

        frames = [sub.recv_multipart() for _ in range(4)]
        assert [(f[0].split(b"/")[2], msgpack.unpackb(f[1])["seq"]) for f in frames] == [
            (b"video", 0),
            (b"voice", 0),
            (b"video", 1),
            (b"video", 2),
        ]

    def test_a_restart_is_another_boot_and_no_gap(self, start: Start) -> None:
        first = start()
        with Subscriber(first.endpoint, ["qoe.v1/"]) as bus:
            assert eventually(lambda: first.subscriptions == 2)
            for _ in range(3):
                first.publish(batch())
            before = [bus.receive(3) for _ in range(3)]
            first.stop()
            second = start(endpoint=first.export.endpoint.replace("*", before_port(bus)))
            assert eventually(lambda: bus.receive(0.01) is None and second.subscriptions == 2)
            second.publish(batch())
            after = bus.receive(3)

        assert after is not None
        assert before[0] is not None
        assert (after.header.seq, bus.gaps) == (0, 0)
        assert after.header.boot != before[0].header.boot

    def test_a_lost_message_is_a_gap(self, start: Start) -> None:
        publisher = start()
        with Subscriber(publisher.endpoint, ["qoe.v1/"]) as bus:
            assert eventually(lambda: publisher.subscriptions == 2)
            publisher.publish(batch())
            assert bus.receive(3)
            assert publisher._bus is not None
            publisher._bus.heads[b"qoe.v1/nf1/video/"] += 2  # as if two had been dropped on the way
            publisher.publish(batch())
            assert bus.receive(3)

            assert bus.gaps == 2

    def test_a_loss_that_nothing_follows_shows_with_the_heartbeat(self, start: Start) -> None:
        publisher = start()
        with Subscriber(publisher.endpoint, ["qoe.v1/"]) as bus:
            assert eventually(lambda: publisher.subscriptions == 2)
            publisher.publish(batch())
            assert bus.receive(3)
            assert publisher._bus is not None
            publisher._bus.heads[b"qoe.v1/nf1/video/"] += 2

            assert bus.receive(2.2) is None
            assert bus.gaps == 2


def before_port(bus: Subscriber) -> str:
    """Return the port that a subscriber is connected to."""
    return bus._socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0").rpartition(":")[2]


class TestBatching:
    """Rows wait for company, but never for ever."""

    def test_rows_wait_until_there_are_enough(self, start: Start, plain: Any) -> None:
        publisher = start(batch_rows=25, batch_ms=60_000)
        sub = plain(publisher.endpoint, "qoe.v1/")
        assert eventually(lambda: publisher.subscriptions == 1)

        for second in range(3):
            publisher.publish(batch(10, t_s=second))

        head = header(sub)
        assert (head["rows"], head["t_start"], head["t_end"]) == (30, 0, 3)

    def test_the_last_rows_leave_without_another_batch(self, start: Start, plain: Any) -> None:
        publisher = start(batch_rows=1000, batch_ms=200)
        sub = plain(publisher.endpoint, "qoe.v1/")
        assert eventually(lambda: publisher.subscriptions == 1)

        publisher.publish(RecordBatch("web", 0, 0.1, records(5, 5)))

        assert header(sub)["rows"] == 5

    def test_stop_sends_what_waits(self, start: Start, plain: Any) -> None:
        publisher = start(batch_rows=1000, batch_ms=60_000)
        sub = plain(publisher.endpoint, "qoe.v1/")
        assert eventually(lambda: publisher.subscriptions == 1)
        publisher.publish(batch())

        publisher.stop()

        assert header(sub)["rows"] == 10


class TestHealth:
    """A heartbeat each second says what was sent, so that quiet and dead differ."""

    def test_it_carries_heads_and_the_two_sums_of_the_data_budget(self, start: Start) -> None:
        publisher = start()
        with Subscriber(publisher.endpoint, ["health.v1/nf1/"]) as bus:
            for _ in range(3):
                publisher.publish(batch())
            assert eventually(lambda: publisher.status()["inspected_bytes"] == 0 and publisher._queue.empty())
            publisher.inspected(1_000_000_007, lost=13)
            message = next(m for m in bus.messages(5) if m and m.columns["inspected_bytes"][0])

        heads = dict(zip(message.columns["topic"], message.columns["next_seq"], strict=True))
        assert heads["qoe.v1/nf1/video/"] == 3
        assert heads["health.v1/nf1/"] == message.header.seq + 1
        assert message.columns["inspected_bytes"][0] == 1_000_000_007
        assert message.columns["redirect_lost"][0] == 13

    def test_exported_bytes_are_those_of_all_frames(self, start: Start, plain: Any) -> None:
        publisher = start()
        sub = plain(publisher.endpoint, "qoe.v1/")
        assert eventually(lambda: publisher.subscriptions == 1)

        for _ in range(5):
            publisher.publish(batch())

        received = sum(len(f) for _ in range(5) for f in sub.recv_multipart())
        assert eventually(lambda: publisher.status()["messages"] == 5)
        assert publisher.exported_bytes == received

    def test_the_topics_of_followed_subscribers_are_not_told_to_all(self, start: Start) -> None:
        publisher = start()
        with Subscriber(publisher.endpoint, ["health.v1/", "sub.v1/nf1/ab/"]) as bus:
            assert eventually(lambda: publisher.followed() == {"ab"})
            publisher.publish_subscriber("ab", records(1, 1), flows(1), 0, 1)
            heartbeats = [m for m in bus.messages(2.5) if m and m.topic == "health.v1/nf1/"]

        assert heartbeats[-1].columns["followed"][0] == 1
        assert not any("sub.v1" in t for m in heartbeats for t in m.columns["topic"])

    def test_a_step_of_the_clock_is_told_and_no_batch_has_times_of_both_sides(self, start: Start, plain: Any) -> None:
        now_s, hour_s = 1_785_000_000.0, 3600.0
        publisher = start(batch_rows=1000)
        sub = plain(publisher.endpoint, "qoe.v1/")
        with Subscriber(publisher.endpoint, ["health.v1/"]) as bus:
            assert eventually(lambda: publisher.subscriptions == 2)
            publisher.publish(batch(t_s=now_s))
            publisher.stepped(-hour_s)
            publisher.publish(batch(t_s=now_s + 1 - hour_s))
            publisher.flush()
            spans = [(head["t_start"], head["t_end"]) for head in (header(sub), header(sub))]
            told = next(m for m in bus.messages(10) if m and m.columns["clock_steps"][0])

        assert spans == [(now_s, now_s + 1), (now_s + 1 - hour_s, now_s + 2 - hour_s)]
        assert (told.columns["clock_steps"][0], told.columns["clock_step_ms"][0]) == (1, -3_600_000)

    def test_intervals_are_counted(self, start: Start) -> None:
        publisher = start()
        with Subscriber(publisher.endpoint, ["health.v1/"]) as bus:
            for total in (10, 10, 20):
                publisher.inspected(total)

            assert any(m and m.columns["intervals"][0] == 3 for m in bus.messages(10))

    def test_records_that_wait_say_when_they_leave(self, start: Start) -> None:
        publisher = start(batch_rows=1000, batch_ms=100_000)
        with Subscriber(publisher.endpoint, ["health.v1/"]) as bus:
            before = next(m for m in bus.messages(10 * slowness()) if m)
            publisher.publish(batch())
            told = next(m for m in bus.messages(10 * slowness()) if m and m.columns["next_batch_ms"][0])

        assert before.columns["next_batch_ms"][0] == 0
        assert 0 < told.columns["next_batch_ms"][0] <= 100_000

    def test_quiet_is_not_dead(self, start: Start) -> None:
        publisher = start()
        with Subscriber(publisher.endpoint, ["qoe.v1/"]) as bus:
            assert bus.liveness() is Liveness.SILENT
            bus.receive(1.5)
            assert bus.liveness() is Liveness.QUIET
            publisher.publish(batch())
            assert bus.receive(1.5)
            assert bus.liveness() is Liveness.ALIVE
            publisher.stop()
            bus.receive(3.2)
            assert bus.liveness() is Liveness.DEAD


class TestFollowing:
    """The detail of a subscriber is made while somebody subscribes to exactly its topic."""

    def test_it_starts_and_stops_with_the_subscription(self, start: Start, plain: Any) -> None:
        publisher = start()
        sub = plain(publisher.endpoint)

        sub.subscribe("sub.v1/nf1/0123abcd/")
        started = eventually(lambda: publisher.followed() == {"0123abcd"})
        publisher.publish_subscriber("0123abcd", records(2, 1), flows(3), 5, 6)
        heads = [header(sub), header(sub)]
        sub.unsubscribe("sub.v1/nf1/0123abcd/")

        assert started
        assert [(h["schema"], h["rows"], h["seq"]) for h in heads] == [("snf.qoe.v1", 2, 0), ("snf.flow.v1", 3, 1)]
        assert eventually(lambda: publisher.followed() == frozenset())

    def test_it_goes_on_until_the_last_one_leaves(self, start: Start, plain: Any) -> None:
        publisher = start()
        one, two = (plain(publisher.endpoint, "sub.v1/nf1/ab/") for _ in range(2))
        assert eventually(lambda: publisher.followed() == {"ab"})
        publisher.publish_subscriber("ab", records(1, 1), flows(1), 0, 1)
        assert two.recv_multipart()  # both are known to the publisher

        one.close()
        time.sleep(0.2)
        still = publisher.followed()
        two.close()

        assert still == {"ab"}
        assert eventually(lambda: publisher.followed() == frozenset())

    @pytest.mark.parametrize("topic", ["", "sub.v1/", "sub.v1/nf1/", "sub.v1/nf1/ab", "sub.v1/nf2/ab/", "sub.v1/nf1//"])
    def test_a_prefix_follows_nobody(self, start: Start, plain: Any, topic: str) -> None:
        publisher = start()
        plain(publisher.endpoint, topic)

        assert eventually(lambda: publisher.subscriptions == 1)
        assert publisher.followed() <= {""}

    @pytest.mark.parametrize("subscriber", [f"teid-{16 * '0a'}", f"ue-{16 * '0a'}"])
    def test_a_subscriber_without_identity_can_be_followed(self, start: Start, plain: Any, subscriber: str) -> None:
        publisher = start()
        sub = plain(publisher.endpoint, f"sub.v1/nf1/{subscriber}/")
        assert eventually(lambda: publisher.followed() == {subscriber})

        publisher.publish_subscriber(subscriber, records(1, 1), flows(1), 0, 1)

        assert sub.recv_multipart()[0] == f"sub.v1/nf1/{subscriber}/".encode()

    def test_more_than_a_thousand_are_refused_and_counted(self, start: Start, plain: Any) -> None:
        publisher = start()
        for half in (range(550), range(550, 1100)):  # a SUB queues a thousand at most
            plain(publisher.endpoint, *(f"sub.v1/nf1/{i}/" for i in half))

        assert eventually(lambda: publisher.subscriptions == 1100)
        assert len(publisher.followed()) == 1000
        assert publisher.status()["follows_refused"] == 100


class TestSlowSubscriber:
    """A subscriber that does not read loses messages; nobody waits for it, and memory stays bounded."""

    def test_it_finds_gaps_and_the_publisher_stays_small(self, start: Start, plain: Any) -> None:
        publisher = start(high_water_mark=4)
        slow = plain(publisher.endpoint, "qoe.v1/nf1/web/", RCVHWM=4, RCVBUF=65_536)
        quick = plain(publisher.endpoint, "qoe.v1/nf1/voice/")
        assert eventually(lambda: publisher.subscriptions == 2)
        noise = np.random.default_rng(1)
        before = resident_bytes()

        for number in range(200):
            publisher.publish(RecordBatch("web", number, number + 1, {"x": noise.integers(0, 2**63, 20_000)}))  # 160 kB
            assert eventually(lambda n=number: publisher.status()["messages"] > n)  # type: ignore[misc]
        publisher.publish(batch(app_class="voice"))

        assert quick.recv_multipart()
        grown = resident_bytes() - before
        seqs = []
        while slow.poll(300):
            seqs.append(header(slow)["seq"])
        assert len(seqs) < 150, "nothing was dropped: the test has no slow subscriber"
        assert seqs == sorted(seqs)
        assert grown < 16 << 20  # of 32 MB that were published

    def test_it_stays_connected_while_it_does_not_read(self, start: Start, plain: Any) -> None:
        publisher = start(high_water_mark=2)
        slow = plain(publisher.endpoint, "qoe.v1/", RCVHWM=1, RCVBUF=4096)
        assert eventually(lambda: publisher.subscriptions == 1)
        noise = np.random.default_rng(1)

        end_s = time.monotonic() + 4.5
        while time.monotonic() < end_s:
            publisher.publish(RecordBatch("web", 0, 1, {"x": noise.integers(0, 2**63, 20_000)}))
            time.sleep(0.05)

        assert publisher.subscriptions == 1
        assert header(slow)["seq"] == 0

    def test_a_pipeline_that_is_too_quick_loses_messages_and_never_waits(self) -> None:
        publisher = Publisher(Export(batch_rows=1), "nf1")  # not started: nobody empties the queue

        for _ in range(1500):  # one that waited would wait for ever: the time-out of the test would tell
            publisher.publish(batch(2))

        assert publisher.status()["dropped_messages"] == 1500 - 1024
        assert publisher.status()["dropped_rows"] == 2 * (1500 - 1024)


def resident_bytes() -> int:
    """Return the memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class TestHostileSubscriber:
    """Bytes that a subscriber sends cannot harm the others."""

    def test_text_that_is_no_subscription_is_counted(self, start: Start, plain: Any) -> None:
        publisher = start()
        context: zmq.Context[Any] = zmq.Context()
        with context, context.socket(zmq.XSUB) as rude:
            rude.linger = 0
            rude.connect(publisher.endpoint)
            rude.send(b"\x07hello")
            rude.send(b"")
            assert eventually(lambda: publisher.counters["foreign_messages"] == 2)
            rude.send(b"\x01sub.v1/nf1/\xff\xfe/")

            assert eventually(lambda: len(publisher.followed()) == 1)
            sub = plain(publisher.endpoint, "qoe.v1/")
            assert eventually(lambda: publisher.subscriptions == 2)
            publisher.publish(batch())
            assert header(sub)["rows"] == 10

    def test_a_port_scan_changes_nothing(self, start: Start, plain: Any) -> None:
        publisher = start()
        host, _, port = publisher.endpoint.removeprefix("tcp://").rpartition(":")
        with socket.create_connection((host, int(port))) as scan:
            scan.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)) * 8)
        sub = plain(publisher.endpoint, "qoe.v1/")

        def received() -> bool:
            # The noise may read as a subscription of ZMTP 1.0, so their number says nothing here.
            publisher.publish(batch())
            return bool(sub.poll(50))

        assert eventually(received)
        assert header(sub)["rows"] == 10

    def test_a_message_that_cannot_be_encoded_is_counted_and_the_next_one_goes(self, start: Start, plain: Any) -> None:
        publisher = start()
        sub = plain(publisher.endpoint, "qoe.v1/")
        assert eventually(lambda: publisher.subscriptions == 1)

        publisher.publish(RecordBatch("web", 0, 1, {"t_ms": np.array([1, 2]), "app": ["one"]}))
        publisher.publish(batch())

        assert header(sub)["rows"] == 10
        assert publisher.status()["unencodable_messages"] == 1
