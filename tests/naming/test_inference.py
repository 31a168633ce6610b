"""Lessons of named flows about their servers, and their use for unnamed flows, interval by interval."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from nf.apps.basis import Basis
from nf.apps.signatures import Signatures
from nf.flows.batch import FlowBatch
from nf.flows.book import FlowBook
from nf.naming.doubts import Doubt
from nf.naming.inference import TURN_S, Inference, client_is_b
from nf.naming.servers import Learned
from nf.settings import Application
from tests.flows.records import SERVER, TCP, UDP, event

SIGNATURES = Signatures.load([
    Application(name="Example Video", app_class="video", domains=("video.example",)),
    Application(name="Example Chat", app_class="messaging", domains=("chat.example",)),
])  # fmt: skip
VIDEO, CHAT = "www.video.example", "www.chat.example"
NETFLIX_SERVER, PLAIN = "45.57.1.2", SERVER  # a prefix of nf/apps/known/video.toml; nobody's address
T0 = 1000.0


class World:
    """Flows of clients 10.45.0.N to servers, on the book and seen once an interval by `Inference`."""

    def __init__(self) -> None:
        self.book, self.inference = FlowBook(), Inference(SIGNATURES)
        self.number = 0

    def flow(
        self, client: int, server: str = PLAIN, name: str = "", *, basis: Basis = Basis.SNI, app: str = "",
        proto: int = TCP, port: int = 443, at_s: float = T0,
    ) -> int:  # fmt: skip
        """Begin a flow of one client, with the name *name*, or with *app* by *basis*; return its number."""
        self.number += 1
        self.book.add(
            event(
                self.number, f"10.45.0.{client}", 40_000, server, port, proto, at_ns=round(at_s * 1e9), session=client
            )
        )
        if name or app:
            found = SIGNATURES.number(app) if app else SIGNATURES.match(name)
            self.book.name(np.array([self.number], np.uint64), np.array([found], np.uint16),
                           np.array([basis], np.uint8), [name])  # fmt: skip
        return self.number

    def interval(self, at_s: float = T0) -> None:
        self.inference.update(self.book, at_s)

    def says(self, number: int) -> tuple[str, Basis, int]:
        """Return (application, ground, confidence) of a flow."""
        app, basis, confidence = (int(column[0]) for column in self.book.apps(np.array([number], np.uint64)))
        return SIGNATURES.name(app), Basis(basis), confidence


NOTHING = ("", Basis.NONE, 0)
CONTRADICTED = ("", Basis.CONTRADICTED, 0)
# Two clients agree: half the servers that two applications shared would look so, and 1 - 1/4 is what is published.
LEARNED_VIDEO = ("Example Video", Basis.LEARNED, 75)


@pytest.fixture
def world() -> World:
    return World()


class TestLearning:
    """Two clients' named flows to a server name the flows there that say nothing."""

    def test_a_third_client_gets_the_name(self, world: World) -> None:
        silent = world.flow(3)
        world.flow(1, name=VIDEO)
        world.interval()
        assert world.says(silent) == NOTHING

        world.flow(2, name=VIDEO)
        world.interval()

        assert world.says(silent) == LEARNED_VIDEO

    def test_named_and_asked_in_one_interval(self, world: World) -> None:
        world.flow(1, name=VIDEO)
        world.flow(2, name=VIDEO)
        silent = world.flow(3)
        world.interval()

        assert world.says(silent) == LEARNED_VIDEO

    def test_another_port_is_another_server(self, world: World) -> None:
        world.flow(1, name=VIDEO)
        world.flow(2, name=VIDEO)
        silent = world.flow(3, port=8443)
        world.interval()

        assert world.says(silent) == NOTHING

    @pytest.mark.parametrize("basis", [Basis.SNI, Basis.HTTP_HOST, Basis.DNS_ANSWER])
    def test_names_teach_by_whatever_they_were_said(self, world: World, basis: Basis) -> None:
        world.flow(1, name=VIDEO, basis=basis)
        world.flow(2, name=VIDEO, basis=basis)
        silent = world.flow(3)
        world.interval()

        assert world.says(silent)[1] is Basis.LEARNED

    @pytest.mark.parametrize("basis", [Basis.ADDRESS, Basis.BEHAVIOUR, Basis.MODEL])
    def test_grounds_that_are_no_name_teach_nothing(self, world: World, basis: Basis) -> None:
        world.flow(1, name=VIDEO, basis=basis)
        world.flow(2, name=VIDEO, basis=basis)
        silent = world.flow(3)
        world.interval()

        assert world.says(silent) == NOTHING

    @pytest.mark.parametrize("port", [53, 5353])
    def test_a_name_service_neither_teaches_nor_asks(self, world: World, port: int) -> None:
        world.flow(1, name=VIDEO, proto=UDP, port=port, basis=Basis.DNS_ANSWER)
        world.flow(2, name=VIDEO, proto=UDP, port=port, basis=Basis.DNS_ANSWER)
        silent = world.flow(3, proto=UDP, port=port)
        world.interval()

        assert world.says(silent) == NOTHING
        assert world.inference.counters["learned_taught"] == 0

    def test_protocols_without_ports_do_not_ask(self, world: World) -> None:
        world.flow(1, name=VIDEO, proto=1, port=0)
        world.flow(2, name=VIDEO, proto=1, port=0)
        silent = world.flow(3, proto=1, port=0)
        world.interval()

        assert world.says(silent) == NOTHING

    def test_weaker_grounds_give_way_and_stronger_ones_stay(self, world: World) -> None:
        world.flow(1, name=VIDEO)
        world.flow(2, name=VIDEO)
        by_port = world.flow(3, app="Example Chat", basis=Basis.BEHAVIOUR)
        by_answer = world.flow(4, name=CHAT, basis=Basis.DNS_ANSWER, server="192.0.2.77")
        world.interval()

        assert world.says(by_port) == LEARNED_VIDEO
        assert world.says(by_answer) == ("Example Chat", Basis.DNS_ANSWER, 95)


