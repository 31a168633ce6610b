"""Results of several packets together: loss, round-trip times, gaps, with the clock of the capture."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.packet import Raw

from tests.kernel.packets import SERVER, UE, UL_TEID, ether, gtpu, outer
from tests.kernel.rig import Rig

MS = 1_000_000
SEGMENT = 100  # bytes of payload


def segment(
    seq: int,
    size: int = SEGMENT,
    *,
    back: bool = False,
    ack: int = 1,
    flags: str = "A",
    ts: tuple[int, int] | None = None,
    sack: tuple[int, int] | None = None,
) -> bytes:
    """Return a TCP segment from the UE, or *back* from the server."""
    src, dst, sport, dport = (SERVER, UE, 443, 40000) if back else (UE, SERVER, 40000, 443)
    options = [("NOP", None), ("NOP", None), ("Timestamp", ts)] if ts else []
    options += [("NOP", None), ("NOP", None), ("SAck", sack)] if sack else []
    head = TCP(sport=sport, dport=dport, seq=seq % (1 << 32), ack=ack % (1 << 32), flags=flags, options=options)
    return ether(IP(src=src, dst=dst) / head / Raw(b"\x55" * size))


SYN = segment(99, 0, flags="S")
SYN_ACK = segment(499, 0, back=True, ack=100, flags="SA")
ACK = segment(100, 0, ack=500)


def play(rig: Rig, *packets: tuple[int, bytes]) -> Any:
    """Run (milliseconds, frame) packets on N6; return the flow."""
    start = rig.now_ns
    for at_ms, frame in packets:
        rig.run(frame, "n6", start + at_ms * MS + MS - rig.now_ns)
    return rig.flow()


def pair(value: Any) -> tuple[int, int]:
    """Return both directions of a field: of the first packet's, and back."""
    return int(value[0]), int(value[1])


def low_us(ns: int) -> int:
    """Return a time as a flow keeps it (``abi.h``)."""
    return ns // 1000 % (1 << 32)


class TestClock:
    """The time of a flow is the capture's: it begins to the nanosecond, and goes on to the microsecond."""

    def test_first_and_last_are_as_given(self, rig: Rig) -> None:
        rig.run(segment(1), "n6")
        began = rig.now_ns
        rig.run(segment(101), "n6", 123_456_000)
        rig.run(segment(1, back=True), "n6", 5_000)

        (event,) = rig.events()
        assert event["at_ns"] == began
        assert pair(rig.flow()["last_us"]) == (low_us(began + 123_456_000), low_us(began + 123_461_000))

    def test_both_directions_are_counted_apart(self, rig: Rig) -> None:
        flow = play(rig, (0, segment(1)), (1, segment(101)), (2, segment(1, 60, back=True)))

        assert pair(flow["packets"]) == (2, 1)
        assert pair(flow["bytes"]) == (2 * (40 + SEGMENT), 40 + 60)
        assert pair(flow["payload_packets"]) == (2, 1)


