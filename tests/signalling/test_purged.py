"""Trackers forget a subscriber without a word, and no other one."""

from __future__ import annotations

import pytest

from gtp.events import Identity, SessionUp
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan
from gtp.pfcp.tracker import PfcpTracker
from lab.signalling import Network, Plan
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore
from nf.signalling.trackers import Signalling

SMF, UPF = "192.0.2.1", "192.0.2.10"


def established(tracker: PfcpTracker, number: int, imsi: str) -> str:
    """Return the key of a new session."""
    plan = SessionPlan(SMF, number, Identity(imsi=imsi), f"10.45.0.{number % 250}", (UPF, number), None)
    tracker.feed(build.establishment_request(number, plan), (SMF, 8805), (UPF, 8805), 0.0)
    (up,) = tracker.feed(build.establishment_response(number, number, UPF, number), (UPF, 8805), (SMF, 8805), 0.0)
    assert isinstance(up, SessionUp)
    return up.session.key


class TestPfcp:
    """Sessions at rest are found by the digits in their rows, or by their numbers."""

    def test_by_imsi(self):
        tracker = PfcpTracker()
        for number in range(1, 301):
            established(tracker, number, f"00101{number % 100:010d}")

        tracker.purge("001010000000007", ())

        assert len(tracker) == 297
        left = {tracker._at(place).identity.imsi for _, places in tracker._rows.places() for place in places}
        assert "001010000000007" not in left
        assert len(left) == 99

    @pytest.mark.parametrize("number", [3, 255, 256, 290])
    def test_by_key_where_another_protocol_knew_whose_it_is(self, number):
        tracker = PfcpTracker()
        keys = {n: established(tracker, n, "") for n in range(1, 301)}

        tracker.purge("001010000000007", {keys[number], "gtpv2-4"})

        assert [n for n in keys if tracker._find(("up", UPF, n)) is None] == [number]

    def test_its_row_is_overwritten(self):
        tracker = PfcpTracker()
        established(tracker, 1, "001010000000007")
        established(tracker, 2, "001010000000008")

        tracker.purge("001010000000007", ())

        rows = b"".join(block[2] for block in tracker.dump()["rows"]["blocks"] if block)
        assert int("1001010000000007").to_bytes(8, "little") not in rows
        assert int("1001010000000008").to_bytes(8, "little") in rows

    def test_what_comes_for_it_later_is_of_an_unknown_session(self):
        tracker = PfcpTracker()
        established(tracker, 1, "001010000000007")
        tracker.purge("001010000000007", ())
        tracker.feed(build.deletion_request(5, 1), (SMF, 8805), (UPF, 8805), 1.0)
        assert tracker.feed(build.deletion_response(5, 1), (UPF, 8805), (SMF, 8805), 1.0) == []
        assert tracker.counters["pfcp_unknown_session"] == 1


class TestAll:
    """A network in which each subscriber is signalled by several protocols."""

    @pytest.mark.parametrize("fourth", [False, True], ids=["5G", "4G"])
    def test_store_and_trackers_forget_one_of_all(self, fourth):
        network, signalling = Network(Plan(sessions=40, rate_hz=200, seconds=2, fourth=fourth)), Signalling()
        store, at_s = BindingStore(200, pseudonymiser=Pseudonymiser(b"k", 1)), 0.0
        for at_s, datagram in network.mirrored():
            for event in signalling.feed(datagram, at_s):
                store.apply(event)
        trackers = (signalling.pfcp, signalling.gtpv2)
        imsi = next(iter(network.live))
        others = [other for other in network.live if other != imsi]
        before = [len(tracker) for tracker in trackers]

        forgotten = store.purge(imsi, at_s)
        signalling.purge(imsi, forgotten.keys)

        assert forgotten.numbers
        assert sum(before) - sum(map(len, trackers)) == len(forgotten.keys)
        assert store.by_imsi(imsi) == []
        assert all(store.by_imsi(other) for other in others)
        assert imsi not in {binding.whole.identity.imsi for binding in store.history()}
        for number in forgotten.numbers:
            assert store.subscriber(number, Pseudonymiser(b"k", 1)) == "unknown"
            assert store._bindings.is_used(number), "flows may carry it for a while"
        store.expire(at_s + 61)
        assert set(forgotten.numbers) <= set(store.freed)
