"""Rows of wanted keys in a sorted column."""

from __future__ import annotations

import numpy as np

from nf.flows.search import at, values_at

KEYS = np.array([2, 5, 9], np.uint64)


def wanted(*keys: int) -> np.ndarray:
    return np.array(keys, np.uint64)


class TestAt:
    """The row of each wanted key, and whether it is there."""

    def test_keys_that_are_there_in_any_order(self) -> None:
        rows, known = at(KEYS, wanted(9, 2, 5, 2))

        assert (rows.tolist(), known.tolist()) == ([2, 0, 1, 0], [True] * 4)

    def test_keys_below_between_and_above_are_not_there_and_their_rows_can_be_read(self) -> None:
        rows, known = at(KEYS, wanted(0, 3, 7, 100))

        assert not known.any()
        assert len(KEYS[rows]) == 4

    def test_of_equal_keys_the_first(self) -> None:
        assert at(wanted(1, 4, 4, 4), wanted(4))[0].tolist() == [1]

    def test_nothing_is_in_no_keys(self) -> None:
        rows, known = at(KEYS[:0], wanted(2, 5))

        assert (rows.tolist(), known.tolist()) == ([0, 0], [False, False])

    def test_nothing_wanted(self) -> None:
        rows, known = at(KEYS, wanted())

        assert len(rows) == len(known) == 0


class TestValuesAt:
    """The value beside each wanted key, of the column's type."""

    def test_known_and_missing(self) -> None:
        found = values_at(KEYS, np.array([20, 50, 90], np.uint16), wanted(9, 3, 2))

        assert found.tolist() == [90, 0, 20]
        assert found.dtype == np.uint16

    def test_what_stands_for_missing(self) -> None:
        found = values_at(KEYS, np.array([20, 50, 90], np.float32), wanted(3, 5), np.nan)

        assert np.isnan(found[0])
        assert found[1] == 50
        assert found.dtype == np.float32

    def test_both_directions_at_once(self) -> None:
        values = np.array([[1, 2], [3, 4], [5, 6]], np.uint32)

        assert values_at(KEYS, values, wanted(5, 6)).tolist() == [[3, 4], [0, 0]]

    def test_of_no_keys_all_are_missing(self) -> None:
        assert values_at(KEYS[:0], np.zeros((0, 2), np.uint32), wanted(5)).tolist() == [[0, 0]]
        assert np.isnan(values_at(KEYS[:0], np.zeros(0, np.float32), wanted(5), np.nan)).all()
