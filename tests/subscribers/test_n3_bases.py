"""Bases of the ways to gNBs, of paths and of subscribers, from interval to interval."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nf.flows.echoes import NO_ECHOES, Echoes
from nf.settings import QoeProfile
from nf.subscribers.lately import APP_BITS
from nf.subscribers.n3 import BASE_WINDOW_S, Bases, Evidence

CLOCK_S = 1e9  # the epoch is so much ahead of the kernel's clock
A, B = "10.1.0.1", "10.1.0.2"
USUAL_MS, RISEN_MS = 20.0, 120.0
PEOPLE_AT_A, PEOPLE_AT_B = 4, 5


class Site:
    """Subscribers at two gNBs, an interval of a second after another."""

    def __init__(self) -> None:
        self.bases, self.s = Bases(64), 100.0
        self.gnb = np.array([A] * PEOPLE_AT_A + [B] * PEOPLE_AT_B, object)

    def second(self, access_ms: Any = USUAL_MS, echoes: Echoes = NO_ECHOES, *, full: Any = 0.0) -> Evidence:
        """Return what an interval says of each subscriber; all wait so long, or each so long."""
        self.s += 1
        n = len(self.gnb)
        both = np.broadcast_to(np.asarray(access_ms, np.float64), n)[:, None].repeat(2, axis=1)
        busy_s = np.broadcast_to(np.asarray(full, np.float64), n)[:, None].repeat(2, axis=1)
        interval = SimpleNamespace(
            keys=np.arange(n, dtype=np.int64) << APP_BITS,
            now_s=CLOCK_S + self.s,
            interval_s=1.0,
            rows=SimpleNamespace(rtt_min_ms=both, busy_s=busy_s),
        )
        sides = SimpleNamespace(least_ms=both)
        ways = self.bases.ways(interval, sides, self.gnb, echoes, CLOCK_S)  # type: ignore[arg-type]
        return ways.of(np.arange(n))


def echo(*paths: tuple[int, str, float, float]) -> Echoes:
    """Return (path, gNB, ms, when it was answered) of paths."""
    path, gnb, ms, at_s = zip(*paths, strict=True)
    return Echoes(np.array(path), np.array(gnb, object), np.array(ms), np.array(at_s))


@pytest.fixture
def site() -> Site:
    """A site of which the bases are known."""
    site = Site()
    for _ in range(12):
        site.second(echoes=echo((1, A, 3.0, site.s)))
    return site


class TestEchoes:
    """An echo is held against the least of its path."""

    def test_its_rise_is_of_those_at_the_gnb_that_answered(self, site):
        told = site.second(RISEN_MS, echo((1, A, 93.0, site.s)))

        assert told.echo_ms.tolist() == pytest.approx([90] * PEOPLE_AT_A + [np.nan] * PEOPLE_AT_B, nan_ok=True)

    def test_of_two_paths_to_a_gnb_the_one_that_answered_last_is_asked(self, site):
        for _ in range(4):
            site.second(echoes=echo((1, A, 3.0, site.s), (2, A, 5.0, site.s)))
        old_s = site.s - 3

        told = site.second(RISEN_MS, echo((1, A, 93.0, old_s), (2, A, 5.0, site.s)))

        assert told.echo_ms[0] == 0

    def test_the_same_answer_read_again_is_no_other_one(self):
        site = Site()
        only = echo((1, A, 3.0, site.s))

        assert np.isnan([site.second(echoes=only).echo_ms[0] for _ in range(5)]).all()

    def test_an_answer_of_long_ago_convicts_nobody(self, site):
        risen = echo((1, A, 93.0, site.s))
        site.second(RISEN_MS, risen)
        site.s += 61

        assert np.isnan(site.second(RISEN_MS, risen).echo_ms).all()

    def test_a_detour_that_stays_becomes_usual(self, site):
        for _ in range(6):
            site.s += BASE_WINDOW_S / 2
            told = site.second(RISEN_MS, echo((1, A, 93.0, site.s)))

        assert told.echo_ms[0] < 30


class TestNeighbours:
    """The access delay of a subscriber is held against the least that he had at his gNB."""

    def test_all_of_a_gnb_and_nobody_else(self, site):
        told = site.second([RISEN_MS] * PEOPLE_AT_A + [USUAL_MS] * PEOPLE_AT_B)

        assert told.neighbours_ms.tolist() == pytest.approx([100] * PEOPLE_AT_A + [np.nan] * PEOPLE_AT_B, nan_ok=True)

    def test_an_echo_of_now_that_took_no_longer_acquits(self, site):
        told = site.second([RISEN_MS] * PEOPLE_AT_A + [USUAL_MS] * PEOPLE_AT_B, echo((1, A, 3.0, site.s)))

        assert (told.echo_ms[0], np.isnan(told.neighbours_ms).all()) == (0, True)

    def test_an_older_echo_does_not(self, site):
        quiet = echo((1, A, 3.0, site.s))
        site.s += 30

        told = site.second([RISEN_MS] * PEOPLE_AT_A + [USUAL_MS] * PEOPLE_AT_B, quiet)

        assert told.neighbours_ms[0] == 100

    def test_who_moves_bulk_data_may_wait_for_himself_and_counts_neither_way(self, site):
        full = [1.0, 1.0, 0, 0] + [0.0] * PEOPLE_AT_B

        told = site.second([RISEN_MS] * PEOPLE_AT_A + [USUAL_MS] * PEOPLE_AT_B, full=full)

        assert np.isnan(told.neighbours_ms).all()  # two are left

    def test_who_comes_to_another_gnb_has_no_base_there(self, site):
        site.gnb = np.array([B] * PEOPLE_AT_A + [A] * PEOPLE_AT_B, object)  # they travel together

        told = site.second([RISEN_MS] * PEOPLE_AT_A + [USUAL_MS] * PEOPLE_AT_B)

        assert np.isnan(told.neighbours_ms).all()

    def test_an_operator_may_ask_for_more_of_them(self, site):
        site.bases.use([QoeProfile("n3", (("subscribers", 5),)), QoeProfile("web", (("content_s", 30.0),))])

        told = site.second([RISEN_MS] * PEOPLE_AT_A + [USUAL_MS] * PEOPLE_AT_B)

        assert np.isnan(told.neighbours_ms).all()  # four are left

    def test_a_gnb_that_is_not_known_is_none(self, site):
        site.gnb = np.array([""] * PEOPLE_AT_A + [B] * PEOPLE_AT_B, object)
        for _ in range(12):
            site.second()

        told = site.second([RISEN_MS] * PEOPLE_AT_A + [USUAL_MS] * PEOPLE_AT_B)

        assert np.isnan(told.neighbours_ms).all()
