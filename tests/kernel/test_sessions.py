"""The session of a flow: tunnels, UE addresses, moves between them, and the policies of applications."""

from __future__ import annotations

import sys
from ipaddress import IPv6Address
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP

from nf.abi import SNF_FLOW_NEW, SNF_FLOW_RESTART, SNF_FLOW_TUNNEL
from nf.kernel.source import EVENT_RING_BYTES
from nf.settings import Action, Mode
from tests.kernel.packets import (
    DL_TEID,
    GNB,
    SERVER,
    UE,
    UE6,
    UL_TEID,
    UPF,
    downlink,
    ether,
    gtpu,
    outer,
    tcp,
    udp,
    udp6,
    uplink,
)
from tests.kernel.rig import Rig
from tests.kernel.twin import DOWNLINK, UPLINK

SESSION, OTHER = 7, 8
APP = 5


def bare(teid: int = UL_TEID, payload: Any = None, src: str = GNB, dst: str = UPF) -> bytes:
    """Return a G-PDU without PDU Session Container."""
    return ether(outer(src, dst) / gtpu(teid) / (udp() if payload is None else payload))


def answer() -> Any:
    """Return the reverse of packets.udp()."""
    return udp(src=SERVER, dst=UE, sport=443, dport=40000)


class TestTunnels:
    """A tunnel is its receiving address and its TEID (TS 29.281, 5.1)."""

    def test_a_known_one_gives_session_and_side(self, rig: Rig) -> None:
        rig.know_tunnel(UPF, UL_TEID, UPLINK, SESSION)
        outcome = rig.run(bare())

        assert "tunnel_unknown" not in outcome.why
        assert outcome.flow is not None
        assert outcome.flow.side == UPLINK
        assert rig.flow()["session"] == SESSION

    def test_downlink_is_told_by_the_tunnel_too(self, rig: Rig) -> None:
        rig.know_tunnel(GNB, DL_TEID, DOWNLINK, SESSION)
        outcome = rig.run(ether(outer(UPF, GNB) / gtpu(DL_TEID) / answer()))

        assert outcome.flow is not None
        assert outcome.flow.side == DOWNLINK

    @pytest.mark.parametrize(("address", "teid"), [(GNB, UL_TEID), (UPF, UL_TEID + 1)])
    def test_another_address_or_teid_is_another_tunnel(self, rig: Rig, address: str, teid: int) -> None:
        rig.know_tunnel(address, teid, UPLINK, SESSION)
        outcome = rig.run(bare())

        assert "tunnel_unknown" in outcome.why
        assert rig.flow()["session"] == 0

    def test_both_directions_are_one_flow_of_one_session(self, rig: Rig) -> None:
        rig.know_tunnel(UPF, UL_TEID, UPLINK, SESSION)
        rig.know_tunnel(GNB, DL_TEID, DOWNLINK, SESSION)
        rig.run(ether(uplink(udp(), 9)))
        rig.run(ether(downlink(answer(), 5)))

        flow = rig.flow()
        assert flow["teid"].tolist() == [UL_TEID, DL_TEID]
        assert flow["qfi"].tolist() == [9, 5]
        assert flow["packets"].tolist() == [1, 1]
        assert flow["session"] == SESSION

    def test_one_that_is_learned_later_names_the_flow_that_runs(self, rig: Rig) -> None:
        rig.run(bare())
        rig.know_tunnel(UPF, UL_TEID, UPLINK, SESSION)
        outcome = rig.run(bare())

        assert not outcome.why & {"tunnel_unknown", "flow_restarted"}
        assert rig.flow()["session"] == SESSION
        assert rig.flow()["packets"].tolist() == [2, 0]

    def test_a_handover_keeps_the_flow(self, rig: Rig) -> None:
        rig.know_tunnel(GNB, DL_TEID, DOWNLINK, SESSION)
        rig.run(bare(DL_TEID, answer(), src=UPF, dst=GNB))
        rig.know_tunnel("10.10.0.9", 0x900, DOWNLINK, SESSION)
        rig.run(bare(0x900, answer(), src=UPF, dst="10.10.0.9"))

        flow = rig.flow()
        assert (flow["session"], flow["teid"][0], flow["packets"][0]) == (SESSION, 0x900, 2)
        assert [e["kind"] for e in rig.events()] == [SNF_FLOW_NEW, SNF_FLOW_TUNNEL]

    def test_a_tunnel_with_a_new_owner_ends_the_flow_of_the_old_one(self, rig: Rig) -> None:
        rig.know_tunnel(UPF, UL_TEID, UPLINK, SESSION)
        rig.run(bare())
        rig.run(bare())
        rig.know_tunnel(UPF, UL_TEID, UPLINK, OTHER)
        outcome = rig.run(bare())

        begun, restart = rig.events()
        assert "flow_restarted" in outcome.why
        assert (rig.flow()["session"], rig.flow()["packets"].tolist()) == (OTHER, [1, 0])
        (ended,) = rig.plane.read_ended()
        assert restart["kind"] == SNF_FLOW_RESTART
        assert (ended["flow"]["number"], ended["flow"]["session"]) == (begun["number"], SESSION)
        assert (ended["flow"]["packets"].sum(), ended["flow"]["bytes"].sum()) == (2, 120)

    def test_a_tunnel_that_ended_ends_the_session_of_its_flow(self, rig: Rig) -> None:
        rig.know_tunnel(UPF, UL_TEID, UPLINK, SESSION)
        rig.run(bare())
        rig.forget_sessions()
        rig.run(bare())

        assert (rig.flow()["session"], rig.flow()["packets"].tolist()) == (0, [1, 0])

    def test_an_event_names_the_tunnel(self, rig: Rig) -> None:
        rig.run(ether(uplink(udp(), 9)))

        (event,) = rig.events()
        assert (event["teid"], event["qfi"], event["gtpu"], event["at_ns"]) == (UL_TEID, 9, 1, rig.now_ns)
        assert bytes(event["outer_src"])[-4:] == bytes([10, 10, 0, 1])
        assert bytes(event["outer_dst"])[-4:] == bytes([10, 10, 0, 2])


