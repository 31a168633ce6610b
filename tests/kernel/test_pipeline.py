"""The stages together over a data plane: the policy that holds, and the search for packets in several tunnels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gtp.events import Identity, Session, SessionMoved, SessionUp, Tunnel
from nf.apply.policies import put
from nf.apps.signatures import Signatures
from nf.pipeline import Pipeline
from nf.privacy import OPTED_OUT, Pseudonymiser
from nf.replay.records import Collector
from nf.sessions import BindingStore
from nf.settings import Action, Policy, SubscriberGroup
from tests.kernel.packets import GNB, UE, UPF, ether, gtpu, outer, tcp
from tests.kernel.rig import A_SECOND_NS, Rig
from tests.kernel.twin import UPLINK

STAFF = SubscriberGroup("staff", dnns=("enterprise",))
SIGNATURES = Signatures.load()
SESSION, ONE, OTHER = 5, 0x300, 0x301  # a session and its two tunnels
RETURNS = 10  # returns that a handover may make; nf/flows/copies.py says why


@pytest.fixture
def pipeline(rig: Rig) -> Iterator[Pipeline]:
    legs, rig.plane.legs = rig.plane.legs, False
    store, nobody = BindingStore(16), Pseudonymiser(b"a key for the tests of stages ....", 1)
    made = Pipeline(rig.plane, SIGNATURES, store, nobody, Collector())
    yield made
    made.close()
    rig.plane.legs = legs
    rig.plane.set_suffixes({})


class TestPolicies:
    """A group's policy goes before those for all, and among each an application's own before its class's."""

    @pytest.mark.parametrize("turned", [False, True])
    def test_whose_holds(self, pipeline: Pipeline, turned: bool) -> None:
        policies = [
            Policy("all, its class", Action.TRUNCATE, app_class="video", snap_length=100),
            Policy("all, itself", Action.SUPPRESS, application="Netflix"),
            Policy("staff, its class", Action.COUNT, app_class="video", group="staff"),
        ]
        put(pipeline, policies[::-1] if turned else policies, [STAFF])
        netflix, youtube = SIGNATURES.number("Netflix"), SIGNATURES.number("YouTube")
        number = {action: n for n, action in enumerate(Action)}

        assert pipeline.action[:, netflix].tolist() == [number[Action.SUPPRESS], number[Action.COUNT]]
        assert pipeline.action[:, youtube].tolist() == [number[Action.TRUNCATE], number[Action.COUNT]]


class TestTunnels:
    """A flow that comes back to its old tunnel again and again was not handed over: it passes in both."""

    @pytest.mark.parametrize(("returns", "looked_for"), [(RETURNS, False), (RETURNS + 1, True)])
    def test_when_copies_are_looked_for(self, rig: Rig, pipeline: Pipeline, returns: int, looked_for: bool) -> None:
        for teid in (ONE, OTHER):
            rig.know_tunnel(UPF, teid, UPLINK, SESSION)
        for n in range(returns + 2):  # the first two packets begin, and move, the flow
            rig.now_ns += 1000
            frame = ether(outer(GNB, UPF) / gtpu((ONE, OTHER)[n % 2]) / tcp(seq=32 * n))
            rig.plane.run(frame, rig.now_ns, None)
        rig._moved()
        pipeline.drain()

        assert rig.plane.legs is looked_for


class TestNames:
    """A flow that goes on is published under the name that its subscriber has by now."""

    ALICE = "001010000000001"
    UNNAMED = Session("s1", "pfcp", Identity(), UE, dnn="internet", instance="internet", tunnels=(Tunnel(UPF, ONE),))

    def published(self, rig: Rig, pipeline: Pipeline) -> list[str]:
        """Return the subscribers of an interval in which the flow has a packet."""
        frame = ether(outer(GNB, UPF) / gtpu(ONE) / tcp(seq=rig.now_ns // A_SECOND_NS))
        rig.now_ns += A_SECOND_NS
        rig.plane.run(frame, rig.now_ns, None)
        rig._moved()
        return [name for batch in pipeline.sweep(rig.now_ns / 1e9) for name in batch.columns["subscriber"]]

    def test_of_interval_after_interval(self, rig: Rig, pipeline: Pipeline) -> None:
        rig.plane.write(pipeline.store.apply(SessionUp(1.0, self.UNNAMED)))
        assert self.published(rig, pipeline) == [pipeline.pseudonymiser.unknown(f"ue:internet:{UE}")]

        rig.plane.write(pipeline.store.apply(SessionMoved(2.0, replace(self.UNNAMED, identity=Identity(self.ALICE)))))
        alice = pipeline.pseudonymiser.name(self.ALICE)
        assert self.published(rig, pipeline) == [alice]

        pipeline.pseudonymiser = Pseudonymiser(b"another key ....................", 2)
        assert self.published(rig, pipeline) == [pipeline.pseudonymiser.name(self.ALICE)] != [alice]

        pipeline.pseudonymiser = Pseudonymiser(b"another key ....................", 2, opted_out=(self.ALICE,))
        assert pipeline.pseudonymiser.name(self.ALICE) == OPTED_OUT
        assert self.published(rig, pipeline) == []

    def test_and_it_has_the_policies_of_the_group_that_its_subscriber_is_in_by_now(
        self, rig: Rig, pipeline: Pipeline
    ) -> None:
        rig.plane.write(pipeline.store.apply(SessionUp(1.0, self.UNNAMED)))
        assert len(self.published(rig, pipeline)) == 1

        suppressed = dict.fromkeys(range(len(SIGNATURES.class_of)), (Action.SUPPRESS, 0))
        pipeline.set_policies([{}, suppressed], [SubscriberGroup("all", dnns=("internet",))])
        assert self.published(rig, pipeline) == []

        pipeline.set_policies([{}, suppressed], [SubscriberGroup("all", dnns=("ims",))])
        assert len(self.published(rig, pipeline)) == 1
