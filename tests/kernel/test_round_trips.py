"""Round trips of TCP: samples, and answers that are none, on all ways that a packet takes."""

from __future__ import annotations

import pytest

from tests.kernel.rig import Rig
from tests.kernel.ways import WAYS, Way, pair

CORE_MS, ACCESS_MS = 10, 20  # from the first end: to the other and back, and from here to the first end and back


@pytest.fixture(params=WAYS.values(), ids=WAYS.keys())
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


def opening(way: Way) -> list[tuple[float, bytes]]:
    """Return a handshake; the first end sends from 100 on, the other from 500."""
    return [
        (0, way.tcp(99, 0, flags="S", ack=0)),
        (CORE_MS, way.tcp(499, 0, back=True, ack=100, flags="SA")),
        (CORE_MS + ACCESS_MS, way.tcp(100, 0, ack=500)),
    ]


class TestAnswer:
    """The acknowledgement of just the end of the probe is its answer."""

    def test_an_equal_one_is_a_sample(self, rig: Rig, way: Way) -> None:
        flow = way.play(
            rig, (0, way.tcp(1)), (10, way.tcp(1, 0, back=True, ack=51)), (25, way.tcp(1, 0, back=True, ack=101))
        )

        assert (pair(flow["rtt_n"]), pair(flow["rtt_sum_us"])) == ((1, 0), (25_000, 0))

    def test_a_higher_one_is_none_and_ends_the_probe(self, rig: Rig, way: Way) -> None:
        late = way.tcp(1, 0, back=True, ack=101)
        flow = way.play(rig, (0, way.tcp(1)), (20, way.tcp(1, 0, back=True, ack=151)), (900, late))

        assert pair(flow["rtt_n"]) == (0, 0)

    @pytest.mark.parametrize("segments", [1, 2, 4, 8])
    def test_a_delayed_one_answers_the_last_of_a_pair(self, rig: Rig, way: Way, segments: int) -> None:
        """The receiver acknowledges every second segment (RFC 9293, 3.8.6.3); then both think for a second."""
        packets, seq = opening(way), 500
        for burst in range(5):
            at = 1000.0 * (burst + 1)
            for n in range(segments):
                packets.append((at + n, way.tcp(seq, back=True, ack=100)))
                seq += 100
                if n % 2 or segments == 1:
                    packets.append((at + n + ACCESS_MS, way.tcp(100, 0, ack=seq)))
        flow = way.play(rig, *sorted(packets, key=lambda packet: packet[0]))
        access_n, access_us = int(flow["rtt_n"][1]), int(flow["rtt_sum_us"][1])

        assert access_n >= 6  # one of the handshake, and one of each burst
        assert access_us == access_n * ACCESS_MS * 1000

    def test_one_that_answers_three_segments_has_its_turn(self, rig: Rig, way: Way) -> None:
        """Receivers that join segments acknowledge the last one only: after a turn without an answer another begins
        with the second segment."""
        packets, seq = opening(way), 500
        for burst in range(4):
            at = 1000.0 * (burst + 1)
            packets += [(at + n, way.tcp(seq + 100 * n, back=True, ack=100)) for n in range(3)]
            seq += 300
            packets.append((at + 2 + ACCESS_MS, way.tcp(100, 0, ack=seq)))
        flow = way.play(rig, *packets)

        assert int(flow["rtt_n"][1]) > 1
        assert int(flow["rtt_sum_us"][1]) == int(flow["rtt_n"][1]) * ACCESS_MS * 1000

    def test_both_directions_at_once(self, rig: Rig, way: Way) -> None:
        flow = way.play(
            rig,
            (0, way.tcp(1)),
            (CORE_MS, way.tcp(1, back=True, ack=101)),
            (CORE_MS + ACCESS_MS, way.tcp(101, 0, ack=101)),
        )

        assert pair(flow["rtt_sum_us"]) == (CORE_MS * 1000, ACCESS_MS * 1000)

    def test_a_time_of_ten_seconds_is_none(self, rig: Rig, way: Way) -> None:
        flow = way.play(rig, (0, way.tcp(1)), (10_001, way.tcp(1, 0, back=True, ack=101)))

        assert pair(flow["rtt_n"]) == (0, 0)


