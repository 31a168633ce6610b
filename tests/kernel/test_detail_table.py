"""The table of details: a place for each media flow, who leaves when a set is full, two CPUs, readers beside others."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from nf.abi import SNF_DETAILS
from nf.flows.media import Media
from nf.kernel.dataplane import DataPlane
from nf.settings import Limits, Role
from tests.kernel.detail_model import Packet, Set, Wrong, explore
from tests.kernel.packets import SERVER, UE, ether, udp
from tests.kernel.rig import drop_all, drop_details
from tests.kernel.test_flow_table import together

UPLINK = ether(udp(sport=1))
DOWNLINK = ether(udp(src=SERVER, dst=UE, sport=443, dport=1))
SETS = 220  # 1024 details and half as many again, seven a set
KEPT = 2  # intervals in which a flow with a packet keeps its place
FLOWS = 2 * SNF_DETAILS * SETS
GROUP = 500  # flows, of which four groups do not fit and two do

Counters = Callable[[], tuple[int, int]]


@pytest.fixture(scope="module")
def made() -> Iterator[DataPlane]:
    plane = DataPlane(Limits(flows=4 * FLOWS, sessions=64), replay=True)
    plane.set_policies({}, detailed=[0])  # flows without a name keep a detail, so that nobody has to name them
    yield plane
    plane.close()


@pytest.fixture
def plane(made: DataPlane) -> DataPlane:
    """Return a data plane without a flow or a detail, at the begin of an interval."""
    drop_all(made)
    drop_details(made)
    made.details.moved()
    made.new_epoch()
    return made


@pytest.fixture
def counters(plane: DataPlane) -> Counters:
    """Return a function that says how many details left, and for how many packets there was none."""
    before = plane.read_counters()

    def moved() -> tuple[int, int]:
        now = plane.read_counters()
        evicted, full = (now[name] - before[name] for name in ("detail_evicted", "detail_full"))
        return evicted, full

    return moved


def of_port(frame: bytes, port: int, *, back: bool = False) -> bytes:
    """Return a frame of another flow: the port of its UE, behind the headers of Ethernet and IPv4, is *port*."""
    at = 14 + 20 + (2 if back else 0)
    return frame[:at] + port.to_bytes(2, "big") + frame[at + 2 :]


def send(plane: DataPlane, first: int, count: int, frame: bytes = UPLINK, *, back: bool = False) -> None:
    """Send a packet of each of so many flows."""
    for port in range(first, first + count):
        plane.run(of_port(frame, port, back=back), 2 * 10**9, Role.N6)
        if not port % 1000:
            plane.read_events()
            plane.read_payloads()
    plane.read_events()
    plane.read_payloads()


def model(numbers: str, flows: str, *, quiet: str = "", locks: bool = True) -> Set:
    """Return a set of places with flows, "-" being none, and a packet of each of *flows*."""
    there = tuple(number.strip("-") for number in numbers)
    return Set(there, tuple((number, 0) for number in there), tuple(map(Packet, flows)), quiet, locks=locks)


class TestModel:
    """Every order of steps of a small set."""

    @pytest.mark.parametrize(
        ("numbers", "flows", "quiet"),
        [
            ("--", "aa", ""),
            ("--", "aab", ""),
            ("b-", "aab", ""),
            ("bc", "aa", "bc"),
            ("bc", "aad", "b"),
            ("-", "ab", ""),
        ],
    )
    def test_no_flow_has_two_places_and_no_packet_is_anothers_or_lost(
        self, numbers: str, flows: str, quiet: str
    ) -> None:
        assert explore(model(numbers, flows, quiet=quiet)) > 50

    @pytest.mark.parametrize("flows", ["aa", "ab"])
    def test_without_the_lock_it_goes_wrong(self, flows: str) -> None:
        with pytest.raises(Wrong):
            explore(model("bc", flows, quiet="bc", locks=False))


class TestPlaces:
    """A flow has one place, and the table tells whose each is."""

    def test_the_size_is_that_of_the_site(self, plane: DataPlane) -> None:
        assert len(plane.details) == SETS * SNF_DETAILS

    def test_each_flow_has_one(self, plane: DataPlane) -> None:
        for _ in range(3):
            send(plane, 1000, 300)
        found = plane.details.present()

        assert sorted(found.numbers.tolist()) == sorted(plane.read_flows()[1]["number"].tolist())
        assert np.unique(found.places).size == 300
        assert found.states["up_sizes"].sum(axis=1).tolist() == [3] * 300

    def test_flows_spread_over_the_sets(self, plane: DataPlane, counters: Counters) -> None:
        """By a universal hash few sets of seven get more than seven of two flows a set."""
        send(plane, 1000, 2 * SETS)

        assert counters()[1] < SETS // 20
        assert np.unique(plane.details.present().places // SNF_DETAILS).size > SETS / 2


class TestMoved:
    """User space is given the details of flows with packets, and of nobody else."""

    def test_only_those_with_packets_since(self, plane: DataPlane) -> None:
        send(plane, 1000, 50)
        first = plane.details.moved()
        plane.new_epoch()
        plane.details.moved()  # those of the interval before may have had a last packet
        plane.new_epoch()
        send(plane, 1000, 5)
        second = plane.details.moved()

        assert (len(first.places), len(second.places)) == (50, 5)
        assert second.states["up_sizes"].sum(axis=1).tolist() == [2] * 5

    def test_a_packet_at_the_very_end_of_an_interval_is_not_missed(self, plane: DataPlane) -> None:
        plane.details.moved()
        send(plane, 1000, 1)
        plane.new_epoch()

        assert len(plane.details.moved().places) == 1
        plane.new_epoch()
        assert len(plane.details.moved().places) == 0


class TestFull:
    """A set has seven places; whoever was quiet for the longest leaves, and nobody who was not quiet."""

    def test_flows_with_packets_stay_and_the_others_are_counted(self, plane: DataPlane, counters: Counters) -> None:
        send(plane, 1000, FLOWS)
        plane.new_epoch()
        there = plane.details.present().numbers
        for port in range(1000 + FLOWS - 1, 999, -1):  # those without a place ask before the others have a packet
            send(plane, port, 1)
        evicted, full = counters()

        assert evicted == 0
        assert full == 2 * (FLOWS - len(there)) > 0
        assert plane.details.present().numbers.tolist() == there.tolist()

    def test_after_a_quiet_interval_they_leave_for_others(self, plane: DataPlane, counters: Counters) -> None:
        send(plane, 1000, FLOWS)
        there, full = plane.details.present().numbers, counters()[1]
        plane.new_epoch(KEPT)
        drop_all(plane)
        send(plane, 10_000, 300)
        evicted, refused = counters()
        now = plane.details.present()

        assert (evicted, refused) == (300 - (len(now.places) - len(there)), full)
        assert evicted > 200  # few sets had a free place
        assert np.isin(plane.read_flows()[1]["number"], now.numbers).all()
        assert now.states["up_sizes"].sum(axis=1).max() == 1  # each began with zeros

    def test_the_longest_quiet_leaves_first(self, plane: DataPlane) -> None:
        groups = [plane.next_flow]
        for n in range(4):  # a quarter of what the table holds in each interval
            send(plane, 1000 + n * 4000, FLOWS // 8)
            groups.append(plane.next_flow)
            drop_all(plane)
            plane.new_epoch()
        plane.new_epoch(KEPT)
        send(plane, 20_000, FLOWS // 8)
        left = Counter(np.searchsorted(groups, plane.details.present().numbers, "right").tolist())

        assert FLOWS // 8 == left[5] >= left[4] >= left[3] > left[2] > left[1]

    def test_no_count_of_those_that_left_is_lost(self, plane: DataPlane, counters: Counters) -> None:
        """The counts are those of the packets, one by one: five of other lengths are five frames, with the last one,
        whether the detail is the same as before or begins with them."""
        burst = [ether(udp(400 + 20 * n, src=SERVER, dst=UE, sport=443, dport=1)) for n in range(5)]
        reader, told = Media(len(plane.details)), Counter[int]()
        for interval in range(8):
            first = 1000 + interval % 4 * GROUP
            send(plane, first, GROUP)
            for frame in burst:
                send(plane, first, GROUP, frame, back=True)
            flows = np.sort(plane.read_flows()[1]["number"])
            found = reader.update(flows, plane.details.moved(), plane.read_chunks(), plane.now_ns() // 1000)
            told.update(found.frames[found.frames > 0].tolist())
            plane.new_epoch()
        evicted, refused = counters()

        assert evicted > 0
        assert told == {5: 8 * GROUP - refused // 6}


class TestTogether:
    """CPUs that do it at the same time, of a flow one in each direction, as its packets come."""

    def test_one_flow_gets_one_place(self, plane: DataPlane, counters: Counters) -> None:
        rounds, times = 200, 8
        ports = range(1000, 1000 + rounds)
        there = [(of_port(UPLINK, port), 1) for port in ports for _ in range(times)]
        back = [(of_port(DOWNLINK, port, back=True), 1) for port in ports for _ in range(times)]
        together(plane, there, back)
        found = plane.details.present()

        assert sorted(found.numbers.tolist()) == sorted(plane.read_flows()[1]["number"].tolist())
        assert np.unique(found.places).size == rounds
        sizes = found.states["up_sizes"].sum(axis=1) + found.states["down_sizes"].sum(axis=1)
        assert sizes.sum() + counters()[1] == 2 * rounds * times

    def test_a_full_table_hammered_while_intervals_pass(self, plane: DataPlane, counters: Counters) -> None:
        """No flow has two places, and none is told by the number of another set."""
        work = [(of_port(UPLINK, port), 1) for port in range(1000, 1000 + FLOWS)]
        answers = [(of_port(DOWNLINK, port, back=True), 1) for port in range(1000, 1000 + FLOWS)]
        for turned in (False, True, False):
            together(plane, work, answers[::-1] if turned else answers)
            plane.new_epoch(KEPT)
        found = plane.details.present()

        assert counters()[0] > 0
        assert np.unique(found.numbers).size == len(found.numbers) > SETS * SNF_DETAILS * 3 // 4
        assert not plane._maps["detail_sets"].read()[1]["busy"].any()


READER = """
import pickle, sys
from nf.kernel.details import DetailTable
table = DetailTable(*pickle.load(sys.stdin.buffer))
found = table.present()
print(sorted(found.numbers.tolist()), int(found.states["up_sizes"].sum()), table._states.flags.writeable)
"""


class TestReaders:
    """Another process reads the same memory by the descriptors of the maps, and cannot write there."""

    def test_what_it_reads(self, plane: DataPlane) -> None:
        send(plane, 1000, 9)
        maps = plane._maps["detail_sets"], plane._maps["details"]
        given = pickle.dumps((*maps, np.zeros(1, plane._control.dtype)))
        words = [sys.executable, "-c", READER]
        fds = tuple(table.fd for table in maps)
        done = subprocess.run(words, input=given, pass_fds=fds, capture_output=True, check=True)

        numbers = sorted(plane.read_flows()[1]["number"].tolist())
        assert done.stdout.decode().strip() == f"{numbers} 9 False"
