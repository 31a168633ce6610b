"""Differences of each flow since the table was last read, from two snapshots of it."""

from __future__ import annotations

import numpy as np
import pytest

from nf.abi import FLOW_QUIC, NO_RTT
from nf.flows.batch import ACCESS, CORE, DOWNLINK, UPLINK, FlowBatch
from nf.flows.deltas import FlowDeltas, from_b
from tests.flows.records import FIRST_B, TCP, UDP, UNKNOWN, A, B, key

SCTP = 132
TWO = ("bytes", "packets", "payload_packets", "qfi", "filled", "gap_ticks", "gap_ticks2", "gap_max", "rtt_sum_us",
       "rtt_n", "rtt_min_us")  # fmt: skip
TYPES = {"bytes": "u8", "qfi": "u1", "filled": "u1", "gap_max": "u2"}
RTP = [("expected", "u4", 2), ("received", "u4", 2), ("valid", "u1", 2)]
DNS = [("timed", "u2"), ("queries", "u4"), ("answers", "u4"), ("sum_us", "u4"), ("failed", "u2"), ("again", "u2")]
FLOW = np.dtype(
    [
        *((name, TYPES.get(name, "u4"), 2) for name in TWO),
        *(("number", "u8"), ("session", "u4"), ("app", "u2"), ("ue_end", "u1"), ("flags", "u1")),
        ("transport", [("rtp", RTP), ("dns", DNS)]),
        ("rare", [("tcp", [("retrans", "u4", 2), ("spurious", "u1", 2), ("rtt_high", "u1", 2)])]),
    ]
)
# One state with a value in each member of the unions; an array of the test may hold what no flow has at once.
ALL = {
    **{"packets": (1, 1), "filled": (1, 2), "tcp_retrans": (2, 3), "tcp_spurious": (1, 0)},
    **{"rtp_expected": (50, 60), "rtp_received": (49, 58), "rtp_valid": (1, 0)},
    **{"dns_queries": 6, "dns_answers": 5, "dns_failed": 1, "dns_again": 2, "dns_timed": 4, "dns_sum_us": 90_000},
}


def flow(number: int, **fields: object) -> np.ndarray:
    """Return one state of a flow; a field of a member as ``rtp_expected``, and both ends alike for one number."""
    out = np.zeros(1, FLOW)
    out["number"], out["rtt_min_us"] = number, NO_RTT
    for name, value in fields.items():
        member, _, rest = name.partition("_")
        where = {"rtp": out["transport"]["rtp"], "dns": out["transport"]["dns"], "tcp": out["rare"]["tcp"]}.get(member)
        if where is None:
            out[name] = value
        else:
            where[rest] = value
    return out


PLACES = 20_001


def places(states: np.ndarray) -> np.ndarray:
    """Return where flows are in the table of these tests: at their numbers, for as long as nobody says otherwise."""
    return states["number"].astype(np.intp)


