"""Fixed lines, live: tags and PPPoE sessions give each line its bytes, whatever addresses its packets have."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.layers.radius import Radius, RadiusAttr_Vendor_Specific, RadiusAttribute
from scapy.packet import Packet, Raw

from tests.live.conftest import wait_until
from tests.live.lines_and_sites import Site, site

BNG_1, BNG_2, CPE = "02:00:00:00:00:b1", "02:00:00:00:00:b2", "02:00:00:00:0c:01"
SERVER, SERVER6 = "198.51.100.7", "2001:db8:f::1"
CIRCUIT = "dslam-4 eth 1/9:20"


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Site]:
    with site("fixed-line", tmp_path) as running:
        yield running


def talk(
    lines: Site, tags: tuple[Packet, ...], home: str, size: int, *, bng: str = BNG_1, session: int = 0, port: int = 5000
) -> tuple[float, ...]:
    """Send a packet up and one down, of a size that no other has; return what they count: IP bytes up and down."""
    ip, server = (IPv6, SERVER6) if ":" in home else (IP, SERVER)
    up = ip(src=home, dst=server) / UDP(sport=port, dport=9999) / Raw(bytes(size))
    down = ip(src=server, dst=home) / UDP(sport=9999, dport=port) / Raw(bytes(2 * size))
    for packet, head in ((up, Ether(src=CPE, dst=bng)), (down, Ether(src=bng, dst=CPE))):
        frame = head
        for tag in tags:
            frame = frame / tag
        if session:
            frame = frame / PPPoE(sessionid=session) / PPP(proto=0x57 if ip is IPv6 else 0x21)
        lines.send("access", frame / packet)
    return float(len(up)), float(len(down))


class TestLines:
    """The lines of the example, under pseudonyms of the names that the configuration gives them."""

    def test_each_has_its_bytes(self, lines: Site) -> None:
        qinq = (Dot1AD(vlan=100), Dot1Q(vlan=12))
        expected = {
            "line:olt-7.pon-3.onu-12": talk(lines, qinq, "192.0.2.12", 100),
            "line:switch-2.port-30": talk(lines, (Dot1Q(vlan=30),), "2001:db8:30::1", 130),
            "line:dslam-4.port-8": talk(lines, (Dot1Q(vlan=20),), "192.0.2.8", 170, bng=BNG_2, session=4711),
        }

        assert lines.volumes() == {lines.pseudonym(name): volume for name, volume in expected.items()}

    def test_of_equal_addresses_each_line_has_its_own(self, lines: Site) -> None:
        """Behind two lines is the same private network."""
        first = talk(lines, (Dot1AD(vlan=100), Dot1Q(vlan=12)), "192.168.1.2", 100, port=5001)
        second = talk(lines, (Dot1Q(vlan=30),), "192.168.1.2", 150, port=5002)

        assert lines.volumes() == {
            lines.pseudonym("line:olt-7.pon-3.onu-12"): first,
            lines.pseudonym("line:switch-2.port-30"): second,
        }

    def test_pppoe_behind_the_tags_is_read_through(self, lines: Site) -> None:
        """The session is another with each connection; the line is the same."""
        qinq = (Dot1AD(vlan=100), Dot1Q(vlan=12))
        volumes = [talk(lines, qinq, "192.0.2.12", 90, session=number, port=number) for number in (7, 8)]

        assert lines.volumes() == {
            lines.pseudonym("line:olt-7.pon-3.onu-12"): tuple(map(sum, zip(*volumes, strict=True)))
        }

    def test_of_a_talk_between_two_lines_each_has_both_directions(self, lines: Site) -> None:
        """Each packet passes twice: on its way to the gateway, and from there to the other line."""
        first, second = (Dot1AD(vlan=100), Dot1Q(vlan=12)), (Dot1Q(vlan=30),)
        to = IP(src="192.0.2.12", dst="192.0.2.30") / UDP(sport=5000, dport=5001) / Raw(bytes(200))
        back = IP(src="192.0.2.30", dst="192.0.2.12") / UDP(sport=5001, dport=5000) / Raw(bytes(100))
        for packet, here, there in ((to, first, second), (back, second, first)):
            for tags, head in ((here, Ether(src=CPE, dst=BNG_1)), (there, Ether(src=BNG_1, dst=CPE))):
                frame = head
                for tag in tags:
                    frame = frame / tag
                lines.send("access", frame / packet)

        there, here = float(len(to)), float(len(back))
        assert lines.volumes() == {
            lines.pseudonym("line:olt-7.pon-3.onu-12"): (there, here),
            lines.pseudonym("line:switch-2.port-30"): (here, there),
        }

    def test_one_that_nobody_configured_has_a_name_of_its_own(self, lines: Site) -> None:
        both = [talk(lines, (Dot1Q(vlan=vlan),), "192.0.2.77", 60 + vlan, port=vlan) for vlan in (31, 32)]

        found = lines.volumes()
        assert sorted(found.values()) == sorted(both)
        assert {name.partition("-")[0] for name in found} == {"line"}


class TestRadius:
    """Accounting that is mirrored tells the line of an address, where many sessions share a VLAN."""

    def test_a_session_has_the_name_of_its_circuit(self, lines: Site) -> None:
        accounting = [
            RadiusAttribute(type=40, value=(1).to_bytes(4)),  # Acct-Status-Type: Start
            RadiusAttribute(type=44, value=b"0001"),
            RadiusAttribute(type=8, value=IPv4Address("192.0.2.9").packed),
            RadiusAttr_Vendor_Specific(vendor_id=3561, vendor_type=1, value=CIRCUIT.encode()),  # RFC 4679, 3.3.1
        ]
        start = IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=40000, dport=1813)
        lines.send("radius", Ether() / start / Radius(code=4, attributes=accounting))
        wait_until(lambda: len(lines.service.store) == 4, "the session of RADIUS is known")

        volume = talk(lines, (Dot1Q(vlan=20),), "192.0.2.9", 120, bng=BNG_2, session=4712)

        assert lines.volumes() == {lines.pseudonym(f"line:{CIRCUIT}"): volume}
