"""Buckets of a distribution: a value comes back from its bucket as near as sixteen buckets a power of two can tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feed.buckets import UNITS, middle, number


class TestBucket:
    """Whole numbers have a bucket each up to 15; above, a bucket is a sixteenth of its power of two."""

    @pytest.mark.parametrize(
        ("value", "bucket"), [(0, 0), (15, 15), (16, 16), (31, 31), (32, 32), (33, 32), (34, 33), (63, 47), (64, 48)]
    )
    def test_its_number(self, value, bucket):
        assert number(np.array([value]), "byte").tolist() == [bucket]

    @given(st.floats(16, 2**40))
    def test_the_middle_is_within_three_percent(self, value):
        assert middle(number(np.array([value]), "byte"), "byte")[0] == pytest.approx(value, rel=1 / 32 + 1 / 16 / 16)

    @given(st.floats(0, 1e12), st.floats(0, 1e12))
    def test_order_is_kept(self, one, two):
        buckets = number(np.sort([one, two]), "byte")

        assert buckets[0] <= buckets[1]

    @given(st.integers(0, 600))
    def test_the_middle_of_a_bucket_lies_in_it(self, bucket):
        assert number(middle(np.array([bucket]), "byte"), "byte").tolist() == [bucket]

    @pytest.mark.parametrize("bucket", [16, 17, 31, 32, 100, 335])
    def test_it_begins_where_the_page_of_the_feed_says(self, bucket):
        s = bucket // 16 - 1
        begin = (bucket - 16 * s) << s

        assert number(np.array([begin, begin + (1 << s) - 1, begin + (1 << s)]) / 1e3, "ms").tolist() == [
            bucket,
            bucket,
            bucket + 1,
        ]

    def test_delays_are_known_to_the_microsecond_from_the_start(self):
        assert middle(number(np.array([0.003, 0.010]), "ms"), "ms") == pytest.approx([0.003, 0.010])


class TestScore:
    """A score is known to a tenth."""

    @pytest.mark.parametrize(("score", "tenth"), [(1.0, 10), (4.1, 41), (4.19, 41), (5.0, 50), (2.3, 23), (4.6, 46)])
    def test_its_number(self, score, tenth):
        assert number(np.array([score]), "1..5").tolist() == [tenth]


def test_each_unit_of_a_record_that_is_counted_is_known():
    from history.tables import MEASURES, TABLES

    assert {TABLES["records"][name].unit for name in MEASURES} <= UNITS.keys()
