"""Applications of servers, learned from named flows."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import numpy as np
import pytest

from nf.naming.servers import HOLD_S, LEAST, LEAST_SHARED, SHARED_S, WAYS, Ends, Learned, client_of, confidence_of

T0 = 1_700_000_000.0
VIDEO, CHAT, NOBODYS = 5, 9, 0
TCP, UDP = 6, 17


def mapped(address: str) -> bytes:
    parsed = ipaddress.ip_address(address)
    return parsed.packed if parsed.version == 6 else bytes(10) + b"\xff\xff" + parsed.packed


def ends(*servers: str, port: int = 443, proto: int = TCP) -> Ends:
    address = np.frombuffer(b"".join(map(mapped, servers)), np.uint8).reshape(-1, 16)
    return Ends(address, np.full(len(servers), port, np.uint16), np.full(len(servers), proto, np.uint8))


class Told:
    """A table, and the claims of named flows on it: each from a client of its own unless told otherwise."""

    def __init__(self, servers: int = 4096) -> None:
        self.table, self.clients = Learned(servers, seed=1), 0

    def flow(self, server: str, app: int, *, at_s: float = T0, client: int | None = None, **more: int) -> None:
        self.flows([server], [app], at_s=at_s, client=client, **more)

    def flows(
        self, servers: Sequence[str], apps: Sequence[int], *, at_s: float = T0, client: int | None = None, **more: int
    ) -> None:
        who = np.arange(len(apps)) + self.clients if client is None else np.full(len(apps), client)
        self.clients += len(apps)
        names = [f"host{app}.example" for app in apps]
        self.table.teach(ends(*servers, **more), np.array(apps, np.uint16), who.astype(np.uint32), names, at_s)

    def says(self, server: str, at_s: float = T0, **more: int) -> int:
        return int(self.table.look(ends(server, **more), at_s)[0][0])


@pytest.fixture
def told() -> Told:
    return Told()


class TestOneApplication:
    """A server that named flows of several clients went to names the next flow there."""

    def test_it_names_from_the_second_client_on(self, told: Told) -> None:
        told.flow("192.0.2.1", VIDEO)
        assert told.says("192.0.2.1") == NOBODYS
        told.flow("192.0.2.1", VIDEO)
        assert told.says("192.0.2.1") == VIDEO

    def test_the_connections_of_one_page_are_one_piece_of_evidence(self, told: Told) -> None:
        for _ in range(6):
            told.flow("192.0.2.1", VIDEO, client=7)
        assert told.says("192.0.2.1") == NOBODYS
        told.flow("192.0.2.1", VIDEO, client=7, at_s=T0 + 60)
        assert told.says("192.0.2.1", T0 + 60) == VIDEO

    def test_also_when_they_come_in_one_reading(self, told: Told) -> None:
        told.flows(["192.0.2.1"] * 6, [VIDEO] * 6, client=7)
        assert told.says("192.0.2.1") == NOBODYS

    def test_another_port_is_another_server(self, told: Told) -> None:
        told.flows(["192.0.2.1"] * 9, [VIDEO] * 9)
        assert told.says("192.0.2.1", port=8443) == NOBODYS

    def test_https_teaches_http3(self, told: Told) -> None:
        told.flows(["192.0.2.1"] * 9, [VIDEO] * 9)
        assert told.says("192.0.2.1", proto=UDP) == VIDEO
        assert told.says("192.0.2.1", port=8443, proto=UDP) == NOBODYS

    def test_ipv6(self, told: Told) -> None:
        told.flows(["2001:db8::1"] * 2, [VIDEO] * 2)
        assert told.says("2001:db8::1") == VIDEO
        assert told.says("2001:db8::2") == NOBODYS

    def test_it_fades(self, told: Told) -> None:
        told.flows(["192.0.2.1"] * 9, [VIDEO] * 9)
        assert told.says("192.0.2.1", T0 + HOLD_S - 1) == VIDEO
        assert told.says("192.0.2.1", T0 + HOLD_S + 1) == NOBODYS

    def test_a_name_of_nobody_names_nothing(self, told: Told) -> None:
        told.flows(["192.0.2.1"] * 9, [NOBODYS] * 9)
        assert told.says("192.0.2.1") == NOBODYS

    def test_confidence_grows_with_the_evidence(self) -> None:
        assert confidence_of(np.array([2, 3, 4, 5, 1000])).tolist() == [75, 87, 93, 95, 95]

    def test_what_is_known_can_be_shown(self, told: Told) -> None:
        told.flows(["192.0.2.1"] * 3, [VIDEO] * 3)
        server = told.table.server(mapped("192.0.2.1"), 443, TCP, T0)
        assert server is not None
        assert (server.app, server.evidence, server.name, server.shared) == (VIDEO, 3, "host5.example", False)
        assert told.table.server(mapped("192.0.2.2"), 443, TCP, T0) is None


class TestTwoApplications:
    """An address that served two applications names neither."""

    @pytest.mark.parametrize("other", [CHAT, NOBODYS])
    def test_one_after_the_other(self, told: Told, other: int) -> None:
        told.flows(["192.0.2.1"] * 9, [VIDEO] * 9)
        told.flow("192.0.2.1", other)
        assert told.says("192.0.2.1") == NOBODYS

    def test_in_one_reading(self, told: Told) -> None:
        told.flows(["192.0.2.1"] * 9, [VIDEO] * 4 + [CHAT] + [VIDEO] * 4)
        assert told.says("192.0.2.1") == NOBODYS

    def test_a_new_owner_is_believed_after_a_day(self, told: Told) -> None:
        told.flows(["192.0.2.1"] * 9, [VIDEO] * 9)
        later = T0 + SHARED_S
        told.flows(["192.0.2.1"] * 9, [CHAT] * 9)
        told.flows(["192.0.2.1"] * 9, [CHAT] * 9, at_s=later + 1)
        assert told.says("192.0.2.1", later - 1) == NOBODYS
        assert told.says("192.0.2.1", later + 1) == CHAT

    def test_neighbours_of_a_shared_address_need_more(self, told: Told) -> None:
        told.flows(["192.0.2.1"] * 2, [VIDEO, CHAT])
        told.flows(["192.0.2.2"] * LEAST, [VIDEO] * LEAST)
        assert told.says("192.0.2.2") == NOBODYS
        told.flows(["192.0.2.2"] * LEAST_SHARED, [VIDEO] * LEAST_SHARED)
        assert told.says("192.0.2.2") == VIDEO

    def test_two_rented_servers_side_by_side_do_not(self, told: Told) -> None:
        told.flows(["192.0.2.1"] * LEAST, [VIDEO] * LEAST)
        told.flows(["192.0.2.2"] * LEAST, [CHAT] * LEAST)
        assert (told.says("192.0.2.1"), told.says("192.0.2.2")) == (VIDEO, CHAT)


class TestContentNetwork:
    """Fifty applications from ten addresses: in the end none is named, and on the way hardly ever."""

    @pytest.mark.parametrize("apart", [False, True], ids=["one /24", "ten networks"])
    @pytest.mark.parametrize("seed", range(4))
    def test_no_wrong_name(self, apart: bool, seed: int) -> None:
        random, told = np.random.default_rng(seed), Told()
        addresses = [f"203.0.{113 + i if apart else 113}.{i + 1}" for i in range(10)]
        popularity = 1 / np.arange(1, 51)  # Zipf
        wrong = asked = 0
        for second in range(100):
            apps = random.choice(50, 40, p=popularity / popularity.sum()) + 1
            hosts = random.integers(0, 10, 40)
            told.flows([addresses[h] for h in hosts], apps.tolist(), at_s=T0 + second)
            said, _ = told.table.look(ends(*addresses), T0 + second)
            wrong, asked = wrong + int((said > 0).sum()), asked + len(addresses)

        assert (told.table.look(ends(*addresses), T0 + 100)[0] == 0).all()
        assert wrong <= 0.002 * asked


class TestBounds:
    """The table has a size, and says what it lost."""

    def test_the_quietest_of_a_full_set_leaves_and_is_counted(self) -> None:
        told = Told(servers=WAYS)  # one set
        for i in range(WAYS + 3):
            told.flows([f"192.0.2.{i}"] * 2, [VIDEO] * 2, at_s=T0 + i)

        assert [told.says(f"192.0.2.{i}") for i in range(WAYS + 3)] == [0] * 3 + [VIDEO] * WAYS
        assert told.table.counters == {"learned_taught": 2 * (WAYS + 3), "learned_evicted": 3}
        assert len(told.table) == WAYS

    def test_a_server_that_is_known_stays_beside_new_ones_of_the_same_reading(self) -> None:
        told = Told(servers=WAYS)  # one set
        for i in range(WAYS):
            told.flows([f"192.0.2.{i}"] * 2, [VIDEO] * 2, at_s=T0 + i)
        told.flows(["192.0.2.0", "192.0.2.99", "192.0.2.99"], [VIDEO, CHAT, CHAT], at_s=T0 + 60)

        known = [told.says(f"192.0.2.{i}", T0 + 60) for i in (0, 99, 1, 2)]
        assert known == [VIDEO, CHAT, NOBODYS, VIDEO], "the quietest of the others left"

    def test_more_in_one_reading_than_fit(self) -> None:
        told = Told(servers=64)
        servers = [str(ipaddress.IPv4Address(0xC6120000 + i)) for i in range(1000)]
        told.flows(servers * 2, [VIDEO] * 2000)

        assert len(told.table) == 64
        assert told.table.counters["learned_evicted"] == 936
        assert sum(told.says(s) == VIDEO for s in servers) == 64

    def test_two_clients_each_of_many_servers_in_two_readings(self) -> None:
        random, table = np.random.default_rng(1), Learned(seed=1)
        n = 20_000
        many = Ends(random.integers(0, 256, (n, 16), np.uint8), np.full(n, 443, np.uint16), np.full(n, TCP, np.uint8))
        apps = random.integers(1, 200, n).astype(np.uint16)
        for people in (client_of(many.address), client_of(many.address[::-1])):
            table.teach(many, apps, people, ["host.example"] * n, T0)

        assert (table.look(many, T0)[0] == apps).mean() > 0.99  # a set that is full by chance loses one
