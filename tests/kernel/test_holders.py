"""Network instances that have a UE address: as a dict of sets would say it, in a tenth of the memory."""

from __future__ import annotations

import random

import pytest

from nf.kernel.holders import Holders


@pytest.mark.parametrize("address", ["10.45.0.2", "2001:db8::1"])
class TestOne:
    """An address of one instance has no others; of several each is told."""

    def test_it_comes_and_goes(self, address):
        held = Holders()
        assert held.add(address, 1) == set()
        assert held.add(address, 1) == set()
        assert held.add(address, 2) == {1, 2}
        assert held.leave(address, 1) == {2}
        assert held.add(address, 2) == set()
        assert held.leave(address, 2) == set()
        assert held.add(address, 3) == set()

    def test_who_was_never_there_leaves_nothing(self, address):
        held = Holders()
        held.add(address, 1)
        assert held.leave(address, 9) <= {1}
        assert held.add(address, 2) == {1, 2}


class TestMany:
    """Any order of comings and goings."""

    def test_as_a_dict_of_sets(self):
        chance, held, want = random.Random(5), Holders(), {}
        for _ in range(20_000):
            address, instance = chance.choice(["10.0.0.1", "10.0.0.2", "2001:db8::1"]), chance.randrange(4)
            mine = want.setdefault(address, set())
            if chance.random() < 0.5:
                mine.add(instance)
                assert held.add(address, instance) == (mine if len(mine) > 1 else set())
            elif instance in mine:
                mine.discard(instance)
                assert held.leave(address, instance) == mine
