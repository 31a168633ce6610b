"""Published records of a replay, kept and written as rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from feed.records import Columns, RecordBatch

__all__ = ["Collector", "record_rows"]


class Collector:
    """A sink that keeps the batches it is given."""

    def __init__(self) -> None:
        self.batches: list[RecordBatch] = []

    def records(self, batch: RecordBatch) -> None:
        """Keep one batch."""
        self.batches.append(batch)

    def followed(self) -> frozenset[str]:
        """Return nobody: a replay follows no subscriber."""
        return frozenset()

    def detail(self, subscriber: str, records: Columns, flows: Columns, t_start_s: float, t_end_s: float) -> None:
        """Do nothing: without followed subscribers no detail comes."""


def record_rows(batches: Sequence[RecordBatch]) -> Iterator[dict[str, Any]]:
    """Yield one mapping a record: its class, then the columns of feed.records."""
    for batch in batches:
        columns = {n: c if isinstance(c, list) else c.tolist() for n, c in batch.columns.items()}
        for values in zip(*columns.values(), strict=True):
            yield {"class": batch.app_class, **dict(zip(columns, values, strict=True))}
