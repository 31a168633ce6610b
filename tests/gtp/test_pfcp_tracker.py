"""The tracker turns accepted exchanges into events (TS 29.244, 6.2)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gtp.events import EndReason, Identity, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from gtp.pfcp import build, ie
from gtp.pfcp.build import SessionPlan
from gtp.pfcp.ie import FTeid, Interface, Type, UeAddress
from gtp.pfcp.message import Kind, write
from gtp.pfcp.tracker import PfcpTracker

SMF, UPF = ("192.0.2.1", 8805), ("192.0.2.10", 8805)
IMSI, OTHER = "001010000000001", "001010000000002"
PLAN = SessionPlan(
    smf=SMF[0],
    cp_seid=11,
    identity=Identity(imsi=IMSI),
    ue_ipv4="10.45.0.2",
    uplink=("192.0.2.10", 0xA1),
    downlink=("192.0.2.20", 0xB2),
    snssai="1-000001",
)
UPLINK = Tunnel("192.0.2.10", 0xA1, Side.UPLINK)
DOWNLINK = Tunnel("192.0.2.20", 0xB2, Side.DOWNLINK)


class Talk:
    """A tracker between one SMF and one UPF."""

    def __init__(self):
        self.tracker = PfcpTracker()
        self.sequence = 0

    def ask(self, request, at_s=1.0):
        return self.tracker.feed(request, SMF, UPF, at_s)

    def answer(self, response, at_s=1.0):
        return self.tracker.feed(response, UPF, SMF, at_s)

    def beat(self, sequence, smf, upf=50, at_s=1.0):
        """Return an answered heartbeat of the SMF; *smf* and *upf* are recovery time stamps."""
        asked = self.ask(build.heartbeat_request(sequence, smf), at_s)
        return asked + self.answer(build.heartbeat_response(sequence, upf), at_s)

    def up(self, plan=PLAN, up_seid=22, chosen=None, at_s=1.0):
        self.sequence += 1
        assert self.ask(build.establishment_request(self.sequence, plan), at_s) == []
        return self.answer(build.establishment_response(self.sequence, plan.cp_seid, UPF[0], up_seid, chosen), at_s)


@pytest.fixture
def talk():
    return Talk()


class TestEstablishment:
    """A session begins when the UPF accepts it."""

    def test_the_f_teid_that_the_smf_chose(self, talk):
        (event,) = talk.up(at_s=5.0)
        assert isinstance(event, SessionUp)
        assert event.at_s == 5.0
        assert event.session.identity.imsi == IMSI
        assert (event.session.ue_ipv4, event.session.dnn, event.session.snssai) == ("10.45.0.2", "internet", "1-000001")
        assert set(event.session.tunnels) == {UPLINK, DOWNLINK}
        assert {t.side for t in event.session.tunnels if t == DOWNLINK} == {Side.DOWNLINK}

    def test_the_f_teid_that_the_upf_chose(self, talk):
        (event,) = talk.up(replace(PLAN, uplink=None), chosen=("192.0.2.10", 0xCAFE))
        assert Tunnel("192.0.2.10", 0xCAFE) in event.session.tunnels

    def test_a_request_alone_is_nothing(self, talk):
        assert talk.ask(build.establishment_request(1, PLAN)) == []
        assert len(talk.tracker) == 0

    def test_a_refusal_is_nothing(self, talk):
        talk.ask(build.establishment_request(1, PLAN))
        assert talk.answer(build.establishment_response(1, 11, UPF[0], 22, cause=73)) == []
        assert talk.tracker.counters["pfcp_rejected"] == 1

    def test_a_retransmission_counts_once(self, talk):
        talk.ask(build.establishment_request(1, PLAN))
        talk.ask(build.establishment_request(1, PLAN))
        response = build.establishment_response(1, 11, UPF[0], 22)
        assert len(talk.answer(response) + talk.answer(response)) == 1
        assert talk.tracker.counters["pfcp_retransmitted"] == 2, "a request and a response"

    def test_a_retransmission_after_the_answer_changes_nothing(self, talk):
        """The response was lost behind the mirror: the SMF asks again, the UPF answers again (6.4)."""
        talk.up()
        talk.sequence = 0
        assert talk.up() == []
        assert len(talk.tracker) == 1

    def test_other_bytes_under_a_waiting_sequence_number_replace_it(self, talk):
        """The SMF began anew before it was answered: the answer is for what it asks now."""
        talk.ask(build.establishment_request(1, PLAN))
        talk.ask(build.establishment_request(1, replace(PLAN, cp_seid=12, identity=Identity(imsi=OTHER))))
        (event,) = talk.answer(build.establishment_response(1, 12, UPF[0], 22))
        assert event.session.identity.imsi == OTHER

    def test_an_answer_to_another_seid_binds_nobody(self, talk):
        """The header of the response carries the SEID of the request's F-SEID (7.2.2.4.2)."""
        talk.ask(build.establishment_request(1, PLAN))
        assert talk.answer(build.establishment_response(1, 12, UPF[0], 22)) == []
        assert talk.tracker.counters["pfcp_other_seid"] == 1

    def test_parts_of_an_identity_that_make_no_sense_stay_unknown(self, talk):
        """An MSISDN with a nibble 0xb, an IMSI of 17 digits: neither is guessed, neither takes the session along."""
        imsi, msisdn = bytes.fromhex("00010100000000f1"), bytes.fromhex("94b1")
        long = bytes.fromhex("0001010000000000f1")
        for raw, want in (
            (b"\x05" + bytes([len(imsi)]) + imsi + bytes([len(msisdn)]) + msisdn, IMSI),
            (b"\x01" + bytes([len(long)]) + long, ""),
        ):
            talk = Talk()
            fseid = ie.ie(Type.F_SEID, ie.FSeid(11, SMF[0]).bytes())
            talk.ask(write(Kind.ESTABLISHMENT_REQUEST, 1, fseid, ie.ie(Type.USER_ID, raw), seid=0))
            (event,) = talk.answer(build.establishment_response(1, 11, UPF[0], 22))
            assert event.session.identity == Identity(imsi=want)
            assert talk.tracker.counters["pfcp_identity_refused"] == 1

    def test_without_user_id_nobody_is_invented(self, talk):
        (event,) = talk.up(replace(PLAN, identity=Identity()))
        assert not event.session.identity

    def test_rules_with_one_choose_id_share_the_chosen_f_teid(self, talk):
        """Clause 5.5.1: the UPF answers for one rule, the other has the same."""

        def pdr(number):
            return ie.ie(
                Type.CREATE_PDR,
                ie.ie(Type.PDR_ID, number.to_bytes(2, "big")),
                ie.ie(
                    Type.PDI,
                    ie.ie(Type.SOURCE_INTERFACE, bytes([Interface.ACCESS])),
                    ie.ie(Type.F_TEID, FTeid(choose=True, choose_id=5).bytes()),
                    ie.ie(Type.UE_IP_ADDRESS, UeAddress("10.45.0.9").bytes()),
                ),
            )

        fseid = ie.ie(Type.F_SEID, ie.FSeid(11, SMF[0]).bytes())
        talk.ask(write(Kind.ESTABLISHMENT_REQUEST, 1, fseid, pdr(1), pdr(2), seid=0))
        (event,) = talk.answer(build.establishment_response(1, 11, UPF[0], 22, ("192.0.2.10", 0x77)))
        assert event.session.tunnels == (Tunnel("192.0.2.10", 0x77),)

    def test_a_traffic_endpoint_says_what_the_rule_leaves_out(self, talk):
        """PDI optimisation: address and F-TEID stand in Create Traffic Endpoint (7.5.2.7)."""
        endpoint = ie.ie(
            Type.CREATE_TRAFFIC_ENDPOINT,
            ie.ie(Type.TRAFFIC_ENDPOINT_ID, b"\x03"),
            ie.ie(Type.F_TEID, FTeid(0x55, "192.0.2.10").bytes()),
            ie.ie(Type.UE_IP_ADDRESS, UeAddress("10.45.0.8").bytes()),
        )
        rule = ie.ie(
            Type.CREATE_PDR,
            ie.ie(Type.PDR_ID, b"\0\1"),
            ie.ie(Type.PDI, ie.ie(Type.SOURCE_INTERFACE, b"\0"), ie.ie(Type.TRAFFIC_ENDPOINT_ID, b"\x03")),
        )
        fseid = ie.ie(Type.F_SEID, ie.FSeid(11, SMF[0]).bytes())
        talk.ask(write(Kind.ESTABLISHMENT_REQUEST, 1, fseid, endpoint, rule, seid=0))
        (event,) = talk.answer(build.establishment_response(1, 11, UPF[0], 22))
        assert event.session.ue_ipv4 == "10.45.0.8"
        assert event.session.tunnels == (Tunnel("192.0.2.10", 0x55),)


