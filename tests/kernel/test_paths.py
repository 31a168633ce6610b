"""GTP-U paths: echoes and error indications between tunnel ends (TS 29.281, 7.2 and 7.3)."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.contrib.gtp import GTP_U_Header

from nf.flows.echoes import echoes
from tests.kernel.packets import GNB, UPF, ether, outer
from tests.kernel.rig import Rig

MS = 1_000_000
ECHO_REQUEST, ECHO_RESPONSE, ERROR_INDICATION = 1, 2, 26
RECOVERY = bytes([14, 0])  # information element of a response


def message(
    kind: int, src: str, dst: str, seq: int, body: bytes = b"", *, sport: int = 2152, dport: int = 2152
) -> bytes:
    """Return a signalling message of tunnel 0 with its sequence number."""
    return ether(outer(src, dst, sport=sport, dport=dport) / GTP_U_Header(S=1, seq=seq, gtp_type=kind, teid=0) / body)


@pytest.fixture
def paths(rig: Rig) -> Any:
    rig.plane._maps["paths"].clear()
    rig.plane._maps["echoes"].clear()
    return rig.plane.read_paths


class TestEcho:
    """A response answers the request of its path and sequence number."""

    def test_the_time_between_them_is_the_round_trip(self, rig: Rig, paths: Any) -> None:
        rig.run(message(ECHO_REQUEST, GNB, UPF, 7))
        rig.run(message(ECHO_RESPONSE, UPF, GNB, 7, RECOVERY), after_ns=12 * MS)
        (path,) = paths()
        assert (path.requester, path.responder) == (GNB, UPF)
        assert (path.requests, path.responses, path.rtt_samples) == (1, 1, 1)
        assert (path.rtt_min_us, path.rtt_mean_us, path.rtt_last_us) == (12_000, 12_000, 12_000)

    def test_minimum_mean_and_last_are_apart(self, rig: Rig, paths: Any) -> None:
        for seq, delay_ms in enumerate((10, 4, 7)):
            rig.run(message(ECHO_REQUEST, GNB, UPF, seq))
            rig.run(message(ECHO_RESPONSE, UPF, GNB, seq, RECOVERY), after_ns=delay_ms * MS)
        (path,) = paths()
        assert (path.rtt_min_us, path.rtt_mean_us, path.rtt_last_us) == (4_000, 7_000, 7_000)

    def test_the_last_answer_that_was_timed_has_its_time(self, rig: Rig, paths: Any) -> None:
        rig.run(message(ECHO_REQUEST, UPF, GNB, 1))
        rig.run(message(ECHO_RESPONSE, GNB, UPF, 1, RECOVERY), after_ns=12 * MS)
        answered_s = rig.plane.now_ns() / 1e9
        rig.run(message(ECHO_REQUEST, UPF, GNB, 2), after_ns=400 * MS)  # without an answer
        rig.run(message(ECHO_RESPONSE, GNB, UPF, 9, RECOVERY), after_ns=MS)  # of no request
        told = echoes(*rig.plane.read_echoes())
        assert told.responder.tolist() == [GNB]
        assert told.last_ms == pytest.approx([12])
        assert told.at_s == pytest.approx([answered_s], abs=1e-6)

    def test_a_path_without_an_answer_has_no_column(self, rig: Rig, paths: Any) -> None:
        rig.run(message(ECHO_REQUEST, UPF, GNB, 1))
        assert len(paths()) == 1
        assert len(echoes(*rig.plane.read_echoes())) == 0

    def test_another_sequence_number_answers_nothing(self, rig: Rig, paths: Any) -> None:
        rig.run(message(ECHO_REQUEST, GNB, UPF, 1))
        rig.run(message(ECHO_RESPONSE, UPF, GNB, 2, RECOVERY))
        (path,) = paths()
        assert (path.responses, path.rtt_samples) == (1, 0)

    def test_both_ends_ask_on_paths_of_their_own(self, rig: Rig, paths: Any) -> None:
        rig.run(message(ECHO_REQUEST, GNB, UPF, 1))
        rig.run(message(ECHO_REQUEST, UPF, GNB, 1))
        assert {(p.requester, p.responder) for p in paths()} == {(GNB, UPF), (UPF, GNB)}

    def test_a_repeated_response_counts_no_time(self, rig: Rig, paths: Any) -> None:
        rig.run(message(ECHO_REQUEST, GNB, UPF, 1))
        for _ in range(2):
            rig.run(message(ECHO_RESPONSE, UPF, GNB, 1, RECOVERY), after_ns=MS)
        (path,) = paths()
        assert (path.responses, path.rtt_samples) == (2, 1)


class TestPorts:
    """The asker chooses its port, and the answer goes there from 2152 (4.4.2.2)."""

    @pytest.mark.parametrize("role", ["n3", "any"])
    def test_an_answer_to_another_port_ends_the_round_trip(self, rig: Rig, paths: Any, role: str) -> None:
        rig.run(message(ECHO_REQUEST, GNB, UPF, 7, sport=50_000), role)
        outcome = rig.run(message(ECHO_RESPONSE, UPF, GNB, 7, RECOVERY, dport=50_000), role, after_ns=12 * MS)
        (path,) = paths()
        assert (path.requester, path.responses, path.rtt_min_us) == (GNB, 1, 12_000)
        assert "not_gtpu" not in outcome.why

    def test_an_error_indication_to_another_port_is_counted(self, rig: Rig, paths: Any) -> None:
        rig.run(message(ERROR_INDICATION, UPF, GNB, 0, dport=50_000))
        (path,) = paths()
        assert (path.requester, path.error_indications) == (UPF, 1)

    @pytest.mark.parametrize("kind", [1, 254, 255], ids=["echo request", "end marker", "user data"])
    def test_nothing_else_is_taken_for_gtpu_by_its_source_port(self, rig: Rig, paths: Any, kind: int) -> None:
        outcome = rig.run(message(kind, UPF, GNB, 7, bytes(20), dport=50_000))
        assert paths() == []
        assert "not_gtpu" in outcome.why

    def test_a_datagram_that_only_has_the_source_port_is_none(self, rig: Rig, paths: Any) -> None:
        outcome = rig.run(ether(outer(UPF, GNB, dport=50_000) / bytes(20)))
        assert "not_gtpu" in outcome.why


class TestErrorIndication:
    """An end that does not know a tunnel says so (7.3.1)."""

    def test_it_is_counted_for_its_sender(self, rig: Rig, paths: Any) -> None:
        rig.run(message(ERROR_INDICATION, GNB, UPF, 0, bytes.fromhex("10000000 0785 0004 0a000001".replace(" ", ""))))
        (path,) = paths()
        assert (path.requester, path.error_indications) == (GNB, 1)

    def test_it_is_counted_for_the_tunnel_that_it_is_about(self, rig: Rig, paths: Any) -> None:
        # TEID Data I (8.3) and GTP-U Peer Address (8.4): the tunnel, and the end that knows it no more.
        about = bytes([16]) + (0xA1).to_bytes(4, "big") + bytes.fromhex("850004c0000202")
        rig.plane._maps["tunnel_errors"].clear()
        for dport in (2152, 50_000):
            rig.run(message(ERROR_INDICATION, UPF, GNB, 0, about, dport=dport))

        ((address, teid, count, last_ns),) = rig.plane.read_tunnel_errors()
        assert (address, teid, count, last_ns) == (UPF, 0xA1, 2, rig.now_ns)

    def test_one_that_does_not_say_which_is_of_the_path_only(self, rig: Rig, paths: Any) -> None:
        rig.plane._maps["tunnel_errors"].clear()
        rig.run(message(ERROR_INDICATION, UPF, GNB, 0, bytes.fromhex("850004c0000202")))

        assert rig.plane.read_tunnel_errors() == []
        assert paths()[0].error_indications == 1


class TestFlood:
    """Echoes from everywhere fill a table of fixed size and nothing else."""

    def test_the_table_stays_within_its_bound(self, rig: Rig, paths: Any) -> None:
        for n in range(6000):
            rig.plane.run(message_from(n), rig.now_ns, None)
        assert 1000 < len(paths()) <= 4096


TEMPLATE = bytearray(message(ECHO_REQUEST, GNB, UPF, 1))


def message_from(n: int) -> bytes:
    """Return an echo request from one of many addresses; the kernel program does not check header checksums."""
    TEMPLATE[26:30] = bytes((172, 16, n >> 8, n & 255))
    return bytes(TEMPLATE)
