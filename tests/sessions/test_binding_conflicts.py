"""Claims that contradict: the one that counts, and the session that lost."""

from __future__ import annotations

import pytest

from gtp.events import EndReason, Identity, Session, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from nf.sessions import BindingStore, DropTunnel, DropUe, PutTunnel, PutUe
from nf.settings import StaticSession

ALICE, BOB = "001010000000001", "001010000000002"
UPLINK = Tunnel("192.0.2.10", 0xA1, Side.UPLINK)
RADIO = Tunnel("192.0.2.20", 0xB2, Side.DOWNLINK, local=False)
NEW_RADIO = Tunnel("192.0.2.21", 0xC3, Side.DOWNLINK, local=False)


def alice(*tunnels, ue="10.45.0.2", ue6=""):
    return Session("a", "pfcp", Identity(imsi=ALICE), ue, ue6, instance="internet", tunnels=tunnels)


def bob(*tunnels, ue="10.45.0.3", ue6=""):
    return Session("b", "pfcp", Identity(imsi=BOB), ue, ue6, instance="internet", tunnels=tunnels)


def holder(store, tunnel):
    """Return the IMSI that a tunnel is bound to, None for nobody."""
    binding = store.by_tunnel(tunnel.address, tunnel.teid)
    return binding.session.identity.imsi if binding else None


@pytest.fixture
def store():
    return BindingStore(100)


class TestSupersededButAlive:
    """A message was lost, so a session was thought dead; when it moves, it comes back with what is still its own."""

    @pytest.fixture
    def lost(self, store):
        """Alice's radio tunnel was given to Bob; that she had left it before was not seen."""
        store.apply(SessionUp(1.0, alice(UPLINK, RADIO)))
        store.apply(SessionUp(2.0, bob(Tunnel("192.0.2.10", 0xA2), RADIO)))
        assert (holder(store, UPLINK), holder(store, RADIO)) == (None, BOB)
        return store

    def test_its_new_tunnel_and_its_free_ones_are_its_own_again(self, lost):
        lost.apply(SessionMoved(3.0, alice(UPLINK, NEW_RADIO), gone=(RADIO,)))
        assert (holder(lost, UPLINK), holder(lost, NEW_RADIO), holder(lost, RADIO)) == (ALICE, ALICE, BOB)

    def test_an_old_claim_takes_nothing_from_who_has_it_now(self, lost):
        """Alice's session changes in another way: her tracker still believes in the radio tunnel."""
        changes = lost.apply(SessionMoved(3.0, alice(UPLINK, RADIO, ue6="2001:db8:1:1::1")))
        assert holder(lost, RADIO) == BOB
        assert DropTunnel(RADIO.address, RADIO.teid) not in changes
        lost.apply(SessionMoved(4.0, alice(UPLINK, RADIO, ue6="2001:db8:1:2::1")))
        assert (holder(lost, RADIO), holder(lost, UPLINK)) == (BOB, ALICE)

    def test_a_new_claim_takes_it_back(self, lost):
        lost.apply(SessionMoved(3.0, alice(UPLINK, NEW_RADIO), gone=(RADIO,)))
        lost.apply(SessionMoved(9.0, alice(UPLINK, RADIO), gone=(NEW_RADIO,)))
        assert holder(lost, RADIO) == ALICE

    def test_its_end_is_told_from_that_of_a_stranger(self, lost):
        assert lost.apply(SessionDown(3.0, alice(UPLINK, RADIO), EndReason.DELETED)) == []
        assert (lost.counters["down_superseded"], lost.counters["down_unknown"]) == (1, 0)
        assert holder(lost, RADIO) == BOB


