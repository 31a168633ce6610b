"""Means of delays in an interval, from the sums that the kernel keeps."""

from __future__ import annotations

import numpy as np
import pytest

from nf.flows.delays import DelayInterval, Delays

KEY = np.dtype([("session", "u4"), ("qfi", "u1")])
DELAY = np.dtype([("ran_sum_ms", "u4", 2), ("ran_n", "u4", 2), ("n3_sum_us", "u8"), ("n3_n", "u4")])
TRANSIT = np.dtype([("sum_us", "u8", 2), ("n", "u4", 2)])
NO_TRANSITS = (np.zeros(0, np.uint32), np.zeros(0, TRANSIT))
NO_DELAYS = (np.zeros(0, KEY), np.zeros(0, DELAY))


def delays(*rows: tuple[int, int, tuple[int, int], tuple[int, int], int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return QoS flows: (session, QFI, sums of the radio network uplink and downlink, samples, sum on N3, samples)."""
    keys = np.array([row[:2] for row in rows], KEY)
    return keys, np.array([row[2:] for row in rows], DELAY)


def transits(*rows: tuple[int, tuple[int, int], tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return sessions: (session, sums uplink and downlink, samples)."""
    return np.array([row[0] for row in rows], np.uint32), np.array([row[1:] for row in rows], TRANSIT)


def of(interval: DelayInterval, column: str, *sessions: int) -> list[float]:
    return interval.sessions(np.array(sessions))[column].tolist()


class TestMeans:
    """A mean is a difference of sums over a difference of samples."""

    def test_of_an_interval_alone(self) -> None:
        reader = Delays()
        reader.update(delays((4, 9, (100, 60), (10, 3), 8_000, 2)), NO_TRANSITS)
        second = reader.update(delays((4, 9, (160, 100), (12, 7), 11_000, 3)), NO_TRANSITS)

        assert of(second, "ran_ul_ms", 4) == [30]  # (160 - 100) / (12 - 10)
        assert of(second, "ran_dl_ms", 4) == [10]  # (100 - 60) / (7 - 3)
        assert of(second, "n3_rtt_ms", 4) == [3]  # (11,000 us - 8,000 us) / (3 - 2)

    def test_without_a_new_sample_there_is_none(self) -> None:
        reader, same = Delays(), delays((4, 9, (100, 60), (10, 3), 8_000, 2))
        reader.update(same, NO_TRANSITS)

        assert np.isnan(of(reader.update(same, NO_TRANSITS), "ran_ul_ms", 4)).all()

    def test_sums_that_are_less_than_they_were_began_anew(self) -> None:
        reader = Delays()
        reader.update(delays((4, 9, (100, 0), (10, 0), 0, 0)), NO_TRANSITS)
        second = reader.update(delays((4, 9, (14, 0), (2, 0), 0, 0)), NO_TRANSITS)

        assert of(second, "ran_ul_ms", 4) == [7]

    def test_a_session_nobody_measured_is_not_known(self) -> None:
        found = Delays().update(delays((4, 9, (100, 60), (10, 3), 8_000, 2)), NO_TRANSITS)

        assert np.isnan(of(found, "ran_ul_ms", 3, 5)).all()
        assert np.isnan(of(Delays().update(NO_DELAYS, NO_TRANSITS), "upf_ul_ms", 4)).all()


class TestSessionsAndFlows:
    """A session is all its QoS flows together; each flow is there as well."""

    FOUND = (delays((7, 1, (20, 0), (2, 0), 0, 0), (4, 5, (90, 0), (1, 0), 0, 0), (7, 2, (70, 0), (1, 0), 0, 0)),
             transits((7, (1_400, 600), (2, 3))))  # fmt: skip

    def test_a_session_weighs_its_flows_by_their_samples(self) -> None:
        assert of(Delays().update(*self.FOUND), "ran_ul_ms", 4, 7) == [90, 30]  # (20 + 70) / (2 + 1)

    def test_flows_apart(self) -> None:
        flows = Delays().update(*self.FOUND).flows(np.array([7, 7, 7]), np.array([1, 2, 3]))

        np.testing.assert_array_equal(flows["ran_ul_ms"], np.array([10, 70, np.nan], np.float32))

    def test_the_way_through_the_upf_is_one_for_the_session(self) -> None:
        found = Delays().update(*self.FOUND)

        assert of(found, "upf_ul_ms", 7) == [pytest.approx(0.7)]
        assert found.flows(np.array([7]), np.array([3]))["upf_dl_ms"].tolist() == [pytest.approx(0.2)]

    def test_delays_of_no_session_are_nobodys(self) -> None:
        found = Delays().update(delays((0, 9, (100, 60), (10, 3), 8_000, 2)), NO_TRANSITS)

        assert np.isnan(of(found, "ran_ul_ms", 0)).all()
