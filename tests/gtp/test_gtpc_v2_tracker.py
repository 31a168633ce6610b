"""The GTPv2-C tracker turns accepted exchanges into events (TS 29.274, 7.2); scapy writes the messages."""

from __future__ import annotations

import pytest
from scapy.contrib import gtp_v2 as v2

from gtp.events import EndReason, Identity, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from gtp.gtpc.tracker_v2 import GtpV2Tracker
from tests.gtp.gtpc_says import (
    ACCEPTED,
    ALICE,
    BOB,
    ENB,
    MME,
    NOT_FOUND,
    PGW,
    REFUSED,
    S1U_ENB,
    S1U_SGW,
    S5C_PGW,
    S5C_SGW,
    S5U_PGW,
    S5U_SGW,
    S11_MME,
    S11_SGW,
    SGW,
    bearer,
    cause,
    create_request,
    create_response,
    ebi,
    fteid,
    request,
    response,
)

CORE, HOME, RADIO = Tunnel(SGW, 0xA1), Tunnel(PGW, 0xC1), Tunnel(ENB, 0xB1, Side.DOWNLINK)
OTHER_MME, OTHER_SGW = "192.0.2.11", "192.0.2.12"


class Talk:
    """A tracker between an MME and an SGW; `up` attaches Alice, with bearer 5, on control TEIDs 0x1 and 0x2."""

    def __init__(self):
        self.tracker = GtpV2Tracker()
        self.seq = 0

    def ask(self, raw, at_s=1.0, src=MME, dst=SGW):
        return self.tracker.feed(raw, (src, 2123), (dst, 2123), at_s)

    def answer(self, raw, at_s=1.0, src=SGW, dst=MME):
        return self.tracker.feed(raw, (src, 2123), (dst, 2123), at_s)

    def exchange(self, kind, teid, asked, answered, *, src=MME, dst=SGW, answer_teid=1, at_s=2.0):
        """Ask *kind* of (*dst*, *teid*) with elements *asked*, and let it be answered by elements *answered*."""
        self.seq += 1
        events = self.ask(request(kind, self.seq, teid, *asked), at_s, src, dst)
        return events + self.answer(response(kind + 1, self.seq, answer_teid, *answered), at_s, dst, src)

    def up(self, imsi=ALICE, mme=1, sgw=2, number=5, core=0xA1, home=0xC1, ue="10.45.0.2", teid=0, at_s=1.0, **kw):
        self.seq += 1
        mine = (S11_MME, mme, MME)
        assert self.ask(create_request(self.seq, bearer(number), sender=mine, imsi=imsi, teid=teid, **kw), at_s) == []
        ends = bearer(number, (S1U_SGW, core, SGW), (S5U_PGW, home, PGW, 2), answer=ACCEPTED)
        return self.answer(create_response(self.seq, mme, ends, sender=(S11_SGW, sgw, SGW), ue=ue), at_s)

    def radio(self, teid=0xB1, number=5, address=ENB):
        return self.exchange(
            34, 0x2, [bearer(number, (S1U_ENB, teid, address))], [cause(16), bearer(number, answer=16)]
        )


@pytest.fixture
def talk():
    return Talk()


@pytest.fixture
def attached(talk):
    talk.up()
    return talk


