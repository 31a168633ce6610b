"""Captures of one PFCP dialect each, whose right values scapy's script and the standard give (../shared/cases)."""

from __future__ import annotations

import pytest

from nf.privacy import Pseudonymiser
from tests.replay.conftest import KEY

SERVER = "192.0.2.10"


@pytest.fixture
def case(replay, shared):
    return lambda name: replay(shared / "cases" / f"{name}.pcap")


def names_its_flows(replayed):
    """Every user flow is of the one subscriber."""
    (session,) = replayed.sessions
    name = Pseudonymiser(KEY, 1).name(session["imsi"])
    user = [f for f in replayed.flows if SERVER in (f["src"], f["dst"])]
    assert user
    assert {f["subscriber"] for f in user} == {name}
    assert replayed.result.counters["ue_mismatch"] == replayed.result.counters["tunnel_unknown"] == 0
    return session


def tunnels_at_the_end(replayed):
    return {t.split("@")[0] for t in replayed.result.events[-1]["tunnels"].split()}


def test_a_tunnel_that_the_upf_chose_in_an_update(case):
    """Updated PDR, type 256 (TS 29.244, table 7.5.5.1-1)."""
    replayed = case("pfcp_updated_pdr")
    names_its_flows(replayed)
    assert tunnels_at_the_end(replayed) == {"0x00000222", "0x000000a1"}


def test_a_rule_removed_and_created_in_one_message(case):
    replayed = case("pfcp_remove_create_same_pdr")
    names_its_flows(replayed)
    assert tunnels_at_the_end(replayed) == {"0x00000333", "0x000000a1"}


def test_traffic_of_a_framed_route(case):
    """Framed-Route 192.168.50.0/24 (TS 29.244, 5.16 and 8.2.109): both flows are the subscriber's."""
    replayed = case("pfcp_framed_route")
    names_its_flows(replayed)
    assert {f["src"] for f in replayed.flows if f["dst"] == SERVER} >= {"10.45.0.2", "192.168.50.7"}


def test_a_request_in_two_fragments_behind_a_vlan_tag(case):
    """TS 29.244, 6.4: PFCP is UDP that may be fragmented (RFC 791), and a tag (IEEE 802.1Q) changes nothing of it."""
    replayed = case("pfcp_fragments_vlan")
    names_its_flows(replayed)
    assert replayed.result.counters.get("pfcp_response_without_request", 0) == 0
