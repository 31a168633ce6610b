"""Names that a server contradicts."""

from __future__ import annotations

import ipaddress
from fnmatch import fnmatchcase

import numpy as np
import pytest

from feed.records import APP_CLASSES
from nf.apps.signatures import Signatures
from nf.naming.doubts import OWNERS, Doubt, Doubts, Owners, looks_like_a_tunnel
from nf.naming.servers import Learned
from tests.naming.test_servers import T0, Told, ends, mapped

SIGNATURES = Signatures.load()
NETFLIX_SERVER, TELEGRAM_SERVER, PLAIN = "45.57.1.2", "149.154.167.50", "192.0.2.7"


def apps(*names: str) -> np.ndarray:
    return np.array([SIGNATURES.number(name) for name in names], np.uint16)


def doubt(
    doubts: Doubts, app: str, server: str, *, client: int = 1, told: str = "", learned: Learned | None = None
) -> Doubt:
    found, _ = doubts.judge(
        ends(server), apps(app), np.array([client], np.uint32), apps(told), learned or Learned(seed=1), T0
    )
    return Doubt(int(found[0]))


@pytest.fixture
def doubts() -> Doubts:
    return Doubts(SIGNATURES)


class TestOwners:
    """The prefix lists in columns say what they say one by one."""

    def test_random_addresses_and_those_of_each_prefix(self) -> None:
        random = np.random.default_rng(1)
        texts = [str(ipaddress.IPv4Address(int(a))) for a in random.integers(0, 2**32, 2000)]
        texts += [str(ipaddress.IPv6Address(int(a) << 96 | 1)) for a in random.integers(0, 2**32, 500)]
        for version, tables in SIGNATURES.networks.items():
            for shift, found in tables:
                if version == 6 and shift < 64:
                    continue
                for bits in found:
                    for edge in (bits << shift, (bits << shift) + (1 << shift) - 1, (bits << shift) - 1):
                        texts.append(str((ipaddress.IPv4Address if version == 4 else ipaddress.IPv6Address)(edge)))
        addresses = np.frombuffer(b"".join(map(mapped, texts)), np.uint8).reshape(-1, 16)

        assert Owners(SIGNATURES).of(addresses).tolist() == [SIGNATURES.match_address(t) for t in texts]


class TestPrefixes:
    """The address of an application that shares its addresses with nobody."""

    def test_another_name_is_a_lie(self, doubts: Doubts) -> None:
        assert doubt(doubts, "WhatsApp", NETFLIX_SERVER) is Doubt.PREFIX
        assert doubt(doubts, "YouTube", TELEGRAM_SERVER) is Doubt.PREFIX
        assert doubts.counters["doubted_prefix"] == 2

    def test_its_own_name_no_name_and_an_address_of_nobody_are_none(self, doubts: Doubts) -> None:
        assert doubt(doubts, "Netflix", NETFLIX_SERVER) is Doubt.NONE
        assert doubt(doubts, "", NETFLIX_SERVER) is Doubt.NONE
        assert doubt(doubts, "WhatsApp", PLAIN) is Doubt.NONE

    def test_applications_of_one_owner_use_each_others_servers(self, doubts: Doubts) -> None:
        assert doubt(doubts, "Skype", "52.113.1.1") is Doubt.NONE  # of Teams

    def test_three_clients_are_believed(self, doubts: Doubts) -> None:
        assert [doubt(doubts, "WhatsApp", NETFLIX_SERVER, client=c) for c in (1, 2, 2, 3, 4)] == [
            *(Doubt.PREFIX, Doubt.PREFIX, Doubt.PREFIX), Doubt.NONE, Doubt.NONE,
        ]  # fmt: skip

    def test_prefixes_in_which_three_others_are_claimed_host_others(self, doubts: Doubts) -> None:
        found = [doubt(doubts, app, NETFLIX_SERVER) for app in ("WhatsApp", "YouTube", "Spotify", "TikTok")]

        assert found == [Doubt.PREFIX, Doubt.PREFIX, Doubt.NONE, Doubt.NONE]

    def test_an_application_has_one_owner(self) -> None:
        for name in filter(None, SIGNATURES.names):
            assert sum(any(fnmatchcase(name, p) for p in listed) for listed in OWNERS.values()) <= 1, name


class TestLearned:
    """A server to which many went for another application, and to which nobody went for the claimed one."""

    @staticmethod
    def teach(clients: int) -> Learned:
        told = Told()
        netflix, whatsapp = apps("Netflix", "WhatsApp").tolist()
        told.flows([PLAIN] * clients, [netflix] * clients)
        told.flows(["203.0.113.9"] * clients, [whatsapp] * clients)
        return told.table

    @pytest.mark.parametrize(("clients", "expected"), [(15, Doubt.NONE), (16, Doubt.LEARNED)])
    def test_sixteen_clients_are_many(self, doubts: Doubts, clients: int, expected: Doubt) -> None:
        assert doubt(doubts, "WhatsApp", PLAIN, learned=self.teach(clients)) is expected

    def test_an_application_that_is_hardly_known_is_not_doubted(self, doubts: Doubts) -> None:
        assert doubt(doubts, "Signal", PLAIN, learned=self.teach(16)) is Doubt.NONE

    def test_a_server_that_served_two_contradicts_nothing(self, doubts: Doubts) -> None:
        learned = self.teach(16)
        learned.teach(ends(PLAIN), apps("Spotify"), np.array([99], np.uint32), ["spotify.com"], T0)

        assert doubt(doubts, "WhatsApp", PLAIN, learned=learned) is Doubt.NONE


class TestTunnels:
    """Full packets both ways at once contradict the name of an application that only asks and gets."""

    @pytest.mark.parametrize(
        ("up", "down", "app_class", "expected"),
        [
            ((3000, 1350), (4000, 1350), "web", True),
            ((3000, 1350), (4000, 1350), "download", False),  # a backup, or file sharing
            ((1500, 80), (3000, 1350), "web", False),  # a page
            (
                (4500, 930),
                (4500, 930),
                "social",
                False,
            ),  # up, then down, each acknowledged
            ((500, 1350), (500, 1350), "web", False),  # too little to say
            ((9000, 1350), (3000, 1350), "messaging", False),
        ],
    )
    def test_packets_and_their_mean_size(
        self, up: tuple[int, int], down: tuple[int, int], app_class: str, expected: bool
    ) -> None:
        packets = np.array([[up[0], down[0]]], np.uint32)
        octets = np.array([[up[0] * up[1], down[0] * down[1]]], np.uint64)
        class_of = np.array([APP_CLASSES.index(app_class)], np.uint8)

        assert looks_like_a_tunnel(octets, packets, class_of, Doubts(SIGNATURES).claimed_by_tunnels).tolist() == [
            expected
        ]


class TestResolver:
    """An address that the resolver gave for the name of a VPN."""

    def test_a_popular_name_there_is_a_lie(self, doubts: Doubts) -> None:
        doubts.vpn[SIGNATURES.number("ntop")] = True  # stands for a VPN

        assert doubt(doubts, "WhatsApp", PLAIN, told="ntop") is Doubt.RESOLVER
        assert doubt(doubts, "ntop", PLAIN, told="ntop") is Doubt.NONE
        assert doubt(doubts, "WhatsApp", PLAIN, told="Spotify") is Doubt.NONE