class TestHandshake:
    """SYN to SYN-ACK times the far side of the client, SYN-ACK to ACK the client's side."""

    def test_both_sides_are_timed(self, rig: Rig) -> None:
        flow = play(
            rig,
            (0, segment(99, 0, flags="S")),
            (30, segment(499, 0, back=True, ack=100, flags="SA")),
            (50, segment(100, 0, ack=500)),
        )

        assert pair(flow["handshake_us"]) == (30_000, 20_000)
        assert pair(flow["rtt_min_us"]) == (30_000, 20_000)
        assert pair(flow["rtt_n"]) == (1, 1)

    def test_a_syn_that_is_sent_again_is_a_retransmission(self, rig: Rig) -> None:
        flow = play(rig, (0, segment(99, 0, flags="S")), (1000, segment(99, 0, flags="S")))

        assert pair(flow["retrans"]) == (1, 0)

    def test_the_whole_is_timed_from_syn_to_ack(self, rig: Rig) -> None:
        flow = play(rig, (0, SYN), (30, SYN_ACK), (50, ACK))

        assert int(flow["connect_us"]) == 50_000

    def test_no_time_at_all_is_a_microsecond(self, rig: Rig) -> None:
        """Zero says that nothing was seen; captures with a coarse clock have handshakes of no time."""
        flow = play(rig, (0, SYN), (0, SYN_ACK), (0, ACK))

        assert pair(flow["handshake_us"]) == (1, 1)
        assert int(flow["connect_us"]) == 1

    def test_one_direction_is_enough_for_the_whole(self, rig: Rig) -> None:
        """The client sends its ACK when the SYN-ACK came (RFC 9293, 3.5, figure 6), wherever that passed."""
        flow = play(rig, (0, SYN), (50, ACK))

        assert int(flow["connect_us"]) == 50_000
        assert pair(flow["handshake_us"]) == (0, 0)
        assert pair(flow["rtt_n"]) == (0, 0)

    def test_a_syn_ack_after_the_handshake_answers_nothing(self, rig: Rig) -> None:
        """A server that missed the ACK sends its SYN-ACK again, and has another ACK (RFC 9293, 3.10.7.4)."""
        flow = play(rig, (0, SYN), (30, SYN_ACK), (50, ACK), (1250, SYN_ACK), (1270, ACK))

        assert pair(flow["handshake_us"]) == (30_000, 20_000)
        assert int(flow["connect_us"]) == 50_000
        assert pair(flow["rtt_n"]) == (1, 1)
        assert pair(flow["retrans"]) == (0, 1)

    def test_the_answer_to_a_second_syn_times_no_side(self, rig: Rig) -> None:
        """It may be the answer to the first (RFC 6298, 3); the client's side has a packet of its own."""
        flow = play(rig, (0, SYN), (1000, SYN), (1005, SYN_ACK), (1025, ACK))

        assert pair(flow["handshake_us"]) == (0, 20_000)
        assert pair(flow["rtt_n"]) == (0, 1)
        assert int(flow["connect_us"]) == 25_000

    def test_the_answer_to_a_second_syn_ack_times_no_side(self, rig: Rig) -> None:
        flow = play(rig, (0, SYN), (30, SYN_ACK), (1030, SYN_ACK), (1035, ACK))

        assert pair(flow["handshake_us"]) == (30_000, 0)
        assert pair(flow["rtt_n"]) == (1, 0)
        assert int(flow["connect_us"]) == 1_035_000

    def test_a_reset_ends_no_handshake(self, rig: Rig) -> None:
        flow = play(rig, (0, SYN), (30, SYN_ACK), (50, segment(100, 0, ack=500, flags="RA")))

        assert pair(flow["handshake_us"]) == (30_000, 0)
        assert int(flow["connect_us"]) == 0

    def test_the_middle_of_a_connection_has_no_handshake(self, rig: Rig) -> None:
        flow = play(rig, (0, segment(1)), (9, segment(1, 0, back=True, ack=101)))

        assert pair(flow["handshake_us"]) == (0, 0)


