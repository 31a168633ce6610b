"""A late joiner is given the current state: what was sent lately, under the same rights, and what follows it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from feed.change import Mark
from feed.consumer import CurveKeys, Subscriber, key_pair
from feed.late import beside
from feed.records import SNAPSHOT_COLUMNS
from feed.wire import Header, Message, decode, encode
from lab.wait import slowness
from nf.errors import SnfError
from nf.publish import Publisher
from nf.publish.state import MOST_BYTES, WINDOW_S, State
from nf.settings import Consumer, Curve, Export, Listener, Rights
from tests.feed.samples import batch, eventually, flows, records

SERVER, ALICE, BOB, EVE = key_pair(), key_pair(), key_pair(), key_pair()
WILD = "tcp://127.0.0.1:*"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "feed.md").read_text(encoding="utf-8")


@pytest.fixture
def publish(start: Callable[..., Publisher]) -> Callable[..., Publisher]:
    """Start publishers that give snapshots, and whose batches leave at once."""
    return lambda **export: start(**{"snapshot_endpoint": WILD, **export})


@pytest.fixture
def ask() -> Iterator[Callable[..., list[Message]]]:
    """Ask with pyzmq alone; returns the messages up to the end, the end included."""
    context: zmq.Context[Any] = zmq.Context()

    def question(endpoint: str, *topics: bytes, pair: tuple[str, str] | None = None) -> list[Message]:
        dealer: zmq.Socket[bytes] = context.socket(zmq.DEALER)
        dealer.linger, dealer.rcvtimeo = 0, round(10_000 * slowness())
        if pair is not None:
            dealer.curve_serverkey, dealer.curve_publickey = SERVER[0].encode(), pair[0].encode()
            dealer.curve_secretkey = pair[1].encode()
        dealer.connect(endpoint)
        dealer.send_multipart([b"snapshot.v1", *topics])
        told = [decode(dealer.recv_multipart())]
        while not told[-1].topic.startswith("snapshot.v1/"):
            told.append(decode(dealer.recv_multipart()))
        return told

    yield question
    context.destroy(linger=0)


def sent(publisher: Publisher, messages: int) -> bool:
    """Wait until so many messages of data were numbered."""
    assert publisher._bus is not None
    heads = publisher._bus.heads
    return eventually(lambda: sum(n for t, n in heads.copy().items() if not t.startswith(b"health")) >= messages)


class TestAnswer:
    """The last messages as they were sent, and the numbers of those that follow."""

    def test_messages_of_the_topics_and_their_next_numbers(self, publish: Any, ask: Any) -> None:
        publisher = publish()
        for app_class, seed in (("video", 1), ("voice", 2), ("video", 3)):
            publisher.publish(batch(app_class=app_class, seed=seed))
        publisher.publish_mark(Mark(1.0, "roll-out", "alice"))
        publisher.publish_purge({"0" * 32: 3}, "purge", 1.0)
        assert sent(publisher, 5)

        *messages, end = ask(publisher.snapshot_endpoint, b"qoe.v1/nf1/video/", b"change.v1/", b"purge.v1/")

        assert [(m.topic, m.header.seq) for m in messages] == [
            ("change.v1/nf1/", 0),
            ("purge.v1/nf1/", 0),
            ("qoe.v1/nf1/video/", 0),
            ("qoe.v1/nf1/video/", 1),
        ]
        assert messages[-1].columns["subscriber"] == batch(seed=3).columns["subscriber"]
        assert {m.header.boot for m in (*messages, end)} == {publisher.boot}
        assert (end.topic, end.header.schema, end.columns.keys()) == (
            "snapshot.v1/nf1/",
            "snf.snapshot.v1",
            SNAPSHOT_COLUMNS.keys(),
        )
        heads = dict(zip(end.columns["topic"], end.columns["next_seq"].tolist(), strict=True))
        assert heads == {"qoe.v1/nf1/video/": 2, "change.v1/nf1/": 1, "purge.v1/nf1/": 1}

    def test_followed_streams_and_imsis_are_in_none(self, publish: Any, ask: Any) -> None:
        publisher = publish()
        publisher.publish_subscriber("ab", records(1, 1), flows(1), 0, 1)
        publisher.publish_imsis({"001010000000001": "ab"}, 1.0)
        publisher.publish(batch())
        assert sent(publisher, 4)

        told = ask(publisher.snapshot_endpoint, b"", b"imsi.v1/", b"sub.v1/nf1/ab/")

        assert {m.topic.partition("/")[0] for m in told} <= {"qoe.v1", "health.v1", "snapshot.v1"}
        assert not any(t.startswith(("sub", "imsi")) for t in told[-1].columns["topic"])

    def test_nothing_was_sent_yet(self, publish: Any, ask: Any) -> None:
        (end,) = ask(publish().snapshot_endpoint, b"qoe.v1/")
        assert (end.header.rows, end.columns["topic"]) == (0, [])

    @pytest.mark.parametrize(
        "question", [[b"x"], [b"snapshot.v1"], [b"snapshot.v2", b""], [b"snapshot.v1"] + [b""] * 65]
    )
    def test_what_is_no_question_is_counted_and_the_next_one_answered(
        self, question: list[bytes], publish: Any, ask: Any
    ) -> None:
        publisher = publish()
        context: zmq.Context[Any] = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        dealer.connect(publisher.snapshot_endpoint)
        dealer.send_multipart(question)
        assert eventually(lambda: publisher.counters["foreign_messages"] == 1)
        context.destroy(linger=0)
        assert ask(publisher.snapshot_endpoint, b"qoe.v1/")

    def test_a_client_that_does_not_read_holds_nobody_up(self, publish: Any, ask: Any) -> None:
        publisher = publish()
        noise = np.random.default_rng(1)
        names = [noise.bytes(16).hex() for _ in range(50_000)]
        head = Header("snf.qoe.v1", "nf1", "boot", 0, 0, 1)
        frames = encode(b"qoe.v1/nf1/video/", head, {"subscriber": names})
        kept = MOST_BYTES // sum(map(len, frames))  # 16 MB are more than what sockets buffer
        for _ in range(kept):
            publisher._bus.state.keep(frames, time.monotonic())
        context: zmq.Context[Any] = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        dealer.rcvhwm = 1
        dealer.connect(publisher.snapshot_endpoint)
        dealer.send_multipart([b"snapshot.v1", b"qoe.v1/"])
        assert eventually(lambda: publisher._bus.desks[""].busy)

        assert len(ask(publisher.snapshot_endpoint, b"qoe.v1/")) == kept + 1
        assert publisher.age_s is not None
        context.destroy(linger=0)

    def test_the_program_of_the_document_reads_it(self, publish: Any, tmp_path: Path) -> None:
        _, program = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
        publisher = publish()
        publisher.publish(batch())
        assert sent(publisher, 1)
        assert "tcp://127.0.0.1:5557" in program
        text = "import msgpack, zmq\n" + program.replace("tcp://127.0.0.1:5557", publisher.snapshot_endpoint)

        done = subprocess.run(
            [sys.executable, "-I", "-c", text], capture_output=True, text=True, timeout=60, check=True
        )

        topic, seq, size = done.stdout.split()
        assert (topic, seq, int(size) > 100) == ("qoe.v1/nf1/video/", "0", True)


def replace_names(records: Any, names: list[str]) -> Any:
    records.columns["subscriber"] = names
    return records


class TestRights:
    """A key gets what it may subscribe to, and nothing by another way."""

    CURVE = Curve(
        SERVER[1],
        SERVER[0],
        consumers=(
            Consumer(ALICE[0], Rights(("qoe.v1/nf1/video/",), follow=True, imsi=True)),
            Consumer(BOB[0], Rights(("qoe.v1/",), follow=False)),
        ),
    )

    def talk(self, publisher: Publisher) -> None:
        for app_class in ("video", "voice"):
            publisher.publish(batch(app_class=app_class))
        publisher.publish_purge({"0" * 32: 3}, "purge", 1.0)
        assert sent(publisher, 3)

    @pytest.mark.parametrize("asked", [b"", b"q", b"qoe.v1/", b"qoe.v1/nf1/video/"])
    def test_one_class(self, asked: bytes, publish: Any, ask: Any) -> None:
        publisher = publish(curve=self.CURVE)
        self.talk(publisher)
        *messages, end = ask(publisher.snapshot_endpoint, asked, b"purge.v1/", b"qoe.v1/nf1/voice/", pair=ALICE)
        assert [m.topic for m in messages] == ["qoe.v1/nf1/video/"]
        assert end.columns["topic"] == ["qoe.v1/nf1/video/"]

    def test_all_records_and_what_is_about_them(self, publish: Any, ask: Any) -> None:
        publisher = publish(curve=self.CURVE)
        self.talk(publisher)
        *messages, _ = ask(publisher.snapshot_endpoint, b"", pair=BOB)
        assert {m.topic for m in messages} == {"qoe.v1/nf1/video/", "qoe.v1/nf1/voice/", "purge.v1/nf1/"}

    def test_a_key_that_is_not_on_the_list_is_refused_at_the_handshake(self, publish: Any) -> None:
        publisher = publish(curve=self.CURVE)
        with Subscriber(publisher.endpoint, ["qoe.v1/"], CurveKeys(SERVER[0], *EVE)) as bus:
            bus.snapshot(publisher.snapshot_endpoint)
            assert eventually(lambda: bus.receive(0.01) is None and publisher.status()["clients_refused"] >= 2)
        assert publisher.places()[""].snapshots == 0

    def test_rights_that_are_taken_hold_for_a_connection_that_was_there(self, publish: Any) -> None:
        publisher = publish(curve=self.CURVE)
        self.talk(publisher)
        context: zmq.Context[Any] = zmq.Context()
        dealer = context.socket(zmq.DEALER)
        dealer.linger, dealer.rcvtimeo = 0, round(10_000 * slowness())
        dealer.curve_serverkey, dealer.curve_publickey, dealer.curve_secretkey = map(str.encode, (SERVER[0], *BOB))
        dealer.connect(publisher.snapshot_endpoint)

        def topics() -> set[str]:
            dealer.send_multipart([b"snapshot.v1", b"qoe.v1/"])
            told = [decode(dealer.recv_multipart())]
            while not told[-1].topic.startswith("snapshot.v1/"):
                told.append(decode(dealer.recv_multipart()))
            return {m.topic for m in told[:-1]}

        try:
            assert len(topics()) == 2
            less = Curve(SERVER[1], SERVER[0], consumers=(Consumer(BOB[0], Rights(("health.v1/",))),))
            place = publisher.snapshot_endpoint
            publisher.reconfigure(Export(WILD, curve=less, snapshot_endpoint=WILD))
            assert publisher.snapshot_endpoint == place
            assert topics() == set()
        finally:
            context.destroy(linger=0)


class TestConsumer:
    """The state comes first, then what is newer; nothing twice, and a message that is missing shows."""

    def test_the_state_and_then_the_feed(self, publish: Any) -> None:
        publisher = publish()
        for seed in range(3):
            publisher.publish(batch(seed=seed))
        assert sent(publisher, 3)
        with Subscriber(publisher.endpoint, ["qoe.v1/"]) as bus:
            assert eventually(lambda: publisher.subscriptions == 2)
            publisher.publish(batch(seed=3))  # it comes by both ways
            assert sent(publisher, 4)
            bus.snapshot(publisher.snapshot_endpoint)
            past = [bus.receive(5) for _ in range(4)]
            publisher.publish(batch(seed=4))
            live = bus.receive(5)

            assert [m.header.seq for m in past if m] == [0, 1, 2, 3]
            assert live is not None
            assert (live.header.seq, bus.gaps, bus._late is not None) == (4, 0, False)

    def test_what_was_lost_between_the_state_and_the_feed_is_a_gap(self, publish: Any) -> None:
        publisher = publish()
        publisher.publish(batch())
        assert sent(publisher, 1)
        with Subscriber(publisher.endpoint, ["qoe.v1/"]) as bus:
            assert eventually(lambda: publisher.subscriptions == 2)
            bus.snapshot(publisher.snapshot_endpoint)
            assert bus.receive(5)
            assert eventually(lambda: bus.receive(0.01) is None and bus._late is None)
            publisher._bus.heads[b"qoe.v1/nf1/video/"] += 2  # as if two had been dropped on the way
            publisher.publish(batch())
            assert bus.receive(5)
            assert bus.gaps == 2

    @pytest.mark.parametrize("place", ["tcp://127.0.0.1:1", "nonsense", ""])
    def test_where_nobody_answers_the_feed_goes_on(self, place: str, publish: Any) -> None:
        publisher = publish()
        with Subscriber(publisher.endpoint, ["qoe.v1/"]) as bus:
            assert eventually(lambda: publisher.subscriptions == 2)
            bus.snapshot(place)
            publisher.publish(batch())
            message = bus.receive(10)
            assert message is not None
            assert (message.header.seq, bus.gaps) == (0, 0)

    def test_with_keys(self, publish: Any) -> None:
        publisher = publish(curve=TestRights.CURVE)
        publisher.publish(batch())
        assert sent(publisher, 1)
        with Subscriber(publisher.endpoint, ["qoe.v1/nf1/video/"], CurveKeys(SERVER[0], *ALICE)) as bus:
            bus.snapshot(publisher.snapshot_endpoint)
            assert bus.receive(10)

    @pytest.mark.parametrize(
        ("endpoint", "place"),
        [
            ("tcp://192.0.2.1:5556", "tcp://192.0.2.1:5557"),
            ("tcp://[2001:db8::1]:5556", "tcp://[2001:db8::1]:5557"),
            ("ipc:///run/snf/bus", "ipc:///run/snf/bus.snapshot"),
            ("tcp://192.0.2.1:65535", ""),
        ],
    )
    def test_by_custom_it_is_beside_the_endpoint(self, endpoint: str, place: str) -> None:
        assert beside(endpoint) == place


class TestChanges:
    """The place of snapshots comes and goes with the configuration, wholly or not at all."""

    def test_what_nobody_hears_is_made_where_snapshots_are_given_alone(self, publish: Any) -> None:
        publisher = publish(snapshot_endpoint="")
        publisher.publish(batch())
        assert sent(publisher, 1)
        assert publisher._bus.state is None
        publisher.reconfigure(Export(WILD, batch_rows=1, snapshot_endpoint=WILD))
        publisher.publish(batch())
        assert eventually(lambda: publisher._bus.state.octets > 1000)
        publisher.reconfigure(Export(WILD, batch_rows=1))
        assert publisher._bus.state is None
        assert publisher.snapshot_endpoint == ""

    def test_a_port_that_is_taken_leaves_it_as_it_was(self, publish: Any, ask: Any) -> None:
        publisher, other = publish(), publish()
        with pytest.raises(SnfError, match="cannot bind"):
            publisher.reconfigure(Export(WILD, snapshot_endpoint=other.snapshot_endpoint))
        assert ask(publisher.snapshot_endpoint, b"qoe.v1/")

    def test_each_place_has_its_own(self, publish: Any, ask: Any) -> None:
        publisher = publish(snapshot_endpoint="", further=(Listener("far", WILD, snapshot_endpoint=WILD),))
        publisher.publish(batch())
        assert sent(publisher, 1)
        assert len(ask(publisher._bus.desks["far"].endpoint, b"qoe.v1/")) == 2
        assert eventually(lambda: publisher.places()["far"].snapshots == 1)

    def test_another_name_of_the_function_is_another_feed(self, publish: Any, ask: Any) -> None:
        publisher = publish()
        publisher.publish(batch())
        assert sent(publisher, 1)
        publisher.rename("nf2")
        publisher.publish(batch())
        assert sent(publisher, 2)
        assert [m.topic for m in ask(publisher.snapshot_endpoint, b"qoe.v1/")[:-1]] == ["qoe.v1/nf2/video/"]


def frames(topic: bytes = b"qoe.v1/nf1/video/", seq: int = 0, size: int = 100) -> list[bytes]:
    return [topic, b"", bytes(size - len(topic))] if seq < 0 else [topic, b"%d" % seq, bytes(size - len(topic))]


class TestBound:
    """The messages that are kept are bounded in time and in bytes, whatever is published."""

    def test_records_leave_after_their_time(self) -> None:
        state = State()
        state.keep(frames(seq=0), 0.0)
        state.keep(frames(seq=1), WINDOW_S - 1)
        assert len(list(state.messages([b"qoe.v1/"], WINDOW_S - 1))) == 2
        assert [f[1] for f in state.messages([b"qoe.v1/"], WINDOW_S + 1)] == [b"1"]

    def test_bytes_of_all_topics_together(self) -> None:
        state = State()
        for seq in range(3 * MOST_BYTES // 100_000):
            state.keep(frames(b"qoe.v1/nf1/%d/" % (seq % 5), seq, 100_000), 0.0)
        assert 0.9 * MOST_BYTES < state.octets <= MOST_BYTES

    def test_other_topics_have_bounds_of_their_own(self) -> None:
        state = State()
        for seq in range(100):
            state.keep(frames(b"health.v1/nf1/", seq), 0.0)
            state.keep(frames(b"change.v1/nf1/", seq), 0.0)
            state.keep(frames(b"purge.v1/nf1/", seq, 100_000), 0.0)
        late_s = 1e6
        assert [f[1] for f in state.messages([b"health.v1/"], late_s)] == [b"99"]
        assert len(list(state.messages([b"change.v1/"], late_s))) == 16
        assert len(list(state.messages([b"purge.v1/"], late_s))) == (4 << 20) // 100_000


class TestForgotten:
    """Of a subscriber who is to be forgotten there is no row in a snapshot, and others stay."""

    @pytest.mark.parametrize("name", ["0123456789abcdef" * 2, "ue-" + "ab" * 16, "Harbour office", "g" * 32])
    def test_rows_go_and_the_number_of_the_message_stays(self, name: str, publish: Any, ask: Any) -> None:
        publisher = publish()
        names = batch(3).columns["subscriber"]
        publisher.publish(replace_names(batch(3), [names[0], name, names[2]]))
        publisher.publish(replace_names(batch(1), [name]))
        publisher.publish(batch(3))
        publisher.publish_purge({name: 0}, "purge", 1.0)
        assert sent(publisher, 4)

        messages = ask(publisher.snapshot_endpoint, b"qoe.v1/")[:-1]

        assert [(m.header.seq, m.header.rows) for m in messages] == [(0, 2), (1, 0), (2, 3)]
        assert messages[0].columns["subscriber"] == [names[0], names[2]]
        whole = decode(encode(b"qoe.v1/nf1/video/", Header("snf.qoe.v1", "nf1", "", 0, 0, 1), batch(3).columns))
        assert messages[0].columns["mos"].tolist() == whole.columns["mos"][[0, 2]].tolist()

    def test_an_opt_out_in_bulk_empties_it(self, publish: Any, ask: Any) -> None:
        publisher = publish()
        publisher.publish(batch(3))
        publisher.publish_purge({f"{n:032x}": 0 for n in range(1000)}, "opt-out", 1.0)
        assert sent(publisher, 2)
        assert [m.topic for m in ask(publisher.snapshot_endpoint, b"qoe.v1/", b"purge.v1/")] == [
            "purge.v1/nf1/",
            "snapshot.v1/nf1/",
        ]