class Table:
    """Snapshots one after the other, of flows that have all the same key."""

    def __init__(self, proto: int = TCP, port_b: int = 443) -> None:
        self.deltas, self.key = FlowDeltas(PLACES), key(port_b=port_b, proto=proto)
        self.names: dict[int, tuple[int, int, int]] = {}

    def read(self, *flows: np.ndarray, place: int | None = None) -> FlowBatch:
        """Return what happened since the last call; all flows are at one *place*, or each at its own."""
        states = np.concatenate([np.zeros(0, FLOW), *flows])
        keys = np.repeat(self.key, len(states))
        at = places(states) if place is None else np.full(len(states), place)
        self.batch, self.rows = self.deltas.update(at, keys, states, self._names, (10.0, 11.0))
        return self.batch

    def _names(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        told = np.array([self.names.get(n, (0, 0, 0)) for n in numbers.tolist()], "u4").reshape(-1, 3)
        return told[:, 0].astype("u2"), told[:, 1].astype("u1"), told[:, 2].astype("u1")


@pytest.fixture
def table() -> Table:
    return Table()


class TestDifferences:
    """Counts of an interval are those of now less those of before."""

    def test_of_a_flow_that_was_there(self, table: Table) -> None:
        table.read(flow(4, packets=(10, 20), bytes=(1_000, 20_000), payload_packets=(3, 18)))
        found = table.read(flow(4, packets=(13, 27), bytes=(1_300, 27_500), payload_packets=(4, 25)))

        assert (found.t_start_s, found.t_end_s, found.flow_id.tolist()) == (10.0, 11.0, [4])
        assert found.packets.tolist() == [[3, 7]]
        assert found.octets.tolist() == [[300, 7_500]]
        assert found.payload_packets.tolist() == [[1, 7]]

    def test_of_a_new_flow_all_it_did(self, table: Table) -> None:
        table.read(flow(4, packets=(10, 20)))
        found = table.read(flow(4, packets=(10, 20)), flow(5, packets=(2, 1), bytes=(90, 40)))

        assert (found.flow_id.tolist(), found.packets.tolist(), found.octets.tolist()) == ([5], [[2, 1]], [[90, 40]])

    def test_a_flow_without_a_packet_is_not_in_it(self, table: Table) -> None:
        table.read(flow(4, packets=(10, 20)))

        assert len(table.read(flow(4, packets=(10, 20)))) == 0

    def test_an_empty_table(self, table: Table) -> None:
        assert len(table.read()) == 0
        assert table.read(flow(4, packets=(1, 0))).packets.tolist() == [[1, 0]]

    def test_counts_of_32_bits_wrap(self, table: Table) -> None:
        table.read(flow(4, packets=(0xFFFF_FFFE, 0), gap_ticks=(0xFFFF_FFFF, 0)))
        found = table.read(flow(4, packets=(3, 0), gap_ticks=(9, 0)))

        assert found.packets.tolist() == [[5, 0]]
        assert found.gap_sum_us.tolist() == [[10 * 64, 0]]  # ticks of 64 us

    def test_a_number_begins_anew_in_the_place_of_another(self, table: Table) -> None:
        table.read(flow(4, packets=(100, 100)), place=7)

        assert table.read(flow(9, packets=(1, 1)), place=7).packets.tolist() == [[1, 1]]

    def test_flows_that_had_one_place_after_another(self, table: Table) -> None:
        """The first was there before, the second came and went within the interval."""
        table.read(flow(4, packets=(100, 100)), place=7)
        found = table.read(flow(9, packets=(1, 1)), flow(5, packets=(2, 3)), flow(4, packets=(101, 104)), place=7)

        assert (found.flow_id.tolist(), found.packets.tolist()) == ([4, 5, 9], [[1, 4], [2, 3], [1, 1]])
        assert table.read(flow(9, packets=(2, 5)), place=7).packets.tolist() == [[1, 4]]

    def test_the_first_snapshot_may_be_of_a_process_before(self, table: Table) -> None:
        table.deltas.begin(np.array([4]), flow(4, packets=(100, 100)))

        assert table.read(flow(4, packets=(101, 102))).packets.tolist() == [[1, 2]]


class TestOrder:
    """A batch is sorted by number, and says in which row of the snapshot each flow is."""

    def test_rows_of_a_table_in_any_order(self, table: Table) -> None:
        table.read(flow(7, packets=(1, 0)), flow(2, packets=(1, 0)), flow(5, packets=(1, 0)))
        found = table.read(flow(5, packets=(9, 0)), flow(7, packets=(3, 0)), flow(2, packets=(1, 0)))

        assert found.flow_id.tolist() == [5, 7]
        assert found.packets[:, 0].tolist() == [8, 2]
        assert table.rows.tolist() == [0, 1]

    def test_of_a_flow_that_is_there_twice_the_later_row_counts(self, table: Table) -> None:
        found = table.read(flow(4, packets=(5, 0)), flow(4, packets=(6, 0)))

        assert (found.packets.tolist(), table.rows.tolist()) == ([[6, 0]], [1])

    def test_many_flows(self, table: Table) -> None:
        size = 20_000  # more than two blocks
        states = np.repeat(flow(0), size)
        states["number"], states["packets"][:, 0] = np.arange(1, size + 1), np.arange(1, size + 1)
        table.read(states)
        states = states[::-1].copy()
        states["packets"][:, 0] += states["number"].astype("u4") % 3
        found = table.read(states)

        moved = [n for n in range(1, size + 1) if n % 3]
        assert found.flow_id.tolist() == moved
        assert found.packets[:, 0].tolist() == [n % 3 for n in moved]


class TestDirections:
    """Uplink is what comes from the UE; where no tunnel says which end that is, the first to speak is taken for it."""

    @pytest.mark.parametrize(
        ("ue_end", "flags", "reverse"),
        [(A, 0, False), (A, FIRST_B, False), (B, 0, True), (B, FIRST_B, True), (UNKNOWN, 0, False),
         (UNKNOWN, FIRST_B, True)],
    )  # fmt: skip
    def test_which_end_is_the_ue(self, table: Table, ue_end: int, flags: int, reverse: bool) -> None:
        state = flow(4, ue_end=ue_end, flags=flags, packets=(3, 7), bytes=(30, 70), qfi=(1, 2), rtt_n=(1, 2))
        found = table.read(state)

        assert from_b(state).tolist() == [reverse]
        up, down = (1, 0) if reverse else (0, 1)
        for column, ends in ((found.packets, (3, 7)), (found.octets, (30, 70)), (found.qfi, (1, 2))):
            assert (column[0, UPLINK], column[0, DOWNLINK]) == (ends[up], ends[down])
        assert (found.rtt_n[0, CORE], found.rtt_n[0, ACCESS]) == ((1, 2)[up], (1, 2)[down])


class TestGaps:
    """Gaps lie between packets of one direction, so the first packet of all has none."""

    def test_a_new_flow_has_one_gap_less_than_packets(self, table: Table) -> None:
        assert table.read(flow(4, packets=(3, 0))).gap_n.tolist() == [[2, 0]]

    def test_a_known_one_has_as_many(self, table: Table) -> None:
        table.read(flow(4, packets=(3, 1)))

        assert table.read(flow(4, packets=(5, 1))).gap_n.tolist() == [[2, 0]]

    def test_units(self, table: Table) -> None:
        found = table.read(flow(4, packets=(3, 1), gap_ticks=(100, 0), gap_ticks2=(5_000, 0), gap_max=(60, 0)))

        assert found.gap_sum_us.tolist() == [[6_400, 0]]  # ticks of 64 us,
        assert found.gap_sq_us2.tolist() == [[20_480_000, 0]]  # their squares of 4,096 us2,
        assert found.gap_max_us.tolist() == [[61_440, 0]]  # and the longest in 1,024 us


class TestRoundTrips:
    """Sums and samples are differences; the least is the interval's already."""

    def test_of_an_interval(self, table: Table) -> None:
        table.read(flow(4, packets=(1, 1), rtt_sum_us=(500, 100), rtt_n=(5, 1), rtt_min_us=(90, 100)))
        found = table.read(flow(4, packets=(2, 2), rtt_sum_us=(800, 100), rtt_n=(7, 1), rtt_min_us=(120, NO_RTT)))

        assert found.rtt_n.tolist() == [[2, 0]]
        assert found.rtt_sum_us.tolist() == [[300, 0]]
        assert found.rtt_min_us.tolist() == [[120, 0]]

    def test_the_largest_is_the_middle_of_what_its_code_covers(self) -> None:
        """Code 8 (e + 1) + m stands for the times from (8 + m) 2^e us to the next one."""
        codes = (8 * (10 + 1) + 4, 8 * (20 + 1) + 1)
        found = Table(TCP).read(flow(4, packets=(1, 1), tcp_rtt_high=codes))

        assert found.rtt_high_us.tolist() == [[12.5 * 2**10, 9.5 * 2**20]]

    @pytest.mark.parametrize(("proto", "flags", "expected"), [(TCP, 0, 12), (UDP, FLOW_QUIC, 12), (UDP, 0, 0)])
    def test_tcp_and_quic_have_a_largest(self, proto: int, flags: int, expected: int) -> None:
        found = Table(proto, 5004).read(flow(4, packets=(1, 1), flags=flags, tcp_rtt_high=(12, 0)))

        assert found.rtt_high_us.tolist() == [[expected, 0]]


class TestProtocols:
    """Fields of a transport count for flows of that transport alone: others keep something else in their place."""

    def test_tcp(self) -> None:
        found = Table(TCP).read(flow(4, **ALL))

        assert (found.retrans.tolist(), found.spurious.tolist()) == ([[2, 3]], [[1, 0]])
        assert found.filled.tolist() == [[1, 2]]
        assert not found.rtp_expected.any()
        assert not found.dns_queries.any()

    def test_rtp_where_its_source_was_confirmed(self) -> None:
        found = Table(UDP, 5004).read(flow(4, **ALL))

        assert (found.rtp_expected.tolist(), found.rtp_received.tolist()) == ([[50, 0]], [[49, 0]])
        assert not found.retrans.any()
        assert not found.dns_queries.any()

    def test_quic_is_no_rtp(self) -> None:
        assert not Table(UDP).read(flow(4, flags=FLOW_QUIC, **ALL)).rtp_expected.any()

    def test_dns_is_no_rtp(self) -> None:
        table = Table(UDP, 53)
        table.read(flow(4, **ALL))
        more = {**ALL, "packets": (3, 3), "dns_queries": 9, "dns_answers": 7, "dns_sum_us": 96_000}
        found = table.read(flow(4, **more))

        assert (found.dns_queries.tolist(), found.dns_answers.tolist(), found.dns_sum_us.tolist()) == (
            [3],
            [2],
            [6_000],
        )
        assert (found.dns_failed.tolist(), found.dns_again.tolist(), found.dns_timed.tolist()) == ([0], [0], [0])
        assert not found.rtp_expected.any()

    def test_dns_over_tcp_is_tcp(self) -> None:
        found = Table(TCP, 53).read(flow(4, **ALL))

        assert not found.dns_queries.any()
        assert found.retrans.tolist() == [[2, 3]]

    def test_others_have_none(self) -> None:
        found = Table(SCTP).read(flow(4, **ALL))

        assert not any(column.any() for column in (found.retrans, found.rtp_expected, found.dns_queries))


class TestNames:
    """The book says what a flow is called; where it says nothing, not even a ground, the kernel's word stands."""

    @pytest.mark.parametrize(
        ("told", "expected"),
        [((5, 1, 99), (5, 1, 99)), ((0, 0, 0), (7, 0, 0)), ((0, 8, 0), (0, 8, 0))],
        ids=["named", "not in the book", "contradicted"],
    )
    def test_who_says_it(self, table: Table, told: tuple[int, int, int], expected: tuple[int, int, int]) -> None:
        table.names[4] = told
        found = table.read(flow(4, packets=(1, 0), app=7, session=3))

        assert (int(found.app[0]), int(found.basis[0]), int(found.confidence[0])) == expected
        assert found.session.tolist() == [3]