class TestCreateSession:
    """A session begins when the core accepts it, bearer by bearer (7.2.1, 7.2.2)."""

    def test_it_names_the_subscriber_the_address_and_the_tunnels(self, talk):
        more = (v2.IE_MSISDN(digits=b"4915112345678"), v2.IE_MEI(MEI=b"3534901122334455"))
        (event,) = talk.up(more=more, at_s=5.0)
        assert isinstance(event, SessionUp)
        assert event.at_s == 5.0
        session = event.session
        assert session.identity == Identity(ALICE, "3534901122334455", "4915112345678")
        assert (session.source, session.ue_ipv4, session.dnn, session.instance) == (
            "gtp-c", "10.45.0.2", "internet", "internet"
        )  # fmt: skip
        assert {(t, t.side, t.local) for t in session.tunnels} == {
            (CORE, Side.UPLINK, True),
            (HOME, Side.UPLINK, False),
        }

    def test_on_s5_the_pgw_receives(self, talk):
        """The same connection seen one hop further: SGW to PGW."""
        ask = create_request(1, bearer(5, (S5U_SGW, 0xD1, SGW, 2)), sender=(S5C_SGW, 0x7, SGW))
        talk.ask(ask, src=SGW, dst=PGW)
        ends = bearer(5, (S5U_PGW, 0xC1, PGW, 2), answer=ACCEPTED)
        (event,) = talk.answer(create_response(1, 0x7, ends, sender=(S5C_PGW, 0x8, PGW, 1)), src=PGW, dst=SGW)
        assert {(t, t.side, t.local) for t in event.session.tunnels} == {
            (HOME, Side.UPLINK, True),
            (Tunnel(SGW, 0xD1), Side.DOWNLINK, False),
        }

    def test_an_operator_identifier_is_no_other_network(self, talk):
        (event,) = talk.up(apn="Internet.MNC001.MCC001.GPRS")
        assert event.session.dnn == "internet", "TS 23.003, 9.1: case and operator identifier aside"

    def test_a_request_alone_is_nothing(self, talk):
        talk.ask(create_request(1, bearer(5), sender=(S11_MME, 1, MME)))
        assert len(talk.tracker) == 0

    def test_a_refusal_is_nothing(self, talk):
        talk.ask(create_request(1, bearer(5), sender=(S11_MME, 1, MME)))
        assert talk.answer(create_response(1, 1, answer=REFUSED)) == []
        assert talk.tracker.counters["gtpv2_rejected"] == 1

    def test_a_bearer_that_was_refused_has_no_tunnel(self, talk):
        talk.ask(create_request(1, bearer(5), bearer(6), sender=(S11_MME, 1, MME)))
        ends = bearer(5, (S1U_SGW, 0xA1, SGW), answer=16), bearer(6, (S1U_SGW, 0xA2, SGW), answer=REFUSED)
        (event,) = talk.answer(create_response(1, 1, *ends, sender=(S11_SGW, 2, SGW), answer=17))
        assert event.session.tunnels == (CORE,)

    def test_without_an_imsi_nobody_is_invented(self, talk):
        """An emergency call without a SIM (TS 23.401, 4.3.12)."""
        (event,) = talk.up(imsi="")
        assert not event.session.identity.imsi

    def test_a_retransmission_counts_once(self, talk):
        talk.up()
        talk.seq = 0
        assert talk.up() == []
        assert talk.tracker.counters["gtpv2_retransmitted"] == 2, "a request and a response"

    def test_an_answer_to_another_teid_binds_nobody(self, talk):
        talk.ask(create_request(1, bearer(5), sender=(S11_MME, 1, MME)))
        assert talk.answer(create_response(1, 9, bearer(5, answer=16), sender=(S11_SGW, 2, SGW))) == []
        assert talk.tracker.counters["gtpv2_other_teid"] == 1

    def test_an_answer_from_elsewhere_binds_nobody(self, talk):
        talk.ask(create_request(1, bearer(5), sender=(S11_MME, 1, MME)))
        assert talk.answer(create_response(1, 1, bearer(5, answer=16)), src=PGW) == []
        assert talk.tracker.counters["gtpv2_response_without_request"] == 1

    def test_a_second_connection_shares_the_leg_and_nothing_else(self, attached):
        (event,) = attached.up(number=6, core=0xA2, home=0xC2, ue="10.46.0.2", teid=2, apn="ims")
        assert isinstance(event, SessionUp)
        assert set(event.session.tunnels) == {Tunnel(SGW, 0xA2), Tunnel(PGW, 0xC2)}
        assert len(attached.tracker) == 2

    def test_control_teids_that_are_given_again_end_who_had_them(self, attached):
        events = attached.up(imsi=BOB, core=0xA9, home=0xC9, ue="10.45.0.9")
        assert [type(e) for e in events] == [SessionDown, SessionUp]
        assert (events[0].session.identity.imsi, events[0].reason) == (ALICE, EndReason.SUPERSEDED)
        assert len(attached.tracker) == 1

    def test_a_further_connection_of_somebody_else_ends_the_leg(self, attached):
        """The end of Alice's leg was lost; Bob's first connection, too."""
        events = attached.up(imsi=BOB, number=6, core=0xA9, home=0xC9, ue="10.45.0.9", teid=2)
        assert [e.session.identity.imsi for e in events] == [ALICE, BOB]
        assert isinstance(events[0], SessionDown)

    def test_more_sessions_than_there_is_room_for_are_counted(self):
        talk = Talk()
        talk.tracker = GtpV2Tracker(capacity=1)
        talk.up()
        assert talk.up(imsi=BOB, mme=0x11, sgw=0x12, core=0xA9) == []
        assert (len(talk.tracker), talk.tracker.counters["gtpv2_full"]) == (1, 1)


