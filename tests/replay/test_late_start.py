"""A capture that begins amid sessions: nobody claims an identity that was not told, and UE addresses are learned."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.contrib.gtp import GTP_U_Header
from scapy.contrib.pfcp import (
    PFCP,
    IE_ApplyAction,
    IE_Cause,
    IE_DestinationInterface,
    IE_FAR_Id,
    IE_OuterHeaderCreation,
    IE_UpdateFAR,
    IE_UpdateForwardingParameters,
    PFCPSessionModificationRequest,
    PFCPSessionModificationResponse,
)
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from nf.privacy import Pseudonymiser
from tests.replay.conftest import KEY

SMF, UPF, GNB, SERVER, SERVER6 = "10.1.0.1", "10.1.0.2", "10.2.0.1", "192.0.2.10", "2001:db8:80::80"
UE, OTHER, UE6 = "10.45.0.2", "10.45.0.3", "2001:db8:45::2"
TEID = 0xB2
OF_UE = Pseudonymiser(KEY, 1).unknown(f"ue::{UE}")
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
N4 = UDP(sport=8805, dport=8805)


def handover() -> list[Packet]:
    """Return a modification of an earlier session, which says nothing but the end of the downlink."""
    parameters = [
        IE_DestinationInterface(interface=0),
        IE_OuterHeaderCreation(GTPUUDPIPV4=1, TEID=TEID, ipv4=GNB),
    ]
    rules = [
        IE_UpdateFAR(
            IE_list=[IE_FAR_Id(id=2), IE_ApplyAction(FORW=1), IE_UpdateForwardingParameters(IE_list=parameters)]
        )
    ]
    asked = PFCP(version=1, S=1, seid=7, seq=1) / PFCPSessionModificationRequest(IE_list=rules)
    answered = PFCP(version=1, S=1, seid=8, seq=1) / PFCPSessionModificationResponse(IE_list=[IE_Cause(cause=1)])
    return [
        ETHER / IP(src=SMF, dst=UPF) / N4 / asked,
        ETHER / IP(src=UPF, dst=SMF) / N4 / answered,
    ]


def down(ue: str, port: int = 5000) -> Packet:
    """Return a packet to a UE, in the tunnel."""
    inner = IPv6(src=SERVER6, dst=ue) if ":" in ue else IP(src=SERVER, dst=ue)
    tunnel = IP(src=UPF, dst=GNB) / UDP(sport=2152, dport=2152) / GTP_U_Header(teid=TEID, gtp_type=255)
    return ETHER / tunnel / inner / UDP(sport=443, dport=port) / Raw(b"x" * 100)


def plain(ue: str) -> Packet:
    """Return a packet to a UE on N6, which its address alone can name."""
    return ETHER / IP(src="198.51.100.9", dst=ue) / UDP(sport=443, dport=6000) / Raw(b"x" * 100)


@pytest.fixture
def late(tmp_path: Any, replay: Any) -> Any:
    def run(*packets: Packet) -> Any:
        frames = [*handover(), *packets]
        for number, frame in enumerate(frames):
            frame.time = 1_700_000_000 + number
        wrpcap(str(tmp_path / "late.pcap"), frames)
        return replay(tmp_path / "late.pcap")

    return run


def rows_of(replayed: Any, address: str) -> list[tuple[str, str]]:
    return [(f["subscriber"], f["identity_source"]) for f in replayed.flows if address in (f["src"], f["dst"])]


class TestIdentity:
    """A tunnel is all that was told."""

    def test_a_partial_session_is_no_source_of_an_identity(self, late: Any) -> None:
        replayed = late()
        (session,) = replayed.sessions
        assert (session["imsi"], session["ue_ipv4"]) == ("", "")

    def test_a_packet_of_the_first_interval_has_the_tunnels_name(self, late: Any) -> None:
        replayed = late(down("fe80::1"))
        assert rows_of(replayed, "fe80::1") == [(Pseudonymiser(KEY, 1).unknown(f"teid:{GNB}:0x{TEID:08x}"), "none")]


class TestUeAddress:
    """An address seen in the tunnel is the session's from then on, and its origin is told."""

    def test_it_names_the_session(self, late: Any) -> None:
        replayed = late(down(UE), down(UE, 5001))
        assert set(rows_of(replayed, UE)) == {(OF_UE, "uplink")}
        (session,) = replayed.sessions
        assert (session["ue_ipv4"], session["imsi"]) == (UE, "")

    def test_one_of_each_family(self, late: Any) -> None:
        (session,) = late(down(UE), down(UE6)).sessions
        assert (session["ue_ipv4"], session["ue_ipv6"]) == (UE, UE6)

    def test_it_is_found_on_n6(self, late: Any) -> None:
        replayed = late(down(UE), plain(UE))
        assert {name for name, _ in rows_of(replayed, "198.51.100.9")} == {OF_UE}

    def test_another_address_in_the_tunnel_is_not_its_own(self, late: Any) -> None:
        """The kernel compares from then on, as for any session whose address is known."""
        replayed = late(down(UE), down(OTHER), down(OTHER))
        (session,) = replayed.sessions
        assert session["ue_ipv4"] == UE
        assert replayed.result.counters["ue_mismatch"] > 0
