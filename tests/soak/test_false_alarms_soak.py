"""A thousand months without a change: how many are told of one, over all applications, gNBs, data networks and slices.

The text is that of `snf query change`, run by DuckDB. A subscriber has a level, better and worse days of his own, and
scores that are skewed as real ones are; sums are of subscriber, application, place and day. SNF_MONTHS is another
number of months.
"""

from __future__ import annotations

import os

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from history.questions.text import Asked, fill

MONTHS = int(os.environ.get("SNF_MONTHS", "1000"))
MOST = 0.05
FEW = min(MONTHS, 100)
EFFECTS = (0.1, 0.2, 0.3, 0.35)
DAY, START_MS = 86_400_000, 1_793_491_200_000
SUBSCRIBERS, APPS, GNBS, SLICES, DAYS, MARK_DAY = 240, 12, 16, 3, 28, 14
TEXT = fill("change", Asked(START_MS, START_MS + DAYS * DAY, mark_ms=START_MS + MARK_DAY * DAY))


def month(seed: int, effect: float = 0.0, common: float = 0.0) -> pa.Table:
    """Return facts of a month by days; *effect* is on one gNB after the mark, *common* a deviation of gNBs' days."""
    r = np.random.default_rng(seed)
    uses = [(s, a) for s in range(SUBSCRIBERS) for a in r.choice(APPS, 3, replace=False).tolist()]
    who, app = (np.repeat(axis, DAYS) for axis in np.array(uses).T)
    day = np.tile(np.arange(DAYS), len(uses))
    gnb = who % GNBS
    level = r.normal(4.0, 0.25, SUBSCRIBERS)[who] + r.normal(0, 0.15, (SUBSCRIBERS, APPS))[who, app]
    # Days of a subscriber are alike: what is worse today is likely worse tomorrow (an autoregression of first order).
    days = r.normal(0, 0.15, (SUBSCRIBERS, DAYS))
    for i in range(1, DAYS):
        days[:, i] += 0.6 * days[:, i - 1]
    scores = r.poisson(30, len(who)) * (r.random(len(who)) < 0.7)
    mean = level + days[who, day] - r.exponential(0.3, len(who)) + r.normal(0, common, (GNBS, DAYS))[gnb, day]
    mean += effect * ((gnb == 3) & (day >= MARK_DAY))
    there = scores > 0
    text = {"subscriber": who, "app": app, "gnb": gnb, "slice": who % SLICES, "dnn": who % 2}
    columns = {name: pa.array(values[there].astype(str)) for name, values in text.items()}
    columns |= {
        "t_ms": START_MS + day[there] * DAY + 20 * 3_600_000,
        "span_ms": np.full(there.sum(), 3_600_000),
        "mos_n": scores[there],
        "mos_sum": scores[there] * np.clip(mean[there], 1, 5),
    }
    return pa.table(columns)


def found(facts: pa.Table) -> list[tuple[str, str]]:
    """Return the groups that a month is told to have changed in."""
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        connection.register("facts", facts)
        answer = connection.sql(TEXT)
        rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.fetchall()]
    assert sum(row["low"] is not None for row in rows) == APPS + GNBS + SLICES + 2  # each group is judged
    return [(row["dimension"], row["value"]) for row in rows if row["found"]]


class TestFalseAlarms:
    """A month without a change is told of one seldom, a month with one always."""

    @pytest.mark.timeout(3600)
    def test_at_most_five_of_a_hundred_quiet_months_show_any_change(self):
        alarms = sum(bool(found(month(seed))) for seed in range(MONTHS))

        print(f"\n{alarms} of {MONTHS} months without a change show one: {alarms / MONTHS:.1%}, {MOST:.0%} are allowed")
        assert alarms <= MOST * MONTHS

    @pytest.mark.timeout(3600)
    def test_a_change_of_a_third_at_one_gnb_is_found(self):
        """Fifteen subscribers have that gNB, and the interval holds for 33 groups together.

        The difference of one has a deviation of 0.15, so the interval reaches 4.7 (Student's t of 14 degrees of
        freedom at 1 - 0.005 / 33) times 0.15 / sqrt(15), which is 0.18: 0.2 is found in half of the months and more,
        and a third nearly always.
        """
        shares = {e: sum(("gnb", "3") in found(month(seed, -e)) for seed in range(FEW)) / FEW for e in EFFECTS}

        print("\nshare of months in which the change at the gNB is found, by the change of the score:", shares)
        assert shares[0.1] < shares[0.2] < shares[0.3]
        assert shares[0.35] >= 0.95

    @pytest.mark.timeout(3600)
    def test_days_that_all_of_a_gnb_share_are_told_as_changes(self):
        """Subscribers are the observations: what is common to those of a gNB for days cannot be told from a change."""
        shares = {c: sum(bool(found(month(seed, common=c))) for seed in range(FEW)) / FEW for c in (0.02, 0.05, 0.1)}

        print("\nshare of months that show a change, by deviation of days common to a gNB:", shares)
        assert shares[0.02] <= shares[0.1]
