"""Delay that was lost on N3: by echoes of a path, and by the subscribers of one gNB together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nf.qoe.n3 import PROFILE, by_echo, by_neighbours, is_recent

NAN = float("nan")


def echo(rise_ms: float, age_s: float, answers: float, fastest_ms: float) -> tuple[float, float]:
    """Return what one echo says, and how sure it is."""
    ms, sure = by_echo(*np.array([[rise_ms], [age_s], [answers], [fastest_ms]]))
    return float(ms[0]), float(sure[0])


class TestEcho:
    """The newest echo of a gNB, over the base of its path."""

    @pytest.mark.parametrize(
        ("rise_ms", "age_s", "answers", "fastest_ms", "ms"),
        [
            (100, 0, 9, 140, 100),  # of now, and subscribers feel it
            (100, 59, 9, 140, 100),  # the next one may be a second away (TS 29.281, 7.2.1: 60 s)
            (100, 61, 9, 140, NAN),  # too old, whatever it said
            (100, 5, 2, 140, NAN),  # without a base
            (100, 5, 9, 30, 30),  # one subscriber answers in 30 ms, so N3 takes no more
            (100, 5, 9, NAN, 100),  # no subscriber has a sample: a recent echo counts,
            (100, 11, 9, NAN, NAN),  # an older one does not
            (0, 5, 9, 140, 0),  # nothing on N3
            (NAN, NAN, 0, 140, NAN),  # no echo at all
        ],
    )
    def test_so_much_is_on_n3(self, rise_ms, age_s, answers, fastest_ms, ms):
        assert echo(rise_ms, age_s, answers, fastest_ms)[0] == pytest.approx(ms, nan_ok=True)

    def test_an_older_one_is_less_sure_and_so_is_one_that_nobody_feels(self):
        sure = [echo(100, age_s, 9, fastest_ms)[1] for age_s, fastest_ms in ((0, 140), (30, 140), (59, 140), (0, NAN))]

        assert sure == pytest.approx([1, 0.5, 1 / 60, 0.5])

    def test_one_of_the_last_seconds_with_a_base_is_of_now(self):
        age_s, answers = np.array([0, 10, 11, 5, NAN]), np.array([9, 9, 9, 2, 9])

        assert is_recent(age_s, answers).tolist() == [True, True, False, False, False]


QUIET = [0.0, 2.0, -1.0, 5.0]
AT_B = [1] * 4


def of_a(rises: list[float], others: list[float] = QUIET, gnbs: list[int] = AT_B, **more: object) -> list[float]:
    """Return what is said of the subscribers of gNB 0, by their rises and those of others."""
    gnb, rise_ms = np.array([0] * len(rises) + gnbs), np.array([*rises, *others])
    ms, sure = by_neighbours(gnb, rise_ms, np.full(len(gnb), 99.0), **more)
    assert (np.isnan(ms) == np.isnan(sure)).all()
    assert np.isnan(ms[len(rises) :]).all(), "others of other gNBs are never convicted here"
    return ms[: len(rises)].tolist()


class TestNeighbours:
    """Many of one gNB, by the same amount, and hardly anybody else."""

    @pytest.mark.parametrize(
        ("rises", "told"),
        [
            ([100, 104, 98, 1], [100, 100, 100, NAN]),  # three of four; the fourth is well
            ([100, 104], [NAN, NAN]),  # two are too few
            ([100, 104, 98, 1, 2, 3], [NAN] * 6),  # half of them is no majority
            ([100, 170, 60, 300], [NAN] * 4),  # each by another amount: queues of radios
            ([100, 104, 98, 400], [100, 100, 100, NAN]),  # one has trouble of his own beside
            ([40, 42, 41, 43], [NAN] * 4),  # too little to tell from delayed acknowledgements
            ([NAN, 104, 98, 100], [NAN, 100, 100, 100]),  # one whose base is unknown counts neither way
        ],
    )
    def test_who_rose_together(self, rises, told):
        said = of_a(rises)

        assert said == pytest.approx(told, nan_ok=True)

    @pytest.mark.parametrize(
        ("others", "gnbs", "convicted"),
        [
            (QUIET, AT_B, True),
            ([], [], False),  # one gNB alone is known
            (QUIET[:2], AT_B[:2], False),  # too few to compare with
            (QUIET, [-1] * 4, False),  # whose gNB is not known
            ([100, 0, 0, 0], AT_B, False),  # one of four elsewhere
            ([90.0] + [0.0] * 9, [1] * 5 + [2] * 5, True),  # one of ten elsewhere: a radio is bad somewhere
            ([100.0] * 4, AT_B, False),  # all rose: a pause of the probe, or of what both ways share
        ],
    )
    def test_and_hardly_anybody_elsewhere(self, others, gnbs, convicted):
        assert (not np.isnan(of_a([100, 104, 98, 1], others, gnbs)[0])) is convicted

    def test_a_base_of_a_few_seconds_is_none(self):
        gnb, rise_ms = np.array([0, 0, 0, *AT_B]), np.array([100.0, 100, 100, *QUIET])

        assert np.isnan(by_neighbours(gnb, rise_ms, np.full(7, 9.0))[0]).all()

    def test_the_share_that_rose_is_how_sure_it_is(self):
        gnb, rise_ms = np.array([0] * 4 + AT_B), np.array([100.0, 100, 100, 0, *QUIET])

        assert by_neighbours(gnb, rise_ms, np.full(8, 99.0))[1][0] == pytest.approx(0.75)

    @pytest.mark.parametrize(("gnbs", "each"), [(2, 3), (2, 4), (3, 5), (10, 4), (20, 10)])
    @pytest.mark.parametrize("share_bad", [0.05, 0.2])
    def test_radios_that_are_bad_each_by_themselves_convict_hardly_ever(self, gnbs, each, share_bad):
        rng, convicted, rounds, n = np.random.default_rng(3), 0, 1000, gnbs * each
        for _ in range(rounds):
            rise_ms = np.where(rng.random(n) < share_bad, rng.uniform(100, 300, n), rng.exponential(10, n))
            ms, _ = by_neighbours(np.repeat(np.arange(gnbs), each), rise_ms, np.full(n, 99.0))
            convicted += np.count_nonzero(~np.isnan(ms))

        assert convicted / (rounds * n) <= 0.01  # of the nine healthy ones at most 1 % have a suspect

    def test_nobody_at_all(self):
        none = np.zeros(0)

        assert len(by_neighbours(np.zeros(0, np.intp), none, none)[0]) == 0

    def test_another_profile_asks_for_more(self):
        strict = dataclasses.replace(PROFILE, subscribers=4)

        assert np.isnan(of_a([100, 104, 98, 1], profile=strict)).all()
