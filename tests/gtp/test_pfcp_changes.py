"""Effects of one modification on a session, whatever the order of its elements (TS 29.244, 7.5.4 and 7.5.5)."""

from __future__ import annotations

from typing import Any

import pytest

from gtp.events import SessionEvent, SessionMoved, Tunnel
from gtp.pfcp import ie
from gtp.pfcp.ie import FTeid, OuterHeader, Type
from gtp.pfcp.message import Kind, write
from tests.gtp.test_pfcp_tracker import DOWNLINK, UPF, UPLINK, Talk

RAW_UPDATED_PDR = 256  # table 8.1.2-1
FORW, BUFF_NOCP = b"\x02\x00", b"\x0c\x00"  # 8.2.26


def pdr_id(number: int) -> bytes:
    return ie.ie(Type.PDR_ID, number.to_bytes(2, "big"))


def group(kind: int, *parts: bytes) -> bytes:
    value = b"".join(parts)
    return kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


def fteid(teid: int) -> bytes:
    return ie.ie(Type.F_TEID, FTeid(teid, UPF[0]).bytes())


def access(number: int, *elements: bytes, kind: int = Type.CREATE_PDR) -> bytes:
    source = ie.ie(Type.SOURCE_INTERFACE, b"\0")
    return group(kind, pdr_id(number), ie.ie(Type.PDI, source, *elements))


def choose(choose_id: int | None = None) -> bytes:
    return ie.ie(Type.F_TEID, FTeid(choose=True, choose_id=choose_id).bytes())


def far(action: bytes, header: tuple[str, int] | None = None) -> bytes:
    parameters = []
    if header:
        creation = ie.ie(Type.OUTER_HEADER_CREATION, OuterHeader(header[1], header[0]).bytes())
        parameters = [ie.ie(Type.UPDATE_FORWARDING_PARAMETERS, ie.ie(Type.DESTINATION_INTERFACE, b"\0"), creation)]
    return ie.ie(Type.UPDATE_FAR, ie.ie(Type.FAR_ID, b"\0\0\0\2"), ie.ie(Type.APPLY_ACTION, action), *parameters)


def modify(talk: Talk, asked: list[bytes], answered: list[bytes] | None = None) -> list[SessionEvent]:
    talk.sequence += 1
    cause = ie.ie(Type.CAUSE, b"\x01")
    assert talk.ask(write(Kind.MODIFICATION_REQUEST, talk.sequence, *asked, seid=22)) == []
    return talk.answer(write(Kind.MODIFICATION_RESPONSE, talk.sequence, cause, *(answered or []), seid=11))


@pytest.fixture
def talk() -> Talk:
    talk = Talk()
    talk.up()
    return talk


def tunnels(events: list[Any]) -> set[Tunnel]:
    (event,) = events
    assert isinstance(event, SessionMoved)
    return set(event.session.tunnels)


class TestUpdatedPdr:
    """Updated PDR (type 256, table 7.5.5.1-1) tells the F-TEID that an Update PDR asked the UPF to choose."""

    def test_its_tunnel_replaces_the_old_one(self, talk: Talk) -> None:
        answer = group(RAW_UPDATED_PDR, pdr_id(1), fteid(0x222))
        events = modify(talk, [access(1, choose(), kind=Type.UPDATE_PDR)], [answer])

        assert tunnels(events) == {Tunnel(UPF[0], 0x222), DOWNLINK}
        assert isinstance(events[0], SessionMoved)
        assert events[0].gone == (UPLINK,)

    def test_rules_with_one_choose_id_share_it(self, talk: Talk) -> None:
        """Clause 5.5.1, in a modification: the answer for one of two rules is the answer for both."""
        asked = [access(1, choose(7), kind=Type.UPDATE_PDR), access(5, choose(7))]
        events = modify(talk, asked, [group(RAW_UPDATED_PDR, pdr_id(1), fteid(0x222))])
        assert tunnels(events) == {Tunnel(UPF[0], 0x222), DOWNLINK}

        events = modify(talk, [group(Type.REMOVE_PDR, pdr_id(1))])
        assert events == [], "rule 5 still receives there"

    def test_a_rule_that_the_response_leaves_out_keeps_its_tunnel(self, talk: Talk) -> None:
        assert modify(talk, [access(1, choose(), kind=Type.UPDATE_PDR)]) == []


