"""Further details of media flows: packet sizes, throughput of 100 ms, frames, requests and their answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from nf.abi import SLOT_US
from nf.flows.media import NEVER, MediaInterval
from nf.flows.media import Media as MediaReader
from nf.kernel.dataplane import DataPlane
from tests.kernel.packets import SERVER, UE, ether
from tests.kernel.rig import Rig

MS = 1_000_000
SECOND_MS = 1000
APP = 9


def down(size: int) -> bytes:
    """Return a downlink UDP packet with a payload of *size* bytes."""
    return ether(IP(src=SERVER, dst=UE) / UDP(sport=443, dport=40000) / Raw(bytes(size)))


def up(size: int) -> bytes:
    """Return an uplink UDP packet with a payload of *size* bytes."""
    return ether(IP(src=UE, dst=SERVER) / UDP(sport=40000, dport=443) / Raw(bytes(size)))


class Media:
    """One flow of an application whose detail is kept; time begins with a slot of 100 ms."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.plane = rig, rig.plane
        soon_us = rig.now_ns // 1000 + 2_000_000
        self.start_ns = (soon_us + -(soon_us % (1 << 32)) % SLOT_US) * 1000
        self.plane.set_policies({}, detailed=[APP])
        rig.run(up(10), "n6", self.start_ns - SECOND_MS * MS - rig.now_ns)
        keys, flows = self.plane.read_flows()
        self.plane.put_verdicts(keys, flows["number"], np.array([APP], np.uint16), np.ones(1, np.bool_))

    def play(self, *packets: tuple[float, bytes]) -> Any:
        """Run (milliseconds, frame) packets; return the flow's detail."""
        for at_ms, frame in packets:
            self.rig.run(frame, "n6", self.start_ns + round(at_ms * MS) - self.rig.now_ns)
        (detail,) = self.plane.details.present().states
        return detail


@pytest.fixture
def media(rig: Rig) -> Media:
    return Media(rig)


class TestPolicy:
    """Details are kept for applications of media only."""

    def test_others_have_none(self, rig: Rig) -> None:
        for _ in range(3):
            rig.run(down(500), "n6")

        assert len(rig.plane.details.present().numbers) == 0

    def test_it_is_kept_under_the_number_of_the_flow(self, media: Media) -> None:
        media.play((0, down(500)))

        assert media.plane.details.present().numbers.tolist() == media.plane.read_flows()[1]["number"].tolist()


class TestSizes:
    """Packets by the length of their payload; packets without one are left out."""

    def test_downlink_bins(self, media: Media) -> None:
        sizes = [1, 127, 128, 305, 306, 699, 700, 1099, 1100, 1349, 1350, 1400]
        detail = media.play(*((n, down(size)) for n, size in enumerate(sizes)))

        assert detail["down_sizes"].tolist() == [2, 2, 2, 2, 2, 2]
        assert detail["up_sizes"].sum() == 0

    def test_uplink_bins(self, media: Media) -> None:
        sizes = [1, 99, 100, 299, 300, 699, 700, 1400]
        detail = media.play(*((n, up(size)) for n, size in enumerate(sizes)))

        assert detail["up_sizes"].tolist() == [2, 2, 2, 2]

    def test_an_acknowledgement_has_no_size(self, media: Media) -> None:
        media.play((0, down(1)))
        ack = ether(IP(src=SERVER, dst=UE) / TCP(sport=443, dport=40000, flags="A"))
        media.rig.run(ack, "n6")

        (detail,) = media.plane.details.present().states
        assert detail["down_sizes"].sum() == 1