class TestResend:
    """A segment that is sent again makes its answer ambiguous (Karn's algorithm; RFC 6298, 3)."""

    def test_with_new_data_is_one(self, rig: Rig, way: Way) -> None:
        """A sender may put them into one segment (RFC 9293, 3.8.1): the rest of the data is new."""
        flow = way.play(rig, (0, way.tcp(1, 500)), (300, way.tcp(1, 1000)), (320, way.tcp(1, 0, back=True, ack=1001)))

        assert (pair(flow["retrans"]), pair(flow["rtt_n"])) == ((1, 0), (0, 0))

    def test_what_follows_begins_where_it_ended(self, rig: Rig, way: Way) -> None:
        flow = way.play(
            rig, (0, way.tcp(1, 500)), (300, way.tcp(1, 1000)), (301, way.tcp(1001)), (600, way.tcp(501, 500))
        )

        assert pair(flow["retrans"]) == (2, 0)

    @pytest.mark.parametrize("size", [1, 100])
    def test_of_any_length_ends_the_probe(self, rig: Rig, way: Way, size: int) -> None:
        flow = way.play(
            rig, (0, way.tcp(1, size)), (300, way.tcp(1, size)), (320, way.tcp(1, 0, back=True, ack=1 + size))
        )

        assert pair(flow["rtt_n"]) == (0, 0)

    @pytest.mark.parametrize("size", [0, 1])
    def test_a_keep_alive_ends_it_and_is_no_retransmission(self, rig: Rig, way: Way, size: int) -> None:
        """It repeats the last byte, or has none (RFC 9293, 3.8.4); the peer answers at once."""
        flow = way.play(rig, (0, way.tcp(1)), (8_000, way.tcp(100, size)), (8_020, way.tcp(1, 0, back=True, ack=101)))

        assert (pair(flow["retrans"]), pair(flow["rtt_n"])) == ((0, 0), (0, 0))

    def test_of_an_earlier_segment_ends_it_as_well(self, rig: Rig, way: Way) -> None:
        """Until the hole is filled the receiver cannot acknowledge what came after it."""
        flow = way.play(
            rig,
            *((n, way.tcp(1 + 100 * n)) for n in range(2)),
            (300, way.tcp(1)),
            (320, way.tcp(1, 0, back=True, ack=201)),
        )

        assert pair(flow["rtt_n"]) == (0, 0)

    def test_the_next_segment_is_a_probe_again(self, rig: Rig, way: Way) -> None:
        flow = way.play(
            rig,
            (0, way.tcp(1)),
            (300, way.tcp(1)),
            (310, way.tcp(1, 0, back=True, ack=101)),
            (400, way.tcp(101)),
            (415, way.tcp(1, 0, back=True, ack=201)),
        )

        assert pair(flow["rtt_sum_us"]) == (15_000, 0)


class TestHandshake:
    """SYN to SYN-ACK, SYN-ACK to ACK: each a round trip, unless it was sent twice before its answer."""

    def test_both_sides_and_the_whole(self, rig: Rig, way: Way) -> None:
        flow = way.play(rig, *opening(way))

        assert pair(flow["handshake_us"]) == (CORE_MS * 1000, ACCESS_MS * 1000)
        assert pair(flow["rtt_sum_us"]) == (CORE_MS * 1000, ACCESS_MS * 1000)
        assert int(flow["connect_us"]) == (CORE_MS + ACCESS_MS) * 1000

    def test_syn_and_its_answer_sent_twice_time_nobody(self, rig: Rig, way: Way) -> None:
        """The ACK answers the first SYN-ACK, 20 ms before, or the second, 8 ms before."""
        syn, answer, ack = (frame for _, frame in opening(way))
        flow = way.play(rig, (0, syn), (10, answer), (12, syn), (22, answer), (30, ack))

        assert pair(flow["handshake_us"]) == (10_000, 0)
        assert pair(flow["rtt_n"]) == (1, 0)
        assert pair(flow["retrans"]) == (1, 1)
        assert int(flow["connect_us"]) == 30_000

    def test_a_copy_of_the_syn_after_it_begins_nothing(self, rig: Rig, way: Way) -> None:
        syn, answer, ack = (frame for _, frame in opening(way))
        data, end = way.tcp(100, ack=500), way.tcp(500, 0, back=True, ack=200)
        flow = way.play(rig, (0, syn), (10, answer), (30, ack), (40, syn), (1000, data), (1010, end))

        assert pair(flow["handshake_us"]) == (10_000, 20_000)
        assert int(flow["connect_us"]) == 30_000
        assert pair(flow["rtt_sum_us"]) == (20_000, 20_000)
        assert (pair(flow["packets"]), pair(flow["retrans"])) == ((4, 2), (1, 0))

    @pytest.mark.parametrize("acknowledged", [100, 300])
    def test_data_of_the_syn_changes_nothing(self, rig: Rig, way: Way, acknowledged: int) -> None:
        """The server takes it or does not (RFC 7413, 4.2.2)."""
        flow = way.play(
            rig,
            (0, way.tcp(99, 200, flags="S", ack=0)),
            (10, way.tcp(499, 0, back=True, ack=acknowledged, flags="SA")),
            (30, way.tcp(acknowledged, 0, ack=500)),
        )

        assert pair(flow["handshake_us"]) == (10_000, 20_000)
        assert pair(flow["retrans"]) == (0, 0)

    def test_data_of_the_syn_begins_behind_it(self, rig: Rig, way: Way) -> None:
        """The data begin at its sequence number plus one (RFC 9293, 3.4)."""
        rig.plane.read_payloads()
        way.play(rig, (0, way.tcp(99, flags="S", ack=0, data=b"x" * 200)), (1, way.tcp(300, data=b"y" * 9)))
        first, second = rig.plane.read_payloads()

        assert (int(first["seq"]), int(first["length"]), int(second["seq"])) == (100, 200, 300)