class TestRetransmission:
    """A segment whose bytes were all seen before was sent again (RFC 9293, 3.8.1)."""

    def test_the_same_bytes_again(self, rig: Rig) -> None:
        flow = play(rig, (0, segment(1)), (1, segment(101)), (200, segment(1)), (201, segment(201)))

        assert pair(flow["retrans"]) == (1, 0)

    def test_each_direction_for_itself(self, rig: Rig) -> None:
        flow = play(rig, (0, segment(1)), (1, segment(1, back=True)), (99, segment(1, back=True)))

        assert pair(flow["retrans"]) == (0, 1)

    def test_bytes_of_a_hole_that_come_late_were_lost_before(self, rig: Rig) -> None:
        flow = play(rig, (0, segment(1)), (1, segment(201)), (90, segment(101)))

        assert pair(flow["retrans"]) == (1, 0)

    @pytest.mark.parametrize(
        ("packets", "filled"),
        [
            ([(0, segment(1)), (1, segment(101)), (90, segment(1))], 0),  # seen twice
            ([(0, segment(1)), (1, segment(201)), (90, segment(101))], 1),
            ([(0, segment(1)), (1, segment(201)), (2, segment(401)), (90, segment(101)), (91, segment(301))], 2),
            # The gap is filled and acknowledged; what is lost afterwards was lost behind.
            ([(0, segment(1)), (1, segment(201)), (90, segment(101)), (99, segment(1, 0, back=True, ack=301)),
              (200, segment(301)), (290, segment(301))], 1),
            # A receiver that still has something to SACK has a gap yet, whatever it acknowledges.
            *(([(0, segment(1)), (1, segment(401)), (90, segment(101)),
                (99, segment(1, 0, back=True, ack=201, sack=(401, 501), ts=ts)),
                (190, segment(201)), (191, segment(301))], 3) for ts in (None, (7, 8))),
            # It tells four blocks at most and may forget others (RFC 2018, 3 and 8): the gap is not filled for that.
            ([(0, segment(1)), (1, segment(401)), (90, segment(101)), (99, segment(1, 0, back=True, ack=201)),
              (190, segment(201)), (199, segment(1, 0, back=True, ack=301)), (290, segment(301)),
              (299, segment(1, 0, back=True, ack=501)), (300, segment(501)), (390, segment(501))], 3),
            ([(0, segment(1, back=True)), (1, segment(201)), (90, segment(1, back=True))], 0),  # a gap of the other way
        ],
        ids=["behind", "before", "two before", "before, then behind", "SACK", "SACK and stamps", "SACK forgotten",
             "other direction"],
    )  # fmt: skip
    def test_what_fills_a_gap_was_lost_before_the_probe(self, rig: Rig, packets: list, filled: int) -> None:
        assert sum(pair(play(rig, *packets)["filled"])) == filled

    def test_bytes_of_a_hole_that_come_at_once_were_overtaken(self, rig: Rig) -> None:
        flow = play(rig, (0, segment(1)), (1, segment(201)), (2, segment(101)))

        assert pair(flow["retrans"]) == (0, 0)

    def test_sequence_numbers_wrap(self, rig: Rig) -> None:
        flow = play(rig, (0, segment(-50)), (1, segment(50)), (2, segment(150)), (300, segment(50)))

        assert pair(flow["retrans"]) == (1, 0)

    def test_a_keep_alive_is_none(self, rig: Rig) -> None:
        """One old byte, or none, to provoke an answer (RFC 9293, 3.8.4)."""
        flow = play(rig, (0, segment(1)), (9_000, segment(100, 1)), (18_000, segment(100, 0)))

        assert pair(flow["retrans"]) == (0, 0)

    def test_a_probe_of_a_closed_window_is_none(self, rig: Rig) -> None:
        """One byte of new data, again and again until the window opens (RFC 9293, 3.8.6.1)."""
        flow = play(rig, (0, segment(1)), (200, segment(101, 1)), (600, segment(101, 1)), (1400, segment(101, 1)))

        assert pair(flow["retrans"]) == (0, 0)

    def test_a_fin_that_is_sent_again_is_one(self, rig: Rig) -> None:
        """A FIN takes a sequence number, and is sent again until it is acknowledged (RFC 9293, 3.6, 3.8.1)."""
        flow = play(rig, (0, segment(1)), (1, segment(101, 0, flags="FA")), (300, segment(101, 0, flags="FA")))

        assert pair(flow["retrans"]) == (1, 0)

    def test_an_acknowledgement_after_the_fin_is_none(self, rig: Rig) -> None:
        flow = play(rig, (0, segment(1)), (1, segment(101, 0, flags="FA")), (9, segment(102, 0)))

        assert pair(flow["retrans"]) == (0, 0)

    def test_what_the_frame_was_cut_of_was_still_sent(self, rig: Rig) -> None:
        """A snap length cuts the frame, not the segment: the next one leaves no hole behind it."""
        cut = 14 + 20 + 20 + 10
        flow = play(rig, (0, segment(1)[:cut]), (1, segment(101)[:cut]), (200, segment(1)[:cut]))

        assert pair(flow["retrans"]) == (1, 0)

    def test_pure_acknowledgements_are_none(self, rig: Rig) -> None:
        flow = play(rig, (0, segment(1, 0)), (1, segment(1, 0)), (2, segment(1, 0)))

        assert pair(flow["retrans"]) == (0, 0)


class TestRoundTrip:
    """A round-trip time is the delay of the answer to a packet, kept in the direction of that packet."""

    def test_by_acknowledgement_numbers(self, rig: Rig) -> None:
        flow = play(
            rig,
            (0, segment(1)),
            (10, segment(1, 0, back=True, ack=51)),
            (25, segment(1, 0, back=True, ack=101)),
        )

        assert pair(flow["rtt_n"]) == (1, 0)
        assert pair(flow["rtt_sum_us"]) == (25_000, 0)

    def test_the_answer_to_bytes_sent_twice_is_ambiguous(self, rig: Rig) -> None:
        """Karn's algorithm (RFC 6298, 3)."""
        flow = play(rig, (0, segment(1)), (300, segment(1)), (310, segment(1, 0, back=True, ack=101)))

        assert pair(flow["rtt_n"]) == (0, 0)

    def test_the_least_of_an_epoch_is_forgotten_with_it(self, rig: Rig) -> None:
        play(rig, (0, segment(1)), (9, segment(1, 0, back=True, ack=101)))
        rig.plane.new_epoch()
        flow = play(rig, (50, segment(101)), (70, segment(1, 0, back=True, ack=201)))

        assert pair(flow["rtt_min_us"])[0] == 20_000


def rtp(seq: int, ssrc: int = 0xCAFE, kind: int = 96) -> bytes:
    """Return an RTP packet (RFC 3550, 5.1)."""
    head = struct.pack("!BBHII", 0x80, kind, seq & 0xFFFF, 0, ssrc)
    return ether(IP(src=UE, dst=SERVER) / UDP(sport=5004, dport=5004) / Raw(head + bytes(20)))


