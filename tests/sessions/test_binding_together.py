"""Many sessions end in one exchange: their entries stay in the kernel for a grace time, unless another claims them."""

from __future__ import annotations

import pytest

from gtp.events import EndReason, Identity, Session, SessionDown, SessionUp, Side, Tunnel
from nf.sessions import BindingStore, DropTunnel, DropUe, PutTunnel, PutUe
from nf.sessions.linger import GRACE_S
from nf.sessions.store import REUSE_S

ALICE, BOB, CAROL = "001010000000001", "001010000000002", "001010000000003"
RADIO = Tunnel("192.0.2.20", 0xB2, Side.DOWNLINK, local=False)


def up(number: int, imsi: str, teid: int, ue: str = "", ue6: str = "") -> Session:
    tunnels = (Tunnel("192.0.2.10", teid),)
    return Session(f"pfcp-{number}", "pfcp", Identity(imsi=imsi), ue, ue6, instance="internet", tunnels=tunnels)


A, B = up(1, ALICE, 0xA1, "10.45.0.2"), up(2, BOB, 0xA2, "10.45.0.3")
GONE = {DropTunnel("192.0.2.10", 0xA1), DropUe("internet", "10.45.0.2")}
ALL_GONE = GONE | {DropTunnel("192.0.2.10", 0xA2), DropUe("internet", "10.45.0.3")}


@pytest.fixture(params=[EndReason.RESTARTED, EndReason.RELEASED])
def ended(request):
    """A store in which two sessions ended at second 10."""
    store = BindingStore(100)
    for session in (A, B):
        store.apply(SessionUp(1.0, session))
    told = [change for s in (A, B) for change in store.apply(SessionDown(10.0, s, request.param))]
    assert told == []
    return store


class TestGrace:
    """The kernel keeps tunnels and addresses; nobody else has them any more."""

    def test_the_sessions_are_over(self, ended):
        assert len(ended) == 0
        assert ended.by_tunnel("192.0.2.10", 0xA1) is None
        assert ended.by_ue("internet", "10.45.0.2") is None

    def test_it_is_shorter_than_a_number_is_kept(self):
        assert 0 < GRACE_S < REUSE_S

    def test_it_ends(self, ended):
        assert ended.expire(10.0 + GRACE_S - 0.1) == []
        assert set(ended.expire(10.0 + GRACE_S)) == ALL_GONE
        assert ended.expire(10.0 + GRACE_S + 1) == []

    def test_a_deletion_has_none(self):
        store = BindingStore(100)
        store.apply(SessionUp(1.0, A))
        assert set(store.apply(SessionDown(10.0, A, EndReason.DELETED))) == GONE


class TestClaims:
    """A session that is given something anew has it at once."""

    def test_the_subscriber_again_leaves_the_others_alone(self, ended):
        changes = ended.apply(SessionUp(12.0, up(3, ALICE, 0xA9, "10.45.0.2")))
        assert {type(c) for c in changes} == {PutTunnel, PutUe}
        assert set(ended.expire(99.0)) == ALL_GONE - {DropUe("internet", "10.45.0.2")}

    @pytest.mark.parametrize("session", [up(3, CAROL, 0xA1, "10.45.0.9"), up(3, CAROL, 0xA9, "10.45.0.2")])
    def test_another_subscriber_shows_that_numbers_are_given_again(self, ended, session):
        """Other sessions of the restarted node may not have been seen: nobody keeps a name by an old number."""
        changes = ended.apply(SessionUp(12.0, session))
        kept = {DropTunnel("192.0.2.10", 0xA1)} if session.tunnels[0].teid == 0xA1 else set()
        kept |= {DropUe("internet", "10.45.0.2")} if session.ue_ipv4 == "10.45.0.2" else set()
        assert {c for c in changes if isinstance(c, DropTunnel | DropUe)} == ALL_GONE - kept
        assert ended.expire(99.0) == []

    def test_another_address_of_an_ipv6_prefix(self):
        """The kernel has one entry for a /64: the new session is not kept out of it by the old one."""
        store = BindingStore(100)
        store.apply(SessionUp(1.0, up(1, ALICE, 0xA1, ue6="2001:db8:1::2")))
        store.apply(SessionDown(10.0, up(1, ALICE, 0xA1, ue6="2001:db8:1::2"), EndReason.RESTARTED))
        changes = store.apply(SessionUp(12.0, up(2, ALICE, 0xA2, ue6="2001:db8:1::3")))
        assert [c.address for c in changes if isinstance(c, PutUe)] == ["2001:db8:1::3"]
        assert not [c for c in store.expire(99.0) if isinstance(c, DropUe)]
