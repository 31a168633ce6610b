"""Frames of fixed lines: tags and PPPoE session say the line, the gateway's address the direction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE
from scapy.packet import Packet, Raw

from gtp.events import Side
from nf.abi import FLOW_FIRST_B, SNF_DOWNLINK, SNF_UPLINK
from nf.kernel.changes import PutTunnel
from nf.sessions.lines import ends, gateway_value
from tests.kernel.rig import Rig

BNG, CPE, SERVER, HOME, HOME6 = "02:00:00:00:00:b1", "02:00:00:00:0c:01", "198.51.100.7", "100.64.0.12", "2001:db8::12"
NAME, SESSION, OTHER = "bng-1", 7, 8


@pytest.fixture
def lines(rig: Rig) -> Iterator[Rig]:
    """A gateway of which the tags say the line."""
    rig.plane.set_gateways({BNG: gateway_value(NAME, by_session=False)})
    known: list[tuple[str, int]] = []
    rig.known = known  # type: ignore[attr-defined]
    yield rig
    rig.plane.drop_tunnels(known)
    rig.plane.set_gateways({})
    rig.forget_sessions()


def know(rig: Any, session: int, s_vlan: int = 0, c_vlan: int = 0, pppoe: int = 0, ue: str = "") -> None:
    """Configure a line."""
    up, down = ends(NAME, s_vlan, c_vlan, pppoe)
    rig.plane.put_tunnels([PutTunnel(*up, Side.UPLINK, session, ue), PutTunnel(*down, Side.DOWNLINK, session, ue)])
    rig.plane.new_generation()
    rig.known += [up, down]


def packet(src: str, dst: str, *, answer: bool = False) -> Packet:
    head = IPv6(src=src, dst=dst) if ":" in src else IP(src=src, dst=dst)
    ports = {"sport": 443, "dport": 40000} if answer else {"sport": 40000, "dport": 443}
    return head / UDP(**ports) / Raw(b"\x55" * 32)


def frame(tags: tuple[Packet, ...], payload: Packet, *, up: bool = True, session: int = 0) -> bytes:
    whole = Ether(src=CPE, dst=BNG) if up else Ether(src=BNG, dst=CPE)
    for tag in tags:
        whole = whole / tag
    if session:
        whole = whole / PPPoE(sessionid=session) / PPP(proto=0x57 if IPv6 in payload else 0x21)
    return bytes(whole / payload)


def qinq(s_vlan: int, c_vlan: int, outer: type[Packet] = Dot1AD) -> tuple[Packet, ...]:
    return outer(vlan=s_vlan), Dot1Q(vlan=c_vlan)


def both(rig: Rig, tags: tuple[Packet, ...], address: str = HOME, session: int = 0) -> tuple[int, int]:
    """Send a packet each way; return the session of their flow and its packets."""
    server = "2001:db8:f::1" if ":" in address else SERVER
    rig.run(frame(tags, packet(address, server), session=session), "n6")
    rig.run(frame(tags, packet(server, address, answer=True), up=False, session=session), "n6")
    flow = rig.flow()
    assert int(flow["ue_end"]) == sender_of(flow)  # the home spoke first
    return int(flow["session"]), int(flow["packets"].sum())


def sender_of(flow: dict[str, Any]) -> int:
    """Return the end that spoke first."""
    return int(flow["flags"] & FLOW_FIRST_B > 0)


class TestTags:
    """The tags of a frame name its line, in both directions."""

    @pytest.mark.parametrize("outer", [Dot1AD, Dot1Q])
    @pytest.mark.parametrize("address", [HOME, HOME6])
    def test_two_tags(self, lines: Rig, outer, address) -> None:
        know(lines, SESSION, 100, 12)
        know(lines, OTHER, 101, 12)
        assert both(lines, qinq(100, 12, outer), address) == (SESSION, 2)

    def test_one_tag(self, lines: Rig) -> None:
        know(lines, SESSION, c_vlan=12)
        know(lines, OTHER, 100, 12)
        assert both(lines, (Dot1Q(vlan=12),)) == (SESSION, 2)

    def test_a_mirror_s_own_tag_before_them(self, lines: Rig) -> None:
        know(lines, SESSION, 100, 12)
        assert both(lines, (Dot1Q(vlan=999), *qinq(100, 12))) == (SESSION, 2)

    def test_behind_them_is_pppoe(self, lines: Rig) -> None:
        know(lines, SESSION, 100, 12)
        assert both(lines, qinq(100, 12), session=4711) == (SESSION, 2)

    def test_priority_bits_are_no_part_of_them(self, lines: Rig) -> None:
        know(lines, SESSION, 100, 12)
        assert both(lines, (Dot1AD(vlan=100, prio=5), Dot1Q(vlan=12, prio=3))) == (SESSION, 2)


class TestSessions:
    """The number of a PPPoE session names the line where several share a VLAN."""

    @pytest.fixture
    def shared(self, lines: Rig) -> Rig:
        lines.plane.set_gateways({BNG: gateway_value(NAME, by_session=True)})
        return lines

    @pytest.mark.parametrize("address", [HOME, HOME6])
    def test_of_one_vlan(self, shared: Rig, address) -> None:
        know(shared, SESSION, c_vlan=12, pppoe=4711)
        know(shared, OTHER, c_vlan=12, pppoe=4712)
        assert both(shared, (Dot1Q(vlan=12),), address, session=4711) == (SESSION, 2)

    def test_without_a_tag(self, lines: Rig) -> None:
        know(lines, SESSION, pppoe=4711)
        assert both(lines, (), session=4711) == (SESSION, 2)


class TestDirection:
    """The gateway's address says which way a packet goes, whatever its addresses are."""

    def test_between_two_lines_each_has_its_own(self, lines: Rig) -> None:
        know(lines, SESSION, 100, 12)
        know(lines, OTHER, 100, 13)
        inside = packet(HOME, "100.64.0.13")
        lines.run(frame(qinq(100, 12), inside), "n6")
        assert int(lines.flow()["session"]) == SESSION
        lines.run(frame(qinq(100, 13), inside, up=False), "n6")
        assert int(lines.flow()["session"]) == OTHER

    @pytest.mark.parametrize(("up", "way"), [(True, SNF_UPLINK), (False, SNF_DOWNLINK)])
    def test_of_a_line_that_nobody_configured(self, lines: Rig, up, way) -> None:
        lines.run(frame(qinq(100, 12), packet(HOME, SERVER), up=up), "n6")
        flow = lines.flow()
        sender = sender_of(flow)
        assert int(flow["ue_end"]) == (sender if way == SNF_UPLINK else 1 - sender)
        assert int(flow["session"]) == 0


