"""A session has many addresses: routes behind the UE, further IPv6 prefixes, a delegated one (TS 29.244, 5.16)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gtp.events import EndReason, Identity, Session, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from nf.kernel.changes import DropRoute, PutRoute
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore, PutTunnel, Query, find
from nf.sessions.binding import is_of_ue
from nf.sessions.restart.keep import SOURCES, recall, remember
from nf.sessions.restart.restore import restore

ALICE, BOB = "001010000000001", "001010000000002"
KEY = b"the key of the pseudonyms"
UPLINK = Tunnel("192.0.2.10", 0xA1)
LAN, SECOND, SITE = "192.168.50.0/24", "2001:db8:2::/64", "2001:db8:f00::/56"


def alice(*routes: str, ue6: str = "2001:db8:1::/64", tunnels: tuple[Tunnel, ...] = (UPLINK,)) -> Session:
    who = Identity(imsi=ALICE)
    return Session("pfcp-1", "pfcp", who, "10.45.0.2", ue6, "internet", "", "internet", tunnels, routes)


def bob(*routes: str) -> Session:
    who, tunnels = Identity(imsi=BOB), (Tunnel("192.0.2.10", 0xA2),)
    return Session("pfcp-2", "pfcp", who, "10.45.0.3", "", "internet", "", "internet", tunnels, routes)


@pytest.fixture
def store() -> BindingStore:
    return BindingStore(100)


def whose(store: BindingStore, address: str) -> str:
    binding = store.by_ue("internet", address)
    return binding.session.identity.imsi if binding else ""


class TestStore:
    """Each prefix leads to its session, for as long as that has it."""

    def test_the_kernel_is_told_of_each_and_that_the_tunnels_have_them(self, store: BindingStore) -> None:
        changes = store.apply(SessionUp(1.0, alice(LAN, SECOND)))
        index = changes[0].session if isinstance(changes[0], PutRoute) else 0
        assert {c for c in changes if isinstance(c, PutRoute)} == {
            PutRoute("internet", LAN, index),
            PutRoute("internet", SECOND, index),
        }
        (tunnel,) = [c for c in changes if isinstance(c, PutTunnel)]
        assert tunnel == PutTunnel(
            "192.0.2.10", 0xA1, Side.UPLINK, index, "10.45.0.2", "2001:db8:1::/64", routed=True
        )  # fmt: skip

    def test_a_session_with_one_address_is_told_as_before(self, store: BindingStore) -> None:
        changes = store.apply(SessionUp(1.0, alice()))
        assert not [c for c in changes if isinstance(c, PutRoute) or (isinstance(c, PutTunnel) and c.routed)]

    def test_a_delegated_prefix_is_looked_up_as_one(self, store: BindingStore) -> None:
        """The prefix is shorter than the /64 that tables know (TS 23.501, 5.8.2.2.3; 5.6.4.3 here)."""
        changes = store.apply(SessionUp(1.0, alice(ue6=SITE)))
        assert [c.prefix for c in changes if isinstance(c, PutRoute)] == [SITE]
        assert whose(store, "2001:db8:f00:ff::1") == ALICE
        assert whose(store, "2001:db8:f00:100::1") == ""

    @pytest.mark.parametrize("address", ["10.45.0.2", "192.168.50.7", "2001:db8:1::9", "2001:db8:2::9"])
    def test_each_address_finds_it(self, store: BindingStore, address: str) -> None:
        store.apply(SessionUp(1.0, bob()))
        store.apply(SessionUp(1.0, alice(LAN, SECOND)))
        assert whose(store, address) == ALICE
        (found,) = find(store, Query(ue_address=address), Pseudonymiser(KEY, 1)).found
        assert found.session.identity.imsi == ALICE

    def test_addresses_outside_find_nobody(self, store: BindingStore) -> None:
        store.apply(SessionUp(1.0, alice(LAN, SECOND)))
        assert [whose(store, a) for a in ("192.168.51.7", "2001:db8:3::9", "10.45.0.4")] == ["", "", ""]

    def test_the_longest_prefix_counts(self, store: BindingStore) -> None:
        store.apply(SessionUp(1.0, alice(LAN)))
        store.apply(SessionUp(1.0, bob("192.168.50.64/26")))
        assert (whose(store, "192.168.50.7"), whose(store, "192.168.50.65")) == (ALICE, BOB)

    def test_what_two_have_is_nobodys_until_one_is_left(self, store: BindingStore) -> None:
        store.apply(SessionUp(1.0, alice(LAN)))
        store.apply(SessionUp(1.0, bob(LAN)))
        assert whose(store, "192.168.50.7") == ""
        assert len(store) == 2, "neither ends for it"
        store.apply(SessionDown(2.0, bob(LAN), EndReason.DELETED))
        assert whose(store, "192.168.50.7") == ALICE

    def test_a_route_that_comes_and_goes(self, store: BindingStore) -> None:
        store.apply(SessionUp(1.0, alice()))
        came = store.apply(SessionMoved(2.0, alice(LAN)))
        assert {type(c) for c in came} == {PutRoute, PutTunnel}
        left = store.apply(SessionMoved(3.0, alice()))
        assert [c.prefix for c in left if isinstance(c, DropRoute)] == [LAN]
        assert [c.routed for c in left if isinstance(c, PutTunnel)] == [False]
        assert whose(store, "192.168.50.7") == ""

    def test_its_end_is_theirs(self, store: BindingStore) -> None:
        store.apply(SessionUp(1.0, alice(LAN)))
        changes = store.apply(SessionDown(2.0, alice(LAN), EndReason.DELETED))
        assert [c.prefix for c in changes if isinstance(c, DropRoute)] == [LAN]

    def test_a_part_of_another_source_takes_them_along(self, store: BindingStore) -> None:
        """PFCP told the route, RADIUS the same address: one session, and the route stays when RADIUS' part ends."""
        store.apply(SessionUp(1.0, alice(LAN)))
        radius = replace(alice(), key="radius-1", source="radius", tunnels=())
        store.apply(SessionUp(1.1, radius))
        assert len(store) == 1
        store.apply(SessionDown(2.0, radius, EndReason.DELETED))
        assert whose(store, "192.168.50.7") == ALICE

    def test_flows_are_asked_about_by_all_addresses(self) -> None:
        session = alice(LAN)
        assert is_of_ue(session, ["192.168.50.7", "198.51.100.9"])
        assert not is_of_ue(session, ["192.168.51.7", "198.51.100.9"])


class TestOverARestart:
    """Prefixes are in the file like the rest of the session."""

    @pytest.mark.parametrize("session", [alice(LAN, SECOND), alice(ue6=SITE)], ids=["routes", "delegated"])
    def test_they_are_known_again(self, tmp_path: Any, session: Session) -> None:
        before = BindingStore(100)
        before.apply(SessionUp(1.0, session))
        remember(tmp_path / "s", KEY, before, {}, 1.0)
        found = recall(tmp_path / "s", KEY, 2.0)
        assert found is not None
        after = BindingStore(100, first=5000)
        (taken,) = [restore(after, found.constants, records, SOURCES) for records in found.sessions()]

        wanted = {*session.routes} or {SITE}
        assert {c for c in taken.changes if isinstance(c, PutRoute)} == {
            PutRoute("internet", prefix, 5000) for prefix in wanted
        }
        (row,) = [c for c in taken.changes if isinstance(c, PutTunnel)]
        assert row.routed is True
        (binding,) = after.by_imsi(ALICE)
        assert binding.session == session
