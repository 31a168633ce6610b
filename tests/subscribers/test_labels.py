"""Labels that are kept: at each moment those that the store itself would give."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from gtp.events import EndReason, Identity, Place, Session, SessionDown, SessionMoved, SessionUp, Side, Tunnel
from nf import privacy
from nf.privacy import OPTED_OUT, Pseudonymiser
from nf.sessions import BindingStore, intake
from nf.sessions.groups import group_of
from nf.settings import StaticSession, SubscriberGroup
from nf.subscribers import labels as module
from nf.subscribers.labels import Labels, StoreTeller, SubscriberNames, Told

ALICE, BOB = "001010000000001", "001010000000002"
UPF, GNB = "192.0.2.10", "192.0.2.20"
KEY = bytes(range(32))
NOBODY = ("unknown", "none", "", 0)
HOME = SubscriberGroup("home", imsi_prefixes=("00101",))
VOICE = SubscriberGroup("voice", dnns=("ims",))
STEPS, NUMBERS = 2000, 200


def session(imsi: str = ALICE, key: str = "s1", teid: int = 1, ue: str = "10.45.0.1", dnn: str = "internet") -> Session:
    return Session(key, "pfcp", Identity(imsi), ue, dnn=dnn, instance=dnn, tunnels=(Tunnel(UPF, teid),))


class World:
    """A store and the labels of it that are kept; the sessions that the store was asked for are noted."""

    def __init__(self, capacity: int = 20) -> None:
        self.store, self.labels = BindingStore(capacity), Labels()
        self.names, self.groups = Pseudonymiser(KEY, 1), ()
        self.asked: list[int] = []
        self.meanwhile: Callable[[], object] = lambda: None  # happens while labels are asked for, after they were read
        self.store.on_relabelled(self.labels.forget)
        world = self

        class Noting(StoreTeller):
            def __call__(self, numbers: np.ndarray) -> list[Told | None]:
                world.asked += numbers.tolist()
                told = super().__call__(numbers)
                world.meanwhile()
                return told

        self.teller = Noting

    def up(self, *args: str, **kwargs: object) -> int:
        return self.store.apply(SessionUp(1.0, session(*args, **kwargs)))[0].session

    def columns(self, *sessions: int) -> SubscriberNames:
        return self.labels.of(np.array(sessions, np.int64), self.teller.now(self.store, self.names, self.groups))

    def of(self, *sessions: int) -> list[Told]:
        """Return what is published of sessions."""
        return told(self.columns(*sessions))

    def uncached(self, sessions: Sequence[int]) -> list[Told]:
        """Return what is published of sessions, asked of the store itself."""
        found = []
        for number in sessions:
            label = self.store.label(number) if number else None
            if label is None:
                found.append(NOBODY)
                continue
            group = group_of(label.dnn, label.imsi, self.groups)
            found.append((label.published(self.names), label.identity_source, label.dnn, group))
        return found


def told(names: SubscriberNames) -> list[Told]:
    columns = names.subscriber, names.identity_source, names.dnn, names.group
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.fixture
def world() -> World:
    return World()


class TestKept:
    """A session is asked for once."""

    def test_until_it_changes(self, world: World) -> None:
        one, two = world.up(), world.up(BOB, "s2", 2, "10.45.0.2")
        first = world.of(one, two)
        assert world.of(one, two) == first
        assert world.asked == [one, two]

        world.store.apply(SessionMoved(2.0, session(BOB, "s2", 3, "10.45.0.2")))
        assert world.of(one, two) == first
        assert world.asked == [one, two, two]

    def test_also_beside_others_that_come_later_with_any_number(self, world: World) -> None:
        numbers = [world.up(f"00101{n:010d}", f"s{n}", n + 1, f"10.45.0.{n + 1}") for n in range(9)]
        for part in (numbers[3:5], numbers[:7:2], numbers[::4], numbers):
            assert world.of(*part) == world.uncached(part)
        assert sorted(world.asked) == numbers

    def test_but_nobody_is_asked_for_each_time(self, world: World) -> None:
        assert world.of(0, 7) == [NOBODY, NOBODY]

        number = world.up()
        assert world.of(number) == [(world.names.name(ALICE), "pfcp", "internet", 0)]

    def test_no_imsi_is_in_what_is_kept(self, world: World) -> None:
        world.of(world.up())

        assert ALICE not in repr(vars(world.labels))


class TestForgotten:
    """A label may become another in these ways; the next question has that one."""

    def test_it_changed(self, world: World) -> None:
        number = world.up("")
        assert world.of(number) == [(world.names.unknown("ue:internet:10.45.0.1"), "pfcp", "internet", 0)]

        world.store.apply(SessionMoved(2.0, session(ALICE)))
        assert world.of(number) == [(world.names.name(ALICE), "pfcp", "internet", 0)]

    def test_its_ue_s_address_was_learned(self, world: World) -> None:
        number = world.up("", ue="")
        assert world.of(number) == [(world.names.unknown(f"teid:{UPF}:0x00000001"), "none", "internet", 0)]

        world.store.learn([(number, "10.45.0.9")], 2.0)
        assert world.of(number) == [(world.names.unknown("ue:internet:10.45.0.9"), "uplink", "internet", 0)]

    def test_another_source_told_more_of_the_session_that_it_is_a_part_of(self, world: World) -> None:
        number = world.up("")
        radio = replace(session(key="n2", ue=""), source="gtp-c", tunnels=(Tunnel(UPF, 1, local=False),))
        world.of(number)
        world.store.apply(SessionUp(2.0, radio))

        assert world.of(number)[0][0] == world.names.name(ALICE)

    def test_it_was_joined_to_another_one_that_changes(self, world: World) -> None:
        """Flows carry the number of either."""
        apart = world.up("", "s2", 2, "")
        into = world.up("", "s1", 1, "10.45.0.1")
        world.of(into, apart)
        world.store.apply(SessionMoved(2.0, replace(session("", "s2", 2, "10.45.0.1"), source="pfcp")))
        joined = world.of(into, apart)
        assert joined[0] == joined[1] == world.uncached([into])[0]

        world.store.apply(SessionMoved(3.0, session(ALICE, "s1", 1, "10.45.0.1")))
        assert [each[0] for each in world.of(into, apart)] == [world.names.name(ALICE)] * 2

    def test_it_went_to_another_gnb(self, world: World) -> None:
        old, new = (Tunnel(f"192.0.2.{n}", n, Side.DOWNLINK, local=False) for n in (20, 21))
        up = replace(session(), snssai="1-00000a", tunnels=(Tunnel(UPF, 1), old))
        number = world.store.apply(SessionUp(1.0, up))[0].session
        before = world.columns(number, 99)
        world.store.apply(SessionMoved(2.0, replace(up, tunnels=(Tunnel(UPF, 1), new)), (old,)))
        after = world.columns(number, 99)

        assert [(list(n.gnb), list(n.slice)) for n in (before, after)] == [
            (["192.0.2.20", ""], ["1-00000a", ""]),
            (["192.0.2.21", ""], ["1-00000a", ""]),
        ]

    def test_it_went_to_another_cell(self, world: World) -> None:
        """Others stay where they are, and each new place comes behind those that were known."""
        here, there = (Place("NR", "001-01-00012d", f"001-01-00001000{n}", n) for n in (1, 2))
        up = replace(session(), place=here)
        number = world.store.apply(SessionUp(1.0, up))[0].session
        stays = world.store.apply(SessionUp(1.0, replace(session(BOB, "s2", 2, "10.45.0.3"), place=here)))[0].session
        before = world.columns(number, stays, 99)
        world.store.apply(SessionMoved(2.0, replace(up, place=there)))
        after = world.columns(number, stays, 99)

        assert [list(n.cell) for n in (before, after)] == [
            [here.cell, here.cell, ""],
            [there.cell, here.cell, ""],
        ]
        assert [(list(n.rat), list(n.tai)) for n in (before, after)] == [(["NR", "NR", ""], [here.tai] * 2 + [""])] * 2

    def test_it_ended_long_ago(self, world: World) -> None:
        number = world.up()
        world.store.apply(SessionDown(2.0, session(), EndReason.DELETED))
        assert world.of(number) == [(world.names.name(ALICE), "pfcp", "internet", 0)]

        world.store.expire(2.0 + 60.0)
        assert world.of(number) == [NOBODY]

    def test_its_number_is_another_s(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(intake, "_NUMBERS", 1)
        number = world.up()
        world.of(number)
        world.store.apply(SessionDown(2.0, session(), EndReason.DELETED))
        world.store.expire(2.0 + 60.0)

        assert world.up(BOB, "s2", 2) == number
        assert world.of(number) == [(world.names.name(BOB), "pfcp", "internet", 0)]

    def test_its_subscriber_opted_out(self, world: World) -> None:
        number = world.up()
        world.of(number)
        world.names = Pseudonymiser(KEY, 1, opted_out=(ALICE,))
        assert world.of(number)[0][0] == OPTED_OUT

        world.names = Pseudonymiser(KEY, 1)
        assert world.of(number)[0][0] == world.names.name(ALICE)

    def test_subscribers_are_named_by_another_key(self, world: World) -> None:
        number = world.up()
        before = world.of(number)
        world.names = Pseudonymiser(KEY[::-1], 2)

        assert world.of(number)[0][0] == Pseudonymiser(KEY[::-1], 2).name(ALICE) != before[0][0]

    def test_groups_are_others(self, world: World) -> None:
        number = world.up()
        world.of(number)
        world.groups = (VOICE, HOME)

        assert world.of(number)[0][3] == 2

    def test_too_many_changed_while_nobody_asked(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_MOST_CHANGED", 3)
        number = world.up("")
        world.of(number)
        for n in range(5):
            world.store.apply(SessionMoved(2.0, session(f"00101{n:010d}")))
        assert world.labels._changed == []
        assert world.of(number)[0][0] == world.names.name("001010000000004")

    def test_there_are_too_many(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "_MOST", 3)
        numbers = [world.up(f"00101{n:010d}", f"s{n}", n + 1, f"10.45.0.{n + 1}") for n in range(9)]
        assert world.of(*numbers) == world.uncached(numbers)
        assert world.of(*numbers[:2]) == world.uncached(numbers[:2])
        assert len(world.labels._session) == 2

    def test_it_changed_while_it_was_asked_for(self, world: World) -> None:
        number = world.up("")
        world.meanwhile = lambda: world.store.apply(SessionMoved(2.0, session(ALICE)))
        world.of(number)
        world.meanwhile = lambda: None

        assert world.of(number)[0][0] == world.names.name(ALICE)


class TestNamed:
    """The names that subscribers have are those of all active ones, also of those whose labels are kept."""

    def test_all_are_named_anew_when_there_were_too_many_names(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(privacy, "_MOST_NAMES", 2)
        one, two = world.up(), world.up(BOB, "s2", 2, "10.45.0.2")
        world.of(one, two)
        assert set(world.names.named()) == {ALICE, BOB}

        world.names.name("001010000000003")  # there is room for two
        world.of(one)
        assert ALICE in world.names.named(again=True)

    def test_nobody_is_told_as_new_twice(self, world: World) -> None:
        number = world.up()
        world.of(number)
        assert set(world.names.named()) == {ALICE}

        world.of(number)
        assert world.names.named() == {}


class TestNumbers:
    """A (subscriber, data network) has one number from interval to interval."""

    def test_two_sessions_of_one_have_the_same_and_another_data_network_another(self, world: World) -> None:
        numbers = world.up(), world.up(ALICE, "s2", 2, "10.45.0.2"), world.up(ALICE, "s3", 3, "10.46.0.1", "ims")
        one, two, three = world.columns(*numbers).number.tolist()

        assert one == two != three

    def test_they_go_up_in_the_order_of_the_first_question(self, world: World) -> None:
        numbers = [world.up(f"00101{n:010d}", f"s{n}", n + 1, f"10.45.0.{n + 1}") for n in range(3)]

        assert world.columns(numbers[2]).number.tolist() == [0]
        assert world.columns(numbers[0], 77, numbers[2]).number.tolist() == [1, 2, 0]
        assert world.labels.numbers(["unknown", "new"], ["", ""]).tolist() == [2, 3]

    def test_those_that_are_dropped_are_given_anew(self, world: World) -> None:
        one, two = world.up(), world.up(BOB, "s2", 2, "10.45.0.2")
        world.columns(one, two)
        world.labels.keep({1})

        assert world.labels.numbered == 1
        assert world.columns(one, two).number.tolist() == [2, 1]
        assert world.of(one, two) == world.uncached([one, two])


class Chance:
    """Events of sessions at random, of few subscribers, addresses and tunnels, so that they contend and join."""

    IMSIS = ("", "", *(f"00101000000000{n}" for n in range(4)), "001020000000001")

    def __init__(self, seed: int) -> None:
        self.random, self.at_s = random.Random(seed), 1.0

    def session(self) -> Session:
        pick = self.random.choice
        source = pick(["pfcp", "pfcp", "gtp-c", "radius", "ngap"])
        dnn = pick(["internet", "internet", "ims"])
        tunnels = {Tunnel(UPF, self.random.randrange(1, 12), Side.UPLINK, local=pick([True, False])) for _ in range(2)}
        down = Tunnel(GNB, self.random.randrange(1, 12), Side.DOWNLINK, local=False)
        ue = pick(["", f"10.45.0.{self.random.randrange(1, 10)}"])
        key = f"{source}-{self.random.randrange(6)}"
        return Session(key, source, Identity(pick(self.IMSIS)), ue, dnn=dnn, instance=dnn, tunnels=(*tunnels, down))

    def happen(self, world: World) -> None:
        """Do one thing to the sessions, the names or the groups."""
        self.at_s += self.random.choice([0.0, 0.1, 1.0, 1.0, 8.0])
        store, at_s, some = world.store, self.at_s, self.session()
        match self.random.choices(range(8), (30, 20, 15, 10, 15, 2, 1, 1))[0]:
            case 0:
                store.apply(SessionUp(at_s, some))
            case 1:
                store.apply(SessionMoved(at_s, some))
            case 2:
                reason = self.random.choice([EndReason.DELETED, EndReason.RELEASED])
                store.apply(SessionDown(at_s, some, reason))
            case 3:
                store.learn([(n, f"10.45.0.{self.random.randrange(1, 14)}") for n in store.nameless().tolist()], at_s)
            case 4:
                store.expire(at_s)
            case 5:
                self._configure(world)
            case 6:
                opted_out = self.random.sample(self.IMSIS[2:], self.random.randrange(3))
                world.names = Pseudonymiser(KEY, 1, opted_out=opted_out)
            case _:
                world.groups = tuple(self.random.sample([HOME, VOICE], self.random.randrange(3)))

    def _configure(self, world: World) -> None:
        old, self.configured = getattr(self, "configured", ()), ()
        if self.random.random() < 0.6:
            dnn, teid = self.random.choice(["internet", "ims"]), self.random.randrange(1, 12)
            self.configured = (StaticSession("one", self.random.choice(self.IMSIS), "10.45.0.1", dnn=dnn,
                                             uplink=((UPF, teid),)),)  # fmt: skip
        world.store.configure(old, self.configured, self.at_s)


class TestAnySequence:
    """Over any events of sessions, names and groups, labels that are kept are those that the store gives."""

    @pytest.mark.parametrize("seed", range(4))
    def test_of_events(self, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(intake, "_NUMBERS", NUMBERS)  # so that they are used again
        if seed % 2:
            monkeypatch.setattr(privacy, "_MOST_NAMES", 4)
        world, chance, known, asked = World(), Chance(seed), 0, 0
        number_of: dict[tuple[str, str], int] = {}
        for _ in range(STEPS):
            for _ in range(chance.random.randrange(3)):
                chance.happen(world)
            if chance.random.random() < 0.02:
                kept = set(chance.random.sample(sorted(number_of.values()), len(number_of) // 2))
                world.labels.keep(kept)
                number_of = {who: number for who, number in number_of.items() if number in kept}
            some = sorted(chance.random.sample(range(NUMBERS + 1), chance.random.choice([1, 30, NUMBERS])))
            names = world.columns(*some)
            assert told(names) == world.uncached(some)
            of_known = {number for number, one in zip(some, told(names), strict=True) if one != NOBODY}
            known, asked = known + len(of_known), asked + len(of_known & set(world.asked))
            world.asked.clear()
            for who, number in zip(zip(names.subscriber, names.dnn, strict=True), names.number.tolist(), strict=True):
                assert number_of.setdefault(who, number) == number
            assert len(set(number_of.values())) == len(number_of)
        assert world.store.counters["joined"] > 100
        assert len(number_of) > 5  # those of the last steps; so many that they could be mixed up
        assert 0 < asked < (known if seed % 2 else known / 2)

    def test_beside_another_thread_that_changes_them(self) -> None:
        """A question finds every change that was over before it, of a session and of its key."""
        world, rounds = World(), 3000
        imsi = [f"00101{n:010d}" for n in range(rounds)]
        turn = {world.names.name(each): n for n, each in enumerate(imsi)}
        number, over = world.up(imsi[0]), [0]

        def change() -> None:
            for n in range(1, rounds):
                world.store.apply(SessionMoved(2.0, session(imsi[n])))
                over[0] = n

        thread = threading.Thread(target=change)
        thread.start()
        stale = []
        while thread.is_alive():
            least = over[0]
            found = turn[world.of(number)[0][0]]
            if found < least:
                stale.append((found, least))
        thread.join()
        assert stale == []
        assert turn[world.of(number)[0][0]] == rounds - 1