class TestAddresses:
    """On N6 the subscriber is found by the UE address; in IPv6 by its /64 (TS 23.501, 5.8.2.2.3)."""

    @pytest.mark.parametrize(
        ("known", "packet", "side"),
        [
            (UE, udp(), UPLINK),
            (UE, answer(), DOWNLINK),
            (f"{UE6.rsplit('::', 1)[0]}::/64", udp6(), UPLINK),
        ],
        ids=["from the UE", "to the UE", "from its prefix"],
    )
    def test_of_either_end(self, rig: Rig, known: str, packet: Any, side: str) -> None:
        rig.know_ue(known, SESSION)
        outcome = rig.run(ether(packet), "n6")

        assert outcome.flow is not None
        assert outcome.flow.side == side
        assert rig.flow()["session"] == SESSION

    @pytest.mark.parametrize(("known", "packet"), [("10.45.0.3", udp()), ("2001:db8:46::/64", udp6())])
    def test_of_nobody(self, rig: Rig, known: str, packet: Any) -> None:
        rig.know_ue(known, SESSION)
        outcome = rig.run(ether(packet), "n6")

        assert outcome.flow is not None
        assert outcome.flow.side == ""
        assert rig.flow()["session"] == 0

    def test_a_ue_has_every_address_of_its_prefix(self, rig: Rig) -> None:
        rig.know_ue(f"{UE6.rsplit('::', 1)[0]}::/64", SESSION)
        rig.run(ether(udp6(src="2001:db8:45::ffff:1:2:3")), "n6")

        assert rig.flow()["session"] == SESSION

    def test_the_tunnel_and_the_address_join_one_flow(self, rig: Rig) -> None:
        rig.know_tunnel(UPF, UL_TEID, UPLINK, SESSION)
        rig.know_ue(UE, SESSION)
        rig.run(ether(uplink(udp())), "n3")
        outcome = rig.run(ether(answer()), "n6")

        assert outcome.flow is None
        assert (rig.flow()["packets"].tolist(), rig.flow()["session"]) == ([1, 1], SESSION)

    def test_a_packet_on_both_ports_is_counted_once(self, rig: Rig) -> None:
        rig.run(ether(uplink(udp())), "n3")
        outcome = rig.run(ether(udp()), "n6")

        assert outcome.why == {"copy"}
        assert rig.flow()["packets"].tolist() == [1, 0]


def word(address: IPv6Address, index: int) -> int:
    """Return one of the four words of an address as the program loads it."""
    return int.from_bytes(address.packed[4 * index : 4 * index + 4], sys.byteorder)


