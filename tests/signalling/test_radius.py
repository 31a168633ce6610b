"""RADIUS accounting says who has which UE address (RFC 2866; TS 29.061, 16.4); pyrad and scapy write the packets."""

from __future__ import annotations

import io
import random

import pytest
from pyrad.dictionary import Dictionary
from pyrad.packet import AcctPacket
from scapy.layers.radius import Radius, RadiusAttr_Vendor_Specific, RadiusAttribute

from gtp.events import (
    NOWHERE,
    EndReason,
    Identity,
    Place,
    Session,
    SessionDown,
    SessionMoved,
    SessionUp,
    Tunnel,
)
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore, PutUe
from nf.signalling.radius import RadiusTracker

ALICE, BOB = "001010000000001", "001010000000002"
GATEWAY = "192.0.2.3"
START, STOP, INTERIM, ON = 1, 2, 3, 7
WORDS = Dictionary(
    io.StringIO(
        "ATTRIBUTE NAS-IP-Address 4 ipaddr\nATTRIBUTE Framed-IP-Address 8 ipaddr\n"
        "ATTRIBUTE Called-Station-Id 30 string\nATTRIBUTE Calling-Station-Id 31 string\n"
        "ATTRIBUTE Acct-Status-Type 40 integer\nATTRIBUTE Acct-Session-Id 44 string\n"
        "ATTRIBUTE Framed-IPv6-Prefix 97 ipv6prefix\n"
        "VENDOR ADSL-Forum 3561\nBEGIN-VENDOR ADSL-Forum\nATTRIBUTE Agent-Circuit-Id 1 string\nEND-VENDOR ADSL-Forum\n"
        "VENDOR 3GPP 10415\nBEGIN-VENDOR 3GPP\nATTRIBUTE 3GPP-IMSI 1 string\nATTRIBUTE 3GPP-IMEISV 20 string\n"
        "ATTRIBUTE 3GPP-RAT-Type 21 octets\nATTRIBUTE 3GPP-User-Location-Info 22 octets\n"
        "END-VENDOR 3GPP\n"
    )
)


def account(status, session="c0000203/1", *, imsi=ALICE, ue="10.45.0.2", apn="internet", number=1, **more):
    """Return an Accounting-Request; *more* are attributes with "_" for "-"."""
    packet = AcctPacket(id=number, secret=b"secret", dict=WORDS)
    packet["Acct-Status-Type"], packet["NAS-IP-Address"] = status, GATEWAY
    if session:
        packet["Acct-Session-Id"] = session
    for name, value in (("3GPP-IMSI", imsi), ("Framed-IP-Address", ue), ("Called-Station-Id", apn), *more.items()):
        if value:
            packet[name.replace("_", "-")] = value
    return packet.RequestPacket()


@pytest.fixture
def tracker():
    return RadiusTracker()


def feed(tracker, *packets, at_s=1.0):
    return [event for raw in packets for event in tracker.feed(raw, (GATEWAY, 40000), at_s)]


class TestPlace:
    """3GPP-User-Location-Info and 3GPP-RAT-Type (TS 29.061, 16.4.7); texts are what tshark reads of these bytes."""

    @pytest.mark.parametrize(
        ("rat", "where", "place"),
        [
            (6, "82 00f110 1a2b 00f110 00abcd01", Place("EUTRA", "001-01-1a2b", "001-01-0abcd01")),  # TAI and ECGI
            (2, "00 00f110 1a2b c3d4", Place("GERA", "", "001-01-1a2bc3d4")),  # CGI
            (1, "01 00f110 1a2b c3d5", Place("UTRA", "", "001-01-1a2bc3d5")),  # SAI
            (
                10,
                "89 00f110 00012d 00f110 0000010001",
                Place("NR", "001-01-00012d", "001-01-000001000"),
            ),  # 5GS TAI, NCGI
            (10, "88 00f110 00012d", Place("NR", "001-01-00012d")),
            (3, "", Place("WLAN")),
            (6, "ff 00f110", Place("EUTRA")),  # a type that is not known
            (6, "82 00f110 1a", Place("EUTRA")),  # cut
            (6, "82 0af110 1a2b 00f110 00abcd01", Place("EUTRA")),  # a country with a digit that is none
            (200, "", NOWHERE),
        ],
    )
    def test_a_start_says_it(self, tracker, rat, where, place):
        raw = account(START, **{"3GPP_RAT_Type": bytes([rat]), "3GPP_User_Location_Info": bytes.fromhex(where)})
        (event,) = feed(tracker, raw, at_s=5.0)
        assert event.session.place == place

    def test_an_interim_update_moves_it(self, tracker):
        feed(tracker, account(START, **{"3GPP_RAT_Type": b"\6"}))
        assert feed(tracker, account(INTERIM, **{"3GPP_RAT_Type": b"\6"})) == []
        there = account(INTERIM, **{"3GPP_User_Location_Info": bytes.fromhex("80 00f110 1a2c")})
        (event,) = feed(tracker, there, at_s=9.0)
        assert isinstance(event, SessionMoved)
        assert event.session.place == Place("EUTRA", "001-01-1a2c")


