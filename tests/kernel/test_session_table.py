"""The session table: the kernel finds the entry that was written last, whatever was written before and beside."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_RS, IPv6

from gtp.events import Side
from nf.kernel import syscall
from nf.kernel.changes import PutTunnel
from nf.kernel.dataplane import DataPlane
from nf.settings import Limits, Role
from tests.kernel.packets import GNB, SERVER, SERVER6, UE, UE6, UL_TEID, UPF, ether, gtpu, outer, udp
from tests.kernel.rig import Rig, drop_all

SESSIONS = 600  # each has two tunnels and two addresses
ADDRESSES = (UPF, GNB, "10.20.0.1", "2001:db8:10::9")
SIDES = tuple(Side)
SECONDS = 2.0

keys = st.tuples(st.sampled_from(ADDRESSES[:3]), st.integers(0, 40))
operations = st.lists(
    st.tuples(keys, st.integers(0, 9)), min_size=1, max_size=60
)  # (tunnel, session); 0: it is dropped


@pytest.fixture(scope="module")
def small() -> Iterator[DataPlane]:
    """A data plane for so many sessions."""
    plane = DataPlane(Limits(flows=16_384, sessions=SESSIONS), replay=True)
    yield plane
    plane.close()


@pytest.fixture
def plane(small: DataPlane) -> DataPlane:
    """Return it with empty tables."""
    small.sessions.clear()
    small.sessions.refused = 0
    forget(small)
    return small


def forget(plane: DataPlane) -> None:
    drop_all(plane)
    plane.read_events()


def in_tunnel(address: str, teid: int) -> bytes:
    """Return a packet in a tunnel that ends at *address*, whose flow is one of this tunnel alone."""
    source = f"10.{100 + ADDRESSES.index(address)}.{teid >> 8 & 0xFF}.{teid & 0xFF}"
    return ether(outer(dst=address) / gtpu(teid) / udp(src=source))


def from_ue(address: str) -> bytes:
    """Return a packet of a UE on N6."""
    head = IPv6(src=address, dst=SERVER6) if ":" in address else IP(src=address, dst=SERVER)
    return ether(head / UDP(sport=40000, dport=9999))


def found(plane: DataPlane, frames: list[bytes], role: Role) -> list[int]:
    """Return the session that the kernel has for each frame, all of which are of other flows."""
    forget(plane)
    for at, frame in enumerate(frames):
        plane.run(frame, 1_000_000 * at, role)
    sessions = {int(e["number"]): int(e["session"]) for e in plane.read_events()}
    assert len(sessions) == len(frames)
    return [sessions[number] for number in sorted(sessions)]


class TestContent:
    """The entry that is found is the one written last."""

    @settings(max_examples=40, deadline=None)
    @given(batches=st.lists(operations, min_size=1, max_size=6))
    def test_any_order_of_changes(self, small: DataPlane, batches: list[list[tuple[tuple[str, int], int]]]) -> None:
        small.sessions.clear()
        known: dict[tuple[str, int], int] = {}
        for batch in batches:
            small.put_tunnels([PutTunnel(a, teid, Side.UPLINK, session) for (a, teid), session in batch if session])
            small.drop_tunnels([key for key, session in batch if not session])
            known |= {key: session for key, session in batch if session}
            for key in (key for key, session in batch if not session):
                known.pop(key, None)
        asked = sorted({key for batch in batches for key, _ in batch})
        frames = [in_tunnel(*key) for key in asked]

        assert found(small, frames, Role.N3) == [known.get(key, 0) for key in asked]
        assert len(small.sessions) == len(known)
        assert small.sessions.refused == 0

    def test_as_many_as_the_limit_says(self, plane: DataPlane) -> None:
        tunnels = [PutTunnel(ADDRESSES[n % 4], n, SIDES[n & 1], 1 + n // 2) for n in range(2 * SESSIONS)]
        addresses = [(f"10.9.{n >> 8}.{n & 255}", f"2001:db8:{n:x}:1::/64") for n in range(SESSIONS)]
        plane.put_tunnels(tunnels)
        plane.put_ues([("internet", a, 1 + n) for n, pair in enumerate(addresses) for a in pair])

        assert plane.refused_entries == 0
        assert len(plane.sessions) == 4 * SESSIONS
        frames = [in_tunnel(row.address, row.teid) for row in tunnels if ":" not in row.address]
        assert found(plane, frames, Role.N3) == [row.session for row in tunnels if ":" not in row.address]
        frames = [from_ue(a.replace("::/64", "::5")) for pair in addresses for a in pair]
        assert found(plane, frames, Role.N6) == [1 + n // 2 for n in range(2 * SESSIONS)]

    def test_what_finds_no_room_is_counted_and_leaves_the_rest(self, plane: DataPlane) -> None:
        mine = [PutTunnel(UPF, n, Side.UPLINK, 1 + n) for n in range(SESSIONS)]
        plane.put_tunnels(mine)
        plane.put_tunnels([PutTunnel(GNB, n, Side.DOWNLINK, 5000) for n in range(8 * SESSIONS)])

        assert plane.refused_entries == 9 * SESSIONS - len(plane.sessions) > 0
        frames = [in_tunnel(row.address, row.teid) for row in mine]
        assert found(plane, frames, Role.N3) == [row.session for row in mine]

    def test_an_address_that_receives_no_tunnel_any_more_is_forgotten(self, plane: DataPlane) -> None:
        for _ in range(3):
            plane.put_tunnels(
                [
                    PutTunnel(UPF, 1, Side.UPLINK, 1),
                    PutTunnel(UPF, 2, Side.UPLINK, 2),
                    PutTunnel(UPF, 1, Side.UPLINK, 3),
                ]
            )
            plane.drop_tunnels([(UPF, 1), (UPF, 2), (UPF, 2)])

        left = syscall.read_map(plane._fds["endpoints"], plane._maps["endpoints"].key, plane._maps["endpoints"].value)[
            0
        ]
        assert len(left) == 0


class TestNotice:
    """A flow asks for its session anew when it may have changed, and then only."""

    def generation(self, rig: Rig, frame: bytes) -> int:
        rig.run(frame)
        return int(rig.flow()["generation"])

    def test_a_change_of_another_subscriber_is_none_of_its_business(self, rig: Rig) -> None:
        frame = ether(outer() / gtpu(UL_TEID) / udp())
        rig.plane.put_tunnels([PutTunnel(UPF, UL_TEID, Side.UPLINK, 7, UE)])
        before = self.generation(rig, frame)
        rig.plane.put_tunnels(
            [PutTunnel(UPF, 0x777, Side.UPLINK, 8, "10.45.0.77"), PutTunnel(UPF, 0x778, Side.UPLINK, 8, "10.45.0.78")]
        )
        rig.plane.drop_tunnels([(UPF, 0x777), (UPF, 0x778)])

        assert self.generation(rig, frame) == before

    @pytest.mark.parametrize(
        ("known", "source"),
        [
            ((UE, ""), UE),
            (("", ""), UE),
            (("", ""), UE6),
            (("", UE6), UE6),
            ((UE, UE6), UE),
            ((UE, UE6), UE6),
            ((UE, ""), UE6),  # the core has not said that it has one: it passes unchecked
            (("", UE6), UE),
            ((UE, UE6), "fe80::1"),
        ],
    )
    def test_its_own_is_noticed_by_whatever_the_ue_is_known(
        self, rig: Rig, known: tuple[str, str], source: str
    ) -> None:
        inner = IPv6(src=source, dst="ff02::2") / ICMPv6ND_RS() if ":" in source else udp(src=source)
        frame = ether(outer() / gtpu(UL_TEID) / inner)
        rig.plane.put_tunnels([PutTunnel(UPF, UL_TEID, Side.UPLINK, 7, *known)])
        rig.run(frame)
        assert rig.flow()["session"] == 7

        rig.plane.put_tunnels([PutTunnel(UPF, UL_TEID, Side.UPLINK, 9, *known)])
        rig.run(frame)
        assert rig.flow()["session"] == 9
        rig.plane.drop_tunnels([(UPF, UL_TEID)])
        rig.run(frame)
        assert rig.flow()["session"] == 0

    @pytest.mark.parametrize("address", [UE, UE6])
    def test_an_address_on_n6(self, rig: Rig, address: str) -> None:
        frame = from_ue(address)
        rig.run(frame, "n6")
        assert rig.flow()["session"] == 0
        rig.plane.put_ues([("", address, 7)])
        rig.run(frame, "n6")
        assert rig.flow()["session"] == 7
        rig.plane.drop_ues([("", address)])
        rig.run(frame, "n6")
        assert rig.flow()["session"] == 0


class TestTogether:
    """Packets beside changes: an entry that nobody changes is found always, and one that moves is one of both."""

    def test_readers_never_miss_what_stays(self, plane: DataPlane) -> None:
        mine = [PutTunnel(UPF, n, Side.UPLINK, 1 + n) for n in range(SESSIONS)]
        plane.put_tunnels(mine)
        frames = [in_tunnel(row.address, row.teid) for row in mine]
        assert found(plane, frames, Role.N3) == [row.session for row in mine]
        before = plane.read_counters()
        run = syscall.TestRun(plane.program(Role.N3), 512)
        stop = threading.Event()

        def change() -> None:
            n = 0
            while not stop.is_set():  # tunnels whose UE nobody knows: each change makes every flow ask
                rows = [PutTunnel(GNB, (n + i) % 1500, 0, 9000 + i) for i in range(50)]
                plane.put_tunnels(rows)
                plane.drop_tunnels([(row.address, row.teid) for row in rows[::2]])
                n += 50

        thread = threading.Thread(target=change)
        timer = threading.Timer(SECONDS, stop.set)
        thread.start()
        timer.start()
        rounds = 0
        while not stop.is_set():
            run.repeat(frames[rounds % len(frames)], 5000)
            rounds += 1
        thread.join()

        moved = {name: value - before[name] for name, value in plane.read_counters().items()}
        assert rounds > 0
        assert moved["counted"] == 5000 * rounds
        assert moved["tunnel_unknown"] == moved["ue_mismatch"] == moved["flow_restarted"] == moved["flow_new"] == 0

    def test_a_tunnel_that_changes_hands_is_of_one_or_the_other(self, plane: DataPlane) -> None:
        one, two = 0x0101, 0x0202
        plane.put_tunnels([PutTunnel(UPF, 5, Side.UPLINK, one)])
        frame, seen = in_tunnel(UPF, 5), set()
        stop = threading.Event()

        def change() -> None:
            while not stop.is_set():
                for session in (two, one):
                    plane.put_tunnels([PutTunnel(UPF, 5, Side.UPLINK, session)])

        thread = threading.Thread(target=change)
        threading.Timer(SECONDS / 2, stop.set).start()
        thread.start()
        number = 0
        while not stop.is_set():
            number += 1
            plane.run(frame[:-40] + struct.pack("!H", number & 0xFFFF) + frame[-38:], number, Role.N3)
            seen |= {int(event["session"]) for event in plane.read_events()}
        thread.join()

        assert seen == {one, two}
