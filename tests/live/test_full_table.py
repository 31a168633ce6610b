"""Bytes that were sent are in records, or the heartbeat says that they are in none, whatever the flow table does."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from nf.service import Service
from nf.settings import Settings
from tests.live.conftest import wait_until
from tests.live.flood import FLOODED, KNOWN, SESSIONS, UNKNOWN, user_frame
from tests.live.full_table import PACKET_BYTES, PLACES, Seen, full, hold_full
from tests.live.wire import wire

EASY = replace(full("ipc:///tmp/snf-sweeps.sock"), limits=FLOODED.limits)
SWEEPS = 5


def swept_bytes(service: Service) -> int:
    """Sweep, and return the bytes in the records of that."""
    return sum(int(r.columns["ul_bytes"].sum()) for r in service.pipeline.sweep(time.time()))


class TestSweep:
    """A sweep tells what was counted before it, once."""

    def test_bytes_that_come_while_it_reads_are_of_the_next_one(self):
        with wire(**UNKNOWN | {"STRIDE": 1}) as bump, Service() as service:
            service.apply(Settings(), EASY)
            told = 0
            with bump.load(user_frame()):
                for _ in range(SWEEPS):
                    passed = bump.seen()
                    wait_until(lambda passed=passed: bump.seen() > passed + KNOWN, "frames pass")
                    told += swept_bytes(service)
            told += swept_bytes(service)

            assert told == bump.sent() * PACKET_BYTES
            assert service.pipeline.left_out() == {"unread_bytes": 0, "outside_bytes": 0}

    def test_bytes_of_a_flow_that_gave_up_its_place_are_of_their_interval(self):
        with wire(**UNKNOWN | {"STRIDE": 1}) as bump, Service() as service:
            service.apply(Settings(), EASY)
            table = service.plane.flows
            bump.send(user_frame(), 64 * KNOWN)
            table.hold(table.present())

            assert swept_bytes(service) == 64 * KNOWN * PACKET_BYTES
            again = []
            wait_until(lambda: again.append(swept_bytes(service)) or not len(service.pipeline.book), "they are gone")
            assert sum(again) == 0
            assert service.pipeline.left_out() == {"unread_bytes": 0, "outside_bytes": 0}


@pytest.fixture(scope="module")
def seen() -> Seen:
    """Twelve seconds of a full table, with a burst."""
    return hold_full(12)


class TestFullTable:
    """Five times as many flows as places, and at times more at once than there are."""

    def test_a_consumer_misses_no_byte(self, seen):
        assert seen.lost == 0
        assert seen.missing_bytes == 0
        assert seen.left_out == {
            "unflowed_bytes": seen.counters["flow_full"] * PACKET_BYTES,
            "unread_bytes": 0,
            "outside_bytes": 0,
        }

    def test_flows_left_their_places_and_some_found_none(self, seen):
        assert seen.counters["flow_evicted"] > 2 * PLACES
        assert seen.counters["flow_full"] > 0
        assert seen.counters["flow_new"] > PLACES + seen.counters["flow_evicted"] / 2
        assert len(seen.by_subscriber) == len(SESSIONS)
