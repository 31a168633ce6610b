"""Each message that is missing is told once, and no other."""

from __future__ import annotations

import json

import pytest

from history.collect.sequences import Gap, Sequences

TOPIC, HEALTH = "qoe.v1/nf1/video/", "health.v1/nf1/"


def come(sequences: Sequences, *seqs: int, boot: str = "a", topic: str = TOPIC) -> list[bool]:
    """Have messages come; say of each whether it was new."""
    return [sequences.come("nf1", boot, topic, n, (1000 * n, 1000 * n + 999), 5_000_000, "lost") for n in seqs]


def beat(sequences: Sequences, boot: str = "a", **heads: int) -> None:
    """Have a heartbeat come, with heads by class."""
    named = [(f"qoe.v1/nf1/{app_class}/", head) for app_class, head in heads.items()]
    sequences.heartbeat("nf1", boot, named, 900_000, 5_000_000, "lost")


def told(sequences: Sequences) -> list[tuple[int, int, str]]:
    """Return first number, messages and reason of each gap."""
    return [(gap.seq, gap.messages, gap.why) for gap in sequences.take_gaps()]


class TestFirstContact:
    """Messages from before anybody listened are no loss."""

    @pytest.mark.parametrize("first", [0, 57])
    def test_the_first_message_is_the_begin(self, first: int) -> None:
        sequences = Sequences()
        assert come(sequences, first, first + 1) == [True, True]
        assert told(sequences) == []

    def test_a_topic_that_begins_after_the_first_heartbeat_is_missed_from_there_on(self) -> None:
        sequences = Sequences()
        beat(sequences, video=5)
        come(sequences, 8)
        come(sequences, 2, topic="qoe.v1/nf1/web/")
        assert told(sequences) == [(5, 3, "lost"), (0, 2, "lost")]


class TestLoss:
    """A jump of the sequence, and a head that nothing followed, are told as what they are."""

    def test_a_jump_is_told_with_what_is_around_it(self) -> None:
        sequences = Sequences()
        come(sequences, 3, 7)
        assert sequences.take_gaps() == [Gap("nf1", "a", 4, 5_000_000, TOPIC, 3, 3999, 7000, "lost")]

    def test_a_loss_at_the_end_of_a_topic_is_told_by_the_heartbeat_and_not_again(self) -> None:
        sequences = Sequences()
        come(sequences, 3)
        beat(sequences, video=6)
        beat(sequences, video=6)
        come(sequences, 6)
        assert told(sequences) == [(4, 2, "lost")]

    def test_what_comes_twice_is_no_second_time_new(self) -> None:
        sequences = Sequences()
        assert come(sequences, 3, 4, 4, 3) == [True, True, False, False]
        assert told(sequences) == []

    def test_a_topic_that_this_key_never_got_is_no_loss(self) -> None:
        sequences = Sequences()
        come(sequences, 0)
        beat(sequences, video=1, web=10)
        beat(sequences, video=1, web=900)
        assert told(sequences) == []

    def test_one_that_a_snapshot_said_to_be_readable_is_one(self) -> None:
        sequences = Sequences()
        beat(sequences, web=3)
        sequences.may_read("nf1", "a", ["qoe.v1/nf1/web/"], 5_000_000)
        beat(sequences, web=10)
        assert told(sequences) == [(3, 7, "lost")]

    def test_messages_of_who_is_to_be_erased_are_counted_apart(self) -> None:
        sequences = Sequences()
        come(sequences, 0, 2)
        assert (sequences.lost, sequences.lost_purges) == (1, 0)
        come(sequences, 0, 3, topic="purge.v1/nf1/")
        assert (sequences.lost, sequences.lost_purges) == (3, 2)

    def test_whom_to_erase_is_a_loss_though_nothing_of_it_ever_came(self) -> None:
        sequences = Sequences()
        for head in (4, 6):
            sequences.heartbeat("nf1", "a", [("purge.v1/nf1/", head)], 900_000, 5_000_000, "lost")
        assert told(sequences) == [(4, 2, "lost")]

    def test_a_function_that_was_silent_is_told_with_the_time(self) -> None:
        sequences = Sequences()
        come(sequences, 0)
        sequences.silent("nf1", 100, 200)
        assert sequences.take_gaps() == [Gap("nf1", "a", 0, 200, HEALTH, 0, 100, 200, "silent")]


class TestRestart:
    """Another boot is a restart, and its messages count from the first on."""

    def test_it_is_told_once_and_is_no_loss(self) -> None:
        sequences = Sequences()
        come(sequences, 41, 42)
        come(sequences, 0, 1, boot="b")
        assert told(sequences) == [(0, 0, "restart")]
        assert sequences.restarts == 1

    def test_what_the_new_boot_published_before_it_was_heard_is_missing(self) -> None:
        sequences = Sequences()
        come(sequences, 41)
        come(sequences, 3, boot="b")
        assert told(sequences) == [(0, 0, "restart"), (0, 3, "lost")]

    def test_a_topic_that_came_from_the_boot_before_is_missed_by_the_heartbeat_alone(self) -> None:
        sequences = Sequences()
        come(sequences, 41)
        beat(sequences, boot="b", video=2)
        assert told(sequences) == [(0, 0, "restart"), (0, 2, "lost")]

    def test_two_functions_of_one_name_are_told_apart(self) -> None:
        sequences = Sequences()
        come(sequences, 5)
        come(sequences, 0, boot="b")
        come(sequences, 6)
        come(sequences, 1, boot="b")
        assert told(sequences) == [(0, 0, "restart")]


class TestKept:
    """A collector that starts anew knows what it had, and tells what it missed meanwhile."""

    def again(self, sequences: Sequences) -> Sequences:
        """Return what another process has of it."""
        other = Sequences()
        other.restore(json.loads(json.dumps(sequences.kept())))
        return other

    def test_what_was_published_meanwhile_is_missing(self) -> None:
        sequences = Sequences()
        come(sequences, 3)
        later = self.again(sequences)
        come(later, 9)
        assert told(later) == [(4, 5, "lost")]

    def test_what_it_has_already_is_not_new(self) -> None:
        sequences = Sequences()
        come(sequences, 3)
        assert come(self.again(sequences), 3) == [False]

    def test_what_may_be_read_is_known_though_nothing_of_it_came(self) -> None:
        sequences = Sequences()
        sequences.may_read("nf1", "a", ["qoe.v1/nf1/web/"], 5_000_000)
        beat(sequences, web=3)
        later = self.again(sequences)
        beat(later, web=5)
        assert told(later) == [(3, 2, "lost")]

    def test_a_function_that_was_just_met_is_still_being_met(self) -> None:
        sequences = Sequences()
        come(sequences, 3)
        later = self.again(sequences)
        come(later, 77, topic="qoe.v1/nf1/web/")
        assert told(later) == []

    @pytest.mark.parametrize(
        "junk", [[], {"nf1": 3}, {"nf1": {"a": {}}}, {"nf1": {"a": {"settled": 1, "heard_ms": "x"}}}]
    )
    def test_a_state_that_is_none_is_refused(self, junk: object) -> None:
        with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
            Sequences().restore(junk)  # type: ignore[arg-type]
