"""PFCP peers: the nodes that speak with each other, their other addresses, and the harm of other nodes (none)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from gtp.events import EndReason, Identity, PeersRefused, SessionDown, SessionEvent, SessionsEnded, SessionUp, Tunnel
from gtp.pfcp import build, ie
from gtp.pfcp.ie import Type
from gtp.pfcp.message import Kind, write
from gtp.pfcp.tracker import PfcpTracker
from gtp.transactions import Endpoint
from tests.gtp.test_pfcp_tracker import IMSI, OTHER, PLAN, SMF, UPF, Talk

STRANGER, ACCOMPLICE = ("203.0.113.9", 8805), ("203.0.113.10", 8805)
LATE_SMF, LATE_UPF = ("192.0.2.2", 8805), ("192.0.2.12", 8805)  # their association was before the start
CAUSE = ie.ie(Type.CAUSE, b"\x01")


def exchange(
    tracker: PfcpTracker, messages: Sequence[bytes], one: Endpoint, other: Endpoint, at_s: float = 1.0
) -> list[SessionEvent]:
    """Feed the request of *one* and the answer of *other*."""
    request, response = messages
    return tracker.feed(request, one, other, at_s) + tracker.feed(response, other, one, at_s)


def association(smf: Endpoint, upf: Endpoint, sequence: int = 900, stamps: tuple[int, int] = (5, 5)) -> list[bytes]:
    return [
        build.association_request(sequence, smf[0], stamps[0]),
        build.association_response(sequence, upf[0], stamps[1]),
    ]


def heartbeat(sequence: int = 901, stamps: tuple[int, int] = (5, 5)) -> list[bytes]:
    return [build.heartbeat_request(sequence, stamps[0]), build.heartbeat_response(sequence, stamps[1])]


def establishment(smf: Endpoint, upf: Endpoint, seid: int, imsi: str, sequence: int = 902) -> list[bytes]:
    plan = replace(PLAN, smf=smf[0], cp_seid=seid, identity=Identity(imsi=imsi), uplink=(upf[0], 0x900 + seid))
    return [
        build.establishment_request(sequence, plan),
        build.establishment_response(sequence, seid, upf[0], 0x100 + seid),
    ]


@pytest.fixture
def talk() -> Talk:
    """SMF and UPF, whose association was seen, with one session."""
    talk = Talk()
    exchange(talk.tracker, association(SMF, UPF, 1), SMF, UPF)
    talk.sequence = 1
    assert len(talk.up()) == 1
    return talk


class TestStrangers:
    """Nodes without an association take no sessions and end none, and it is told."""

    def test_an_establishment_between_strangers_is_kept_apart(self, talk: Talk) -> None:
        assert exchange(talk.tracker, establishment(STRANGER, ACCOMPLICE, 7, OTHER), STRANGER, ACCOMPLICE) == []
        assert (len(talk.tracker), talk.tracker.apart) == (1, 1)
        assert talk.tracker.counters["pfcp_not_associated"] == 1
        (told,) = talk.tracker.notices()
        assert told == PeersRefused(1.0, (ACCOMPLICE[0], STRANGER[0]), 1, apart=True)
        assert talk.tracker.notices() == []

    def test_with_a_upf_of_the_network(self, talk: Talk) -> None:
        """The stranger even repeats the SMF's elements, node id and F-SEID among them."""
        request, response = build.establishment_request(9, PLAN), build.establishment_response(9, 11, UPF[0], 22)
        assert exchange(talk.tracker, (request, response), STRANGER, UPF) == []
        assert len(talk.tracker) == 1

    @pytest.mark.parametrize("kind", [Kind.DELETION_REQUEST, Kind.MODIFICATION_REQUEST])
    def test_a_session_of_others(self, talk: Talk, kind: Kind) -> None:
        asked = build.deletion_request(9, 22)
        answered = build.deletion_response(9, 11)
        if kind is Kind.MODIFICATION_REQUEST:
            asked = build.handover_request(9, 22, (STRANGER[0], 1))
            answered = build.modification_response(9, 11)
        assert exchange(talk.tracker, (asked, answered), STRANGER, UPF) == []
        assert len(talk.tracker) == 1

    def test_a_report_of_its_end(self, talk: Talk) -> None:
        asked = write(Kind.REPORT_REQUEST, 9, ie.ie(Type.SRREQ_FLAGS, b"\x01"), seid=11)
        assert exchange(talk.tracker, (asked, write(Kind.REPORT_RESPONSE, 9, CAUSE, seid=22)), STRANGER, SMF) == []
        assert len(talk.tracker) == 1

    def test_half_a_deletion(self, talk: Talk) -> None:
        talk.tracker.feed(build.deletion_request(9, 22), STRANGER, UPF, 2.0)
        assert talk.beat(10, 5, 5, at_s=60.0) == []
        assert (len(talk.tracker), talk.tracker.counters["pfcp_refused"]) == (1, 1)

    def test_half_an_establishment_with_its_seid(self, talk: Talk) -> None:
        talk.tracker.feed(build.establishment_response(9, 11, UPF[0], 22), UPF, STRANGER, 2.0)
        assert talk.beat(10, 5, 5, at_s=60.0) == []
        assert len(talk.tracker) == 1

    def test_a_release_or_a_session_set(self, talk: Talk) -> None:
        node = ie.ie(Type.NODE_ID, ie.node_id(SMF[0]))
        for sequence, kind in ((9, Kind.ASSOCIATION_RELEASE_REQUEST), (10, Kind.SET_DELETION_REQUEST)):
            pair = write(kind, sequence, node), write(Kind(kind + 1), sequence, node, CAUSE)
            assert exchange(talk.tracker, pair, STRANGER, UPF) == []
        assert len(talk.tracker) == 1

    def test_a_newer_stamp_of_the_upf_told_to_a_stranger(self, talk: Talk) -> None:
        """Each node hears of a restart itself: a stamp told to a stranger ends no session of others."""
        for sequence, stamp in ((9, 5), (10, 6)):
            assert exchange(talk.tracker, heartbeat(sequence, (1, stamp)), STRANGER, UPF) == []
        assert len(talk.tracker) == 1

    def test_an_association_of_a_stranger_with_the_upf(self, talk: Talk) -> None:
        assert exchange(talk.tracker, association(STRANGER, UPF, 9, (9, 9)), STRANGER, UPF) == []
        assert len(talk.tracker) == 1

    def test_a_stranger_does_not_become_the_smf_by_naming_it(self, talk: Talk) -> None:
        """The addresses of a node that is known are not another's, whatever F-SEID and Node ID say."""
        exchange(talk.tracker, association(STRANGER, ACCOMPLICE, 9), STRANGER, ACCOMPLICE)
        exchange(talk.tracker, establishment(SMF, UPF, 7, OTHER, 10), STRANGER, ACCOMPLICE)
        node = ie.ie(Type.NODE_ID, ie.node_id(SMF[0]))
        release = write(Kind.ASSOCIATION_RELEASE_REQUEST, 11, node), write(10, 11, node, CAUSE)
        ended = exchange(talk.tracker, release, STRANGER, ACCOMPLICE)
        assert [e.session.identity.imsi for e in ended] == [OTHER], "its own"
        assert len(talk.tracker) == 1

    def test_it_is_told_once_a_minute_for_a_pair(self, talk: Talk) -> None:
        for sequence, at_s in ((9, 1.0), (10, 2.0), (11, 3.0), (12, 70.0)):
            exchange(
                talk.tracker, establishment(STRANGER, UPF, sequence, OTHER, sequence), STRANGER, UPF, at_s
            )  # fmt: skip
        told = talk.tracker.notices()
        assert [(n.at_s, n.exchanges) for n in told if isinstance(n, PeersRefused)] == [(1.0, 1), (70.0, 3)]
        assert talk.tracker.counters["pfcp_not_associated"] == 4


