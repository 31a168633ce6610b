"""The pictures of ``snf watch`` and ``snf top``, drawn from values."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from feed import wire
from feed.records import Columns
from mgmt.cli.board import Board, bar, rate, screen, short
from tests.feed.samples import flows, records


def message(columns: Columns, topic: str = "qoe.v1/nf1/video/", schema: str = "snf.qoe.v1") -> wire.Message:
    """Return a message as it comes off the bus."""
    return wire.decode(wire.encode(topic.encode(), wire.Header(schema, "nf1", "b", 0, 0, 1), columns))


def one(subscriber: str, mos: float, t_ms: int = 0, **more: Any) -> dict[str, Any]:
    """Return one record."""
    columns = records(1, 1) | {"subscriber": [subscriber], "mos": np.array([mos]), "t_ms": np.array([t_ms], np.uint64)}
    return columns | {n: [v] if isinstance(v, str) else np.array([v]) for n, v in more.items()}


def drawn(board: Board, worst_first: bool = False, height: int = 40, note: str = "", width: int = 100) -> list[str]:
    """Return the lines of the picture on a terminal of 100 columns."""
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False).print(screen(board, 0.0, worst_first, height, note))
    return [line.rstrip() for line in out.getvalue().splitlines()]


class TestRate:
    """A rate has at most six characters."""

    @pytest.mark.parametrize(
        ("bps", "text"),
        [
            (None, "-"),
            (0, "0"),
            (999, "999"),
            (1000, "1.0 k"),
            (99_949, "99.9 k"),
            (99_960, "100 k"),
            (999_600, "1.0 M"),
            (12.34e6, "12.3 M"),
            (3e9, "3.0 G"),
            (250e9, "250 G"),
        ],
    )
    def test_it_has_a_unit_that_fits(self, bps: float | None, text: str) -> None:
        assert rate(bps) == text
        assert len(text) <= 6


class TestShort:
    """A subscriber is told by the beginning of its pseudonym, and before it how little of an unknown one is known."""

    def test_a_pseudonym_is_cut(self) -> None:
        assert short("0123456789abcdef0123456789abcdef") == "01234567"

    @pytest.mark.parametrize("kind", ["ue-", "teid-"])
    def test_an_unknown_one_keeps_its_kind(self, kind: str) -> None:
        assert short(f"{kind}0123456789abcdef0123456789abcdef") == f"{kind}01234567"

    def test_no_escape_sequence_reaches_the_terminal(self) -> None:
        assert "\x1b" not in short("\x1b[2J")


class TestBar:
    """A bar is higher for a better score, and coloured by the limits of G.107."""

    def test_its_height_is_the_score(self) -> None:
        assert bar([1, 3, 5]).plain == "▁▅█"

    def test_an_unknown_score_is_a_dot(self) -> None:
        assert bar([None, 5]).plain == "·█"

    @pytest.mark.parametrize(("mos", "colour"), [(4.03, "green"), (4.02, "yellow"), (3.10, "yellow"), (3.09, "red")])
    def test_its_colour_is_by_satisfaction(self, mos: float, colour: str) -> None:
        assert colour in str(bar([mos]).spans[0].style)


class TestBoard:
    """One row for each subscriber and application, with its last record and the scores before it."""

    def test_the_last_record_counts_and_the_scores_are_kept(self) -> None:
        board = Board()
        for second, mos in enumerate((4.5, 3.0, 1.0)):
            board.feed(message(one("aa", mos, second)), 0)

        (row,) = board.fresh(0)
        assert row.record["mos"] == 1.0
        assert list(row.scores) == [4.5, 3.0, 1.0]

    def test_a_batch_of_several_seconds_is_taken_in_their_order(self) -> None:
        first, second = one("aa", 4.0, 1000), one("aa", 2.0, 2000)
        columns: dict[str, Any] = {
            n: second[n] + first[n] if isinstance(first[n], list) else np.concatenate([second[n], first[n]])
            for n in first
        }
        board = Board()
        board.feed(message(columns), 0)

        assert list(board.fresh(0)[0].scores) == [4.0, 2.0]

    def test_the_worst_comes_first_and_the_unknown_last(self) -> None:
        board = Board()
        for name, mos in (("aa", 4.5), ("bb", np.nan), ("cc", 1.5)):
            board.feed(message(one(name, mos)), 0)

        assert [r.record["subscriber"] for r in board.fresh(0, worst_first=True)] == ["cc", "aa", "bb"]
        assert [r.record["subscriber"] for r in board.fresh(0)] == ["aa", "bb", "cc"]

    def test_who_is_heard_no_more_is_forgotten(self) -> None:
        board = Board()
        board.feed(message(one("aa", 4.5)), 0)
        board.feed(message(one("bb", 4.5)), 20)

        assert [r.record["subscriber"] for r in board.fresh(40)] == ["bb"]

    def test_a_heartbeat_is_no_row(self) -> None:
        board = Board()
        board.feed(message({"topic": ["a"]}, "health.v1/nf1/", "snf.health.v1"), 0)

        assert board.fresh(0) == []

    def test_it_says_how_many_sessions_began_before_the_function(self) -> None:
        beat = {"topic": ["a"], "sessions": np.array([5], np.uint64), "partial_sessions": np.array([0], np.uint64)}
        board = Board()
        board.feed(message(beat, "health.v1/nf1/", "snf.health.v1"), 0)
        assert board.banner == ""

        beat["partial_sessions"] = np.array([3], np.uint64)
        board.feed(message(beat, "health.v1/nf1/", "snf.health.v1"), 1)
        assert board.banner.startswith("3 of 5 sessions began before the function")

    def test_columns_of_other_types_are_shown_as_missing(self) -> None:
        board = Board()
        board.feed(message({"subscriber": ["aa"], "mos": ["high"], "ul_bps": ["fast"], "loss_dl": ["much"]}), 0)
        board.feed(message({"remote": ["x"], "qfi": ["y"]}, "sub.v1/nf1/aa/", "snf.flow.v1"), 0)

        assert any("aa" in line for line in drawn(board))


class TestScreen:
    """The picture fits a terminal of 100 columns."""

    def test_a_record_is_one_line_with_what_an_operator_asks_for(self) -> None:
        board = Board()
        for second, mos in enumerate((4.6, 4.4, 2.21)):
            board.feed(
                message(
                    one(
                        "0123456789abcdef0123456789abcdef",
                        mos,
                        second,
                        app="youtube",
                        interval_ms=1000,
                        ul_bps=120e3,
                        dl_bps=4.5e6,
                        rtt_access_ms=83.4,
                        rtt_core_ms=12.0,
                        loss_ul=0.0,
                        loss_dl=0.031,
                        suspect="access",
                    )
                ),
                0,
            )

        (line,) = [line for line in drawn(board) if "01234567" in line]
        cells = "01234567 youtube video 120 k 4.5 M 83 12 3.1% 2.21 ▇▇▃ access"
        assert line.split() == cells.split()

    def test_long_names_make_no_line_longer_than_the_terminal(self) -> None:
        board = Board()
        for i in range(3):
            board.feed(
                message(one(f"teid:2001:db8:ffff:ffff::{i}:0x0000000c", 3.3, app="a-very-long-application-name" * 3)), 0
            )
        board.feed(message(flows(5) | {"name": ["x" * 200] * 5}, "sub.v1/nf1/aa/", "snf.flow.v1"), 0)

        lines = drawn(board)

        assert max(map(len, lines)) <= 100
        assert sum("teid" in line or "0x0000000c" in line for line in lines) == 3

    @pytest.mark.parametrize(
        ("width", "heads"),
        [
            (80, "subscriber application down MOS suspect what happened"),
            (100, "subscriber application down access MOS suspect what happened"),
            (120, "subscriber application class down access loss MOS suspect what happened"),
            (160, "subscriber application class up down access core loss MOS suspect what happened"),
        ],
    )
    def test_a_narrow_terminal_shows_what_happened_before_other_columns(self, width: int, heads: str) -> None:
        board = Board()
        happened = {"stalled_s": 1.0, "video_height": 1080.0, "media_bps": 4.2e6, "buffer_s": 0.0}
        board.feed(message(one("aa", 1.0, app="youtube", suspect="access", **happened)), 0)
        board.feed(message(one("ab", 4.0, **{"class": "conferencing"}, fps=30.0), "qoe.v1/nf1/conferencing/"), 0)

        lines = drawn(board, width=width)

        assert [line.split() for line in lines if "MOS" in line] == [heads.split()]
        assert any("stalled 1.0 s, 1080p, 4.200 Mbit/s" in line for line in lines)
        assert any(line.endswith("30 fps") for line in lines)
        assert max(map(len, lines)) <= width

    def test_a_row_without_a_name_is_told_by_its_class(self) -> None:
        board = Board()
        board.feed(message(one("aa", 4.0, app="", video_height=720.0)), 0)

        assert any("(video)" in line for line in drawn(board, width=80))

    def test_a_mark_of_a_change_stands_below(self) -> None:
        mark = {"t_ms": np.array([1_785_000_000_000], np.uint64), "text": ["new \x1b[2Jrelease"], "who": ["anna"]}
        board = Board()
        board.feed(message(mark, "change.v1/nf1/", "snf.change.v1"), 0)

        assert board.banner.endswith("anna marked: new ?[2Jrelease")
        assert board.fresh(0) == []

    @pytest.mark.parametrize("height", [12, 24, 50])
    def test_what_does_not_fit_is_counted(self, height: int) -> None:
        board = Board()
        for i in range(60):
            board.feed(message(one(f"{i:032x}", 4.0)), 0)

        lines = drawn(board, height=height, note="a note")

        shown = sum("youtube" in line or "▇" in line or "▆" in line for line in lines)
        assert len(lines) <= height
        assert any(f"and {60 - shown} more rows" in line for line in lines)

    def test_the_flows_of_a_followed_subscriber_stand_below_the_largest_first(self) -> None:
        board = Board()
        board.feed(message(one("aa", 4.0)), 0)
        columns = flows(2) | {"name": ["small.example", "large.example"], "dl_bytes": np.array([10, 10_000_000])}
        board.feed(message(columns, "sub.v1/nf1/aa/", "snf.flow.v1"), 0)

        text = "\n".join(drawn(board))

        assert 0 < text.index("large.example") < text.index("small.example")
        assert "203.0.113.7:443" in text

    def test_a_name_from_the_network_cannot_write_on_the_terminal(self) -> None:
        board = Board()
        board.feed(message(one("aa", 4.0, app="[b]x[/b]\x1b]0;title\x07")), 0)

        text = "\n".join(drawn(board))

        assert "\x1b" not in text
        assert "[b]x[/b]" in text
