"""Media flows of an interval, from the details that the kernel keeps of them."""

from __future__ import annotations

import numpy as np
import pytest

from nf.flows.media import Media, MediaInterval

DETAIL = np.dtype(
    [
        *(("frames", "u4"), ("frozen_ms", "u4")),
        *((n, "u2") for n in ("epoch", "peak", "frames_before", "frozen_before")),
    ]
)
CHUNK = np.dtype([("number", "u8"), ("bytes", "u4")])
NO_CHUNKS = np.zeros(0, CHUNK)


def details(*flows: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return flow numbers and details of *flows*."""
    out = np.zeros(len(flows), DETAIL)
    for i, flow in enumerate(flows):
        for name, value in flow.items():
            if name != "number":
                out[name][i] = value
    return np.array([f["number"] for f in flows], np.uint64), out


def column(interval: MediaInterval, name: str, *numbers: int) -> list[float]:
    return interval.column(name, np.array(numbers, np.uint64)).tolist()


class TestGrowth:
    """Frames and freezes are those since the last call."""

    def test_the_difference_of_two_readings(self) -> None:
        media = Media()
        media.update(details({"number": 7, "epoch": 1, "frames": 100, "frozen_ms": 40}), NO_CHUNKS, 1)
        second = media.update(details({"number": 7, "epoch": 2, "frames": 130, "frozen_ms": 90}), NO_CHUNKS, 2)

        assert column(second, "frames", 7) == [30]
        assert column(second, "frozen_ms", 7) == [50]

    def test_the_first_reading_is_of_its_interval_and_not_of_all_before(self) -> None:
        first = Media().update(
            details({"number": 7, "epoch": 1, "frames": 54_030, "frames_before": 54_000, "frozen_ms": 90_000,
                     "frozen_before": 90_000 - 65_536}), NO_CHUNKS, 1)  # fmt: skip

        assert column(first, "frames", 7) == [30]
        assert column(first, "frozen_ms", 7) == [0]

    def test_only_the_low_half_of_a_count_was_kept(self) -> None:
        first = Media().update(details({"number": 7, "epoch": 1, "frames": 65_546, "frames_before": 65_530}),
                               NO_CHUNKS, 1)  # fmt: skip

        assert column(first, "frames", 7) == [16]

    def test_a_flow_without_a_packet_in_the_interval_did_nothing(self) -> None:
        first = Media().update(details({"number": 7, "epoch": 3, "frames": 10, "peak": 5}), NO_CHUNKS, 4)

        assert column(first, "frames", 7) == [0]
        assert column(first, "peak_bps", 7) == [0]

    def test_a_count_that_began_anew_is_of_its_interval(self) -> None:
        media = Media()
        media.update(details({"number": 7, "epoch": 1, "frames": 100}), NO_CHUNKS, 1)
        second = media.update(details({"number": 7, "epoch": 2, "frames": 6}), NO_CHUNKS, 2)

        assert column(second, "frames", 7) == [6]

    def test_when_nobody_read_in_between_it_is_the_interval_alone(self) -> None:
        media = Media()
        media.update(details({"number": 7, "epoch": 1, "frames": 100}), NO_CHUNKS, 1)
        media.forget()
        third = media.update(details({"number": 7, "epoch": 9, "frames": 500, "frames_before": 490}), NO_CHUNKS, 9)

        assert column(third, "frames", 7) == [10]

    def test_the_number_of_an_interval_has_16_bits_in_a_detail(self) -> None:
        first = Media().update(details({"number": 7, "epoch": 2, "frames": 3}), NO_CHUNKS, 0x1_0002)

        assert column(first, "frames", 7) == [3]


class TestPeak:
    """The fullest 100 ms, as bits a second."""

    def test_a_slot_of_three_units(self) -> None:
        found = Media().update(details({"number": 7, "epoch": 1, "peak": 3}), NO_CHUNKS, 1)

        assert column(found, "peak_bps", 7) == [3 * 128 * 8 * 10]  # 128 bytes a unit, ten slots a second


class TestChunks:
    """Answers that were complete, and their bytes, by flow."""

    @pytest.mark.parametrize("order", [(3, 9), (9, 3)])
    def test_each_goes_to_its_flow_in_whatever_order_both_are_read(self, order: tuple[int, int]) -> None:
        closed = np.array([(9, 5000), (3, 700), (9, 1000), (4, 99)], CHUNK)
        found = Media().update(details(*({"number": n} for n in order)), closed, 1)

        assert column(found, "chunks", 3, 4, 9) == [1, 0, 2]
        assert column(found, "chunk_octets", 3, 4, 9) == [700, 0, 6000]

    def test_of_a_flow_that_is_gone_nothing_is_told(self) -> None:
        found = Media().update(details(), np.array([(9, 5000)], CHUNK), 1)

        assert column(found, "chunks", 9) == [0]
