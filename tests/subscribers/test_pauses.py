"""Time in which a bulk flow moved data: gaps are the network's, and pauses the application's."""

from __future__ import annotations

import numpy as np
import pytest

from nf.flows.batch import ACCESS, CORE, DOWNLINK, FlowBatch
from nf.subscribers.sums import group

TCP = 6
SHORT_MS = 10  # of all gaps but the longest


def busy_s(
    longest_ms: int, *, core_ms: int = 0, access_ms: int = 0, octets: int = 300_000, packets: int = 200
) -> float:
    """Return the busy time of a download in a second that is full of gaps: a longest one, and others of 10 ms.

    A round trip of 0 ms was not measured.
    """
    others = (1000 - longest_ms) // SHORT_MS
    columns = {name: np.zeros((1, 2), np.uint64) for name in FlowBatch.__dataclass_fields__}
    zero = np.zeros(1, np.uint16)
    columns |= dict.fromkeys(("flow_id", "session", "app", "basis", "confidence"), zero)
    columns["proto"] = np.array([TCP], np.uint8)
    columns["octets"][0, DOWNLINK], columns["packets"][0, DOWNLINK] = octets, packets
    columns["gap_n"][0, DOWNLINK] = others + 1
    columns["gap_sum_us"][0, DOWNLINK] = 1000 * (longest_ms + others * SHORT_MS)
    columns["gap_sq_us2"][0, DOWNLINK] = 10**6 * (longest_ms**2 + others * SHORT_MS**2)
    columns["gap_max_us"][0, DOWNLINK] = 1000 * longest_ms
    for side, ms in ((CORE, core_ms), (ACCESS, access_ms)):
        columns["rtt_n"][0, side], columns["rtt_min_us"][0, side] = int(ms > 0), 1000 * ms
    batch = FlowBatch(**columns | {"t_start_s": 0.0, "t_end_s": 1.0})
    _, rows = group(batch, np.zeros(1, np.int64), 1.0)
    return float(rows.busy_s[0, DOWNLINK])


class TestPauses:
    """A gap of more than two round trips of the flow is a pause, within 200 and 900 ms."""

    @pytest.mark.parametrize(
        ("core_ms", "access_ms", "limit_ms"),
        [(150, 100, 500), (100, 50, 300), (10, 5, 200), (400, 300, 900)],
        ids=["of 250 ms", "of 150 ms", "a short one", "a long one"],
    )
    def test_the_gap_from_which_on(self, core_ms: int, access_ms: int, limit_ms: int) -> None:
        assert busy_s(limit_ms - 10, core_ms=core_ms, access_ms=access_ms) == pytest.approx(1.0)
        assert busy_s(limit_ms + 10, core_ms=core_ms, access_ms=access_ms) == pytest.approx(0.99 - limit_ms / 1000)

    @pytest.mark.parametrize("known", [{}, {"core_ms": 10}, {"access_ms": 10}])
    def test_without_both_round_trips_half_a_second(self, known: dict[str, int]) -> None:
        assert busy_s(490, **known) == pytest.approx(1.0)
        assert busy_s(510, **known) == pytest.approx(0.49)

    def test_no_radio_is_faster_than_a_gigabit(self) -> None:
        assert busy_s(990, octets=10_000_000, packets=7_000) == pytest.approx(0.08)  # 80 Mbit

    def test_a_flow_of_short_packets_moves_nothing(self) -> None:
        assert busy_s(10, octets=80_000, packets=200) == 0  # 400 bytes a packet