def mix(h: int, v: int) -> int:
    """Return what hash.h makes of a hash and a word; only to build two addresses that meet."""
    h = (h ^ v) * 0x9E3779B1 & 0xFFFF_FFFF
    return h ^ h >> 15


class TestFoldedKeys:
    """IPv6 addresses are folded into the key of IPv4; two that meet there are told apart."""

    def test_a_collision_is_counted_and_not_merged(self, rig: Rig) -> None:
        one, other = IPv6Address(UE6), IPv6Address("2001:db8:45::5:0:0")
        before = [mix(mix(mix(0, word(a, 0)), word(a, 1)), word(a, 2)) for a in (one, other)]
        last = word(one, 3) ^ before[0] ^ before[1]
        twin = IPv6Address(other.packed[:12] + last.to_bytes(4, sys.byteorder))
        rig.run(ether(udp6()), "n6")
        outcome = rig.run(ether(udp6(src=str(twin))), "n6")

        assert outcome.why == {"flow_collision", "unflowed", "unflowed_octets"}
        assert outcome.counters["unflowed_octets"] == len(udp6(src=str(twin)))
        assert rig.flow()["packets"].tolist() == [1, 0]


class TestModes:
    """A mirror port drops what it has read; on the UPF's own host everything goes on."""

    @pytest.mark.parametrize("packet", [uplink(udp()), udp(), udp(dport=8805)], ids=["tunnel", "plain", "signalling"])
    def test_local_passes(self, rig: Rig, packet: Any) -> None:
        with rig.mode(Mode.LOCAL):
            outcome = rig.run(ether(packet), "n3")

        assert outcome.verdict == "pass"


def pattern(size: int) -> bytes:
    """Return bytes of which no stretch looks like another."""
    return bytes(n % 251 for n in range(size))


class TestHandOff:
    """User space sees the first payload packets of a flow until it knows the name."""

    def test_three_of_them(self, rig: Rig) -> None:
        for n in range(5):
            rig.run(ether(uplink(udp(32 + n))))

        records = rig.plane.read_payloads()
        assert records["length"].tolist() == [32, 33, 34]
        assert all(bytes(r["data"][: r["length"]]) == b"\x55" * r["length"] for r in records)

    @pytest.mark.parametrize("size", [1, 7, 8, 9, 1472])
    def test_a_payload_comes_whole(self, rig: Rig, size: int) -> None:
        payload = pattern(size)
        rig.run(ether(IP(src=UE, dst=SERVER) / UDP(sport=40000, dport=443) / payload), "n6")

        (record,) = rig.plane.read_payloads()
        assert record["length"] == size
        assert bytes(record["data"][:size]) == payload

    @pytest.mark.parametrize("beyond", [-1, 0, 1, 80])
    def test_as_much_as_a_record_has_room_for(self, rig: Rig, beyond: int) -> None:
        room = rig.plane.read_payloads().dtype["data"].shape[0]
        payload = pattern(room + beyond)
        rig.run(ether(IP(src=UE, dst=SERVER) / UDP(sport=40000, dport=443) / payload), "n6")

        (record,) = rig.plane.read_payloads()
        assert record["length"] == room + min(beyond, 0)
        assert bytes(record["data"][: record["length"]]) == payload[:room]

    def test_a_cut_frame_gives_what_it_has(self, rig: Rig) -> None:
        rig.run(ether(udp(500))[:100], "n6")

        (record,) = rig.plane.read_payloads()
        assert record["length"] == 58

    def test_a_tcp_record_has_its_sequence_number(self, rig: Rig) -> None:
        rig.run(ether(uplink(tcp(seq=77_000))))

        (record,) = rig.plane.read_payloads()
        assert record["seq"] == 77_000

    def test_none_after_the_last_word(self, rig: Rig) -> None:
        rig.run(ether(udp()), "n6")
        name(rig, APP)
        rig.run(ether(udp()), "n6")
        rig.run(ether(udp()), "n6")

        assert len(rig.plane.read_payloads()) == 1
        assert rig.flow()["app"] == APP


def name(rig: Rig, app: int, *, number_off: int = 0) -> None:
    """Answer that the one flow there is belongs to *app*."""
    keys, flows = rig.plane.read_flows()
    rig.plane.put_verdicts(
        keys, flows["number"] + np.uint64(number_off), np.array([app], np.uint16), np.ones(1, np.bool_)
    )


