"""PFCP sessions at rest: found by their names after any change, in this process and in the next one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gtp.events import EndReason, Identity, SessionDown, SessionMoved, SessionUp
from gtp.pfcp import build
from gtp.pfcp.build import SessionPlan
from gtp.pfcp.tracker import PfcpTracker

SMF, UPF, GNB = ("192.0.2.1", 8805), ("192.0.2.10", 8805), "192.0.2.20"
SESSIONS = range(1, 40)


class Network:
    """An SMF and a UPF; of each session the UPF's SEID is a thousand more than the SMF's."""

    def __init__(self, tracker: PfcpTracker) -> None:
        self.tracker, self.sequence = tracker, 0

    def say(self, request: bytes, response: bytes) -> list[object]:
        events = self.tracker.feed(request, SMF, UPF, float(self.sequence))
        return [*events, *self.tracker.feed(response, UPF, SMF, float(self.sequence))]

    def up(self, n: int) -> list[object]:
        self.sequence += 1
        plan = SessionPlan(
            SMF[0], n, Identity(f"00101{n:010d}"), f"10.45.0.{n}", (UPF[0], n + 70_000), (GNB, n + 70_000)
        )
        request = build.establishment_request(self.sequence, plan)
        return self.say(request, build.establishment_response(self.sequence, n, UPF[0], n + 1000))

    def down(self, n: int) -> list[object]:
        self.sequence += 1
        return self.say(build.deletion_request(self.sequence, n + 1000), build.deletion_response(self.sequence, n))


def one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give all names one hash."""
    monkeypatch.setattr(PfcpTracker, "_mark", lambda self, name: 7)


class TestNumbers:
    """Keys of sessions are numbers of any size: the listeners of a function have a billion each."""

    @pytest.mark.parametrize("lane", [0, 4, 5, 1000])
    def test_of_any_listener(self, lane: int) -> None:
        network = Network(PfcpTracker())
        network.tracker.count_from(lane * 1_000_000_000)
        (up,) = network.up(1)
        assert isinstance(up, SessionUp)
        assert up.session.key == f"pfcp-{lane * 1_000_000_000 + 1}"
        (down,) = network.down(1)
        assert isinstance(down, SessionDown)
        assert down.session.key == up.session.key


class TestNames:
    """A session is found by its name, also when another's has the same hash."""

    @pytest.mark.parametrize("prepare", [lambda patch: None, one_hash], ids=["own hashes", "one hash"])
    @pytest.mark.parametrize("again", [False, True], ids=["", "over a restart"])
    def test_each_is_found_until_its_end(
        self, prepare: Callable[[pytest.MonkeyPatch], None], again: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepare(monkeypatch)
        network = Network(PfcpTracker())
        for n in SESSIONS:
            network.up(n)
        for n in SESSIONS[::3]:
            network.down(n)
        if again:
            dumped, sequence = network.tracker.dump(), network.sequence
            network = Network(PfcpTracker())
            network.sequence = sequence
            network.tracker.restore(dumped)
            network.tracker.count_from(1_000_000_000)
        assert len(network.tracker) == len(SESSIONS) - len(SESSIONS[::3])
        (event,) = network.up(1)
        assert isinstance(event, SessionUp)
        for n in (n for n in SESSIONS if n not in SESSIONS[::3]):
            (event,) = network.down(n)
            assert isinstance(event, SessionDown)
            assert event.reason is EndReason.DELETED
            assert event.session.identity.imsi == f"00101{n:010d}"
        assert len(network.tracker) == 1
        network.down(1)
        assert len(network.tracker) == len(network.tracker._names) == len(network.tracker._clashes) == 0

    @pytest.mark.parametrize("prepare", [lambda patch: None, one_hash], ids=["own hashes", "one hash"])
    def test_a_change_of_its_shape_moves_it_and_all_names_follow(
        self, prepare: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepare(monkeypatch)
        network = Network(PfcpTracker())
        for n in SESSIONS:
            network.up(n)
        for n in SESSIONS:
            network.sequence += 1
            moved = build.handover_request(network.sequence, n + 1000, ("192.0.2.21", n))  # a TEID of one byte
            (event,) = network.say(moved, build.modification_response(network.sequence, n))
            assert isinstance(event, SessionMoved)
        for n in SESSIONS:
            (event,) = network.up(n)[:1]
            assert isinstance(event, SessionDown), "its SEID was given again"
            assert event.session.identity.imsi == f"00101{n:010d}"
            assert {t.teid for t in event.session.tunnels} == {n + 70_000, n}
        assert len(network.tracker) == len(SESSIONS)
