"""A connection on the ports of an earlier one is a flow of its own (RFC 9293, 3.4.1 and 3.6.1)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from feed.records import Columns, RecordBatch
from nf.abi import FLOW_FIRST_B
from nf.apps.signatures import Signatures
from nf.pipeline import Pipeline
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore
from nf.settings import Action, Role
from tests.kernel.rig import Rig
from tests.kernel.ways import MS, WAYS, Way, pair

Packets = Sequence[tuple[float, bytes]]
SEQ_AT = 14 + 20 + 4  # of the sequence number in an untagged frame of IPv4


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@functools.cache
def connection(way: Way, at: float, mine: int, its: int, *, segments: int = 3) -> Packets:
    """Return a connection from *at* ms on whose ends begin with these numbers; it ends by FIN."""
    packets: list[tuple[float, bytes]] = [
        (at, way.tcp(mine, 0, flags="S", ack=0)),
        (at + 10, way.tcp(its, 0, back=True, ack=mine + 1, flags="SA")),
        (at + 30, way.tcp(mine + 1, 0, ack=its + 1)),
    ]
    for n in range(segments):
        when = at + 100 + 50 * n
        packets += [
            (when, way.tcp(mine + 1 + 100 * n, ack=its + 1)),
            (when + 10, way.tcp(its + 1, 0, back=True, ack=mine + 101 + 100 * n)),
        ]
    packets.append((at + 400, way.tcp(mine + 1 + 100 * segments, 0, ack=its + 1, flags="FA")))
    return packets


def run(rig: Rig, way: Way, packets: Packets, role: str = "") -> None:
    start = rig.now_ns
    for at_ms, frame in packets:
        rig.run(frame, role or way.role, max(0, start + round(at_ms * MS) + MS - rig.now_ns))


def ended(rig: Rig) -> list[Any]:
    """Return the flows that gave their place to another one, of each pair first what the first end sent."""
    return [e["flow"] for e in rig.plane.read_ended()]


def turned(flow: Any, name: str) -> tuple[int, int]:
    value = pair(flow[name])
    return value[::-1] if flow["flags"] & FLOW_FIRST_B else value


class TestNewOne:
    """A SYN with another initial sequence number begins it."""

    @pytest.mark.parametrize("mine", [5_000, 50, 0xFFFF_FFFF])
    def test_it_has_a_number_and_counters_of_its_own(self, rig: Rig, way: Way, mine: int) -> None:
        run(rig, way, [*connection(way, 0, 1_000, 3_000), *connection(way, 5_000, mine, 2_000)])
        (first,), second = ended(rig), rig.flow()

        assert [e["kind"] for e in rig.events() if e["kind"] == 1] == [1, 1]
        assert second["number"] != first["number"]
        assert (turned(first, "packets"), pair(second["packets"])) == ((6, 4), (6, 4))
        assert pair(second["retrans"]) == (0, 0)
        assert pair(second["handshake_us"]) == turned(first, "handshake_us") == (10_000, 20_000)
        assert pair(second["rtt_n"]) == turned(first, "rtt_n") == (4, 1)

    def test_the_same_syn_again_is_a_copy(self, rig: Rig, way: Way) -> None:
        packets = list(connection(way, 0, 1_000, 3_000))
        run(rig, way, [*packets, (1_000, packets[0][1])])

        assert ended(rig) == []
        assert (pair(rig.flow()["packets"]), pair(rig.flow()["retrans"])) == ((7, 4), (1, 0))

    def test_the_other_end_may_begin_it(self, rig: Rig, way: Way) -> None:
        run(rig, way, connection(way, 0, 1_000, 3_000))
        run(rig, way, [(5_000, way.tcp(9_000, 0, back=True, flags="S", ack=0))])

        assert len(ended(rig)) == 1

    def test_both_ends_at_once_begin_one(self, rig: Rig, way: Way) -> None:
        """Each sends a SYN before it has the other's (RFC 9293, 3.5, figure 7)."""
        run(
            rig,
            way,
            [
                (0, way.tcp(100, 0, flags="S", ack=0)),
                (1, way.tcp(300, 0, back=True, flags="S", ack=0)),
                (5, way.tcp(100, 0, flags="SA", ack=301)),
                (6, way.tcp(300, 0, back=True, flags="SA", ack=101)),
            ],
        )

        assert ended(rig) == []

    def test_the_middle_of_a_connection_gives_way_to_it(self, rig: Rig, way: Way) -> None:
        run(rig, way, [(0, way.tcp(70_000)), (10, way.tcp(70_100)), *connection(way, 5_000, 1_000, 3_000)])

        assert [turned(flow, "packets") for flow in ended(rig)] == [(2, 0)]
        assert pair(rig.flow()["packets"]) == (6, 4)

    def test_where_only_its_answer_passes_that_begins_it(self, rig: Rig, way: Way) -> None:
        """A probe that sees one direction: the SYN-ACK tells the other end's number."""
        downs = [
            [p for p in connection(way, 5_000 * n, 1_000 + 9_000_000 * n, 3_000) if p[0] % 100 == 10] for n in (0, 1)
        ]
        run(rig, way, [*downs[0], *downs[1]])

        assert len(ended(rig)) == 1

    def test_whatever_the_policy_of_its_application(self, rig: Rig, way: Way) -> None:
        """A flow that is only counted has no sequence state, and still the next connection is one of its own."""
        rig.plane.set_policies({0: (Action.COUNT, 0)})
        first, again = connection(way, 0, 1_000, 3_000), connection(way, 5_000, 5_000, 9_000)
        run(rig, way, [*first, (600, first[0][1]), *again])

        assert [turned(flow, "packets") for flow in ended(rig)] == [(7, 4)]

    def test_without_room_in_the_ring_both_are_one_flow(self, rig: Rig) -> None:
        """Nothing is lost in that case, and it is counted."""
        syn = bytearray(WAYS["ipv4"].tcp(1, 0, flags="S", ack=0))
        count, before = 6_000, rig.plane.read_counters()["ended_ring_full"]  # more than the ring holds
        for n in range(count):
            syn[SEQ_AT : SEQ_AT + 4] = n.to_bytes(4, "big")
            rig.plane.run(bytes(syn), rig.now_ns + n, Role.N6)
        rig._moved()
        flows = [*ended(rig), *rig.plane.read_flows()[1]]

        assert sum(int(f["packets"].sum()) for f in flows) == count
        assert rig.plane.read_counters()["ended_ring_full"] - before == count - len(flows) > 0


