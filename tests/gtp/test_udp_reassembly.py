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

    def test_overlapping_parts_cannot_pile_up(self):
        """Each part begins eight bytes after the last and is 1400 long: no datagram is ever that much."""
        reader = UdpReader()
        for at in range(4000):
            part = IP(src="192.0.2.1", dst="192.0.2.2", id=7, proto=17, flags="MF", frag=at) / Raw(bytes(1400))
            reader.feed(bytes(ETHER / part), 0.0)
        assert sum(len(d) for p in reader._pending.values() for d in p.parts.values()) <= 65_535
        assert reader.counters["fragments_dropped"] > 10
        assert read(reader, [bytes(p) for p in fragment(V4 / Raw(b"!"), fragsize=512)][:-1]) == []

    def test_two_datagrams_in_turn_are_kept_apart(self):
        other = ETHER / IP(src="192.0.2.1", dst="192.0.2.2", id=8) / UDP(sport=8805, dport=8805) / Raw(BODY[::-1])
        pairs = zip(fragment(V4, fragsize=512), fragment(other, fragsize=512), strict=True)
        got = read(UdpReader(), [bytes(p) for pair in pairs for p in pair])
        assert [d.payload for d in got] == [BODY, BODY[::-1]]

    def test_a_bare_ip_packet_is_read_as_such(self):
        for packet, want in ((V4[IP], WANT4), (V6[IPv6], WANT6)):
            assert UdpReader().feed(bytes(packet), 0.0, "ip") == [want]

    @pytest.mark.parametrize("whole", [bytes(V4), bytes(V6)], ids=["ipv4", "ipv6"])
    def test_a_frame_cut_anywhere_gives_nothing(self, whole):
        reader = UdpReader()
        assert [d for cut in range(len(whole)) for d in reader.feed(whole[:cut], 0.0)] == []
        assert reader.counters["truncated"] > 0

    def test_noise_is_passed_over(self):
        rng, reader = random.Random(791), UdpReader()
        kinds = (b"\x08\x00\x45", b"\x86\xdd\x60", b"\x81\x00\x00", b"")
        for _ in range(20_000):
            reader.feed(rng.randbytes(12) + rng.choice(kinds) + rng.randbytes(rng.randrange(80)), 0.0)
        assert len(reader._pending) <= 256

    def test_a_lying_udp_length_is_counted(self):
        reader = UdpReader()
        assert read(reader, [bytes(ETHER / IP(src="1.1.1.1") / UDP(len=900) / b"x")]) == []
        assert reader.counters["truncated"] == 1
