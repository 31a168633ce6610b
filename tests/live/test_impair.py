"""A shaper is arithmetic: when a packet leaves, or that it does not."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lab.impair import Impairment, Shaper


class TestDelay:
    """A delay is added to each packet, and packets stay in order."""

    def test_a_clean_link_passes_at_once(self) -> None:
        assert Shaper("s").offer(10.0, 1400) == 10.0

    def test_a_delay_is_added(self) -> None:
        assert Shaper("s", Impairment(delay_ms=40)).offer(10.0, 1400) == pytest.approx(10.040)

    def test_jitter_is_added_within_its_bound_and_nothing_overtakes(self) -> None:
        shaper = Shaper("s", Impairment(delay_ms=10, jitter_ms=30))

        leaves = [shaper.offer(i / 1000, 100) for i in range(500)]

        assert all(a is not None and b is not None and a <= b for a, b in pairwise(leaves))
        waits = [(at or 0) * 1000 - i for i, at in enumerate(leaves)]
        assert min(waits) >= 10
        assert max(waits) <= 40 + 1e-6
        assert max(waits) - min(waits) > 10

    def test_a_shorter_delay_lets_nothing_overtake_what_is_under_way(self) -> None:
        shaper = Shaper("s", Impairment(delay_ms=100))
        first = shaper.offer(1.0, 100)
        shaper.impairment = Impairment(delay_ms=1)

        assert shaper.offer(1.001, 100) == first


class TestRate:
    """A rate serves one packet after the other; a full queue drops at its tail."""

    def test_ten_packets_take_the_time_of_their_bits(self) -> None:
        shaper = Shaper("s", Impairment(rate_bps=1_000_000))

        last = [shaper.offer(0.0, 1250) for _ in range(10)][-1]

        assert last == pytest.approx(0.1)  # 10 * 1250 * 8 bit at 1 Mbit/s

    def test_the_queue_holds_what_it_may_and_no_more(self) -> None:
        shaper = Shaper("s", Impairment(rate_bps=1_000_000, queue_ms=50))

        passed = [shaper.offer(0.0, 1250) for _ in range(20)]

        assert sum(p is not None for p in passed) == 6  # those that start after 0, 10, .. 50 ms
        assert shaper.dropped == 14

    def test_an_idle_link_saves_nothing_up(self) -> None:
        shaper = Shaper("s", Impairment(rate_bps=1_000_000))
        shaper.offer(0.0, 1250)

        assert shaper.offer(5.0, 1250) == pytest.approx(5.010)


class TestLoss:
    """Loss is a share, repeatable by its seed."""

    def test_the_share_is_met(self) -> None:
        shaper = Shaper("s", Impairment(loss=0.1))

        lost = sum(shaper.offer(0.0, 100) is None for _ in range(10_000))

        assert 850 < lost < 1150  # five standard deviations of a binomial
        assert shaper.lost == lost

    def test_the_same_seed_loses_the_same_packets(self) -> None:
        def pattern(seed: str) -> list[bool]:
            shaper = Shaper(seed, Impairment(loss=0.3))
            return [shaper.offer(0.0, 100) is None for _ in range(200)]

        assert pattern("7/gnb/ue1/out") == pattern("7/gnb/ue1/out")
        assert pattern("7/gnb/ue1/out") != pattern("8/gnb/ue1/out")

    def test_nonsense_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at most 1"):
            Impairment(loss=1.5)
