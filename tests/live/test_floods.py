"""A flood takes nothing from subscribers who are known: their counts are exact, and what it costs is bounded."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from nf.kernel.dataplane import DataPlane
from nf.settings import Limits
from tests.live.flood import FLOODED, KNOWN, STRIDE, UNKNOWN, Flood, flood, user_frame
from tests.live.wire import N3, N6, wire

BURST_S = 1  # LIMIT_BURST_NS of limit.h


@contextmanager
def one_cpu() -> Iterator[None]:
    """Stay on one CPU: each has a bucket of its own."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(before)])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@pytest.fixture(scope="module")
def flooded() -> Flood:
    """Four seconds of a flood."""
    return flood(4)


class TestFlood:
    """Unknown TEIDs and echoes at full rate beside a hundred known subscribers."""

    def test_each_known_subscriber_is_counted_to_the_packet(self, flooded):
        assert flooded.packets == [flooded.frames // (KNOWN * STRIDE)] * KNOWN

    def test_flows_of_nobody_begin_at_the_limit(self, flooded):
        a_second = FLOODED.limits.flows // 16
        most = a_second * (flooded.seconds + 2 * BURST_S)  # a bucket is drawn from before, and filled again after

        assert 1000 < flooded.unknown_flows <= flooded.counters["tunnel_unknown"] < most
        assert flooded.counters["flow_new"] == KNOWN + flooded.counters["tunnel_unknown"]
        # A flow is announced with each packet until the ring has room; one of a single packet is announced once.
        refused = flooded.counters["event_ring_full"]
        assert flooded.announced >= flooded.counters["flow_new"] - refused
        assert flooded.announced <= flooded.counters["flow_new"]
        assert flooded.known_announced == KNOWN
        assert flooded.counters["flow_full"] == 0

    def test_every_frame_is_counted_for_the_port(self, flooded):
        of_users = flooded.frames
        counters = flooded.counters

        assert counters["gtpu_gpdu"] == of_users
        assert counters["counted"] + counters["unknown_limited"] == of_users
        assert counters["frames"] == of_users + counters["gtpu_echo_request"] == counters["redirected"]

    def test_paths_stay_within_their_table(self, flooded):
        assert flooded.paths <= 4096


class TestLimit:
    """The limit is what was configured, for a port and the processors that serve it."""

    def test_the_bucket_holds_a_second_and_no_more(self):
        with wire(**UNKNOWN) as bump, one_cpu():
            plane = DataPlane(Limits(unknown_flows_per_s=1000 * (os.cpu_count() or 1)))
            try:
                plane.attach(N3)
                plane.attach(N6)
                started_s = time.monotonic()
                bump.send(user_frame(), 20_032)
                took_s = time.monotonic() - started_s

                begun = plane.read_counters("n3")["flow_new"]
                assert 1000 <= begun <= 1000 * (BURST_S + took_s)
            finally:
                plane.close()
