"""The subject of each flow: a session that the kernel found, one that signalling told since, or an unknown's name."""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
import pytest

from gtp.events import Identity, Session, SessionUp, Side, Tunnel
from nf.flows.book import FlowBook
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore
from nf.settings import SubscriberGroup
from nf.subscribers.labels import Labels, StoreTeller
from nf.subscribers.who import far_ends, subjects
from tests.flows.records import FIRST_B, GNB, OTHER_SERVER, SERVER, TUNNEL, UNKNOWN, UPF, A, B, batch, event, flows

IMSI, KEY, TEID, NOW_S = "001010000000001", bytes(range(32)), 0xA1, 100.0
PSEUDONYM = hmac.new(KEY, IMSI.encode(), hashlib.sha256).hexdigest()[:32]  # RFC 2104, the first half
UE = "10.45.0.2"


def pseudonym(name: str) -> str:
    """Return the published name of who has no IMSI, by the same rule over the whole of *name*."""
    return f"{name.partition(':')[0]}-{hmac.new(KEY, name.encode(), hashlib.sha256).hexdigest()[:32]}"


class World:
    """A book, a store of sessions, and the subjects of an interval's flows."""

    def __init__(self) -> None:
        self.book, self.store, self.labels = FlowBook(), BindingStore(100), Labels()

    def session(self, key: str = "s1", imsi: str = IMSI, ue: str = UE, teid: int = TEID, dnn: str = "internet") -> int:
        tunnel = Tunnel(UPF, teid, Side.UPLINK)
        up = Session(key, "pfcp", Identity(imsi=imsi), ue_ipv4=ue, dnn=dnn, instance=dnn, tunnels=(tunnel,))
        return self.store.apply(SessionUp(1.0, up))[0].session

    def whose(self, *session: int, ue_end: object = A, flags: object = 0, groups: tuple[SubscriberGroup, ...] = ()):
        """Return the subjects of flows 1, 2 ... with these sessions: (subscriber, source, data network) of each."""
        n = len(session)
        rows = flows(n, ue_end=ue_end, flags=flags)
        teller = StoreTeller.now(self.store, Pseudonymiser(KEY, 1), groups)
        subject, names = subjects(batch(n, session=session), rows, self.book, self.store, self.labels, teller, NOW_S)
        columns = zip(names.subscriber, names.identity_source, names.dnn, strict=True)
        self.names, each = names, list(columns)
        return [each[i] for i in subject.tolist()]


@pytest.fixture
def world() -> World:
    return World()


KNOWN = (PSEUDONYM, "pfcp", "internet")


class TestKnown:
    """A flow whose session the kernel found goes by the pseudonym of its subscriber."""

    def test_all_flows_of_a_session_are_one_subject(self, world: World) -> None:
        index = world.session()
        world.book.add(np.concatenate([event(1), event(2, port_a=2)]))

        assert world.whose(index, index) == [KNOWN, KNOWN]
        assert len(world.names.subscriber) == 1
        assert world.names.session.tolist() == [index]

    def test_a_session_of_which_nothing_is_known_is_of_nobody_and_no_guess_is_made(self, world: World) -> None:
        world.book.add(event(1))

        assert world.whose(77) == [("unknown", "none", "")]

    def test_its_group_is_told(self, world: World) -> None:
        one, two = world.session(), world.session("s2", "001020000000009", "10.45.0.3", 0xA2, dnn="ims")
        groups = SubscriberGroup("voice", dnns=("ims",)), SubscriberGroup("home", imsi_prefixes=("00101",))
        world.whose(one, two, groups=groups)

        assert world.names.group.tolist() == [2, 1]


class TestToldSince:
    """A tunnel that is bound by now gives its flows to its session."""

    def test_the_flow_goes_to_it(self, world: World) -> None:
        world.book.add(event(1, outer=(GNB, UPF), teid=TEID))
        index = world.session()

        assert world.whose(0) == [KNOWN]
        assert world.names.session.tolist() == [index]

    def test_in_whichever_direction_the_tunnel_was_seen(self, world: World) -> None:
        world.book.add(event(1, outer=(GNB, UPF), teid=TEID, dir=1, first_dir=1))
        world.session()

        assert world.whose(0) == [KNOWN]

    def test_not_when_neither_end_is_the_address_of_its_ue(self, world: World) -> None:
        world.book.add(event(1, "10.45.0.99", outer=(GNB, UPF), teid=TEID))
        world.session()

        assert world.whose(0) == [(pseudonym(f"teid:{UPF}:0x000000a1"), "none", "")]

    def test_not_by_the_teid_of_another_address(self, world: World) -> None:
        world.book.add(event(1, outer=(GNB, "172.16.0.77"), teid=TEID))
        world.session()

        assert world.whose(0) == [(pseudonym("teid:172.16.0.77:0x000000a1"), "none", "")]


