"""Lines and sites among sessions: their names, and how they are found again by these."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from gtp.events import Identity, Session, SessionUp
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore, Query, find
from nf.sessions.lines import ends, tunnel_name
from nf.settings import StaticSession

KEY, NAMES = b"a key of the test", Pseudonymiser(b"a key of the test", 0)
UP, DOWN = ends("bng-1", 100, 12, 0)
HOME = StaticSession("home", uplink=(UP,), downlink=(DOWN,), line=True)
BERLIN = StaticSession("berlin", prefixes=("10.1.0.0/16",), subscriber="site-berlin")
CIRCUIT = "line:olt-7 eth 1/3:12"


def pseudonym(name: str) -> str:
    return hmac.new(KEY, name.encode(), hashlib.sha256).hexdigest()[:32]


@pytest.fixture
def store() -> BindingStore:
    store = BindingStore(10)
    store.configure((), (HOME, BERLIN), 1.0)
    store.apply(SessionUp(2.0, Session("radius-1", "radius", Identity(nai=CIRCUIT), "192.0.2.7")))
    store.apply(SessionUp(2.0, Session("pfcp-1", "pfcp", Identity(nai="alice@example.com"), "192.0.2.8")))
    return store


PUBLISHED = {
    "line:home": f"line-{pseudonym('line:home')}",
    "site-berlin": "site-berlin",
    CIRCUIT: f"line-{pseudonym(CIRCUIT)}",
}


class TestNames:
    """A configured name and a circuit are names; what a core calls a subscriber is none."""

    def test_of_all(self, store: BindingStore) -> None:
        labels = [store.label(number) for number in sorted(store.numbers())]
        told = {label.published(NAMES): label.identity_source for label in labels if label}
        assert told == {
            PUBLISHED["line:home"]: "netconf",
            "site-berlin": "netconf",
            PUBLISHED[CIRCUIT]: "radius",
            f"ue-{pseudonym('ue::192.0.2.8')}": "pfcp",
        }

    def test_no_end_of_a_line_is_a_gnb(self, store: BindingStore) -> None:
        assert [label.gnb for number in store.numbers() if (label := store.label(number))] == [""] * 4

    def test_a_line_without_an_entry_is_its_tags(self) -> None:
        gateway = hashlib.sha256(b"bng-1").hexdigest()[:12]
        assert tunnel_name(*ends("bng-1", 100, 12, 4711)[0]) == f"line:{gateway}/100.12.4711"


class TestFound:
    """Each is found by its own name and by the published one."""

    @pytest.mark.parametrize("form", [0, 1], ids=["own", "published"])
    @pytest.mark.parametrize("name", list(PUBLISHED))
    def test_by_name(self, store: BindingStore, name: str, form: int) -> None:
        query = Query(subscriber=(name, PUBLISHED[name])[form])
        assert [found.subscriber for found in find(store, query, NAMES).found] == [PUBLISHED[name]]

    def test_an_address_in_a_prefix_of_a_site(self, store: BindingStore) -> None:
        assert [f.subscriber for f in find(store, Query(ue_address="10.1.7.7", instance=""), NAMES).found] == [
            "site-berlin"
        ]
