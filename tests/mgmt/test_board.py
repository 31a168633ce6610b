"""The pictures of ``snf watch`` and ``snf top``, drawn from values."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import pytest
from rich.text import Text

from feed import wire
from feed.records import Columns
from mgmt.cli.board import Board
from mgmt.cli.cells import bar, labels, rate
from mgmt.cli.layout import Column, Layout
from mgmt.cli.picture import screen
from mgmt.cli.view import View
from tests.feed.samples import flows, records


def message(columns: Columns, topic: str = "qoe.v1/nf1/video/", schema: str = "snf.qoe.v1") -> wire.Message:
    """Return a message as it comes off the bus."""
    return wire.decode(wire.encode(topic.encode(), wire.Header(schema, "nf1", "b", 0, 0, 1), columns))


def one(subscriber: str, mos: float, t_ms: int = 0, **more: Any) -> dict[str, Any]:
    """Return one record."""
    columns = records(1, 1) | {"subscriber": [subscriber], "mos": np.array([mos]), "t_ms": np.array([t_ms], np.uint64)}
    return columns | {n: [v] if isinstance(v, str) else np.array([v]) for n, v in more.items()}


_PLAIN = View()


def drawn(
    board: Board, view: View = _PLAIN, height: int | None = 40, note: str = "", width: int | None = 100
) -> list[str]:
    """Return the lines of the picture on a terminal of 100 columns, or of a file (None)."""
    return [line.plain for line in screen(board, 0.0, view, width=width, height=height, notes=[note])]


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


class TestLabels:
    """A subscriber is told by as much of its key as tells it from the others, and by what says that it is unknown."""

    def test_a_pseudonym_has_its_first_eight_digits(self) -> None:
        assert labels(["0123456789abcdef0123456789abcdef"]) == {"0123456789abcdef0123456789abcdef": "01234567"}

    def test_it_has_more_where_another_begins_alike(self) -> None:
        keys = ["0123456789abcdef0123456789abcdef", "01234567899bcdef0123456789abcdef", "f" * 32]

        assert [labels(keys)[key] for key in keys] == ["0123456789a", "01234567899", "ffffffff"]

    @pytest.mark.parametrize("kind", ["ue-", "teid-", "line-"])
    def test_an_unknown_one_keeps_its_kind(self, kind: str) -> None:
        key = f"{kind}0123456789abcdef0123456789abcdef"

        assert labels([key, "0" * 32])[key] == f"{kind}01234567"

    def test_a_name_that_somebody_gave_is_whole(self) -> None:
        assert labels(["hospital-north", "hospital-north-2"]) == {
            "hospital-north": "hospital-north",
            "hospital-north-2": "hospital-north-2",
        }

    def test_of_a_long_one_the_middle_is_left_out_unless_that_is_the_difference(self) -> None:
        alike = [f"{'a' * 30}{n}{'b' * 30}" for n in range(3)]

        found = labels([*alike, "x" * 20 + "y" * 20])

        assert found["x" * 20 + "y" * 20] == "x" * 11 + "…" + "y" * 12
        assert len({found[key] for key in alike}) == 3

    @pytest.mark.parametrize("seed", range(20))
    def test_no_two_keys_share_one(self, seed: int) -> None:
        r = np.random.default_rng(seed)
        digits = ["".join(r.choice([*"0123456789abcdef"[: 1 + seed % 3]], 32)) for _ in range(200)]
        keys = {*digits, *(f"teid-{d}" for d in digits), *(d[:20] for d in digits), *(f"{d}-x{d}" for d in digits)}

        found = labels(keys)

        assert found.keys() == keys
        assert len({*found.values()}) == len(keys)

    def test_no_escape_sequence_reaches_the_terminal(self) -> None:
        assert "\x1b" not in labels(["\x1b[2J"])["\x1b[2J"]


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

        assert [r.record["subscriber"] for r in board.fresh(0, "score")] == ["cc", "aa", "bb"]
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
                        gnb="",
                        slice="",
                    )
                ),
                0,
            )

        (line,) = [line for line in drawn(board) if "01234567" in line]
        cells = f"01234567 youtube video {datetime.fromtimestamp(0):%H:%M:%S} 120 k 4.5 M 83 12 3.1% 2.21 ▇▇▃ access"
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
            (100, "subscriber application down access MOS scores suspect what happened"),
            (120, "subscriber application class down access loss MOS scores suspect what happened"),
            (
                160,
                "subscriber application class gNB slice time up down access core loss MOS scores suspect what happened",
            ),
            (
                None,
                "subscriber function application class gNB slice time up down access core loss MOS scores suspect "
                "what happened",
            ),
        ],
    )
    def test_a_narrow_terminal_shows_what_happened_before_other_columns(self, width: int | None, heads: str) -> None:
        board = Board()
        happened = {"stalled_s": 1.0, "video_height": 1080.0, "media_bps": 4.2e6, "buffer_s": 0.0}
        board.feed(message(one("aa", 1.0, app="youtube", suspect="access", **happened)), 0)
        board.feed(message(one("ab", 4.0, **{"class": "conferencing"}, fps=30.0), "qoe.v1/nf1/conferencing/"), 0)

        lines = drawn(board, width=width)

        assert [line.split() for line in lines if "MOS" in line] == [heads.split()]
        assert any("stalled 1.0 s, 1080p, 4.200 Mbit/s" in line for line in lines)
        assert any(line.endswith("30 fps") for line in lines)
        assert width is None or max(map(len, lines)) <= width

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

    def test_a_file_is_as_wide_as_the_rows_and_has_no_blank_at_the_end_of_a_line(self) -> None:
        board = Board()
        board.feed(message(one("0123456789abcdef" * 2, 4.0, app="a-very-long-application-name" * 3)), 0)

        lines = drawn(board, width=None, height=None)

        assert any("0123456789abcdef" * 2 in line and "a-very-long-application-name" * 3 in line for line in lines)
        assert lines == [line.rstrip() for line in lines]

    def test_whole_keys_are_shown_on_request_and_keys_that_begin_alike_stay_apart(self) -> None:
        board, keys = Board(), ["a" * 31 + "1", "a" * 31 + "2", "b" * 32]
        for key in keys:
            board.feed(message(one(key, 4.0)), 0)

        short, whole = drawn(board, width=80), drawn(board, View(whole=True), width=80)

        assert [line.split()[0] for line in short if line.startswith((" aaa", " bbb"))] == [*keys[:2], "bbbbbbbb"]
        assert [line.split()[0] for line in whole if line.startswith((" aaa", " bbb"))] == keys

    def test_several_functions_have_a_column(self) -> None:
        board = Board()
        board.feed(message(one("aa", 4.0)), 0)
        assert not any("function" in line for line in drawn(board))
        other = wire.Header("snf.qoe.v1", "upf-east", "b", 0, 0, 1)
        board.feed(wire.decode(wire.encode(b"qoe.v1/upf-east/video/", other, one("aa", 3.0))), 0)

        lines = drawn(board, width=72)

        assert any("function" in line for line in lines)
        assert [line.split()[:2] for line in lines if line.startswith(" aa")] == [["aa", "nf1"], ["aa", "upf-east"]]
        assert "   nf1, upf-east   2 rows, 1 subscriber" in f"  {lines[0]}"


class TestOrder:
    """Rows have an order that a person asks for; rows without the value come last."""

    @pytest.mark.parametrize(
        ("sort", "column", "values", "order"),
        [
            ("score", "mos", (4.0, np.nan, 2.0), "cab"),
            ("down", "dl_bps", (1e3, 5e6, 2e6), "bca"),
            ("access", "rtt_access_ms", (np.nan, 10.0, 20.0), "cba"),
            ("loss", "loss_dl", (0.9, 0.95, np.nan), "bac"),
            ("application", "app", ("x", "", "a"), "cab"),
            ("gnb", "gnb", ("192.0.2.9", "192.0.2.1", ""), "bac"),
        ],
    )
    def test_it_is_by_a_column(self, sort: str, column: str, values: Any, order: str) -> None:
        board = Board()
        for name, found in zip("abc", values, strict=True):
            more = {"loss_ul": np.nan} if sort == "loss" and np.isnan(found) else {"loss_ul": 0.0}
            more = {column: found} if column == "mos" else more | {"mos": 3.0, column: found}
            board.feed(message(one(name, more.pop("mos"), **more)), 0)

        assert "".join(row.subscriber for row in board.fresh(0, sort)) == order

    def test_groups_stand_together_under_a_heading_with_their_mean(self) -> None:
        board = Board()
        for name, app_class, mos in (("a", "web", 4.0), ("b", "video", 1.0), ("c", "web", 2.0)):
            board.feed(message(one(name, mos, dl_bps=5e5), f"qoe.v1/nf1/{app_class}/"), 0)

        lines = drawn(board, View(sort="score", group="class"), width=70)

        said = [line.split()[0] for line in lines if line.startswith((" ▸", " a ", " b ", " c "))]
        assert said == ["▸", "b", "▸", "c", "a"]
        assert " ▸ web: 2 rows, mean score 3.00, 1.0 Mbit/s down" in lines

    def test_keys_change_the_view(self) -> None:
        view = View()

        assert view.press("s").sort == "application"
        assert view.press("s").press("S") == view
        assert view.press("g").group == "class"
        assert view.press("w").whole
        assert view.press("?").why
        assert view.press("x") == view


class TestUnknown:
    """Subscribers whom no signalling named stand apart, with the reason."""

    def board(self, sessions: int, partial: int) -> Board:
        board = Board()
        board.feed(message(one("aa", 4.0)), 0)
        board.feed(message(one("teid-" + "0" * 32, 1.0)), 0)
        beat = {"topic": ["a"], "sessions": np.array([sessions]), "partial_sessions": np.array([partial])}
        board.feed(message(beat, "health.v1/nf1/", "snf.health.v1"), 0)
        return board

    @pytest.mark.parametrize(
        ("sessions", "partial", "reason"),
        [
            (40, 3, "attached before the probe (3 of 40 sessions)"),
            (0, 0, "no signalling was read so far"),
            (40, 0, "attached before the probe, or where it does not read the signalling"),
        ],
    )
    def test_they_come_below_the_others(self, sessions: int, partial: int, reason: str) -> None:
        lines = drawn(self.board(sessions, partial), View(sort="score"), width=72)

        known, head, unknown = (
            next(n for n, line in enumerate(lines) if line.startswith(begin))
            for begin in (" aa", " Not known, 1: ", " teid-00000000")
        )
        assert known < head < unknown
        assert reason in " ".join(lines[head:unknown]).replace("  ", " ")


class TestWhy:
    """A value that is missing has its reason, when it is asked for."""

    def test_each_reason_is_told_with_its_rows(self) -> None:
        board = Board()
        for name in ("a", "b"):
            board.feed(message(one(name, np.nan, unmeasured="no page yet")), 0)
        board.feed(message(one("c", np.nan, unmeasured=""), "qoe.v1/nf1/vpn/"), 0)
        board.feed(message(one("d", 4.0, app="", app_basis="model", rtt_core_ms=np.nan)), 0)

        said = "\n".join(drawn(board, View(why=True), width=None, height=None))

        assert "MOS is - in 2 rows: no page yet." in said
        assert "MOS is - in 1 row: the class vpn has no score" in said
        assert "application is in brackets in 1 row: no name was seen" in said
        assert "core is - in 1 row: none was timed" in said
        assert "MOS is -" not in "\n".join(drawn(board))

    def test_nothing_missing_is_told_too(self) -> None:
        board = Board()
        board.feed(message(one("a", 4.0, rtt_access_ms=1.0, rtt_core_ms=1.0, loss_ul=0.0)), 0)

        assert " Nothing is missing." in drawn(board, View(why=True))


class TestLayout:
    """A table of so many characters."""

    COLUMNS = (
        Column("gNB", False, 3, 8),
        Column("MOS", True, 4, 4),
        Column("slice", False, 5, 5, 1),
        Column("what", False, 4, 99),
    )

    def shown(self, width: int) -> list[str]:
        gnbs = ("2001:db8:1234::1", "2001:db8:1234::2")
        cells = [[Text(gnb), Text("4.50"), Text("1"), Text("")] for gnb in gnbs]
        table = Layout(self.COLUMNS, cells, width)
        return [table.line(row).plain for row in cells]

    def test_a_name_that_is_cut_gets_the_room_that_is_free(self) -> None:
        assert self.shown(40) == [" 2001:db8:1234::1 4.50 1", " 2001:db8:1234::2 4.50 1"]
        assert self.shown(24) == [" 2001:db8:12… 4.50 1"] * 2
        assert self.shown(15) == [" 2001:db8… 4.50"] * 2
