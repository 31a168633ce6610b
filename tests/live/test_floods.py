"""A flood takes nothing from subscribers who are known: their counts are exact, and what it costs is bounded."""

from __future__ import annotations

import os

import pytest

from nf.kernel.dataplane import DataPlane
from nf.settings import Limits
from tests.live.flood import FLOODED, KNOWN, STRIDE, UNKNOWN, Flood, flood, user_frame
from tests.live.wire import N3, N6, wire

BURST_S = 1  # LIMIT_BURST_NS of limit.h


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
        assert flooded.counters["event_ring_full"] == 0
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
        with wire(**UNKNOWN) as bump:
            plane = DataPlane(Limits(unknown_flows_per_s=1000 * (os.cpu_count() or 1)))
            try:
                plane.attach(N3)
                plane.attach(N6)
                bump.send(user_frame(), 20_032)

                begun = plane.read_counters("n3")["flow_new"]
                assert 1000 <= begun < 3000
            finally:
                plane.close()
