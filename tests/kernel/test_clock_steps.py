"""Time that goes on evenly, whatever happens to the clock on the wall."""

from __future__ import annotations

import pytest

from nf.kernel.clock import Clock, interval_end_s

HOUR = 3600.0
EPOCH = 1_800_000_000.0


class Clocks:
    """Two clocks of which a test turns the hands."""

    def __init__(self) -> None:
        self.mono_s, self.wall_s = 100.0, EPOCH
        self.waits: list[float] = []  # time that passes after a reading of the wall, as when the processor is busy

    def go(self, seconds: float, *, faster: float = 0.0) -> None:
        self.mono_s += seconds
        self.wall_s += seconds * (1 + faster)

    def monotonic(self) -> float:
        return self.mono_s

    def wall(self) -> float:
        seen_s = self.wall_s
        if self.waits:
            self.go(self.waits.pop())
        return seen_s


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def clock(clocks) -> Clock:
    return Clock(monotonic=clocks.monotonic, wall=clocks.wall)


class TestSteps:
    """A step of the wall clock moves labels, and nothing else."""

    @pytest.mark.parametrize("step", [HOUR, -HOUR, 0.2, -0.2])
    def test_it_is_told_once_with_its_length(self, clocks, clock, step):
        clocks.go(0.05)
        clocks.wall_s += step

        seen = clock.look()

        assert seen is not None
        assert seen.seconds == pytest.approx(step)
        assert clock.look() is None
        assert (clock.steps, clock.last) == (1, seen)

    @pytest.mark.parametrize("step", [HOUR, -HOUR])
    def test_time_goes_on_and_is_labelled_anew(self, clocks, clock, step):
        before_s = clock.now_s()
        assert before_s == clock.label_s(before_s) == EPOCH

        clocks.wall_s += step
        clocks.go(1)
        clock.look()

        assert clock.now_s() == before_s + 1
        assert clock.label_s(clock.now_s()) == pytest.approx(EPOCH + step + 1)

    def test_two_steps_that_undo_each_other_are_two(self, clocks, clock):
        for step in (HOUR, -HOUR):
            clocks.wall_s += step
            clock.look()

        assert clock.steps == 2
        assert clock.label_s(clock.now_s()) == pytest.approx(EPOCH)

    @pytest.mark.parametrize("faster", [500e-6, -500e-6, 1 / 12, -1 / 12], ids=["ntpd", "ntpd", "chrony", "chrony"])
    def test_a_clock_that_is_made_run_faster_or_slower_makes_none(self, clocks, clock, faster):
        """RFC 5905, 11.3 (500 ppm) and chrony.conf(5), maxslewrate (83,333 ppm), looked at often or seldom."""
        for seconds in (0.05, 1.0, 60.0):
            clocks.go(seconds, faster=faster)
            assert clock.look() is None

        assert clock.label_s(clock.now_s()) == pytest.approx(clocks.wall_s, abs=1e-3)

    def test_a_thread_that_has_to_wait_between_two_readings_sees_none(self, clocks, clock):
        clocks.go(1)
        clocks.waits = [0.0, 0.5, 0.5, 2.0]

        assert clock.look() is None


class TestOffset:
    """The clock of a process before goes on."""

    def test_with_its_offset(self, clocks):
        first = Clock(monotonic=clocks.monotonic, wall=clocks.wall)
        clocks.wall_s -= HOUR
        clocks.go(2)

        second = Clock(first.offset_s, monotonic=clocks.monotonic, wall=clocks.wall)

        assert second.now_s() == first.now_s()
        assert second.label_s(second.now_s()) == pytest.approx(clocks.wall_s)
        assert second.look() is None


class TestIntervals:
    """Intervals end at multiples of their length: one that ends late makes the next one shorter, and shifts none."""

    @pytest.mark.parametrize(
        ("begun_s", "interval_ms", "end_s"),
        [
            (EPOCH, 1000, EPOCH + 1),
            (EPOCH + 1.0004, 1000, EPOCH + 2),  # ended when it was due
            (EPOCH + 1.7, 1000, EPOCH + 2),  # ended late
            (EPOCH + 5.2, 1000, EPOCH + 6),  # ended so late that others were left out
            (EPOCH + 0.999_9, 1000, EPOCH + 1),
            (EPOCH + 0.3, 100, EPOCH + 0.4),
            (EPOCH + 7, 10_000, EPOCH + 10),
        ],
    )
    def test_the_end_is_after_the_beginning_and_on_the_grid(self, begun_s, interval_ms, end_s):
        assert interval_end_s(begun_s, interval_ms) == pytest.approx(end_s, abs=1e-6)

    def test_an_hour_of_intervals_that_end_a_bit_late_is_an_hour(self):
        at_s, ends = EPOCH, 0
        while at_s < EPOCH + HOUR:
            at_s = interval_end_s(at_s, 1000) + 0.003
            ends += 1

        assert ends == HOUR