class TestGaps:
    """The gaps between packets of one direction: sum, squares, the longest."""

    def test_they_add_up(self, rig: Rig) -> None:
        flow = play(rig, *((at, rtp(n)) for n, at in enumerate((0, 16, 32, 64))))

        assert pair(flow["gap_ticks"]) == (1000, 0)  # of 64 us: 250, 250, 500
        assert pair(flow["gap_ticks2"]) == (2 * 250**2 + 500**2, 0)
        assert pair(flow["gap_max"]) == (32_000 // 1024, 0)

    def test_a_pause_is_cut_at_a_second(self, rig: Rig) -> None:
        flow = play(rig, (0, rtp(1)), (5_000, rtp(2)))

        assert pair(flow["gap_ticks"]) == (1_000_000 // 64, 0)
        assert pair(flow["gap_max"]) == (5_000_000 // 1024, 0)


class TestTunnelFragments:
    """A tunnel packet in fragments is counted once and whole, with its first one (RFC 791, 3.2; RFC 8200, 4.5)."""

    @staticmethod
    def pieces(identification: int = 7) -> list[bytes]:
        """Return the fragments of a tunnel packet whose inner packet has 1,428 bytes."""
        whole = IP(bytes(outer() / gtpu(UL_TEID) / IP(src=UE, dst=SERVER) / UDP(sport=4, dport=5) / Raw(bytes(1400))))
        whole.id, whole.chksum = identification, None
        return [ether(piece) for piece in fragment(whole, 600)]

    @pytest.mark.parametrize("role", ["n3", "any"])
    def test_later_ones_belong_to_the_first(self, rig: Rig, role: str) -> None:
        first, *later = self.pieces()
        rig.run(first, role)
        why = [rig.run(piece, role).why for piece in later]

        assert len(later) == 2
        assert all({"outer_fragment", "outer_fragment_known"} <= facts for facts in why)
        assert (int(rig.flow()["packets"][0]), int(rig.flow()["bytes"][0])) == (1, 1428)

    def test_without_the_first_nothing_knows_whose_they_are(self, rig: Rig) -> None:
        _, *later = self.pieces()
        why = [rig.run(piece).why for piece in later]

        assert all("outer_fragment_known" not in facts for facts in why)
        assert rig.flows() == []

    def test_another_packet_has_another_identification(self, rig: Rig) -> None:
        rig.run(self.pieces(7)[0])
        outcome = rig.run(self.pieces(8)[1])

        assert "outer_fragment_known" not in outcome.why

    def test_in_ipv6_as_well(self, rig: Rig) -> None:
        head = IPv6(src="2001:db8::1", dst="2001:db8::2")
        inner = IP(src=UE, dst=SERVER) / UDP(sport=4, dport=5) / Raw(bytes(1400))
        datagram = UDP(sport=2152, dport=2152) / gtpu(UL_TEID) / inner
        pieces = fragment6(head / IPv6ExtHdrFragment(id=9) / datagram, 800)
        outcomes = [rig.run(ether(IPv6(bytes(piece)))) for piece in pieces]

        assert len(pieces) > 1
        assert all("outer_fragment_known" in outcome.why for outcome in outcomes[1:])
        assert (int(rig.flow()["packets"][0]), int(rig.flow()["bytes"][0])) == (1, 1428)


class TestSnapped:
    """A capture that cut the options of TCP off has sequence numbers, and what follows from them."""

    STAMPED = (1, 2)

    def cut(self, frame: bytes) -> bytes:
        """Return *frame* behind two tags, where 72 bytes end inside of the options."""
        return (frame[:12] + bytes.fromhex("88a8000581000006") + frame[12:])[:72]

    def test_the_handshake_is_timed_and_a_resend_counted(self, rig: Rig) -> None:
        sent = [
            (0, segment(99, 0, flags="S", ts=self.STAMPED)),
            (20, segment(499, 0, back=True, ack=100, flags="SA", ts=self.STAMPED)),
            (30, segment(100, 0, ack=500, ts=self.STAMPED)),
            (40, segment(100, ack=500, ts=self.STAMPED)),
            (400, segment(100, ack=500, ts=self.STAMPED)),
        ]
        flow = play(rig, *((at_ms, self.cut(frame)) for at_ms, frame in sent))

        assert pair(flow["handshake_us"]) == (20_000, 10_000)
        assert pair(flow["retrans"]) == (1, 0)
        assert pair(flow["payload_packets"]) == (2, 0)