class TestSlots:
    """Downlink bytes of 100 ms each, by the clock; a unit is 128 bytes of IP."""

    PACKET = down(1280 - 28)  # ten units

    def test_each_slot_has_its_own(self, media: Media) -> None:
        detail = media.play((0, self.PACKET), (99, self.PACKET), (100, self.PACKET), (399, self.PACKET))

        first = self.slot(media, 0)
        assert [detail["slots"][(first + n) % 12] for n in range(4)] == [20, 10, 0, 10]
        assert detail["slot"] == first + 3

    def test_the_fullest_of_an_interval_stays(self, media: Media) -> None:
        busy = [(ms, self.PACKET) for ms in range(500, 550, 10)]
        detail = media.play((0, self.PACKET), *busy, (2_000, self.PACKET))

        assert (detail["peak"], detail["busy"]) == (50, 3)

    def test_a_slot_counts_for_the_interval_in_which_it_ends(self, media: Media) -> None:
        detail = media.play(*((ms, self.PACKET) for ms in range(0, 50, 10)))
        assert detail["peak"] == 0
        media.plane.new_epoch()
        detail = media.play((1_000, self.PACKET), (1_100, self.PACKET))
        assert detail["peak"] == 50
        media.plane.new_epoch()
        detail = media.play((3_000, self.PACKET), (3_100, self.PACKET))
        assert detail["peak"] == 10

    def test_a_pause_leaves_nothing_of_the_second_before(self, media: Media) -> None:
        media.play(*((100 * n, self.PACKET) for n in range(12)))
        detail = media.play((60_000, self.PACKET))

        assert sorted(detail["slots"].tolist()) == [0] * 11 + [10]

    def test_uplink_is_not_in_it(self, media: Media) -> None:
        detail = media.play((0, up(1000)), (1, up(1000)))

        assert detail["slots"].sum() == 0

    @staticmethod
    def slot(media: Media, at_ms: int) -> int:
        """Return the number of the slot of a time: the low half of the clock in microseconds over 100 ms."""
        return (media.start_ns + at_ms * MS) // 1000 % (1 << 32) // SLOT_US


class TestChunks:
    """An uplink payload above 300 bytes is a request; what comes down until the next one is its answer (Requet)."""

    ANSWER = down(1000)

    def chunk(self, media: Media, start_ms: int, packets: int) -> list[tuple[float, bytes]]:
        return [(start_ms, up(400)), *((start_ms + 50 + n, self.ANSWER) for n in range(packets))]

    def test_the_next_request_tells_the_one_before(self, media: Media) -> None:
        media.play(*self.chunk(media, 0, 100), *self.chunk(media, 4_000, 5))

        (chunk,) = media.plane.read_chunks()
        start_us = media.start_ns // 1000 % (1 << 32)
        assert (chunk["bytes"], chunk["packets"], chunk["request_length"]) == (100_000, 100, 400)
        assert (chunk["request_us"], chunk["first_us"]) == (start_us, start_us + 50_000)
        assert chunk["last_us"] == start_us + 149_000
        assert chunk["idle_us"] == 4_000_000 - 149_000

    def test_a_small_uplink_packet_is_no_request(self, media: Media) -> None:
        media.play(*self.chunk(media, 0, 100), (2_000, up(300)), (2_001, self.ANSWER), *self.chunk(media, 4_000, 1))

        (chunk,) = media.plane.read_chunks()
        assert chunk["packets"] == 101

    def test_a_small_answer_is_not_told(self, media: Media) -> None:
        media.play(*self.chunk(media, 0, 7), *self.chunk(media, 1_000, 1))

        assert len(media.plane.read_chunks()) == 0

    def test_the_open_one_can_be_read(self, media: Media) -> None:
        detail = media.play(*self.chunk(media, 0, 100))

        assert [detail["chunk"][name] for name in ("bytes", "packets", "closed")] == [100_000, 100, 0]

    def test_two_requests_that_waited_together_wait_no_more_once_there_is_an_answer(self, media: Media) -> None:
        """The first one is kept, for how long the answer took; a reader sees none that waits."""
        reader, asked = MediaReader(len(media.plane.details)), [(0, up(400)), (10, up(500))]
        media.play(*asked)
        before = read(reader, media.plane)
        media.play((60, self.ANSWER))
        after = read(reader, media.plane)

        assert before.open_waiting_us.tolist() == [10_000]
        assert after.open_waiting_us.tolist() == [NEVER]
        assert after.open_unanswered_us.tolist() == [60_000]


