"""Kills, program swaps and changes of signatures for minutes under load: every byte is told, and no flow pauses."""

from __future__ import annotations

import pytest

from tests.live.steady import change_signatures, kill, swap
from tests.live.test_nothing_lost import assert_all_is_told

KILLS, SWAPS, CHANGES = 20, 30, 40


class TestNothingLost:
    """The same as in `make test`, again and again with one table."""

    @pytest.mark.timeout(1200)
    def test_functions_that_are_killed_one_after_the_other(self):
        seen = kill(KILLS)

        told = sum(seen.told.record_bytes.values())
        print(f"\n{KILLS} kills, {seen.sent_bytes:,} bytes: {told:,} told, the others passed while no function ran")
        assert_all_is_told(seen)
        assert len(set(seen.boots)) == KILLS + 1
        assert 0 < told < seen.sent_bytes

    @pytest.mark.timeout(1200)
    def test_programs_that_are_swapped_at_full_speed(self):
        seen = swap(SWAPS)

        print(f"\n{SWAPS} swaps, {seen.counts['frames']:,} frames, {seen.sent_bytes:,} bytes, all told")
        assert_all_is_told(seen)
        assert seen.told.record_bytes[seen.boots[0]] == seen.sent_bytes

    @pytest.mark.timeout(1200)
    def test_signatures_that_are_changed(self):
        names = [f"name-{n}" if n % 3 else "" for n in range(CHANGES)]
        seen = change_signatures(names)

        print(f"\n{CHANGES} changes, {seen.sent_bytes:,} bytes, all told")
        assert_all_is_told(seen)
        assert seen.told.record_bytes[seen.boots[0]] == seen.sent_bytes
        last = seen.apps_after(seen.times_ms[-1], float("inf"))
        assert set().union(*last) == {names[-1]}
