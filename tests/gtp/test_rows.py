"""Records in rows: each is where it was put, whatever came and went beside it."""

from __future__ import annotations

import random

import pytest

from gtp.packing import Packer
from gtp.rows import Rows


def record(packer: Packer, chance: random.Random) -> tuple[bytes, tuple[object, list[object]]]:
    """Return a record of one of some shapes, or of none, and what it is made of."""
    constant = ("pfcp", chance.randrange(4))
    kinds = chance.randrange(6)
    values: list[object] = [
        chance.randrange(1 << 32),
        ["", "10.0.0.1", "001010000000001", 1.5, None, "any text"][kinds],
    ]
    return packer.pack(constant, values), (constant, values)


def filled(rounds: int) -> tuple[Packer, Rows, dict[int, bytes]]:
    chance, packer = random.Random(4), Packer(wide=1)
    rows, want = Rows(packer), {}
    for _ in range(rounds):
        made, _ = record(packer, chance)
        dice = chance.random()
        if dice < 0.5 or not want:
            place = rows.put(made)
            assert place
            assert place not in want
            want[place] = made
        elif dice < 0.75:
            old = chance.choice([*want])
            want.pop(old)
            place = rows.put(made, old)
            want[place] = made
            if place != old:
                rows.free(old)
        else:
            rows.free(gone := chance.choice([*want]))
            del want[gone]
        if dice > 0.995:
            for place in want:
                rows.free(place)
            want.clear()
    return packer, rows, want


class TestRows:
    """A dict of records, in the room of their fields."""

    def test_each_is_found_by_its_place(self) -> None:
        _, rows, want = filled(8000)
        assert {place: rows.get(place) for place in want} == want
        assert len(rows) == len(want)
        assert sorted(place for _, places in rows.places() for place in places) == sorted(want)

    def test_one_of_the_same_shape_stays_where_it_is(self) -> None:
        packer = Packer()
        rows = Rows(packer)
        place = rows.put(packer.pack(("a",), [1000, "10.0.0.1"]))
        assert rows.put(packer.pack(("a",), [2000, "10.0.0.2"]), place) == place
        assert rows.put(packer.pack(("b",), [2000, "10.0.0.2"]), place) != place
        rows.free(place)
        assert len(rows) == 1

    def test_what_is_left_is_used_again(self) -> None:
        """Memory follows what is there, not what ever was."""
        packer = Packer()
        rows, made = Rows(packer), packer.pack(("a",), [1000])
        for _ in range(50):
            places = [rows.put(made) for _ in range(500)]
            for place in places:
                rows.free(place)
        assert len(rows._blocks) < 20

    def test_columns_are_all_records(self) -> None:
        _, rows, want = filled(8000)
        tables, odd = rows.columns()
        found = [
            shape.prefix + data[at : at + shape.size]
            for shape, data in tables
            for at in range(0, len(data), shape.size)
        ]
        assert sorted([*found, *odd]) == sorted(want.values())

    @pytest.mark.parametrize("count", [1, 63, 64, 65, 1000])
    def test_many_at_once(self, count: int) -> None:
        packer, rows, want = filled(3000)
        made = [packer.pack(("many",), [n, "10.0.0.1"]) for n in range(count)]
        shape = packer.shape_of(made[0])
        assert shape is not None
        first = rows.extend(shape, b"".join(one[4:] for one in made))
        want |= {first + n: one for n, one in enumerate(made)}
        more = packer.pack(("many",), [1, "10.0.0.9"])
        want |= {rows.put(more): more for _ in range(100)}
        assert {place: rows.get(place) for place in want} == want
        assert len(rows) == len(want)

    def test_another_process_has_them_in_the_same_places(self) -> None:
        packer, rows, want = filled(8000)
        other = Packer(wide=1)
        other.load(packer.dump())
        again = Rows(other)
        again.load(rows.dump())
        assert {place: again.get(place) for place in want} == want
        chance = random.Random(9)
        for _ in range(3000):
            made, _ = record(other, chance)
            place = again.put(made)
            assert place not in want
            want[place] = made
        assert {place: again.get(place) for place in want} == want
        assert len(again) == len(want)