class TestLateStart:
    """Associations and sessions of before the start were not seen; they are learned, and none is lost."""

    def test_a_session_request_is_enough_while_no_association_was_seen(self) -> None:
        assert len(Talk().up()) == 1

    def test_who_was_known_so_stays_known(self) -> None:
        talk = Talk()
        talk.up()
        exchange(talk.tracker, association(LATE_SMF, LATE_UPF), LATE_SMF, LATE_UPF)
        talk.sequence = 20
        (event,) = talk.up(replace(PLAN, cp_seid=12), up_seid=23)
        assert isinstance(event, SessionUp)

    def test_sessions_wait_for_the_next_heartbeat(self, talk: Talk) -> None:
        """An association of others was seen; theirs was before. They heartbeat within a minute."""
        late = establishment(LATE_SMF, LATE_UPF, 7, OTHER)
        assert exchange(talk.tracker, late, LATE_SMF, LATE_UPF, 10.0) == []
        moved = build.handover_request(903, 0x107, ("192.0.2.21", 0xC3)), build.modification_response(903, 7)
        assert exchange(talk.tracker, moved, LATE_SMF, LATE_UPF, 20.0) == []
        assert talk.tracker.apart == 2

        up, *more = exchange(talk.tracker, heartbeat(), LATE_UPF, LATE_SMF, 65.0)

        assert isinstance(up, SessionUp)
        assert (up.at_s, up.session.identity.imsi) == (10.0, OTHER)
        assert Tunnel("192.0.2.21", 0xC3) in more[0].session.tunnels
        assert (talk.tracker.apart, talk.tracker.counters["pfcp_apart_taken"]) == (0, 2)
        (later,) = exchange(talk.tracker, establishment(LATE_SMF, LATE_UPF, 8, IMSI, 904), LATE_SMF, LATE_UPF, 70.0)
        assert isinstance(later, SessionUp)

    def test_session_requests_of_both_are_as_good(self, talk: Talk) -> None:
        """The SMF is answered, and answers the UPF's report."""
        exchange(talk.tracker, establishment(LATE_SMF, LATE_UPF, 7, OTHER), LATE_SMF, LATE_UPF, 10.0)
        asked = write(Kind.REPORT_REQUEST, 9, ie.ie(Type.SRREQ_FLAGS, b"\x01"), seid=99)
        (up,) = exchange(talk.tracker, (asked, write(57, 9, CAUSE, seid=1)), LATE_UPF, LATE_SMF, 11.0)
        assert isinstance(up, SessionUp)

    def test_what_nobody_vouches_for_is_forgotten_and_counted(self, talk: Talk) -> None:
        exchange(talk.tracker, establishment(LATE_SMF, LATE_UPF, 7, OTHER), LATE_SMF, LATE_UPF, 10.0)
        assert exchange(talk.tracker, heartbeat(), LATE_SMF, LATE_UPF, 400.0) == []
        assert (talk.tracker.apart, talk.tracker.counters["pfcp_apart_lost"]) == (0, 1)

    def test_who_was_known_is_known_after_a_restart_of_ours(self, talk: Talk) -> None:
        fresh = Talk()
        fresh.tracker.restore(talk.tracker.dump())
        assert exchange(fresh.tracker, establishment(STRANGER, UPF, 7, OTHER), STRANGER, UPF) == []
        fresh.sequence = 20
        assert len(fresh.up(replace(PLAN, cp_seid=12), up_seid=23)) == 1


