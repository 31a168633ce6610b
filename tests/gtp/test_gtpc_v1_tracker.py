"""The GTPv1-C tracker turns accepted exchanges into events (TS 29.060, 7.3); scapy writes the messages."""

from __future__ import annotations

import random

import pytest
from scapy.contrib import gtp as v1

from gtp.codec import CodecError, Reader
from gtp.events import EndReason, Identity, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from gtp.gtpc.tracker_v1 import GtpV1Tracker
from gtp.gtpc.v1 import read_body, read_header
from tests.gtp.gtpc_says import (
    ALICE,
    BOB,
    GGSN,
    RNC,
    SGSN,
    old,
    old_echo,
    pdp_delete,
    pdp_deleted,
    pdp_request,
    pdp_response,
    pdp_update,
    pdp_updated,
)

ACCESS, CORE = Tunnel(SGSN, 0x12), Tunnel(GGSN, 0x22)
DIRECT, OTHER_SGSN = Tunnel(RNC, 0x32), "192.0.2.6"


class Talk:
    """A tracker between an SGSN and a GGSN; `up` gives Alice NSAPI 5 on control TEIDs 0x11 and 0x21."""

    def __init__(self):
        self.tracker = GtpV1Tracker()

    def exchange(self, asked, answered, at_s=1.0, src=SGSN, dst=GGSN):
        there, back = (src, 2123), (dst, 2123)
        return self.tracker.feed(asked, there, back, at_s) + self.tracker.feed(answered, back, there, at_s)

    def up(self, seq=1, **more):
        return self.exchange(pdp_request(seq, **more), pdp_response(seq, teid=more.get("control", 0x11)))


@pytest.fixture
def talk():
    return Talk()


@pytest.fixture
def attached(talk):
    talk.up()
    return talk


class TestCreate:
    """A PDP context begins when the GGSN accepts it (7.3.1, 7.3.2)."""

    def test_it_names_the_subscriber_the_address_and_the_tunnels(self, talk):
        (event,) = talk.up()
        assert isinstance(event, SessionUp)
        session = event.session
        assert session.identity == Identity(ALICE, "", "4915112345678")
        assert (session.source, session.ue_ipv4, session.dnn) == ("gtp-c", "10.45.0.2", "internet")
        assert {(t, t.side, t.local) for t in session.tunnels} == {
            (ACCESS, Side.DOWNLINK, False),
            (CORE, Side.UPLINK, True),
        }

    def test_a_refusal_is_nothing(self, talk):
        assert talk.exchange(pdp_request(1), pdp_response(1, answer=199)) == []
        assert talk.tracker.counters["gtpv1_rejected"] == 1

    def test_a_retransmission_counts_once(self, talk):
        assert len(talk.up() + talk.up()) == 1
        assert talk.tracker.counters["gtpv1_retransmitted"] == 2

    def test_an_answer_to_another_teid_binds_nobody(self, talk):
        assert talk.exchange(pdp_request(1), pdp_response(1, teid=0x99)) == []
        assert talk.tracker.counters["gtpv1_other_teid"] == 1

    def test_a_secondary_context_belongs_to_its_first(self, attached):
        asked = pdp_request(2, imsi="", control=None, data=0x14, nsapi=6, linked=5, teid=0x21)
        (event,) = attached.exchange(asked, pdp_response(2, data=0x24, ue=""))
        assert isinstance(event, SessionMoved)
        assert event.session.tunnels == (ACCESS, CORE, Tunnel(SGSN, 0x14), Tunnel(GGSN, 0x24))
        assert event.session.identity.imsi == ALICE

    def test_control_teids_that_are_given_again_end_who_had_them(self, attached):
        down, up = attached.up(seq=2, imsi=BOB)
        assert (down.session.identity.imsi, down.reason) == (ALICE, EndReason.SUPERSEDED)
        assert up.session.identity.imsi == BOB


