"""The judges of labelled sets: what is counted as right, and which sets may judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.truth import absent, lab, lab_sets, lab_talks, lab_video
from bench.truth.lab_sets import LabSet


def second(end_s: float, seconds: float) -> lab_sets.Row:
    return {"end_s": end_s, "interval_ms": 1000, "stalled_s": seconds}


def labelled(seed: int, load: lab_sets.Row | None = None) -> LabSet:
    made = LabSet(Path(f"video-{seed}"), "video", seed, void=False, begin_s=0.0)
    made.__dict__["conditions"] = {"load": load or {}}
    return made


class TestStalls:
    """A stall is the seconds in which the picture stood, joined; it is right when both ends are near."""

    def test_seconds_that_follow_each_other_are_one_stall(self):
        rows = [second(11, 0.4), second(12, 1.0), second(13, 0.3), second(14, 0.0), second(20, 0.5)]

        assert lab_video.spans(rows, "stalled_s") == [pytest.approx((10.6, 12.3)), pytest.approx((19.5, 20.0))]

    def test_a_stall_counts_once_and_only_when_both_ends_are_near(self):
        true = [(10.0, 20.0), (40.0, 50.0)]
        told = [(12.5, 21.5), (40.0, 53.0), (10.5, 20.0)]

        assert lab_video.matched(true, told, 3.0, 2.0) == 1


class TestFreezes:
    """A picture is frozen when it stood three usual distances and 150 ms more than one (webrtc-stats, freezeCount)."""

    def test_a_gap_of_half_a_second_at_30_frames_a_second(self):
        times = [i / 30 for i in range(30)] + [1.5 + i / 30 for i in range(30)]
        told = [{"pictures": [[t, 0, 0] for t in times]}]

        assert lab_talks.frozen(told) == [pytest.approx((30 / 30, 1.5))]

    def test_two_distances_are_none(self):
        times = [i / 30 for i in range(60) if i != 20]

        assert lab_talks.frozen([{"pictures": [[t, 0, 0] for t in times]}]) == []


class TestSets:
    """Sets for fitting judge only where there are no others; late seconds are known in both forms of a load."""

    def test_sets_to_judge_by_come_first(self):
        fitted, judged = labelled(1001), labelled(2001)

        assert lab.chosen([fitted, judged]) == [judged]
        assert lab.chosen([fitted, judged], fit=True) == [fitted]
        assert lab.chosen([fitted]) == [fitted]

    def test_the_note_says_which(self):
        assert "sets to judge by: seeds 2001" in lab_sets.said([labelled(2001)])
        assert "of development" in lab_sets.said([labelled(1001)])

    @pytest.mark.parametrize(
        "load",
        [
            {"path": {"over_limit": [100], "worst_ms": 9.0}},
            {"worst_ms_by_second": {"99": 4.9, "100": 5.1}, "limit_ms": 5.0, "over_limit": 1},
        ],
    )
    def test_a_second_beside_a_late_one_is_not_timely(self, load):
        some = labelled(2001, load)

        assert [end for end in range(97, 105) if not some.timely(end)] == [100, 101, 102]

    def test_no_set_is_no_figure(self, tmp_path):
        assert lab.figures(tmp_path) == []


class TestRowsWithoutData:
    """A goal that no data at hand can judge stands in the table as not measured, until something measures it."""

    def test_each_has_a_reason_and_no_value(self):
        rows = [row.row() for row in absent.missing([])]

        assert all(row["value"] is None and not row["met"] and row["note"] for row in rows)

    def test_one_that_is_measured_is_not_among_them(self):
        first = absent.ABSENT[0].name

        assert first not in [row.name for row in absent.missing([first])]
