"""Sides that the comparison of round trips with tshark lists."""

from __future__ import annotations

import pytest

from bench.roundtrips import Side

SAMPLES = [(20.0, 5, 4), (21.0, 9, 8), (60.0, 12, 11)]


class TestSide:
    """A side is listed when its mean or its minimum is out of tshark's bounds, or its retransmissions are."""

    @pytest.mark.parametrize(
        ("mean_ms", "min_ms", "listed"),
        [
            (33.0, 20.0, []),
            (20.5, 20.0, ["mean far from tshark's"]),
            (61.0, 20.0, ["mean above tshark's highest", "mean far from tshark's"]),
            (33.0, 19.0, ["minimum below tshark's lowest"]),
        ],
    )
    def test_by_its_times(self, mean_ms: float, min_ms: float, listed: list[str]) -> None:
        assert Side(n=3, mean_ms=mean_ms, min_ms=min_ms, samples=SAMPLES).verdicts() == listed

    @pytest.mark.parametrize(("sent_again", "listed"), [(1, False), (2, False), (3, True)])
    def test_by_what_was_sent_again(self, sent_again: int, listed: bool) -> None:
        assert bool(Side(retrans=sent_again, tshark_retrans=[7]).verdicts()) is listed

    def test_the_cause_is_an_acknowledgement_that_was_held_back(self) -> None:
        assert Side(n=1, samples=SAMPLES).cause() == "held back: frame 12 for 11 (60 ms)"

    def test_in_several_tunnels_it_is_not_judged(self) -> None:
        assert Side(n=1, mean_ms=99.0, samples=SAMPLES, legs={1, 2}).verdicts() == []
