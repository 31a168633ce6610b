"""All addresses that a session has, as scapy writes them (TS 29.244, 5.16, 8.2.62, 8.2.109 and 8.2.111)."""

from __future__ import annotations

import pytest
from scapy.contrib.pfcp import IE_FramedIPv6Route, IE_FramedRoute, IE_UE_IP_Address

from gtp.events import Session, SessionUp
from gtp.pfcp import build, ie
from gtp.pfcp.ie import Type
from gtp.pfcp.message import Kind, write
from tests.gtp.test_pfcp_tracker import PLAN, SMF, Talk

PLAIN = IE_UE_IP_Address(V4=1, ipv4="10.45.0.2")


def six(address: str, **fields: object) -> IE_UE_IP_Address:
    return IE_UE_IP_Address(V6=1, ipv6=address, **fields)


def pdr(number: int, *elements: object, outside: tuple[object, ...] = ()) -> bytes:
    pdi = ie.ie(Type.PDI, ie.ie(Type.SOURCE_INTERFACE, b"\0"), *map(bytes, elements))  # type: ignore[arg-type]
    return ie.ie(Type.CREATE_PDR, ie.ie(Type.PDR_ID, number.to_bytes(2, "big")), pdi, *map(bytes, outside))  # type: ignore[arg-type]


def session(*pdrs: bytes, talk: Talk | None = None) -> Session:
    talk = talk or Talk()
    fseid = ie.ie(Type.F_SEID, ie.FSeid(11, SMF[0]).bytes())
    talk.ask(write(Kind.ESTABLISHMENT_REQUEST, 1, fseid, *pdrs, seid=0))
    (event,) = talk.answer(build.establishment_response(1, PLAN.cp_seid, "192.0.2.10", 22))
    assert isinstance(event, SessionUp)
    return event.session


class TestRoutes:
    """Framed-Route and Framed-IPv6-Route are text: prefix, gateway, metrics (RFC 2865, 5.22; RFC 3162, 2.5)."""

    @pytest.mark.parametrize(
        ("element", "prefix"),
        [
            (IE_FramedRoute(framed_route="192.168.50.0/24 10.45.0.2 1"), "192.168.50.0/24"),
            (IE_FramedRoute(framed_route="192.168.50.9/24 0.0.0.0 1 2 -1 3 400"), "192.168.50.0/24"),
            (IE_FramedRoute(framed_route="192.168.50.0 10.45.0.2 1"), "192.168.50.0/24"),
            (IE_FramedRoute(framed_route="172.16.0.0 10.45.0.2 1"), "172.16.0.0/16"),
            (IE_FramedRoute(framed_route="10.9.0.0 10.45.0.2 1"), "10.0.0.0/8"),
            (IE_FramedRoute(framed_route="192.168.50.7/32"), "192.168.50.7/32"),
            (IE_FramedIPv6Route(framed_ipv6_route="2001:DB8:0:106::/64 2001:db8::1 1"), "2001:db8:0:106::/64"),
            (IE_FramedIPv6Route(framed_ipv6_route="2001:db8:7::7"), "2001:db8:7::7/128"),
        ],
    )
    def test_each_form(self, element: object, prefix: str) -> None:
        assert session(pdr(1, PLAIN, element)).routes == (prefix,)

    @pytest.mark.parametrize("text", ["", " ", "0.0.0.0/0 10.45.0.2", "192.168.50.0/33", "route", "10.0.0.0/8/8"])
    def test_one_that_makes_no_sense_takes_nothing_along(self, text: str) -> None:
        """A route to everything would make everybody this subscriber."""
        talk = Talk()
        found = session(pdr(1, PLAIN, IE_FramedRoute(framed_route=text)), talk=talk)
        assert (found.routes, found.ue_ipv4) == ((), "10.45.0.2")
        assert talk.tracker.counters["pfcp_route_refused"] == 1

    def test_of_all_rules_each_once_wherever_it_stands(self) -> None:
        one, two = (IE_FramedRoute(framed_route=f"192.168.{n}.0/24 10.45.0.2 1") for n in (50, 60))
        rules = pdr(1, PLAIN, one, two), pdr(2, PLAIN, outside=(one,))
        assert session(*rules).routes == ("192.168.50.0/24", "192.168.60.0/24")

    def test_of_a_traffic_endpoint(self) -> None:
        number, route = ie.ie(Type.TRAFFIC_ENDPOINT_ID, b"\3"), IE_FramedRoute(framed_route="192.168.50.0/24 0.0.0.0 1")
        endpoint = ie.ie(Type.CREATE_TRAFFIC_ENDPOINT, number, bytes(PLAIN), bytes(route))
        assert session(endpoint, pdr(1, number)).routes == ("192.168.50.0/24",)


class TestAddresses:
    """The first address of each family is the session's address; what comes beyond is a prefix."""

    def test_one_of_each_family_is_none_beyond(self) -> None:
        found = session(pdr(1, PLAIN, six("2001:db8:1::1")), pdr(2, PLAIN, six("2001:db8:1::1", SD=1)))
        assert (found.ue_ipv4, found.ue_ipv6, found.routes) == ("10.45.0.2", "2001:db8:1::1", ())

    def test_several_prefixes_of_a_multi_homed_session(self) -> None:
        """TS 23.501, 5.6.4.3: each is a /64."""
        found = session(pdr(1, PLAIN, six("2001:db8:1::")), pdr(2, six("2001:db8:2::")), pdr(3, six("2001:db8:3::")))
        assert (found.ue_ipv6, found.routes) == ("2001:db8:1::", ("2001:db8:2::/64", "2001:db8:3::/64"))

    def test_a_second_ipv4_address(self) -> None:
        found = session(pdr(1, PLAIN, IE_UE_IP_Address(V4=1, ipv4="10.45.0.9")))
        assert (found.ue_ipv4, found.routes) == ("10.45.0.2", ("10.45.0.9/32",))

    def test_a_delegated_prefix_beside_the_first_one(self) -> None:
        """IPv6D: so many bits of the /64 are delegated (8.2.62), here eight of them."""
        delegated = bytes.fromhex("005d00120920010db80f000000000000000000000008")
        found = session(pdr(1, six("2001:db8:1::"), delegated))
        assert (found.ue_ipv6, found.routes) == ("2001:db8:1::", ("2001:db8:f00::/56",))

    def test_at_rest_and_over_a_restart(self) -> None:
        talk = Talk()
        route = IE_FramedRoute(framed_route="192.168.50.0/24 10.45.0.2 1")
        before = session(pdr(1, PLAIN, route), pdr(2, six("2001:db8:1::"), six("2001:db8:2::")), talk=talk)
        fresh = Talk()
        fresh.tracker.restore(talk.tracker.dump())
        fresh.ask(build.deletion_request(9, 22))
        (event,) = fresh.answer(build.deletion_response(9, 11))
        assert event.session == before
        assert before.routes == ("192.168.50.0/24", "2001:db8:2::/64")
