"""Several sources speak of one session: reasons to make them parts of one binding, and reasons against."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gtp.events import EndReason, Identity, Session, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from nf.sessions import BindingStore, DropTunnel, PutTunnel
from nf.sessions.report import sessions_rows
from nf.settings import StaticSession

ALICE, BOB = "001010000000001", "001010000000002"
S1U = Tunnel("192.0.2.10", 0xA1, Side.UPLINK)  # the SGW receives
S5U = Tunnel("192.0.2.11", 0xC1, Side.UPLINK)  # the PGW receives
S5D = Tunnel("192.0.2.10", 0xD1, Side.DOWNLINK)  # the SGW receives
RADIO = Tunnel("192.0.2.20", 0xB1, Side.DOWNLINK, local=False)


def sent(tunnel):
    """Return the tunnel as its sender names it."""
    return replace(tunnel, local=False)


def pfcp(key, *tunnels, ue="", imsi=""):
    return Session(key, "pfcp", Identity(imsi=imsi), ue, dnn="internet", instance="internet", tunnels=tunnels)


def gtpc(key, *tunnels, imsi=ALICE, ue="10.45.0.2", ue6=""):
    return Session(key, "gtp-c", Identity(imsi=imsi), ue, ue6, "internet", "", "internet", tunnels)


SGW_U = pfcp("p1", S1U, S5D, sent(S5U), RADIO)
PGW_U = pfcp("p2", S5U, sent(S5D), ue="10.45.0.2")
S11 = gtpc("g1", S1U, sent(S5U), RADIO)
S5 = gtpc("g2", S5U, sent(S5D))


def whose(store, tunnel):
    """Return the IMSI that a tunnel is bound to, None for nobody."""
    binding = store.by_tunnel(tunnel.address, tunnel.teid)
    return binding.whole.identity.imsi if binding else None


def up(store, *sessions, at_s=1.0):
    return [change for s in sessions for change in store.apply(SessionUp(at_s, s))]


@pytest.fixture
def store():
    return BindingStore(100)


class TestOneSession:
    """A 4G core with separate user planes has tunnels in PFCP and the IMSI in GTP-C: both are one session."""

    @pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1), (1, 3, 0, 2)])
    def test_in_any_order(self, store, order):
        up(store, *([SGW_U, PGW_U, S11, S5][n] for n in order))
        assert len(store) == 1
        (binding,) = store.by_imsi(ALICE)
        assert {whose(store, t) for t in (S1U, S5U, S5D, RADIO)} == {ALICE}
        assert store.by_ue("internet", "10.45.0.2") is binding
        assert binding.session.source == "gtp-c", "whose word the IMSI is"
        assert store.count_by_source() == {"gtp-c": 1}

    def test_the_kernel_learns_the_address_for_the_tunnels_that_were_there(self, store):
        up(store, SGW_U)
        changes = up(store, S11)
        (binding,) = store.by_imsi(ALICE)
        assert PutTunnel(S5D.address, S5D.teid, Side.DOWNLINK, binding.index, "10.45.0.2") in changes

    def test_it_ends_with_its_last_part_and_keeps_its_name_until_then(self, store):
        up(store, SGW_U, S11)
        store.apply(SessionDown(2.0, S11, EndReason.DELETED))
        assert whose(store, S5D) == ALICE
        changes = store.apply(SessionDown(2.1, SGW_U, EndReason.DELETED))
        assert DropTunnel(S1U.address, S1U.teid) in changes
        (row,) = sessions_rows(store)
        assert (row["imsi"], row["source"], row["ended_by"]) == (ALICE, "gtp-c", "deleted")
        assert store.by_imsi(ALICE) == []

    def test_a_move_in_both_is_one_move(self, store):
        up(store, SGW_U, S11)
        new = Tunnel("192.0.2.21", 0xB2, Side.DOWNLINK, local=False)
        for part in (SGW_U, S11):
            kept = tuple(t for t in part.tunnels if t != RADIO)
            store.apply(SessionMoved(60.0, replace(part, tunnels=(*kept, new)), gone=(RADIO,)))
        assert (whose(store, new), len(store)) == (ALICE, 1)
        store.expire(63.0)
        assert whose(store, RADIO) is None
        assert not [n for n in store.counters if n.startswith("conflict")]

    def test_a_prefix_and_an_address_in_it_are_no_contradiction(self, store):
        up(store, replace(PGW_U, ue_ipv4="", ue_ipv6="2001:db8:1::/64"))
        up(store, gtpc("g2", S5U, ue="", ue6="2001:db8:1::2"))
        assert len(store) == 1

    def test_what_each_says_of_the_subscriber_is_kept(self, store):
        up(store, replace(SGW_U, identity=Identity(msisdn="4915112345678")), S11)
        (binding,) = store.by_imsi(ALICE)
        assert binding.session.identity == Identity(ALICE, "", "4915112345678")

    def test_who_learns_of_it_later_joins_by_what_is_new(self, store):
        """GTP-C is followed for an hour when N4 is mirrored, too: the next paging names a new radio tunnel in both."""
        up(store, gtpc("g1", S1U))
        late = pfcp("p1", Tunnel("192.0.2.21", 0xB2, Side.DOWNLINK, local=False))
        store.apply(SessionMoved(3600.0, gtpc("g1", S1U, *late.tunnels)))
        up(store, late, at_s=3600.1)
        assert len(store) == 1
        assert whose(store, late.tunnels[0]) == ALICE

    def test_the_same_imsi_needs_no_haste(self, store):
        """Handover to another SGW: its leg sends into the PGW's old tunnel."""
        up(store, S5)
        up(store, gtpc("g9", Tunnel("192.0.2.12", 0xE1), sent(S5U), ue=""), at_s=9000.0)
        assert len(store) == 1
        assert whose(store, S5D) == ALICE

    def test_the_newer_word_names_whose_an_address_is(self, store):
        """N4 gave no identity; an hour later GTP-C says who has this address and this tunnel."""
        up(store, PGW_U)
        up(store, S5, at_s=3600.0)
        assert whose(store, S5D) == ALICE
        assert len(store) == 1


