"""Entries in columns: the session table is as if each had been written by itself, also where it gets full."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pytest

from gtp.events import Side
from nf.kernel.changes import PutTunnel, PutUe
from nf.kernel.columns import TunnelColumns, UeColumns
from nf.kernel.dataplane import DataPlane
from nf.settings import Limits, Role
from tests.kernel.packets import GNB, UPF
from tests.kernel.test_session_table import found, from_ue, in_tunnel

SESSIONS = 2000  # with two tunnels and an address each, more entries than find room at a time
SIDES = Side.UPLINK, Side.DOWNLINK


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[DataPlane, DataPlane]]:
    """Two data planes, for the same entries in one way and the other."""
    planes = tuple(DataPlane(Limits(flows=16_384, sessions=SESSIONS), replay=True) for _ in range(2))
    yield planes[0], planes[1]
    for plane in planes:
        plane.close()


@pytest.fixture
def planes(pair: tuple[DataPlane, DataPlane]) -> tuple[DataPlane, DataPlane]:
    """Return them with empty tables."""
    for plane in pair:
        plane.sessions.clear()
        plane.sessions.refused = 0
    return pair


def entries(plane: DataPlane) -> list[tuple[int, ...]]:
    there = plane.sessions._entries[plane.sessions._entries["session"] > 0]
    return sorted(tuple(int(entry[name]) for name in ("key", "head", "session", "more")) for entry in there)


def ue_columns(rows: list[PutUe]) -> UeColumns:
    names = list(dict.fromkeys(row.instance for row in rows))
    octets = [[int(octet) for octet in row.address.split(".")] for row in rows]
    numbers = np.array(octets, np.uint32) @ np.array([1 << 24, 1 << 16, 1 << 8, 1], np.uint32)
    places = np.array([names.index(row.instance) for row in rows], np.intp)
    return UeColumns(names, places, numbers, np.array([row.session for row in rows], np.uint32))


def tunnels(count: int) -> list[PutTunnel]:
    """Return tunnels of UEs that are known in every way there is."""
    known = [("", ""), ("10.9.8.7", ""), ("", "2001:db8::7"), ("10.9.8.7", "2001:db8:1:2::/64"), ("", "2001:db8::/56")]
    return [
        PutTunnel((UPF, GNB)[n & 1], n, SIDES[n & 1], 1 + n // 2, *known[n % len(known)], n % 7 == 0)
        for n in range(count)
    ]


class TestRows:
    """Columns give back the rows that they are of."""

    def test_tunnels(self) -> None:
        rows = tunnels(20)
        assert list(TunnelColumns.of(rows)) == rows

    def test_the_last_word_about_a_tunnel_counts(self) -> None:
        rows = [PutTunnel(UPF, 1, Side.UPLINK, 1), PutTunnel(UPF, 1, Side.UPLINK, 2)]
        assert list(TunnelColumns.of(rows)) == rows[1:]

    def test_addresses(self) -> None:
        rows = [PutUe("a", "10.0.0.1", 1), PutUe("b", "10.0.0.1", 2), PutUe("a", "255.255.255.255", 3)]
        assert list(ue_columns(rows)) == rows


class TestAsOneByOne:
    """The kernel finds the same by each key, and the table holds the same."""

    def test_tunnels_and_addresses(self, planes: tuple[DataPlane, DataPlane]) -> None:
        one, many = planes
        rows = tunnels(2 * SESSIONS)
        ues = [PutUe("internet", f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 1 + n) for n in range(SESSIONS)]
        for row in rows:
            one.put_tunnels([row])
        for at in range(0, SESSIONS, 100):
            one.put_ues(ues[at : at + 100])
        many.put_columns(TunnelColumns.of(rows), ue_columns(ues))

        assert entries(many) == entries(one)
        assert len(many.sessions) == 3 * SESSIONS
        assert many.refused_entries == 0
        some = [row for row in random.Random(1).sample(rows, 500) if not (row.ue_ipv4 or row.ue_ipv6)]
        assert found(many, [in_tunnel(r.address, r.teid) for r in some], Role.N3) == [r.session for r in some]
        few = random.Random(2).sample(ues, 200)
        assert found(many, [from_ue(row.address) for row in few], Role.N6) == [row.session for row in few]

    def test_over_entries_that_are_there(self, planes: tuple[DataPlane, DataPlane]) -> None:
        before, after = tunnels(1500), [row._replace(session=9000 + row.session) for row in tunnels(2 * SESSIONS)]
        for plane in planes:
            plane.put_tunnels(before)
        planes[0].put_tunnels(after)
        planes[1].put_columns(TunnelColumns.of(after), UeColumns.none())

        assert entries(planes[1]) == entries(planes[0])
        assert len(planes[1].sessions) == 2 * SESSIONS

    @pytest.mark.parametrize("at_once", [10, 1500], ids=["few", "many"])
    def test_addresses_that_several_instances_have(self, planes: tuple[DataPlane, DataPlane], at_once: int) -> None:
        """One is of two from the beginning, one of one that was told before; the sessions of a third are the same."""
        one, many = planes
        before = [PutUe("ims", "10.0.0.1", 7), PutUe("ims", "10.0.0.2", 3)]
        rows = [PutUe("internet", f"10.0.{n >> 8}.{n & 255}", n) for n in range(1, at_once)]
        rows += [PutUe("ims", "10.0.0.3", 8), PutUe("", "10.0.0.4", 4)]
        for plane in planes:
            plane.put_ues(before)
        for row in rows:
            one.put_ues([row])
        many.put_columns(TunnelColumns.of(()), ue_columns(rows))

        assert entries(many) == entries(one)
        for plane in planes:
            plane.drop_ues([("ims", "10.0.0.1"), ("internet", "10.0.0.3")])
        assert entries(many) == entries(one)

    def test_flows_ask_again_for_whom_it_concerns(self, planes: tuple[DataPlane, DataPlane]) -> None:
        """A change that any flow may be about raises the number that all flows compare."""
        many = planes[1]
        before = many._control["generation"].copy()
        many.put_columns(TunnelColumns.of([PutTunnel(UPF, 1, Side.UPLINK, 1)]), UeColumns.none())
        assert (many._control["generation"] > before).all()


class TestFull:
    """Entries that find no room are counted, in columns as well, and those that are there stay."""

    def test_a_table_that_is_nearly_full_takes_all(self, planes: tuple[DataPlane, DataPlane]) -> None:
        """A session has four entries: two tunnels and an address of each family."""
        many = planes[1]
        ues = [PutUe("internet", f"10.1.{n >> 8}.{n & 255}", 1 + n) for n in range(SESSIONS)]
        more = [PutUe("other", f"10.2.{n >> 8}.{n & 255}", 1 + n) for n in range(SESSIONS)]
        many.put_columns(TunnelColumns.of(tunnels(2 * SESSIONS)), ue_columns(ues + more))

        assert many.refused_entries == 0
        assert len(many.sessions) == 4 * SESSIONS

    def test_refused_ones_are_counted(self, planes: tuple[DataPlane, DataPlane]) -> None:
        many = planes[1]
        mine = [PutTunnel(UPF, n, Side.UPLINK, 1 + n) for n in range(SESSIONS)]
        many.put_columns(TunnelColumns.of(mine), UeColumns.none())
        others = [PutTunnel(GNB, n, Side.DOWNLINK, 5000) for n in range(5 * SESSIONS)]
        many.put_columns(TunnelColumns.of(others), UeColumns.none())

        assert many.refused_entries == 6 * SESSIONS - len(many.sessions) > 0
        frames = [in_tunnel(row.address, row.teid) for row in mine[::10]]
        assert found(many, frames, Role.N3) == [row.session for row in mine[::10]]
        many.drop_tunnels([(row.address, row.teid) for row in (*mine, *others)])
        assert len(many.sessions) == 0
        assert many.sessions._endpoints.known(UPF) == many.sessions._endpoints.known(GNB) == 0
