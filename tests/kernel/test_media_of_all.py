"""Media of each interval, of whichever flow: following its subscriber decides what is sent, and changes no number."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from feed.records import Columns
from nf.abi import SLOT_US
from nf.apps.signatures import Signatures
from nf.flows.batch import FlowBatch
from nf.pipeline import Pipeline
from nf.privacy import Pseudonymiser
from nf.replay.records import Collector
from nf.sessions import BindingStore
from tests.kernel.packets import SERVER, UE, UPF, downlink, ether, udp, uplink
from tests.kernel.rig import ROLES, Rig

SIGNATURES = Signatures.load()
CALL = SIGNATURES.number("Zoom")  # of a class whose packets are timed exactly, so that frames are counted
MS = 1_000_000
INTERVALS, JOINS, NEVER = 7, 4, 99  # one that follows late does so from the fourth interval on
NAMES = Pseudonymiser(b"a key for the tests of media .....", 1)
FOLLOWED, OTHER_UE = NAMES.unknown(f"teid:{UPF}:0x00000100"), "10.45.0.3"
SENT = {"frames": "frames_dl", "frozen_ms": "frozen_dl_ms", "peak_bps": "peak_dl_bps", "chunks": "chunks",
        "chunk_octets": "chunk_bytes"}  # columns of an interval, and their names for who follows  # fmt: skip
Row = list[float]
Sent = tuple[float, int, bool, int]  # milliseconds of the interval, which flow, whether downlink, bytes of payload
Make = Callable[..., "Calls"]


class Follower(Collector):
    """A sink that follows a subscriber from an interval on, and keeps what it is sent of each."""

    def __init__(self, joins: int) -> None:
        super().__init__()
        self.joins, self.interval = joins, 0
        self.sent: dict[int, Columns] = {}

    def followed(self) -> frozenset[str]:
        return frozenset({FOLLOWED} if self.interval >= self.joins else ())

    def detail(self, subscriber: str, records: Columns, flows: Columns, t_start_s: float, t_end_s: float) -> None:
        self.sent[self.interval] = flows

    def rows(self) -> dict[int, Row]:
        """Return what it was sent of the one flow of each interval."""
        return {interval: [flows[name][0] for name in SENT.values()] for interval, flows in self.sent.items()}


class Told:
    """The subscribers of a pipeline, with what they are told of the flow of a number in each interval."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.batches: list[FlowBatch] = []
        self._update = pipeline.subscribers.update
        pipeline.subscribers.update = self.update  # type: ignore[method-assign]

    def update(self, batch: FlowBatch, **others: Any) -> Any:
        self.batches.append(batch)
        return self._update(batch, **others)

    def rows(self, number: int) -> list[Row]:
        wanted = np.array([number], np.uint64)
        return [[b.media.column(name, wanted)[0] for name in SENT] for b in self.batches]


@functools.cache
def frame_of(which: int, is_down: bool, size: int) -> tuple[str, bytes]:
    """Return the port, and the frame of a packet there with so many bytes of payload."""
    ue = (UE, OTHER_UE)[which]
    up, down = udp(size, src=ue), udp(size, src=SERVER, dst=ue, sport=443, dport=40000)
    if which:
        return "n6", ether(down if is_down else up)
    return "n3", ether(downlink(down) if is_down else uplink(up))


class Calls:
    """Two flows of media: of the subscriber of a tunnel, whom somebody may follow, and of one whom nobody does."""

    def __init__(self, rig: Rig, joins: int = NEVER) -> None:
        rig.forget()
        self.rig, self.sink, self.at_ms = rig, Follower(joins), 0.0
        soon_us = rig.now_ns // 1000 + 2_000_000
        self.start_ns = (soon_us + -(soon_us % (1 << 32)) % SLOT_US) * 1000
        self.pipeline = self.begin()
        self.play((0, 0, False, 10), (0, 1, False, 10))
        keys, flows = rig.plane.read_flows()
        rig.plane.put_verdicts(keys, flows["number"], np.full(2, CALL, np.uint16), np.ones(2, np.bool_))
        self.numbers = np.sort(flows["number"]).tolist()

    def begin(self) -> Pipeline:
        """Return the stages of a function, whose subscribers tell what they are told."""
        nobody = NAMES
        pipeline = Pipeline(self.rig.plane, SIGNATURES, BindingStore(16), nobody, self.sink)
        self.told = Told(pipeline)
        return pipeline

    def play(self, *packets: Sent) -> None:
        for ms, which, is_down, size in packets:
            role, frame = frame_of(which, is_down, size)
            self.rig.now_ns = self.start_ns + round((self.at_ms + ms) * MS)
            self.rig.plane.run(frame, self.rig.now_ns, ROLES[role])  # its flow events are the pipeline's to read

    @staticmethod
    def packets(interval: int) -> list[Sent]:
        """Return a second of both flows: frames of two packets, a freeze each other time, a request and its answer."""
        packets: list[Sent] = []
        for which in (0, 1):
            for n in range(8 + interval % 3 + which):
                ms = 33.0 * n + (400 if n > 6 and interval % 2 else 0)
                packets += [(ms + later, which, True, 700 + 20 * (n % 7)) for later in (0, 1)]
            packets += [(800, which, False, 400), *((810.0 + n, which, True, 1000) for n in range(10 + interval))]
        return sorted(packets)

    def interval(self, number: int) -> None:
        """Have a second pass, and end the interval a little before it is over, so that something comes behind it."""
        packets = self.packets(number)
        self.play(*packets[:-9])
        self.sweep()
        self.play(*packets[-9:])
        self.at_ms += 1000

    def sweep(self) -> None:
        self.pipeline.sweep(self.rig.now_ns / 1e9)
        self.sink.interval += 1

    def all(self) -> None:
        for number in range(INTERVALS):
            self.interval(number)
        self.sweep()

    def counts(self) -> dict[int, Row]:
        """Return what the kernel counted of each flow: frames with the open one, milliseconds of freezes, chunks."""
        present = self.rig.plane.details.present()
        numbers, states = present.numbers, present.states
        frames = states["equal"]["n"] + (states["equal"]["open"] > 0)
        columns = (c.tolist() for c in (frames, states["frozen_ms"], states["chunk"]["closed"]))
        return dict(zip(numbers.tolist(), map(list, zip(*columns, strict=True)), strict=True))

    def take_over(self) -> None:
        """Begin stages anew, as a process does that finds the tables of one that died."""
        self.pipeline.close()
        self.rig.plane.taken_over = True
        self.rig.plane.tell_again()  # of its flows, which the new one does not know
        try:
            self.pipeline = self.begin()
        finally:
            self.rig.plane.taken_over = False


