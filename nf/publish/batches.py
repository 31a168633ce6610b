"""Rows of one class, collected until a message is worth sending: one of 100 rows costs a third of 100 messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from feed.records import Columns, RecordBatch

__all__ = ["Batches"]


@dataclass(slots=True)
class _Waiting:
    since_s: float  # start of the first interval, by the clock of the batches
    arrived_s: float  # arrival of the first part, by the clock of the caller
    parts: list[RecordBatch] = field(default_factory=list)
    rows: int = 0


class Batches:
    """Collection of rows by class; rows that are due are merged, returned and forgotten. Not thread-safe.

    Age is counted by the batches' own times, so that a replay batches as the live function did.
    """

    def __init__(self, batch_rows: int, batch_ms: int) -> None:
        self.batch_rows, self.batch_ms = batch_rows, batch_ms
        self._waiting: dict[str, _Waiting] = {}

    def __len__(self) -> int:
        """Return the number of rows that wait."""
        return sum(w.rows for w in self._waiting.values())

    def add(self, batch: RecordBatch, arrived_s: float = 0.0) -> list[RecordBatch]:
        """Take *batch* and return the batches now due: full ones, and those of any class that are old by its end."""
        if len(batch):
            waiting = self._waiting.setdefault(batch.app_class, _Waiting(batch.t_start_s, arrived_s))
            waiting.parts.append(batch)
            waiting.rows += len(batch)
        age_s = self.batch_ms / 1e3
        return self._take(
            c for c, w in self._waiting.items() if w.rows >= self.batch_rows or batch.t_end_s - w.since_s >= age_s
        )

    def expire(self, now_s: float) -> list[RecordBatch]:
        """Return the rows that arrived ``batch_ms`` ago or earlier: without traffic no batch moves the clock."""
        return self._take(c for c, w in self._waiting.items() if now_s - w.arrived_s >= self.batch_ms / 1e3)

    def due_s(self, now_s: float) -> float | None:
        """Return the time until the first rows leave, at the latest; None when none wait."""
        since_s = min((w.arrived_s for w in self._waiting.values()), default=None)
        return None if since_s is None else max(0.0, since_s + self.batch_ms / 1e3 - now_s)

    def flush(self) -> list[RecordBatch]:
        """Return all rows that wait."""
        return self._take(iter(self._waiting))

    def _take(self, due: Iterator[str]) -> list[RecordBatch]:
        return [_merge(app_class, self._waiting.pop(app_class).parts) for app_class in list(due)]


def _merge(app_class: str, parts: list[RecordBatch]) -> RecordBatch:
    merged: dict[str, Any] = {}
    for name, first in parts[0].columns.items():
        columns = [p.columns[name] for p in parts]
        if isinstance(first, list):
            merged[name] = [value for column in columns for value in column]
        else:
            merged[name] = np.concatenate([np.asarray(c) for c in columns])
    return RecordBatch(app_class, min(p.t_start_s for p in parts), max(p.t_end_s for p in parts), merged)


def split(columns: Columns, rows: int) -> Iterator[Columns]:
    """Yield *columns* in pieces of at most *rows* rows."""
    length = len(next(iter(columns.values()), ()))
    for at in range(0, length, rows):
        yield {name: column[at : at + rows] for name, column in columns.items()}
