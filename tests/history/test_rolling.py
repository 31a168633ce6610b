"""Rolled up or not, the facts are the same: numpy and SQL say one thing, and a crash at any step changes nothing."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feed import buckets
from history.collect import upkeep
from history.collect.erasing import erase
from history.store import layout
from history.store.files import Draft
from tests.history.written import HOUR_MS, ask, published, put

ROWS = 40  # of a file
LATER_MS = HOUR_MS + 2 * layout.HOUR_MS
TABLES = ("records", "facts", "minutes", "buckets", "gaps", "health")
FACTS = "SELECT * FROM facts ORDER BY ALL"
MINUTES = "SELECT * FROM minutes ORDER BY ALL"


def records(seed: int, rows: int = ROWS) -> dict[str, Any]:
    """Return records of twenty subscribers at three gNBs over some minutes, with suspects and missing values."""
    columns = published(rows, 20)
    draw = np.random.default_rng(seed)
    columns["t_ms"] = HOUR_MS + draw.integers(1, layout.HOUR_MS, rows).astype(np.uint64)
    columns["gnb"] = [f"172.16.0.{n}" for n in draw.integers(1, 4, rows).tolist()]
    columns["suspect"] = draw.choice(["", "access", "n3", "server"], rows).tolist()
    columns["mos"] = np.where(draw.random(rows) < 0.2, np.nan, draw.uniform(1, 5, rows)).astype("f4")
    columns["stalled_s"] = np.where(draw.random(rows) < 0.5, np.nan, draw.random(rows)).astype("f4")
    columns["t_ms"][:2] = HOUR_MS + 60_000, HOUR_MS + 60_001  # the end of a minute, and the begin of the next
    return columns


def alike(rows: list[tuple[Any, ...]], wanted: list[tuple[Any, ...]]) -> bool:
    """Say whether rows are equal, with floats that may differ as sums in another order do."""
    for found, column in zip(zip(*rows, strict=True), zip(*wanted, strict=True), strict=True):
        if isinstance(column[0], float):
            np.testing.assert_allclose(found, column, rtol=1e-5)
        else:
            assert found == column
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with an hour of five files of records, and some of the other tables."""
    for number in range(1, 6):
        put(tmp_path, "records", records(number), number, number)
        put(tmp_path, "gaps", {"topic": ["x"], "messages": np.array([number])}, number + 10, number + 10)
    return tmp_path


def tend(folder: Path, now_ms: int = LATER_MS) -> None:
    """Do all that is to be done with an hour, as often as there are tables that others are made of."""
    for table in TABLES:
        upkeep.tend(folder, table, HOUR_MS, now_ms)


def names(folder: Path, table: str) -> list[str]:
    return [file.path.name for file in layout.files_of_hour(folder, table, HOUR_MS)]


