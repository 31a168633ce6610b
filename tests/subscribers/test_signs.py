"""DNS, tunnels and other devices of a subscriber, over all its flows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nf.subscribers.signs import Ttls, dns_columns, is_tunnel, vpn_share
from tests.subscribers.test_sums import random_batch

KEY = np.dtype([("port_a", ">u2"), ("port_b", ">u2"), ("proto", "u1")])
BEGUN = np.dtype([("session", "u4"), ("ttl", "u4")])


def counts(*values: int) -> np.ndarray:
    return np.array(values, np.uint32)


class TestDns:
    """Rates and times over the flows of a subscriber; nothing where nothing was asked."""

    def test_two_subscribers_and_one_who_asked_nothing(self) -> None:
        batch = replace(
            random_batch(1, 4),
            dns_queries=counts(8, 2, 5, 0),
            dns_answers=counts(6, 2, 5, 0),
            dns_failed=counts(2, 0, 0, 0),
            dns_again=counts(1, 0, 0, 0),
            dns_timed=counts(5, 2, 5, 0),
            dns_sum_us=counts(100_000, 40_000, 10_000, 0),
        )
        got = dns_columns(batch, np.array([0, 0, 1, 2]), 3)

        expected = {
            "dns_queries": [10, 5, np.nan],
            "dns_ms": [20, 2, np.nan],
            "dns_failed": [0.25, 0, np.nan],
            "dns_retried": [0.1, 0, np.nan],
        }
        assert got.keys() == expected.keys()
        for name, values in expected.items():
            assert got[name].tolist() == pytest.approx(values, nan_ok=True), name


class TestTunnels:
    """Traffic that is inside something else, by application, protocol or port."""

    @pytest.mark.parametrize(
        ("proto", "ports", "vpn", "expected"),
        [
            (6, (443, 50_000), False, False),
            (6, (443, 50_000), True, True),  # an application that is a VPN
            (17, (50_000, 4500), False, True),  # RFC 3948
            (6, (50_000, 4500), False, False),
            (17, (51_820, 50_000), False, True),
            (50, (0, 0), False, True),  # ESP: RFC 4303
            (47, (0, 0), False, True),  # GRE: RFC 2784
            (6, (1723, 50_000), False, True),  # RFC 2637
        ],
    )
    def test_one(self, proto: int, ports: tuple[int, int], vpn: bool, expected: bool) -> None:
        keys = np.array([(*ports, proto)], KEY).view(np.dtype([("port_a", "<u2"), ("port_b", "<u2"), ("proto", "u1")]))

        assert is_tunnel(keys, np.array([vpn])).tolist() == [expected]

    def test_share_of_the_bytes(self) -> None:
        octets = np.array([[100, 200], [300, 0], [50, 50]], np.uint64)
        got = vpn_share(
            replace(random_batch(1, 3), octets=octets), np.array([True, False, False]), np.array([0, 0, 1]), 2
        )

        assert got.tolist() == pytest.approx([0.5, np.nan], nan_ok=True)


class TestTtls:
    """A second TTL of the same subscriber hints at a second device behind the first."""

    @staticmethod
    def begun(*flows: tuple[int, int]) -> np.ndarray:
        return np.array(list(flows), BEGUN)

    def test_a_phone_and_a_laptop_behind_it(self) -> None:
        ttls = Ttls()
        ttls.add(self.begun((1, 64), (1, 64), (2, 64), (1, 127), (2, 64), (3, 64), (3, 63), (3, 127)), 0.0)

        got = ttls.distinct(np.array([1, 2, 3, 4, 0], np.uint32), 1.0)
        assert got.tolist() == pytest.approx([2, np.nan, 3, np.nan, np.nan], nan_ok=True)

    def test_values_that_say_nothing_of_a_device(self) -> None:
        ttls = Ttls()
        ttls.add(self.begun((1, 64), (1, 1), (1, 5), (1, 255)), 0.0)  # the link, traceroute, RFC 5082

        assert np.isnan(ttls.distinct(np.array([1], np.uint32), 1.0)).all()

    def test_it_is_forgotten_after_ten_minutes(self) -> None:
        ttls = Ttls()
        ttls.add(self.begun((1, 127)), 0.0)
        ttls.add(self.begun((1, 64)), 599.0)
        assert ttls.distinct(np.array([1], np.uint32), 599.0).tolist() == [2]
        ttls.add(self.begun((1, 64)), 601.0)
        assert np.isnan(ttls.distinct(np.array([1], np.uint32), 601.0)).all()

    def test_it_is_bounded(self) -> None:
        ttls = Ttls(most=4)
        ttls.add(self.begun(*((s, 64) for s in range(1, 10))), 0.0)
        ttls.add(self.begun((20, 64), (20, 63)), 1.0)

        assert len(ttls) == 4
        assert ttls.distinct(np.array([20], np.uint32), 1.0).tolist() == [2]