class TestBearers:
    """Tunnels come, move and go with bearers."""

    def test_the_radio_end_comes_with_modify_bearer(self, attached):
        (event,) = attached.radio()
        assert isinstance(event, SessionMoved)
        assert {(t, t.side, t.local) for t in event.session.tunnels if t == RADIO} == {(RADIO, Side.DOWNLINK, False)}

    def test_a_handover_replaces_it(self, attached):
        attached.radio()
        (event,) = attached.radio(0xB2, address="192.0.2.22")
        assert event.gone == (RADIO,)
        assert Tunnel("192.0.2.22", 0xB2) in event.session.tunnels

    def test_a_refused_modification_changes_nothing(self, attached):
        ask = [bearer(5, (S1U_ENB, 0xB1, ENB))]
        assert attached.exchange(34, 2, ask, [cause(REFUSED)]) == []
        assert attached.exchange(34, 2, ask, [cause(17), bearer(5, answer=REFUSED)]) == []

    def test_an_idle_ue_gives_up_its_radio_end(self, attached):
        attached.radio()
        (event,) = attached.exchange(170, 2, [], [cause(16)])
        assert event.gone == (RADIO,)
        assert event.session.tunnels == (CORE, HOME)

    def test_a_dedicated_bearer_has_ends_of_its_own(self, attached):
        """The SGW asks (7.2.3); the MME names the bearer and repeats which it means."""
        core = (S1U_SGW, 0xA6, SGW)
        asked = [ebi(5), bearer(0, core)]
        answered = [cause(16), bearer(6, (S1U_ENB, 0xB6, ENB), (*core, 1), answer=16)]
        (event,) = attached.exchange(95, 1, asked, answered, src=SGW, dst=MME, answer_teid=2)
        assert {Tunnel(SGW, 0xA6), Tunnel(ENB, 0xB6)} <= set(event.session.tunnels)
        (event,) = attached.exchange(
            99, 1, [ebi(6, 1)], [cause(16), bearer(6, answer=16)], src=SGW, dst=MME, answer_teid=2
        )
        assert set(event.gone) == {Tunnel(SGW, 0xA6), Tunnel(ENB, 0xB6)}
        assert len(attached.tracker) == 1

    def test_a_request_that_rides_on_a_response_is_read(self, talk):
        """Create Session Response with Create Bearer Request (5.5.1, TS 23.401 annex F)."""
        talk.ask(create_request(1, bearer(5), sender=(S11_MME, 1, MME)))
        first = create_response(1, 1, bearer(5, (S1U_SGW, 0xA1, SGW), answer=16), sender=(S11_SGW, 2, SGW))
        core = (S1U_SGW, 0xA6, SGW)
        both = bytes([first[0] | 0x10]) + first[1:] + request(95, 7, 1, ebi(5), bearer(0, core))
        (up,) = talk.answer(both)
        assert isinstance(up, SessionUp)
        (event,) = talk.ask(response(96, 7, 2, cause(16), bearer(6, (S1U_ENB, 0xB6, ENB), (*core, 1), answer=16)))
        assert Tunnel(ENB, 0xB6) in event.session.tunnels

    def test_modify_access_bearers_is_modify_bearer_for_all(self, attached):
        (event,) = attached.exchange(211, 2, [bearer(5, (S1U_ENB, 0xB1, ENB))], [cause(16), bearer(5, answer=16)])
        assert RADIO in event.session.tunnels

    def test_another_mme_serves_the_ue_from_now_on(self, attached):
        """Tracking area update: the new MME names its own control TEID, and is asked there (TS 23.401, 5.3.3.2)."""
        asked = [fteid(S11_MME, 0x91, OTHER_MME), bearer(5, (S1U_ENB, 0xB1, ENB))]
        (moved,) = attached.exchange(34, 2, asked, [cause(16)], src=OTHER_MME, answer_teid=0x91)
        assert RADIO in moved.session.tunnels
        asked, answered = [ebi(5)], [cause(16), ebi(5)]
        (down,) = attached.exchange(99, 0x91, asked, answered, src=SGW, dst=OTHER_MME, answer_teid=2)
        assert isinstance(down, SessionDown)

    def test_one_mme_teid_serves_two_sgws_while_the_ue_moves(self, attached):
        """S1 handover with SGW change (TS 23.401, 5.5.1.2): the old leg lives until it is deleted."""
        mine = (S11_MME, 0x1, MME)
        attached.ask(create_request(50, bearer(5, (S5U_PGW, 0xC1, PGW, 3)), sender=mine), dst=OTHER_SGW)
        ends = bearer(5, (S1U_SGW, 0xE1, OTHER_SGW), answer=16)
        theirs = (S11_SGW, 0x2, OTHER_SGW)
        (up,) = attached.answer(create_response(50, 1, ends, sender=theirs, ue=""), src=OTHER_SGW)
        assert set(up.session.tunnels) == {HOME, Tunnel(OTHER_SGW, 0xE1)}
        assert len(attached.tracker) == 2
        (down,) = attached.exchange(36, 2, [], [cause(16)])
        assert down.session.tunnels == (CORE, HOME)
        assert len(attached.tracker) == 1