class TestSums:
    """The sums of files are those of records, to the row."""

    def test_facts_by_minute_are_what_sql_makes_of_the_records(self, folder: Path) -> None:
        wanted, minutes = ask(folder, FACTS), ask(folder, MINUTES)

        upkeep.tend(folder, "records", HOUR_MS, LATER_MS)

        assert names(folder, "facts") == ["minute-0000000001-0000000005.parquet"]
        assert alike(ask(folder, FACTS), wanted)
        assert alike(ask(folder, MINUTES), minutes)

    def test_hours_have_the_same_sums(self, folder: Path) -> None:
        sums = "SELECT subscriber, app, gnb, sum(records), sum(dl_bytes), sum(mos_sum), sum(mos_n), sum(bad), "
        sums += "max(peak_dl_bps), sum(suspect_n3) FROM facts GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        wanted, minutes = ask(folder, sums), ask(folder, MINUTES)

        tend(folder)

        assert alike(ask(folder, sums), wanted)
        assert ask(folder, "SELECT DISTINCT span_ms, t_ms FROM facts") == [(layout.HOUR_MS, HOUR_MS)]
        assert alike(ask(folder, MINUTES), minutes)

    def test_files_that_do_not_fit_together_in_memory_give_the_same(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = folder.parent / "whole"
        shutil.copytree(folder, whole)
        tend(whole)
        for name in ("_PART", "_ROWS"):
            monkeypatch.setattr(f"history.collect.rolling.{name}", 60)
        monkeypatch.setattr("history.collect.upkeep._TOGETHER", 2 * ROWS)

        tend(folder)

        assert len(names(folder, "records")) == 3
        assert alike(ask(folder, FACTS), ask(whole, FACTS))
        assert alike(ask(folder, MINUTES), ask(whole, MINUTES))

    def test_buckets_count_each_value_once(self, folder: Path) -> None:
        mos = np.concatenate([records(seed)["mos"] for seed in range(1, 6)])
        wanted = Counter(buckets.number(mos[~np.isnan(mos)], "1..5").tolist())

        tend(folder)

        found = ask(folder, "SELECT bucket, sum(n) FROM buckets WHERE measure = 'mos' GROUP BY 1")
        assert dict(found) == wanted

    def test_buckets_whose_facts_could_not_be_written_are_counted_once(self, folder: Path) -> None:
        def values() -> int:
            return int(ask(folder, "SELECT sum(n) FROM buckets WHERE measure = 'mos'")[0][0])

        wanted = sum(int((~np.isnan(records(seed)["mos"])).sum()) for seed in range(1, 8))
        tend(folder)
        put(folder, "records", records(6), 6, 6)
        upkeep.tend(folder, "records", HOUR_MS, LATER_MS)
        for file in layout.files_of_hour(folder, "facts", HOUR_MS):
            if file.first == 6:
                file.path.unlink()  # the disk was full
        upkeep.tend(folder, "buckets", HOUR_MS, LATER_MS)  # merges 1 to 6
        put(folder, "records", records(7), 7, 7)
        tend(folder)

        assert values() == wanted
        assert ask(folder, "SELECT sum(records) FROM facts") == [(7 * ROWS,)]

    def test_what_comes_late_is_added(self, folder: Path) -> None:
        tend(folder)
        put(folder, "records", records(6), 6, 6)
        tend(folder)

        assert ask(folder, "SELECT sum(records), min(span_ms) FROM facts") == [(6 * ROWS, layout.HOUR_MS)]
        assert ask(folder, "SELECT sum(records) FROM minutes") == [(6 * ROWS,)]
        assert ask(folder, "SELECT count(*), sum(messages) FROM gaps") == [(5, 15)]

    def test_files_with_other_columns_are_merged_with_all_of_them(self, folder: Path) -> None:
        put(folder, "records", records(6) | {"news": np.arange(ROWS), "word": ["a"] * ROWS}, 6, 6)
        tend(folder)

        assert names(folder, "records") == ["0000000001-0000000006.parquet"]
        assert ask(folder, "SELECT count(*), sum(news), count(word) FROM records") == [
            (6 * ROWS, ROWS * (ROWS - 1) // 2, ROWS)
        ]

    def test_a_column_of_no_table_that_is_of_several_kinds_is_merged_as_text(self, folder: Path) -> None:
        put(folder, "records", records(6) | {"news": np.arange(ROWS)}, 6, 6)
        put(folder, "records", records(7) | {"news": ["a"] * ROWS}, 7, 7)
        put(folder, "records", records(8) | {"news": np.full(ROWS, 0.5)}, 8, 8)
        tend(folder)

        assert names(folder, "records") == ["0000000001-0000000008.parquet"]
        found = dict(ask(folder, "SELECT news, count(*) FROM records WHERE news IN ('1', 'a', '0.5') GROUP BY 1"))
        assert found == {"1": 1, "a": ROWS, "0.5": ROWS}
        assert ask(folder, "SELECT sum(records) FROM facts") == [(8 * ROWS,)]

    def test_a_file_that_the_state_does_not_know_yet_is_left_alone(self, folder: Path) -> None:
        for table in TABLES:  # of a table that has gaps, all are of later writings
            upkeep.tend(folder, table, HOUR_MS, LATER_MS, 4)

        # A crash before the state is saved removes 5, tells its messages, and gives the number to others.
        assert names(folder, "records") == ["0000000001-0000000004.parquet", "0000000005-0000000005.parquet"]
        assert {(file.first, file.last) for file in layout.files_of_hour(folder, "facts", HOUR_MS)} == {(1, 4)}
        assert len(names(folder, "gaps")) == 5
        for table in TABLES:
            upkeep.tend(folder, table, HOUR_MS, LATER_MS, 5)
        assert ask(folder, "SELECT sum(records) FROM facts") == [(5 * ROWS,)]

    def test_an_hour_that_goes_on_is_left_as_it_is_while_its_files_are_new_and_small(self, folder: Path) -> None:
        before = names(folder, "records")
        tend(folder, HOUR_MS + 1000)

        assert names(folder, "records") == before
        assert names(folder, "facts") == []


class TestBrokenOff:
    """Whatever file a crash leaves or takes, sums are the same before, after, and when all is done again."""

    SUMS = (
        "SELECT (SELECT sum(records) FROM facts), (SELECT sum(records) FROM minutes), (SELECT sum(messages) FROM gaps)"
    )

    def test_each_step_can_be_the_last(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        wanted = ask(folder, self.SUMS)
        died = 0

        while not self.survives(folder, monkeypatch, 1 + died % 3):
            assert ask(folder, self.SUMS) == wanted
            died += 1
            assert died < 40

        assert died > 4
        assert ask(folder, self.SUMS) == wanted
        assert ask(folder, "SELECT sum(n) FROM buckets WHERE measure = 'dl_bps'") == [(5 * ROWS,)]
        assert names(folder, "records") == ["0000000001-0000000005.parquet"]

    def survives(self, folder: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> bool:
        """Tend an hour in a process that is killed after so many names given or taken; say if it came to its end."""

        class Killed(BaseException):
            """The end of the process."""

        def step(real: Any) -> Any:
            def instead(*a: Any, **k: Any) -> Any:
                nonlocal steps
                steps -= 1
                if steps < 0:
                    raise Killed
                return real(*a, **k)

            return instead

        with monkeypatch.context() as patched:
            patched.setattr("history.store.files.Draft.publish", step(Draft.publish))
            patched.setattr("pathlib.Path.unlink", step(Path.unlink))
            try:
                tend(folder)
            except Killed:
                return False
        return True


class TestDamage:
    """A file that cannot be read is set aside, so that no reader meets it."""

    @pytest.mark.parametrize("keep_bytes", [0, 4, 5000])
    def test_it_is_set_aside_and_the_others_stay(self, folder: Path, keep_bytes: int) -> None:
        file = layout.files_of_hour(folder, "records", HOUR_MS)[2]
        file.path.write_bytes(file.path.read_bytes()[:keep_bytes])

        assert upkeep.set_aside(folder, "records", HOUR_MS) == [file]
        assert ask(folder, "SELECT sum(records) FROM facts") == [(4 * ROWS,)]


class TestKeeping:
    """A file goes by its age, and of too many those go first that say least for their size."""

    def test_records_go_before_minutes_and_minutes_before_hours(self, folder: Path) -> None:
        tend(folder)
        wanted = upkeep.Keep(records_s=86_400, minutes_s=2 * 86_400, hours_s=3 * 86_400)
        left = []
        for day in range(5):
            upkeep.keep(folder, wanted, HOUR_MS + day * 86_400_000 + 2 * layout.HOUR_MS)
            spans = {file.span for file in layout.closed(folder, "facts")}
            left.append((len(layout.closed(folder, "records")), sorted(spans)))

        assert left == [(1, ["hour", "minute"]), (0, ["hour", "minute"]), (0, ["hour"]), (0, []), (0, [])]
        assert list((folder / "records").iterdir()) == []

    def test_what_is_not_summed_yet_is_as_old_as_its_sums_may_be(self, folder: Path) -> None:
        wanted = upkeep.Keep(records_s=86_400, minutes_s=4 * 86_400, hours_s=9 * 86_400)

        def kept(days: int) -> tuple[int, set[str]]:
            upkeep.keep(folder, wanted, HOUR_MS + days * 86_400_000 + 2 * layout.HOUR_MS)
            spans = {file.span for file in layout.closed(folder, "facts")}
            return len(layout.closed(folder, "records")), spans

        assert kept(3) == (5, set())  # the collector was away for three days
        upkeep.tend(folder, "records", HOUR_MS, LATER_MS)
        assert kept(3) == (0, {"minute"})
        assert kept(5) == (0, {"minute"})
        upkeep.tend(folder, "facts", HOUR_MS, LATER_MS)
        assert kept(5) == (0, {"hour"})
        assert ask(folder, "SELECT sum(records) FROM facts") == [(5 * ROWS,)]

    def test_of_too_much_the_oldest_records_go_until_it_is_enough(self, folder: Path) -> None:
        for hour in (1, 2, 3):
            put(folder, "records", records(hour), 10 + hour, 10 + hour, hour=hour)
        size = sum(file.path.stat().st_size for file in layout.closed(folder, "records"))

        left = upkeep.keep(folder, upkeep.Keep(disk_bytes=size // 2), HOUR_MS + 10 * layout.HOUR_MS)

        assert left <= size // 2
        assert [file.hour_ms for file in layout.closed(folder, "records")][-1] == HOUR_MS + 3 * layout.HOUR_MS

    def test_an_hour_that_has_no_sums_yet_stays_whatever_it_takes(self, folder: Path) -> None:
        upkeep.keep(folder, upkeep.Keep(disk_bytes=0), HOUR_MS + layout.HOUR_MS)

        assert len(layout.closed(folder, "records")) == 5


class TestErasing:
    """One subscriber goes from all files, up to a time, and nothing else does."""

    @pytest.mark.parametrize("rolled", [False, True])
    def test_no_row_and_no_byte_of_the_name_is_left(self, folder: Path, rolled: bool) -> None:
        name = records(1)["subscriber"][0]
        if rolled:
            tend(folder)
        others = ask(folder, f"SELECT sum(records) FROM facts WHERE subscriber <> '{name}'")

        rows, files = erase(folder, {name: LATER_MS, "nobody": LATER_MS})

        assert (rows > 0, files > 0) == (True, True)
        assert ask(folder, "SELECT sum(records) FROM facts") == others
        assert [p for p in folder.rglob("*") if p.is_file() and name.encode() in p.read_bytes()] == []
        assert erase(folder, {name: LATER_MS}) == (0, 0)

    def test_what_came_after_the_time_stays(self, folder: Path) -> None:
        columns = records(1)
        name = columns["subscriber"][0]
        at_ms = int(np.median(columns["t_ms"]))

        erase(folder, {name: at_ms})

        assert ask(folder, f"SELECT min(t_ms) > {at_ms} FROM records WHERE subscriber = '{name}'") == [(True,)]
