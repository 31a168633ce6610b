"""The session of a packet where it has more than one address of a family: routes, further and delegated prefixes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Packet, Raw

from gtp.events import Side
from nf.kernel.changes import PutTunnel
from tests.kernel.packets import DL_TEID, GNB, SERVER, SERVER6, UE, UE6, UL_TEID, UPF, ether, gtpu, outer
from tests.kernel.rig import Rig

SESSION, OTHER = 7, 8
LAN, PART, SECOND, SITE = "192.168.50.0/24", "192.168.50.64/26", "2001:db8:2::/64", "2001:db8:f00::/56"


@pytest.fixture
def known(rig: Rig) -> Iterator[Rig]:
    """A session with two tunnels and both first addresses."""
    rows = [
        PutTunnel(UPF, UL_TEID, Side.UPLINK, SESSION, UE, UE6, routed=True),
        PutTunnel(GNB, DL_TEID, Side.DOWNLINK, SESSION, UE, UE6, routed=True),
    ]
    rig.plane.put_tunnels(rows)
    rig.plane.put_ues([("", UE, SESSION), ("", UE6, SESSION)])
    yield rig
    rig.plane.drop_tunnels([(UPF, UL_TEID), (GNB, DL_TEID)])
    rig.plane.drop_ues([("", UE), ("", UE6)])
    rig.plane.routes.clear()


def routes(rig: Rig, *prefixes: str, session: int = SESSION, instance: str = "", has: bool = True) -> None:
    rig.plane.change_routes({(instance, prefix, session): has for prefix in prefixes})


def packet(src: str, dst: str) -> Packet:
    head = IPv6(src=src, dst=dst) if ":" in src else IP(src=src, dst=dst)
    return head / UDP(sport=40000, dport=443) / Raw(b"\x55" * 32)


def server(address: str) -> str:
    return SERVER6 if ":" in address else SERVER


def up(address: str) -> bytes:
    return ether(outer() / gtpu(UL_TEID) / packet(address, server(address)))


def down(address: str) -> bytes:
    return ether(outer(UPF, GNB) / gtpu(DL_TEID) / packet(server(address), address))


def session_of(rig: Rig, frame: bytes, role: str = "n3") -> int:
    """Return the session of the flow that a frame is of; each test begins a flow after another."""
    rig.run(frame, role)
    flows = rig.plane.read_flows()[1]
    return int(flows["session"][flows["number"].argmax()])


@pytest.mark.parametrize("way", [up, down])
class TestTunnel:
    """In the tunnels of the session its prefixes are its own, and nothing else is."""

    @pytest.mark.parametrize(
        ("address", "prefix"),
        [("192.168.50.7", LAN), ("2001:db8:2::7", SECOND), ("2001:db8:f00:ff::7", SITE)],
    )
    def test_an_address_in_a_prefix(self, known: Rig, way, address, prefix) -> None:
        routes(known, prefix)
        assert session_of(known, way(address)) == SESSION

    @pytest.mark.parametrize("address", ["192.168.51.7", "2001:db8:3::7", "2001:db8:f00:100::7"])
    def test_an_address_outside(self, known: Rig, way, address) -> None:
        routes(known, LAN, SECOND, SITE)
        outcome = known.run(way(address), "n3")
        assert "ue_mismatch" in outcome.why
        assert known.flow()["session"] == 0

    def test_a_prefix_of_another_session(self, known: Rig, way) -> None:
        routes(known, LAN, session=OTHER)
        assert session_of(known, way("192.168.50.7")) == 0

    def test_a_longer_prefix_of_another_session_does_not_take_it(self, known: Rig, way) -> None:
        """The tunnel tells the session; a part of its prefix in another network instance changes nothing."""
        routes(known, LAN)
        routes(known, PART, session=OTHER, instance="other")
        assert session_of(known, way("192.168.50.65")) == SESSION

    def test_its_first_addresses_are_its_own_as_ever(self, known: Rig, way) -> None:
        routes(known, LAN)
        assert session_of(known, way(UE)) == SESSION

    def test_when_the_prefix_is_gone_a_flow_is_nobodys(self, known: Rig, way) -> None:
        routes(known, LAN)
        assert session_of(known, way("192.168.50.7")) == SESSION
        routes(known, LAN, has=False)
        assert session_of(known, way("192.168.50.7")) == 0

    def test_when_the_tunnel_goes_a_flow_is_nobodys(self, known: Rig, way) -> None:
        routes(known, LAN)
        assert session_of(known, way("192.168.50.7")) == SESSION
        known.plane.drop_tunnels([(UPF, UL_TEID), (GNB, DL_TEID)])
        assert session_of(known, way("192.168.50.7")) == 0


class TestN6:
    """On N6 the longest prefix of the network instance counts, where the address is nobody's first one."""

    @pytest.mark.parametrize("address", ["192.168.50.7", "2001:db8:2::7", "2001:db8:f00:ff::7"])
    @pytest.mark.parametrize("uplink", [True, False])
    def test_an_address_in_a_prefix(self, known: Rig, address, uplink) -> None:
        routes(known, LAN, SECOND, SITE)
        ends = (address, server(address)) if uplink else (server(address), address)
        assert session_of(known, ether(packet(*ends)), "n6") == SESSION

    @pytest.mark.parametrize("address", ["192.168.51.7", "2001:db8:3::7", "2001:db8:f00:100::7"])
    def test_an_address_outside(self, known: Rig, address) -> None:
        routes(known, LAN, SECOND, SITE)
        assert session_of(known, ether(packet(address, server(address))), "n6") == 0

    def test_the_longest_one(self, known: Rig) -> None:
        routes(known, LAN)
        routes(known, PART, session=OTHER)
        found = [session_of(known, ether(packet(a, SERVER)), "n6") for a in ("192.168.50.7", "192.168.50.65")]
        assert found == [SESSION, OTHER]

    def test_a_first_address_goes_before(self, known: Rig) -> None:
        routes(known, "10.45.0.0/16", session=OTHER)
        assert session_of(known, ether(packet(UE, SERVER)), "n6") == SESSION
        assert session_of(known, ether(packet("10.45.9.9", SERVER)), "n6") == OTHER

    def test_what_two_sessions_have_is_nobodys(self, known: Rig) -> None:
        routes(known, LAN)
        routes(known, LAN, session=OTHER)
        assert session_of(known, ether(packet("192.168.50.7", SERVER)), "n6") == 0
        routes(known, LAN, session=OTHER, has=False)
        assert session_of(known, ether(packet("192.168.50.7", SERVER)), "n6") == SESSION

    def test_of_two_instances_a_port_without_one_knows_nobody(self, known: Rig) -> None:
        routes(known, LAN, instance="one")
        routes(known, LAN, session=OTHER, instance="other")
        assert session_of(known, ether(packet("192.168.50.7", SERVER)), "n6") == 0


