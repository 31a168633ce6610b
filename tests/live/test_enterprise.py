"""An enterprise, live: addresses give each site its bytes, under the name that the configuration gives it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.live.lines_and_sites import Site, site

SERVER, SERVER6 = "198.51.100.7", "2001:db8:f::1"


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[Site]:
    with site("enterprise", tmp_path) as running:
        yield running


def talk(sites: Site, host: str, size: int) -> tuple[float, ...]:
    """Send a packet from a site and one to it; return what they count: IP bytes of both directions."""
    ip, server = (IPv6, SERVER6) if ":" in host else (IP, SERVER)
    up = ip(src=host, dst=server) / UDP(sport=5000, dport=9999) / Raw(bytes(size))
    down = ip(src=server, dst=host) / UDP(sport=9999, dport=5000) / Raw(bytes(2 * size))
    for packet in (up, down):
        sites.send("wan", Ether(dst="02:00:00:00:00:06") / packet)
    return float(len(up)), float(len(down))


class TestSites:
    """The sites of the example."""

    def test_each_has_its_bytes_under_its_name(self, sites: Site) -> None:
        berlin = [talk(sites, host, size) for host, size in (("10.1.0.5", 100), ("10.1.9.9", 110))]
        berlin.append(talk(sites, "2001:db8:1:7::5", 120))
        lab, shop = talk(sites, "10.1.200.7", 130), talk(sites, "192.0.2.17", 140)

        assert sites.volumes() == {
            "berlin": tuple(map(sum, zip(*berlin, strict=True))),
            "berlin-lab": lab,  # the longer prefix
            "shop-17": shop,
        }

    def test_what_is_of_no_site_is_nobodys(self, sites: Site) -> None:
        talk(sites, "10.9.0.1", 100)

        assert sites.volumes() == {}
        assert sites.service.pipeline.outside.counters["n6_without_session"] == 2

    @pytest.mark.parametrize(("first", "second"), [("10.1.0.9", "192.0.2.17"), ("192.0.2.17", "10.1.0.9")])
    def test_of_a_talk_between_two_sites_the_one_with_an_address_has_both_directions(
        self, sites: Site, first: str, second: str
    ) -> None:
        sent = {}
        for source, target, size in ((first, second, 300), (second, first, 100)):
            ports = {"sport": 1, "dport": 2} if source == first else {"sport": 2, "dport": 1}
            packet = IP(src=source, dst=target) / UDP(**ports) / Raw(bytes(size))
            sites.send("wan", Ether(dst="02:00:00:00:00:06") / packet)
            sent[source] = float(len(packet))

        assert sites.volumes() == {"shop-17": (sent["192.0.2.17"], sent["10.1.0.9"])}