class TestReordering:
    """A segment that fills a hole sooner than the handshake's round trip was overtaken; a resend takes a round trip."""

    @pytest.mark.parametrize(("after_ms", "overtaken"), [(1, True), (10, True), (29, True), (31, False), (300, False)])
    def test_the_handshake_says_how_soon(self, rig: Rig, way: Way, after_ms: int, overtaken: bool) -> None:
        hole = [(100, way.tcp(500, back=True, ack=100)), (101, way.tcp(700, back=True, ack=100))]
        flow = way.play(rig, *opening(way), *hole, (101 + after_ms, way.tcp(600, back=True, ack=100)))

        assert pair(flow["retrans"]) == (0, int(not overtaken))

    @pytest.mark.parametrize(("after_ms", "overtaken"), [(2, True), (4, False)])
    def test_without_one_it_is_three_milliseconds(self, rig: Rig, way: Way, after_ms: int, overtaken: bool) -> None:
        flow = way.play(rig, (0, way.tcp(1)), (1, way.tcp(201)), (1 + after_ms, way.tcp(101)))

        assert pair(flow["retrans"]) == (int(not overtaken), 0)

    def test_a_loss_before_another_one_stays_a_loss(self, rig: Rig, way: Way) -> None:
        """The first hole is filled after a round trip, when the second is young."""
        flow = way.play(
            rig,
            *opening(way),
            *((100 + n, way.tcp(100 + 100 * n, ack=500)) for n in range(30) if n not in (2, 27)),
            (134, way.tcp(300, ack=500)),
            (160, way.tcp(2800, ack=500)),
        )

        assert pair(flow["retrans"]) == (2, 0)

    def test_what_was_seen_before_is_a_resend_however_soon(self, rig: Rig, way: Way) -> None:
        flow = way.play(rig, *opening(way), (100, way.tcp(100, ack=500)), (101, way.tcp(100, ack=500)))

        assert pair(flow["retrans"]) == (1, 0)


class TestSilence:
    """A replay keeps a flow that is silent for hours: a probe that was open before times nothing."""

    ROUND_MS = (1 << 32) / 1000  # the clock of a flow counts microseconds in 32 bits

    @pytest.fixture(autouse=True)
    def stale(self, rig: Rig) -> None:
        rig.plane.forget_clocks_after(300)
        yield  # type: ignore[misc]
        rig.plane.forget_clocks_after(0)

    def test_of_data(self, rig: Rig, way: Way) -> None:
        way.play(rig, *opening(way), (100, way.tcp(100, ack=500)))
        rig.plane.new_epoch(4294)
        flow = way.play(rig, (self.ROUND_MS - 101 + 130, way.tcp(500, 0, back=True, ack=200)))

        assert pair(flow["rtt_n"]) == (1, 1)

    def test_of_a_handshake(self, rig: Rig, way: Way) -> None:
        way.play(rig, *opening(way)[:2])
        rig.plane.new_epoch(4294)
        flow = way.play(rig, (self.ROUND_MS - 11 + 30, way.tcp(100, 0, ack=500)))

        assert (pair(flow["rtt_n"]), int(flow["connect_us"])) == ((1, 0), 0)

    def test_a_short_one_changes_nothing(self, rig: Rig, way: Way) -> None:
        way.play(rig, *opening(way), (100, way.tcp(100, ack=500)))
        rig.plane.new_epoch(2)
        flow = way.play(rig, (2_000, way.tcp(500, 0, back=True, ack=200)))

        assert pair(flow["rtt_n"]) == (2, 1)


def sack(*edges: int) -> list[tuple[str, object]]:
    """Return the option with blocks of left and right edges (RFC 2018, 3)."""
    return [("NOP", None), ("NOP", None), ("SAck", edges)]


STAMPS = [("NOP", None), ("NOP", None), ("Timestamp", (7, 8))]


