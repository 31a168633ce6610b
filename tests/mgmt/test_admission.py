"""The choice of who stays at the door of the server, and for how long: with plain values."""

from dataclasses import dataclass
from itertools import pairwise

import pytest

from mgmt.netconf.ssh.admission import Lobby, Penalties, Stage, source_of
from nf.settings import Management

LIMITS = Management(unauthenticated=8, per_source=4, login_s=15, least_login_s=3)


@dataclass(eq=False)
class Somebody:
    source: str
    since_s: float
    stage: Stage = Stage.SILENT
    failed: bool = False


def filled(*guests: Somebody) -> Lobby[Somebody]:
    lobby = Lobby[Somebody]()
    for guest in guests:
        assert lobby.enter(guest, LIMITS) == []
    return lobby


class TestSource:
    """An IPv4 address is a source; of IPv6 the network is, because one host has all of it (RFC 7934)."""

    @pytest.mark.parametrize(
        ("address", "source"),
        [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::/64"),
            ("2001:db8::ffff:1:2:3", "2001:db8::/64"),
            ("fe80::1%eth0", "fe80::/64"),
        ],
    )
    def test_it_is(self, address, source):
        assert source_of(address) == source


class TestPlaces:
    """The one that did least and waited longest goes where there is no room, never the one that comes."""

    def test_while_there_is_room_nobody_goes(self):
        filled(*(Somebody(f"192.0.2.{n}", n) for n in range(8)))

    def test_the_oldest_goes(self):
        guests = [Somebody(f"192.0.2.{n}", n) for n in range(8)]
        assert filled(*guests).enter(Somebody("198.51.100.1", 9), LIMITS) == [guests[0]]

    def test_one_that_talks_stays_for_one_that_does_not(self):
        guests = [Somebody(f"192.0.2.{n}", n, Stage.GREETED) for n in range(7)]
        silent = Somebody("192.0.2.8", 8)
        assert filled(*guests, silent).enter(Somebody("198.51.100.1", 9), LIMITS) == [silent]

    def test_one_that_has_just_come_has_its_time_to_talk(self):
        guests = [Somebody(f"192.0.2.{n}", n, Stage.GREETED) for n in range(7)]
        fresh = Somebody("192.0.2.8", 8.9)
        assert filled(*guests, fresh).enter(Somebody("198.51.100.1", 9), LIMITS) == [guests[0]]

    def test_one_on_which_a_login_failed_goes_before_one_that_has_not_tried(self):
        guests = [Somebody(f"192.0.2.{n}", n) for n in range(7)]
        wrong = Somebody("192.0.2.8", 8, Stage.KEYED, failed=True)
        assert filled(*guests, wrong).enter(Somebody("198.51.100.1", 9), LIMITS) == [wrong]

    def test_a_source_with_too_many_loses_its_own(self):
        others, own = Somebody("192.0.2.1", 0), [Somebody("192.0.2.2", n) for n in range(1, 5)]
        assert filled(others, *own).enter(Somebody("192.0.2.2", 9), LIMITS) == [own[0]]

    def test_a_source_with_many_goes_before_one_with_few_whatever_they_did(self):
        client = Somebody("198.51.100.1", 0)
        many = [Somebody(f"192.0.2.{n % 2}", n, Stage.KEYED) for n in range(7)]
        assert client not in filled(client, *many).enter(Somebody("203.0.113.1", 9), LIMITS)

    def test_whoever_has_left_has_no_place(self):
        guests = [Somebody(f"192.0.2.{n}", n) for n in range(8)]
        lobby = filled(*guests)
        assert lobby.leave(guests[3])
        assert not lobby.leave(guests[3])
        assert lobby.enter(Somebody("198.51.100.1", 9), LIMITS) == []

    def test_the_time_to_log_in_falls_with_the_free_places(self):
        lobby, allowed_s = Lobby[Somebody](), []
        for n in range(9):
            allowed_s.append(lobby.login_s(LIMITS))
            lobby.enter(Somebody(f"192.0.2.{n}", n), LIMITS)
        assert allowed_s == [15.0, 13.5, 12.0, 10.5, 9.0, 7.5, 6.0, 4.5, 3.0]


class TestPenalties:
    """A source that fails is answered later and later, and its connections share that."""

    def test_the_keys_of_an_agent_are_free(self):
        penalties = Penalties()
        assert [penalties.failed("a", 0.0) for _ in range(5)] == [0.0] * 5

    def test_each_more_takes_about_twice_as_long(self):
        penalties = Penalties()
        for _ in range(5):
            penalties.failed("a", 0.0)
        now_s, waits = 0.0, []
        for _ in range(5):
            waits.append(penalties.failed("a", now_s))
            now_s += waits[-1]
        # A little less than twice: while it waits, what was is forgotten.
        assert waits[0] == 0.25
        assert all(1.4 * before < after <= 2.0 * before for before, after in pairwise(waits))

    def test_no_answer_takes_longer_than_a_connection_has(self):
        penalties = Penalties()
        assert max(penalties.failed("a", 0.0) for _ in range(1000)) == Penalties.BEHIND_S > Management().login_s

    def test_a_hundred_connections_try_no_more_often_than_one(self):
        penalties = Penalties()
        answered_s = [penalties.failed("a", 0.0) for _ in range(100)]
        assert sum(at_s <= 15.0 for at_s in answered_s) < 15

    def test_others_do_not_wait(self):
        penalties = Penalties()
        for _ in range(100):
            penalties.failed("a", 0.0)
        assert penalties.failed("b", 0.0) == 0.0
        assert penalties.hold_s("c", 0.0) == 0.0
        assert penalties.hold_s("a", 0.0) == 1.0

    def test_it_is_forgotten(self):
        penalties = Penalties()
        for _ in range(40):
            penalties.failed("a", 0.0)
        assert penalties.hold_s("a", 300.0) == 0.0

    def test_what_failed_before_a_login_is_forgiven(self):
        penalties = Penalties()
        for _ in range(20):
            assert [penalties.failed("a", 0.0) for _ in range(4)] == [0.0] * 4
            penalties.forgive("a", 4, 0.0)

    def test_ten_thousand_sources_take_no_more_memory_than_a_thousand(self):
        penalties = Penalties()
        for n in range(10_000):
            penalties.failed(str(n), 0.0)
        assert len(penalties._failed) == Penalties.SOURCES
