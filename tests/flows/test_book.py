"""The book of flows: its only writer, and the columns that change together."""

from __future__ import annotations

import numpy as np
import pytest

from nf.apps.basis import Basis
from nf.flows.book import FlowBook
from nf.naming.doubts import Doubt
from tests.flows.records import GNB, OTHER_SERVER, SERVER, TUNNEL, UE, UPF, event, events

VIDEO, CHAT, VPN = 5, 9, 12


def numbers(*values: int) -> np.ndarray:
    return np.array(values, np.uint64)


def apps(*values: int) -> np.ndarray:
    return np.array(values, np.uint16)


def small(*values: int) -> np.ndarray:
    return np.array(values, np.uint8)


def rows(*values: int) -> np.ndarray:
    return np.array(values, np.intp)


def says(book: FlowBook, number: int) -> tuple[int, Basis, int]:
    """Return (application, ground, confidence) of one flow."""
    app, basis, confidence = book.apps(numbers(number))
    return int(app[0]), Basis(int(basis[0])), int(confidence[0])


@pytest.fixture
def book() -> FlowBook:
    """Return a book of the flows 1, 2 and 3; 2 says the name of a video service."""
    book = FlowBook()
    book.add(events(event(1, port_a=40001), event(2, port_a=40002), event(3, port_a=40003)))
    book.name(numbers(2), apps(VIDEO), small(Basis.SNI), ["www.video.example"])
    return book


class TestClosed:
    """Everybody reads the rows, and only the book writes them."""

    @pytest.mark.parametrize("column", ["app", "basis", "confidence", "prior_app", "doubt", "teid", "number"])
    def test_a_column_cannot_be_written(self, book: FlowBook, column: str) -> None:
        with pytest.raises(ValueError, match="read-only"):
            book.rows[column][0] = 1

    def test_nor_can_one_flow(self, book: FlowBook) -> None:
        with pytest.raises(ValueError, match="read-only"):
            book.get(2)["app"] = CHAT

        assert says(book, 2) == (VIDEO, Basis.SNI, 99)

    def test_nor_what_came_later(self, book: FlowBook) -> None:
        book.add(event(4))

        assert len(book.rows) == 4
        with pytest.raises(ValueError, match="read-only"):
            book.rows["app"][3] = CHAT

    def test_whoever_reads_sees_what_the_book_writes(self, book: FlowBook) -> None:
        seen = book.rows
        book.unname(rows(1))

        assert seen["basis"].tolist() == [0, 0, 0]


