"""From frames to UDP datagrams; fragments are made by scapy."""

from __future__ import annotations

import random

import pytest
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from gtp.ip import Datagram, UdpReader

# Both ends are given: without them scapy would ask the network for a neighbour.
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
BODY = bytes(range(256)) * 12
V4 = ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=7) / UDP(sport=8805, dport=8805) / Raw(BODY)
V6 = ETHER / IPv6(src="2001:db8::1", dst="2001:db8::2") / IPv6ExtHdrFragment() / UDP(sport=8805, dport=8805) / Raw(BODY)
WANT4 = Datagram("192.0.2.1", 8805, "192.0.2.2", 8805, BODY)
WANT6 = Datagram("2001:db8::1", 8805, "2001:db8::2", 8805, BODY)


def read(reader: UdpReader, frames: list[bytes], at_s: float = 0.0) -> list[Datagram]:
    return [d for frame in frames for d in reader.feed(frame, at_s)]


class TestWhole:
    """A datagram in one packet comes out at once."""

    @pytest.mark.parametrize(
        "tags", [(), (Dot1Q(vlan=5),), (Dot1AD(vlan=5), Dot1Q(vlan=6))], ids=["none", "vlan", "qinq"]
    )
    def test_behind_any_tags(self, tags):
        frame = ETHER
        for tag in tags:
            frame = frame / tag
        frame = frame / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=1, dport=8805) / b"x"
        assert read(UdpReader(), [bytes(frame)]) == [Datagram("192.0.2.1", 1, "192.0.2.2", 8805, b"x")]

    def test_ethernet_padding_is_not_payload(self):
        frame = bytes(ETHER / IP(src="1.1.1.1", dst="2.2.2.2") / UDP(sport=1, dport=2) / b"x") + b"\0" * 20
        assert read(UdpReader(), [frame])[0].payload == b"x"


class TestFragments:
    """Fragments in any order make the datagram that was sent."""

    @pytest.mark.parametrize("seed", range(5))
    def test_of_ipv4(self, seed):
        parts = [bytes(p) for p in fragment(V4, fragsize=512)]
        random.Random(seed).shuffle(parts)
        assert read(UdpReader(), parts) == [WANT4]

    @pytest.mark.parametrize("seed", range(5))
    def test_of_ipv6(self, seed):
        parts = [bytes(p) for p in fragment6(V6, 600)]
        random.Random(seed).shuffle(parts)
        assert len(parts) > 3
        assert read(UdpReader(), parts) == [WANT6]

    def test_a_repeated_fragment_changes_nothing(self):
        parts = [bytes(p) for p in fragment(V4, fragsize=512)]
        assert read(UdpReader(), [parts[0], *parts]) == [WANT4]

    def test_a_missing_one_is_given_up_and_counted(self):
        reader = UdpReader()
        parts = [bytes(p) for p in fragment(V4, fragsize=512)]
        assert read(reader, parts[:-1]) == []
        read(reader, [bytes(p) for p in fragment(ETHER / IP(src="9.9.9.9", id=8) / V4[UDP], fragsize=512)], at_s=31.0)
        assert reader.counters["fragments_timeout"] == 1

    def test_memory_is_bounded(self):
        reader = UdpReader()
        first = bytes(fragment(V4, fragsize=512)[0])
        for number in range(5000):
            reader.feed(first[:18] + number.to_bytes(2, "big") + first[20:], 0.0)
        assert len(reader._pending) <= 256

    def test_a_lying_udp_length_is_counted(self):
        reader = UdpReader()
        assert read(reader, [bytes(ETHER / IP(src="1.1.1.1") / UDP(len=900) / b"x")]) == []
        assert reader.counters["truncated"] == 1
