"""Real signalling: the subscribers of the captures' sessions (expected_sessions.csv)."""

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
    """Return the TEIDs that PFCP taught; those that only NGAP or GTP-C carried are not ours to know here."""
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
            assert mine["msin"] in ("", want["note"].partition("SUCI-MSIN=")[2])
            if want["deleted"]:
                assert mine["ended_by"] == "deleted"
            else:
                assert mine["ended_by"] in ("", "superseded")

    def test_the_msin_is_known_where_its_ue_said_it_in_clear(self, replayed, shared):
        """All but two of those that the table has: one UE came back with a service request, one gNB never answered."""
        noted = {r["ue_ipv4"] for r in expected(shared, REGISTRATION) if r["note"]}
        known = {r["ue_ipv4"] for r in replayed.sessions if r["msin"]}
        assert (len(noted), noted - known, known - noted) == (21, {"10.45.0.6", "10.45.0.24"}, set())

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


FOURTH = [
    "open5gs__testattach.pcapng", "nextepc__srsenb.pcapng", "open5gs__nonipsec_reg.pcapng",
    "magma__inbound_roaming_01_210505_130828-1.pcapng", "ndpi__gtp_c.pcap",
]  # fmt: skip


def signalled_teids(row):
    """Return the TEIDs that PFCP or GTPv2-C taught; those that only S1AP carried are not ours to know."""
    (cell,) = (v for k, v in row.items() if k.startswith("teids_at_ip"))
    return {m[1] for m in re.finditer(r"(0x\w+@[^\s(]+)\((?:PFCP|GTPv2)", cell)}


class TestFourthGeneration:
    """PFCP without User ID beside GTPv2-C, GTPv2-C alone, and one segment of a roamer: one row each, with its IMSI."""

    @pytest.fixture(scope="class", params=FOURTH)
    def case(self, request, replay, shared):
        return replay(shared / "captures" / "pcap" / request.param), expected(shared, request.param)

    def test_each_row_has_its_subscriber_addresses_tunnels_and_end(self, case):
        replayed, want = case
        assert len(replayed.sessions) == len(want)
        got = {r["ue_ipv4"]: r for r in replayed.sessions}
        for row in want:
            mine = got[row["ue_ipv4"]]
            assert mine["imsi"] == row["imsi"]
            assert mine["ue_ipv6"] == row["ue_ipv6"] or not row["ue_ipv6"], "the table has none for some"
            assert signalled_teids(row) <= set(mine["teids"].split())
            assert mine["ended_by"] == ("deleted" if row["deleted"] else "")
            assert mine["source"] == "gtp-c"

    def test_traffic_in_a_signalled_tunnel_is_the_subscribers(self, case):
        replayed, want = case
        known = {teid.split("@")[0] for row in want for teid in signalled_teids(row)}
        for flow in (f for f in replayed.flows if f["gtpu"] and f["teid_fwd"] in known):
            if flow["src"] in {r["ue_ipv4"] for r in replayed.sessions}:
                assert flow["identity_source"] == "gtp-c"
                assert ":" not in flow["subscriber"], "a pseudonym"


class TestThirdGeneration:
    """A PDP context on Gn: GTPv1-C."""

    def test_it_has_its_imsi(self, replay, shared):
        """captures.csv lists the IMSI; the rest is what tshark says of frames 2 and 3."""
        (got,) = replay(shared / "captures" / "pcap" / "zeek__gtp_create_pdp_ctx.pcap").sessions
        assert (got["imsi"], got["ue_ipv4"], got["dnn"]) == ("460004100000101", "192.168.252.130", "eetest")
        assert set(got["teids"].split()) == {"0x32f02bf9@192.169.100.1", "0x10000085@10.100.200.49"}


class TestLateStart:
    """The call was up when the capture began: its dedicated bearers are followed, nobody's name is guessed."""

    @pytest.mark.parametrize("file", ["open5gs__volte.pcapng", "open5gs__ipsec_to_nonipsec_call.pcapng"])
    def test_tunnels_without_identity(self, replay, shared, file):
        replayed = replay(shared / "captures" / "pcap" / file)
        assert {r["imsi"] for r in replayed.sessions} == {""}
        want = {teid for row in expected(shared, file) for teid in re.findall(r"0x\w+@[\d.]+", str(row))}
        assert len(want) == 4
        assert want <= {t for r in replayed.sessions for t in r["teids"].split()}