class TestEnd:
    """A session ends in several ways, each with its reason."""

    def test_the_ue_detaches(self, attached):
        (event,) = attached.exchange(36, 2, [ebi(5)], [cause(16)])
        assert isinstance(event, SessionDown)
        assert event.reason is EndReason.DELETED
        assert len(attached.tracker) == 0

    def test_one_of_two_connections_ends(self, attached):
        attached.up(number=6, core=0xA2, home=0xC2, ue="10.46.0.2", teid=2, apn="ims")
        (event,) = attached.exchange(36, 2, [ebi(6)], [cause(16)])
        assert event.session.dnn == "ims"
        assert len(attached.tracker) == 1

    def test_without_a_bearer_all_end(self, attached):
        attached.up(number=6, core=0xA2, home=0xC2, ue="10.46.0.2", teid=2, apn="ims")
        assert len(attached.exchange(36, 2, [], [cause(16)])) == 2

    def test_a_refused_deletion_ends_nothing(self, attached):
        assert attached.exchange(36, 2, [ebi(5)], [cause(REFUSED)]) == []
        assert len(attached.tracker) == 1

    def test_who_no_longer_knows_it_has_ended_it(self, attached):
        assert len(attached.exchange(36, 2, [ebi(5)], [cause(NOT_FOUND)])) == 1

    def test_the_core_deletes_the_default_bearer(self, attached):
        (event,) = attached.exchange(99, 1, [ebi(5)], [cause(16), ebi(5)], src=SGW, dst=MME, answer_teid=2)
        assert isinstance(event, SessionDown)

    def test_a_set_of_connections_ends(self, talk):
        """FQ-CSID: what shares a failed part of a node (TS 23.007, 17A; 7.2.9)."""
        mark = v2.IE_FQCSID(nodeid_type=0, num_csid=1, nodeid_v4=SGW, csid=7)
        talk.up(more=(mark,))
        talk.up(imsi=BOB, mme=0x11, sgw=0x12, core=0xA9, home=0xC9)
        (event,) = talk.exchange(101, 0, [mark], [cause(16)])
        assert (event.session.identity.imsi, event.reason) == (ALICE, EndReason.RELEASED)

    def test_a_newer_restart_counter_ends_all_of_that_node(self, attached):
        assert attached.exchange(1, None, [v2.IE_RecoveryRestart(restart_counter=7)], []) == []
        (event,) = attached.exchange(1, None, [v2.IE_RecoveryRestart(restart_counter=8)], [])
        assert (type(event), event.reason) == (SessionDown, EndReason.RESTARTED)
        assert attached.tracker.counters["gtpv2_restarts"] == 1

    def test_it_rolls_over_and_an_older_one_came_late(self, attached):
        """TS 23.007, clause 18."""
        for counter, ended in ((255, 0), (254, 0), (255, 0), (0, 1)):
            events = attached.exchange(1, None, [v2.IE_RecoveryRestart(restart_counter=counter)], [])
            assert len(events) == ended

    def test_the_first_message_of_a_restarted_node_says_it_too(self, attached):
        attached.exchange(1, None, [v2.IE_RecoveryRestart(restart_counter=7)], [])
        attached.seq += 1
        mine = (S11_MME, 0x91, MME)
        again = create_request(
            attached.seq, bearer(5), sender=mine, imsi=BOB, more=(v2.IE_RecoveryRestart(restart_counter=8),)
        )
        (event,) = attached.ask(again)
        assert event.reason is EndReason.RESTARTED


