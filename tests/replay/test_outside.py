"""Traffic beside subscribers on N6 is nobody's: it is counted by why, and makes no record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import Ether
from scapy.layers.sctp import SCTP
from scapy.packet import Packet
from scapy.utils import wrpcap

from gtp.events import Identity
from gtp.gtpu import encode_gpdu
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan
from nf.settings import Role
from tests.replay.conftest import Replayed

SMF, UPF, GNB = "192.0.2.1", "192.0.2.10", "192.0.2.20"
UE, SERVER, N6 = "10.45.0.2", "198.51.100.7", "203.0.113.10"
PLAN = SessionPlan(SMF, 11, Identity(imsi="001010000000001"), UE, (UPF, 0xA1), (GNB, 0xB2))
BEGUN_S = 1_700_000_000.0

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write packets, one each millisecond, as a capture of a port."""

    def run(name: str, *packets: Packet, from_s: float = 0.0) -> Path:
        frames = [Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet for packet in packets]
        for number, frame in enumerate(frames):
            frame.time = BEGUN_S + from_s + number / 1000
        wrpcap(str(tmp_path / name), frames)
        return tmp_path / name

    return run


def n4() -> list[Packet]:
    request, response = build.establishment_request(1, PLAN), build.establishment_response(1, 11, UPF, 22)
    return [
        IP(src=SMF, dst=UPF) / UDP(sport=8805, dport=8805) / request,
        IP(src=UPF, dst=SMF) / UDP(sport=8805, dport=8805) / response,
    ]


def uplink(packet: Packet) -> Packet:
    tunnel = encode_gpdu(0xA1, bytes(packet), 9, uplink=True)
    return IP(src=GNB, dst=UPF) / UDP(sport=2152, dport=2152) / tunnel


def subscribers(replayed: Replayed) -> set[str]:
    return {who for batch in replayed.batches for who in batch.columns["subscriber"]}


# The destinations and hop limits are those of RFC 4861, 4.3 and 4.4, RFC 4291, 2.7.1, RFC 5771 and RFC 3927.
NOBODYS = {
    "n6_link_scope": [
        IPv6(src="fe80::1", dst="2001:db8:6::10", hlim=64) / UDP(sport=1, dport=2),
        IPv6(src="2001:db8:6::10", dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt="2001:db8:6::1"),
        IP(src="203.0.113.1", dst="224.0.0.5") / UDP(sport=1, dport=2),
        IP(src="169.254.3.4", dst=SERVER) / UDP(sport=1, dport=2),
    ],
    "n6_neighbours": [
        IPv6(src="2001:db8:6::1", dst="2001:db8:6::10", hlim=255) / ICMPv6ND_NA(tgt="2001:db8:6::1"),
    ],
    "n6_signalling": [
        IP(src=SMF, dst=UPF) / UDP(sport=40000, dport=1813) / bytes(20),
        IP(src=SMF, dst=UPF) / SCTP(sport=38412, dport=38412) / bytes(20),
        IP(src="192.0.2.33", dst=UPF) / UDP(sport=2123, dport=2123) / bytes(20),
    ],
}
EACH = [(why, packet) for why, packets in NOBODYS.items() for packet in packets]


class TestWithoutSessions:
    """Without sessions an address of N6 goes for a subscriber; some addresses are known to be none."""

    @pytest.mark.parametrize(("why", "packet"), EACH, ids=[f"{w}-{i}" for i, (w, _) in enumerate(EACH)])
    def test_it_is_never_a_subscriber(self, write, replay, why, packet):
        replayed = replay(write("n6.pcap", packet), roles=[Role.N6])

        assert subscribers(replayed) == set()
        assert replayed.result.outside == {why: 1, f"{why}_octets": len(packet)}

    @pytest.mark.parametrize(
        "packet",
        [
            IP(src="10.45.0.9", dst=SERVER) / TCP(sport=40000, dport=443, flags="S"),
            IPv6(src="2001:db8:45::9", dst="2001:db8:7::1", hlim=63) / ICMPv6EchoRequest(),
            IP(src="10.45.0.9", dst=SERVER) / ICMP(),
        ],
        ids=["tcp", "ping of IPv6", "ping"],
    )
    def test_who_speaks_to_a_server_is(self, write, replay, packet):
        replayed = replay(write("n6.pcap", packet), roles=[Role.N6])

        assert len(subscribers(replayed)) == 1
        assert not replayed.result.outside


class TestWithSessions:
    """As soon as one session is known, traffic outside of tunnels is a session's or nobody's."""

    def test_what_has_no_session_is_counted_and_no_record(self, write, replay):
        others = IP(src=N6, dst="198.51.100.99") / UDP(sport=123, dport=123) / bytes(48)
        replayed = replay(write("n4.pcap", *n4()), write("n6.pcap", others, from_s=1), roles=[Role.N4, Role.N6])

        assert subscribers(replayed) == set()
        assert replayed.result.outside == {"n6_without_session": 1, "n6_without_session_octets": len(others)}

    def test_a_ue_of_a_session_is_counted_on_n6_alone(self, write, replay):
        mine = IP(src=UE, dst=SERVER) / UDP(sport=40000, dport=9999) / bytes(100)
        replayed = replay(write("n4.pcap", *n4()), write("n6.pcap", mine, mine, from_s=1), roles=[Role.N4, Role.N6])

        (batch,) = replayed.batches
        assert batch.columns["ul_bytes"].tolist() == [2 * len(mine)]
        assert not replayed.result.outside

    @pytest.mark.parametrize("told", [True, False], ids=["roles told", "nothing told"])
    def test_a_translated_n6_is_recognised_and_n3_alone_gives_the_volumes(self, write, replay, told):
        mine = IP(src=UE, dst=SERVER) / TCP(sport=40000, dport=443, flags="PA", seq=5, ack=7) / bytes(500)
        translated = IP(src=N6, dst=SERVER, ttl=63) / TCP(sport=61000, dport=443, flags="PA", seq=5, ack=7) / bytes(500)
        files = (
            write("n4.pcap", *n4()),
            write("n3.pcap", *[uplink(mine)] * 3, from_s=1),
            write("n6.pcap", *[translated] * 3, from_s=1.0005),
        )
        replayed = replay(*files, roles=[Role.N4, Role.N3, Role.N6] if told else [None] * 3)

        (batch,) = replayed.batches
        assert len(subscribers(replayed)) == 1
        assert batch.columns["ul_bytes"].tolist() == [3 * len(mine)]
        assert replayed.result.outside["n6_translated_octets"] == 3 * len(translated)
