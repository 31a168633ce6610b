"""The time at which a batch leaves: by rows, by age, or on demand."""

from __future__ import annotations

import numpy as np

from feed.records import RecordBatch
from nf.publish.batches import Batches, split


def interval(t_s: float, rows: int = 3, app_class: str = "video") -> RecordBatch:
    """Return one second of records whose numbers begin at the time."""
    return RecordBatch(
        app_class, t_s, t_s + 1, {"x": np.arange(rows) + int(t_s), "who": [f"{t_s:.0f}-{i}" for i in range(rows)]}
    )


class TestBatches:
    """Rows of a class wait until there are enough of them or the first is old, by the clock of the batches."""

    def test_a_batch_leaves_when_it_has_the_rows(self) -> None:
        batches = Batches(batch_rows=7, batch_ms=60_000)

        left = [batches.add(interval(t)) for t in range(3)]

        assert [len(b) for b in left] == [0, 0, 1]
        assert left[2][0].columns["x"].tolist() == [0, 1, 2, 1, 2, 3, 2, 3, 4]  # type: ignore[union-attr]
        assert left[2][0].columns["who"] == [f"{t}-{i}" for t in range(3) for i in range(3)]
        assert (left[2][0].t_start_s, left[2][0].t_end_s) == (0, 3)
        assert len(batches) == 0

    def test_a_batch_leaves_when_its_first_row_is_old(self) -> None:
        batches = Batches(batch_rows=1000, batch_ms=3000)

        left = [len(batches.add(interval(t))) for t in range(5)]

        assert left == [0, 0, 1, 0, 0]

    def test_a_class_that_went_silent_leaves_with_the_time_of_another(self) -> None:
        batches = Batches(batch_rows=1000, batch_ms=3000)
        batches.add(interval(0, app_class="voice"))

        left = batches.add(interval(4, app_class="video"))

        assert [b.app_class for b in left] == ["voice"]

    def test_classes_are_not_mixed(self) -> None:
        batches = Batches(batch_rows=4, batch_ms=60_000)
        batches.add(interval(0, app_class="voice"))

        assert batches.add(interval(0, app_class="video")) == []
        assert len(batches) == 6

    def test_without_any_traffic_the_clock_of_the_caller_counts(self) -> None:
        batches = Batches(batch_rows=1000, batch_ms=3000)
        batches.add(interval(0), arrived_s=100)

        assert batches.expire(102.9) == []
        assert len(batches.expire(103)) == 1
        assert batches.expire(200) == []

    def test_it_says_when_the_first_rows_leave(self) -> None:
        batches = Batches(batch_rows=1000, batch_ms=3000)
        assert batches.due_s(100) is None

        batches.add(interval(0, app_class="voice"), arrived_s=100)
        batches.add(interval(0, app_class="video"), arrived_s=102)

        assert [batches.due_s(now_s) for now_s in (100.5, 104)] == [2.5, 0]

    def test_flush_takes_everything(self) -> None:
        batches = Batches(batch_rows=1000, batch_ms=60_000)
        batches.add(interval(0, app_class="voice"))
        batches.add(interval(0, app_class="video"))

        assert sorted(b.app_class for b in batches.flush()) == ["video", "voice"]
        assert batches.flush() == []

    def test_an_empty_batch_waits_for_nobody(self) -> None:
        batches = Batches(batch_rows=1, batch_ms=1)

        assert batches.add(interval(0, rows=0)) == []
        assert batches.flush() == []


class TestSplit:
    """A very large batch becomes several messages."""

    def test_no_row_is_lost_or_doubled(self) -> None:
        pieces = list(split(interval(0, rows=10).columns, 4))

        assert [len(p["x"]) for p in pieces] == [4, 4, 2]
        assert [v for p in pieces for v in p["who"]] == [f"0-{i}" for i in range(10)]