class TestSession:
    """A session is there from its Start, or its first interim update, to its Stop."""

    def test_a_start_names_subscriber_address_and_network(self, tracker):
        raw = account(START, Calling_Station_Id="+4915112345678", **{"3GPP_IMEISV": "3534901122334455"})
        (event,) = feed(tracker, raw, at_s=5.0)
        assert isinstance(event, SessionUp)
        session = event.session
        assert (event.at_s, session.source, session.ue_ipv4) == (5.0, "radius", "10.45.0.2")
        assert (session.dnn, session.instance, session.tunnels) == ("internet", "internet", ())
        assert session.identity == Identity(ALICE, "3534901122334455", "4915112345678")

    def test_as_scapy_writes_it(self, tracker):
        """Another encoder: the 3GPP attribute inside Vendor-Specific, and the two attributes of the session."""
        attributes = [
            RadiusAttribute(type=40, value=b"\0\0\0\1"),
            RadiusAttribute(type=44, value=b"7"),
            RadiusAttribute(type=8, value=bytes([10, 45, 0, 9])),
            RadiusAttr_Vendor_Specific(vendor_id=10415, vendor_type=1, value=ALICE.encode()),
        ]
        (event,) = feed(tracker, bytes(Radius(code=4, attributes=attributes)))
        assert (event.session.identity.imsi, event.session.ue_ipv4) == (ALICE, "10.45.0.9")

    def test_ipv6_has_a_prefix(self, tracker):
        (event,) = feed(tracker, account(START, ue="", Framed_IPv6_Prefix="2001:db8:1::/64"))
        assert event.session.ue_ipv6 == "2001:db8:1::/64"

    def test_an_interim_update_is_a_late_start(self, tracker):
        assert isinstance(feed(tracker, account(INTERIM))[0], SessionUp)

    def test_the_same_said_again_is_no_event(self, tracker):
        assert len(feed(tracker, account(START), account(START), account(INTERIM, number=2))) == 1

    def test_what_changed_is(self, tracker):
        _, event = feed(tracker, account(START, ue="10.45.0.2"), account(INTERIM, Framed_IPv6_Prefix="2001:db8:1::/64"))
        assert isinstance(event, SessionMoved)

    def test_a_stop_ends_it(self, tracker):
        _, event = feed(tracker, account(START), account(STOP))
        assert (type(event), event.reason) == (SessionDown, EndReason.DELETED)
        assert len(tracker) == 0

    def test_a_start_that_comes_after_its_stop_is_late(self, tracker):
        assert feed(tracker, account(STOP), account(START)) == []
        assert tracker.counters["radius_after_stop"] == 1

    def test_a_gateway_that_restarts_ends_its_sessions(self, tracker):
        feed(tracker, account(START), account(START, "c0000203/2", imsi=BOB, ue="10.45.0.3"))
        events = feed(tracker, account(ON, "", imsi="", ue="", apn=""))
        assert {e.session.identity.imsi for e in events} == {ALICE, BOB}
        assert {e.reason for e in events} == {EndReason.RESTARTED}


class TestLine:
    """A fixed line is its access node's circuit (RFC 4679, 3.3.1), whatever its address is."""

    def test_it_is_named_by_its_circuit(self, tracker):
        raw = account(START, imsi="", Agent_Circuit_Id="olt-7 eth 1/3:100.12", Calling_Station_Id="02:00:00:00:0c:01")
        (event,) = feed(tracker, raw)
        assert event.session.identity == Identity(nai="line:olt-7 eth 1/3:100.12")
        assert not tracker.counters["radius_identity_refused"]

    def test_its_name_goes_with_it_to_another_address(self, tracker):
        store, names = BindingStore(10), Pseudonymiser(b"k" * 32, 0)
        for session, ue in (("1", "192.0.2.7"), ("2", "192.0.2.8")):
            for event in feed(tracker, account(START, session, imsi="", ue=ue, Agent_Circuit_Id="olt-7:12")):
                store.apply(event)
        first, second = (store.subscriber(n, names) for n in (1, 2))
        assert first == second
        assert first.startswith("line-")