class TestMassEnding:
    """Ending more than one session takes a request and its answer, and is told."""

    @pytest.fixture
    def two(self, talk: Talk) -> Talk:
        talk.up(replace(PLAN, cp_seid=12, ue_ipv4="10.45.0.3"), up_seid=23)
        return talk

    @pytest.mark.parametrize("of", ["heartbeat", "association"])
    def test_a_request_alone_ends_nothing(self, two: Talk, of: str) -> None:
        asked = heartbeat(90, (9, 9))[0] if of == "heartbeat" else association(SMF, UPF, 90, (9, 9))[0]
        assert two.ask(asked) == []
        assert two.ask(build.heartbeat_request(91, 9), 90.0) == []
        assert len(two.tracker) == 2

    def test_an_answer_alone_ends_nothing(self, two: Talk) -> None:
        assert two.answer(heartbeat(90, (9, 9))[1]) == []
        assert len(two.tracker) == 2

    @pytest.mark.parametrize("of", ["heartbeat", "association"])
    def test_an_answered_one_ends_all_and_says_so(self, two: Talk, of: str) -> None:
        pair = heartbeat(90, (9, 5)) if of == "heartbeat" else association(SMF, UPF, 90, (9, 5))
        ended = exchange(two.tracker, pair, SMF, UPF, 8.0)
        assert [type(e) for e in ended] == [SessionDown, SessionDown]
        assert two.tracker.notices() == [SessionsEnded(8.0, (SMF[0], UPF[0]), 2, EndReason.RESTARTED)]
        assert two.tracker.counters["pfcp_ended_together"] == 2

    def test_deletions_bundled_in_one_datagram_without_answer_end_one(self, two: Talk) -> None:
        """Bundling (6.5): the flag FO says that another message follows."""
        first = write(Kind.DELETION_REQUEST, 90, seid=22, more=True)
        two.ask(first + write(Kind.DELETION_REQUEST, 91, seid=23), 2.0)
        ended = two.beat(92, 5, 5, at_s=60.0)
        assert len(ended) == 1
        assert (len(two.tracker), two.tracker.counters["pfcp_refused"]) == (1, 1)


