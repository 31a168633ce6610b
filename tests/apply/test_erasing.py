"""Consumers are told whose records to erase: names under each key that there is, and nothing that tells an IMSI."""

from __future__ import annotations

import hmac
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
import zmq

from feed.wire import decode
from nf.apply.privacy import to_erase
from nf.privacy import Pseudonymiser
from nf.publish import Publisher
from nf.settings import Export, Privacy, Settings
from tests.feed.samples import batch, eventually

ALICE, BOB = "001010000000001", "001010000000002"
NOW, BEFORE = b"n" * 32, b"b" * 32


def by_hand(key: bytes, imsi: str) -> str:
    """Return the name by its definition (docs/feed.md, Who is who)."""
    return hmac.new(key, imsi.encode(), "sha256").hexdigest()[:32]


class TestNames:
    """A subscriber has a name under each key, also when he has opted out and no record says it any more."""

    @pytest.mark.parametrize("opted_out", [(), (ALICE,)])
    def test_under_both_keys_with_their_epochs(self, opted_out):
        names = Pseudonymiser(NOW, 7, BEFORE, opted_out).names(ALICE)
        assert names == {by_hand(NOW, ALICE): 7, by_hand(BEFORE, ALICE): 6}

    def test_under_the_one_key(self):
        assert Pseudonymiser(NOW, 0).names(ALICE) == {by_hand(NOW, ALICE): 0}

    def test_under_a_random_key_the_name_that_records_had(self):
        random = Pseudonymiser(b"", 0)
        assert random.names(ALICE) == {random.name(ALICE): 0}


class TestOptOut:
    """A change of the configuration tells those who are new in the list, under the keys before and after it."""

    OLD, NEW = (Settings(privacy=Privacy(NOW, 7, opted_out=out)) for out in ((ALICE,), (ALICE, BOB)))

    def test_who_was_in_it_is_not_told_again(self):
        before, now = Pseudonymiser(NOW, 7, opted_out=(ALICE,)), Pseudonymiser(NOW, 7, opted_out=(ALICE, BOB))
        assert to_erase(self.OLD, self.NEW, before, now) == {by_hand(NOW, BOB): 7}
        assert to_erase(self.NEW, self.OLD, now, before) == {}

    def test_a_key_that_goes_with_the_same_change(self):
        before, now = Pseudonymiser(BEFORE, 6), Pseudonymiser(NOW, 7, opted_out=(BOB,))
        before.name(BOB)
        assert to_erase(self.OLD, self.NEW, before, now) == {by_hand(BEFORE, BOB): 6, by_hand(NOW, BOB): 7}

    def test_at_a_start_all_of_them_and_not_under_a_key_that_nobody_saw(self):
        before, now = Pseudonymiser(b"", 0), Pseudonymiser(NOW, 7, opted_out=(ALICE, BOB))
        names = to_erase(Settings(), self.NEW, before, now)
        assert names == {by_hand(NOW, imsi): 7 for imsi in (ALICE, BOB)}


@pytest.fixture
def publisher():
    made = Publisher(Export(endpoint="tcp://127.0.0.1:*", batch_ms=3_600_000), "nf1")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def sub(publisher):
    context: zmq.Context[Any] = zmq.Context()
    made = context.socket(zmq.SUB)
    made.linger, made.rcvtimeo = 0, 20_000
    made.connect(publisher.endpoint)
    for topic in ("qoe.v1/", "purge.v1/"):
        made.subscribe(topic)
    assert eventually(lambda: publisher.subscriptions == 2)
    yield made
    context.destroy(linger=0)


class TestOnTheBus:
    """The rows that waited go first, so that a consumer who erases has erased all of it."""

    def test_rows_that_wait_go_before_the_word(self, publisher, sub):
        publisher.publish(batch(5))
        publisher.publish_purge({"b" * 32: 6, "a" * 32: 7}, "opt-out", 1_785_000_000.0004)

        first, second = (decode(sub.recv_multipart()) for _ in range(2))
        assert (first.topic, first.header.rows) == ("qoe.v1/nf1/video/", 5)
        assert (second.topic, second.header.schema) == ("purge.v1/nf1/", "snf.purge.v1")
        assert {name: list(column) for name, column in second.columns.items()} == {
            "t_ms": [1_785_000_000_001] * 2,
            "subscriber": ["b" * 32, "a" * 32],
            "epoch": [6, 7],
            "why": ["opt-out"] * 2,
        }

    def test_the_order_of_names_says_nothing(self, publisher, sub):
        names = {by_hand(NOW, str(10**14 + n)): 7 for n in range(100)}
        publisher.publish_purge(names, "opt-out", 0)
        assert decode(sub.recv_multipart()).columns["subscriber"] == sorted(names)

    def test_nobody_to_erase_is_no_message(self, publisher, sub):
        publisher.publish_purge({}, "opt-out", 0)
        publisher.publish_purge({"a" * 32: 0}, "purge", 0)
        assert msgpack.unpackb(sub.recv_multipart()[1])["seq"] == 0

    def test_no_message_has_names_of_two_epochs(self, publisher, sub):
        publisher.publish(batch(5))
        publisher.named_by(7)
        publisher.publish(batch(4))
        publisher.flush()

        headers = [decode(sub.recv_multipart()).header for _ in range(2)]
        assert [(header.rows, header.epoch) for header in headers] == [(5, 0), (4, 7)]
