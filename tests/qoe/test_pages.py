"""A page is measured from its first flow to the end of what belongs to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.truth.web import rank_correlation
from nf.qoe import pages
from nf.qoe.reasons import REASONS
from tests.qoe.page_loads import START_S, Page, ended, simple, told

WHOLE = replace(pages.DEFAULT, after_load=0.0)  # these pages have no beacons


class TestTime:
    """The time goes from the DNS question to the last byte of the page."""

    @pytest.mark.parametrize("phase_s", [0.0, 0.3, 0.6, 0.9])
    def test_of_objects_one_after_the_other(self, phase_s):
        page, last_s = simple()

        (page_s,) = ended(page.seen(phase_s=phase_s), WHOLE)

        assert page_s == pytest.approx(last_s, abs=1e-3)

    @pytest.mark.parametrize("wait_s", [0.8, 2.5, 4.0])
    def test_a_server_that_takes_long_is_part_of_it(self, wait_s):
        page, last_s = simple(wait_s=wait_s, objects=3)

        (page_s,) = ended(page.seen(), WHOLE)

        assert page_s == pytest.approx(last_s, abs=1e-3)

    def test_a_slow_link_is_part_of_it(self):
        page, last_s = simple(bps=0.8e6, objects=10, octets=80_000)
        assert last_s > 8

        (page_s,) = ended(page.seen(), WHOLE)

        assert page_s == pytest.approx(last_s, rel=0.02)

    def test_a_name_that_is_answered_late_is_part_of_it(self):
        page, last_s = simple()
        for at_s in (0.5, 1.5, 3.0):
            page.packets.append((-4.0 + at_s, (b"ue__", 39_999, b"dns_", 53, 17), True, 40, False))

        (page_s,) = ended(page.seen(), WHOLE)

        assert page_s == pytest.approx(last_s + 3.5, abs=1e-3)

    @pytest.mark.parametrize("earlier_s", [0.5, 0.8])
    def test_a_name_that_was_asked_for_and_told_before_is_no_part_of_it(self, earlier_s):
        page, last_s = simple()
        page.dns(-earlier_s)

        (page_s,) = ended(page.seen(), WHOLE)

        assert page_s == pytest.approx(last_s, abs=1e-3)

    def test_it_begins_with_its_request_on_a_connection_that_was_there(self):
        """A poll of its flow just before it is no part of it, nor is the name of another flow."""
        page, _ = simple()
        flow = page.connect(0.1)
        page.fetch(flow, 9.4, 3000)
        page.dns(9.2)
        at_s = 10.0
        for _ in range(5):
            at_s = page.fetch(flow, at_s, 60_000, wait_s=0.05)

        _, second = ended(page.seen(), WHOLE)

        assert second == pytest.approx(at_s - 10.0, abs=1e-3)

    def test_a_queue_behind_the_probe_is_no_gap(self):
        """The next object is asked for when the one before is through a queue of 600 ms."""
        page = Page()
        page.dns(0.0)
        flow, at_s = page.connect(0.05), 0.1
        for _ in range(5):
            last_s = page.fetch(flow, at_s, 40_000, bps=10e6)
            at_s = last_s + 0.6
        seen = [replace(interval, rtt_access_ms=np.array([600.0])) for interval in page.seen()]

        (page_s,) = ended(seen, WHOLE)

        assert page_s == pytest.approx(last_s + 0.6, abs=1e-3)

    def test_a_queue_of_which_few_samples_tell_is_no_gap(self):
        """The queue is empty again when an object begins: its first packet is timed then, those behind it are not."""
        page = Page()
        page.dns(0.0)
        flow, at_s = page.connect(0.05), 0.1
        for _ in range(5):
            last_s = page.fetch(flow, at_s, 40_000, bps=10e6)
            at_s = last_s + 0.8
        timed = (1000.0, 60.0, np.nan, 60.0, 60.0, np.nan)
        seen = [replace(interval, rtt_access_ms=np.array([timed[min(n, 5)]])) for n, interval in enumerate(page.seen())]

        (page_s,) = ended(seen, WHOLE)

        assert page_s == pytest.approx(last_s + 0.06, abs=1e-3)

    def test_a_connection_that_was_there_before_begins_no_page(self):
        page, last_s = simple()
        page.packets.append((-0.2, (b"ue__", 39_999, b"push", 443, 6), False, 300, True))

        (page_s,) = ended(page.seen(), WHOLE)

        assert page_s == pytest.approx(last_s, abs=1e-3)

    def test_the_way_between_probe_and_ue_is_part_of_it(self):
        page, last_s = simple()
        seen = [replace(interval, rtt_access_ms=np.array([300.0])) for interval in page.seen()]

        assert ended(seen, WHOLE) == pytest.approx([last_s + 0.3], abs=1e-3)

    def test_two_pages_are_two(self):
        page, last_s = simple()
        page.dns(9.0)
        flow = page.connect(9.05)
        second_s = page.fetch(flow, 9.1, 300_000, wait_s=0.4)

        first, second = ended(page.seen(), WHOLE)

        assert first == pytest.approx(last_s, abs=1e-3)
        assert second == pytest.approx(second_s - 9.0, abs=1e-3)


class TestAfterLoad:
    """Bytes that come after the page do not make it longer."""

    @pytest.mark.parametrize("every_s", [0.25, 0.5, 1.0])
    def test_polling(self, every_s):
        page, last_s = simple()
        poll = page.connect(0.1)
        for n in range(int(20 / every_s)):
            page.fetch(poll, last_s + 0.2 + n * every_s, 300)

        (page_s,) = ended(page.seen(), WHOLE)

        assert page_s == pytest.approx(last_s, rel=0.05)

    @pytest.mark.parametrize("later_s", [0.5, 1.0, 1.8, 5.0])
    def test_a_late_object(self, later_s):
        page, last_s = simple()
        late = page.connect(0.1)
        page.fetch(late, last_s + later_s, 15_000)

        (page_s,) = ended(page.seen(), WHOLE)

        assert page_s == pytest.approx(last_s, abs=0.01)

    @pytest.mark.parametrize("later_s", [0.6, 1.2, 2.5])
    def test_large_late_objects_while_it_polls(self, later_s):
        """A fifth of the page's bytes, as advertisements have."""
        page, last_s = simple()
        late, poll = page.connect(0.1), page.connect(0.1)
        page.fetch(late, last_s + later_s, 100_000)
        for n in range(10):
            page.fetch(poll, last_s + 0.5 * (n + 1), 3000)

        assert ended(page.seen(), WHOLE)[0] == pytest.approx(last_s, abs=0.01)

    def test_an_answer_that_goes_on_after_a_silence_of_its_server_is_part_of_the_page(self):
        page = Page()
        page.dns(0.0)
        flow = page.connect(0.05)
        at_s = page.fetch(flow, 0.1, 200_000)
        page.packets += [(at_s + 0.8 + 0.001 * n, flow, False, 1400, False) for n in range(10)]

        (page_s,) = ended(page.seen(), WHOLE)

        assert page_s == pytest.approx(at_s + 0.809, abs=1e-3)

    def test_a_request_that_is_never_answered_ends_with_it(self):
        page, last_s = simple()
        poll = page.connect(0.1)
        page.packets.append((last_s + 0.1, poll, True, 400, False))

        (page_s,) = ended(page.seen(quiet_s=20), WHOLE)

        assert page_s == pytest.approx(last_s, abs=1e-3)


