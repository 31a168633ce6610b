"""Bindings: the holder of a tunnel, the time since when, and the changes for the kernel."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import pytest

from gtp.events import EndReason, Identity, Place, Session, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore, DropTunnel, DropUe, PutTunnel, PutUe
from nf.sessions.report import sessions_rows
from nf.settings import StaticSession

ALICE, BOB = "001010000000001", "001010000000002"
UPLINK = Tunnel("192.0.2.10", 0xA1, Side.UPLINK)
DOWNLINK = Tunnel("192.0.2.20", 0xB2, Side.DOWNLINK, local=False)


def session(key="s1", imsi=ALICE, ue="10.45.0.2", tunnels=(UPLINK, DOWNLINK), instance="internet", source="pfcp"):
    return Session(key, source, Identity(imsi=imsi), ue_ipv4=ue, dnn=instance, instance=instance, tunnels=tunnels)


@pytest.fixture
def store():
    return BindingStore(100)


class TestUp:
    """A session puts its tunnels and addresses in force."""

    def test_the_kernel_learns_each_end(self, store):
        changes = store.apply(SessionUp(1.0, session()))
        index = changes[0].session
        assert index > 0
        assert set(changes) == {
            PutTunnel("192.0.2.10", 0xA1, Side.UPLINK, index, "10.45.0.2"),
            PutTunnel("192.0.2.20", 0xB2, Side.DOWNLINK, index, "10.45.0.2"),
            PutUe("internet", "10.45.0.2", index),
        }

    def test_it_is_found_by_tunnel_address_and_imsi(self, store):
        store.apply(SessionUp(1.0, session()))
        binding = store.by_tunnel("192.0.2.10", 0xA1)
        assert binding is not None
        assert store.by_ue("internet", "10.45.0.2") is binding
        assert store.by_imsi(ALICE) == [binding]
        assert store.by_tunnel("192.0.2.11", 0xA1) is None, "a TEID is unique at its address only"

    def test_equal_addresses_of_two_networks_are_apart(self, store):
        store.apply(SessionUp(1.0, session()))
        other = session("s2", BOB, tunnels=(Tunnel("192.0.2.10", 0xA2),), instance="ims")
        store.apply(SessionUp(2.0, other))
        one, two = store.by_ue("internet", "10.45.0.2"), store.by_ue("ims", "10.45.0.2")
        assert one is not None
        assert two is not None
        assert (one.session.identity.imsi, two.session.identity.imsi) == (ALICE, BOB)

    def test_a_full_store_refuses_and_counts(self):
        store = BindingStore(1)
        store.apply(SessionUp(1.0, session()))
        assert store.apply(SessionUp(1.0, session("s2", BOB, "10.45.0.3", (Tunnel("192.0.2.10", 2),)))) == []
        assert store.counters["full"] == 1


class TestHandover:
    """A moved session keeps its number; the tunnel it left serves late packets for a while."""

    def test_both_tunnels_lead_to_it_and_then_only_the_new(self, store):
        (put, *_) = store.apply(SessionUp(1.0, session()))
        moved = session(tunnels=(UPLINK, Tunnel("192.0.2.21", 0xC3, Side.DOWNLINK, local=False)))
        changes = store.apply(SessionMoved(5.0, moved, gone=(DOWNLINK,)))
        assert changes == [PutTunnel("192.0.2.21", 0xC3, Side.DOWNLINK, put.session, "10.45.0.2")]
        assert store.by_tunnel("192.0.2.20", 0xB2) is not None
        assert store.expire(6.0) == []
        assert store.expire(7.1) == [DropTunnel("192.0.2.20", 0xB2)]
        assert store.by_tunnel("192.0.2.21", 0xC3) is store.by_index(put.session)

    def test_a_tunnel_that_was_left_can_be_given_to_another(self, store):
        store.apply(SessionUp(1.0, session()))
        store.apply(SessionMoved(5.0, session(tunnels=(UPLINK,)), gone=(DOWNLINK,)))
        store.apply(SessionUp(5.5, session("s2", BOB, "10.45.0.3", (Tunnel("192.0.2.10", 9), DOWNLINK))))
        holder = store.by_tunnel("192.0.2.20", 0xB2)
        assert holder is not None
        assert holder.session.identity.imsi == BOB
        alice = store.by_imsi(ALICE)
        assert len(alice) == 1, "she left it, so she lost nothing"


class TestReuse:
    """A TEID or address that is given again closes the binding that had it."""

    def test_the_newer_session_wins_and_the_older_is_superseded(self, store):
        store.apply(SessionUp(1.0, session()))
        changes = store.apply(SessionUp(9.0, session("s2", BOB, "10.45.0.3", (UPLINK,))))
        assert changes.index(DropTunnel("192.0.2.10", 0xA1)) < len(changes) - 1
        past, now = store.by_tunnel("192.0.2.10", 0xA1, 5.0), store.by_tunnel("192.0.2.10", 0xA1, 10.0)
        assert past is not None
        assert now is not None
        assert (past.whole.identity.imsi, now.whole.identity.imsi) == (ALICE, BOB)
        assert (past.ended_by, past.last_s) == ("superseded", 9.0)
        assert store.counters["conflict_tunnel_taken"] == 1

    def test_a_number_is_not_used_again_while_flows_may_carry_it(self, store):
        (put, *_) = store.apply(SessionUp(1.0, session()))
        store.apply(SessionDown(2.0, session(), EndReason.DELETED))
        store.expire(30.0)
        assert store.by_index(put.session) is not None
        again = store.apply(SessionUp(31.0, session()))[0]
        assert again.session != put.session
        store.expire(62.1)
        assert store.by_index(put.session) is None

    def test_what_the_operator_configured_is_not_taken_by_signalling(self, store):
        static = StaticSession("desk", imsi=BOB, ue_ipv4="10.45.0.9", uplink=(("192.0.2.10", 0xA1),))
        store.configure((), (static,), 1.0)
        store.apply(SessionUp(2.0, session()))
        holder = store.by_tunnel("192.0.2.10", 0xA1)
        assert holder is not None
        assert holder.session.identity.imsi == BOB
        assert store.counters["conflict_tunnel_kept"] == 1


class TestDown:
    """An ended session takes back its entries."""

    def test_everything_it_held_is_dropped(self, store):
        store.apply(SessionUp(1.0, session()))
        changes = store.apply(SessionDown(2.0, session(), EndReason.DELETED))
        assert set(changes) == {
            DropTunnel("192.0.2.10", 0xA1),
            DropTunnel("192.0.2.20", 0xB2),
            DropUe("internet", "10.45.0.2"),
        }
        assert len(store) == 0

    def test_a_session_that_was_never_up_is_counted(self, store):
        assert store.apply(SessionDown(2.0, session(), EndReason.DELETED)) == []
        assert store.counters["down_unknown"] == 1


class TestTwoSegments:
    """A tunnel between two UPFs is one session's end and another's beginning: both are one PDU session."""

    VISITED = session("v", ALICE, "", (UPLINK, Tunnel("192.0.2.30", 7, Side.DOWNLINK)))
    HOME = session("h", "", "10.45.0.2", (Tunnel("192.0.2.40", 8), Tunnel("192.0.2.30", 7, Side.DOWNLINK, local=False)))

    def test_they_share_number_identity_and_address(self, store):
        store.apply(SessionUp(1.0, self.VISITED))
        store.apply(SessionUp(2.0, self.HOME))
        (binding,) = store.by_imsi(ALICE)
        assert store.by_tunnel("192.0.2.40", 8) is binding
        assert binding.session.ue_ipv4 == "10.45.0.2"
        assert len(store) == 1

    def test_the_session_ends_with_its_last_segment(self, store):
        store.apply(SessionUp(1.0, self.VISITED))
        store.apply(SessionUp(2.0, self.HOME))
        changes = store.apply(SessionDown(3.0, self.HOME, EndReason.DELETED))
        assert DropTunnel("192.0.2.40", 8) in changes
        assert DropUe("internet", "10.45.0.2") in changes
        assert len(store) == 1
        store.apply(SessionDown(4.0, self.VISITED, EndReason.DELETED))
        (row,) = sessions_rows(store)
        assert (row["imsi"], row["ue_ipv4"], row["ended_by"]) == (ALICE, "10.45.0.2", "deleted")

    def test_two_subscribers_are_never_joined(self, store):
        store.apply(SessionUp(1.0, self.VISITED))
        store.apply(SessionUp(2.0, replace(self.HOME, identity=Identity(imsi=BOB))))
        assert {b.session.identity.imsi for b in store.history()} == {ALICE, BOB}


class TestConfiguration:
    """Configured sessions come, stay and go with the configuration."""

    ONE = StaticSession("one", imsi=ALICE, ue_ipv4="10.45.0.2", uplink=(("192.0.2.10", 1),))
    TWO = StaticSession("two", imsi=BOB, ue_ipv4="10.45.0.3", uplink=(("192.0.2.10", 2),))

    def test_only_what_differs_is_touched(self, store):
        store.configure((), (self.ONE,), 1.0)
        changes = store.configure((self.ONE,), (self.ONE, self.TWO), 2.0)
        assert {c.teid for c in changes if isinstance(c, PutTunnel)} == {2}
        changes = store.configure((self.ONE, self.TWO), (self.TWO,), 3.0)
        assert {c.teid for c in changes if isinstance(c, DropTunnel)} == {1}


class TestNames:
    """A subscriber is published under a pseudonym; an unknown one under its address."""

    def test_the_pseudonym_is_the_first_half_of_the_hmac(self, store):
        (put, *_) = store.apply(SessionUp(1.0, session()))
        want = hmac.new(b"k" * 32, ALICE.encode(), hashlib.sha256).hexdigest()[:32]
        assert store.subscriber(put.session, Pseudonymiser(b"k" * 32, 1)) == want

    def test_it_is_the_same_from_every_source(self, store):
        (put, *_) = store.apply(SessionUp(1.0, session()))
        static = StaticSession("desk", imsi=ALICE, ue_ipv4="10.45.0.9", uplink=(("192.0.2.10", 9),))
        (other, *_) = store.configure((), (static,), 1.0)
        names = Pseudonymiser(b"k", 0)
        assert store.subscriber(put.session, names) == store.subscriber(other.session, names)

    def test_without_an_imsi_it_is_that_of_the_address(self, store):
        names = Pseudonymiser(b"k", 0)
        (put, *_) = store.apply(SessionUp(1.0, session(imsi="")))
        assert store.subscriber(put.session, names) == names.unknown("ue:internet:10.45.0.2")

    def test_without_an_address_it_is_that_of_the_tunnel(self, store):
        names = Pseudonymiser(b"k", 0)
        (put, *_) = store.apply(SessionUp(1.0, session(imsi="", ue="")))
        assert store.subscriber(put.session, names) == names.unknown("teid:192.0.2.10:0x000000a1")


class TestBounds:
    """Memory has a bound, whatever signalling brings."""

    def test_tunnels_of_the_past_are_forgotten(self):
        store = BindingStore(50, history=20)
        for n in range(1000):
            one = session("s", ALICE, "10.45.0.2", (Tunnel("192.0.2.10", n + 1),))
            store.apply(SessionUp(float(n), one))
            store.apply(SessionDown(n + 0.5, one, EndReason.DELETED))
            store.expire(n + 0.5)
        assert len(store._past) <= 100
        assert len(store._bindings._over) <= 62, "ended ones are kept for a minute"
        assert len(list(store.history())) <= 20


class TestAtRest:
    """A session is the same after a million others: bindings at rest lose nothing."""

    def test_every_binding_comes_back_as_it_was(self, store):
        static = StaticSession(
            "desk", imsi=BOB, ue_ipv6="2001:db8:1::/64", uplink=(("2001:db8::a", 7), ("192.0.2.10", 9))
        )
        store.configure((), (static,), 0.5)
        store.apply(SessionUp(1.0, session()))
        store.apply(SessionUp(1.5, session("gtp-c-7", ALICE, "", (DOWNLINK, Tunnel("192.0.2.90", 5)), source="gtp-c")))
        other = Identity(imsi="999700000000002", imei="3569380356438091", msisdn="4915112345678", nai="a@b.example")
        third = replace(
            session("s3", "", "10.45.0.7", (Tunnel("2001:db8::9", 3),)), identity=other, ue_ipv6="2001:db8::7"
        )
        store.apply(SessionUp(2.0, third))
        store.apply(SessionMoved(3.0, replace(third, tunnels=(Tunnel("192.0.2.21", 4, Side.DOWNLINK, local=False),))))
        store.apply(SessionDown(4.0, third, EndReason.DELETED))
        warm = [store.by_index(n) for n in range(1, 4)]
        store._bindings._warm.clear()
        cold = [store.by_index(n) for n in range(1, 4)]
        assert warm == cold
        assert all(a is not b for a, b in zip(warm, cold, strict=True))
        assert [[repr(t) for t in a.held] for a in warm] == [[repr(t) for t in b.held] for b in cold]
        assert [a.whole for a in warm] == [b.whole for b in cold]

    def test_a_label_says_what_the_binding_says(self, store):
        store.apply(SessionUp(1.0, session()))
        store.apply(SessionUp(1.0, session("s2", "", "10.45.0.3", (Tunnel("192.0.2.10", 2),))))
        store.apply(SessionUp(1.0, session("s3", "", "", (Tunnel("192.0.2.10", 3),))))
        names = Pseudonymiser(b"k", 0)
        assert [store.subscriber(n, names) for n in (1, 2, 3)] == [
            names.name(ALICE),
            names.unknown("ue:internet:10.45.0.3"),
            names.unknown("teid:192.0.2.10:0x00000003"),
        ]
        assert {(store.label(n).source, store.label(n).dnn) for n in (1, 2, 3)} == {("pfcp", "internet")}


class TestLabel:
    """Records ask for the label of a session each interval, and get that of its present state."""

    def test_it_follows_each_change(self, store):
        store.apply(SessionUp(1.0, session(imsi="")))
        index = store.by_ue("internet", "10.45.0.2").index
        assert (store.label(index).imsi, store.label(index).name) == ("", "ue:internet:10.45.0.2")

        store.apply(SessionMoved(2.0, session(), ()))
        assert (store.label(index).imsi, store.label(index).dnn) == (ALICE, "internet")

        store.apply(SessionDown(3.0, session(), EndReason.DELETED))
        assert store.label(index).imsi == ALICE, "of the last packets"

    def test_it_says_the_slice_and_follows_a_handover(self, store):
        up = replace(session(), snssai="1-00000a")
        index = store.apply(SessionUp(1.0, up))[0].session
        assert (store.label(index).slice, store.label(index).gnb) == ("1-00000a", "192.0.2.20")

        moved = Tunnel("192.0.2.21", 0xC3, Side.DOWNLINK, local=False)
        store.apply(SessionMoved(2.0, replace(up, tunnels=(UPLINK, moved)), (DOWNLINK,)))
        assert store.label(index).gnb == "192.0.2.21"

    @pytest.mark.parametrize("imsi", [ALICE, ""])
    def test_it_says_the_place_and_follows_a_tracking_area_update(self, store, imsi):
        up = replace(session(imsi=imsi), place=Place("EUTRA", "001-01-1a2b", "001-01-0abcd01", 1.0))
        index = store.apply(SessionUp(1.0, up))[0].session
        assert store.label(index).place == ("EUTRA", "001-01-1a2b", "001-01-0abcd01")

        there = Place("EUTRA", "001-01-1a2c", "001-01-0abcd91", 2.0)
        assert not store.apply(SessionMoved(2.0, replace(up, place=there))), "the kernel needs to know nothing of it"
        for _ in range(2):
            assert store.label(index).place == (there.rat, there.tai, there.cell)
            store._bindings._warm.clear()
        assert store.by_index(index).session.place == there

    def test_of_two_sources_the_last_word_is_the_place(self, store):
        """S5/S8 and S11 of one connection: the MME tells the SGW more often than that tells the PGW."""
        first = Place("EUTRA", "001-01-1a2b", "001-01-0abcd01", 1.0)
        up = replace(session(source="gtp-c"), place=first)
        index = store.apply(SessionUp(1.0, up))[0].session
        s11 = replace(up, key="s11", tunnels=(replace(UPLINK, local=False),), place=replace(first, at_s=1.1))
        store.apply(SessionUp(1.1, s11))
        assert len(store) == 1

        there = Place("EUTRA", "001-01-1a2c", "001-01-0abcd91", 9.0)
        store.apply(SessionMoved(9.0, replace(s11, place=there)))
        assert store.label(index).place == (there.rat, there.tai, there.cell)
        store.apply(SessionMoved(9.5, replace(up, ue_ipv6="2001:db8:1::/64")))  # which names its old place again
        assert store.label(index).place == (there.rat, there.tai, there.cell)
        store.apply(SessionDown(10.0, s11, EndReason.DELETED))
        assert store.label(index).place == (first.rat, first.tai, first.cell)

    @pytest.mark.parametrize(
        ("imsi", "tunnels", "gnb"),
        [
            (ALICE, [("2001:db8::20", 1)], "2001:db8::20"),
            (ALICE, [("192.0.2.20", 1), ("192.0.2.20", 2)], "192.0.2.20"),  # two bearers
            (ALICE, [("192.0.2.20", 1), ("192.0.2.21", 2)], ""),  # two gNBs: only packets say which is theirs
            (ALICE, [("192.0.2.20", 1), ("2001:db8::20", 2)], ""),
            (ALICE, [], ""),  # idle
            ("", [("192.0.2.20", 1)], "192.0.2.20"),
            ("", [("192.0.2.20", 1), ("192.0.2.21", 2)], ""),
        ],
    )
    def test_the_far_end_is_where_the_downlink_goes_to(self, store, imsi, tunnels, gnb):
        far = tuple(Tunnel(a, teid, Side.DOWNLINK, local=False) for a, teid in tunnels)
        between_upfs = Tunnel("192.0.2.10", 0xA9, Side.DOWNLINK, local=True)
        index = store.apply(SessionUp(1.0, session(imsi=imsi, tunnels=(UPLINK, between_upfs, *far))))[0].session

        assert store.label(index).gnb == gnb
        store._bindings._warm.clear()
        assert store.label(index).gnb == gnb

    def test_a_upf_on_the_way_is_none(self, store):
        """Home-routed roaming, or an SGW and a PGW that are both mirrored: it receives the uplink as well."""
        between = Tunnel("192.0.2.11", 5), Tunnel("192.0.2.11", 6, Side.DOWNLINK, local=False)
        index = store.apply(SessionUp(1.0, session(tunnels=(UPLINK, *between, DOWNLINK))))[0].session

        assert store.label(index).gnb == "192.0.2.20"

    def test_a_configured_session_says_it_as_well(self, store):
        one = StaticSession("a", ALICE, uplink=(("192.0.2.10", 1),), downlink=(("192.0.2.20", 2),), ue_ipv4="10.45.0.2")
        index = store.configure((), (one,), 1.0)[0].session

        assert store.label(index).gnb == "192.0.2.20"
