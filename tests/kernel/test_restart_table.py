"""Kernel tables after a start: sessions that come back in columns are found as those that come back one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from nf.abi import ENTRY_GROUP, ENTRY_KIND, ENTRY_SCOPE, ENTRY_TUNNEL, ROUTE_OF_TUNNEL
from nf.kernel.dataplane import DataPlane
from nf.sessions import BindingStore
from nf.sessions.restart.restore import put_back
from nf.settings import Limits, Role
from tests.kernel.test_session_table import found, from_ue
from tests.sessions.test_restart_in_columns import SESSIONS, network, taken


@pytest.fixture(scope="module")
def pair() -> Iterator[list[DataPlane]]:
    planes = [DataPlane(Limits(flows=16_384, sessions=2 * SESSIONS), replay=True) for _ in range(2)]
    yield planes
    for plane in planes:
        plane.close()


def names(store: BindingStore) -> dict[int, str]:
    """Return a name of each session that is the same in every process."""
    bindings = ((number, store.by_index(number)) for number in store.numbers())
    return {number: min(binding.parts) for number, binding in bindings if binding is not None}


def table(plane: DataPlane, of: dict[int, str]) -> list[tuple[Any, ...]]:
    """Return the entries of the session table, with addresses, instances and sessions by name."""
    entries = plane.sessions._entries
    instances = {number: name for name, number in plane._instances.items()}
    rows = []
    for entry in entries[entries["session"] > 0]:
        head, scope = int(entry["head"]), int(entry["head"]) & ENTRY_SCOPE
        tunnel = head & ENTRY_KIND == ENTRY_TUNNEL
        where = plane.sessions._endpoints._names[scope] if tunnel else instances[scope]
        key, more = int(entry["key"]), int(entry["more"])
        key = 0 if head & ENTRY_KIND == ENTRY_GROUP else key  # the session once more
        rows.append((key, head & ~ENTRY_SCOPE, where, more, of[int(entry["session"])]))
    return sorted(rows)


def prefixes(plane: DataPlane, of: dict[int, str]) -> list[tuple[Any, ...]]:
    """Return the entries of the table of prefixes."""
    instances = {number: name for name, number in plane._instances.items()}
    there = plane.routes._there.items()
    return sorted(
        (kind, of[scope] if kind == ROUTE_OF_TUNNEL else instances[scope], prefix, of[session])
        for (kind, scope, prefix), session in there
    )


class TestStart:
    """Two functions start with one file, of which one reads each session by itself."""

    def test_the_tables_are_equal(self, pair: list[DataPlane], monkeypatch: pytest.MonkeyPatch) -> None:
        before, tables = network(), []
        for plane, columns in zip(pair, (True, False), strict=True):
            store, back = taken(before, columns, monkeypatch)
            put_back(plane, back)
            of = names(store)
            plane.put_groups({number: len(name) % 3 for number, name in of.items()})
            tables.append((table(plane, of), prefixes(plane, of), plane.refused_entries))
            few = [b for b in map(store.by_index, store.numbers()) if b.session.instance == "" and b.session.ue_ipv4]
            alone = [b for b in few if not b.session.ue_ipv4.startswith("10.99.")][:50]
            frames = [from_ue(b.session.ue_ipv4) for b in alone]
            assert found(plane, frames, Role.N6) == [b.index for b in alone]
        assert tables[0] == tables[1]
        assert tables[0][2] == 0
        assert len(tables[0][0]) > 3 * SESSIONS
        assert sum(head & ENTRY_KIND == ENTRY_GROUP for _, head, *_ in tables[0][0]) > SESSIONS / 3
        assert len(tables[0][1]) > SESSIONS / 20