class TestUnknown:
    """A flow of nobody goes by its tunnel, or outside of one by the address of its UE; no IMSI is guessed."""

    def test_flows_of_a_tunnel_are_one_and_of_another_one_another(self, world: World) -> None:
        world.book.add(np.concatenate([
            event(1, outer=(GNB, UPF), teid=1), event(2, port_a=2, outer=(GNB, UPF), teid=1),
            event(3, port_a=3, outer=(GNB, UPF), teid=2)]))  # fmt: skip

        one, two = (pseudonym(f"teid:{UPF}:0x{teid:08x}") for teid in (1, 2))
        assert [name for name, *_ in world.whose(0, 0, 0)] == [one, one, two]
        assert world.names.session[-2:].tolist() == [0, 0]

    @pytest.mark.parametrize(
        ("ue_end", "flags", "expected"),
        [(A, FIRST_B, UE), (B, 0, SERVER), (UNKNOWN, 0, UE), (UNKNOWN, FIRST_B, SERVER)],
        ids=["end a", "end b", "a spoke first", "b spoke first"],
    )
    def test_without_a_tunnel_by_its_ue(self, world: World, ue_end: int, flags: int, expected: str) -> None:
        world.book.add(event(1))

        assert world.whose(0, ue_end=ue_end, flags=flags) == [(pseudonym(f"ue::{expected}"), "none", "")]

    def test_known_and_unknown_flows_beside_each_other_in_any_order(self, world: World) -> None:
        index = world.session()
        world.book.add(np.concatenate([
            event(1, "10.45.0.8"), event(2), event(3, "10.45.0.9", outer=(GNB, UPF), teid=3),
            event(4, "10.45.0.8", port_a=4)]))  # fmt: skip

        nobody = (pseudonym("ue::10.45.0.8"), "none", "")
        assert world.whose(0, index, 0, 0) == [nobody, KNOWN, (pseudonym(f"teid:{UPF}:0x00000003"), "none", ""), nobody]

    def test_a_flow_that_the_kernel_did_not_tell_has_no_address(self, world: World) -> None:
        assert world.whose(0) == [(pseudonym("ue::::"), "none", "")]

    def test_by_the_uplink_tunnel_whichever_end_is_the_ue_s(self, world: World) -> None:
        world.book.add(np.concatenate([
            event(1, "8.8.8.8", b=UE, outer=(UPF, GNB), teid=9),
            event(1, "8.8.8.8", b=UE, outer=(GNB, UPF), teid=1, dir=1, kind=TUNNEL)]))  # fmt: skip

        assert world.whose(0, ue_end=B) == [(pseudonym(f"teid:{UPF}:0x00000001"), "none", "")]

    @pytest.mark.parametrize("flags", [0, FIRST_B], ids=["the UE spoke first", "the server spoke first"])
    def test_outside_of_a_tunnel_by_the_tunnel_of_its_ue(self, world: World, flags: int) -> None:
        """N3 and N6 without signalling: one flow in a tunnel, the same outside of it."""
        world.book.add(np.concatenate([
            event(1, outer=(GNB, UPF), teid=1), event(2), event(3, "10.45.0.9", b=OTHER_SERVER)]))  # fmt: skip

        one = (pseudonym(f"teid:{UPF}:0x00000001"), "none", "")
        found = world.whose(0, 0, 0, ue_end=[A, UNKNOWN, A], flags=flags)
        assert found == [one, one, (pseudonym("ue::10.45.0.9"), "none", "")]


class TestFarEnd:
    """The tunnel of a flow leads to a gNB: who receives its downlink, else who sends its uplink."""

    NEW_GNB = "172.16.0.9"

    def of(self, world: World, *uplink_from_b: bool) -> list[str]:
        numbers = np.arange(1, len(uplink_from_b) + 1, dtype=np.uint64)
        return far_ends(numbers, np.array(uplink_from_b, np.bool_), world.book).tolist()

    def test_by_either_direction(self, world: World) -> None:
        world.book.add(np.concatenate([
            event(1, outer=(GNB, UPF), teid=1), event(2, outer=(UPF, GNB), teid=2, dir=1, first_dir=1),
            event(3, outer=(GNB, UPF), teid=3, dir=1), event(4)]))  # fmt: skip

        assert self.of(world, False, False, True, False) == [GNB, GNB, GNB, ""]

    def test_after_a_handover_it_is_the_new_one_although_the_uplink_was_not_told_anew(self, world: World) -> None:
        world.book.add(event(1, outer=(GNB, UPF), teid=1))
        world.book.add(event(1, outer=(UPF, GNB), teid=2, dir=1, kind=TUNNEL))
        world.book.add(event(1, outer=(UPF, self.NEW_GNB), teid=3, dir=1, kind=TUNNEL))

        assert self.of(world, False) == [self.NEW_GNB]
