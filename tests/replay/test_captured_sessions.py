"""Real signalling: who the sessions of the captures belong to (expected_sessions.csv)."""

from __future__ import annotations

import csv
import itertools
import re

import pytest

ROAMING, REGISTRATION = "open5gs__5g-roaming-hr.pcapng", "open5gs__testregistration.pcapng"


def expected(shared, file):
    with (shared / "captures" / "expected_sessions.csv").open() as rows:
        return [r for r in csv.DictReader(rows) if r["file"] == file]


def pfcp_teids(row):
    """The TEIDs that PFCP taught; those that only NGAP or GTP-C carried are not ours to know here."""
    (cell,) = (v for k, v in row.items() if k.startswith("teids_at_ip"))
    return {m[1] for m in re.finditer(r"(0x\w+@[^\s(]+)\(PFCP", cell)}


class TestRoaming:
    """A home-routed session: two UPFs, two SMFs, one subscriber."""

    def test_the_imsi_is_bound_to_its_addresses_and_tunnels(self, replay, shared):
        (want,) = expected(shared, ROAMING)
        (got,) = replay(shared / "captures" / "pcap" / ROAMING).sessions
        assert got["imsi"] == want["imsi"] == "999700000021309"
        assert (got["ue_ipv4"], got["ue_ipv6"]) == (want["ue_ipv4"], want["ue_ipv6"])
        assert pfcp_teids(want) <= set(got["teids"].split())
        assert got["ended_by"] == "deleted"

    def test_its_traffic_is_the_subscribers_on_every_leg(self, replay, shared):
        replayed = replay(shared / "captures" / "pcap" / ROAMING)
        user = [f for f in replayed.flows if f["gtpu"] and f["src"] in ("10.46.0.2", "2001:db8:babe:1::2")]
        assert len({f["outer_fwd"] for f in user}) >= 2, "N3 and N9"
        assert len({f["subscriber"] for f in user}) == 1
        assert {f["identity_source"] for f in user} == {"pfcp"}


class TestRegistration:
    """23 sessions without User ID: their SMF tells no identity over N4."""

    @pytest.fixture(scope="class")
    def replayed(self, replay, shared):
        return replay(shared / "captures" / "pcap" / REGISTRATION)

    def test_all_are_listed_and_no_imsi_is_invented(self, replayed, shared):
        want = expected(shared, REGISTRATION)
        assert len(want) == 23
        assert {r["ue_ipv4"] for r in replayed.sessions} == {r["ue_ipv4"] for r in want}
        assert len(replayed.sessions) == 23
        assert {r["imsi"] for r in replayed.sessions} == {""}

    def test_each_has_its_tunnels_and_its_end(self, replayed, shared):
        got = {r["ue_ipv4"]: r for r in replayed.sessions}
        for want in expected(shared, REGISTRATION):
            mine = got[want["ue_ipv4"]]
            assert pfcp_teids(want) <= set(mine["teids"].split())
            assert mine["ue_ipv6"] == want["ue_ipv6"]
            if want["deleted"]:
                assert mine["ended_by"] == "deleted"
            else:
                assert mine["ended_by"] in ("", "superseded")

    def test_one_teid_serves_ten_ues_in_turn(self, replayed):
        """TEID 0x0c at one gNB address: each UE's session holds it for its own time, one after the other."""
        held = [r for r in replayed.sessions if "0x0000000c@127.0.0.2" in r["teids"].split()]
        spans = sorted((float(r["first_s"]), float(r["last_s"])) for r in held)
        assert len(held) == 10
        assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(spans))

    def test_each_ues_traffic_is_its_own(self, replayed):
        for flow in (f for f in replayed.flows if f["gtpu"]):
            ends = {flow["src"], flow["dst"]}
            named = re.fullmatch(r"ue:[^:]*:(10\.45\.0\.\d+)", flow["subscriber"])
            if named and any(e.startswith("10.45.0.") and e != "10.45.0.1" for e in ends):
                assert named[1] in ends