class TestTakenBack:
    """A server's known application may change, and the names that rest on it leave."""

    def test_a_server_that_serves_another_application_names_nothing(self, world: World) -> None:
        world.flow(1, name=VIDEO)
        world.flow(2, name=VIDEO)
        silent = world.flow(3)
        by_port = world.flow(4, app="Example Chat", basis=Basis.BEHAVIOUR)
        world.interval()
        assert (world.says(silent), world.says(by_port)) == (LEARNED_VIDEO, LEARNED_VIDEO)

        world.flow(5, name=CHAT)
        world.interval(T0 + 1)

        assert world.says(silent) == NOTHING
        assert world.says(by_port) == ("Example Chat", Basis.BEHAVIOUR, 80)

    def test_more_evidence_raises_the_confidence_of_those_named(self, world: World) -> None:
        world.flow(1, name=VIDEO)
        world.flow(2, name=VIDEO)
        silent = world.flow(9)
        world.interval()
        world.flow(3, name=VIDEO)
        world.interval(T0 + 1)

        assert world.says(silent) == ("Example Video", Basis.LEARNED, 87)  # 1 - 1/8, rounded down


class TestOldAnswers:
    """At a shared server an answer counts for ten seconds after the question, or if nothing else was said there."""

    def shared(self, world: World, asked_s: float) -> int:
        """Begin flows of client 1: a query for the chat at *asked_s*, and two to one server, the last named video."""
        world.flow(1, server="192.0.2.53", name=CHAT, basis=Basis.DNS_ANSWER, proto=UDP, port=53, at_s=asked_s)
        flow = world.flow(1, name=CHAT, basis=Basis.DNS_ANSWER)
        world.flow(1, name=VIDEO)
        return flow

    @pytest.mark.parametrize(("ago_s", "stays"), [(0.5, True), (10, True), (10.5, False), (600, False)])
    def test_the_age_of_the_question(self, world: World, ago_s: float, stays: bool) -> None:
        flow = self.shared(world, T0 - ago_s)
        world.interval()

        assert world.says(flow) == (("Example Chat", Basis.DNS_ANSWER, 95) if stays else NOTHING)

    def test_a_question_after_the_flow_is_none_of_its_own(self, world: World) -> None:
        flow = self.shared(world, T0 + 1)
        world.interval()

        assert world.says(flow) == NOTHING

    def test_a_server_of_one_application_keeps_old_answers(self, world: World) -> None:
        flow = world.flow(1, name=CHAT, basis=Basis.DNS_ANSWER)
        world.interval()

        assert world.says(flow) == ("Example Chat", Basis.DNS_ANSWER, 95)

    def test_what_another_client_said_there_takes_nothing_away(self, world: World) -> None:
        flow = world.flow(1, name=CHAT, basis=Basis.DNS_ANSWER)
        world.flow(2, name=VIDEO)
        world.interval()

        assert world.says(flow) == ("Example Chat", Basis.DNS_ANSWER, 95)


