"""Round trips of QUIC: of the handshake, and of the spin bit, as an observer between the ends sees them (RFC 9312)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from nf.abi import FLOW_QUIC
from nf.naming.payloads import Payload
from tests.kernel.packets import SERVER, UE, ether
from tests.kernel.rig import Rig
from tests.naming.capture_payloads import expected_flows, flow_of, payloads

MS = 1_000_000
V1, V2, DRAFT_29 = 0x00000001, 0x6B3343CF, 0xFF00001D


INITIAL, ZERO_RTT, HANDSHAKE, RETRY = range(4)  # types of version 1 (RFC 9000, 17.2); version 2 has the next ones


def first_byte(kind: int, version: int) -> int:
    """Return the first byte of a long header (RFC 9369, 3.2: 0 is Retry in version 2)."""
    return 0xC0 | ((kind + (version == V2)) % 4) << 4


def packet(kind: int, version: int = V1, size: int = 100, token: bytes = b"") -> bytes:
    """Return a QUIC packet with a long header, its token if it is an Initial, and *size* bytes behind its length."""
    head = bytes([first_byte(kind, version)]) + version.to_bytes(4, "big") + b"\x08" + bytes(8) + b"\x05" + bytes(5)
    if kind == INITIAL:
        head += (bytes([len(token)]) if len(token) < 64 else (0x4000 | len(token)).to_bytes(2, "big")) + token
    return head + (0x4000 | size).to_bytes(2, "big") + bytes(size)


def long_header(back: bool = False, version: int = V1, kind: int = INITIAL) -> bytes:
    """Return a datagram of one packet with a long header."""
    return datagram(packet(kind, version, 1160), back)


def finished(version: int = V1) -> bytes:
    """Return the client's datagram that ends the handshake."""
    return long_header(version=version, kind=HANDSHAKE)


def short_header(spin: int, back: bool = False, size: int = 60) -> bytes:
    """Return a datagram with a short header (RFC 9000, 17.3.1), this spin bit and *size* bytes behind."""
    return datagram(bytes([0x40 | spin << 5]) + bytes(size), back)


def datagram(payload: bytes, back: bool) -> bytes:
    src, dst, sport, dport = (SERVER, UE, 443, 40000) if back else (UE, SERVER, 40000, 443)
    return ether(IP(src=src, dst=dst) / UDP(sport=sport, dport=dport) / Raw(payload))


def play(rig: Rig, *packets: tuple[float, bytes]) -> Any:
    """Run (milliseconds, frame) packets on N6; return the flow."""
    start = rig.now_ns
    for at_ms, frame in packets:
        rig.run(frame, "n6", start + round(at_ms * MS) + MS - rig.now_ns)
    return rig.flow()


def pair(value: Any) -> tuple[int, int]:
    return int(value[0]), int(value[1])


