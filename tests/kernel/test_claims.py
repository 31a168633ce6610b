"""Claims in columns leave a table, and answer, as the same claims one by one."""

from __future__ import annotations

import random

import numpy as np
import pytest

from gtp.table import NumberTable
from nf.kernel.claims import claim_all, entries

MAKES = {
    "counting": lambda chance: chance.randrange(5000),
    "crowded": lambda chance: chance.randrange(3000) * 0x9E37_79B9_0000_0000 % (1 << 64),
    "any": lambda chance: chance.getrandbits(64),
}


class TestClaims:
    """The first claim of a key has it, whether it was there before or came with the others."""

    @pytest.mark.parametrize("before", [0, 2000])
    @pytest.mark.parametrize("claims", [10, 4000])
    @pytest.mark.parametrize("keys", MAKES)
    def test_as_one_by_one(self, keys: str, claims: int, before: int) -> None:
        chance = random.Random(23)
        table, want = NumberTable(), {}
        for number in range(1, before + 1):
            key = MAKES[keys](chance)
            table.put(key, number)
            want[key] = number
        asked = [MAKES[keys](chance) for _ in range(claims)]
        numbers = list(range(10_000, 10_000 + claims))

        known = claim_all(table, np.array(asked, np.uint64), np.array(numbers, np.uint32))

        expected = []
        for key, number in zip(asked, numbers, strict=True):
            expected.append(want.get(key, 0))
            want.setdefault(key, number)
        assert known.tolist() == expected
        assert dict(table.items()) == want
        assert len(table) == len(want)
        assert [table.get(key) for key in want] == list(want.values())
        assert dict(zip(*(column.tolist() for column in entries(table)), strict=True)) == want

    def test_the_table_goes_on_as_any_other(self) -> None:
        chance, table = random.Random(5), NumberTable()
        want = {MAKES["crowded"](chance): n for n in range(1, 3000)}
        claim_all(table, np.array([*want], np.uint64), np.array([*want.values()], np.uint32))
        for key in chance.sample([*want], 1500):
            assert table.pop(key) == want.pop(key)
        for n in range(3000):
            table.put(n, n + 1)
            want[n] = n + 1
        assert dict(table.items()) == want
        assert all(table.get(key) == number for key, number in want.items())