class TestLateStart:
    """The observer starts when sessions are up already: it learns what is said, and their subscribers stay unknown."""

    def test_a_modification_teaches_tunnels_without_identity(self, talk):
        (event,) = talk.radio()
        assert isinstance(event, SessionUp)
        assert (event.session.tunnels, event.session.identity) == ((RADIO,), Identity())
        assert talk.tracker.counters["gtpv2_late_sessions"] == 1

    def test_a_dedicated_bearer_does_too(self, talk):
        core = (S1U_SGW, 0xA6, SGW)
        answered = [cause(16), bearer(6, (S1U_ENB, 0xB6, ENB), (*core, 1), answer=16)]
        (event,) = talk.exchange(95, 1, [ebi(5), bearer(0, core)], answered, src=SGW, dst=MME, answer_teid=2)
        assert set(event.session.tunnels) == {Tunnel(SGW, 0xA6), Tunnel(ENB, 0xB6)}

    def test_it_ends_like_any_other(self, talk):
        talk.radio()
        (event,) = talk.exchange(36, 2, [ebi(5)], [cause(16)])
        assert event.reason is EndReason.DELETED

    def test_the_next_connection_of_the_ue_lends_it_no_identity(self, talk):
        """Its end and her beginning may both have been lost."""
        talk.radio()
        events = talk.up(number=6, core=0xA2, teid=2, apn="ims")
        assert [e.session.identity.imsi for e in events if isinstance(e, SessionUp)] == [ALICE]
        assert not [e for e in events if isinstance(e, SessionMoved)]

    def test_the_end_of_an_unknown_session_is_counted(self, talk):
        assert talk.exchange(36, 2, [ebi(5)], [cause(16)]) == []
        assert talk.tracker.counters["gtpv2_unknown_session"] == 1

    def test_nothing_is_kept_of_a_message_that_teaches_nothing(self, talk):
        assert talk.exchange(34, 2, [bearer(5)], [cause(16), bearer(5, answer=16)]) == []
        assert not talk.tracker._contexts._by_name