class TestMeanwhile:
    """A page that lasts is told before it ends, and the last one for a while after."""

    def test_the_time_so_far_is_a_lower_bound_that_grows(self):
        page, last_s = simple(wait_s=1.0, objects=8)
        assert last_s > 8

        so_far = [(at_s, e) for at_s, e in told(page.seen(), WHOLE) if at_s < last_s and not np.isnan(e.page_s[0])]

        values = [float(e.page_s[0]) for _, e in so_far]
        assert values == sorted(values)
        assert values[-1] > 6
        assert all(value <= at_s for value, (at_s, _) in zip(values, so_far, strict=True))
        assert not any(e.pages[0] for _, e in so_far)

    @pytest.mark.parametrize("hello", [0, 4000])
    def test_a_server_that_says_nothing_is_told_while_it_does(self, hello):
        page = Page()
        page.dns(0.0)
        flow = page.connect(0.05)
        page.packets.append((page.fetch(flow, 0.1, hello), flow, True, 500, False))

        waited = {round(at_s): float(e.page_s[0]) for at_s, e in told(page.seen(quiet_s=30))}

        assert waited[5] == pytest.approx(5, abs=1)
        assert waited[10] == pytest.approx(10, abs=1)
        assert waited[18] == 15  # nobody is content any more
        assert np.isnan(waited[29])

    def test_the_last_page_is_held_with_falling_confidence_and_then_there_is_none(self):
        page, last_s = simple()

        after = [(at_s, e) for at_s, e in told(page.seen(quiet_s=20), WHOLE) if at_s > last_s + 1.0]

        sure = [float(e.confidence[0]) for _, e in after]
        assert sure == sorted(sure, reverse=True)
        assert after[1][1].page_s[0] == pytest.approx(last_s, abs=1e-3)
        assert np.isnan(after[-1][1].page_s[0])
        assert REASONS[after[-1][1].unmeasured[0]] == "no page yet"

    def test_it_needs_a_row_until_it_ended(self):
        page, _ = simple()
        state, due = np.zeros(1, pages.STATE), []
        for interval in page.seen(quiet_s=6):
            state, _ = pages.advance(state, interval)
            due.append(bool(pages.due(state, interval.now_s)[0]))

        assert due[0]
        assert not due[-1]


