"""Plans of datagrams are exact: what is left out, and what its packets say, is known beforehand."""

from __future__ import annotations

import random
import re
from itertools import groupby, islice
from typing import ClassVar

import pytest
from scapy.contrib.rtcp import RTCP
from scapy.layers.rtp import RTP

from lab.rtcp import Receiver, is_rtcp, report
from lab.truth.datagrams import frames
from lab.truth.page import html
from lab.truth.streams import frame_of, game, lost, number_of, picture, voice

VOICE = {"codec": "PCMA"}


class TestVoice:
    """A voice is a frame each 20 ms, with the header that its codec wants."""

    def test_packets_are_rtp_as_scapy_reads_it(self) -> None:
        first, second = (RTP(d.payload) for d in islice(voice(VOICE, 1, "a"), 2))
        assert (first.version, first.payload_type, len(first.payload)) == (2, 8, 160)
        assert second.sequence - first.sequence == 1
        assert second.timestamp - first.timestamp == 160

    def test_a_silence_leaves_out_its_frames(self) -> None:
        plan = list(voice({**VOICE, "silence": [[1.0, 1.5]]}, 3, "a"))
        assert [d.number for d in plan if not d.payload] == list(range(50, 75))

    @pytest.mark.parametrize(("share", "run"), [(0.05, 1), (0.05, 8)])
    def test_loss_has_its_share_and_its_mean_run(self, share: float, run: int) -> None:
        gone = list(islice(lost({"loss": share, "run": run}, random.Random(1)), 200_000))
        runs = [len(list(group)) for away, group in groupby(gone) if away]
        assert sum(gone) / len(gone) == pytest.approx(share, rel=0.1)
        assert sum(runs) / len(runs) == pytest.approx(run if run > 1 else 1 / (1 - share), rel=0.1)


class TestGame:
    """A game's server sends a numbered tick each interval."""

    def test_ticks_have_numbers_and_a_spike_has_none(self) -> None:
        plan = list(game({"tick_ms": 50, "input_ms": 20, "spikes": [[1.0, 1.2]]}, 2, "a", "far"))
        assert [number_of(d.payload) for d in plan if d.payload] == [n for n in range(40) if n not in range(20, 24)]


class TestPicture:
    """A picture stream is cut into packets in one of two ways."""

    CHOICES: ClassVar = {"fps": 60, "bps": 5e6, "rtp": True, "cutting": "filled"}

    def test_the_last_packet_of_a_picture_has_the_marker_and_others_are_full(self) -> None:
        for _, group in groupby(picture(self.CHOICES, 2, "a"), lambda d: frame_of(d.number)):
            packets = [RTP(d.payload) for d in group]
            assert [p.marker for p in packets] == [0] * (len(packets) - 1) + [1]
            assert {len(p.payload) for p in packets[:-1]} <= {1200}

    def test_equal_parts_differ_by_less_than_their_number(self) -> None:
        for _, group in groupby(picture({**self.CHOICES, "cutting": "equal"}, 2, "a"), lambda d: frame_of(d.number)):
            sizes = [len(d.payload) for d in group]
            assert max(sizes) - min(sizes) < len(sizes) or max(sizes) < 52

    def test_a_picture_counts_when_all_of_it_arrived(self) -> None:
        sent = [[10.0, 0 << 8, 100], [10.1, 1 << 8, 100], [10.2, 1 << 8 | 1, 100]]
        found = frames(sent, [[10.05, 7, 100], [10.15, 8, 100]], 7)
        assert found == [{"second": 10, "sent": 2, "whole": 1}]


class TestRtcp:
    """A report tells the sender what arrived, as a peer library reads it."""

    def test_loss_and_sequence_are_in_the_block(self) -> None:
        receiver = Receiver(8000)
        plan = [d.payload for d in voice({**VOICE, "silence": [[0.2, 0.3]]}, 1, "a") if d.payload]
        for n, packet in enumerate(plan):
            receiver.rtp(packet, 100 + n * 0.02)
        data = report(0x1234, 99, (10, 1600), receiver, 101.0)
        assert is_rtcp(data)
        block = RTCP(data).report_blocks[0]
        assert (block.cumulative_lost, block.fraction_lost) == (5, 5 * 256 // 50)
        assert block.highest_seqnum_recv == RTP(plan[-1]).sequence

    def test_a_stream_without_jitter_has_none(self) -> None:
        receiver = Receiver(8000)
        for n, due in enumerate(voice(VOICE, 1, "a")):
            receiver.rtp(due.payload, 100 + n * 0.02)
        assert receiver.jitter < 1


class TestPage:
    """A page is made from its seed, with all that its script needs."""

    def test_a_seed_makes_the_same_page_twice(self) -> None:
        assert html(random.Random(3), 0, 0) == html(random.Random(3), 0, 0)
        assert html(random.Random(3), 0, 0) != html(random.Random(4), 0, 0)

    def test_servers_think_only_where_they_are_slow(self) -> None:
        assert "wait=0" in html(random.Random(3), 0, 0)
        assert set(re.findall(r"wait=(\d+)", html(random.Random(3), 0, 0))) == {"0"}
        assert len(set(re.findall(r"wait=(\d+)", html(random.Random(3), 0, 300)))) > 3

    def test_no_placeholder_is_left_in_its_script(self) -> None:
        assert not re.search(r"CHAINS|LATE|POLL", html(random.Random(3), 0, 0))
