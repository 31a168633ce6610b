"""The flow table: two CPUs, one flow; a full bucket; flows that leave and come again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from scapy.layers.inet import IP, UDP

from nf.kernel import syscall
from nf.kernel.dataplane import DataPlane
from nf.settings import Limits, Role
from tests.kernel.packets import SERVER, UE, ether, udp
from tests.kernel.table_model import EMPTY, Broken, Packet, State, explore

LOOK, WAIT = "look again", "wait"


def start(places: int, keys: str, *, holds: int = 0, there: str = "", without: str = "") -> State:
    """Return so many places, of which the first have the flows *there*, and a packet of each of *keys*."""
    tags = (*((("ready", key)) for key in there), *(EMPTY for _ in range(places - len(there))))
    flows = (*((key, 0) for key in there), *(("", 0) for _ in range(places - len(there))))
    rules = frozenset({LOOK, WAIT} - {without})
    return State(tags, flows, tuple(Packet(key) for key in keys), holds=holds, rules=rules)


class TestModel:
    """Every order of steps of a small table."""

    @pytest.mark.parametrize(
        ("places", "keys", "holds", "there"),
        [
            (2, "aa", 0, ""),
            (3, "aa", 1, "b"),
            (2, "aab", 0, ""),
            (1, "ab", 1, "a"),
            (2, "aaa", 0, ""),
            (2, "aa", 2, "a"),
        ],
    )
    def test_no_packet_is_lost_none_is_another_flows_and_no_flow_is_twice(
        self, places: int, keys: str, holds: int, there: str
    ) -> None:
        assert explore(start(places, keys, holds=holds, there=there)) > 20

    def test_a_claim_that_does_not_look_again_makes_a_flow_twice(self) -> None:
        """A place that becomes free behind one CPU and before the other gives each a place of its own."""
        with pytest.raises(Broken, match="twice"):
            explore(start(3, "aa", holds=1, there="b", without=LOOK))

    def test_a_place_that_is_freed_at_once_loses_a_packet(self) -> None:
        with pytest.raises(Broken):
            explore(start(1, "ab", holds=1, there="a", without=WAIT))


ROOM = 256
PAIRED = 2  # CPUs


@pytest.fixture
def plane() -> Iterator[DataPlane]:
    plane = DataPlane(Limits(flows=ROOM, sessions=64), replay=True)
    plane.run(ether(udp()), 10**9, Role.N6)  # the program is loaded
    plane.flows.hold(plane.flows.present())
    plane.read_ended()
    yield plane
    plane.close()


def frames(count: int, first: int = 1000, *, back: bool = False) -> list[bytes]:
    """Return frames of so many flows, from the server when *back*."""
    if back:
        return [ether(IP(src=SERVER, dst=UE) / UDP(sport=443, dport=first + n) / b"answer") for n in range(count)]
    return [ether(udp(sport=first + n)) for n in range(count)]


def together(plane: DataPlane, *work: list[tuple[bytes, int]]) -> None:
    """Run (frame, times) of each list at once with the others."""
    gate, failed = threading.Barrier(len(work)), []

    def run(mine: list[tuple[bytes, int]]) -> None:
        test_run = syscall.TestRun(plane.program(Role.N6), 256)
        gate.wait()
        try:
            for frame, times in mine:
                test_run.repeat(frame, times)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(mine,)) for mine in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


class Books:
    """Packets of all flows that there were, by port of the sender, and what has no flow."""

    def __init__(self, plane: DataPlane) -> None:
        self.plane, self.before = plane, plane.read_counters()
        self.by_port: Counter[int] = Counter()
        self.numbers: Counter[int] = Counter()

    def take(self, keys: np.ndarray, flows: np.ndarray) -> None:
        for key, flow in zip(keys, flows, strict=True):
            ports = {int(key["port_a"].byteswap()), int(key["port_b"].byteswap())} - {443}
            self.by_port[ports.pop()] += int(flow["packets"].sum())
            self.numbers[int(flow["number"])] += 1

    def ended(self) -> None:
        """Take the flows that left."""
        ended = self.plane.read_ended()
        self.take(ended["key"], ended["flow"])
        self.plane.read_events()
        self.plane.read_payloads()

    def close(self) -> dict[str, int]:
        """Take the flows that are there, and return what the counters moved by."""
        self.ended()
        self.take(*self.plane.read_flows())
        after = self.plane.read_counters()
        return {name: after[name] - self.before[name] for name in after}


class TestTable:
    """The real one."""

    def test_user_space_finds_each_flow_where_the_program_put_it(self, plane: DataPlane) -> None:
        for frame in frames(ROOM):
            plane.run(frame, 10**9, Role.N6)
        keys, flows = plane.read_flows()
        places = plane.flows.find(keys)

        assert len(flows) == ROOM
        assert plane.flows.numbers(places).tolist() == flows["number"].tolist()

    def test_what_is_not_there_is_not_found(self, plane: DataPlane) -> None:
        plane.run(frames(1)[0], 10**9, Role.N6)
        keys = plane.read_flows()[0]
        keys["leg"] = 7

        assert plane.flows.find(keys).tolist() == [-1]

    def test_a_key_of_zeros_is_a_flow_as_others_are(self, plane: DataPlane) -> None:
        """Places that no flow had are zeros as well."""
        frame = ether(IP(src="0.0.0.0", dst="0.0.0.0", proto=0) / bytes(32))
        for n in range(3):
            plane.run(frame, 10**9 + n, Role.N6)

        assert plane.read_flows()[1]["packets"].sum(axis=1).tolist() == [3]

    def test_a_full_bucket_gives_up_its_longest_silent_flow(self, plane: DataPlane) -> None:
        books, sent = Books(plane), 4 * ROOM
        for n, frame in enumerate(frames(sent)):
            plane.run(frame, 10**9 + n * 1000, Role.N6)
            books.ended()
        counters = books.close()

        assert counters["flow_evicted"] > 2 * ROOM
        assert counters["flow_full"] == 0
        assert books.by_port == {1000 + n: 1 for n in range(sent)}
        there = Books(plane)
        there.take(*plane.read_flows())
        assert set(there.by_port) >= {1000 + n for n in range(sent - ROOM // 8, sent)}  # the last ones to speak

    def test_when_nobody_reads_it_refuses_and_says_so(self, plane: DataPlane) -> None:
        books = Books(plane)
        for n, frame in enumerate(frames(4 * ROOM)):
            plane.run(frame, 10**9 + n * 1000, Role.N6)
        counters = books.close()

        assert counters["flow_full"] > 0
        assert counters["unflowed"] == counters["flow_full"]
        assert sum(books.by_port.values()) + counters["unflowed"] == 4 * ROOM


class TestTogether:
    """CPUs that do it at the same time, of a flow one in each direction, as its packets come."""

    def test_one_flow_begun_by_all(self, plane: DataPlane) -> None:
        """Each of many flows is begun on two CPUs at once, and is one flow, with all packets."""
        books, rounds = Books(plane), 200
        for first in range(1000, 1000 + rounds, 20):
            there, back = frames(20, first), frames(20, first, back=True)
            together(plane, [(frame, 50) for frame in there], [(frame, 50) for frame in back])
        counters = books.close()

        assert max(books.numbers.values()) == 1
        assert sum(books.by_port.values()) + counters["unflowed"] == PAIRED * 50 * rounds
        assert counters["flow_new"] == len(books.numbers) == rounds

    def test_a_full_table_hammered_while_flows_leave(self, plane: DataPlane) -> None:
        plane.flows._hold_s = 0.02
        books, stop = Books(plane), threading.Event()

        def reader() -> None:
            while not stop.is_set():
                present = plane.flows.present()
                plane.flows.hold(present[::7])
                books.ended()
                stop.wait(0.001)

        other = threading.Thread(target=reader)
        other.start()
        work = [(frame, 3) for frame in frames(6 * ROOM)] * 3
        try:
            together(plane, work, [(frame, 3) for frame in frames(6 * ROOM, back=True)][::-1] * 3)
        finally:
            stop.set()
            other.join()
        plane.flows._hold_s = 0.0
        counters = books.close()

        assert max(books.numbers.values()) == 1
        assert counters["flow_evicted"] > 0
        assert sum(books.by_port.values()) + counters["unflowed"] == 2 * 3 * len(work)
        assert sum(books.by_port.values()) == counters["counted"]
