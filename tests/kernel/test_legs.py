"""The same user data in several tunnels, N3 and N9 or the two sides of an SGW, is counted once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from tests.kernel.packets import GNB, SERVER, UE, UL_TEID, UPF, ether, gtpu, outer
from tests.kernel.rig import Rig

MS = 1_000_000
ANCHOR, N9_TEID = "10.10.0.77", 0x900


def packet(number: int) -> Any:
    return IP(src=UE, dst=SERVER, id=number) / UDP(sport=40000, dport=40001) / Raw(bytes(100))


def n3(number: int) -> bytes:
    return ether(outer(GNB, UPF) / gtpu(UL_TEID) / packet(number))


def n9(number: int) -> bytes:
    return ether(outer(UPF, ANCHOR) / gtpu(N9_TEID) / packet(number))


@pytest.fixture
def legs(rig: Rig) -> Iterator[Rig]:
    """Return the data plane where user data is looked for in other tunnels."""
    rig.plane.legs = True
    yield rig
    rig.plane.legs = False
    rig.plane._control["split_legs"] = 0


class TestOneFlow:
    """Live there is one flow for a 5-tuple, and it stays in the tunnel where its packets pass first."""

    def test_each_packet_is_counted_once(self, legs: Rig) -> None:
        for n in range(5):
            legs.run(n3(n), "n3", 20 * MS)
            legs.run(n9(n), "n3", MS)

        flow = legs.flow()
        assert (flow["packets"].tolist(), flow["teid"].tolist()) == ([5, 0], [UL_TEID, 0])

    def test_a_burst_may_pass_in_one_before_it_passes_in_the_other(self, legs: Rig) -> None:
        for n in range(5):
            legs.run(n3(n), "n3")
        outcomes = [legs.run(n9(n), "n3") for n in range(5)]

        assert legs.flow()["packets"].tolist() == [5, 0]
        assert all(outcome.counters["copy"] == 1 for outcome in outcomes)

    def test_a_handover_moves_the_flow_as_ever(self, legs: Rig) -> None:
        legs.run(n3(1), "n3")
        legs.run(n9(2), "n3", 10 * MS)

        flow = legs.flow()
        assert (flow["packets"].tolist(), flow["teid"].tolist()) == ([2, 0], [N9_TEID, 0])

    def test_what_is_sent_again_in_one_tunnel_is_no_copy(self, legs: Rig) -> None:
        legs.run(n3(1), "n3")
        legs.run(n3(1), "n3", 10 * MS)

        assert legs.flow()["packets"].tolist() == [2, 0]

    def test_the_same_bytes_much_later_are_none(self, legs: Rig) -> None:
        legs.run(n3(1), "n3")
        legs.run(n9(1), "n3", 1_500 * MS)

        assert legs.flow()["packets"].tolist() == [2, 0]

    def test_where_nobody_looks_both_are_counted(self, rig: Rig) -> None:
        rig.run(n3(1), "n3")
        rig.run(n9(1), "n3")

        assert rig.flow()["packets"].tolist() == [2, 0]


class TestFlowForEachLeg:
    """A replay has a flow for each leg; the one that comes second is known to be copies."""

    def test_both_are_counted_and_the_second_is_told(self, legs: Rig) -> None:
        legs.plane._control["split_legs"] = 1
        for n in range(5):
            legs.run(n3(n), "n3", 20 * MS)
            legs.run(n9(n), "n3", MS)

        _, flows = legs.plane.read_flows()
        first, second = sorted(flows["number"].tolist())
        numbers, copies = legs.plane.read_copies()
        assert sorted(flows["packets"].sum(axis=1).tolist()) == [5, 5]
        assert {number: sum(both) for number, both in zip(numbers.tolist(), copies.tolist(), strict=True)} == {
            second: 5
        }
        assert first != second