class TestSharedEnd:
    """An SMF may have one tunnel end for all its sessions (TS 29.244, 5.3): it takes nothing but itself."""

    SMF_END = Tunnel("192.0.2.1", 0x7001, Side.UPLINK, local=False)

    def test_both_sessions_live_and_only_the_end_moves(self, store):
        store.apply(SessionUp(1.0, alice(UPLINK, self.SMF_END)))
        changes = store.apply(SessionUp(2.0, bob(Tunnel("192.0.2.10", 0xA2), self.SMF_END)))

        assert len(store) == 2
        assert (holder(store, UPLINK), holder(store, self.SMF_END)) == (ALICE, BOB)
        assert [store.by_ue("internet", f"10.45.0.{n}").session.identity.imsi for n in (2, 3)] == [ALICE, BOB]
        assert not [c for c in changes if isinstance(c, DropUe)]
        assert DropTunnel(UPLINK.address, UPLINK.teid) not in changes

    def test_it_moves_with_every_session_and_ends_with_the_last(self, store):
        sessions = [
            Session(f"pfcp-{n}", "pfcp", Identity(imsi=f"00101000000{n:04d}"), f"10.45.1.{n}", instance="internet",
                    tunnels=(Tunnel("192.0.2.10", n), self.SMF_END))
            for n in range(1, 6)
        ]  # fmt: skip
        for at_s, session in enumerate(sessions):
            store.apply(SessionUp(float(at_s), session))
        assert len(store) == 5
        store.apply(SessionDown(9.0, sessions[0], EndReason.DELETED))
        assert holder(store, self.SMF_END) == sessions[-1].identity.imsi
        store.apply(SessionDown(9.0, sessions[-1], EndReason.DELETED))
        assert holder(store, self.SMF_END) is None

    def test_who_receives_there_is_superseded_as_before(self, store):
        """A UPF gives a TEID of its own to one session at a time: that of the first has ended unseen."""
        store.apply(SessionUp(1.0, alice(UPLINK)))
        store.apply(SessionUp(9.0, bob(UPLINK)))
        assert (len(store), holder(store, UPLINK)) == (1, BOB)


class TestOldClaims:
    """A part joins a session by a claim that is fresh; one that it had before says nothing."""

    CORE = Tunnel("192.0.2.30", 0xC1)

    def part(self, *tunnels, key="r", source="radius", imsi="", ue=""):
        return Session(key, source, Identity(imsi=imsi), ue, instance="internet", tunnels=tunnels)

    @pytest.mark.parametrize(("again", "sessions"), [(True, 2), (False, 1)])
    def test_a_tunnel_that_it_lost_to_another_a_moment_ago(self, store, again, sessions):
        """GTP-C's part held the tunnel, a PFCP session took it; that GTP-C still names it joins the two not."""
        mine = self.part(self.CORE, key="gtpc-1", source="gtp-c")
        other = self.part(key="gtpc-1", source="gtp-c", ue="")
        store.apply(SessionUp(1.0, mine if again else other))
        store.apply(SessionUp(20.0, self.part(self.CORE, key="pfcp-9", source="pfcp", ue="10.45.0.9")))
        store.apply(SessionMoved(21.0, self.part(self.CORE, NEW_RADIO, key="gtpc-1", source="gtp-c")))
        assert len(store) == sessions

    @pytest.mark.parametrize(("again", "sessions"), [(True, 2), (False, 1)])
    def test_an_address_that_it_lost_to_another_a_moment_ago(self, store, again, sessions):
        mine = self.part(UPLINK, key="gtpc-1", source="gtp-c", ue="10.45.0.9" if again else "")
        store.apply(SessionUp(1.0, mine))
        store.apply(SessionUp(20.0, self.part(self.CORE, key="pfcp-9", source="pfcp", ue="10.45.0.9")))
        store.apply(SessionMoved(21.0, self.part(UPLINK, NEW_RADIO, key="gtpc-1", source="gtp-c", ue="10.45.0.9")))
        assert len(store) == sessions


