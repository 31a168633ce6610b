"""Alarms of single subscribers: raised once when it is bad for long, cleared once, bounded, and kept over a restart."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feed.consumer import Subscriber
from feed.records import ALARM_COLUMNS, RecordBatch
from feed.wire import rows_of
from nf.apply.alarming import Alarming
from nf.apply.degraded import OTHERS_CLEAR_S, SILENT_S, Change, Degraded
from nf.kernel.clock import Clock
from nf.privacy import Pseudonymiser
from nf.publish import Publisher
from nf.settings import Degradation, Degradations, Export, Settings
from tests.feed.samples import eventually

BEGIN_S = 1_785_000_000.0
GOOD, MEDIUM, BAD = 4.2, 3.2, 1.5
VIDEO = Degradation("video", "", score=3.0, clear_score=3.5, raise_s=20, clear_s=30)
RADIO = {"suspect": "access", "suspect_by": "delay", "suspect_value": 340.0}
SPAN = {"gnb": "192.0.2.20", "slice": "1-00000a"}


def batch(at_s: float, rows: list[dict[str, Any]], app_class: str = "video", last_s: float = 1.0) -> RecordBatch:
    """Return an interval that ends so many seconds after the begin."""
    given = {"app": "youtube", "suspect": "", "suspect_by": "", "suspect_value": np.nan, **SPAN}
    given |= {"ul_bps": 1e4, "dl_bps": 1e6}
    every = [{**given, **row} for row in rows]
    names = ("subscriber", "mos", *given)
    columns: Any = {
        name: [row[name] for row in every]
        if isinstance(every[0][name], str)
        else np.array([row[name] for row in every], np.float32)
        for name in names
    }
    return RecordBatch(app_class, BEGIN_S + at_s - last_s, BEGIN_S + at_s, columns)


def settings(*thresholds: Degradation, most: int = 100) -> Settings:
    return Settings(degradations=Degradations(thresholds or (VIDEO,), most))


def judge(*thresholds: Degradation, most: int = 100) -> Degraded:
    made = Degraded()
    made.apply(Settings(), settings(*thresholds, most=most))
    return made


def run(judge: Degraded, scores: list[float | None], at: int = 0, **more: Any) -> list[tuple[int, bool]]:
    """Give a score a second of one subscriber, None: no record; return (second, raised) of each change."""
    told = []
    for second, score in enumerate(scores, at + 1):
        if score is not None:
            judge.see(batch(second, [{"subscriber": "a", "mos": score, **more}]))
        told += [(second, change.raised) for change in judge.turn(BEGIN_S + second)]
    return told


class TestOnceEach:
    """By the times and the two scores of the threshold, and by nothing shorter."""

    def test_a_bad_radio_is_raised_once_and_cleared_once(self):
        assert run(judge(), [GOOD] * 10 + [BAD] * 100 + [GOOD] * 100) == [(30, True), (140, False)]

    @pytest.mark.parametrize("spike", [1, 5, 19])
    def test_a_spike_is_none(self, spike):
        assert run(judge(), ([BAD] * spike + [GOOD]) * 5) == []

    def test_a_score_between_the_two_ends_neither_way(self):
        assert run(judge(), [*[BAD] * 19, MEDIUM, *[BAD] * 19]) == []
        assert run(judge(), [*[BAD] * 20, *([GOOD] * 29 + [MEDIUM]) * 3]) == [(20, True)]

    def test_a_relapse_begins_the_clearing_anew(self):
        told = run(judge(), [*[BAD] * 20, *[GOOD] * 29, BAD, *[GOOD] * 30])
        assert told == [(20, True), (80, False)]

    def test_what_comes_back_is_raised_anew(self):
        once = [BAD] * 20 + [GOOD] * 30
        assert run(judge(), once * 2) == [(20, True), (50, False), (70, True), (100, False)]

    def test_intervals_without_a_record_neither_count_nor_interrupt(self):
        assert run(judge(), [BAD, None, None, None, None] * 5) == [(21, True)]
        assert run(judge(), [BAD] + [None] * 100) == []

    def test_who_is_gone_for_long_is_cleared_without_a_score(self):
        it = judge()
        assert run(it, [BAD] * 20) == [(20, True)]
        assert it.turn(BEGIN_S + 20 + SILENT_S - 1) == []
        (cleared,) = it.turn(BEGIN_S + 20 + SILENT_S)
        assert not cleared.raised
        assert np.isnan(cleared.alarm.mos)
        assert it.standing == ()

    def test_one_bad_interval_that_is_long_enough_is_enough(self):
        it = judge()
        it.see(batch(60, [{"subscriber": "a", "mos": BAD}], last_s=60.0))
        assert [change.raised for change in it.turn(BEGIN_S + 60)] == [True]

    def test_no_score_says_nothing(self):
        assert run(judge(), [float("nan")] * 60) == []


class TestOfWhom:
    """A threshold is for the applications of a class, each by itself, or for one that goes before its class."""

    def test_applications_and_subscribers_are_apart(self):
        it = judge()
        for second in range(1, 21):
            every = [{"subscriber": who, "app": app, "mos": BAD if (who, app) == ("a", "netflix") else GOOD}
                     for who in "ab" for app in ("youtube", "netflix")]  # fmt: skip
            it.see(batch(second, every))
            changes = it.turn(BEGIN_S + second)
        assert [(c.alarm.subscriber, c.alarm.app) for c in changes] == [("a", "netflix")]

    def test_an_application_goes_before_its_class(self):
        netflix = Degradation("", "netflix", score=1.2, clear_score=1.2, raise_s=5)
        assert run(judge(VIDEO, netflix), [BAD] * 60, app="netflix") == []
        assert run(judge(VIDEO, netflix), [1.1] * 60, app="netflix") == [(5, True)]
        assert run(judge(VIDEO, netflix), [BAD] * 60) == [(20, True)]

    def test_other_classes_have_none(self):
        it = judge()
        for second in range(60):
            it.see(batch(second, [{"subscriber": "a", "mos": BAD}], "gaming"))
            assert it.turn(BEGIN_S + second) == []

    def test_with_little_traffic_the_score_is_not_looked_at(self):
        limited = replace(VIDEO, least_bps=500_000)
        assert run(judge(limited), [BAD] * 60, dl_bps=480_000.0) == []
        assert run(judge(limited), [BAD] * 60, dl_bps=495_000.0) == [(20, True)]


class TestEvidence:
    """The row says where most of it was lost, by which measure, where he is, and since when."""

    def test_cause_measure_place_and_time(self):
        it = judge()
        run(it, [BAD] * 3)
        run(it, [BAD] * 4, 3, suspect="core", suspect_by="loss", suspect_value=0.2)
        run(it, [2.5] * 13, 7, **RADIO)

        (alarm,) = it.standing
        assert (alarm.suspect, alarm.suspect_by, alarm.suspect_value) == ("access", "delay", 340.0)
        assert (alarm.gnb, alarm.slice) == ("192.0.2.20", "1-00000a")
        assert alarm.mos == pytest.approx((7 * BAD + 13 * 2.5) / 20)
        assert (alarm.since_s, alarm.raised_s, alarm.threshold) == (BEGIN_S, BEGIN_S + 20, 3.0)

    def test_the_score_that_cleared_it(self):
        it = judge()
        run(it, [BAD] * 20)
        run(it, [GOOD] * 29, 20)
        it.see(batch(50, [{"subscriber": "a", "mos": 3.6}]))
        (cleared,) = it.turn(BEGIN_S + 50)
        assert cleared.alarm.mos == pytest.approx((29 * GOOD + 3.6) / 30)
        assert (cleared.alarm.threshold, cleared.alarm.since_s) == (3.5, BEGIN_S)


def crowd(it: Degraded, at: int, bad: int, all_of_them: int = 10) -> list[Change]:
    """Give a second in which the first ones of a crowd are bad."""
    rows = [{"subscriber": f"{n:02}", "mos": BAD if n < bad else GOOD} for n in range(all_of_them)]
    it.see(batch(at, rows))
    return it.turn(BEGIN_S + at)


class TestBound:
    """So many alarms stand, those of the longest degradations; the others are one."""

    def test_those_beyond_are_counted_in_one(self):
        it = judge(most=3)
        changes = [change for second in range(1, 41) for change in crowd(it, second, 10)]
        assert [change.raised for change in changes] == [True] * 4
        assert [change.others for change in changes] == [0, 0, 0, 7]
        assert [bool(change.alarm.subscriber) for change in changes] == [True, True, True, False]
        assert (len(it.standing), it.others) == (3, 7)

    def test_the_one_is_cleared_when_there_have_been_no_others_for_a_while(self):
        it = judge(most=3)
        for second in range(1, 21):
            crowd(it, second, 10)
        stand, told = [alarm.subscriber for alarm in it.standing], []
        for at in range(21, 200):
            it.see(
                batch(at, [{"subscriber": f"{n:02}", "mos": BAD if f"{n:02}" in stand else GOOD} for n in range(10)])
            )
            told += [(at, change) for change in it.turn(BEGIN_S + at)]
        ((second, change),) = told
        assert not change.raised
        assert second == 20 + OTHERS_CLEAR_S
        assert it.others == 0

    def test_one_that_is_cleared_makes_room_for_one_that_waits(self):
        it = judge(most=1)
        for second in range(1, 21):
            crowd(it, second, 2, 2)
        (first,) = (alarm.subscriber for alarm in it.standing)
        other = {"00": "01", "01": "00"}[first]
        raised = []
        for second in range(21, 60):
            it.see(batch(second, [{"subscriber": first, "mos": GOOD}, {"subscriber": other, "mos": BAD}]))
            raised += [c.alarm.subscriber for c in it.turn(BEGIN_S + second) if c.raised]
        assert raised == [other]

    def test_who_is_remembered_is_bounded(self, monkeypatch):
        monkeypatch.setattr("nf.apply.degraded.MOST_TRACKED", 5)
        it = judge()
        for second in range(1, 21):
            crowd(it, second, 10)
        assert len(it.standing) == 5


class TestChanges:
    """A threshold that goes clears its alarms, and a subscriber who is forgotten has none."""

    def test_a_threshold_that_goes(self):
        it = judge()
        run(it, [BAD] * 20)
        it.apply(settings(), Settings())
        (change,) = it.turn(BEGIN_S + 21)
        assert (change.raised, change.alarm.subscriber) == (False, "a")
        assert np.isnan(change.alarm.mos)

    def test_one_that_changes_keeps_its_alarms_and_a_refused_change_does_nothing(self):
        it = judge()
        run(it, [BAD] * 20)
        undo = it.apply(settings(), Settings())
        undo()
        it.apply(settings(), settings(replace(VIDEO, score=1.0, clear_score=1.0)))
        assert run(it, [BAD] * 29, 20) == []
        assert run(it, [BAD], 49) == [(50, False)]  # now it is good

    def test_who_is_forgotten(self):
        it = judge()
        for second in range(1, 21):
            crowd(it, second, 2)
        assert [(c.raised, c.alarm.subscriber) for c in it.forget({"00", "x"})] == [(False, "00")]
        assert [alarm.subscriber for alarm in it.standing] == ["01"]
        assert [c.alarm.subscriber for c in it.forget()] == ["01"]


@pytest.fixture
def publisher():
    made = Publisher(Export("tcp://127.0.0.1:*", snapshot_endpoint="tcp://127.0.0.1:*"), "nf1")
    made.start()
    yield made
    made.stop()


class Function:
    """The alarms of a function with a publisher and a state directory, by a clock that stands where it is told."""

    def __init__(self, publisher: Publisher, folder: Path, key: bytes = b"k" * 32, at_s: float = 0.0) -> None:
        self.at_s = BEGIN_S + at_s
        clock = Clock(0.0, monotonic=lambda: self.at_s, wall=lambda: self.at_s)
        self.alarming = Alarming(publisher, clock, folder)
        self.alarming.apply(Settings(), settings())
        self.alarming.named_by(Pseudonymiser(b"", 0), Pseudonymiser(key, 1), lasting=bool(key))

    def run(self, scores: list[float]) -> None:
        for score in scores:
            self.at_s += 1
            self.alarming.see(batch(self.at_s - BEGIN_S, [{"subscriber": "a", "mos": score, **RADIO}]))
            self.alarming.turn(self.at_s)


def told(bus: Subscriber, rows: int) -> list[dict[str, Any]]:
    """Return the rows that come, and wait for so many."""
    found: list[dict[str, Any]] = []

    def come() -> bool:
        while (message := bus.receive(0.05)) is not None:
            assert message.columns.keys() == ALARM_COLUMNS.keys()
            found.extend(rows_of(message))
        return len(found) >= rows

    assert eventually(come)
    return found


class TestOnTheBus:
    """One row when it is raised, one when it is cleared, and late joiners see what stands."""

    def test_rows_and_snapshot(self, publisher, tmp_path):
        function = Function(publisher, tmp_path)
        with Subscriber(publisher.endpoint, ["alarm.v1/"]) as bus:
            assert eventually(lambda: publisher.subscriptions == 2)
            function.run([BAD] * 60)
            (raised,) = told(bus, 1)
            with Subscriber(publisher.endpoint, ["alarm.v1/"]) as late:
                late.snapshot(publisher.snapshot_endpoint)
                (stands,) = told(late, 1)
                assert eventually(lambda: publisher.subscriptions == 2)
                function.run([GOOD] * 60)
                (also,) = told(late, 1)
            (cleared,) = told(bus, 1)

        begin_ms = BEGIN_S * 1e3
        assert raised == stands
        assert raised == {
            **{"t_ms": begin_ms + 20_000, "state": "raised", "subscriber": "a", "app": "youtube", "app_class": "video"},
            **{"gnb": "192.0.2.20", "slice": "1-00000a", "mos": 1.5, "suspect": "access", "suspect_by": "delay"},
            **{"suspect_value": 340.0, "since_ms": begin_ms, "threshold": 3.0, "others": 0},
        }
        changed = {"state": "cleared", "t_ms": begin_ms + 90_000, "mos": 4.2, "threshold": 3.5}
        assert cleared == also == {**raised, **changed}

    def test_a_restart_does_not_raise_again_what_stands(self, publisher, tmp_path):
        Function(publisher, tmp_path).run([BAD] * 25)  # and it is killed
        after = Function(publisher, tmp_path, at_s=40)
        (alarm,) = after.alarming.degraded.standing
        assert (alarm.subscriber, alarm.again, alarm.since_s) == ("a", True, BEGIN_S)
        with Subscriber(publisher.endpoint, ["alarm.v1/"]) as bus:
            assert eventually(lambda: publisher.subscriptions == 2)
            after.run([BAD] * 30 + [GOOD] * 30)
            (row,) = told(bus, 1)
        assert (row["state"], row["since_ms"]) == ("cleared", BEGIN_S * 1e3)
        third = Function(publisher, tmp_path, at_s=200)
        assert third.alarming.degraded.standing == ()

    def test_under_another_key_what_stood_is_cleared(self, publisher, tmp_path):
        Function(publisher, tmp_path).run([BAD] * 25)
        after = Function(publisher, tmp_path, key=b"o" * 32, at_s=40)
        with Subscriber(publisher.endpoint, ["alarm.v1/"]) as bus:
            assert eventually(lambda: publisher.subscriptions == 2)
            after.alarming.turn(after.at_s)
            (row,) = told(bus, 1)
        assert (row["state"], row["subscriber"], row["mos"]) == ("cleared", "a", None)

    def test_without_a_key_nothing_is_kept(self, publisher, tmp_path):
        Function(publisher, tmp_path, key=b"").run([BAD] * 25)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("text", ["", "[]", '{"alarms": [{}]}', '{"alarms": [1], "names": 1}', "\0" * 100])
    def test_a_file_that_is_damaged_is_none(self, text, publisher, tmp_path):
        (tmp_path / "alarms.json").write_text(text)
        assert Function(publisher, tmp_path).alarming.degraded.standing == ()

    def test_the_file_is_its_owner_s_alone(self, publisher, tmp_path):
        Function(publisher, tmp_path).run([BAD] * 25)
        kept = tmp_path / "alarms.json"
        assert kept.stat().st_mode & 0o077 == 0
        assert [alarm["subscriber"] for alarm in json.loads(kept.read_text())["alarms"]] == ["a"]
