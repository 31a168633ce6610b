"""Places: the forms of their texts, how words of signalling come together, and twenty bytes at rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrate_mobile.TS24008_IE import PLMN

from gtp import places
from gtp.codec import BadValue, Reader
from gtp.events import NOWHERE, Place
from gtp.packing import OCTETS_SIZE

DOCUMENT = (Path(__file__).parents[2] / "docs" / "feed.md").read_text(encoding="utf-8")
TEST_NETWORK = bytes.fromhex("00f110")  # 001/01 (TS 36.508, 4.4.2)
LTE = Place("EUTRA", "001-01-1a2b", "001-01-0abcd01")
NR = Place("NR", "001-01-00012d", "001-01-000010001")

networks = st.one_of(st.from_regex("[0-9]{5}", fullmatch=True), st.from_regex("[0-9]{6}", fullmatch=True))


class TestTexts:
    """MCC-MNC-ID: the identity in as many hexadecimal digits as it has by its kind."""

    @settings(deadline=None)
    @given(networks, st.binary(min_size=3, max_size=3))
    def test_a_network_is_what_pycrate_reads(self, digits: str, tac: bytes) -> None:
        network = PLMN()
        network.encode(digits)

        assert places.area_text(network.to_bytes(), tac) == f"{digits[:3]}-{digits[3:]}-{tac.hex()}"

    @pytest.mark.parametrize("raw", ["ff1000", "0af110", "00f1f0", "00e110"])
    def test_a_nibble_that_is_no_digit_is_no_network(self, raw: str) -> None:
        with pytest.raises(BadValue):
            places.area_text(bytes.fromhex(raw), b"\0\1")

    def test_spare_bits_are_no_part_of_a_cell(self) -> None:
        """TS 29.274, 8.21.5: the upper four bits of the first octet of an ECI are spare."""
        assert places.cell_text(TEST_NETWORK, 0xF0ABCD01, 28) == "001-01-0abcd01"
        assert places.cell_text(TEST_NETWORK, 0xF0_0001_0001, 36) == "001-01-000010001"

    def test_names_of_technologies_are_documented(self) -> None:
        for name in ("NR", "EUTRA", "NBIOT", "LTE-M", "UTRA", "GERA", "WLAN"):
            assert name in places.RAT_NAMES
            assert f"`{name}`" in DOCUMENT

    def test_each_number_of_29_274_but_gan_has_a_name(self) -> None:
        assert [n for n in range(1, 23) if not places.rat_name(n)] == [4]
        assert not places.rat_name(0)
        assert not places.rat_name(99)
        assert (places.rat_name(1), places.rat_name(6), places.rat_name(10)) == ("UTRA", "EUTRA", "NR")


class TestWords:
    """A message says a part of it; what it does not contradict stays."""

    def test_nothing_said_changes_nothing(self) -> None:
        assert places.told(LTE, 5.0) is LTE

    def test_another_cell_of_the_same_area(self) -> None:
        assert places.told(LTE, 5.0, tai=LTE.tai, cell="001-01-0abcd02") == Place("EUTRA", LTE.tai, "001-01-0abcd02")

    def test_another_area_alone_takes_the_cell_along(self) -> None:
        assert places.told(LTE, 5.0, tai="001-01-1a2c") == Place("EUTRA", "001-01-1a2c", "")

    def test_another_cell_alone_takes_the_area_along(self) -> None:
        assert places.told(LTE, 5.0, cell="001-01-0abcd02") == Place("EUTRA", "", "001-01-0abcd02")

    def test_the_same_area_alone_keeps_the_cell(self) -> None:
        assert places.told(LTE, 5.0, rat="EUTRA", tai=LTE.tai) == LTE

    def test_another_technology_takes_both_along(self) -> None:
        assert places.told(LTE, 5.0, rat="UTRA") == Place("UTRA")
        assert places.told(LTE, 5.0, rat="NR", tai=NR.tai) == Place("NR", NR.tai)

    def test_a_technology_that_was_not_known_keeps_both(self) -> None:
        assert places.told(Place("", LTE.tai, LTE.cell), 5.0, rat="EUTRA") == LTE

    def test_the_time_is_that_of_the_last_word_and_no_part_of_it(self) -> None:
        again = places.told(LTE, 5.0, rat="EUTRA")
        assert (again, again.at_s, LTE.at_s) == (LTE, 5.0, 0.0)


class TestSources:
    """Of several sources the last word counts."""

    @staticmethod
    def at(place: Place, at_s: float) -> Place:
        return Place(place.rat, place.tai, place.cell, at_s)

    def test_the_newest_of_two(self) -> None:
        old, new = self.at(LTE, 1.0), self.at(NR, 2.0)
        assert places.newest([old, new]) == places.newest([new, old]) == NR

    def test_at_one_time_the_later_part(self) -> None:
        assert places.newest([self.at(LTE, 1.0), self.at(NR, 1.0)]) == NR

    def test_a_newer_one_without_cell_leaves_that_of_the_same_technology(self) -> None:
        assert places.newest([self.at(LTE, 1.0), Place("EUTRA", at_s=2.0)]) == LTE

    def test_but_not_that_of_another(self) -> None:
        assert places.newest([self.at(LTE, 1.0), Place("WLAN", at_s=2.0)]) == Place("WLAN")

    def test_of_none_nothing(self) -> None:
        assert places.newest([NOWHERE, NOWHERE]) == NOWHERE
        assert not NOWHERE


def identities(digits: int) -> st.SearchStrategy[str]:
    """Return texts of a network and so many hexadecimal digits."""
    network = st.from_regex(r"[0-9]{3}-[0-9]{2,3}", fullmatch=True)
    return st.tuples(network, st.integers(0, 16**digits - 1)).map(lambda x: f"{x[0]}-{x[1]:0{digits}x}")


class TestAtRest:
    """A place is twenty bytes in the record of a session."""

    @given(
        st.sampled_from(places.RAT_NAMES),
        st.one_of(st.just(""), identities(4), identities(6)),
        st.one_of(st.just(""), identities(7), identities(8), identities(9)),
        st.integers(0, 0xFFFF_FFFF),
    )
    def test_it_comes_out_as_it_went_in(self, rat: str, tai: str, cell: str, at_s: int) -> None:
        place = Place(rat, tai, cell, at_s)
        raw = places.packed(place)

        assert len(raw) == places.PLACE_BYTES == OCTETS_SIZE
        assert (places.unpacked(raw), places.unpacked(raw).at_s) == (place, at_s)
        assert places.words(raw) == (rat, tai, cell)

    def test_names_keep_their_numbers_over_an_upgrade(self) -> None:
        """Files of sessions have them: these are the first, whatever names come behind."""
        first = ["UTRA", "GERA", "WLAN", "EUTRA", "VIRTUAL", "NBIOT", "LTE-M", "NR"]
        assert list(places.RAT_NAMES[:9]) == ["", *first]
        assert places.RAT_NAMES[21:24] == ("TRUSTED_N3GA", "TRUSTED_WLAN", "WIRELINE")


class TestElements:
    """An element that makes no sense says nothing; each of its truncations is one."""

    ULI = bytes.fromhex("18 00f110 1a2b 00f110 00abcd01")  # TAI and ECGI (TS 29.274, 8.21)

    def test_user_location_information(self) -> None:
        assert places.read_uli(Reader(self.ULI)) == (LTE.tai, LTE.cell)

    @pytest.mark.parametrize("cut", range(len(ULI)))
    def test_each_truncation(self, cut: int) -> None:
        assert places.read_uli(Reader(self.ULI[:cut])) == ("", "")

    def test_texts_are_of_the_documented_form(self) -> None:
        for text in (LTE.tai, LTE.cell, NR.tai, NR.cell):
            assert re.fullmatch(r"\d{3}-\d{2,3}-[0-9a-f]{4,9}", text)
