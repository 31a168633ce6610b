"""The demonstration's conclusions from records: rows, means, words."""

from __future__ import annotations

import math

import pytest
from rich.console import Console

from feed.happened import happened, rate
from lab.scoreboard import Scoreboard, plain_table, rich_table, short

ONE, TWO = "0" * 31 + "1", "0" * 31 + "2"


def record(subscriber: str = ONE, app: str = "youtube", mos: float = 4.0, **more: object) -> dict[str, object]:
    """Return a record with the columns that the table reads."""
    base: dict[str, object] = {
        "subscriber": subscriber, "app": app, "class": "video", "mos": mos, "dl_bps": 2.5e6, "ul_bps": 800.0,
        "rtt_access_ms": 21.4, "rtt_core_ms": math.nan, "loss_ul": 0.0, "loss_dl": 0.021, "suspect": "loss",
    }  # fmt: skip
    return base | more


@pytest.fixture
def board() -> Scoreboard:
    """A board that expects two subscribers."""
    return Scoreboard({ONE: "ue1", TWO: "ue2"})


class TestMeans:
    """A mean is over the scores of one subscriber and class in a half-open time."""

    def test_before_and_after_are_apart(self, board):
        for at, mos in ((1, 4.0), (2, 4.4), (5, 2.0), (6, 3.0)):
            board.feed(record(mos=mos), at)

        assert board.mean(ONE, "video", 0, 5) == pytest.approx(4.2)
        assert board.mean(ONE, "video", 5, 10) == pytest.approx(2.5)

    def test_what_was_not_scored_has_no_mean(self, board):
        board.feed(record(mos=math.nan), 1)

        assert math.isnan(board.mean(ONE, "video", 0, 10))
        assert board.classes(ONE) == []

    def test_the_access_delay_is_the_median_of_a_time(self, board):
        for at, delay_ms in ((1, 20.0), (2, 30.0), (3, 500.0), (5, 200.0)):
            board.feed(record(rtt_access_ms=delay_ms), at)

        assert board.access_delay_ms(ONE, 0, 5) == 30
        assert board.access_delay_ms(ONE, 5, 10) == 200
        assert math.isnan(board.access_delay_ms(TWO, 0, 10))


class TestTable:
    """The table shows who has news, with the score that was last known."""

    def test_a_row_says_what_the_record_said(self, board):
        board.feed(record(), 1)

        head, line = plain_table(board.fresh(2)).splitlines()

        assert head.split() == ["subscriber", "app", "class", "down", "up", "access", "core", "loss", "MOS", "suspect",
                                "what", "happened"]  # fmt: skip
        assert line.split() == ["00000000", "youtube", "video", "2.500", "0.001", "21", "-", "2.1%", "4.00", "loss"]

    @pytest.mark.parametrize(
        ("estimates", "words"),
        [
            ({"video_height": 720.0, "media_bps": 2.1e6, "stalled_s": 0.0}, "720p, 2.100 Mbit/s"),
            ({"video_height": 480.0, "stalled_s": 1.0, "buffer_s": 0.0}, "stalled 1.0 s, 480p, buffer 0 s"),
            ({"fps": 29.6, "frozen_s": 0.0}, "30 fps"),
            ({"lag_ms": 45.2, "spikes": 2.0}, "2 spikes, lag 45 ms"),
            ({"page_s": 1.25, "answer_ms": math.nan}, "page 1.2 s"),
            ({"unmeasured": "delay not known", "fps": math.nan}, "delay not known"),
            ({}, ""),
        ],
    )
    def test_it_says_what_happened(self, estimates, words):
        assert happened(estimates) == words

    def test_an_old_row_leaves(self, board):
        board.feed(record(), 1)

        assert board.fresh(60) == []

    def test_a_stranger_is_not_shown(self, board):
        board.feed(record(subscriber="teid:10.0.0.1:0x00000001"), 1)

        assert board.fresh(1) == []

    def test_the_live_table_fits_a_hundred_columns(self, board):
        console = Console(width=100, record=True, force_terminal=True, file=open("/dev/null", "w"))  # noqa: SIM115
        for n in range(12):
            estimates = {"fps": 29.6, "frozen_s": 0.7, "lag_ms": 61.0}
            board.feed(record(app="microsoft-teams", mos=3.4, **{"class": "conferencing"}, **estimates), n)

        console.print(rich_table(board.fresh(11), "title"))

        text = console.export_text()
        assert "3.40" in text
        assert "loss" in text
        assert "frozen" in text
        assert len(text.splitlines()) == 3  # title, head and a row
        assert max(map(len, text.splitlines())) <= 100


class TestWords:
    """Numbers are as wide as their column."""

    @pytest.mark.parametrize(
        ("bps", "text"), [(0, "0.000"), (1500, "0.002"), (12_345_678, "12.3"), (123_456_789, "123")]
    )
    def test_a_rate(self, bps, text):
        assert rate(bps) == text

    def test_a_pseudonym_is_cut_and_a_tunnel_is_not(self):
        assert short(ONE) == "00000000"
        assert short("teid:10.0.0.1:0x00000001") == "teid:10.0.0.1:0x00000001"