class TestSources:
    """A configured session goes before a signalled one, and leaves it intact."""

    DESK = StaticSession("desk", imsi=BOB, ue_ipv4="10.45.0.2", instance="internet", uplink=(("192.0.2.10", 0xA1),))

    def test_a_configured_session_takes_only_what_it_names(self, store):
        store.apply(SessionUp(1.0, alice(UPLINK, RADIO)))
        store.configure((), (self.DESK,), 2.0)
        assert (holder(store, UPLINK), holder(store, RADIO)) == (BOB, ALICE)
        ue = store.by_ue("internet", "10.45.0.2")
        assert ue is not None
        assert ue.session.identity.imsi == BOB
        assert len(store) == 2

    @pytest.mark.parametrize("configured_first", [True, False])
    def test_when_it_is_removed_the_signalled_one_has_its_own_back(self, store, configured_first):
        steps = [
            lambda: store.configure((), (self.DESK,), 1.0),
            lambda: store.apply(SessionUp(1.0, alice(UPLINK, RADIO))),
        ]
        for step in steps if configured_first else reversed(steps):
            step()
        changes = store.configure((self.DESK,), (), 3.0)
        (binding,) = store.by_imsi(ALICE)
        assert PutTunnel("192.0.2.10", 0xA1, Side.UPLINK, binding.index, "10.45.0.2") in changes
        assert PutUe("internet", "10.45.0.2", binding.index) in changes
        assert holder(store, UPLINK) == ALICE

    def test_each_source_is_counted(self, store):
        store.apply(SessionUp(1.0, alice(UPLINK)))
        store.configure((), (StaticSession("desk", imsi=BOB, uplink=(("192.0.2.10", 9),)),), 2.0)
        assert store.count_by_source() == {"pfcp": 1, "netconf": 1}


class TestOneSlash64:
    """The kernel looks IPv6 up by its /64: where several UEs share one, it is nobody's until one is left."""

    ONE = alice(UPLINK, ue="", ue6="2001:db8:cafe::2")
    TWO = bob(Tunnel("192.0.2.10", 0xA2), ue="", ue6="2001:db8:cafe::3")

    def test_the_first_has_it(self, store):
        changes = store.apply(SessionUp(1.0, self.ONE))
        (binding,) = store.by_imsi(ALICE)
        assert PutUe("internet", "2001:db8:cafe::2", binding.index) in changes
        assert store.by_ue("internet", "2001:db8:cafe:0:1234::1") is binding

    def test_the_second_makes_it_nobodys(self, store):
        store.apply(SessionUp(1.0, self.ONE))
        changes = store.apply(SessionUp(2.0, self.TWO))
        assert DropUe("internet", "2001:db8:cafe::2") in changes
        assert not [c for c in changes if isinstance(c, PutUe)]
        assert store.by_ue("internet", "2001:db8:cafe:0:1234::1") is None
        by_address = store.by_ue("internet", "2001:db8:cafe::3")
        assert by_address is not None
        assert by_address.session.identity.imsi == BOB

    def test_neither_session_ends_for_it(self, store):
        store.apply(SessionUp(1.0, self.ONE))
        store.apply(SessionUp(2.0, self.TWO))
        assert len(store) == 2
        assert holder(store, UPLINK) == ALICE

    def test_the_last_one_left_has_it_again(self, store):
        store.apply(SessionUp(1.0, self.ONE))
        store.apply(SessionUp(2.0, self.TWO))
        changes = store.apply(SessionDown(3.0, self.ONE, EndReason.DELETED))
        (binding,) = store.by_imsi(BOB)
        assert [c for c in changes if isinstance(c, PutUe)] == [PutUe("internet", "2001:db8:cafe::3", binding.index)]
        assert DropUe("internet", "2001:db8:cafe::3") in store.apply(SessionDown(4.0, self.TWO, EndReason.DELETED))

    def test_another_network_has_its_own(self, store):
        other = Session("c", "pfcp", Identity(), "", "2001:db8:cafe::2", instance="ims", tunnels=(NEW_RADIO,))
        store.apply(SessionUp(1.0, self.ONE))
        assert [c.instance for c in store.apply(SessionUp(2.0, other)) if isinstance(c, PutUe)] == ["ims"]