class TestModification:
    """A handover changes the tunnel and nothing else."""

    def test_the_new_gnb_tunnel_replaces_the_old(self, talk):
        talk.up()
        talk.ask(build.handover_request(9, 22, ("192.0.2.21", 0xC3)))
        (event,) = talk.answer(build.modification_response(9, 11), at_s=7.0)
        assert isinstance(event, SessionMoved)
        assert set(event.session.tunnels) == {UPLINK, Tunnel("192.0.2.21", 0xC3)}
        assert event.gone == (DOWNLINK,)
        assert event.session.identity.imsi == IMSI

    def test_an_idle_ue_has_no_downlink_tunnel(self, talk):
        """TS 23.502, 4.2.6: the downlink is buffered and its outer header is gone."""
        talk.up()
        far = ie.ie(Type.UPDATE_FAR, ie.ie(Type.FAR_ID, b"\0\0\0\2"), ie.ie(Type.APPLY_ACTION, b"\x0c"))
        talk.ask(write(Kind.MODIFICATION_REQUEST, 9, far, seid=22))
        (event,) = talk.answer(build.modification_response(9, 11))
        assert event.session.tunnels == (UPLINK,)
        assert event.gone == (DOWNLINK,)

    def test_the_same_again_is_no_event(self, talk):
        talk.up()
        talk.ask(build.handover_request(9, 22, ("192.0.2.20", 0xB2)))
        assert talk.answer(build.modification_response(9, 11)) == []

    def test_a_session_whose_beginning_was_not_seen_is_learned_without_identity(self, talk):
        talk.ask(build.handover_request(9, 99, ("192.0.2.21", 0xC3)))
        (event,) = talk.answer(build.modification_response(9, 11))
        assert isinstance(event, SessionUp)
        assert not event.session.identity
        assert event.session.tunnels == (Tunnel("192.0.2.21", 0xC3),)


