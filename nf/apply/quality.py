"""Scores of an interval against the thresholds of alarms: how many of a class there are, and how many are bad."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from feed.records import RecordBatch
from nf.apply.transaction import Undo
from nf.settings import QoeThreshold, Settings

__all__ = ["Quality", "Scores"]


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of a class in an interval, those below its threshold, and that threshold."""

    threshold: QoeThreshold
    scores: int
    bad: int


class Quality:
    """The counts of the classes that have a threshold. Records come from one thread, thresholds from any."""

    def __init__(self) -> None:
        self._thresholds: dict[str, QoeThreshold] = {}
        self._scores: Counter[str] = Counter()
        self._bad: Counter[str] = Counter()
        self.last: Mapping[str, Scores] = {}  # of the interval that ended last, by class

    def apply(self, _old: Settings, new: Settings) -> Undo:
        """Count by the thresholds of *new* from now on."""
        before = self._thresholds
        self._use({each.app_class: each for each in new.thresholds})
        return lambda: self._use(before)

    def _use(self, thresholds: dict[str, QoeThreshold]) -> None:
        self._thresholds = thresholds
        self.last = {name: scores for name, scores in self.last.items() if thresholds.get(name) == scores.threshold}

    def see(self, batch: RecordBatch) -> None:
        """Count the scores of some records of the interval."""
        threshold = self._thresholds.get(batch.app_class)
        if threshold is None or "mos" not in batch.columns:
            return
        scores = np.asarray(batch.columns["mos"], np.float64)
        self._scores[batch.app_class] += int(np.isfinite(scores).sum())
        self._bad[batch.app_class] += int((scores < threshold.score).sum())  # not of what has no score

    def turn(self) -> None:
        """End the interval."""
        self.last = {name: Scores(each, self._scores[name], self._bad[name]) for name, each in self._thresholds.items()}
        self._scores.clear()
        self._bad.clear()