class TestOthers:
    """Frames of no line are what they were."""

    def test_a_line_that_nobody_configured_is_of_who_has_its_address(self, lines: Rig) -> None:
        lines.know_ue(HOME, SESSION)
        assert both(lines, qinq(100, 12)) == (SESSION, 2)

    def test_of_two_lines_the_one_at_whose_end_the_address_is(self, lines: Rig) -> None:
        lines.know_ue(HOME, SESSION)
        lines.know_ue("100.64.0.13", OTHER)
        lines.run(frame(qinq(100, 13), packet(HOME, "100.64.0.13"), up=False), "n6")
        assert int(lines.flow()["session"]) == OTHER

    def test_another_address_than_that_of_the_line(self, lines: Rig) -> None:
        know(lines, SESSION, 100, 12, ue=HOME)
        outcome = lines.run(frame(qinq(100, 12), packet("100.64.0.99", SERVER)), "n6")
        assert "ue_mismatch" in outcome.why
        assert int(lines.flow()["session"]) == 0

    def test_neither_end_is_a_gateway(self, lines: Rig) -> None:
        know(lines, SESSION, 100, 12)
        other = Ether(src=CPE, dst="02:00:00:00:00:ff") / Dot1AD(vlan=100) / Dot1Q(vlan=12) / packet(HOME, SERVER)
        lines.run(bytes(other), "n6")
        assert int(lines.flow()["session"]) == 0

    def test_no_tag_and_no_session(self, lines: Rig) -> None:
        lines.know_ue(HOME, SESSION)
        assert both(lines, ()) == (SESSION, 2)

    @pytest.mark.parametrize("cut", [16, 18, 20, 22, 24, 28])
    def test_a_frame_that_ends_in_its_tags(self, lines: Rig, cut) -> None:
        know(lines, SESSION, 100, 12)
        outcome = lines.run(frame(qinq(100, 12), packet(HOME, SERVER), session=4711)[:cut], "n6")
        assert outcome.flow is None
        assert outcome.verdict == "drop"