class TestList:
    """The operator may list the peers; then no other node counts, and the listed ones count from the start."""

    def test_only_those_on_it(self) -> None:
        tracker = PfcpTracker()
        tracker.use_peers([SMF[0], "192.0.2.8/29"])
        assert exchange(tracker, establishment(STRANGER, UPF, 7, OTHER), STRANGER, UPF) == []
        assert tracker.notices() == [PeersRefused(1.0, (UPF[0], STRANGER[0]), 1, apart=False)]
        assert tracker.counters["pfcp_refused"] == 2
        (event,) = exchange(tracker, establishment(SMF, UPF, 7, IMSI), SMF, UPF)
        assert isinstance(event, SessionUp)

    def test_they_need_no_heartbeat(self) -> None:
        tracker = PfcpTracker()
        tracker.use_peers(["192.0.2.0/24"])
        exchange(tracker, association(SMF, UPF, 1), SMF, UPF)
        (event,) = exchange(tracker, establishment(LATE_SMF, LATE_UPF, 7, IMSI), LATE_SMF, LATE_UPF)
        assert isinstance(event, SessionUp)

    def test_an_empty_list_is_none(self) -> None:
        tracker = PfcpTracker()
        tracker.use_peers(["198.51.100.1"])
        tracker.use_peers([])
        assert len(exchange(tracker, establishment(SMF, UPF, 7, IMSI), SMF, UPF)) == 1


class TestAnotherAddress:
    """A UPF may answer from another address of its own; its node id or an F-SEID says that it is the same one."""

    OTHER = ("192.0.2.11", 8805)

    def test_known_by_the_f_seid_of_the_response(self) -> None:
        talk = Talk()
        talk.ask(build.establishment_request(1, PLAN))
        response = build.establishment_response(1, PLAN.cp_seid, UPF[0], 22)
        (event,) = talk.tracker.feed(response, self.OTHER, ("192.0.2.1", 8805), 1.0)
        assert event.session.identity == PLAN.identity
        assert not talk.tracker.counters["pfcp_response_without_request"]

    def test_known_by_the_f_seid_of_its_session(self) -> None:
        """The F-SEID names the other address; a modification is answered from there without any node id."""
        talk = Talk()
        talk.ask(build.establishment_request(1, PLAN))
        talk.answer(build.establishment_response(1, PLAN.cp_seid, self.OTHER[0], 22))
        talk.ask(build.handover_request(2, 22, ("192.0.2.21", 0xC3)))
        (event,) = talk.tracker.feed(build.modification_response(2, 11), self.OTHER, ("192.0.2.1", 8805), 1.0)
        assert Tunnel("192.0.2.21", 0xC3) in event.session.tunnels

    def test_known_by_the_name_of_its_node(self) -> None:
        """Node ID is an FQDN (8.2.38): the association told it, and the response repeats it."""
        talk = Talk()
        name = ie.ie(Type.NODE_ID, b"\x02" + ie.labels("upf.example.net"))
        stamp = ie.ie(Type.RECOVERY_TIME_STAMP, (5).to_bytes(4, "big"))
        cause = ie.ie(Type.CAUSE, b"\x01")
        talk.ask(build.association_request(1, "192.0.2.1", 5))
        talk.answer(write(Kind.ASSOCIATION_SETUP_RESPONSE, 1, name, cause, stamp))
        talk.ask(build.establishment_request(2, PLAN))
        fseid = ie.ie(Type.F_SEID, ie.FSeid(22, self.OTHER[0]).bytes())
        response = write(Kind.ESTABLISHMENT_RESPONSE, 2, name, cause, fseid, seid=11)
        (event,) = talk.tracker.feed(response, self.OTHER, ("192.0.2.1", 8805), 1.0)
        assert event.session.identity == PLAN.identity

    def test_a_stranger_answers_nothing(self) -> None:
        talk = Talk()
        talk.ask(build.establishment_request(1, PLAN))
        response = build.establishment_response(1, PLAN.cp_seid, "203.0.113.9", 22)
        assert talk.tracker.feed(response, ("203.0.113.9", 8805), ("192.0.2.1", 8805), 1.0) == []
        assert talk.tracker.counters["pfcp_response_without_request"] == 1
        assert len(talk.answer(build.establishment_response(1, PLAN.cp_seid, UPF[0], 22))) == 1