class TestDoubts:
    """A name that its server contradicts gives no application, until several clients say it."""

    def test_a_name_in_the_prefix_of_another(self, world: World) -> None:
        flow = world.flow(1, server=NETFLIX_SERVER, name=VIDEO)
        world.interval()

        assert world.says(flow) == CONTRADICTED
        assert world.book.get(flow)["doubt"] == Doubt.PREFIX
        assert world.inference.counters["doubted_prefix"] == 1

    def test_a_doubted_name_teaches_nothing(self, world: World) -> None:
        world.flow(1, server=NETFLIX_SERVER, name=VIDEO)
        world.flow(2, server=NETFLIX_SERVER, name=VIDEO)
        silent = world.flow(3, server=NETFLIX_SERVER)
        world.interval()

        assert world.says(silent) == NOTHING

    def test_the_third_client_is_believed_and_those_before_with_it(self, world: World) -> None:
        first = world.flow(1, server=NETFLIX_SERVER, name=VIDEO)
        second = world.flow(2, server=NETFLIX_SERVER, name=VIDEO)
        world.interval()
        assert (world.says(first), world.says(second)) == (CONTRADICTED, CONTRADICTED)

        third = world.flow(3, server=NETFLIX_SERVER, name=VIDEO)
        world.interval(T0 + 1)

        sure = ("Example Video", Basis.SNI, 99)
        assert [world.says(n) for n in (first, second, third)] == [sure, sure, sure]
        assert world.book.get(first)["doubt"] == Doubt.NONE

    def test_one_client_that_says_it_often_is_not(self, world: World) -> None:
        flows = [world.flow(1, server=NETFLIX_SERVER, name=VIDEO) for _ in range(5)]
        world.interval()

        assert {world.says(n) for n in flows} == {CONTRADICTED}

    def test_an_answer_for_a_name_is_not_a_claim(self, world: World) -> None:
        flow = world.flow(1, server=NETFLIX_SERVER, name=VIDEO, basis=Basis.DNS_ANSWER)
        world.interval()

        assert world.says(flow) == ("Example Video", Basis.DNS_ANSWER, 95)