class TestEnd:
    """Everything that ends a session says why."""

    def test_deletion(self, talk):
        talk.up()
        talk.ask(build.deletion_request(9, 22))
        (event,) = talk.answer(build.deletion_response(9, 11), at_s=8.0)
        assert isinstance(event, SessionDown)
        assert (event.reason, event.at_s, event.session.identity.imsi) == (EndReason.DELETED, 8.0, IMSI)

    def test_a_report_of_the_upf(self, talk):
        """PSDBU in Session Report Request (7.5.8.1): the UPF deleted it."""
        talk.up()
        talk.answer(write(Kind.REPORT_REQUEST, 4, ie.ie(Type.SRREQ_FLAGS, b"\x01"), seid=11))
        (event,) = talk.ask(write(Kind.REPORT_RESPONSE, 4, ie.ie(Type.CAUSE, b"\x01"), seid=22))
        assert event.reason is EndReason.REPORTED

    def test_a_newer_recovery_time_stamp(self, talk):
        talk.beat(1, 100)
        talk.sequence = 10
        talk.up()
        (event,) = talk.beat(2, 101)
        assert event.reason is EndReason.RESTARTED

    def test_a_newer_recovery_time_stamp_of_the_upf(self, talk):
        talk.beat(1, 100, 50)
        talk.sequence = 10
        talk.up()
        (event,) = talk.beat(2, 100, 51)
        assert event.reason is EndReason.RESTARTED

    def test_the_same_recovery_time_stamp_ends_nothing(self, talk):
        talk.beat(1, 100)
        talk.sequence = 10
        talk.up()
        assert talk.beat(2, 100) == []

    def test_a_new_association(self, talk):
        talk.up()
        talk.ask(build.association_request(50, SMF[0], 1))
        (event,) = talk.answer(build.association_response(50, UPF[0], 1))
        assert event.reason is EndReason.RESTARTED

    def test_an_association_that_retains_its_sessions_ends_none(self, talk):
        """PFCP Session Retention Information (5.22)."""
        talk.up()
        node = ie.ie(Type.NODE_ID, ie.node_id(SMF[0]))
        stamp = ie.ie(Type.RECOVERY_TIME_STAMP, (1).to_bytes(4, "big"))
        talk.ask(write(Kind.ASSOCIATION_SETUP_REQUEST, 50, node, stamp, ie.ie(Type.SESSION_RETENTION)))
        psrei = ie.ie(Type.ASSOCIATION_RESPONSE_FLAGS, b"\x01")
        cause = ie.ie(Type.CAUSE, b"\x01")
        assert talk.answer(write(Kind.ASSOCIATION_SETUP_RESPONSE, 50, node, cause, stamp, psrei)) == []
        assert len(talk.tracker) == 1

    def test_a_upf_that_does_not_say_it_retained_them_did_not(self, talk):
        """PSREI in PFCPASRsp-Flags is missing (8.2.134)."""
        talk.up()
        node = ie.ie(Type.NODE_ID, ie.node_id(SMF[0]))
        stamp = ie.ie(Type.RECOVERY_TIME_STAMP, (1).to_bytes(4, "big"))
        talk.ask(write(Kind.ASSOCIATION_SETUP_REQUEST, 50, node, stamp, ie.ie(Type.SESSION_RETENTION)))
        (event,) = talk.answer(build.association_response(50, UPF[0], 1))
        assert event.reason is EndReason.RESTARTED

    def test_an_older_recovery_time_stamp_that_comes_late_ends_nothing(self, talk):
        for sequence, stamp in ((1, 100), (2, 101)):
            talk.beat(sequence, stamp)
        talk.sequence = 10
        talk.up()
        assert talk.beat(3, 100) == []
        assert talk.beat(4, 101) == []

    def test_a_restarted_smf_may_send_the_very_same_bytes_again(self, talk):
        """Its numbers begin again at one: an equal request is a new one, not a retransmission."""
        talk.ask(build.association_request(1, SMF[0], 100))
        talk.answer(build.association_response(1, UPF[0], 50))
        talk.sequence = 1
        talk.up()
        talk.ask(build.association_request(1, SMF[0], 101))
        (ended,) = talk.answer(build.association_response(1, UPF[0], 50))
        assert ended.reason is EndReason.RESTARTED
        talk.sequence = 1
        (event,) = talk.up()
        assert isinstance(event, SessionUp)

    def test_the_release_of_the_association(self, talk):
        """Association Release (7.4.4.5) ends what stands between the two, and nothing else."""
        talk.up()
        node = ie.ie(Type.NODE_ID, ie.node_id(SMF[0]))
        other = ("192.0.2.11", 8805)
        elsewhere = replace(PLAN, cp_seid=12, uplink=(other[0], 1))
        talk.tracker.feed(build.establishment_request(90, elsewhere), SMF, other, 1.0)
        talk.tracker.feed(build.establishment_response(90, 12, other[0], 7), other, SMF, 1.0)
        talk.ask(write(Kind.ASSOCIATION_RELEASE_REQUEST, 50, node))
        (event,) = talk.answer(write(Kind.ASSOCIATION_RELEASE_RESPONSE, 50, node, ie.ie(Type.CAUSE, b"\x01")))
        assert event.reason is EndReason.RELEASED
        assert UPLINK in event.session.tunnels
        assert len(talk.tracker) == 1

    def test_the_deletion_of_a_session_set(self, talk):
        """Session Set Deletion (7.4.6.1) ends the sessions that share its FQ-CSID."""
        csid = ie.ie(Type.FQ_CSID, bytes.fromhex("01 c0000201 0007"))
        several = ie.ie(Type.FQ_CSID, bytes.fromhex("02 c0000201 0006 0007"))
        node = ie.ie(Type.NODE_ID, ie.node_id(SMF[0]))
        cause = ie.ie(Type.CAUSE, b"\x01")
        for sequence, seid, more in ((1, 11, csid), (2, 12, b"")):
            fseid = ie.ie(Type.F_SEID, ie.FSeid(seid, SMF[0]).bytes())
            talk.ask(write(Kind.ESTABLISHMENT_REQUEST, sequence, fseid, more, seid=0))
            talk.answer(build.establishment_response(sequence, seid, UPF[0], seid + 100))
        talk.ask(write(Kind.SET_DELETION_REQUEST, 3, node, several))
        (event,) = talk.answer(write(Kind.SET_DELETION_RESPONSE, 3, node, cause))
        assert event.reason is EndReason.RELEASED
        assert len(talk.tracker) == 1

    def test_a_reused_seid_supersedes(self, talk):
        talk.up()
        first, second = talk.up(replace(PLAN, ue_ipv4="10.45.0.3"))
        assert isinstance(first, SessionDown)
        assert first.reason is EndReason.SUPERSEDED
        assert second.session.ue_ipv4 == "10.45.0.3"