class TestHandshake:
    """Client Initial to the first packet of the server, and the server's hello to the client's Handshake packet."""

    @pytest.mark.parametrize("version", [V1, V2, DRAFT_29])
    def test_both_sides_are_timed(self, rig: Rig, version: int) -> None:
        hello = datagram(packet(INITIAL, version) + packet(HANDSHAKE, version, 900), True)
        flow = play(rig, (0, long_header(version=version)), (30, hello), (50, finished(version)))

        assert pair(flow["handshake_us"]) == (30_000, 20_000)
        assert pair(flow["rtt_n"]) == (1, 1)
        assert flow["flags"] & FLOW_QUIC

    @pytest.mark.parametrize("version", [V1, V2, DRAFT_29])
    @pytest.mark.parametrize("kind", [INITIAL, ZERO_RTT])
    def test_another_initial_and_early_data_prove_nothing(self, rig: Rig, version: int, kind: int) -> None:
        """Both may have been on their way when the server answered (RFC 9000, 17.2.2 and 17.2.3)."""
        flow = play(
            rig,
            (0, long_header(version=version)),
            (30, long_header(True, version)),
            (31, long_header(version=version, kind=kind)),
            (50, finished(version)),
        )

        assert pair(flow["handshake_us"]) == (30_000, 20_000)

    @pytest.mark.parametrize("token", [b"", bytes(20), bytes(100)])
    def test_a_handshake_packet_may_come_behind_an_initial(self, rig: Rig, token: bytes) -> None:
        """Packets of several levels go in one datagram (RFC 9000, 12.2); an Initial of a client may have a token."""
        both = datagram(packet(INITIAL, token=token) + packet(HANDSHAKE), False)
        flow = play(rig, (0, long_header()), (30, long_header(True)), (50, both), (90, finished()))

        assert pair(flow["handshake_us"]) == (30_000, 20_000)

    def test_an_acknowledgement_before_the_hello_is_not_what_is_answered(self, rig: Rig) -> None:
        """The hello came in two Initials, and the server acknowledged the first at once."""
        flow = play(
            rig,
            (0, long_header()),
            (3, long_header(True)),
            (4, long_header()),
            (8, long_header(True)),
            (48, finished()),
        )

        assert pair(flow["handshake_us"]) == (3_000, 40_000)

    def test_a_hello_in_two_datagrams_is_one(self, rig: Rig) -> None:
        flow = play(rig, (0, long_header()), (0.2, long_header()), (30, long_header(True)))

        assert pair(flow["handshake_us"])[0] == 30_000

    def test_the_answer_to_a_second_try_times_nothing(self, rig: Rig) -> None:
        """It may be the answer to the first (RFC 9002, 5.1)."""
        flow = play(rig, (0, long_header()), (1000, long_header()), (1030, long_header(True)), (1050, finished()))

        assert pair(flow["handshake_us"]) == (0, 20_000)

    @pytest.mark.parametrize("kind", [INITIAL, HANDSHAKE])
    def test_the_answer_to_a_second_flight_times_nothing(self, rig: Rig, kind: int) -> None:
        again = long_header(True, kind=kind)
        flow = play(rig, (0, long_header()), (30, again), (1030, again), (1035, finished()))

        assert pair(flow["handshake_us"]) == (30_000, 0)

    def test_more_of_the_servers_flight_changes_nothing(self, rig: Rig) -> None:
        flight = [(30 + n, long_header(True, kind=HANDSHAKE if n else INITIAL)) for n in range(3)]
        flow = play(rig, (0, long_header()), *flight, (51, finished()), (52, finished()))

        assert pair(flow["handshake_us"]) == (30_000, 20_000)
        assert pair(flow["rtt_n"]) == (1, 1)

    @pytest.mark.parametrize("version", [0, 0x51303433, 0x0A0A0A0A])
    def test_other_versions_are_left_alone(self, rig: Rig, version: int) -> None:
        flow = play(rig, (0, long_header(version=version)), (30, long_header(True, version)))

        assert not flow["flags"] & FLOW_QUIC
        assert pair(flow["handshake_us"]) == (0, 0)

    def test_rtp_is_none(self, rig: Rig) -> None:
        flow = play(rig, (0, datagram(b"\x80\x60" + bytes(100), False)))

        assert not flow["flags"] & FLOW_QUIC


