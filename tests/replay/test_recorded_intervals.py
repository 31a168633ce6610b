"""Intervals of real phones and cores are the same by the compiled passes and by their references."""

from __future__ import annotations

from nf.fast import build
from nf.fast.library import load
from tests.fast.columns import compared

CAPTURES = ("ndpi__wa_video.pcap", "ndpi__telegram.pcap", "open5gs__ipsec_to_nonipsec_call.pcapng")


class TestRecordedIntervals:
    """Differences, rows and memories of both kinds are equal to the last bit in each interval."""

    def test_of_a_call_and_of_chats(self, replay, shared):
        with compared(load(build.SHARED_OBJECT)) as met:
            for name in CAPTURES:
                replay(shared / "captures" / "pcap" / name)

        assert len(met.flows) > 20
        assert sum(met.flows) > 200
        assert met.moved >= sum(met.flows)
