"""Packets that pass in several tunnels: the time of the search for them, and the copies that count."""

from __future__ import annotations

import numpy as np
import pytest

from nf.flows.batch import DOWNLINK, UPLINK
from nf.flows.copies import in_several_tunnels, without_copies
from tests.flows.records import A, B, batch, flows


class TestReturns:
    """Handovers go back and forth now and then; flows that pass in two tunnels do so with each packet."""

    @pytest.mark.parametrize("returned", [0, 1, 2, 10])
    def test_a_few_are_handovers(self, returned: int) -> None:
        assert not in_several_tunnels(returned)

    def test_more_than_ten_are_not(self) -> None:
        assert in_several_tunnels(11)


class TestLeftOut:
    """A direction of a flow whose packets were mostly copies counts nowhere."""

    def left(self, copies: list[list[int]], ue_end: int = A, numbers: tuple[int, ...] = (1,)) -> list[list[int]]:
        """Return the packets, uplink and downlink, of the flows 1 and 2, which had 10 and 100 a direction."""
        packets = np.array([[10, 10], [100, 100]], np.uint64)
        interval = batch(2, packets=packets, octets=packets * 50)
        found = without_copies(interval, flows(2, packets=packets, ue_end=ue_end), np.array(numbers, np.uint64),
                               np.array(copies, np.uint32).reshape(-1, 2))  # fmt: skip
        assert (found.octets == found.packets * 50).all()
        return found.packets.tolist()

    @pytest.mark.parametrize(("copies", "kept"), [(0, 10), (4, 10), (5, 0), (10, 0)])
    def test_half_of_them_is_too_many(self, copies: int, kept: int) -> None:
        assert self.left([[copies, 0]]) == [[kept, 10], [100, 100]]

    def test_directions_are_those_of_the_ue(self) -> None:
        assert self.left([[9, 0]], ue_end=A)[0][UPLINK] == 0
        assert self.left([[9, 0]], ue_end=B)[0][DOWNLINK] == 0

    def test_in_whatever_order_they_are_read(self) -> None:
        assert self.left([[90, 0], [0, 9]], numbers=(2, 1)) == [[10, 0], [0, 100]]

    def test_no_copies_leave_all(self) -> None:
        assert self.left([], numbers=()) == [[10, 10], [100, 100]]
