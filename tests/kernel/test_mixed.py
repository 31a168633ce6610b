"""A port that carries N3, N6 and signalling together: each packet is what it is, and nothing is counted twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.contrib.erspan import ERSPAN_II
from scapy.contrib.mpls import MPLS
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether
from scapy.layers.sctp import SCTP
from scapy.layers.vxlan import VXLAN
from scapy.packet import Raw

from gtp.ip import UdpReader
from nf.settings import Mode
from tests.kernel.packets import (
    DL_TEID,
    GNB,
    QFI,
    SERVER,
    SERVER6,
    UE,
    UE6,
    UL_TEID,
    UPF,
    downlink,
    ether,
    gtpu,
    outer,
    udp,
    uplink,
)
from tests.kernel.rig import Rig
from tests.kernel.twin import DOWNLINK, UPLINK

SESSION = 7
MS = 1_000_000
SMF = "10.10.4.1"
ANSWER = udp(200, SERVER, UE, 443, 40000)
ASK = udp(100)
ASK6 = IPv6(src=UE6, dst=SERVER6) / UDP(sport=40000, dport=443) / Raw(bytes(90))
LINK = Ether(src="02:00:00:00:00:03", dst="02:00:00:00:00:04")
SIGNALLING = {
    "PFCP": IP(src=SMF, dst=UPF) / UDP(sport=8805, dport=8805) / Raw(bytes(60)),
    "a PFCP answer to another port": IP(src=UPF, dst=SMF) / UDP(sport=8805, dport=40000) / Raw(bytes(60)),
    "GTP-C": IP(src=SMF, dst=UPF) / UDP(sport=40000, dport=2123) / Raw(bytes(60)),
    "RADIUS accounting": IP(src=SMF, dst=UPF) / UDP(sport=40000, dport=1813) / Raw(bytes(60)),
    "NGAP": IP(src=GNB, dst=SMF) / SCTP(sport=38412, dport=38412) / Raw(bytes(60)),
    "PFCP over IPv6": IPv6(src=UE6, dst=SERVER6) / UDP(sport=8805, dport=8805) / Raw(bytes(60)),
}


@pytest.fixture
def known(rig: Rig) -> Iterator[Rig]:
    """Return the data plane with one session, its two tunnels and its addresses."""
    for name in ("sights", "transits"):
        rig.plane._maps[name].clear()
    rig.know_tunnel(UPF, UL_TEID, UPLINK, SESSION)
    rig.know_tunnel(GNB, DL_TEID, DOWNLINK, SESSION)
    rig.know_ue(UE, SESSION)
    yield rig
    rig.plane.follow = False


def moved(rig: Rig, frame: bytes) -> dict[str, int]:
    return rig.run(frame, "mixed").counters


class TestUserData:
    """A packet that shows up in its tunnel and outside of it is counted where its direction was seen first."""

    def test_uplink_is_counted_in_its_tunnel(self, known: Rig) -> None:
        first, second = moved(known, ether(uplink(ASK))), moved(known, ether(ASK))
        flow = known.flow()

        assert (first["counted"], first["counted_octets"], second["copy"]) == (1, len(ASK), 1)
        assert "counted" not in second
        assert (flow["packets"].tolist(), flow["bytes"].tolist()) == ([1, 0], [len(ASK), 0])
        assert (int(flow["session"]), flow["qfi"].tolist(), flow["teid"].tolist()) == (SESSION, [QFI, 0], [UL_TEID, 0])

    def test_downlink_is_counted_before_it_is_in_its_tunnel_and_knows_the_tunnel_too(self, known: Rig) -> None:
        first, second = moved(known, ether(ANSWER)), moved(known, ether(downlink(ANSWER)))
        flow = known.flow()

        assert (first["counted"], first["counted_octets"], second["copy"]) == (1, len(ANSWER), 1)
        assert (flow["packets"].tolist(), flow["bytes"].tolist()) == ([1, 0], [len(ANSWER), 0])
        assert (int(flow["session"]), flow["qfi"].tolist(), flow["teid"].tolist()) == (SESSION, [QFI, 0], [DL_TEID, 0])

    def test_a_conversation_is_one_flow_of_both_directions(self, known: Rig) -> None:
        for n in range(10):
            for frame in (uplink(ASK), ASK, ANSWER, downlink(ANSWER)):
                known.run(ether(frame), "mixed", n + 1)
        flow = known.flow()

        assert flow["packets"].tolist() == [10, 10]
        assert flow["bytes"].tolist() == [10 * len(ASK), 10 * len(ANSWER)]
        assert known.flows()[0].side == UPLINK

    @pytest.mark.parametrize(("up", "down"), [(uplink(ASK), downlink(ANSWER)), (ASK, ANSWER)], ids=["N3", "N6"])
    def test_a_port_that_shows_one_side_only_shows_all_of_it(self, known: Rig, up: Any, down: Any) -> None:
        for frame in (up, down, up, down):
            known.run(ether(frame), "mixed")

        assert known.flow()["packets"].tolist() == [2, 2]
        assert int(known.flow()["session"]) == SESSION

    def test_ipv6_in_a_tunnel_over_ipv4(self, rig: Rig) -> None:
        outcome = rig.run(ether(uplink(ASK6)), "mixed")

        assert outcome.flow is not None
        assert (outcome.flow.src, outcome.flow.octets, outcome.flow.teid) == (UE6, len(ASK6), UL_TEID)

    def test_the_way_through_the_upf_is_timed(self, known: Rig) -> None:
        known.plane.follow = True
        syn = IP(src=UE, dst=SERVER) / TCP(sport=40000, dport=443, flags="S", seq=5)
        answer = IP(src=SERVER, dst=UE) / TCP(sport=443, dport=40000, flags="SA", seq=9, ack=6)
        steps = ((uplink(syn), 10 * MS), (syn, 700_000), (answer, 10 * MS), (downlink(answer), 400_000))
        for frame, after_ns in steps:
            known.run(ether(frame), "mixed", after_ns)
        ((session,), (transit,)) = known.plane.read_transits()

        assert int(session) == SESSION
        assert transit["n"].tolist() == [1, 1]
        assert (transit["sum_us"] / transit["n"]).tolist() == [700, 400]

    def test_what_goes_to_port_2152_and_is_no_gtp_is_a_packet_like_others(self, known: Rig) -> None:
        plain = udp(64, UE, SERVER, 40000, 2152)

        assert moved(known, ether(plain))["counted_octets"] == len(plain)
        assert int(known.flow()["session"]) == SESSION


class TestPathMessages:
    """GTP-U messages without user data are of the path between its ends, and no subscriber's traffic."""

    @pytest.mark.parametrize(
        ("message", "counter"), [(1, "gtpu_echo_request"), (2, "gtpu_echo_response"), (254, "gtpu_end_marker")]
    )
    def test_they_begin_no_flow(self, rig: Rig, message: int, counter: str) -> None:
        outcome = rig.run(ether(outer() / gtpu(0, message, S=1, seq=7)), "mixed")

        assert outcome.counters[counter] == 1
        assert not rig.flows()
        assert outcome.verdict == "drop"


