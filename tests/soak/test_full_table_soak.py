"""An hour with a flow table at its limit: memory is flat, and a consumer can account for every byte."""

from __future__ import annotations

import os

import pytest

from tests.live.full_table import FLOWS, PLACES, hold_full

SECONDS = float(os.environ.get("SNF_FULL_TABLE_S", "3600"))
FILLED_S = 180  # the books of user space have their size
LEAST_S = 300
EARLY = max(0.1, FILLED_S / SECONDS)
PARTS = (EARLY, EARLY + 0.2), (0.8, 1.0)  # of the time, of which the usual memory is compared
FLAT_BYTES = 16 << 20  # a table of numpy columns is copied once when it grows


class TestFullTable:
    """Five times as many flows as places, in turns, and at times more at once than there are."""

    @pytest.mark.timeout(SECONDS * 2 + 300)
    def test_no_byte_is_missing_and_memory_stays_flat(self):
        assert SECONDS >= LEAST_S, f"Give SNF_FULL_TABLE_S {LEAST_S} or more: memory is judged when the books are full."
        seen = hold_full(SECONDS)
        early, late = (seen.usual_resident(*part) for part in PARTS)
        counters, grown = seen.counters, late - early

        print(f"\n{counters['frames']:,} frames of {FLOWS:,} flows in {PLACES:,} places in {seen.seconds:.0f} s")
        print(
            f"{counters['flow_new']:,} flows begun, {counters['flow_evicted']:,} gave up their place, "
            f"{counters['flow_full']:,} packets found none"
        )
        print(
            f"{seen.sent_bytes:,} bytes sent: {seen.record_bytes:,} in records, "
            + ", ".join(f"{octets:,} {name}" for name, octets in seen.left_out.items())
            + f"; {seen.missing_bytes:,} missing"
        )
        megabytes = [f"{octets / 2**20:.0f}" for _, octets in seen.resident[:: max(1, len(seen.resident) // 20)]]
        print(f"memory of the function in MiB: {' '.join(megabytes)}; late less early {grown / 2**20:+.1f}")
        assert seen.lost == 0
        assert seen.missing_bytes == 0
        assert seen.left_out["unflowed_bytes"] == counters["unflowed_octets"]
        assert seen.left_out["unread_bytes"] == 0
        assert counters["flow_full"] > 0
        assert counters["flow_evicted"] > SECONDS * 1000
        assert grown < FLAT_BYTES