def inner_octets(way: Way, frame: bytes) -> int:
    """Return the bytes of the user's IP packet; one without payload has the headers of IP and TCP only."""
    return len(frame) - len(way.tcp(1, 0)) + (60 if way.ipv6 else 40)


class Sums:
    """A sink that adds up what is published."""

    def __init__(self) -> None:
        self.octets = np.zeros(2, np.int64)
        self.packets = 0

    def records(self, batch: RecordBatch) -> None:
        columns = batch.columns
        self.octets += [int(np.sum(columns["ul_bytes"])), int(np.sum(columns["dl_bytes"]))]

    def followed(self) -> frozenset[str]:
        return frozenset()

    def detail(self, subscriber: str, records: Columns, flows: Columns, t_start_s: float, t_end_s: float) -> None:
        """Take nothing: nobody follows."""


class TestSums:
    """Each byte is published once, whenever an interval ends and however the copies of N3 and N6 interleave."""

    @pytest.fixture
    def sums(self, rig: Rig) -> Sums:
        return Sums()

    def pipeline(self, rig: Rig, sums: Sums) -> Pipeline:
        rig.plane.read_ended()
        return Pipeline(rig.plane, Signatures.load(), BindingStore(16), Pseudonymiser(b"", 0), sums)

    @pytest.mark.parametrize("every", [1, 3, 7, 1_000])
    def test_with_intervals_that_end_anywhere(self, rig: Rig, way: Way, sums: Sums, every: int) -> None:
        pipeline, octets = self.pipeline(rig, sums), 0
        packets = [p for n in range(4) for p in connection(way, 2_000.0 * n, 1_000 * (9 - n), 77 * n)]
        for i, packet in enumerate(packets):
            rig.run(packet[1], way.role, 10 * MS)
            octets += inner_octets(way, packet[1])
            if i % every == 0:
                pipeline.sweep(rig.now_ns / 1e9)
        pipeline.sweep(rig.now_ns / 1e9)

        assert int(sums.octets.sum()) == octets > 0

    def test_a_read_between_two_intervals_changes_nothing(self, rig: Rig, way: Way, sums: Sums) -> None:
        """Other signatures come into force between them: the flow table is read for the flows that they rename."""
        pipeline, octets = self.pipeline(rig, sums), 0
        for n in range(5):
            for packet in connection(way, 0, 1_000, 3_000)[:5]:
                rig.run(packet[1], way.role, 10 * MS)
                octets += inner_octets(way, packet[1])
            pipeline.sweep(rig.now_ns / 1e9)
            for _ in range(n % 3):
                rig.plane.read_flows()

        assert int(sums.octets.sum()) == octets

    @pytest.mark.parametrize("lag", [0, 1, 2, 5])
    def test_with_a_copy_of_each_packet_on_the_other_port(self, rig: Rig, sums: Sums, lag: int) -> None:
        """The copy passes a few packets later, also after the next connection began."""
        inside, outside = Way(False, 0, True, False), Way(False, 0, False, False)
        pipeline = self.pipeline(rig, sums)
        spans = [(2_000.0 * n, 1_000 * (9 - n), 77 * n) for n in range(4)]
        packets = [p for span in spans for p in zip(connection(inside, *span), connection(outside, *span), strict=True)]
        due = 0
        for i in range(len(packets) + lag):
            if i < len(packets):
                rig.run(packets[i][0][1], "n3", MS)
                due += inner_octets(inside, packets[i][0][1])
            if i >= lag:
                rig.run(packets[i - lag][1][1], "n6", MS)
            if i % 5 == 0:
                pipeline.sweep(rig.now_ns / 1e9)
        pipeline.sweep(rig.now_ns / 1e9)

        assert int(sums.octets.sum()) == due