class TestDamage:
    """Bad input is counted under its kind and changes nothing."""

    def test_each_kind_has_a_name(self, talk):
        good = create_request(1, bearer(5), sender=(S11_MME, 1, MME))
        for raw, name in (
            (good[:5], "bad_length"),
            (good[:2], "truncated"),
            (b"\x68" + good[1:], "bad_version"),
            (good[:-1], "bad_length"),
        ):
            assert talk.ask(raw) == []
            assert talk.tracker.counters[f"gtpv2_{name}"] >= 1

    def test_an_identity_that_makes_no_sense_stays_unknown(self, talk):
        """An MSISDN with a nibble 0xb is not guessed, and the session is there without it."""
        raw = create_request(1, bearer(5), sender=(S11_MME, 1, MME), more=(v2.IE_MSISDN(digits=b"49"),))
        assert raw.count(b"\x4c\x00\x01\x00\x94") == 1
        talk.ask(raw.replace(b"\x4c\x00\x01\x00\x94", b"\x4c\x00\x01\x00\xb4"))
        (event,) = talk.answer(create_response(1, 1, bearer(5, answer=16), sender=(S11_SGW, 2, SGW)))
        assert event.session.identity == Identity(imsi=ALICE)
        assert talk.tracker.counters["gtpv2_identity_refused"] == 1

    def test_requests_that_nobody_answers_are_bounded(self, talk):
        for number in range(300):
            talk.ask(request(1, number, None), at_s=float(number))
        assert len(talk.tracker._transactions._pending) <= 22
        assert talk.tracker.counters["gtpv2_unanswered"] >= 238


class TestMirror:
    """A mirror brings the directions by ways of their own, and may lose a message that arrived."""

    def test_a_response_that_comes_before_its_request(self, talk):
        ends = bearer(5, (S1U_SGW, 0xA1, SGW), answer=16)
        assert talk.answer(create_response(1, 1, ends, sender=(S11_SGW, 2, SGW)), 1.0) == []
        (event,) = talk.ask(create_request(1, bearer(5), sender=(S11_MME, 1, MME)), 1.002)
        assert event.session.tunnels == (CORE,)
        assert talk.tracker.counters["gtpv2_reordered"] == 1

    def test_a_deletion_of_which_only_one_message_was_seen(self, attached):
        attached.ask(request(36, 9, 2, ebi(5)), 2.0)
        (event,) = attached.ask(request(1, 10, None), 63.0)
        assert (type(event), event.reason) == (SessionDown, EndReason.DELETED)
        attached.up(at_s=64.0)
        attached.answer(response(37, 30, 1, cause(16)), 65.0)
        (event,) = attached.ask(request(1, 31, None), 66.0)
        assert isinstance(event, SessionDown)
        assert attached.tracker.counters["gtpv2_ended_by_half"] == 2

    def test_a_response_alone_does_not_say_which_of_two(self, attached):
        attached.up(number=6, core=0xA2, home=0xC2, ue="10.46.0.2", teid=2, apn="ims")
        attached.answer(response(37, 30, 1, cause(16)), 65.0)
        assert attached.ask(request(1, 31, None), 66.0) == []

    def test_a_control_teid_that_is_given_again_ends_who_had_it(self, attached):
        attached.ask(create_request(9, bearer(5), sender=(S11_MME, 1, MME), imsi=BOB), 5.0)
        (event,) = attached.ask(request(1, 10, None), 30.0)
        assert (event.session.identity.imsi, event.reason) == (ALICE, EndReason.SUPERSEDED)

    def test_a_response_to_another_leg_changes_nothing(self, attached):
        asked = [bearer(5, (S1U_ENB, 0xB1, ENB))]
        assert attached.exchange(34, 2, asked, [cause(16)], answer_teid=9) == []
        assert attached.tracker.counters["gtpv2_other_teid"] == 1
