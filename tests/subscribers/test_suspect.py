"""The place at which a bad score was lost: access, N3, UPF, core, server, device or application; measure and value."""

from __future__ import annotations

from dataclasses import MISSING, fields

import numpy as np
import pytest

from nf.subscribers.suspect import MEASURES, SUSPECTS, Evidence, suspect

NAN = float("nan")
LONG, SHORT = 130.0, 20.0  # ms of one side; from 100 on it is long
FINE = {"least_ms": (SHORT, SHORT), "high_ms": (SHORT, SHORT)}
TWO = ("least_ms", "high_ms", "loss", "jitter_ms", "silence_s", "spikes_ms", "upf_ms")  # (core, access)


def verdict(**columns: object) -> tuple[str, str, float]:
    """Return word, measure and value for one row; what is not given was not seen."""
    values = {f.name: np.full((1, 2) if f.name in TWO else 1, NAN) for f in fields(Evidence) if f.default is MISSING}
    values |= {"enough": np.zeros(1, np.bool_), "fresh": np.ones(1, np.bool_)}
    values |= {name: np.array([value]) for name, value in columns.items()}
    told = suspect(Evidence(**values))
    return str(SUSPECTS[told.word[0]]), str(MEASURES[told.by[0]]), float(told.value[0])


class TestDelay:
    """The side whose round trip is long; of two long ones the longer."""

    @pytest.mark.parametrize(
        ("core_ms", "access_ms", "word"),
        [(SHORT, LONG, "access"), (LONG, SHORT, "core"), (300, 150, "core"), (150, 300, "access"), (20, 100, "access"),
         (70, 60, "core"), (55, 60, "app"), (LONG, NAN, "core"), (NAN, LONG, "access")],
    )  # fmt: skip
    def test_which(self, core_ms: float, access_ms: float, word: str) -> None:
        assert verdict(least_ms=(core_ms, access_ms))[0] == word

    def test_the_number_is_told(self) -> None:
        assert verdict(least_ms=(SHORT, LONG)) == ("access", "delay", LONG)

    def test_high_samples_far_above_the_least_are_delay_that_varies(self) -> None:
        assert verdict(least_ms=(20, 30), high_ms=(25, 130)) == ("access", "variation", 100)
        assert verdict(least_ms=(20, 30), high_ms=(125, 60)) == ("core", "variation", 105)

    def test_a_delayed_acknowledgement_is_no_variation(self) -> None:
        assert verdict(least_ms=(20, 20), high_ms=(20, 60))[0] == "app"


class TestParts:
    """N3 and the UPF are told from what lies behind them, where they are measured."""

    def test_a_long_way_to_the_gnb(self) -> None:
        assert verdict(least_ms=(SHORT, 140), n3_ms=120.0) == ("n3", "delay", 120)

    def test_a_way_to_the_gnb_that_rose_by_its_echoes_or_for_many_of_its_subscribers(self) -> None:
        assert verdict(least_ms=(SHORT, 140), echo_ms=120.0, echo_sure=0.9) == ("n3", "echo", 120)
        assert verdict(least_ms=(SHORT, 140), neighbours_ms=110.0, neighbours_sure=0.75) == ("n3", "neighbours", 110)

    def test_an_echo_that_rose_little_takes_nothing_from_the_radio(self) -> None:
        assert verdict(least_ms=(SHORT, 110), echo_ms=29.0)[0] == "access"
        assert verdict(least_ms=(SHORT, 110), echo_ms=30.0)[0] == "n3"

    def test_a_long_radio_behind_a_short_n3(self) -> None:
        assert verdict(least_ms=(SHORT, 140), n3_ms=2.0, radio_ms=65.0)[0] == "access"

    @pytest.mark.parametrize(("least_ms", "upf_ms"), [((140, 20), (120, 1)), ((20, 140), (1, 120))])
    def test_a_slow_upf(self, least_ms: tuple[float, float], upf_ms: tuple[float, float]) -> None:
        assert verdict(least_ms=least_ms, upf_ms=upf_ms) == ("upf", "delay", 120)

    def test_the_radio_as_the_gnb_reports_it(self) -> None:
        assert verdict(radio_ms=80.0) == ("access", "radio delay", 80)


class TestLossAndMedia:
    """Loss has a side, and media say which side they come late from."""

    @pytest.mark.parametrize(
        ("loss", "word"),
        [((0.0, 0.05), "access"), ((0.05, 0.0), "core"), ((0.05, 0.04), "loss"), ((0.05, 0.012), "core"),
         ((0.002, 0.009), "app"), ((NAN, 0.05), "access")],
    )  # fmt: skip
    def test_of_a_side_or_of_both(self, loss: tuple[float, float], word: str) -> None:
        assert verdict(**FINE, loss=loss)[0] == word

    def test_the_ratio_is_told(self) -> None:
        assert verdict(loss=(0.0, 0.05)) == ("access", "loss", 0.05)

    def test_jitter_and_spikes(self) -> None:
        assert verdict(jitter_ms=(10, 45)) == ("access", "jitter", 45)
        assert verdict(spikes_ms=(300, NAN)) == ("core", "spikes", 300)

    def test_who_answers_nothing_outweighs_what_there_is_of_delay(self) -> None:
        assert verdict(least_ms=(20, 150), silence_s=(1.0, 0.0)) == ("core", "silence", 1)

    def test_the_largest_multiple_of_what_is_fine_is_named(self) -> None:
        assert verdict(loss=(0.0, 0.02), jitter_ms=(90, 0))[0] == "core"  # two times 1 %, three times 30 ms
        assert verdict(loss=(0.0, 0.04), jitter_ms=(90, 0))[0] == "access"


class TestBeyondTheNetwork:
    """Server, player and application are named only where the network is known to have had room."""

    def test_nothing_seen_says_nothing(self) -> None:
        assert verdict() == ("unknown", "", pytest.approx(NAN, nan_ok=True))

    def test_one_side_alone_is_not_enough(self) -> None:
        assert verdict(least_ms=(NAN, SHORT))[0] == "unknown"
        assert verdict(least_ms=(SHORT, NAN), wait_ms=3000.0)[0] == "unknown"

    def test_what_was_seen_of_the_core_before_says_nothing_of_now(self) -> None:
        assert verdict(**FINE, fresh=False, wait_ms=3000.0)[0] == "unknown"

    def test_answers_that_wait_though_the_way_is_short(self) -> None:
        assert verdict(**FINE, wait_ms=780.0) == ("server", "wait", 780)

    def test_and_not_when_the_way_is_long(self) -> None:
        assert verdict(least_ms=(400, SHORT), wait_ms=780.0)[0] == "core"

    def test_a_low_level_on_an_idle_network_is_the_players(self) -> None:
        assert verdict(enough=True, level=144.0) == ("device", "level", 144)

    def test_few_frames_with_room_are_the_applications(self) -> None:
        assert verdict(**FINE, fps=7.0) == ("app", "frames", 7)

    def test_media_that_come_in_time_prove_the_core(self) -> None:
        assert verdict(least_ms=(NAN, SHORT), jitter_ms=(3, 3))[0] == "app"
