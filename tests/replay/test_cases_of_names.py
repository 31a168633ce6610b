"""Captures behind public bug reports (`../shared/cases`): the names and applications that they hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.replay.conftest import Replayed


class TestNames:
    """The names in README.md beside the captures are found."""

    @pytest.mark.parametrize(
        ("case", "sport", "app", "basis", "name"),
        [
            ("quic_three_initials_ack", 50005, "", "sni", "video.example.net"),
            ("tls_first_segment_three_times", 41006, "Wikipedia", "sni", "www.wikipedia.org"),
            ("tls_tfo_split", 41017, "Wikipedia", "sni", "www.wikipedia.org"),
            ("dns_a_aaaa_one_socket", 45001, "YouTube", "dns_answer", "www.youtube.com"),
            ("dns_a_aaaa_one_socket", 45002, "YouTube", "dns_answer", "www.youtube.com"),
            ("dns_cname_after_address", 45003, "YouTube", "dns_answer", "www.youtube.com"),
        ],
    )
    def test_of_a_flow(
        self, replay: Callable[..., Replayed], shared: Path, case: str, sport: int, app: str, basis: str, name: str
    ) -> None:
        flows = replay(shared / "cases" / f"{case}.pcap").flows

        found = [(r["app"], r["app_basis"], r["name"]) for r in flows if sport in (r["sport"], r["dport"])]
        assert found == [(app, basis, name)]