class TestOrder:
    """Elements of a message have no order: removal goes before creation, creation before update."""

    @pytest.mark.parametrize("turned", [False, True])
    def test_a_rule_that_is_removed_and_created_is_the_new_one(self, talk: Talk, turned: bool) -> None:
        asked = [group(Type.REMOVE_PDR, pdr_id(1)), access(1, choose())]
        events = modify(talk, asked[::-1] if turned else asked, [group(Type.CREATED_PDR, pdr_id(1), fteid(0x333))])
        assert tunnels(events) == {Tunnel(UPF[0], 0x333), DOWNLINK}

    @pytest.mark.parametrize("turned", [False, True])
    def test_a_forwarding_rule_that_is_removed_and_created_is_the_new_one(self, talk: Talk, turned: bool) -> None:
        number = ie.ie(Type.FAR_ID, b"\0\0\0\2")
        creation = ie.ie(Type.OUTER_HEADER_CREATION, OuterHeader(0xD4, "192.0.2.22").bytes())
        parameters = ie.ie(Type.FORWARDING_PARAMETERS, ie.ie(Type.DESTINATION_INTERFACE, b"\0"), creation)
        created = ie.ie(Type.CREATE_FAR, number, ie.ie(Type.APPLY_ACTION, FORW), parameters)
        asked = [group(Type.REMOVE_FAR, number), created]
        assert tunnels(modify(talk, asked[::-1] if turned else asked)) == {UPLINK, Tunnel("192.0.2.22", 0xD4)}

    @pytest.mark.parametrize("turned", [False, True])
    def test_an_update_is_of_what_was_created_with_it(self, talk: Talk, turned: bool) -> None:
        asked = [access(5, fteid(0x51)), access(5, fteid(0x52), kind=Type.UPDATE_PDR)]
        assert tunnels(modify(talk, asked[::-1] if turned else asked)) == {UPLINK, Tunnel(UPF[0], 0x52), DOWNLINK}

    @pytest.mark.parametrize("turned", [False, True])
    def test_a_traffic_endpoint_that_is_removed_and_created_is_the_new_one(self, talk: Talk, turned: bool) -> None:
        number = ie.ie(Type.TRAFFIC_ENDPOINT_ID, b"\x03")
        first = [ie.ie(Type.CREATE_TRAFFIC_ENDPOINT, number, fteid(0x55)), access(6, number)]
        assert Tunnel(UPF[0], 0x55) in tunnels(modify(talk, first))
        again = [group(Type.REMOVE_TRAFFIC_ENDPOINT, number), ie.ie(Type.CREATE_TRAFFIC_ENDPOINT, number, fteid(0x56))]
        assert tunnels(modify(talk, again[::-1] if turned else again)) == {UPLINK, Tunnel(UPF[0], 0x56), DOWNLINK}

    def test_a_rule_that_the_accepted_response_lists_exists(self, talk: Talk) -> None:
        """The response holds the rest of the rule, also where the request removed it."""
        answer = group(RAW_UPDATED_PDR, pdr_id(1), fteid(0x222))
        events = modify(talk, [group(Type.REMOVE_PDR, pdr_id(1))], [answer])
        assert tunnels(events) == {Tunnel(UPF[0], 0x222), DOWNLINK}


class TestBuffering:
    """A forwarding rule that buffers has no tunnel; its outer header comes back with FORW (5.2.3.1, 8.2.26)."""

    def test_forw_alone_brings_the_tunnel_back(self, talk: Talk) -> None:
        (idle,) = modify(talk, [far(BUFF_NOCP)])
        assert isinstance(idle, SessionMoved)
        assert (set(idle.session.tunnels), idle.gone) == ({UPLINK}, (DOWNLINK,))

        assert tunnels(modify(talk, [far(FORW)])) == {UPLINK, DOWNLINK}

    def test_a_new_header_replaces_the_kept_one(self, talk: Talk) -> None:
        modify(talk, [far(BUFF_NOCP)])
        assert tunnels(modify(talk, [far(FORW, ("192.0.2.21", 0xC3))])) == {UPLINK, Tunnel("192.0.2.21", 0xC3)}

    def test_a_header_that_comes_while_it_buffers_waits(self, talk: Talk) -> None:
        modify(talk, [far(BUFF_NOCP)])
        assert modify(talk, [far(BUFF_NOCP, ("192.0.2.21", 0xC3))]) == []
        assert tunnels(modify(talk, [far(FORW)])) == {UPLINK, Tunnel("192.0.2.21", 0xC3)}

    def test_it_is_kept_over_a_restart_of_ours(self, talk: Talk) -> None:
        modify(talk, [far(BUFF_NOCP)])
        fresh = Talk()
        fresh.tracker.restore(talk.tracker.dump())
        fresh.sequence = 50
        assert tunnels(modify(fresh, [far(FORW)])) == {UPLINK, DOWNLINK}
