"""The search for the highest rate without loss, and the ladder of rates on which nobody may lose."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bench import peers_live
from bench.dense import Dense
from bench.lossless import highest

DENSE = Dense(ramp=10, window=500_000, flows=100, active=10_000)


def tool(can: float, sender: float = 1e9):
    """Return a trial of a tool that sees so many packets a second, behind a sender that gives so many; and its log."""
    offers: list[float] = []

    def trial(pps: float) -> tuple[float, int]:
        offers.append(pps)
        reached = min(pps, sender)
        return reached, round(max(0.0, reached - can))

    return trial, offers


class TestHighest:
    """The rate is found to a factor, and is one that was reached."""

    @pytest.mark.parametrize("can", [31_000, 70_000, 250_000, 990_000])
    def test_it_is_at_most_a_step_below_what_the_tool_can(self, can):
        trial, offers = tool(can)

        found = highest(trial, 30_000, 1_000_000, 1.1)

        assert can / 1.1 <= found <= can
        assert len(offers) <= 8  # log2(log(33) / log(1.1)) is 5.2, and the two ends

    def test_a_tool_that_takes_all_that_the_sender_gives_needs_one_trial(self):
        trial, offers = tool(2_000_000, sender=600_000)

        assert highest(trial, 30_000, 1_000_000, 1.1) == 600_000
        assert offers == [1_000_000]

    def test_the_search_begins_below_what_the_sender_gave(self):
        trial, offers = tool(100_000, sender=400_000)

        assert 100_000 / 1.1 <= highest(trial, 30_000, 1_000_000, 1.1) <= 100_000
        assert max(offers[1:]) < 400_000

    def test_a_tool_that_always_loses_is_no_figure(self):
        trial, _ = tool(20_000)

        with pytest.raises(RuntimeError, match="10000 packets are lost at the least rate, 30000 a second"):
            highest(trial, 30_000, 1_000_000, 1.1)


class TestLadder:
    """The rate is lowered for all where one loses, and that is told."""

    @staticmethod
    def measured(monkeypatch, can: dict[str, float]):
        """Run the ladder with tools that see so many packets a second."""
        offered = []

        def one(_port, name, _ahead, frames, pps):
            offered.append((name, pps, frames))
            return SimpleNamespace(lost=round(max(0.0, pps - can[name])))

        monkeypatch.setattr(peers_live, "run", one)
        monkeypatch.setattr(peers_live, "run_dropping", lambda *_: None)
        return peers_live._rounds(None, DENSE), offered

    def test_where_nobody_loses_it_stays(self, monkeypatch):
        (pps, rounds, told), offered = self.measured(monkeypatch, {"nDPI": 2e5, "nfstream": 2e5, "ours": 2e5})

        assert (pps, len(rounds), told) == (100_000, peers_live.ROUNDS, [])
        assert {frames for _, _, frames in offered} == {300_000}

    def test_it_is_lowered_until_the_slowest_keeps_up(self, monkeypatch):
        (pps, rounds, told), offered = self.measured(monkeypatch, {"nDPI": 2e5, "nfstream": 55_000, "ours": 2e5})

        assert pps == pytest.approx(49_000)
        assert told == ["nfstream lost 45000 packets at 100 kpps", "nfstream lost 15000 packets at 70 kpps"]
        assert [set(runs) for runs, _ in rounds] == [{"nDPI", "nfstream", "ours"}] * peers_live.ROUNDS
        assert all(frames == pytest.approx(3 * rate) for _, rate, frames in offered)  # as many seconds

    def test_a_tool_that_always_loses_ends_it_with_all_that_was_lost(self, monkeypatch):
        with pytest.raises(RuntimeError, match="nDPI lost 100000 packets at 100 kpps; nDPI lost 70000"):
            self.measured(monkeypatch, {"nDPI": 0, "nfstream": 2e5, "ours": 2e5})