class TestBadInput:
    """Bad input is counted, and the next good message works."""

    @pytest.mark.parametrize(
        ("raw", "counter"),
        [
            (b"", "pfcp_truncated"),
            (b"\x20\x01", "pfcp_truncated"),
            (bytes.fromhex("4001000400000100"), "pfcp_bad_version"),
            (bytes.fromhex("2032ffff00000100"), "pfcp_bad_length"),
            (bytes.fromhex("2005000c000001000060ffff00000000"), "pfcp_bad_length"),
        ],
    )
    def test_is_counted(self, talk, raw, counter):
        assert talk.ask(raw) == []
        assert talk.tracker.counters[counter] == 1
        assert len(talk.up()) == 1

    def test_a_response_that_answers_nothing(self, talk):
        assert talk.answer(build.modification_response(77, 11)) == []
        assert talk.tracker.counters["pfcp_response_without_request"] == 1

    def test_requests_that_are_never_answered_are_forgotten(self, talk):
        talk.ask(build.establishment_request(1, PLAN), at_s=0.0)
        talk.ask(build.heartbeat_request(2, 1), at_s=61.0)
        assert talk.tracker.counters["pfcp_unanswered"] == 1


class TestMirror:
    """A mirror brings the directions by ways of their own, and may lose a message that arrived."""

    def test_a_response_that_comes_before_its_request(self, talk):
        assert talk.answer(build.establishment_response(1, 11, UPF[0], 22), 1.0) == []
        (event,) = talk.ask(build.establishment_request(1, PLAN), 1.002)
        assert isinstance(event, SessionUp)
        assert talk.tracker.counters["pfcp_reordered"] == 1
        assert talk.ask(build.establishment_request(1, PLAN), 1.1) == [], "a retransmission"

    def test_an_old_response_is_none_to_a_new_request(self, talk):
        talk.answer(build.establishment_response(1, 11, UPF[0], 22), 1.0)
        assert talk.ask(build.establishment_request(1, PLAN), 2.0) == []

    def test_a_deletion_of_which_only_the_request_was_seen(self, talk):
        talk.up()
        talk.ask(build.deletion_request(7, 22), 2.0)
        assert talk.ask(build.heartbeat_request(8, 1), 20.0) == [], "it may still be answered"
        (event,) = talk.ask(build.heartbeat_request(9, 1), 63.0)
        assert (type(event), event.reason) == (SessionDown, EndReason.DELETED)
        assert talk.tracker.counters["pfcp_ended_by_half"] == 1

    def test_a_deletion_of_which_only_the_response_was_seen(self, talk):
        talk.up()
        assert talk.answer(build.deletion_response(7, 11), 2.0) == []
        (event,) = talk.ask(build.heartbeat_request(8, 1), 3.0)
        assert isinstance(event, SessionDown)

    def test_it_does_not_end_who_has_the_name_since(self, talk):
        talk.up()
        talk.ask(build.deletion_request(7, 22), 2.0)
        talk.sequence = 7
        talk.up(replace(PLAN, identity=Identity(imsi=OTHER)), at_s=3.0)
        assert talk.ask(build.heartbeat_request(9, 1), 70.0) == []
        assert len(talk.tracker) == 1

    @pytest.mark.parametrize("half", ["request", "response"])
    def test_a_seid_that_is_given_again_ends_who_had_it(self, talk, half):
        """The end of the first and half of the second's beginning were lost: the session now there stays unknown."""
        talk.up()
        if half == "request":
            talk.ask(build.establishment_request(7, replace(PLAN, identity=Identity(imsi=OTHER))), 5.0)
        else:
            talk.answer(build.establishment_response(7, 11, UPF[0], 22), 5.0)
        (event,) = talk.ask(build.heartbeat_request(8, 1), 30.0)
        assert (type(event), event.reason) == (SessionDown, EndReason.SUPERSEDED)

    def test_a_restarted_smf_answers_no_request_of_before(self, talk):
        """Its sequence numbers begin again: requests that waited from before are over."""
        talk.up()
        talk.ask(build.handover_request(2, 22, ("192.0.2.21", 0xC3)), 2.0)
        talk.ask(build.association_request(3, SMF[0], 10), 3.0)
        talk.answer(build.association_response(3, UPF[0], 5), 3.0)
        talk.sequence = 0
        talk.up(at_s=4.0)
        assert talk.answer(build.modification_response(2, 11), 4.1) == []

    def test_a_response_for_another_session_changes_nothing(self, talk):
        talk.up()
        talk.ask(build.handover_request(2, 22, ("192.0.2.21", 0xC3)), 2.0)
        assert talk.answer(build.modification_response(2, 12), 2.1) == []
        assert talk.tracker.counters["pfcp_other_seid"] == 1
