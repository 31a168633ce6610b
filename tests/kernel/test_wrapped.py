"""Packets that a mirror wrapped: their sessions, and the fate of tunnels that are a subscriber's own."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import GRE, IP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.vxlan import VXLAN

from tests.kernel.packets import GNB, SERVER, SERVER6, UE, UE6, UL_TEID, UPF, downlink, ether, raw, tcp, udp, uplink
from tests.kernel.rig import Rig
from tests.kernel.table import PLAIN, UP
from tests.kernel.twin import Flow
from tests.kernel.wraps import ETHER, WRAPS, vxlan

OTHER = IP(src="192.0.2.7", dst="192.0.2.8") / UDP(sport=5000, dport=6000)
OWN = {
    "VXLAN": (IP(src=UE, dst=SERVER) / UDP(sport=50000, dport=4789) / VXLAN() / ETHER / OTHER, 17, 50000, 4789),
    "GRE": (IP(src=UE, dst=SERVER) / GRE(proto=0x0800) / OTHER, 47, 0, 0),
    "VXLAN over IPv6": (
        IPv6(src=UE6, dst=SERVER6) / UDP(sport=50000, dport=4789) / VXLAN() / ETHER / OTHER,
        17,
        50000,
        4789,
    ),
}


class TestOwn:
    """A tunnel of which one end is a subscriber is his own, and a flow; of any other the packets count."""

    @pytest.mark.parametrize("name", OWN)
    def test_a_subscribers_tunnel_is_a_flow(self, rig: Rig, name: str) -> None:
        packet, proto, sport, dport = OWN[name]
        rig.know_ue(UE, 7)
        rig.know_ue("2001:db8:45::/64", 7)

        outcome = rig.run(ether(packet), "n6")

        assert outcome.flow is not None
        assert (outcome.flow.src, outcome.flow.proto) == (UE6 if "IPv6" in name else UE, proto)
        assert (outcome.flow.sport, outcome.flow.dport) == (sport, dport)
        assert outcome.why == set()

    def test_the_answer_in_it_is_of_the_flow_too(self, rig: Rig) -> None:
        rig.know_ue(UE, 7)
        back = IP(src=SERVER, dst=UE) / UDP(sport=50000, dport=4789) / VXLAN() / ETHER / OTHER

        outcome = rig.run(ether(back), "n6")

        assert outcome.flow is not None
        assert outcome.flow.dst == UE
        assert outcome.why == set()

    @pytest.mark.parametrize("name", OWN)
    def test_one_of_nobody_is_a_mirrors(self, rig: Rig, name: str) -> None:
        outcome = rig.run(ether(OWN[name][0]), "n6")

        assert outcome.flow == Flow("192.0.2.7", 5000, "192.0.2.8", 6000, 17, 28)
        assert outcome.why == {"looked_through"}


class TestSessions:
    """A packet that a mirror wrapped is of the session that its tunnel, or its UE, says."""

    @pytest.mark.parametrize("name", WRAPS)
    def test_by_its_tunnel(self, rig: Rig, name: str) -> None:
        rig.know_tunnel(UPF, UL_TEID, "uplink", 7)

        outcome = rig.run(raw(WRAPS[name](uplink(udp()))), "n3")

        assert outcome.flow == UP
        assert rig.flow()["session"] == 7

    @pytest.mark.parametrize("name", WRAPS)
    def test_by_its_address(self, rig: Rig, name: str) -> None:
        rig.know_ue(UE, 7)

        rig.run(raw(WRAPS[name](udp())), "n6")

        assert rig.flow()["session"] == 7


class TestFragments:
    """The first fragment of a mirror's tunnel has the packet, and the later ones are known by it."""

    @pytest.mark.parametrize("role", ["n6", "n3", "any"])
    def test_they_count_once(self, rig: Rig, role: str) -> None:
        packet = udp(2000) if role == "n6" else uplink(udp(2000))
        frames = [ether(part) for part in fragment(vxlan(packet), 1000)]

        outcomes = [rig.run(frame, role) for frame in frames]

        (flow,) = rig.flows()
        assert flow.octets == 2028
        assert len(frames) == 3
        assert all(o.why == {"outer_fragment", "outer_fragment_known"} for o in outcomes[1:])


class TestBothWays:
    """Packets of both directions, wrapped differently, are one flow."""

    def test_of_a_connection(self, rig: Rig) -> None:
        rig.run(raw(WRAPS["VXLAN"](uplink(tcp("S", 0)))), "n3")
        back = IP(src=SERVER, dst=UE) / tcp().payload
        back.payload.sport, back.payload.dport = 443, 40000
        rig.run(raw(WRAPS["ERSPAN III"](downlink(back))), "n3")

        (flow,) = rig.flows()
        assert (flow.src, flow.dst) == (UE, SERVER)
        packets: Any = rig.flow()["packets"]
        assert packets.tolist() == [1, 1]


def test_a_plain_frame_after_a_wrapped_one_is_read_from_its_beginning(rig: Rig) -> None:
    """The rest of one packet must not be taken for the next one's."""
    for name in WRAPS:
        rig.run(raw(WRAPS[name](udp(dport=9))), "n6")
        rig.forget()
        assert rig.run(ether(udp()), "n6").flow == PLAIN
        assert GNB not in {flow.src for flow in rig.flows()}
        rig.forget()