class TestIdentity:
    """The IMSI is 3GPP-IMSI and nothing else."""

    @pytest.mark.parametrize("imsi", ["", "0010100000000011", "00101000000000x", "\u0660\u0661"])
    def test_it_is_not_guessed(self, tracker, imsi):
        (event,) = feed(tracker, account(START, imsi=imsi, Calling_Station_Id=ALICE))
        assert event.session.identity.imsi == ""
        assert tracker.counters["radius_identity_refused"] == bool(imsi)

    @pytest.mark.parametrize("ue", ["255.255.255.255", "255.255.255.254", ""])
    def test_without_an_address_there_is_nobody_to_bind(self, tracker, ue):
        """RFC 2865, 5.8: the user, or the gateway, shall choose one."""
        assert feed(tracker, account(START, ue=ue)) == []
        assert tracker.counters["radius_without_address"] == 1


class TestDamage:
    """Damaged bytes are counted; a cut never shortens an identity."""

    def test_a_cut_packet_is_refused_at_every_byte(self, tracker):
        raw = account(START)
        for cut in range(1, len(raw)):
            shorter = raw[:2] + cut.to_bytes(2, "big") + raw[4:cut] if cut >= 4 else raw[:cut]
            for event in feed(RadiusTracker(), raw[:cut], shorter):
                assert event.session.identity.imsi in ("", ALICE)
        assert feed(tracker, *(raw[:cut] for cut in range(1, len(raw)))) == []

    def test_changed_bytes_never_raise(self, tracker):
        chance, raw = random.Random(2866), account(START)
        for _ in range(5000):
            damaged = bytearray(raw)
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(1, len(damaged))] = chance.randrange(256)
            feed(tracker, bytes(damaged))
        assert tracker.counters["radius_malformed"] > 100


class TestJoin:
    """Accounting gives the sessions of other sources their name, by the UE address."""

    TUNNEL = Tunnel("192.0.2.10", 0xA1)
    PFCP = Session("p", "pfcp", Identity(), "10.45.0.2", dnn="internet", instance="internet", tunnels=(TUNNEL,))

    @pytest.mark.parametrize("first", ["pfcp", "radius"])
    def test_pfcp_without_user_id(self, tracker, first):
        store, steps = BindingStore(10), [SessionUp(1.0, self.PFCP), *feed(tracker, account(START), at_s=1.2)]
        for event in steps if first == "pfcp" else reversed(steps):
            store.apply(event)
        binding = store.by_tunnel("192.0.2.10", 0xA1)
        assert (binding.session.identity.imsi, binding.session.source, len(store)) == (ALICE, "radius", 1)

    def test_an_hourly_update_names_who_has_been_there(self, tracker):
        store = BindingStore(10)
        store.apply(SessionUp(1.0, self.PFCP))
        for event in feed(tracker, account(INTERIM), at_s=3600.0):
            store.apply(event)
        assert store.by_tunnel("192.0.2.10", 0xA1).session.identity.imsi == ALICE

    def test_another_network_is_another_subscriber(self, tracker):
        store = BindingStore(10)
        store.apply(SessionUp(1.0, self.PFCP))
        for event in feed(tracker, account(START, apn="ims"), at_s=1.2):
            store.apply(event)
        assert store.by_tunnel("192.0.2.10", 0xA1).session.identity.imsi == ""

    def test_an_address_that_is_given_again_changes_hands(self, tracker):
        """Alice's Stop was lost."""
        store = BindingStore(10)
        for event in feed(tracker, account(START), account(START, "c0000203/2", imsi=BOB)):
            changes = store.apply(event)
        (binding,) = store.by_imsi(BOB)
        assert PutUe("internet", "10.45.0.2", binding.index) in changes
        assert store.by_imsi(ALICE) == []

    def test_two_bearers_of_one_address_are_one_session(self, tracker):
        """Each PDP context has a session of accounting (TS 29.061, 16.3.2): one Stop does not end the other."""
        store = BindingStore(10)
        for raw in (account(START), account(START, "c0000203/2"), account(STOP)):
            for event in feed(tracker, raw):
                store.apply(event)
        assert len(store) == 1
        assert store.by_ue("internet", "10.45.0.2").session.identity.imsi == ALICE
