"""The facts of a session follow from a player's own account."""

from __future__ import annotations

from typing import Any

from lab.truth.account import segments, stalls, startup, summary

T0 = 1_000.0


def told(*plays: tuple[float, float]) -> list[dict[str, Any]]:
    """Return the account of a player: (seconds of the clock, speed of the position) one after the other."""
    said: list[dict[str, Any]] = [{"t": T0 - 1, "event": "load"}]
    said.append({"t": T0 - 0.2, "event": "fetched", "path": "/m.mpd", "begin": T0 - 0.9})
    said.append({"t": T0, "event": "first frame", "at": 0.0})
    now, at = T0, 0.0
    for seconds, speed in plays:
        for _ in range(round(seconds * 4)):
            now, at = now + 0.25, at + 0.25 * speed
            sample = {"t": now, "at": at, "buffer_s": 1.0, "shown": 480, "paused": False, "late_ms": 0}
            said.append(sample)
    return said


class TestStalls:
    """A stall is time in which the position stands although nobody paused."""

    def test_play_without_a_stand_has_none(self) -> None:
        assert stalls(told((20, 1))) == []

    def test_a_stand_has_its_begin_and_end(self) -> None:
        assert stalls(told((10, 1), (4, 0), (10, 1))) == [(T0 + 10, T0 + 14)]

    def test_a_begin_between_two_samples_is_told_by_the_content_shown(self) -> None:
        """Content of 0.1 s is shown after the last moving sample: the stall begins so much after it."""
        said = told((10, 1), (4, 0), (5, 1))
        for sample in said:
            if "buffer_s" in sample and sample["t"] > T0 + 10:
                sample["at"] += 0.1
        assert stalls(said)[0] == (T0 + 10.1, T0 + 14)

    def test_one_that_lasts_ends_with_the_account(self) -> None:
        assert stalls(told((10, 1), (4, 0))) == [(T0 + 10, T0 + 14)]

    def test_two_in_a_row_do_not_overlap(self) -> None:
        said = told((10, 1), (4, 0), (0.25, 0.2), (3, 0), (5, 1))
        found = stalls(said)
        assert len(found) == 2
        assert found[0][1] <= found[1][0]

    def test_a_pause_and_a_seek_are_none(self) -> None:
        paused = told((10, 1), (4, 0), (10, 1))
        for sample in paused:
            if "buffer_s" in sample and T0 + 10 <= sample["t"] < T0 + 14.1:
                sample["paused"] = True
        assert stalls(paused) == []
        sought = told((10, 1), (4, 0), (10, 1))
        sought.append({"t": T0 + 10.1, "event": "seeking"})
        assert stalls(sorted(sought, key=lambda s: s["t"])) == []


class TestSummary:
    """A session has a start-up from its first request, a ratio of stalls, and levels by time."""

    def test_startup_counts_from_the_first_request(self) -> None:
        assert startup(told((5, 1)))["startup_s"] == 0.9

    def test_nothing_is_known_before_the_first_picture(self) -> None:
        assert startup([{"t": T0, "event": "load"}])["startup_s"] is None

    def test_ratio_is_stalled_of_stalled_and_watched(self) -> None:
        found = summary(told((6, 1), (2, 0), (2, 1)), [])
        assert abs(found["stall_ratio"] - 0.2) < 0.01
        assert found["shown_s"].keys() == {"480"}

    def test_segments_have_level_octets_and_content(self) -> None:
        entry = {"path": "/content/x-4/s2-17.m4s", "begin": 1.0, "request": 1.1, "first": 1.2, "end": 1.3}
        level = {"id": 2, "height": 360, "bps": 600_000, "segment_s": 4}
        found = segments([{**entry, "octets": 300_000, "protocol": "h2"}], [level])
        assert (found[0]["height"], found[0]["number"], found[0]["content_s"]) == (360, 17, 4)
