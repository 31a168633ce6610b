"""Tables of domain suffixes: an entry is found, whatever the size, and any other name is not."""

from __future__ import annotations

import numpy as np
import pytest

from nf.abi import NAMING_ASK
from nf.errors import BadSignatures
from nf.kernel import suffixes
from tests.kernel.hellos_and_answers import named_hello, over_tcp
from tests.kernel.rig import Rig

MANY = {f"d{n}.{n % 977}.example": 1 + n % 4000 for n in range(100_000)}


class TestManySuffixes:
    """A hundred thousand domains are found as one is."""

    def test_the_longest_of_them_wins(self, rig: Rig) -> None:
        rig.plane.set_suffixes(MANY | {"example": 4001})
        told = {}
        for host in [f"www.{name}" for name in list(MANY)[:: len(MANY) // 50]] + ["www.another.example", "example.net"]:
            rig.forget()
            rig.run(over_tcp(named_hello(host.encode())), "n6")
            (record,) = rig.plane.read_names()
            told[host] = int(record["app"])
        rig.plane.set_suffixes({})

        due = {host: MANY.get(host.removeprefix("www."), 4001) for host in told} | {"example.net": 0}
        assert told == due

    def test_more_than_there_is_room_for_are_refused_and_change_nothing(self, rig: Rig) -> None:
        rig.plane.set_suffixes({"example.org": 7})
        with pytest.raises(BadSignatures, match="domains are more than"):
            rig.plane.set_suffixes({f"d{n}.example": 1 for n in range(suffixes.SUFFIX_SLOTS + 1)})
        rig.run(over_tcp(named_hello(b"example.org")), "n6")
        (record,) = rig.plane.read_names()
        rig.plane.set_suffixes({})

        assert int(record["app"]) == 7


class TestHash:
    """The hash is FNV-1a of 64 bits over the bytes from the last to the first."""

    def test_the_test_vectors_of_the_draft(self) -> None:
        # draft-eastlake-fnv-21, appendix C; the names are written backwards
        vectors = {"a": 0xAF63DC4C8601EC8C, "raboof": 0x85944171F73967E8}

        assert suffixes.suffix_hashes(list(vectors)).tolist() == list(vectors.values())

    def test_two_suffixes_with_one_hash_are_left_to_user_space(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(suffixes, "suffix_hashes", lambda names: np.array([5, 9, 5], np.uint64))
        hashes, apps = suffixes.suffix_table({"a.example": 1, "b.example": 2, "c.example": 3})

        assert dict(zip(hashes.tolist(), apps.tolist(), strict=True)) == {5: NAMING_ASK, 9: 2}
