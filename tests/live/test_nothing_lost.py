"""Whatever happens to a function under load, it tells of every byte that it could read, and no flow seems to pause."""

from __future__ import annotations

from tests.live.flood import KNOWN
from tests.live.full_table import PACKET_BYTES
from tests.live.steady import Outcome, change_signatures, kill, swap


def assert_all_is_told(seen: Outcome) -> None:
    """All frames passed, each flow is the one that it was, and the last process tells of all that it could read."""
    counts, last = seen.counts, seen.boots[-1]
    assert seen.arrived_bytes == seen.sent_bytes == counts["counted_octets"] == counts["flow_octets"]
    assert counts["flow_new"] == counts["flows"] == KNOWN
    assert seen.told.lost == 0
    assert seen.told.record_bytes[last] + seen.left_out(last) == seen.sent_bytes - counts["begun_octets"]
    assert [flaw for boot in seen.boots for flaw in seen.flaws(boot)] == []


class TestKill:
    """SIGKILL, frames that nobody reads, and a function that takes over."""

    def test_flows_go_on_and_no_interval_is_without_one_of_them(self):
        seen = kill(1)

        assert_all_is_told(seen)
        first, second = (seen.told.record_bytes[boot] for boot in seen.boots)
        assert 0 < first < seen.counts["begun_octets"]  # what passed meanwhile is in the counters, in no interval
        assert second > 0

    def test_flows_that_were_leaving_are_not_told_twice(self):
        seen = kill(1, leaving=True)

        first, second = seen.boots
        told = seen.told.record_bytes
        assert told[first] + told[second] + seen.left_out(second) < seen.sent_bytes
        assert told[second] + seen.left_out(second) == seen.sent_bytes - seen.counts["begun_octets"]


class TestSwap:
    """Programs that take each other's place while frames pass at the full speed of a processor."""

    def test_counted_is_what_was_sent(self):
        seen = swap(3)

        assert_all_is_told(seen)
        assert seen.counts["frames"] == seen.counts["redirected"] == seen.arrived_bytes // PACKET_BYTES
        assert seen.told.record_bytes[seen.boots[0]] == seen.sent_bytes


class TestSignatures:
    """Other signatures while flows go on."""

    def test_names_change_at_once_and_bytes_do_not(self):
        names = ["one", "another", ""]
        seen = change_signatures(names)

        assert_all_is_told(seen)
        assert seen.told.record_bytes[seen.boots[0]] == seen.sent_bytes
        assert seen.misnamed(names) == []
