"""A receiver's report tells of the seconds before it and of the whole way; it is said of these, and of no more."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nf.qoe import voice as model
from tests.qoe.talkers import DOWN, UP, both, run, voice

NEAR = (20.0, 20.0)  # round trips in ms, access and core
PPS, EVERY = 50, 5  # packets a second; seconds between reports (RFC 3550, 6.2)


class Call:
    """A call second by second: what is lost before and behind the probe (uplink, downlink), and the reports of it.

    Reports of both ends come *at* a second of each five and tell of all packets that were sent until then.
    """

    def __init__(self, *, at: int = 0, share: float = 1.0) -> None:
        self.at, self.share = at, share  # of the packets of its second that a report tells of
        self.told = np.zeros((2, 2))  # expected, lost; by direction: so far,
        self.last = np.zeros((2, 2))  # and by the last report
        self.seconds: list = []

    def second(self, before=(0, 0), behind=(0, 0), beside=(0, 0)) -> Call:
        """Add a second; *beside* are segments of other flows, lost and sent, on the access's downlink."""
        n = len(self.seconds)
        columns, now = {}, np.array([[PPS, PPS], np.add(before, behind)], float)
        if n % EVERY == self.at:
            until = self.told + self.share * now
            new = until - self.last
            first = not self.last.any()
            columns = {
                "rtcp_reports": both(1),
                "rtcp_expected": 0 * new[None, 0] if first else new[None, 0],
                "rtcp_lost": 0 * new[None, 1] if first else new[None, 1],
            }
            self.last = until
        self.told += now
        seen = voice(1000.0 + n, lost=before, rtt=NEAR, **columns)
        lost, sent = (np.array([[[0, 0], [0, n]]]) for n in beside)
        seen = dataclasses.replace(seen, side_lost=seen.side_lost + lost, side_sent=seen.side_sent + sent)
        self.seconds.append(seen)
        return self

    def seconds_of(self, n: int, **lost) -> Call:
        """Add seconds that are alike."""
        for _ in range(n):
            self.second(**lost)
        return self

    def run(self):
        """Return the estimates and scores of each second."""
        return run(model, self.seconds)[1:]


class TestTheTimeOfAReport:
    """Loss until a side recovered is not said of the time after it."""

    @pytest.mark.parametrize("at", range(EVERY))
    def test_radio_that_recovers_for_both_directions(self, at):
        """Sequence numbers of the uplink tell at once that it did; the next reports are of the time before."""
        call = Call(at=at).seconds_of(40).seconds_of(20, before=(4, 0), behind=(0, 4)).seconds_of(20)
        _, mos = call.run()

        assert max(mos[50:60]) < 4.0
        assert min(mos[63:]) > 4.3  # a run of four packets a second is over once 50 came without one

    @pytest.mark.parametrize("at", range(EVERY))
    def test_core_that_recovers_for_both_directions(self, at):
        call = Call(at=at).seconds_of(40).seconds_of(20, before=(0, 4), behind=(4, 0)).seconds_of(20)
        _, mos = call.run()

        assert max(mos[50:60]) < 4.0
        assert min(mos[63:]) > 4.3

    @pytest.mark.parametrize("at", range(EVERY))
    def test_a_queue_of_one_direction_that_other_flows_lose_in(self, at):
        """Segments of pages beside the call are dropped in the same full queue; when it is empty no more are."""
        call = Call(at=at).seconds_of(40).seconds_of(20, behind=(0, 15), beside=(2, 10)).seconds_of(20, beside=(0, 20))
        _, mos = call.run()

        assert max(mos[50:60]) < 4.0
        assert min(mos[64:]) > 4.3

    @pytest.mark.parametrize("at", range(EVERY))
    def test_one_direction_says_nothing_of_the_queue_of_the_other(self, at):
        """The uplink loses nothing all the time, and there are no segments that would tell of the downlink."""
        call = Call(at=at).seconds_of(40).seconds_of(3, behind=(0, 15), beside=(2, 10)).seconds_of(17, behind=(0, 15))
        _, mos = call.run()

        assert max(mos[50:60]) < 4.0

    @pytest.mark.parametrize("at", range(EVERY))
    def test_a_side_that_goes_on_losing_one_direction_is_told_by_the_next_report(self, at):
        call = Call(at=at).seconds_of(40).seconds_of(20, before=(4, 0), behind=(0, 4)).seconds_of(20, behind=(0, 4))
        _, mos = call.run()

        assert max(mos[60 + 2 * EVERY :]) < 4.0

    @pytest.mark.parametrize("at", range(EVERY))
    def test_one_direction_alone_is_told_until_a_report_says_otherwise(self, at):
        """Nothing else tells of it: a report with less is believed, not the mean of it and those before."""
        call = Call(at=at).seconds_of(40).seconds_of(20, behind=(0, 4)).seconds_of(20)
        _, mos = call.run()
        until = next(n for n in range(60, 80) if (n - at) % EVERY == 0) + EVERY

        assert max(mos[50:60]) < 4.0
        assert min(mos[until:]) > 4.3

    def test_reports_that_come_no_more_are_forgotten(self):
        call = Call(at=0).seconds_of(41, behind=(0, 4))
        silent = [voice(1041.0 + n, rtt=NEAR) for n in range(20)]
        _, estimates, mos = run(model, call.seconds + silent)

        assert max(mos[20:51]) < 4.0
        assert np.isnan(estimates[-1].beyond_loss[0])
        assert estimates[-1].confidence[0] < estimates[40].confidence[0]


class TestTheHalfOfAReport:
    """Packets that the probe missed were lost before it, and only the others behind it."""

    @pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
    @pytest.mark.parametrize("at", range(EVERY))
    def test_bursts_in_the_core_are_not_the_radios(self, at, share):
        """A queue behind the UPF that is full for two seconds of seven."""
        call = Call(at=at, share=share)
        for n in range(70):
            call.second(before=(0, 15 if n >= 20 and n % 7 < 2 else 0))
        estimates, _ = call.run()

        assert max(e.beyond_loss[0] for e in estimates[10:]) < 0.01

    @pytest.mark.parametrize("at", range(EVERY))
    def test_both_halves_of_a_way_add_up(self, at):
        call = Call(at=at).seconds_of(60, before=(0, 1), behind=(0, 2))
        estimates, _ = call.run()

        assert estimates[-1].beyond_loss[0] == pytest.approx(0.04, abs=0.002)
        assert estimates[-1].loss[0] == pytest.approx(0.06, abs=0.002)

    def test_each_direction_has_its_half(self):
        assert (UP, DOWN) == (0, 1)
        estimates, _ = Call(at=0).seconds_of(40, behind=(2, 0)).run()

        assert estimates[-1].beyond_core[0] == pytest.approx(0.04, abs=0.002)
        assert estimates[-1].beyond_loss[0] == 0
