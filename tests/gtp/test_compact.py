"""Tables and records of a million sessions: what is put in comes out, whatever it is."""

from __future__ import annotations

import ipaddress
import random
import tracemalloc

import pytest

from gtp.packing import Packer, ipv4_number
from gtp.table import NumberTable


class TestNumberTable:
    """A dict of 64-bit keys and 32-bit numbers."""

    @pytest.mark.parametrize("keys", ["counting", "crowded", "any"])
    def test_it_does_what_a_dict_does(self, keys):
        chance, table, want = random.Random(29244), NumberTable(), {}
        make = {
            "counting": lambda: chance.randrange(5000),
            "crowded": lambda: chance.randrange(300) * 0x9E37_79B9_0000_0000 % (1 << 64),
            "any": lambda: chance.getrandbits(64),
        }[keys]
        for _ in range(30_000):
            key = chance.choice(list(want)) if keys == "any" and want and chance.random() < 0.01 else make()
            if chance.random() < 0.1:
                number = chance.randrange(1, 1 << 32)
                assert table.claim(key, number) == want.get(key, 0)
                want.setdefault(key, number)
            elif chance.random() < 0.5:
                table.put(key, number := chance.randrange(1, 1 << 32))
                want[key] = number
            else:
                assert table.pop(key) == want.pop(key, 0)
            assert table.get(key) == want.get(key, 0)
        assert dict(table.items()) == want
        assert len(table) == len(want)

    def test_an_entry_takes_less_than_forty_bytes(self):
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            table = NumberTable()
            for n in range(1, 100_001):
                table.put(0xC000_0201 << 32 | n, n)
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (after - before) / 100_000 < 40


class TestPacker:
    """A record gives back exactly the values that it was made of."""

    VALUES = (
        *("", None, 0, 1, 0xFFFF_FFFF, 1 << 32, (1 << 64) - 1, 0.0, 1_700_000_000.123456, -1.5),
        *("192.0.2.1", "0.0.0.0", "255.255.255.255", "192.0.2.01", "192.0.2", "256.0.0.1", "1.2.3.4.5", "1..2.3"),
        *("001010000000001", "0", "00", "123456789012345678", "1234567890123456789", "٣", "²", "-1", "1.5"),
        *("pfcp-1", "pfcp-0", "pfcp-01", "pfcp-", "-1", "a-b-3", "a-123456789012345678", "gtp-c-12345678901234567890"),
        *("2001:db8::1", "2001:db8:1::/64", "internet", "ünïcode \N{SNOWMAN}", "x" * 1000),
    )

    @pytest.mark.parametrize("value", VALUES, ids=repr)
    def test_each_value_alone(self, value):
        packer = Packer()
        assert packer.unpack(packer.pack(("a",), [value])) == (("a",), [value])

    def test_any_mixture(self):
        chance, packer, records = random.Random(1), Packer(), []
        for n in range(2000):
            values = chance.choices(self.VALUES, k=chance.randrange(30))
            constant = ((n % 7, "word", b"\x01"), None)
            records.append((packer.pack(constant, values), constant, values))
        for record, constant, values in records:
            assert packer.unpack(record) == (constant, values)

    def test_what_never_repeats_costs_no_table(self):
        packer = Packer()
        records = [(packer.pack((n, "word"), [n, "192.0.2.1", "text"]), n) for n in range(20_000)]
        assert len(packer) < 20_000
        assert all(packer.unpack(r) == ((n, "word"), [n, "192.0.2.1", "text"]) for r, n in records)

    def test_long_ones_of_ever_new_lengths_cost_no_table(self):
        """A phone that is handed over all day has hundreds of tunnels behind it."""
        packer = Packer()
        records = [(packer.pack(("a",), [n] * n), n) for n in range(1000)]
        assert len(packer) < 400
        assert all(packer.unpack(r) == (("a",), [n] * n) for r, n in records)

    def test_its_shapes_let_another_read_its_records(self):
        one, two = Packer(), Packer()
        records = [one.pack((n % 3,), ["192.0.2.7", n]) for n in range(10)]
        two.load(one.dump())
        assert [two.unpack(r) for r in records] == [((n % 3,), ["192.0.2.7", n]) for n in range(10)]


class TestAddresses:
    """The canonical text of an IPv4 address and nothing else is one."""

    def test_each_has_its_number(self):
        for number in (0, 1, 255, 256, 0x0A00_0001, 0xFFFF_FFFF):
            assert ipv4_number(str(ipaddress.IPv4Address(number))) == number

    @pytest.mark.parametrize(
        "text", ["", "1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", "+1.2.3.4", "a.b.c.d", "::1"]
    )
    def test_other_text(self, text):
        assert ipv4_number(text) is None