class TestForNothing:
    """A segment that was sent again although its original had arrived was not lost."""

    def test_an_answer_sooner_than_the_way_takes_is_that_of_the_original(self, rig: Rig, way: Way) -> None:
        """A tail loss probe goes out two round trips later (RFC 8985, 7.2), when the answer was just late."""
        flow = way.play(
            rig, *opening(way), (100, way.tcp(100, ack=500)), (130, way.tcp(100, ack=500)),
            (134, way.tcp(500, 0, back=True, ack=200)),
        )  # fmt: skip

        assert (pair(flow["retrans"]), pair(flow["spurious"])) == ((1, 0), (1, 0))

    def test_an_answer_after_a_whole_round_trip_is_that_of_the_copy(self, rig: Rig, way: Way) -> None:
        flow = way.play(
            rig, *opening(way), (100, way.tcp(100, ack=500)), (130, way.tcp(100, ack=500)),
            (130 + CORE_MS, way.tcp(500, 0, back=True, ack=200)),
        )  # fmt: skip

        assert (pair(flow["retrans"]), pair(flow["spurious"])) == ((1, 0), (0, 0))

    @pytest.mark.parametrize("stamps", [[], STAMPS], ids=["alone", "behind time stamps"])
    def test_a_duplicate_sack_says_it(self, rig: Rig, way: Way, stamps: list[tuple[str, object]]) -> None:
        """Its first block is below the acknowledgement (RFC 2883, 4)."""
        late = way.tcp(500, 0, back=True, ack=200, options=[*stamps, *sack(100, 200)])
        flow = way.play(rig, *opening(way), (100, way.tcp(100, ack=500)), (130, way.tcp(100, ack=500)), (160, late))

        assert pair(flow["spurious"]) == (1, 0)

    def test_both_signs_of_one_copy_are_one(self, rig: Rig, way: Way) -> None:
        flow = way.play(
            rig, *opening(way), (100, way.tcp(100, ack=500)), (130, way.tcp(100, ack=500)),
            (134, way.tcp(500, 0, back=True, ack=200)),
            (140, way.tcp(500, 0, back=True, ack=200, options=[*STAMPS, *sack(100, 200)])),
        )  # fmt: skip

        assert pair(flow["spurious"]) == (1, 0)

    def test_a_block_above_the_acknowledgement_is_a_hole(self, rig: Rig, way: Way) -> None:
        """SACK is for that: the segment was lost, and came again."""
        flow = way.play(
            rig, *opening(way), (100, way.tcp(100, ack=500)), (101, way.tcp(200, ack=500)),
            (112, way.tcp(500, 0, back=True, ack=100, options=[*STAMPS, *sack(200, 300)])),
            (115, way.tcp(100, ack=500)), (125, way.tcp(500, 0, back=True, ack=300)),
        )  # fmt: skip

        assert (pair(flow["retrans"]), pair(flow["spurious"])) == ((1, 0), (0, 0))

    def test_the_next_segment_is_a_probe_again(self, rig: Rig, way: Way) -> None:
        flow = way.play(
            rig, *opening(way), (100, way.tcp(100, ack=500)), (130, way.tcp(100, ack=500)),
            (134, way.tcp(500, 0, back=True, ack=200)), (200, way.tcp(200, ack=500)),
            (200 + CORE_MS, way.tcp(500, 0, back=True, ack=300)),
        )  # fmt: skip

        assert pair(flow["rtt_n"]) == (2, 1)


class TestLargest:
    """The largest sample of an interval, to a sixteenth."""

    @pytest.mark.parametrize("largest_ms", [12, 40, 999, 9_999])
    def test_of_two(self, rig: Rig, way: Way, largest_ms: int) -> None:
        rig.plane.new_epoch()
        flow = way.play(
            rig, (0, way.tcp(1)), (11, way.tcp(1, 0, back=True, ack=101)), (20, way.tcp(101)),
            (20 + largest_ms, way.tcp(1, 0, back=True, ack=201)),
        )  # fmt: skip
        high, none = pair(flow["rtt_high"])

        assert _round_trip_us(high) == pytest.approx(1000 * largest_ms, rel=1 / 16)
        assert none == 0

    def test_it_is_of_one_interval(self, rig: Rig, way: Way) -> None:
        way.play(rig, (0, way.tcp(1)), (900, way.tcp(1, 0, back=True, ack=101)))
        rig.plane.new_epoch()
        flow = way.play(rig, (10, way.tcp(101)), (30, way.tcp(1, 0, back=True, ack=201)))

        assert _round_trip_us(pair(flow["rtt_high"])[0]) == pytest.approx(20_000, rel=1 / 16)


def _round_trip_us(code: int) -> float:
    """Return the middle of the times that have a code (bpf/telemetry.h): 8 to 15, and a half, times a power of two."""
    return (8 + code % 8 + 0.5) * 2 ** (code // 8 - 1)
