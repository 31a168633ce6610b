"""Packets of RTP that were expected and received, as a receiver would report them (RFC 3550, A.1 and A.3)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import pytest

from tests.kernel.rig import Rig
from tests.kernel.ways import WAYS, Way

SOURCE, OTHER = 0xCAFE, 0xBEEF
STEP_MS = 20


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


def rtp(seq: int, ssrc: int = SOURCE, second: int = 96) -> bytes:
    """Return an RTP packet (RFC 3550, 5.1) whose marker and payload type are *second*."""
    return struct.pack("!BBHII", 0x80, second, seq & 0xFFFF, 0, ssrc) + bytes(20)


def heard(rig: Rig, way: Way, packets: Iterable[bytes], *, back: bool = False) -> tuple[int, int]:
    """Return (expected, received) of packets that pass every 20 ms."""
    flow = way.play(rig, *((STEP_MS * n, way.udp(p, back=back)) for n, p in enumerate(packets)))
    return int(flow["rtp_expected"][0]), int(flow["rtp_received"][0])


class TestLoss:
    """A gap of less than MAX_DROPOUT (3000) is loss."""

    @pytest.mark.parametrize("first", [1, 65_530])
    def test_missing_packets_are_expected_but_not_received(self, rig: Rig, way: Way, first: int) -> None:
        assert heard(rig, way, (rtp(first + n) for n in range(20) if n not in (7, 8, 13))) == (20, 17)

    @pytest.mark.parametrize("lost", [1, 63, 64, 90, 2_998])
    def test_in_a_row_as_well(self, rig: Rig, way: Way, lost: int) -> None:
        numbers = [*range(10), *range(10 + lost, 20 + lost)]

        assert heard(rig, way, map(rtp, numbers)) == (20 + lost, 20)

    def test_a_late_packet_is_received(self, rig: Rig, way: Way) -> None:
        assert heard(rig, way, map(rtp, (1, 2, 4, 3, 5))) == (5, 5)

    def test_one_in_the_other_direction_as_well(self, rig: Rig, way: Way) -> None:
        assert heard(rig, way, (rtp(n) for n in range(20) if n != 9), back=True) == (20, 19)


class TestJump:
    """A larger step is a new count of its sender, once the next packet confirms it."""

    def test_two_in_sequence_begin_a_new_count(self, rig: Rig, way: Way) -> None:
        assert heard(rig, way, map(rtp, (*range(10), *range(20_000, 20_010)))) == (20, 20)

    def test_a_stray_one_is_ignored(self, rig: Rig, way: Way) -> None:
        assert heard(rig, way, map(rtp, (*range(10), 20_000, *range(10, 20)))) == (20, 20)

    def test_the_first_two_must_be_in_sequence(self, rig: Rig, way: Way) -> None:
        assert heard(rig, way, map(rtp, (7, 900, 4_000, 9, 10, 11))) == (3, 3)


class TestRtcp:
    """Packet types 192 to 223 on the same port are RTCP (RFC 5761, 4)."""

    @pytest.mark.parametrize("second", [192, 200, 201, 207, 223])
    def test_it_is_no_packet_of_the_source(self, rig: Rig, way: Way, second: int) -> None:
        packets = [p for n in range(10) for p in (rtp(n), rtp(n * 7, second=second))]

        assert heard(rig, way, packets) == (10, 10)

    @pytest.mark.parametrize("second", [0, 96, 127, 128, 0xE0, 0xFF])
    def test_others_are_media(self, rig: Rig, way: Way, second: int) -> None:
        assert heard(rig, way, (rtp(n, second=second) for n in range(10) if n != 5)) == (10, 9)


class TestSource:
    """A change of the source leaves its figures going on: a call is moved, or a sender begins anew (RFC 3550, 8.2)."""

    def test_the_new_one_counts_from_its_first_packet(self, rig: Rig, way: Way) -> None:
        after = [rtp(n, OTHER) for n in range(500, 600) if n % 10]

        assert heard(rig, way, [*map(rtp, range(50)), *after]) == (50 + 99, 50 + 90)

    def test_within_two_tenths_of_a_second(self, rig: Rig, way: Way) -> None:
        after = [rtp(n, OTHER) for n in range(500, 511) if n != 502]

        assert heard(rig, way, [*map(rtp, range(50)), *after]) == (50 + 11, 50 + 10)

    def test_a_second_source_beside_it_changes_nothing(self, rig: Rig, way: Way) -> None:
        """Sound and picture in one flow (RFC 8843): one of them is followed."""
        packets = [p for n in range(40) for p in (rtp(n), rtp(3 * n, OTHER))]

        assert heard(rig, way, packets) == (40, 40)
