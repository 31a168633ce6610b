"""Delays by the PDU Session Container (TS 38.415), and of the way through the UPF, by the clock of the capture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.packet import Raw

from nf.abi import SNF_DOWNLINK, SNF_UPLINK
from nf.flows.delays import DelayInterval, Delays
from tests.kernel.packets import DL_TEID, GNB, SERVER, UE, UL_TEID, UPF, downlink, ether, udp, uplink
from tests.kernel.rig import Rig
from tests.kernel.twin import DOWNLINK, UPLINK

MS = 1_000_000
SESSION = 7
QFI = 9
UPLINK_INDEX, DOWNLINK_INDEX = SNF_UPLINK, SNF_DOWNLINK


def ntp(seconds: float) -> int:
    """Return a time in the 64-bit format of RFC 5905, 6."""
    return round(seconds * 2**32)


def answer() -> Any:
    return udp(src=SERVER, dst=UE, sport=443, dport=40000)


@pytest.fixture
def known(rig: Rig) -> Iterator[Rig]:
    """Return the data plane with one session, its two tunnels and its address."""
    for name in ("delays", "stamps", "sights", "transits"):
        rig.plane._maps[name].clear()
    rig.know_tunnel(UPF, UL_TEID, UPLINK, SESSION)
    rig.know_tunnel(GNB, DL_TEID, DOWNLINK, SESSION)
    rig.know_ue(UE, SESSION)
    yield rig
    rig.plane.follow = False


def delay(rig: Rig) -> Any:
    (key,), (value,) = rig.plane.read_delays()
    assert (int(key["session"]), int(key["qfi"])) == (SESSION, QFI)
    return value


class TestRadioNetwork:
    """The gNB reports the delay of NG-RAN and radio in milliseconds (5.5.3.14 and 5.5.3.16)."""

    def test_results_of_both_directions(self, known: Rig) -> None:
        for down, up in ((12, 9), (20, 5)):
            frame = uplink(udp(), QFI, dlDelayInd=1, ulDelayInd=1, dlDelayRslt=down, ulDelayRslt=up)
            known.run(ether(frame))

        d = delay(known)
        assert d["ran_sum_ms"].tolist() == [14, 32]
        assert d["ran_n"].tolist() == [2, 2]

    def test_one_direction_alone(self, known: Rig) -> None:
        known.run(ether(uplink(udp(), QFI, ulDelayInd=1, ulDelayRslt=33)))

        assert delay(known)["ran_n"].tolist() == [1, 0]
        assert delay(known)["ran_sum_ms"].tolist() == [33, 0]

    def test_the_path_below_is_none_of_it(self, known: Rig) -> None:
        known.run(ether(uplink(udp(), QFI, N3N9DelayInd=1, N3N9DelayRslt=4)))

        assert delay(known)["ran_n"].tolist() == [0, 0]

    def test_each_qos_flow_has_its_own(self, known: Rig) -> None:
        known.run(ether(uplink(udp(), 1, ulDelayInd=1, ulDelayRslt=10)))
        known.run(ether(uplink(udp(), 2, ulDelayInd=1, ulDelayRslt=50)))

        keys, values = known.plane.read_delays()
        assert dict(zip(keys["qfi"].tolist(), values["ran_sum_ms"][:, UPLINK_INDEX].tolist(), strict=True)) == {
            1: 10,
            2: 50,
        }

    def test_without_a_session_the_tunnel_says_whose_it_is(self, rig: Rig) -> None:
        rig.plane._maps["delays"].clear()
        rig.run(ether(uplink(udp(), QFI, ulDelayInd=1, ulDelayRslt=10)))

        ((key,), _) = rig.plane.read_delays()
        assert (int(key["session"]), int(key["teid"]), int(key["qfi"])) == (0, UL_TEID, QFI)


class TestN3:
    """N3's delay lasts from the downlink packet to the uplink one that repeats its stamp, less the gNB's hold.

    TS 23.501, 5.33.3.2.
    """

    SENT, AT_GNB = 3_900_000_000.25, 100.0  # clocks of UPF and gNB, which need not agree

    def play(self, rig: Rig, back_after_ms: float, held_ms: float) -> None:
        down = downlink(answer(), QFI, QMP=1, dlSendTime=ntp(self.SENT))
        up = uplink(
            udp(),
            QFI,
            QMP=1,
            dlSendTimeRpt=ntp(self.SENT),
            dlRecvTime=ntp(self.AT_GNB),
            ulSendTime=ntp(self.AT_GNB + held_ms / 1000),
        )
        rig.run(ether(down))
        rig.run(ether(up), after_ns=round(back_after_ms * MS))

    def test_the_time_at_the_gnb_is_taken_off(self, known: Rig) -> None:
        self.play(known, 50, 42)

        assert abs(int(delay(known)["n3_sum_us"]) - 8_000) <= 1  # the format resolves a quarter of a nanosecond
        assert int(delay(known)["n3_n"]) == 1

    def test_several_are_a_sum(self, known: Rig) -> None:
        for back_after_ms, held_ms in ((30, 10), (15, 10), (22, 10)):
            self.play(known, back_after_ms, held_ms)

        d = delay(known)
        assert (int(d["n3_n"]), int(d["n3_sum_us"])) == (3, pytest.approx(37_000, abs=3))

    def test_an_uplink_packet_without_its_downlink_one_measures_nothing(self, known: Rig) -> None:
        up = uplink(udp(), QFI, QMP=1, dlSendTimeRpt=ntp(5), dlRecvTime=ntp(6), ulSendTime=ntp(7))
        known.run(ether(up))

        assert int(delay(known)["n3_n"]) == 0

    def test_a_gnb_that_held_it_longer_than_it_was_gone_is_not_believed(self, known: Rig) -> None:
        self.play(known, 10, 20)

        assert int(delay(known)["n3_n"]) == 0

    @pytest.mark.parametrize(
        ("gone_ms", "held_ms", "counts"),
        [(9_999, 0, True), (10_001, 0, False), (60_000, 0, False), (14_000, 5_000, True), (16_000, 5_000, False)],
    )
    def test_ten_seconds_beside_the_gnbs_own_are_the_most(
        self, known: Rig, gone_ms: float, held_ms: float, counts: bool
    ) -> None:
        """An older packet is the answer to something else: RTT_MAX_US, as for every other round trip."""
        self.play(known, gone_ms, held_ms)

        d = delay(known)
        assert int(d["n3_n"]) == int(counts)
        assert abs(int(d["n3_sum_us"]) - (gone_ms - held_ms) * 1000 * counts) <= 1


class TestSequence:
    """QFI sequence numbers have 24 bits (5.5.3.18, 5.5.3.19); what is missing was lost on N3."""

    @pytest.mark.parametrize("first", [1, 0xFFFFFA])
    def test_missing_packets_are_expected_but_not_received(self, known: Rig, first: int) -> None:
        for n in range(10):
            if n not in (3, 4):
                known.run(ether(uplink(udp(), QFI, SNP=1, UlQFISeqNum=(first + n) & 0xFFFFFF)))

        d = delay(known)
        assert (int(d["expected"][UPLINK_INDEX]), int(d["received"][UPLINK_INDEX])) == (10, 8)

    def test_a_late_one_is_received(self, known: Rig) -> None:
        for n in (1, 2, 4, 3, 5):
            known.run(ether(downlink(answer(), QFI, SNP=1, dlQFISeqNum=n)))

        d = delay(known)
        assert (int(d["expected"][DOWNLINK_INDEX]), int(d["received"][DOWNLINK_INDEX])) == (5, 5)


def segment(seq: int, size: int, *, back: bool = False, ack: int = 1, flags: str = "A", number: int = 1) -> Any:
    """Return a TCP segment from the UE, or *back* from the server; *number* is its IP identification."""
    src, dst, sport, dport = (SERVER, UE, 443, 40000) if back else (UE, SERVER, 40000, 443)
    head = IP(src=src, dst=dst, id=number) / TCP(sport=sport, dport=dport, seq=seq, ack=ack, flags=flags)
    return head / Raw(b"\x55" * size)


class TestBothSides:
    """N3 with GTP-U and N6 plain, fed with the two sides of one TCP session."""

    UP_MS, DOWN_MS = 0.7, 0.4  # inside the UPF

    def up(self, rig: Rig, packet: Any, after_ms: float) -> None:
        rig.run(ether(uplink(packet, QFI)), "n3", round(after_ms * MS))
        rig.run(ether(packet), "n6", round(self.UP_MS * MS))

    def down(self, rig: Rig, packet: Any, after_ms: float) -> None:
        rig.run(ether(packet), "n6", round(after_ms * MS))
        rig.run(ether(downlink(packet, QFI)), "n3", round(self.DOWN_MS * MS))

    def session(self, rig: Rig) -> None:
        """Play a handshake and two rounds: 20 ms to the server, 30 ms to the UE, from N6 and N3 on."""
        rig.plane.follow = True
        self.up(rig, segment(99, 0, flags="S", number=1), 5)
        self.down(rig, segment(499, 0, back=True, ack=100, flags="SA", number=2), 20)
        self.up(rig, segment(100, 0, ack=500, number=3), 30)
        for n in range(2):
            self.up(rig, segment(100 + 50 * n, 50, ack=500 + 80 * n, number=10 + n), 5)
            self.down(rig, segment(500 + 80 * n, 80, back=True, ack=150 + 50 * n, number=20 + n), 20)
        self.up(rig, segment(200, 0, ack=660, number=30), 30)

    def test_it_is_one_flow_with_both_directions_counted_once(self, known: Rig) -> None:
        self.session(known)

        flow = known.flow()
        assert flow["packets"].tolist() == [5, 3]
        assert flow["session"] == SESSION

    def test_it_has_a_round_trip_to_either_side(self, known: Rig) -> None:
        self.session(known)

        core_us, access_us = known.flow()["handshake_us"].tolist()
        # Uplink is counted on N3 and downlink on N6, where each comes in: the UPF is in the way on both sides.
        assert core_us == round((self.UP_MS + 20) * 1000)
        assert access_us == round((self.DOWN_MS + 30) * 1000)

    def test_the_way_through_the_upf_is_timed(self, known: Rig) -> None:
        before = known.plane.read_counters()["transit_measured"]
        self.session(known)

        ((session,), (transit,)) = known.plane.read_transits()
        assert known.plane.read_counters()["transit_measured"] - before == transit["n"].sum()
        assert int(session) == SESSION
        assert min(transit["n"].tolist()) >= 1  # the SYN and the SYN-ACK always, of others one in sixteen
        assert (transit["sum_us"] / transit["n"]).tolist() == [700, 400]

    def test_not_when_one_side_alone_is_seen(self, known: Rig) -> None:
        known.plane.follow = True
        known.run(ether(uplink(segment(99, 0, flags="S"), QFI)), "n3")
        known.run(ether(uplink(segment(99, 0, flags="S"), QFI)), "n3")

        (_, (transit,)) = known.plane.read_transits()
        assert transit["n"].tolist() == [0, 0]

    def test_not_when_it_is_not_asked_for(self, known: Rig) -> None:
        known.plane.follow = False
        self.up(known, segment(99, 0, flags="S"), 5)

        assert len(known.plane.read_transits()[0]) == 0

    def test_one_packet_in_sixteen_of_many(self, known: Rig) -> None:
        known.plane.follow = True
        for n in range(800):
            self.up(known, IP(src=UE, dst=SERVER, id=n) / UDP(sport=4000, dport=5000) / Raw(bytes(10)), 1)

        (_, (transit,)) = known.plane.read_transits()
        assert 20 <= int(transit["n"][UPLINK_INDEX]) <= 100  # 50 are due
        assert transit["seen"].tolist() == transit["n"].tolist()

    @pytest.mark.parametrize("passes", [True, False], ids=["the UPF sends it on", "the UPF drops it"])
    def test_what_does_not_come_out_is_seen_and_not_timed(self, known: Rig, passes: bool) -> None:
        known.plane.follow = True
        packet = segment(99, 0, flags="S")
        known.run(ether(uplink(packet, QFI)), "n3")
        if passes:
            known.run(ether(packet), "n6", after_ns=700_000)

        (_, (transit,)) = known.plane.read_transits()
        assert (transit["seen"].tolist(), transit["n"].tolist()) == ([1, 0], [int(passes), 0])


def read(delays: Delays, rig: Rig) -> DelayInterval:
    return delays.update(rig.plane.read_delays(), rig.plane.read_transits())


class TestIntervals:
    """User space has means of what was measured since it read before."""

    def test_of_sessions_and_of_qos_flows(self, known: Rig) -> None:
        reader, sessions = Delays(), np.array([SESSION, 99])
        for ms in (10, 20):
            known.run(ether(uplink(udp(), 1, ulDelayInd=1, ulDelayRslt=ms)))
        known.run(ether(uplink(udp(), 2, ulDelayInd=1, ulDelayRslt=60)))
        first = read(reader, known)
        known.run(ether(uplink(udp(), 2, ulDelayInd=1, ulDelayRslt=40)))
        second = read(reader, known)

        np.testing.assert_allclose(first.sessions(sessions)["ran_ul_ms"], [30, np.nan])
        np.testing.assert_allclose(
            first.flows(np.array([SESSION] * 2), np.array([1, 2]))["ran_ul_ms"], [15, 60], rtol=1e-6
        )
        np.testing.assert_allclose(second.sessions(sessions)["ran_ul_ms"], [40, np.nan])
        np.testing.assert_allclose(second.flows(np.array([SESSION] * 2), np.array([1, 2]))["ran_ul_ms"], [np.nan, 40])

    def test_of_the_upf(self, known: Rig) -> None:
        TestBothSides().session(known)
        means = read(Delays(), known).sessions(np.array([SESSION]))

        np.testing.assert_allclose([means["upf_ul_ms"][0], means["upf_dl_ms"][0]], [0.7, 0.4], rtol=1e-6)

    def test_nothing_measured_is_nothing_known(self, known: Rig) -> None:
        means = read(Delays(), known).sessions(np.array([SESSION]))

        assert np.isnan(np.concatenate(list(means.values()))).all()
