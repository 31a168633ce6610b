"""Scores of records that the function makes of a capture are counted against the thresholds of alarms."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from nf.apply.quality import Quality
from nf.settings import QoeThreshold, Settings


def test_a_call_with_losses_is_below_the_threshold_and_counted_row_by_row(replay, shared: Path):
    thresholds = tuple(QoeThreshold(name, 3.5, 10, 1) for name in ("conferencing", "voice", "gaming"))
    quality = Quality()
    quality.apply(Settings(), Settings(thresholds=thresholds))
    scores: Counter[str] = Counter()
    bad: Counter[str] = Counter()

    for batch in replay(shared / "cases" / "rtp_burst_loss_90.pcap").batches:
        quality.see(batch)
        for mos in batch.columns.get("mos", ()):
            scores[batch.app_class] += not math.isnan(mos)
            bad[batch.app_class] += mos < 3.5
    quality.turn()

    told = {name: (seen.scores, seen.bad) for name, seen in quality.last.items()}
    assert told == {name: (scores[name], bad[name]) for name in ("conferencing", "voice", "gaming")}
    assert sum(bad[name] for name in told) > 0, "the capture has a call with losses"
