"""A function whose subscribers are spread over two shards, under load: one feed, and the end of a shard is told."""

from __future__ import annotations

from tests.live.flood import KNOWN
from tests.live.steady import change_signatures, kill, kill_shards
from tests.live.test_nothing_lost import assert_all_is_told


class TestShards:
    """The tests of one process, with two."""

    def test_names_change_at_once_and_each_byte_is_in_a_record(self):
        seen = change_signatures(["one", ""], shards=2)

        assert_all_is_told(seen)
        assert seen.told.record_bytes[seen.boots[0]] == seen.sent_bytes
        assert seen.misnamed(["one", ""]) == []

    def test_another_function_takes_over(self):
        seen = kill(1, shards=2)

        assert_all_is_told(seen)

    def test_a_shard_that_is_killed_comes_again(self):
        seen = kill_shards(2)
        (boot,) = seen.boots

        assert seen.counts["counted_octets"] == seen.counts["flow_octets"] == seen.sent_bytes
        assert seen.told.lost == 0  # the numbers of each topic go on
        assert seen.told.record_bytes[boot] + seen.left_out(boot) == seen.sent_bytes
        # A busy machine may not send to all in one interval; in the last few there were all of them.
        last = sorted(end for _, end in seen.told.by_interval)[-5:]
        assert max(sum(n > 0 for n in seen.told.by_interval[boot, end].values()) for end in last) == KNOWN
