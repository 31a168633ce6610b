"""Scores are counted by class and interval, for the classes that have a threshold."""

from __future__ import annotations

import numpy as np

from feed.records import RecordBatch
from nf.apply.quality import Quality, Scores
from nf.settings import QoeThreshold, Settings

VIDEO = QoeThreshold("video", 3.5)


def batch(app_class: str, *mos: float) -> RecordBatch:
    return RecordBatch(app_class, 0.0, 1.0, {"mos": np.array(mos, np.float32)})


class TestCounts:
    """A subscriber without a score is neither good nor bad."""

    def test_of_the_interval_that_ended(self):
        quality = Quality()
        quality.apply(Settings(), Settings(thresholds=(VIDEO,)))
        quality.see(batch("video", 4.2, 3.4, np.nan))
        quality.see(batch("video", 1.0))  # rows without a packet come in a batch of their own
        quality.see(batch("gaming", 1.0))
        assert quality.last == {}

        quality.turn()
        assert quality.last == {"video": Scores(VIDEO, 3, 2)}

        quality.turn()
        assert quality.last == {"video": Scores(VIDEO, 0, 0)}

    def test_records_without_a_score(self):
        quality = Quality()
        quality.apply(Settings(), Settings(thresholds=(VIDEO,)))
        quality.see(RecordBatch("video", 0.0, 1.0, {"ul_bytes": np.array([1])}))
        quality.turn()
        assert quality.last == {"video": Scores(VIDEO, 0, 0)}


class TestChange:
    """Counts by another threshold say nothing of the new one, and a refused change is undone."""

    def test_a_threshold_that_changes_or_goes(self):
        quality, old = Quality(), Settings(thresholds=(VIDEO,))
        quality.apply(Settings(), old)
        quality.turn()

        undo = quality.apply(old, Settings(thresholds=(QoeThreshold("video", 3.0), QoeThreshold("web", 3.0))))
        assert quality.last == {}
        quality.turn()
        assert quality.last.keys() == {"video", "web"}

        undo()
        quality.see(batch("video", 3.2))
        quality.turn()
        assert quality.last == {"video": Scores(VIDEO, 1, 1)}