class TestTunnels:
    """A flow that fills its packets both ways at once is no messenger, whatever name it says."""

    def watched(self, world: World, octets: tuple[int, int], packets: tuple[int, int], name: str = CHAT) -> int:
        number = world.flow(1, name=name)
        zeros = {n: np.zeros((1, 2), np.uint64) for n in FlowBatch.__dataclass_fields__}
        (app, basis, confidence), one = world.book.apps(np.array([number], np.uint64)), np.ones(1, np.uint8)
        batch = FlowBatch(**zeros | {
            "t_start_s": T0, "t_end_s": T0 + 1, "flow_id": np.array([number], np.uint64), "app": app, "basis": basis,
            "confidence": confidence, "proto": one * TCP, "packets": np.array([packets], np.uint64),
            "octets": np.array([octets], np.uint64),
        })  # fmt: skip
        flows = np.zeros(1, [("bytes", "u8", 2), ("packets", "u4", 2)])
        flows["bytes"], flows["packets"] = octets, packets
        world.inference.watch(world.book, batch, flows)
        return number

    def test_it_is_doubted(self, world: World) -> None:
        number = self.watched(world, (3_000_000, 2_800_000), (2_500, 2_400))

        assert world.says(number) == CONTRADICTED
        assert world.book.get(number)["doubt"] == Doubt.TUNNEL
        assert world.inference.counters["doubted_tunnel"] == 1

    def test_video_is_not_asked(self, world: World) -> None:
        number = self.watched(world, (3_000_000, 2_800_000), (2_500, 2_400), VIDEO)

        assert world.says(number)[1] is Basis.SNI

    @pytest.mark.parametrize(
        ("octets", "packets"),
        [((100_000, 2_800_000), (2_500, 2_400)), ((3_000_000, 2_800_000), (2_500, 1_999)),
         ((6_000_000, 2_800_000), (2_500, 2_400))],
        ids=["small packets one way", "too few", "more than twice as much one way"],
    )  # fmt: skip
    def test_what_moves_data_one_way_is_not(
        self, world: World, octets: tuple[int, int], packets: tuple[int, int]
    ) -> None:
        assert world.says(self.watched(world, octets, packets))[1] is Basis.SNI


class TestClientEnd:
    """The client is the first to speak, unless that end alone has a system port."""

    @pytest.mark.parametrize(
        ("ports", "first_dir", "b"),
        [((40_000, 443), 0, False), ((40_000, 443), 1, False), ((443, 40_000), 0, True), ((443, 40_000), 1, True),
         ((40_000, 50_000), 0, False), ((40_000, 50_000), 1, True), ((53, 123), 0, False), ((53, 123), 1, True),
         ((40_000, 1023), 1, False), ((40_000, 1024), 1, True), ((0, 0), 1, True)],
    )  # fmt: skip
    def test_of_ports_and_who_began(self, ports: tuple[int, int], first_dir: int, b: bool) -> None:
        book = FlowBook()
        book.add(event(1, port_a=ports[0], port_b=ports[1], first_dir=first_dir))

        assert client_is_b(book.rows).tolist() == [b]