class TestFrames:
    """Packets of a frame differ by two bytes at most; another length begins the next frame (IMC 2023)."""

    @staticmethod
    def frame(at_ms: float, length: int) -> list[tuple[float, bytes]]:
        """Return a frame of three packets within 2 ms."""
        return [(at_ms, down(length)), (at_ms + 1, down(length + 2)), (at_ms + 2, down(length))]

    def test_they_are_counted_when_they_end(self, media: Media) -> None:
        frames = [self.frame(33 * n, 700 + 20 * (n % 7)) for n in range(30)]
        detail = media.play(*(packet for frame in frames for packet in frame))

        assert detail["equal"]["n"] == 29
        assert detail["frame_gap_us"] == 33_000
        assert detail["frozen_ms"] == 0

    def test_audio_between_them_is_none(self, media: Media) -> None:
        frames = [[*self.frame(33 * n, 700 + 20 * (n % 7)), (33 * n + 3, down(120))] for n in range(10)]
        detail = media.play(*(packet for frame in frames for packet in frame))

        assert detail["equal"]["n"] == 9

    def test_a_distance_far_above_the_mean_is_a_freeze(self, media: Media) -> None:
        """More than 150 ms above the mean, and three times as long: 500 ms among 33 ms."""
        starts = [33 * n for n in range(20)]
        starts += [starts[-1] + 500 + 33 * n for n in range(3)]
        frames = [self.frame(at, 700 + 20 * (n % 7)) for n, at in enumerate(starts)]
        detail = media.play(*(packet for frame in frames for packet in frame))

        assert detail["frozen_ms"] == 500
        assert detail["frame_gap_us"] == 33_000

    def test_two_of_one_length_are_parted_by_a_pause(self, media: Media) -> None:
        """Each third frame is as long as the one before, and 31 of 33 ms behind it."""
        frames = [self.frame(33 * n, 700 + 20 * (n // 3 % 5) + 100 * (n % 3 > 1)) for n in range(30)]
        detail = media.play(*(packet for frame in frames for packet in frame))

        assert detail["equal"]["n"] == 29

    def test_a_large_one_is_held_back_and_stays_one(self, media: Media) -> None:
        """A sender who may not send faster lets packets of a frame of twelve wait for 40 ms."""
        usual = [self.frame(33 * n, 700 + 20 * (n % 7)) for n in range(20)]
        large = [(660.0 + n + 40 * (n // 6), down(1100)) for n in range(12)]
        after = [self.frame(730 + 33 * n, 700 + 20 * (n % 7)) for n in range(5)]
        detail = media.play(*(packet for frame in [*usual, large, *after] for packet in frame))

        assert detail["equal"]["n"] == 25

    def test_the_last_packet_is_shorter_by_a_byte_for_each_before_it(self, media: Media) -> None:
        """5,996 bytes are five times 1,000 and 996 when they are cut into six of 1,000 at most."""
        frames = [[(16 * n + i / 5, down(1000 + 7 * (n % 5) - 4 * (i == 5))) for i in range(6)] for n in range(20)]
        detail = media.play(*(packet for frame in frames for packet in frame))

        assert detail["equal"]["n"] == 19

    def test_a_frame_of_one_small_packet_is_told_from_sound(self, media: Media) -> None:
        """Sound has 60 to 111 bytes here, and small frames 230 to 290."""
        sound = [(20 * n + 5.5, down(60 + 17 * (n % 4))) for n in range(200)]
        frames = [(33 * n, down(230 + 20 * (n % 4))) for n in range(91, 121)]
        detail = media.play(*sorted([*sound, *frames], key=lambda packet: packet[0]))

        assert detail["equal"]["n"] == 29

    @pytest.mark.parametrize("tail", [150, 290])
    def test_the_last_of_filled_packets_is_small(self, media: Media, tail: int) -> None:
        """Sound of 60 bytes beside it; packets of a frame are 10 ms apart, so that the last one alone tells its end."""
        sound = [(20 * n + 0.3, down(60)) for n in range(150)]
        frames = [(33 * n + 10 * i, down(1200 if i < 3 else tail)) for n in range(60, 100) for i in range(4)]
        before = media.play(*sorted([*sound, *frames[:120]], key=lambda packet: packet[0]))["filled"]["n"]
        detail = media.play(*frames[120:])

        assert detail["filled"]["n"] - before == 10

    def test_a_copy_of_a_full_packet_is_of_none(self, media: Media) -> None:
        """RFC 4588 puts the sequence number of the lost packet in front: two bytes more. It comes between frames."""
        frames = [[(33 * n, down(1200)), (33 * n + 0.1, down(1200)), (33 * n + 0.2, down(500))] for n in range(20)]
        copies = [[(33 * n + 15, down(1202))] for n in range(3, 20, 4)]
        detail = media.play(*sorted((packet for frame in frames + copies for packet in frame), key=lambda one: one[0]))

        assert detail["filled"]["n"] == 20

    @pytest.mark.parametrize("rule", ["equal", "filled"])
    def test_the_open_one_counts_in_the_interval_in_which_it_came(self, media: Media, rule: str) -> None:
        """Twenty frames, then one more of which two packets of three are there yet, then the rest and four."""
        reader, flow = MediaReader(len(media.plane.details)), media.plane.read_flows()[1]["number"]
        lengths = [1200 if rule == "filled" else 700 + 20 * (n % 7) for n in range(25)]
        packets = [(33 * n + i, down(lengths[n])) for n in range(25) for i in range(3)]
        told = []
        for some in (packets[:60], packets[60:62], packets[62:]):
            media.play(*some)
            told.append(read(reader, media.plane))

        assert [one.column(f"frames_{rule}", flow).tolist() for one in told] == [[20], [1], [4]]
        gaps = [one.column("frame_gap_ticks", flow)[0, ["equal", "filled"].index(rule)] for one in told]
        assert gaps == [19 * (33_000 // 64), 32_000 // 64, 4 * (33_000 // 64) + 33_000 // 64 - 32_000 // 64]


def read(reader: MediaReader, plane: DataPlane) -> MediaInterval:
    """Read an interval as the pipeline does; all flows of the table had packets in it."""
    flows = np.sort(plane.read_flows()[1]["number"])
    now_us = plane.now_ns() // 1000
    return reader.update(flows, plane.details.moved(), plane.read_chunks(), now_us)


class TestIntervals:
    """User space reads what grew since it read before."""

    def test_frames_and_chunks_are_those_of_the_interval(self, media: Media) -> None:
        reader, flow = MediaReader(len(media.plane.details)), media.plane.read_flows()[1]["number"]
        frames = [TestFrames.frame(33 * n, 700 + 20 * (n % 7)) for n in range(10)]
        media.play(*(packet for frame in frames for packet in frame))
        first = read(reader, media.plane)
        media.plane.new_epoch()
        more = [TestFrames.frame(33 * n, 700 + 20 * (n % 7)) for n in range(10, 15)]
        media.play(*(packet for frame in more for packet in frame))
        media.play((1_000, up(400)), *((1_050 + n, down(1000)) for n in range(100)), (3_000, up(400)))
        second = read(reader, media.plane)

        # The packets of the answer are of one length and follow each other: one frame.
        assert (first.column("frames", flow).tolist(), second.column("frames", flow).tolist()) == ([10], [6])
        assert second.column("chunks", flow).tolist() == [1]
        assert second.column("chunk_octets", flow).tolist() == [100_000]

    def test_peak_is_in_bits_a_second(self, media: Media) -> None:
        reader, flow = MediaReader(len(media.plane.details)), media.plane.read_flows()[1]["number"]
        media.play((0, down(1280 - 28)), (10, down(1280 - 28)), (200, down(100)))

        assert read(reader, media.plane).column("peak_bps", flow).tolist() == [2 * 1280 * 8 * 10]

    def test_a_flow_without_detail_has_zeros(self, media: Media) -> None:
        numbers = np.array([1, 2**40], np.uint64)

        assert read(MediaReader(len(media.plane.details)), media.plane).column("frames", numbers).tolist() == [0, 0]
