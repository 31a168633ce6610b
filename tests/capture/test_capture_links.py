"""Any link type gives the program the IP packet behind an Ethernet header."""

from __future__ import annotations

from typing import Literal

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, CookedLinux, CookedLinuxV2, Dot1Q, Ether, Loopback
from scapy.layers.ppp import PPP
from scapy.packet import Packet, Raw

from nf.capture import SNAP, merged, to_ethernet
from tests.capture.files import PCAPS

V4 = IP(src="10.45.0.2", dst="192.0.2.80") / UDP(sport=40000, dport=53) / Raw(b"query")
V6 = IPv6(src="2001:db8:45::2", dst="2001:db8::80") / UDP(sport=40000, dport=53) / Raw(b"query")


def made(layers: Packet, link: int) -> Packet:
    """Return the frame that is made of *layers*, as scapy reads it."""
    frame = to_ethernet(bytes(layers), link)
    assert frame is not None
    return Ether(frame)


class TestToEthernet:
    """One link type each."""

    def test_ethernet_stays(self) -> None:
        frame = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / V4)

        assert to_ethernet(frame, 1) == frame

    @pytest.mark.parametrize("link", [12, 14, 101])
    @pytest.mark.parametrize("packet", [V4, V6], ids=["v4", "v6"])
    def test_raw_ip_is_told_by_its_version(self, link: int, packet: Packet) -> None:
        frame = made(packet, link)

        assert frame.type == (0x0800 if packet is V4 else 0x86DD)
        assert bytes(frame.payload) == bytes(packet)

    @pytest.mark.parametrize(("link", "packet", "kind"), [(228, V4, 0x0800), (229, V6, 0x86DD)])
    def test_raw_ip_of_one_version(self, link: int, packet: Packet, kind: int) -> None:
        frame = made(packet, link)

        assert (frame.type, bytes(frame.payload)) == (kind, bytes(packet))

    @pytest.mark.parametrize(("link", "cooked"), [(113, CookedLinux), (276, CookedLinuxV2)])
    @pytest.mark.parametrize("packet", [V4, V6, Dot1Q(vlan=7) / V4, ARP()], ids=["v4", "v6", "vlan", "arp"])
    def test_linux_cooked_keeps_the_protocol(self, link: int, cooked: type[Packet], packet: Packet) -> None:
        frame = made(cooked() / packet, link)

        expected = Ether(bytes(Ether(dst="00:00:00:00:00:00", src="00:00:00:00:00:00") / packet))
        assert bytes(frame) == bytes(expected)

    @pytest.mark.parametrize("family", [2, 10, 24, 28, 30])
    @pytest.mark.parametrize("order", ["little", "big"])
    def test_loopback_in_the_byte_order_of_its_machine(self, family: int, order: Literal["little", "big"]) -> None:
        packet = V4 if family == 2 else V6
        frame = to_ethernet(family.to_bytes(4, order) + bytes(packet), 0)

        assert frame is not None
        assert frame[12:] == (b"\x08\x00" if family == 2 else b"\x86\xdd") + bytes(packet)

    def test_loopback_of_openbsd(self) -> None:
        frame = to_ethernet(b"\0\0\0\x02" + bytes(V4), 108)

        assert frame is not None
        assert bytes(Ether(frame)[IP]) == bytes(V4)

    def test_loopback_as_scapy_writes_it(self) -> None:
        assert made(Loopback(type=2) / V4, 0)[UDP].dport == 53

    @pytest.mark.parametrize("link", [9, 50])
    @pytest.mark.parametrize("head", [b"", b"\xff\x03"], ids=["plain", "HDLC"])
    @pytest.mark.parametrize("packet", [V4, V6], ids=["v4", "v6"])
    def test_ppp_says_the_protocol(self, link: int, head: bytes, packet: Packet) -> None:
        frame = to_ethernet(head + bytes(PPP(proto=0x21 if packet is V4 else 0x57) / packet), link)

        assert frame is not None
        assert frame[12:] == (b"\x08\x00" if packet is V4 else b"\x86\xdd") + bytes(packet)

    def test_a_protocol_of_ppp_may_be_compressed(self) -> None:
        frame = to_ethernet(b"\x21" + bytes(V4), 9)

        assert frame is not None
        assert bytes(Ether(frame)[IP]) == bytes(V4)

    def test_what_else_ppp_carries_is_no_ip(self) -> None:
        assert to_ethernet(bytes.fromhex("ff03c0210101000a"), 9) == bytes(14) + bytes.fromhex("0101000a")

    @pytest.mark.parametrize(("link", "least"), [(9, 2), (0, 4), (108, 4), (113, 16), (276, 20), (101, 1)])
    def test_a_frame_shorter_than_its_link_header_is_none(self, link: int, least: int) -> None:
        assert to_ethernet(bytes(least - 1), link) is None
        assert to_ethernet(bytes(least), link) is not None

    @pytest.mark.parametrize("link", [-1, 105, 195])
    def test_a_link_type_that_is_not_read_is_none(self, link: int) -> None:
        assert to_ethernet(bytes(V4), link) is None

    @pytest.mark.parametrize("link", [1, 101, 113])
    def test_a_frame_is_cut_to_what_a_test_run_takes(self, link: int) -> None:
        frame = to_ethernet(b"\x45" + bytes(9000), link)

        assert frame is not None
        assert len(frame) == SNAP

    def test_it_is_not_where_more_is_wanted(self) -> None:
        frame = to_ethernet(bytes(9000), 1, snap=65_536)

        assert frame == bytes(9000)


class TestRealCaptures:
    """The IP packets of real files come out whole."""

    @pytest.mark.parametrize(
        ("name", "udp"),
        [("scapy__pfcp.pcap", 8805), ("ndpi__quic-v2.pcapng", 4443), ("zeek__gtp7_ipv6.pcap", 2152)],
    )
    def test_the_transport_header_is_where_it_should_be(self, name: str, udp: int) -> None:
        for _, _, packet, link, _ in merged([PCAPS / name]):
            frame = Ether(to_ethernet(packet, link))
            assert udp in (frame[UDP].sport, frame[UDP].dport)