class Chance:
    """Intervals of random flows, of few clients and servers, over seconds and days: the same for each of two worlds."""

    PORTS = (443, 443, 8443)
    STEPS_S = (1.0, 1.0, 1.0, 1.0, 20.0, 3600.0, 7 * 3600.0, 25 * 3600.0)

    def __init__(self, seed: int) -> None:
        self.random, self.at_s = random.Random(seed), T0

    def happen(self, worlds: Sequence[World]) -> None:
        """Do the same to all worlds."""
        self.at_s += self.random.choice(self.STEPS_S)
        for _ in range(self.random.randrange(12)):
            self._flow(worlds)
        numbers = worlds[0].book.rows["number"].copy()
        some = numbers[[self.random.random() < 0.02 for _ in numbers]]
        if self.random.random() < 0.3 and len(some):
            app = self.random.choice([SIGNATURES.number("Example Chat"), SIGNATURES.number("Example Video")])
            basis = self.random.choice([Basis.ADDRESS, Basis.SNI, Basis.BEHAVIOUR])
            for world in worlds:
                world.book.name(some, np.full(len(some), app, np.uint16), np.full(len(some), basis, np.uint8),
                                [VIDEO] * len(some))  # fmt: skip
        elif self.random.random() < 0.3 or len(numbers) > 1500:
            for world in worlds:
                world.book.forget(numbers[: len(numbers) // 3] if len(numbers) > 1500 else some)

    def _flow(self, worlds: Sequence[World]) -> None:
        client, late = self.random.randrange(1, 60), self.random.random() < 0.05
        server = f"203.0.{113 + self.random.randrange(4)}.{self.random.choice([1, 1, 1, *range(2, 20)])}"
        server = NETFLIX_SERVER if self.random.random() < 0.03 else server
        # Servers of even networks are of one application, nearly always.
        video = self.random.random() < (0.99 if server.split(".")[2] in ("114", "116") else 0.6)
        name = self.random.choice(["", VIDEO if video else CHAT])
        basis, port = self.random.choice([Basis.SNI, Basis.SNI, Basis.DNS_ANSWER]), self.random.choice(self.PORTS)
        proto = self.random.choice([TCP, TCP, UDP])
        for world in worlds:
            world.number += 2
            number, world.number = world.number, world.number - 4 * late - 1  # one of several processors is late
            world.flow(client, server, name, basis=basis, proto=proto, port=port, at_s=self.at_s)
            world.number = number


class TestAskedAgain:
    """Flows of which nothing changed are not asked for, and have what asking for all of them gives."""

    @pytest.mark.parametrize(("seed", "servers"), [(2, 4096), (3, 16)])
    def test_over_any_sequence(self, seed: int, servers: int) -> None:
        worlds = [World(), World()]
        for world in worlds:
            world.inference.learned = Learned(servers, seed=7)  # few servers: some leave
        chance, (world, reference), kinds = Chance(seed), worlds, set()
        for _ in range(400):
            chance.happen(worlds)
            reference.book.asked.again(slice(None))
            for each in worlds:
                each.interval(chance.at_s)
            for column in ("number", "app", "basis", "confidence", "doubt"):
                assert np.array_equal(world.book.rows[column], reference.book.rows[column]), column
            kinds |= set(world.book.rows["basis"].tolist())
        assert {Basis.LEARNED, Basis.NONE, Basis.SNI, Basis.CONTRADICTED} <= kinds
        assert (world.inference.counters["learned_evicted"] > 100) == (servers < 100)


class TestBounds:
    """In an interval a bounded number of rows is asked for: the newest, and the others in turn."""

    def test_old_flows_get_their_turn(self) -> None:
        size = 100_000  # 65,536 a turn, half of them the newest
        world = World()
        many = np.repeat(event(1), size)
        many["number"] = np.arange(1, size + 1)
        world.book.add(many)
        world.number = size
        world.flow(1, name=VIDEO)
        world.flow(2, name=VIDEO)

        learned = []
        for turn in range(4):
            world.interval(T0 + turn)
            learned.append(int((world.book.rows["basis"] == Basis.LEARNED).sum()))

        # The newest 32,768, of which two taught, and the first 32,768; then the others.
        assert learned == [65_534, 100_000, 100_000, 100_000]

    def test_old_flows_are_asked_for_as_soon_as_their_server_says_something_else(self) -> None:
        world = World()
        world.inference.turn_s = TURN_S  # as live
        many = np.repeat(event(1), 1000)
        many["number"] = np.arange(1, 1001)
        world.book.add(many)
        world.number = 1000
        world.interval(T0)
        world.flow(1, name=VIDEO)
        world.flow(2, name=VIDEO)
        world.interval(T0 + 1)

        assert (world.book.rows["basis"] == Basis.LEARNED).sum() == 1000

    def test_live_a_name_that_does_not_hold_is_taken_back_within_five_seconds(self) -> None:
        world = World()
        world.inference.turn_s = TURN_S
        numbers = [world.flow(client) for client in range(10, 30)]
        world.flow(1, name=VIDEO)
        world.flow(2, name=VIDEO)
        world.interval(T0)
        assert {world.says(number)[0] for number in numbers} == {"Example Video"}

        world.flow(3, name=CHAT)
        for second in range(1, 6):
            world.interval(T0 + second)

        assert [world.says(number) for number in numbers] == [NOTHING] * len(numbers)

    def test_all_of_them_on_demand(self) -> None:
        world = World()
        many = np.repeat(event(1), 70_000)
        many["number"] = np.arange(1, 70_001)
        world.book.add(many)
        world.number = 70_000
        world.flow(1, name=VIDEO)
        world.flow(2, name=VIDEO)
        world.inference.update(world.book, T0, everything=True)

        assert (world.book.rows["basis"] == Basis.LEARNED).sum() == 70_000