@pytest.fixture
def calls(rig: Rig) -> Iterator[Make]:
    made: list[Calls] = []

    def make(joins: int = NEVER) -> Calls:
        made.append(Calls(rig, joins))
        return made[-1]

    yield make
    for one in made:
        one.pipeline.close()


def sums(rows: list[Row]) -> Row:
    """Return frames, milliseconds of freezes and chunks of all intervals."""
    return [sum(row[n] for row in rows) for n in (0, 1, 3)]


class TestFollowing:
    """Whoever follows is sent what everybody's interval says anyway."""

    def test_each_interval_is_told_of_a_flow_that_nobody_follows(self, calls: Make) -> None:
        these = calls()
        these.all()

        assert these.sink.sent == {}
        for which in (0, 1):
            rows = these.told.rows(these.numbers[which])
            assert sums(rows) == these.counts()[these.numbers[which]]
            assert all(row[0] > 0 for row in rows[:INTERVALS])
            assert sum(row[1] for row in rows) > 0

    def test_following_later_changes_no_number(self, calls: Make) -> None:
        """Interval by interval the numbers are those of a run that was followed from the beginning, and of one that
        never was."""
        told, sent = {}, {}
        for joins in (0, JOINS, NEVER):
            these = calls(joins)
            these.all()
            told[joins] = [these.told.rows(number) for number in these.numbers]
            sent[joins] = these.sink.rows()

        assert told[0] == told[JOINS] == told[NEVER]
        assert sent[0] == dict(enumerate(told[0][0]))
        assert sent[JOINS] == {n: row for n, row in sent[0].items() if n >= JOINS}
        assert sent[NEVER] == {}

    def test_the_intervals_add_up_to_the_packets(self, calls: Make) -> None:
        """Each second has one request, and the next one ends its answer, to which everything belongs that came down."""
        these = calls()
        these.all()
        sent = [packet for interval in range(INTERVALS) for packet in these.packets(interval)]

        for which, number in enumerate(these.numbers):
            rows = these.told.rows(number)
            mine = [(is_down, size) for _, one, is_down, size in sent if one == which]
            asked = [n for n, (is_down, _) in enumerate(mine) if not is_down]
            octets = sum(size for is_down, size in mine[asked[0] : asked[-1]] if is_down)
            assert [sum(row[n] for row in rows) for n in (3, 4)] == [INTERVALS - 1, octets]
            lengths = [size for is_down, size in mine if is_down]
            changes = sum(a != b for a, b in zip(lengths[1:], lengths, strict=False))
            assert sum(row[0] for row in rows) == changes + 1  # with the last one, which is open


class TestTakeover:
    """A process that takes over what another one left tells of what comes from then on."""

    def test_what_nobody_read_is_in_no_interval(self, calls: Make) -> None:
        these = calls()
        for number in range(3):
            these.interval(number)
        these.sweep()
        before = these.told
        these.play(*these.packets(3))
        these.at_ms += 1000
        unread = these.counts()
        these.take_over()
        for number in range(4, INTERVALS):
            these.interval(number)
        these.sweep()

        for number in these.numbers:
            now = these.counts()[number]
            assert sums(these.told.rows(number)) == [a - b for a, b in zip(now, unread[number], strict=True)]
            assert sums(before.rows(number)) != unread[number]


class TestShards:
    """Chunks come to all shards, and each tells those of the flows that are its own."""

    def test_a_flow_that_is_another_shards_and_comes(self, calls: Make) -> None:
        these = calls()
        number = these.numbers[0]
        these.interval(0)
        given = these.pipeline.book.give(np.array([number], np.uint64))
        these.interval(1)
        these.pipeline.book.adopt(given)
        these.interval(2)

        assert [row[3] for row in these.told.rows(number)] == [0, 0, 1]
        assert [row[3] for row in these.told.rows(these.numbers[1])] == [0, 1, 1]
