"""Captures behind public bug reports (`../shared/cases`): round trips, losses and connections that they hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nf.replay.records import record_rows
from tests.replay.conftest import Replayed

BEGIN_MS = 1_760_000_000_000
TICK_MS = 0.1  # figures are kept in microseconds and published in single precision

Case = Callable[[str], Replayed]


@pytest.fixture
def case(replay: Callable[..., Replayed], shared: Path) -> Case:
    return lambda name: replay(shared / "cases" / f"{name}.pcap")


def records(replayed: Replayed) -> list[dict[str, Any]]:
    rows = sorted(record_rows(replayed.batches), key=lambda row: row["t_ms"])
    assert rows
    return rows


def known(replayed: Replayed, *columns: str) -> list[float]:
    """Return the figures of these columns that are not missing, in the order of the intervals."""
    return [row[name] for row in records(replayed) for name in columns if not math.isnan(row[name])]


def access_ms(replayed: Replayed) -> list[float]:
    return known(replayed, "rtt_access_ms", "rtt_min_access_ms")


def core_ms(replayed: Replayed) -> list[float]:
    return known(replayed, "rtt_core_ms", "rtt_min_core_ms")


def retransmissions(replayed: Replayed) -> list[tuple[int, int]]:
    return [(row["retrans_fwd"], row["retrans_rev"]) for row in replayed.flows]


def within(values: Sequence[float], low: float, high: float) -> bool:
    return bool(values) and all(low - TICK_MS <= v <= high + TICK_MS for v in values)


class TestRoundTrips:
    """A round trip ends with the answer to the probe; an ambiguous answer, or one that waits for the user, is none."""

    def test_a_delayed_ack_before_an_idle_second(self, case: Case) -> None:
        """RFC 7323, 4.3: its echo is of the earlier segment; the later one is no probe of the next burst."""
        replayed = case("rtt_ts_idle")

        assert within(access_ms(replayed), 20, 21)
        assert len(known(replayed, "rtt_access_ms")) == 5  # a burst a second
        assert within(core_ms(replayed), 10, 10)

    def test_the_answer_to_a_keep_alive(self, case: Case) -> None:
        """RFC 9293, 3.8.4: a byte that was acknowledged already, eight seconds later."""
        replayed = case("rtt_ts_keepalive")

        assert within(access_ms(replayed), 20, 21)
        assert within(core_ms(replayed), 10, 10)

    def test_data_sent_again_together_with_new_data(self, case: Case) -> None:
        """Karn (RFC 6298, 3): what is acknowledged after it times nobody; each of the five is a retransmission."""
        replayed = case("tcp_coalesced_retransmissions")

        assert retransmissions(replayed) == [(0, 5)]
        assert known(replayed, "loss_dl") == pytest.approx([0.5] * 3, abs=0.01)
        assert within(access_ms(replayed), 20, 20)
        assert within(core_ms(replayed), 10, 10)

    def test_a_handshake_of_which_everything_but_the_end_passes_twice(self, case: Case) -> None:
        """The ACK answers the first of two SYN-ACKs after 20 ms, or nobody knows which."""
        replayed = case("handshake_syn_again_after_synack")

        assert within([*access_ms(replayed), 20.0], 20, 20)
        assert within([*core_ms(replayed), 10.0], 10, 10)
        assert [row["rtt_handshake_ms"] in ("", 30.0) for row in replayed.flows] == [True]

    def test_a_server_that_acknowledges_half_of_a_hello(self, case: Case) -> None:
        """RFC 9000, 17.2: an Initial proves nothing; the client's Handshake packet does, 40 ms after the server's."""
        replayed = case("quic_rtt_split_hello")

        assert within(access_ms(replayed), 40, 45)
        assert within(core_ms(replayed), 3, 4)

    def test_an_answer_after_more_microseconds_than_32_bits_count(self, case: Case) -> None:
        """2^32 us and 30 ms are no 30 ms: the true figure is one of 4,294,997 ms, or there is none."""
        replayed = case("clock_wrap_4295s")

        handshake, *later = access_ms(replayed)
        assert handshake == pytest.approx(20, abs=TICK_MS)
        assert [v for v in later if not within([v], 20, 20)] == pytest.approx([2**32 / 1e3 + 30] * (len(later) - 1))
        assert all(row["rtt_min_ms"] == 30.0 for row in replayed.flows)  # the handshake's two sides together


class TestConnections:
    """A SYN with a new number begins a connection of its own (RFC 9293, 3.4.1 and 3.6.1)."""

    def test_two_on_the_same_ports(self, case: Case) -> None:
        replayed = case("tcp_port_reuse")

        found = [(row["name"], row["app"], row["rtt_handshake_ms"], row["rtt_min_ms"]) for row in replayed.flows]
        assert found == [("www.netflix.com", "Netflix", 30.0, 30.0), ("www.wikipedia.org", "Wikipedia", 30.0, 30.0)]
        assert retransmissions(replayed) == [(0, 0), (0, 0)]
        assert all(row["rtt_n"] > 0 for row in replayed.flows)

    def test_their_records_name_each_in_its_own_time(self, case: Case) -> None:
        replayed = case("tcp_port_reuse")

        apps = {(row["t_ms"] - BEGIN_MS > 5_000, row["app"]) for row in records(replayed)}
        assert apps == {(False, "Netflix"), (True, "Wikipedia")}
        assert set(known(replayed, "loss_ul", "loss_dl")) == {0.0}
        assert within(access_ms(replayed), 20, 20)
        assert known(replayed, "rtt_min_core_ms") == [10.0, 10.0]
        assert known(replayed, "rtt_core_ms") == [13.0, 13.0]  # two samples of 10 ms, and the hello's of 19 (tshark)


class TestLosses:
    """Segments lost or sent again are counted, and nothing else."""

    def test_a_hole_that_is_filled_sooner_than_a_round_trip(self, case: Case) -> None:
        """15 segments out of order after 1 and 10 ms, on a round trip of 30: no byte passes twice."""
        replayed = case("tcp_reordered")

        assert retransmissions(replayed) == [(0, 0)]
        assert set(known(replayed, "loss_dl")) == {0.0}

    def test_ninety_packets_of_rtp_in_a_row(self, case: Case) -> None:
        """RFC 3550, A.1: a gap below MAX_DROPOUT is loss; 90 of the 300 packets of the second second."""
        replayed = case("rtp_burst_loss_90")

        lost = {(row["t_ms"] - BEGIN_MS) // 1000 - 1: row["loss_dl"] for row in records(replayed)}
        assert [lost[second] for second in range(3)] == pytest.approx([0.0, 0.30, 0.0], abs=0.01)

    def test_a_first_segment_that_passes_three_times(self, case: Case) -> None:
        """The client's: it is lost behind the probe twice."""
        assert retransmissions(case("tls_first_segment_three_times")) == [(2, 0)]


def test_each_case_is_replayed_by_a_test(shared: Path) -> None:
    """A capture that is added without a test of its right values does not pass unseen."""
    sources = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    cases = sorted(file.stem for file in (shared / "cases").glob("*.pcap"))

    assert cases
    assert [name for name in cases if f'"{name}"' not in sources] == []
