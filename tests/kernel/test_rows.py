"""Copying rows of structures: as numpy indexes, field for field."""

from __future__ import annotations

import numpy as np
import pytest

from nf.kernel.rows import copied, joined, rows_at

PART = np.dtype([("low", "u2"), ("high", "u1", 3)])
TYPE = np.dtype([("number", "u8"), ("part", PART, 2), ("bytes", "u1", 7), ("rate", "f4")])  # no multiple of 8 bytes


@pytest.fixture(params=["whole", "every third", "a field of others"])
def table(request: pytest.FixtureRequest) -> np.ndarray:
    """Return 40 rows of random bytes, in one piece of memory or with gaps between them."""
    raw = np.random.default_rng(1).integers(0, 256, 120 * TYPE.itemsize, np.uint8).view(TYPE)
    raw["rate"] = np.arange(120)  # no NaN, which is equal to nothing
    if request.param == "whole":
        return raw[:40].copy()
    if request.param == "every third":
        return raw[::3]
    entries = np.zeros(40, [("length", "u4"), ("record", TYPE)])
    entries["record"] = raw[:40]
    return entries["record"]


class TestRowsAt:
    """The same rows as ``table[rows]``."""

    @pytest.mark.parametrize("rows", [[], [0], [39, 0, 39], [-1, -40], list(range(40))])
    def test_by_index(self, table: np.ndarray, rows: list[int]) -> None:
        at = np.array(rows, np.intp)

        assert rows_at(table, at).tobytes() == table[at].tobytes()

    def test_by_mask(self, table: np.ndarray) -> None:
        for mask in (np.arange(40) % 3 == 0, np.zeros(40, bool), np.ones(40, bool)):
            assert rows_at(table, mask).tobytes() == table[mask].tobytes()

    @pytest.mark.parametrize("row", [40, -41])
    def test_a_row_that_is_not_there_is_an_error(self, table: np.ndarray, row: int) -> None:
        with pytest.raises(IndexError):
            rows_at(table, np.array([row]))

    def test_they_are_a_copy(self, table: np.ndarray) -> None:
        before = table.tobytes()
        for mine in (rows_at(table, np.arange(40)), copied(table), joined([table])):
            mine["number"] += 1
            mine["part"]["low"] += 1

        assert table.tobytes() == before


class TestWhole:
    """Copies and joins keep order and type."""

    def test_a_copy(self, table: np.ndarray) -> None:
        assert copied(table).tobytes() == table.tobytes()
        assert copied(table).dtype == TYPE

    def test_several_tables(self, table: np.ndarray) -> None:
        found = joined([table[:3], table[:0], table[10:12]])

        assert found.tobytes() == table[:3].tobytes() + table[10:12].tobytes()
        assert found.dtype == TYPE
