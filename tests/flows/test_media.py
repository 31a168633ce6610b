"""Media flows of an interval, from the details that the kernel keeps of them."""

from __future__ import annotations

import numpy as np
import pytest

from nf.flows.media import COUNTED, NO_MEDIA, Media, MediaInterval
from nf.kernel import source
from nf.kernel.compiled import compiled
from nf.kernel.details import Details

MAPS = compiled(source.flags(replay=True)).maps
DETAIL, CHUNK = MAPS["details"].value, MAPS["chunk_type"].value
NOW_US = 5_000_000
NO_CHUNKS = np.zeros(0, CHUNK)
PLACES = 16


def details(epoch: int, *flows: dict[str, int]) -> Details:
    """Return the details of *flows*, each with its number and place, the epoch being that number unless they say so."""
    states = np.zeros(len(flows), DETAIL)
    for i, flow in enumerate(flows):
        for name, value in ({"epoch": epoch & 0xFFFF} | flow).items():
            if name == "frames":
                states["equal"]["n"][i] = value
            elif name not in ("number", "place"):
                states[name][i] = value
    places = np.array([f.get("place", f["number"] % PLACES) for f in flows], np.intp)
    return Details(epoch, places, np.array([f["number"] for f in flows], np.uint64), states)


def closed_chunks(*chunks: tuple[int, int]) -> np.ndarray:
    """Return chunks of (flow, bytes)."""
    told = np.zeros(len(chunks), CHUNK)
    for i, (number, octets) in enumerate(chunks):
        told["number"][i], told["bytes"][i] = number, octets
    return told


def update(media: Media, read: Details, closed: np.ndarray = NO_CHUNKS, *others: int) -> MediaInterval:
    """Return the interval of all flows that were read, and of *others*."""
    return media.update(np.union1d(read.numbers, np.array(others, np.uint64)), read, closed, NOW_US)


def column(interval: MediaInterval, name: str, *numbers: int) -> list[float]:
    return interval.column(name, np.array(numbers, np.uint64)).tolist()


class TestGrowth:
    """Frames and freezes are those since the last call."""

    def test_the_difference_of_two_readings(self) -> None:
        media = Media(PLACES)
        update(media, details(1, {"number": 7, "frames": 100, "frozen_ms": 40}))
        second = update(media, details(2, {"number": 7, "frames": 130, "frozen_ms": 90}))

        assert column(second, "frames", 7) == [30]
        assert column(second, "frozen_ms", 7) == [50]

    def test_a_detail_that_was_not_there_began_with_zeros(self) -> None:
        media = Media(PLACES)
        update(media, details(1, {"number": 7, "frames": 100}))
        second = update(media, details(2, {"number": 7 + PLACES, "frames": 120}))

        assert column(second, "frames", 7 + PLACES) == [120]

    def test_what_was_there_at_the_begin_is_of_no_interval(self) -> None:
        media = Media(PLACES)
        media.begin(details(8, {"number": 7, "frames": 500, "frozen_ms": 70}))
        first = update(media, details(9, {"number": 7, "frames": 510, "frozen_ms": 70}))

        assert (column(first, "frames", 7), column(first, "frozen_ms", 7)) == ([10], [0])

    def test_another_process_goes_on_where_one_was(self) -> None:
        """The counts of the last read are in memory of both."""
        counted = np.zeros(PLACES, COUNTED)
        update(Media(PLACES, counted), details(1, {"number": 7, "frames": 100}))
        second = update(Media(PLACES, counted), details(2, {"number": 7, "frames": 130}))

        assert column(second, "frames", 7) == [30]

    @pytest.mark.parametrize("frames", [6, 100, 130])
    def test_a_detail_that_left_and_came_again_is_counted_anew(self, frames: int) -> None:
        """Also in the same place, of the same flow, and when it counts more than it had."""
        media = Media(PLACES)
        update(media, details(1, {"number": 7, "frames": 100, "begun_us": 5}))
        second = update(media, details(9, {"number": 7, "frames": frames, "begun_us": 9_000_000}))

        assert column(second, "frames", 7) == [frames]

    def test_an_interval_in_which_the_flow_is_silent_counts_what_came_at_the_end_of_the_one_before(self) -> None:
        media = Media(PLACES)
        update(media, details(3, {"number": 7, "frames": 8, "peak": 5}))
        second = update(media, details(4, {"number": 7, "frames": 10, "peak": 5, "epoch": 3}))

        assert column(second, "frames", 7) == [2]
        assert column(second, "peak_bps", 7) == [0]  # of the interval before

    def test_what_came_after_the_flow_was_read_is_of_the_next_interval(self) -> None:
        media, read = Media(PLACES), details(1, {"number": 7, "frames": 2}, {"number": 9, "frames": 3})
        first = media.update(np.array([7], np.uint64), read, closed_chunks((9, 5000), (7, 80)), NOW_US)
        second = update(media, details(2, {"number": 9, "frames": 4}))

        assert (column(first, "frames", 7, 9), column(second, "frames", 7, 9)) == ([2, 0], [0, 4])
        assert (column(first, "chunks", 7, 9), column(second, "chunks", 7, 9)) == ([1, 0], [0, 1])
        assert column(second, "chunk_octets", 9) == [5000]

    def test_the_number_of_an_interval_has_16_bits_in_a_detail(self) -> None:
        first = update(Media(PLACES), details(0x1_0002, {"number": 7, "peak": 3}))

        assert column(first, "peak_bps", 7) == [3 * 128 * 8 * 10]


class TestPeak:
    """The fullest 100 ms, as bits a second."""

    def test_a_slot_of_three_units(self) -> None:
        found = update(Media(PLACES), details(1, {"number": 7, "peak": 3}))

        assert column(found, "peak_bps", 7) == [3 * 128 * 8 * 10]  # 128 bytes a unit, ten slots a second


class TestChunks:
    """Answers that were complete, and their bytes, by flow."""

    @pytest.mark.parametrize("order", [(3, 9), (9, 3)])
    def test_each_goes_to_its_flow_in_whatever_order_both_are_read(self, order: tuple[int, int]) -> None:
        closed = closed_chunks((9, 5000), (3, 700), (9, 1000), (4, 99))
        found = update(Media(PLACES), details(1, *({"number": n} for n in order)), closed)

        assert column(found, "chunks", 3, 4, 9) == [1, 0, 2]
        assert column(found, "chunk_octets", 3, 4, 9) == [700, 0, 6000]

    def test_a_flow_without_a_detail_has_its_chunks(self) -> None:
        """Its request came, and closed them, in the moment between both reads."""
        found = update(Media(PLACES), details(1, {"number": 3}), closed_chunks((9, 5000)), 9)

        assert (column(found, "chunks", 3, 9), column(found, "frames", 9)) == ([0, 1], [0])

    def test_of_a_flow_that_is_gone_nothing_is_told(self) -> None:
        media = Media(PLACES)
        found = [update(media, details(1), closed_chunks((9, 5000)))]
        found += [update(media, details(2)), update(media, details(3), NO_CHUNKS, 9)]

        assert [column(interval, "chunks", 9) for interval in found] == [[0], [0], [0]]


class TestNone:
    """Most flows are of no media."""

    def test_they_have_zeros(self) -> None:
        found = update(Media(PLACES), details(1, {"number": 7, "frames": 3}))

        assert column(found, "frames", 6, 7, 8) == [0, 3, 0]
        assert column(NO_MEDIA, "chunk_octets", 6, 7) == [0, 0]
        assert (len(found), len(NO_MEDIA)) == (1, 0)