class TestSignalling:
    """Signalling is passed on to who listens, in mode mirror too, and is nobody's traffic."""

    @pytest.mark.parametrize("packet", SIGNALLING.values(), ids=SIGNALLING.keys())
    @pytest.mark.parametrize("mode", [Mode.MIRROR, Mode.LOCAL])
    def test_it_passes_and_begins_no_flow(self, rig: Rig, packet: Any, mode: Mode) -> None:
        with rig.mode(mode):
            outcome = rig.run(ether(packet), "mixed")

        assert (outcome.verdict, outcome.counters["signalling"]) == ("pass", 1)
        assert not rig.flows()

    @pytest.mark.parametrize("kind", ["PFCP", "NGAP"])
    def test_so_do_its_fragments(self, rig: Rig, kind: str) -> None:
        datagram = SIGNALLING[kind] / Raw(bytes(3000))
        datagram[IP].id = 77
        parts = [ether(part) for part in fragment(datagram, 1400)]
        outcomes = [rig.run(part, "mixed") for part in parts]

        assert len(parts) > 2
        assert {outcome.verdict for outcome in outcomes} == {"pass"}
        assert not rig.flows()

    def test_fragments_that_come_in_any_order_can_be_joined(self, rig: Rig) -> None:
        datagram = SIGNALLING["PFCP"] / Raw(bytes(range(256)) * 12)
        datagram[IP].id = 78
        parts = [ether(part) for part in reversed(fragment(datagram, 1400))]
        passed = [part for part in parts if rig.run(part, "mixed").verdict == "pass"]
        reader = UdpReader()
        joined = [each for part in passed for each in reader.feed(part, 0.0)]

        assert passed == parts
        assert [each.payload for each in joined] == [bytes(datagram[UDP].payload)]

    def test_fragments_of_user_data_stay(self, known: Rig) -> None:
        whole = udp(3000)
        whole[IP].id = 80
        outcomes = [known.run(ether(part), "mixed") for part in fragment(whole, 1400)]

        assert [outcome.verdict for outcome in outcomes] == ["drop"] * len(outcomes)
        assert known.flow()["bytes"].tolist() == [sum(len(part) for part in fragment(whole, 1400)), 0]

    def test_fragments_of_a_tunnel_stay(self, known: Rig) -> None:
        whole = uplink(udp(2000))
        whole[IP].id = 79
        outcomes = [known.run(ether(part), "mixed") for part in fragment(whole, 1400)]

        assert [outcome.verdict for outcome in outcomes] == ["drop"] * len(outcomes)
        assert known.flow()["bytes"].tolist() == [len(udp(2000)), 0]


WRAPPINGS = {
    "ERSPAN": lambda frame: (
        LINK / IP(src="192.0.2.1", dst="192.0.2.2") / GRE(proto=0x88BE, seqnum_present=1) / ERSPAN_II() / Raw(frame)
    ),
    "VXLAN": lambda frame: (
        LINK / IP(src="192.0.2.1", dst="192.0.2.2") / UDP(sport=1, dport=4789) / VXLAN(vni=7) / Raw(frame)
    ),
    "MPLS": lambda frame: LINK / MPLS(label=16, s=1) / Raw(frame[14:]),
}


class TestWrapped:
    """A mirror may have put something around any of them."""

    @pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS.keys())
    def test_each_is_what_it_is(self, known: Rig, wrap: Any) -> None:
        for frame in (uplink(ASK), ASK, ANSWER, downlink(ANSWER)):
            known.run(bytes(wrap(ether(frame))), "mixed")
        signalling = known.run(bytes(wrap(ether(SIGNALLING["PFCP"]))), "mixed")

        assert known.flow()["bytes"].tolist() == [len(ASK), len(ANSWER)]
        assert (signalling.verdict, signalling.counters["signalling"]) == ("pass", 1)