class TestOrder:
    """Flows are found whatever the order and the number in which they come and go."""

    @pytest.mark.parametrize("seed", range(6))
    def test_as_a_dictionary_has_them(self, seed: int) -> None:
        """Reports of several processors overlap, so a batch holds some numbers below those of the batch before."""
        chance, book, there = np.random.default_rng(seed), FlowBook(), {}
        for turn in range(60):
            some = np.unique(1000 + 40 * turn + chance.integers(-60, 60, chance.integers(1, 90)))
            for number in some.tolist():
                there.setdefault(number, 20_000 + number)
            book.add(events(*(event(number, port_a=20_000 + number) for number in chance.permutation(some).tolist())))
            if chance.random() < 0.2:
                gone = set(chance.choice(list(there), len(there) // 3, replace=False).tolist())
                there = {number: port for number, port in there.items() if number not in gone}
                if turn % 2:
                    book.keep(numbers(*chance.permutation([*there, *there]).tolist()))
                else:
                    book.forget(numbers(7, 999_999, *gone, *gone))
            found = book.at(numbers(*there))
            assert len(book) == len(there)
            assert book.rows["number"].tolist() == sorted(there)
            assert book.rows["port"][found, 0].tolist() == list(there.values())
            assert book.at(numbers(1, 999_999)).tolist() == [-1, -1]

    def test_names_stay_with_their_flows(self) -> None:
        book = FlowBook()
        book.add(events(event(10), event(30)))
        book.name(numbers(30), apps(VIDEO), small(Basis.SNI), ["www.video.example"])
        book.add(events(*(event(n) for n in range(40, 3000))))
        book.add(events(event(20)))

        assert says(book, 30) == (VIDEO, Basis.SNI, 99)
        assert (book.host(30), book.host(20)) == ("www.video.example", "")


class TestName:
    """A name is an application, a ground and a confidence, and all three change at once."""

    def test_a_ground_has_its_confidence(self, book: FlowBook) -> None:
        book.name(numbers(1, 3), apps(CHAT, VIDEO), small(Basis.DNS_ANSWER, Basis.BEHAVIOUR), ["chat.example", ""])

        assert says(book, 1) == (CHAT, Basis.DNS_ANSWER, 95)
        assert says(book, 3) == (VIDEO, Basis.BEHAVIOUR, 80)
        assert (book.host(1), book.host(3)) == ("chat.example", "")

    def test_one_that_is_told_with_it_counts(self, book: FlowBook) -> None:
        book.name(numbers(1), apps(CHAT), small(Basis.BEHAVIOUR), [""], small(60))

        assert says(book, 1) == (CHAT, Basis.BEHAVIOUR, 60)

    def test_no_application_has_no_confidence(self, book: FlowBook) -> None:
        book.name(numbers(1), apps(0), small(Basis.SNI), ["nobody.example"])

        assert says(book, 1) == (0, Basis.SNI, 0)

    @pytest.mark.parametrize("basis", [Basis.SNI, Basis.HTTP_HOST])
    def test_a_name_in_the_packets_without_the_name_is_none(self, book: FlowBook, basis: Basis) -> None:
        book.name(numbers(1), apps(CHAT), small(basis), [""])

        assert says(book, 1) == (0, Basis.NONE, 0)

    def test_a_flow_that_is_not_told_yet_is_born_with_it(self, book: FlowBook) -> None:
        book.fresh()
        book.name(numbers(7), apps(CHAT), small(Basis.SNI), ["chat.example"])
        assert says(book, 7) == (0, Basis.NONE, 0)

        book.add(event(7))

        assert (says(book, 7), book.host(7)) == ((CHAT, Basis.SNI, 99), "chat.example")
        assert book.fresh().tolist() == [3]

    def test_fresh_flows_are_told_once(self, book: FlowBook) -> None:
        assert book.fresh().tolist() == [1]
        assert book.fresh().tolist() == []


class TestByServer:
    """A server's known application stands in for a weaker ground, and gives it back."""

    def test_it_takes_the_place_and_gives_it_back(self, book: FlowBook) -> None:
        book.name(numbers(1), apps(CHAT), small(Basis.ADDRESS), [""])
        book.name_by_server(rows(0), apps(VIDEO), small(93))
        assert says(book, 1) == (VIDEO, Basis.LEARNED, 93)

        book.take_back(rows(0))

        assert says(book, 1) == (CHAT, Basis.ADDRESS, 90)

    def test_said_twice_it_still_gives_back_what_was_before_the_first_time(self, book: FlowBook) -> None:
        book.name_by_server(rows(0), apps(VIDEO), small(75))
        book.name_by_server(rows(0), apps(CHAT), small(87))
        assert says(book, 1) == (CHAT, Basis.LEARNED, 87)

        book.take_back(rows(0))

        assert says(book, 1) == (0, Basis.NONE, 0)

    def test_only_the_rows_that_are_meant(self, book: FlowBook) -> None:
        book.name_by_server(rows(0, 2), apps(VIDEO, CHAT), small(75, 87))
        book.take_back(rows(2))

        assert [says(book, n) for n in (1, 2, 3)] == [
            (VIDEO, Basis.LEARNED, 75),
            (VIDEO, Basis.SNI, 99),
            (0, Basis.NONE, 0),
        ]


class TestDoubt:
    """A doubted name gives no application until it is believed again."""

    def test_the_flow_says_so_and_why(self, book: FlowBook) -> None:
        book.doubt(rows(1), small(Doubt.RESOLVER), apps(VPN))

        row = book.get(2)
        assert says(book, 2) == (0, Basis.CONTRADICTED, 0)
        assert (row["doubt"], row["doubt_app"], row["prior_app"]) == (Doubt.RESOLVER, VPN, VIDEO)
        assert book.host(2) == "www.video.example"

    def test_believed_again_all_is_as_before(self, book: FlowBook) -> None:
        book.doubt(rows(1), small(Doubt.LEARNED), apps(CHAT))
        book.take_back(rows(1))

        assert says(book, 2) == (VIDEO, Basis.SNI, 99)
        assert book.get(2)["doubt"] == Doubt.NONE

    def test_another_name_ends_it(self, book: FlowBook) -> None:
        book.doubt(rows(1), small(Doubt.PREFIX), apps(CHAT))
        book.name(numbers(2), apps(CHAT), small(Basis.SNI), ["chat.example"])

        assert says(book, 2) == (CHAT, Basis.SNI, 99)
        assert book.get(2)["doubt"] == Doubt.NONE


class TestByClass:
    """The model names a class and no application; unsure again, it names none."""

    def test_a_class_and_none(self, book: FlowBook) -> None:
        book.name_by_class(rows(0), apps(3), small(71))
        assert says(book, 1) == (3, Basis.MODEL, 71)

        book.name_by_class(rows(0), apps(0), small(0))

        assert says(book, 1) == (0, Basis.NONE, 0)


class TestUnname:
    """An application that holds no more leaves with its ground."""

    def test_the_host_name_stays(self, book: FlowBook) -> None:
        book.unname(rows(1))

        assert (says(book, 2), book.host(2)) == ((0, Basis.NONE, 0), "www.video.example")


class TestRows:
    """Rows are sorted by number, whatever order the kernel tells them in."""

    def test_a_flow_that_is_told_late_gets_its_place(self, book: FlowBook) -> None:
        book.add(event(9))
        book.add(event(6, b=OTHER_SERVER))

        assert book.rows["number"].tolist() == [1, 2, 3, 6, 9]
        assert book.ends(6) == (UE, OTHER_SERVER)
        assert book.at(numbers(9, 6, 5)).tolist() == [4, 3, -1]

    def test_ports_are_numbers_of_people(self, book: FlowBook) -> None:
        assert book.get(1)["port"].tolist() == [40001, 443]

    def test_told_twice_it_is_there_once(self, book: FlowBook) -> None:
        book.add(event(2, b=OTHER_SERVER))

        assert len(book) == 3
        assert book.ends(2) == (UE, SERVER)

    def test_forgotten_flows_leave_and_names_of_others_stay(self, book: FlowBook) -> None:
        book.name(numbers(1), apps(CHAT), small(Basis.SNI), ["chat.example"])
        book.keep(numbers(2))

        assert book.rows["number"].tolist() == [2]
        assert (says(book, 2), book.host(2)) == ((VIDEO, Basis.SNI, 99), "www.video.example")
        assert (says(book, 1), book.host(1)) == ((0, Basis.NONE, 0), "")


class TestTunnels:
    """The latest tunnel of each direction, and the ones before it."""

    def test_of_a_handover_both_and_the_receiver_of_the_latest(self) -> None:
        book = FlowBook()
        book.add(event(1, outer=(GNB, UPF), teid=0x10, qfi=9))
        book.add(event(1, outer=("172.16.0.5", UPF), teid=0x11, qfi=9, kind=TUNNEL))

        leg = book.leg(1, 0)
        assert list(leg.teids) == [0x10, 0x11]
        assert list(leg.outers) == [(GNB, UPF), ("172.16.0.5", UPF)]
        assert book.receivers(1) == [(UPF, 0x11)]
        assert book.returned == 0

    def test_a_flow_that_comes_back_to_a_tunnel_is_counted(self) -> None:
        book = FlowBook()
        for teid in (0x10, 0x11, 0x10, 0x11):
            book.add(event(1, outer=(GNB, UPF), teid=teid, kind=TUNNEL))

        assert book.returned == 2