class TestNotOneSession:
    """A session that could be somebody else's gets nobody's name."""

    def test_two_subscribers_are_never_joined(self, store):
        up(store, S5, pfcp("p2", S5U, imsi=BOB))
        assert whose(store, S5U) == BOB, "the newer claim"
        assert whose(store, S5D) is None, "Alice's session is over: its end was not seen"
        assert [r["ended_by"] for r in sessions_rows(store)] == ["superseded", ""]

    def test_two_addresses_are_two_sessions(self, store):
        up(store, S5, pfcp("p2", S5U, ue="10.45.0.3"))
        assert whose(store, S5U) == ""

    def test_an_old_claim_lends_no_name_to_a_new_session(self, store):
        """Alice's end was lost on S5; the restarted UPF gives TEID and address from the start again, to Bob."""
        up(store, S5)
        up(store, PGW_U, at_s=600.0)
        assert whose(store, S5U) == ""
        assert store.counters["conflict_tunnel_taken"] == 1

    def test_the_word_of_an_ended_part_counts_against_it(self, store):
        """The UPF part of Alice's session ended with its address; her other part holds the tunnel still."""
        up(store, SGW_U, PGW_U, S5)
        store.apply(SessionDown(2.0, PGW_U, EndReason.DELETED))
        store.apply(SessionDown(2.0, S5, EndReason.DELETED))
        up(store, pfcp("p9", S5U, sent(S5D), ue="10.45.0.9"), at_s=3.0)
        assert whose(store, S5U) == ""

    def test_two_receivers_of_one_source_are_no_two_ends(self, store):
        up(store, pfcp("p1", S1U, ue="10.45.0.2", imsi=ALICE))
        up(store, pfcp("p2", S1U, imsi=""), at_s=1.5)
        assert whose(store, S1U) == "", "the UPF gave its TEID again"

    def test_who_only_sends_takes_nothing_from_who_receives(self, store):
        up(store, pfcp("p2", S5U, ue="10.45.0.2", imsi=ALICE))
        up(store, pfcp("p1", Tunnel("192.0.2.12", 0xE1), sent(S5U)), at_s=600.0)
        assert (whose(store, S5U), len(store)) == (ALICE, 2)

    def test_a_configured_session_stays_apart(self, store):
        desk = StaticSession("desk", imsi=BOB, ue_ipv4="10.45.0.2", instance="internet", uplink=((S5U.address, 0xC1),))
        store.configure((), (desk,), 1.0)
        up(store, S5)
        assert (whose(store, S5U), whose(store, S5D)) == (BOB, ALICE)