class TestUpdate:
    """Tunnels move with the context (7.3.3)."""

    def test_a_direct_tunnel_ends_at_the_rnc(self, attached):
        (event,) = attached.exchange(pdp_update(2), pdp_updated(2))
        assert event.gone == (ACCESS,)
        assert set(event.session.tunnels) == {DIRECT, CORE}

    def test_another_sgsn_is_asked_under_its_own_teid(self, attached):
        asked = pdp_update(2, control=0x91, data=0x92, addresses=(OTHER_SGSN, OTHER_SGSN))
        (event,) = attached.exchange(asked, pdp_updated(2, teid=0x91), src=OTHER_SGSN)
        assert Tunnel(OTHER_SGSN, 0x92) in event.session.tunnels
        (down,) = attached.exchange(
            pdp_delete(3, teid=0x91, teardown=True), pdp_deleted(3, teid=0x21), src=GGSN, dst=OTHER_SGSN
        )
        assert isinstance(down, SessionDown)

    def test_of_an_unknown_context_it_teaches_tunnels_without_identity(self, talk):
        asked = pdp_update(2, control=0x91, data=0x92, addresses=(OTHER_SGSN, OTHER_SGSN))
        (event,) = talk.exchange(asked, pdp_updated(2, teid=0x91), src=OTHER_SGSN)
        assert (event.session.tunnels, event.session.identity) == ((Tunnel(OTHER_SGSN, 0x92),), Identity())


class TestEnd:
    """A context ends in several ways, each with its reason."""

    def test_it_is_deleted(self, attached):
        (event,) = attached.exchange(pdp_delete(2), pdp_deleted(2))
        assert (type(event), event.reason) == (SessionDown, EndReason.DELETED)
        assert len(attached.tracker) == 0

    def test_one_of_two_leaves_the_other(self, attached):
        attached.exchange(
            pdp_request(2, imsi="", control=None, data=0x14, nsapi=6, linked=5, teid=0x21),
            pdp_response(2, data=0x24, ue=""),
        )
        (event,) = attached.exchange(pdp_delete(3, nsapi=6), pdp_deleted(3))
        assert event.gone == (Tunnel(SGSN, 0x14), Tunnel(GGSN, 0x24))
        attached.exchange(
            pdp_request(4, imsi="", control=None, data=0x14, nsapi=6, linked=5, teid=0x21),
            pdp_response(4, data=0x24, ue=""),
        )
        (event,) = attached.exchange(pdp_delete(5, nsapi=6, teardown=True), pdp_deleted(5))
        assert isinstance(event, SessionDown)

    def test_a_newer_restart_counter_ends_all_of_that_node(self, attached):
        echo = old(v1.GTPEchoRequest(), 7, 0)
        assert attached.exchange(echo, old_echo(7, 1)) == []
        (event,) = attached.exchange(old(v1.GTPEchoRequest(), 8, 0), old_echo(8, 2))
        assert event.reason is EndReason.RESTARTED


class TestDamage:
    """Damaged bytes give a value or a CodecError, nothing else."""

    SAMPLES = (pdp_request(1), pdp_response(1), pdp_update(1), pdp_delete(1, teardown=True), old_echo(1, 2))

    @staticmethod
    def decode(raw):
        reader = Reader(raw)
        return read_header(reader), read_body(reader)

    @pytest.mark.parametrize("sample", SAMPLES, ids=lambda raw: f"type-{raw[1]}")
    def test_a_cut_message_is_an_error_at_every_byte(self, sample):
        for cut in range(len(sample)):
            with pytest.raises(CodecError) as caught:
                self.decode(sample[:cut])
            assert 0 <= caught.value.at <= cut

    def test_mutations_never_raise_anything_else(self):
        chance, refused, tracker = random.Random(29060), 0, GtpV1Tracker()
        for number in range(5000):
            damaged = bytearray(self.SAMPLES[number % len(self.SAMPLES)])
            for _ in range(chance.randint(1, 4)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            try:
                self.decode(bytes(damaged))
            except CodecError:
                refused += 1
            tracker.feed(bytes(damaged), (SGSN, 2123), (GGSN, 2123), float(number))
        assert 0 < refused < 5000
        assert sum(tracker.counters[f"gtpv1_{n}"] for n in ("truncated", "bad_length", "bad_version", "bad_value")) > 0

    def test_extension_headers_are_passed_over(self):
        """MBMS support indication stands before the elements (clause 6, figure 3)."""
        raw = pdp_request(1)
        longer = bytes([raw[0] | 4]) + raw[1:2] + (len(raw) - 8 + 4).to_bytes(2, "big") + raw[4:11] + b"\x01"
        header, body = self.decode(longer + b"\x01\xff\xff\x00" + raw[12:])
        assert (header.kind, body.imsi) == (16, ALICE)
