"""Sessions that began before the function did: counted, and named by what is seen in their tunnels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gtp.events import EndReason, Identity, Session, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore, PutUe
from nf.sessions.restart.keep import SOURCES
from nf.sessions.restart.restore import restore

ALICE = "001010000000001"
RADIO = Tunnel("192.0.2.20", 0xB2, Side.DOWNLINK, local=False)
LATE = Session("pfcp-1", "pfcp", tunnels=(RADIO,))
KNOWN = Session("pfcp-2", "pfcp", Identity(imsi=ALICE), "10.45.0.3", instance="", tunnels=(Tunnel("192.0.2.10", 1),))


NAMES = Pseudonymiser(b"k", 1)


@pytest.fixture
def store():
    store = BindingStore(100)
    store.apply(SessionUp(1.0, LATE))
    return store


def number(store):
    (only,) = store.nameless().tolist()
    return only


def named(store, of):
    label = store.label(of)
    assert label.imsi or label.published(NAMES) == NAMES.unknown(label.name)
    return label.name, label.identity_source


class TestCount:
    """Sessions of which only tunnels are known are counted among all sessions."""

    def test_it_is_one(self, store):
        store.apply(SessionUp(2.0, KNOWN))
        assert (len(store), store.partial) == (2, 1)
        assert named(store, number(store)) == ("teid:192.0.2.20:0x000000b2", "none")

    @pytest.mark.parametrize("told", [replace(LATE, ue_ipv4="10.45.0.2"), replace(LATE, identity=Identity(imsi=ALICE))])
    def test_it_is_none_when_signalling_tells_more(self, store, told):
        store.apply(SessionMoved(2.0, told))
        assert store.partial == 0

    def test_it_is_none_when_it_ends(self, store):
        store.apply(SessionDown(2.0, LATE, EndReason.DELETED))
        assert store.partial == 0

    def test_it_is_known_over_a_restart(self, store):
        after = BindingStore(100)
        restore(after, *store.dump(), SOURCES)
        assert after.partial == 1


class TestLearned:
    """An address that packets show is the session's, until signalling knows better."""

    def test_it_names_the_session_and_says_so(self, store):
        of = number(store)
        changes = store.learn([(of, "10.45.0.2")], 2.0)
        assert PutUe("", "10.45.0.2", of) in changes
        assert named(store, of) == ("ue::10.45.0.2", "uplink")
        assert store.partial == 1, "its subscriber is not known"

    def test_only_the_first_of_a_family(self, store):
        of = number(store)
        store.learn([(of, "10.45.0.2"), (of, "10.45.0.9"), (of, "2001:db8::1")], 2.0)
        (binding,) = [store.by_index(of)]
        assert (binding.session.ue_ipv4, binding.session.ue_ipv6) == ("10.45.0.2", "2001:db8::1")

    def test_it_takes_nothing_from_a_session(self, store):
        store.apply(SessionUp(1.0, KNOWN))
        of = number(store)
        assert store.learn([(of, "10.45.0.3")], 2.0) == []
        assert store.counters["learned_ue_refused"] == 1
        assert store.by_ue("", "10.45.0.3").session.identity.imsi == ALICE

    def test_a_session_that_claims_it_has_it(self, store):
        of = number(store)
        store.learn([(of, "10.45.0.3")], 2.0)
        store.apply(SessionUp(9.0, KNOWN))
        assert store.by_ue("", "10.45.0.3").session.identity.imsi == ALICE

    def test_what_signalling_tells_goes_before(self, store):
        of = number(store)
        store.learn([(of, "10.45.0.2")], 2.0)
        store.apply(SessionMoved(3.0, replace(LATE, ue_ipv4="10.45.0.7", identity=Identity(imsi=ALICE))))
        assert store.by_index(of).session.ue_ipv4 == "10.45.0.7"
        assert named(store, of)[1] == "pfcp"

    def test_sessions_with_a_subscriber_learn_nothing(self, store):
        store.apply(SessionUp(1.0, replace(KNOWN, ue_ipv4="")))
        (binding,) = store.by_imsi(ALICE)
        assert store.learn([(binding.index, "10.45.0.8")], 2.0) == []

    def test_it_ends_with_the_session(self, store):
        of = number(store)
        store.learn([(of, "10.45.0.2")], 2.0)
        store.apply(SessionDown(3.0, LATE, EndReason.DELETED))
        assert (len(store), store.by_ue("", "10.45.0.2")) == (0, None)
