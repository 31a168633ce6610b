"""A month with planted truths: each question finds what was planted, and nothing else."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

import tests.history.month as made
from feed.change import Mark, before_and_after
from feed.errors import SnfError
from history.questions.run import History
from history.questions.text import QUESTIONS, Asked, fill
from history.tables import MEASURES
from tests.history.month import (
    BAD_DAY,
    BAD_GNB,
    DAY,
    GNBS,
    HOUR,
    MARK_MS,
    ROLLED_DNN,
    ROLLED_SLICE,
    START_MS,
    table,
    tables,
    write,
)

END_MS = START_MS + made.DAYS * DAY
BAD_MS = START_MS + BAD_DAY * DAY


@pytest.fixture(scope="module")
def month():
    return made.month()


@pytest.fixture(scope="module")
def history(month, tmp_path_factory):
    folder = tmp_path_factory.mktemp("history")
    write(folder, tables(month))
    with History(folder) as opened:
        yield opened


def ask(history, name, since_ms=START_MS, until_ms=END_MS, **more):
    answer = history.ask(name, Asked(since_ms, until_ms, **more))
    return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


def of(month, rows):
    """Return columns of records of the month where *rows*, with names of subscribers."""
    columns = {name: values[rows] for name, values in month.records.items()}
    return columns | {"subscriber": np.array(month.names)[columns["who"]]}


class TestWorst:
    """The lowest mean score first, with what is suspected."""

    def test_the_gnb_that_turned_bad_is_first_and_stands_alone(self, history):
        first, second, *_ = ask(history, "worst", BAD_MS, by="gnb")

        assert (first["value"], first["suspect"]) == (BAD_GNB, "access")
        assert first["score"] < 2.3
        assert first["rtt_access_ms"] > 200
        assert second["bad_share"] < 0.05

    def test_before_that_day_it_is_as_the_others_are(self, history):
        found = {row["value"]: row["score"] for row in ask(history, "worst", until_ms=BAD_MS, by="gnb")}

        assert found.keys() == {gnb for gnbs in GNBS.values() for gnb in gnbs}
        assert max(found.values()) - min(found.values()) < 0.3

    def test_its_subscribers_are_the_worst_ones_and_no_others(self, history, month):
        at_gnb = set(of(month, month.records["gnb"] == BAD_GNB)["subscriber"].tolist())

        found = ask(history, "worst", BAD_MS, numbers={"limit": len(at_gnb) + 1})

        assert {row["value"] for row in found[:-1]} == at_gnb
        assert found[-1]["bad_share"] < 0.05

    def test_sums_and_means_are_those_of_the_records(self, history, month):
        rows = of(month, month.records["app"] == "zoom")

        (found,) = ask(history, "worst", by="app", filters={"app": "zoom"})

        assert found["scored"] == np.count_nonzero(~np.isnan(rows["mos"]))
        assert found["score"] == pytest.approx(np.nanmean(rows["mos"]))
        assert found["bytes"] == rows["ul_bytes"].sum() + rows["dl_bytes"].sum()

    def test_a_group_with_few_scores_is_not_judged(self, history):
        assert ask(history, "worst", by="gnb", numbers={"least": 1_000_000}) == []

    def test_a_name_with_a_quote_is_a_name(self, history):
        assert [row["value"] for row in ask(history, "worst", by="app", filters={"app": "news's"})] == ["news's"]


class TestSubscriber:
    """One subscriber, hour by hour."""

    def test_who_opted_out_has_nothing_after_that_day(self, history, month):
        rows = ask(history, "subscriber", filters={"subscriber": month.opted_out}, numbers={"limit": 1000})

        mine = of(month, month.records["who"] == 0)
        assert sum(row["bytes"] for row in rows) == mine["ul_bytes"].sum() + mine["dl_bytes"].sum()
        assert rows[0]["t_ms"] < START_MS + made.OPT_OUT_DAY * DAY
        assert [row["t_ms"] for row in rows] == sorted((row["t_ms"] for row in rows), reverse=True)

    def test_it_is_about_one(self):
        with pytest.raises(SnfError, match="is about one subscriber"):
            fill("subscriber", Asked(0, 1))


class TestBusy:
    """The busiest tenth of the minutes of each group, and a measure in them."""

    def test_the_bad_gnb_is_first_by_score_and_by_delay(self, history):
        by_score = ask(history, "busy", BAD_MS, by="gnb")
        by_delay = ask(history, "busy", BAD_MS, by="gnb", measure="rtt_access_ms")

        assert by_score[0]["value"] == by_delay[0]["value"] == BAD_GNB
        assert by_score[0]["p80"] < 3 < by_score[1]["p20"]
        assert by_delay[0]["p20"] > 200
        assert by_delay[1]["p80"] < 40

    def test_percentiles_are_those_of_the_minutes_to_a_bucket(self, history, month):
        rows = of(month, month.records["gnb"] == "192.0.2.1")
        minutes, at = np.unique(rows["t_ms"], return_inverse=True)
        load = np.bincount(at, rows["ul_bytes"] + rows["dl_bytes"])
        delay = np.bincount(at, rows["rtt_access_ms"]) / np.bincount(at)
        order = np.argsort(-load, kind="stable")

        (found,) = ask(history, "busy", by="gnb", measure="rtt_access_ms", filters={"gnb": "192.0.2.1"})

        busiest = order[: found["minutes_busy"]]
        assert found["minutes"] == len(minutes)
        assert 0.1 <= found["minutes_busy"] / len(minutes) < 0.13  # a bucket of load is not parted
        for name, share in (("p20", 0.2), ("p50", 0.5), ("p80", 0.8)):
            assert found[name] == pytest.approx(np.quantile(delay[busiest], share), rel=0.06)
        assert found["bps"] == pytest.approx(load[busiest].mean() * 8 / 60)

    @pytest.mark.parametrize("measure", ["loss_dl", "startup_s"])
    def test_a_measure_that_is_nought_or_missing_can_be_asked(self, history, measure):
        rows = ask(history, "busy", END_MS - DAY, by="gnb", measure=measure)

        assert bool(rows) == (measure == "loss_dl")

    def test_every_measure_is_a_column_of_the_minutes(self):
        for measure in MEASURES:
            assert f"{measure}_sum" in fill("busy", Asked(0, 1, measure=measure))


class TestChange:
    """Scores before and after the mark of a roll-out, in the same hours."""

    def sides(self, **more):
        return {"since_ms": MARK_MS - 7 * DAY, "mark_ms": MARK_MS, **more}

    def test_what_was_rolled_out_is_found_and_nothing_else(self, history):
        found = [(row["dimension"], row["value"]) for row in ask(history, "change", **self.sides()) if row["found"]]

        gnbs = {("gnb", gnb) for gnb in GNBS[ROLLED_DNN]}
        apps = {("app", "netflix"), ("app", "fortnite")}
        assert set(found) == {("slice", ROLLED_SLICE), ("dnn", ROLLED_DNN)} | gnbs | apps

    def test_the_effect_is_the_planted_one_and_inside_of_its_interval(self, history):
        (row,) = [r for r in ask(history, "change", **self.sides()) if r["value"] == ROLLED_SLICE]

        assert row["effect"] == pytest.approx(-made.ROLLED_BY, abs=0.03)
        assert row["low"] < -made.ROLLED_BY < row["high"]

    def test_each_number_is_that_of_the_feed_s_own_method(self, history, month):
        after = -(-MARK_MS // HOUR) * HOUR
        t = month.records["t_ms"]
        same = (t >= after - 7 * DAY) & (t < after + 12 * DAY) & (t // HOUR != MARK_MS // HOUR)
        records = of(month, same) | {"interval_ms": np.full(same.sum(), made.MINUTE)}
        records["t_ms"] = records["t_ms"] + made.MINUTE  # a record's time is its end
        wanted = {(e.dimension, e.value): e for e in before_and_after(records, Mark(MARK_MS / 1000))}

        found = ask(history, "change", **self.sides(until_ms=after + 12 * DAY))

        assert {(row["dimension"], row["value"]) for row in found} == wanted.keys()
        for row in found:
            effect = wanted[row["dimension"], row["value"]]
            assert (row["subscribers"], bool(row["found"])) == (effect.subscribers, effect.found)
            for name in ("before", "after", "effect", "low", "high"):
                assert row[name] == pytest.approx(getattr(effect, name), abs=2e-4), (effect, name)

    def test_hours_that_the_other_side_has_not_are_left_out(self, history):
        noon = START_MS + 25 * DAY + 12 * HOUR
        rows = ask(history, "change", noon - 3 * DAY, noon + 2 * HOUR, mark_ms=noon)

        assert {row["value"] for row in rows} >= {"internet", "fwa"}  # of 12 o'clock alone
        assert not any(row["found"] for row in rows)

    def test_a_group_with_few_subscribers_has_no_interval(self, history):
        rows = ask(history, "change", **self.sides(numbers={"least": 13}))
        few = [row for row in rows if row["subscribers"] < 13]

        assert few
        assert all(row["low"] is None and row["high"] is None and not row["found"] for row in few)

    def test_without_an_hour_after_the_mark_it_says_so(self, history):
        with pytest.raises(SnfError, match="A whole hour after the mark"):
            ask(history, "change", **self.sides(until_ms=MARK_MS + 60_000))


class TestApps:
    """Applications by their bytes, with percentiles of their scores."""

    def test_numbers_are_those_of_the_records_and_percentiles_to_a_tenth(self, history, month):
        rows = {row["app"]: row for row in ask(history, "apps")}

        assert rows.keys() == set(month.records["app"].tolist())
        for app, row in rows.items():
            mine = of(month, month.records["app"] == app)
            scores = mine["mos"][~np.isnan(mine["mos"])]
            assert row["subscribers"] == len(set(mine["who"].tolist()))
            assert row["hours"] == pytest.approx(len(mine["who"]) / 60)
            assert row["score_p10"] == pytest.approx(np.quantile(scores, 0.1), abs=0.1)
            assert row["score_p50"] == pytest.approx(np.quantile(scores, 0.5), abs=0.1)


class TestHabits:
    """Hours, sessions and peak of viewers and players."""

    def watched(self, month):
        return of(month, np.isin(month.records["app_class"], ("video", "live-video", "gaming")))

    @pytest.mark.parametrize("by", ["app", "gnb", "slice", "hour"])
    def test_hours_and_sessions_are_those_of_the_records(self, history, month, by):
        rows = self.watched(month)
        values = rows["t_ms"] % DAY // HOUR if by == "hour" else rows[by]
        games = rows["app_class"] == "gaming"

        found = {(row["kind"], row["value"]): row for row in ask(history, "habits", by=by)}

        wanted = {("players" if g else "viewers", v) for g, v in zip(games.tolist(), values.tolist(), strict=True)}
        assert found.keys() == wanted
        for (kind, value), row in found.items():
            mine = (values == value) & (games == (kind == "players"))
            _, together = np.unique(rows["t_ms"][mine], return_counts=True)
            assert row["hours"] == pytest.approx(mine.sum() / 60)
            assert row["sessions"] == rows["sessions"][mine].sum()
            assert row["peak"] == together.max()
            assert row["subscribers"] == len(set(rows["who"][mine].tolist()))

    def test_time_at_the_levels_adds_up(self, history, month):
        rows = self.watched(month)
        lines = np.nan_to_num(rows["video_height"])

        found = {(row["kind"], row["value"]): row["hours"] for row in ask(history, "habits", by="level")}

        viewers = rows["app_class"] != "gaming"
        for level, height in ((0, 0), (480, 360), (720, 720), (1080, 1080), (2160, 2160)):
            assert found["viewers", level] == pytest.approx(np.count_nonzero(viewers & (lines == height)) / 60)
        assert sum(found.values()) == pytest.approx(len(lines) / 60)


class TestChurn:
    """Subscribers with bad days one after another."""

    def test_those_of_the_bad_gnb_have_them_since_it_turned_bad_and_nobody_else(self, history, month):
        rows = of(month, (month.records["gnb"] == BAD_GNB) & (month.records["t_ms"] >= BAD_MS))

        found = {row["subscriber"]: row for row in ask(history, "churn", numbers={"least": 5})}

        assert found.keys() == set(rows["subscriber"].tolist())
        for who, row in found.items():
            days = np.unique((rows["t_ms"][(rows["subscriber"] == who) & ~np.isnan(rows["mos"])] - START_MS) // DAY)
            runs = np.split(days, np.flatnonzero(np.diff(days) != 1) + 1)
            assert row["days"] <= max(map(len, runs))  # a day with few scores is not judged
            assert row["first_ms"] >= BAD_MS
            assert row["last_ms"] - row["first_ms"] == (row["days"] - 1) * DAY

    def test_nobody_has_them_before(self, history):
        assert ask(history, "churn", until_ms=BAD_MS) == []


class TestGaps:
    """Missing messages are told."""

    def test_the_hour_without_a_function_is_there_and_nothing_else(self, history, month):
        (found,) = ask(history, "gaps")

        begin = datetime.fromtimestamp(found["since_ms"] / 1000, UTC)
        assert (found["nf"], begin.day - 1, begin.hour) == ("probe-2", made.GAP_DAY, made.GAP_HOURS[0])
        t, nf = month.records["t_ms"], month.records["nf"]
        assert not np.any((t >= found["since_ms"]) & (t < found["until_ms"]) & (nf == found["nf"]))


class TestTexts:
    """A text is filled from checked values, and keeps to what the engines have in common."""

    @pytest.mark.parametrize("name", QUESTIONS)
    def test_it_has_none_of_the_words_that_an_engine_lacks(self, name):
        text = fill(
            name, Asked(0, 20 * DAY, mark_ms=9 * DAY, filters={"subscriber": "a"} if name == "subscriber" else {})
        )

        words = set(text.lower().replace("(", " ").split())
        assert not words & {"filter", "over", "with", "quantile", "quantile_cont", "percentile", "on", "qualify"}
        assert "{" not in text

    @pytest.mark.parametrize(
        ("name", "asked", "said"),
        [
            ("worst", Asked(0, 1, by="mos_sum); drop table facts"), "is not by"),
            ("worst", Asked(0, 1, filters={"1=1 or app": "x"}), "has no filter"),
            ("worst", Asked(0, 1, filters={"app": "a\\"}), "a character that no name has"),
            ("worst", Asked(0, 1, filters={"app": "a\nb"}), "a character that no name has"),
            ("worst", Asked(0, 1, numbers={"limit": 0}), "takes no limit of 0"),
            ("gaps", Asked(0, 1, numbers={"least": 3}), "has no least"),
            ("busy", Asked(0, 1, measure="subscribers"), "There is no measure"),
            ("worst", Asked(1, 1), "ends before it begins"),
            ("best", Asked(0, 1), "There is no question best"),
            ("change", Asked(0, 1), "There is no mark"),
        ],
    )
    def test_what_does_not_go_with_a_question_is_refused_in_a_sentence(self, name, asked, said):
        with pytest.raises(SnfError, match=said) as refused:
            fill(name, asked)

        assert "\n" not in str(refused.value)

    def test_a_hostile_name_is_only_a_name(self, history):
        hostile = "x' or 1=1 or '' = '"

        assert ask(history, "worst", by="app", filters={"app": hostile}) == []


class TestMonth:
    """The month is what the tests take it for."""

    def test_sums_of_hours_and_minutes_are_those_of_the_records(self, month):
        records, all_tables = table(month), tables(month)

        for name in ("facts", "minutes"):
            assert sum(all_tables[name]["records"].to_pylist()) == len(records)
            assert math.isclose(sum(all_tables[name]["mos_sum"].to_pylist()), np.nansum(month.records["mos"]))