class TestSpin:
    """An edge back is the server's side, the next one forth the client's; 25 ms and 15 ms here."""

    CORE_MS, ACCESS_MS = 25.0, 15.0

    def rounds(self, count: int, packets: int = 8) -> list[tuple[float, bytes]]:
        """Return *count* round trips of a connection that spins, with *packets* each way in each half."""
        sent: list[tuple[float, bytes]] = []
        at, value = 100.0, 1
        for _ in range(count):
            sent += [(at + 0.1 * n, short_header(value)) for n in range(packets)]
            sent += [(at + self.CORE_MS + 0.1 * n, short_header(value, True)) for n in range(packets)]
            at, value = at + self.CORE_MS + self.ACCESS_MS, 1 - value
        return sorted(sent, key=lambda packet: packet[0])

    def test_both_sides_are_timed_each_round(self, rig: Rig) -> None:
        flow = play(rig, (0, long_header()), (1, long_header(True)), *self.rounds(12))
        (core_n, access_n), (core_us, access_us) = pair(flow["rtt_n"]), pair(flow["rtt_sum_us"])

        # the handshake is one sample of 1 ms; the first rounds are not believed yet
        assert core_n >= 10
        assert access_n >= 9
        assert core_us == 1_000 + (core_n - 1) * 25_000
        assert access_us == access_n * 15_000

    def after_rounds(self, rig: Rig, *packets: tuple[float, bytes]) -> tuple[int, int]:
        """Return the sums of the samples that *packets*, at ms since the last of 12 rounds ended, added."""
        rounds = self.rounds(12)
        end = 100.0 + 12 * (self.CORE_MS + self.ACCESS_MS)
        opened = ((0, long_header()), (1, long_header(True)))
        before = pair(play(rig, *opened, *rounds)["rtt_sum_us"])
        rig.forget()
        after = pair(play(rig, *opened, *rounds, *((end + at, frame) for at, frame in packets))["rtt_sum_us"])
        return after[0] - before[0], after[1] - before[1]

    def test_an_acknowledgement_that_nobody_answers_is_no_probe(self, rig: Rig) -> None:
        """Nothing was under way, and the server's next packet answers a request of 300 ms later (RFC 9312, 3.8.2)."""
        request = (300, short_header(1, size=200))
        core_us, access_us = self.after_rounds(rig, (0, short_header(1)), request, (325, short_header(1, True)))

        assert (core_us, access_us) == (0, 15_000)

    def test_the_same_towards_the_client(self, rig: Rig) -> None:
        """The server acknowledges the last of an upload; the client thinks."""
        forth, back = (0, short_header(1, size=1200)), (25, short_header(1, True))
        core_us, access_us = self.after_rounds(rig, forth, back, (900, short_header(0, size=1200)))

        assert (core_us, access_us) == (25_000, 15_000)

    def test_data_is_answered_at_once_however_long_it_takes(self, rig: Rig) -> None:
        """A radio that turned slow: what has to be acknowledged is within 25 ms (max_ack_delay, RFC 9000, 18.2)."""
        forth, back = (0, short_header(1)), (25, short_header(1, True, size=1200))
        core_us, access_us = self.after_rounds(rig, forth, back, (325, short_header(0)))

        assert (core_us, access_us) == (25_000, 315_000)

    def test_so_is_an_acknowledgement_by_who_does_not_rest(self, rig: Rig) -> None:
        """A transfer goes on: the server's packets of before the edge pass, until those that saw it do."""
        stream = [(n * 50, short_header(0, True, size=1200)) for n in range(1, 6)]
        core_us, access_us = self.after_rounds(rig, (0, short_header(1)), *stream, (300, short_header(1, True, 1200)))

        assert (core_us, access_us) == (300_000, 15_000)

    def test_an_endpoint_that_does_not_spin_gives_none(self, rig: Rig) -> None:
        still = [(100 + n, short_header(0, bool(n % 2))) for n in range(100)]
        flow = play(rig, (0, long_header()), (1, long_header(True)), *still)

        assert pair(flow["rtt_n"]) == (1, 0)

    def test_random_bits_are_not_believed(self, rig: Rig) -> None:
        """An endpoint that does not take part sets it at random (RFC 9000, 17.4)."""
        bits = [int(b) for b in f"{0x9E3779B97F4A7C15F39CC0605CEDC834:0128b}"]
        noise = [(100 + n, short_header(bit, bool(n % 2))) for n, bit in enumerate(bits)]
        flow = play(rig, (0, long_header()), (1, long_header(True)), *noise)

        assert pair(flow["rtt_n"]) == (1, 0)

    def test_a_connection_seen_from_the_middle_is_not_followed(self, rig: Rig) -> None:
        flow = play(rig, *self.rounds(12))

        assert pair(flow["rtt_n"]) == (0, 0)


class TestCaptures:
    """The handshakes of the captures, against the times of their packets as scapy reads them."""

    @staticmethod
    def connections() -> Iterator[list[Payload]]:
        """Yield the packets of each connection that begins with an Initial of a version that is timed."""
        for row in expected_flows():
            if row["quic"] and row["proto"] == "17" and not row["leg"]:
                mine = [p for flow, p in payloads(row["file"]) if flow == flow_of(row)]
                if mine and int.from_bytes(mine[0].data[1:5], "big") in (V1, V2, DRAFT_29) and mine[0].data[0] >= 0xC0:
                    yield mine

    def test_the_servers_side_is_what_the_packet_times_say(self, rig: Rig) -> None:
        compared, wrong = 0, []
        for mine in self.connections():
            client = mine[0].src, mine[0].sport
            answer = next((p for p in mine if (p.src, p.sport) != client and p.data[0] >= 0x80), None)
            tries = [p for p in mine if answer and (p.src, p.sport) == client and p.at_s < answer.at_s]
            if answer is None or tries[-1].at_s - tries[0].at_s > 0.02:
                continue  # the server was not captured, or its answer is ambiguous
            rig.forget()
            packets = [((p.at_s - mine[0].at_s) * 1e3, datagram(p.data, (p.src, p.sport) != client)) for p in mine]
            seen_us, due_us = pair(play(rig, *packets)["handshake_us"])[0], (answer.at_s - mine[0].at_s) * 1e6
            compared += 1
            if abs(seen_us - due_us) > 2:  # a capture's time as a float resolves a quarter of a microsecond
                wrong.append((mine[0].src, seen_us, due_us))
        print(f"QUIC handshakes: {compared - len(wrong)} of {compared}")

        assert wrong == []
        assert compared == 10