class TestNobody:
    """Without a page nothing is told."""

    def test_of_packets_that_are_no_page(self):
        page = Page()
        flow = page.connect(0.0)
        for n in range(10):
            page.fetch(flow, 0.1 + n, 300)

        estimates = [e for _, e in told(page.seen())]

        assert all(np.isnan(e.page_s[0]) and not e.confidence[0] for e in estimates)

    def test_a_state_is_not_changed_in_place(self):
        page, _ = simple()
        state = np.zeros(1, pages.STATE)

        pages.advance(state, page.seen()[0])

        assert state == np.zeros(1, pages.STATE)


def together(several: list[list[pages.Seen]]) -> list[pages.Seen]:
    """Return the intervals of several subscribers as columns of all."""
    out = []
    for at in range(min(map(len, several))):
        rows = [seen[at] for seen in several]
        flows = np.cumsum([0, *(len(r.row) for r in rows)])
        joined = {
            name: np.concatenate([getattr(r, name) for r in rows])
            for name in (
                *("begin_s", "slots", "slot", "last_s", "asked_s", "request_s", "first_s", "octets", "rtt_access_ms"),
            )
        }
        out.append(
            pages.Seen(
                now_s=rows[0].now_s,
                interval_s=rows[0].interval_s,
                row=np.concatenate([r.row + n for n, r in enumerate(rows)]),
                chunk=np.concatenate([r.chunk + flows[n] for n, r in enumerate(rows)]),
                **joined,
            )
        )
    return out


class TestColumns:
    """Subscribers do not touch one another."""

    def test_many_together_are_as_each_alone(self):
        several = [simple(wait_s=0.1 * n, octets=20_000 + 9_000 * n)[0].seen(quiet_s=30) for n in range(6)]
        state, found = np.zeros(6, pages.STATE), np.full(6, np.nan)
        for interval in together(several):
            state, estimates = pages.advance(state, interval, WHOLE)
            found = np.where(estimates.pages > 0, estimates.page_s, found)

        alone = [ended(seen, WHOLE)[0] for seen in several]

        assert found[: len(alone)] == pytest.approx(alone)


class TestMonotone:
    """A page that waits longer has no shorter time, and is not lost."""

    @settings(max_examples=40, deadline=None)
    @given(
        waits=st.lists(st.floats(0.0, 1.5), min_size=3, max_size=6),
        more=st.floats(0.05, 2.5),
        where=st.integers(0, 5),
        phase_s=st.sampled_from([0.0, 0.4, 0.8]),
    )
    def test_with_a_longer_wait(self, waits, more, where, phase_s):
        def time(longer: float) -> float:
            page = Page()
            page.dns(0.0)
            flow, at_s = page.connect(0.05), 0.1
            for n, wait_s in enumerate(waits):
                extra = longer if n == where % len(waits) else 0.0
                at_s = page.fetch(flow, at_s, 30_000, wait_s=wait_s + extra)
            return ended(page.seen(phase_s=phase_s))[-1]

        assert time(more) >= time(0.0)

    @settings(max_examples=20, deadline=None)
    @given(rates=st.tuples(st.floats(0.3e6, 20e6), st.floats(0.3e6, 20e6)))
    def test_on_a_slower_link(self, rates):
        fast, slow = max(rates), min(rates)
        times = [ended(simple(bps=bps, octets=40_000)[0].seen())[-1] for bps in (fast, slow)]

        assert times[1] >= times[0] - 1e-3


class TestRanks:
    """The rank correlation is Spearman's."""

    def test_of_values_by_hand(self):
        # d = (1, -1, 0, 0): 1 - 6 * 2 / (4 * 15)
        assert rank_correlation(np.array([1.0, 2, 3, 4]), np.array([20.0, 10, 30, 40])) == pytest.approx(0.8)


def test_start_is_no_full_second():
    """The pages of this file begin inside an interval."""
    assert START_S % 1


class TestHold:
    """A page that ended is told for some seconds after its end, not after it was found to be over."""

    @pytest.mark.parametrize("phase_s", [0.0, 0.3, 0.6, 0.9])
    def test_from_its_end(self, phase_s):
        page, last_s = simple(wait_s=0.8)

        rows = told(page.seen(phase_s=phase_s), WHOLE)

        scored = [at_s for at_s, e in rows if not np.isnan(e.page_s[0])]
        (over_s,) = (at_s for at_s, e in rows if e.pages[0])
        assert over_s <= max(scored) <= max(last_s + pages.DEFAULT.hold_s, over_s)
