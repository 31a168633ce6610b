"""Thousands of attaches, handovers and detaches through trackers and store, against the truth that made them.

The long form is `make soak`; here a run takes seconds. TEIDs and addresses are given again after a moment.
"""

from __future__ import annotations

import itertools

import pytest

from lab.signalling import Network, Plan
from lab.soak import soak
from nf.sessions import BindingStore
from nf.signalling.trackers import Signalling

SMALL = Plan(sessions=500, rate_hz=500, seconds=12)


def run(**changes):
    return soak(Plan(**{name: changes.get(name, getattr(SMALL, name)) for name in Plan.__slots__}))


@pytest.mark.parametrize("fourth", [False, True], ids=["5G", "4G"])
class TestNobodyUnderAnothersName:
    """Every binding is right; a session that cannot be known is absent."""

    def test_a_quiet_network(self, fourth):
        verdict = run(fourth=fourth)
        assert verdict.right == 3 * (verdict.right // 3) > 1400, "two tunnels and an address of each session"
        assert (verdict.absent, verdict.wrong, verdict.stale) == (0, 0, 0)

    def test_loss_reordering_and_restarts(self, fourth):
        """A message that is lost is sent again; the mirror brings messages up to 5 ms late."""
        verdict = run(fourth=fourth, loss=0.05, jitter_s=0.005, restarts=2)
        assert verdict.right > 1000
        assert (verdict.absent, verdict.wrong, verdict.stale) == (0, 0, 0)
        assert verdict.counters["pfcp_restarts"] == 2
        assert verdict.counters["pfcp_retransmitted"] > 50
        assert verdict.counters["pfcp_reordered"] > 500

    def test_a_mirror_that_misses_messages(self, fourth):
        """One of a hundred: what is missed is unknown, and each reason has its counter."""
        verdict = run(fourth=fourth, blind=0.01, jitter_s=0.005)
        assert verdict.wrong == 0
        assert 0 < verdict.absent < 0.05 * verdict.right
        assert verdict.counters["pfcp_late_sessions"] + verdict.counters["pfcp_unknown_session"] > 0


class TestTruth:
    """The generator writes down exactly what it played."""

    def test_one_seed_gives_one_run(self):
        one, two = (Network(Plan(sessions=20, rate_hz=50, seconds=2, loss=0.1, jitter_s=0.01)) for _ in range(2))
        assert all(a == b for a, b in itertools.zip_longest(one.mirrored(), two.mirrored()))


class TestMemory:
    """Sessions that are over are forgotten."""

    def test_state_is_bounded_by_what_is_up(self):
        network = Network(Plan(sessions=100, rate_hz=1000, seconds=8, handovers=0.1, blind=0.05))
        signalling, store = Signalling(), BindingStore(200, history=10)
        for at_s, datagram in network.mirrored():
            for event in signalling.feed(datagram, at_s):
                store.apply(event)
        assert network.procedures > 5_000
        assert len(signalling.pfcp) <= 200
        assert len(store) <= 200
        assert len(signalling.pfcp._names) <= 600