class TestBothFamilies:
    """A tunnel whose UE is known by an IPv4 and an IPv6 address takes packets of these two, and no others."""

    @pytest.fixture
    def dual(self, rig: Rig) -> Iterator[Rig]:
        rig.plane.put_tunnels(
            [
                PutTunnel(UPF, UL_TEID, Side.UPLINK, SESSION, UE, UE6),
                PutTunnel(GNB, DL_TEID, Side.DOWNLINK, SESSION, UE, UE6),
            ]
        )
        yield rig
        rig.plane.drop_tunnels([(UPF, UL_TEID), (GNB, DL_TEID)])

    @pytest.mark.parametrize("way", [up, down])
    @pytest.mark.parametrize("address", [UE, UE6, "2001:db8:45::ffff"])
    def test_its_own(self, dual: Rig, way, address) -> None:
        assert session_of(dual, way(address)) == SESSION

    @pytest.mark.parametrize("way", [up, down])
    @pytest.mark.parametrize("address", ["10.45.0.3", "2001:db8:46::2", "2001:db8:45:1::2", "2001:db9:45::2"])
    def test_another_ues(self, dual: Rig, way, address) -> None:
        outcome = dual.run(way(address), "n3")
        assert "ue_mismatch" in outcome.why
        assert dual.flow()["session"] == 0


class TestCost:
    """Sessions with one address pay nothing: no entry of theirs is in the trie."""

    def test_nothing_is_asked_while_nobody_has_a_prefix(self, known: Rig) -> None:
        assert int(known.plane._control["routes"][0]) == 0
        routes(known, LAN)
        assert int(known.plane._control["routes"][0]) == 2, "one for its tunnels, one for its instance"
        routes(known, LAN, has=False)
        assert int(known.plane._control["routes"][0]) == 0

    def test_what_finds_no_room_is_counted(self, known: Rig) -> None:
        known.plane.routes._most = 2
        routes(known, LAN, SECOND)
        assert known.plane.routes.refused == 2
        assert known.plane.refused_entries >= 2
