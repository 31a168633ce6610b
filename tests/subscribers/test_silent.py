"""Rows that stand still have records without a packet, and nobody is blamed for a pause of the probe."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.subscribers.probe import CLASS_OF, TALK, Probe, bulk, call

UPLINK_ALONE = {"packets": (50, 0), "payload_packets": (50, 0), "octets": (5000, 0), "rtp_received": (50, 0)}
SPIKED_US = 400_000


def half_a_call() -> dict:
    """Return the flow of a call whose far side fell silent."""
    flow = call()
    flow.update({**UPLINK_ALONE, "rtp_expected": (50, 0), "gap_n": (50, 0)})
    flow.meta["media"]["last_payload_us"] = (0, 0xFFFF_FFFF)
    return flow


class TestStandingCall:
    """A call of which nothing comes any more is told while it stands, and no longer than that."""

    def begun(self) -> Probe:
        probe = Probe()
        for _ in range(10):
            probe.second(call())
        return probe

    def test_one_direction_that_stops_is_a_freeze_while_it_lasts(self):
        probe = self.begun()
        seen = [probe.second(half_a_call())[TALK] for _ in range(4)]

        assert seen[2]["frozen_s"] == pytest.approx(1, abs=0.05)
        assert seen[2]["mos"] < 2.5

    def test_nothing_at_all_is_told_without_a_packet(self):
        """One direction stopped before the other one did: somebody still waits."""
        probe = self.begun()
        for _ in range(3):
            probe.second(half_a_call())
        seen = probe.second()

        assert set(seen) == {TALK}
        row = seen[TALK]
        assert (row["flows"], row["dl_bytes"], row["ul_packets"]) == (0, 0, 0)
        assert (row["subscriber"], row["app"], row["dnn"]) == ("anna", "talk", "internet")
        assert row["frozen_s"] == pytest.approx(1, abs=0.05)

    def test_both_directions_that_end_together_are_the_end(self):
        probe = self.begun()

        assert [probe.second() for _ in range(5)] == [{}] * 5

    def test_other_applications_by_the_same_numbers_inherit_nothing(self):
        probe = self.begun()
        for _ in range(3):
            probe.second(half_a_call())
        probe.class_of = np.roll(CLASS_OF, 1)

        assert probe.second() == {}


class TestSuspectOfWhoStands:
    """A row that stands still names who did not answer: what was convicted a moment ago, else who fell silent."""

    def stood(self, half: dict, seconds: int = 2) -> dict:
        probe = Probe()
        for _ in range(10):
            probe.second(call())
        for _ in range(3):
            probe.second(half)
        return [probe.second() for _ in range(seconds)][-1][TALK]

    def test_a_far_side_that_fell_silent(self):
        row = self.stood(half_a_call())

        assert (row["suspect"], row["suspect_by"]) == ("core", "silence")
        assert row["mos"] < 2.5

    def test_a_ue_that_fell_silent(self):
        flow = call()
        flow.update({name: (0, values[0]) for name, values in UPLINK_ALONE.items()})
        flow.update({"rtp_expected": (0, 50), "gap_n": (0, 50)})
        flow.meta["media"]["last_payload_us"] = (0xFFFF_FFFF, 0)

        assert self.stood(flow)["suspect"] == "access"


class TestPauseOfTheProbe:
    """All timed flows of several subscribers that stand still at once: it was the probe, or its host."""

    def second(self, probe: Probe, *, spiked: int, flows: int = 20):
        made = []
        for n in range(flows):
            flow = call()
            flow.meta["who"] = f"{n:02}"
            if n < spiked:
                flow["gap_max_us"] = (SPIKED_US, SPIKED_US)
            made.append(flow)
        return probe.second(*made)

    def test_nobody_is_judged(self):
        probe = Probe()
        for _ in range(3):
            before = self.second(probe, spiked=0)
        seen = self.second(probe, spiked=20)
        after = self.second(probe, spiked=0)

        assert {row["unmeasured"] for row in seen.values()} == {"the probe paused"}
        assert all(math.isnan(row["mos"]) for row in seen.values())
        assert [row["mos"] for row in after.values()] == pytest.approx([row["mos"] for row in before.values()])

    @pytest.mark.parametrize("spiked", [1, 10, 17])
    def test_a_pause_of_some_is_theirs(self, spiked):
        probe = Probe()
        for _ in range(3):
            self.second(probe, spiked=0)
        seen = self.second(probe, spiked=spiked)

        assert {row["unmeasured"] for row in seen.values()} == {""}

    def test_a_pause_of_a_few_flows_says_nothing_of_the_probe(self):
        probe = Probe()
        for _ in range(3):
            self.second(probe, spiked=0, flows=4)

        assert {row["unmeasured"] for row in self.second(probe, spiked=4, flows=4).values()} == {""}


class TestSpuriousLoss:
    """Segments that were sent again for nothing are no loss, also when that turns out an interval later."""

    def test_they_are_taken_back(self):
        probe = Probe()
        lost = probe.second(bulk("file", 5.0, loss=0.1))["anna", "file"]
        packets = round(5e6 / 8 / 1400)
        back = probe.second(bulk("file", 5.0, loss=0.0, spurious=(0, round(0.1 * packets))))["anna", "file"]

        assert lost["loss_dl"] == pytest.approx(0.1, abs=0.01)
        assert back["loss_dl"] == 0
        assert back["suspect_by"] != "loss"

    def test_a_real_loss_stays(self):
        row = Probe().second(bulk("file", 1.0, loss=0.1))["anna", "file"]

        assert (row["suspect"], row["suspect_by"]) == ("access", "loss")