class TestPolicies:
    """A policy holds from the next packet on."""

    def run_as(self, rig: Rig, action: Action) -> Any:
        """Run one packet, name its flow, set the policy, and run three more."""
        rig.run(ether(tcp()), "n6")
        name(rig, APP)
        rig.plane.set_policies({APP: (action, 0)})
        for n in range(1, 4):
            rig.run(ether(tcp(seq=32 * n)), "n6", 1_024_000)  # 16 ticks
        return rig.flow()

    @pytest.mark.parametrize("action", [Action.INSPECT, Action.COUNT, Action.SUPPRESS])
    def test_every_packet_is_counted(self, rig: Rig, action: Action) -> None:
        flow = self.run_as(rig, action)

        assert (flow["packets"].tolist(), flow["bytes"].tolist()) == ([4, 0], [4 * 72, 0])

    def test_inspect_keeps_the_detail(self, rig: Rig) -> None:
        flow = self.run_as(rig, Action.INSPECT)

        assert (flow["payload_packets"][0], flow["gap_ticks"][0]) == (4, 3 * 16)

    @pytest.mark.parametrize("action", [Action.COUNT, Action.SUPPRESS])
    def test_count_and_suppress_do_not(self, rig: Rig, action: Action) -> None:
        flow = self.run_as(rig, action)

        assert (flow["payload_packets"][0], flow["gap_ticks"][0]) == (1, 0)

    def test_other_applications_are_untouched(self, rig: Rig) -> None:
        rig.plane.set_policies({APP + 1: (Action.SUPPRESS, 0)})
        rig.run(ether(tcp()), "n6")
        rig.run(ether(tcp(seq=32)), "n6")

        assert rig.flow()["payload_packets"][0] == 2

    def test_an_answer_about_another_flow_of_the_same_ends_is_not_taken(self, rig: Rig) -> None:
        rig.run(ether(tcp()), "n6")
        name(rig, APP, number_off=1)
        rig.run(ether(tcp(seq=32)), "n6")

        assert rig.flow()["app"] == 0


class TestNetworkInstances:
    """Equal UE addresses of two data networks are apart; a port that names no network asks for the only one."""

    @pytest.fixture
    def ues(self, rig: Rig) -> Any:
        rows = [("internet", UE, SESSION), ("ims", UE, OTHER)]
        yield lambda n: (rig.plane.put_ues(rows[:n]), rig.plane.new_generation())
        rig.plane.drop_ues([(i, a) for i, a, _ in rows])

    def test_an_address_of_one_network_is_found(self, rig: Rig, ues: Any) -> None:
        ues(1)
        rig.run(ether(udp()), role="n6")
        assert rig.flow()["session"] == SESSION

    def test_an_address_of_two_networks_is_nobodys(self, rig: Rig, ues: Any) -> None:
        ues(2)
        rig.run(ether(udp()), role="n6")
        assert rig.flow()["session"] == 0

    def test_it_is_found_again_when_one_of_them_has_let_it_go(self, rig: Rig, ues: Any) -> None:
        ues(2)
        rig.plane.drop_ues([("internet", UE)])
        rig.plane.new_generation()
        rig.run(ether(udp()), role="n6")
        assert rig.flow()["session"] == OTHER


class TestTelling:
    """User space hears of each flow, if not at once then with a later packet."""

    def test_a_flow_that_found_the_ring_full_is_told_with_its_next_packet(self, rig: Rig) -> None:
        frame = bytearray(ether(udp()))
        port = frame.index((40000).to_bytes(2, "big"))
        room = EVENT_RING_BYTES // (8 + rig.plane._types["event"].itemsize)  # with the ring's header of 8 bytes
        for number in range(room + 1):
            frame[port : port + 2] = (number % 60_000 + 1).to_bytes(2, "big")
            rig.plane.run(bytes(frame), rig.now_ns, None)
            rig.plane.read_ended()  # the table is smaller than that
        unheard = int(rig.plane.next_flow) - 1

        assert unheard not in [e["number"] for e in rig.events()]
        rig.plane.run(bytes(frame), rig.now_ns, None)
        assert [e["number"] for e in rig.plane.read_events()] == [unheard]
