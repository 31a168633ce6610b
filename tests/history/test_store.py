"""The files of the history: which of them count, what a view makes of them, and that none is ever half."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from feed.columns import Coded
from history.store import files, layout, schema
from history.tables import PLACES
from tests.history.written import HOUR_MS, ask, published, put


class TestNames:
    """A file says by its name what it stands for, and what is no closed file is not read."""

    def test_the_layout_is_by_date_and_hour_in_utc(self, tmp_path: Path) -> None:
        path = layout.place(tmp_path, "records", 1_785_000_000_000, "", 7, 9).path

        assert str(path.relative_to(tmp_path)) == "records/date=2026-07-25/hour=17/0000000007-0000000009.parquet"

    def test_facts_have_their_span_in_the_name(self, tmp_path: Path) -> None:
        assert layout.place(tmp_path, "facts", HOUR_MS, layout.MINUTE, 1, 2).path.name.startswith("minute-")

    def test_a_file_that_another_one_stands_for_is_of_no_account(self, tmp_path: Path) -> None:
        for first, last in ((1, 1), (2, 2), (1, 2), (3, 3)):
            put(tmp_path, "records", published(3), first, last)

        assert [(f.first, f.last) for f in layout.closed(tmp_path, "records")] == [(1, 2), (3, 3)]

    def test_the_same_numbers_of_another_span_or_hour_are_another_file(self, tmp_path: Path) -> None:
        kept = [
            layout.place(tmp_path, "facts", HOUR_MS + hour, span, 1, 1)
            for hour in (0, layout.HOUR_MS)
            for span in (layout.HOUR, layout.MINUTE)
        ]
        assert [file for hour in (kept[:2], kept[2:]) for file in layout.in_force(hour)] == kept

    @pytest.mark.parametrize("name", [".0000000001-0000000001.parquet.tmp", "x.parquet", "1-1.parquet", "notes.txt"])
    def test_what_has_another_name_is_not_read(self, tmp_path: Path, name: str) -> None:
        path = put(tmp_path, "records", published(3), 1, 1)
        (path.parent / name).write_bytes(b"PAR1")
        (tmp_path / "records" / "date=2026-13-45" / "hour=99").mkdir(parents=True)

        assert [file.path for file in layout.closed(tmp_path, "records")] == [path]

    def test_a_span_of_time_has_the_hours_in_it_and_the_next_which_may_have_its_last_rows(self, tmp_path: Path) -> None:
        for hour in range(5):
            put(tmp_path, "records", published(3), hour, hour, hour=hour)

        found = layout.closed(tmp_path, "records", HOUR_MS + layout.HOUR_MS, HOUR_MS + 2 * layout.HOUR_MS)

        assert [file.first for file in found] == [1, 2]


class TestWriting:
    """A file is there whole, or not at all."""

    def test_until_it_is_closed_there_is_nothing_to_read(self, tmp_path: Path) -> None:
        made = schema.table_of("records", published(10), 10)
        draft = files.Draft(layout.place(tmp_path, "records", HOUR_MS, "", 1, 1).path, made.schema)

        draft.write(made)
        assert layout.closed(tmp_path, "records") == []
        draft.close()
        assert layout.closed(tmp_path, "records") == []
        draft.publish()
        assert ask(tmp_path, "SELECT count(*) FROM records") == [(10,)]

    def test_one_that_fails_leaves_nothing_behind(self, tmp_path: Path) -> None:
        good = schema.table_of("records", published(10), 10)
        path = layout.place(tmp_path, "records", HOUR_MS, "", 1, 1).path

        with pytest.raises(ValueError, match="schema"):
            files.write(path, good.schema, [good, good.drop_columns(["mos"])])
        assert list(path.parent.iterdir()) == []


class TestColumns:
    """A table has its columns, whatever a publisher has and has not."""

    def test_what_is_missing_is_empty_or_null_and_what_is_more_is_kept(self) -> None:
        columns = {"subscriber": Coded(["a", "b"], np.array([1, 0], np.uint8)), "news": np.array([1.5, np.nan])}

        made = schema.table_of("records", columns, 2).to_pylist()

        assert [row["subscriber"] for row in made] == ["b", "a"]
        assert [row["news"] for row in made] == [1.5, None]
        assert [row["gnb"] for row in made] == ["", ""]
        assert [row["mos"] for row in made] == [None, None]

    @pytest.mark.parametrize(
        "columns",
        [
            {"mos": ["good", "bad"]},
            {"app": np.array([1, 2])},
            {"flows": np.array([1, 2**32])},
            {"t_ms": np.array([1, 2**63], np.uint64)},
            {"ul_bytes": np.array([1e300, 0])},
        ],
    )
    def test_one_that_is_of_another_type_is_refused(self, columns: dict[str, Any]) -> None:
        with pytest.raises(schema.BadColumn, match=next(iter(columns))):
            schema.table_of("records", columns, 2)


class TestFacts:
    """The facts are the same sums whether an hour is rolled up, a minute, or neither."""

    def by_hand(self, columns: dict[str, Any]) -> dict[tuple[int, str, str], list[float]]:
        """Return records, downlink bytes, scores and their number by minute, subscriber and application."""
        found: dict[tuple[int, str, str], list[float]] = defaultdict(lambda: [0, 0, 0, 0])
        for t_ms, who, app, octets, mos in zip(
            *(columns[name] for name in ("t_ms", "subscriber", "app", "dl_bytes", "mos")), strict=True
        ):
            sums = found[(int(t_ms) - 1) // 60_000 * 60_000, who, app]
            scored = not np.isnan(mos)
            for at, value in enumerate((1, int(octets), float(mos) if scored else 0.0, int(scored))):
                sums[at] += value
        return found

    def test_records_are_summed_by_the_minute_in_which_they_ended(self, tmp_path: Path) -> None:
        columns = published(700, 7)  # 100 s
        put(tmp_path, "records", columns, 1, 1)

        rows = ask(tmp_path, "SELECT t_ms, subscriber, app, records, dl_bytes, mos_sum, mos_n FROM facts")

        wanted = self.by_hand(columns)
        assert {row[:3]: pytest.approx(list(row[3:])) for row in rows} == wanted
        assert len(rows) == len(wanted) == 21  # the first record ended with its minute, and is of the one before

    def test_each_record_is_in_one_of_hours_minutes_and_records(self, tmp_path: Path) -> None:
        def fact(records: int) -> dict[str, Any]:
            return {"t_ms": np.array([HOUR_MS]), "subscriber": ["a"], "records": np.array([records])}

        for number in range(1, 7):
            put(tmp_path, "records", published(10), number, number)
        put(tmp_path, "facts", fact(1000), 1, 2, layout.HOUR)
        put(tmp_path, "facts", fact(7), 1, 2, layout.MINUTE)
        put(tmp_path, "facts", fact(200), 3, 4, layout.MINUTE)

        assert ask(tmp_path, "SELECT sum(records) FROM facts") == [(1000 + 200 + 20,)]
        assert ask(tmp_path, "SELECT sum(records) FROM minutes") == [(7 + 200 + 20,)]

    def test_a_minute_counts_each_subscriber_once(self, tmp_path: Path) -> None:
        one_place = dict.fromkeys(("app", *PLACES), ["same"] * 70)
        for number in (1, 2):
            put(tmp_path, "records", published(70, 7, **one_place), number, number)

        rows = ask(tmp_path, "SELECT sum(records), max(subscribers) FROM minutes")

        assert rows == [(140, 7)]

    def test_files_of_a_time_before_a_column_was_known_have_it_empty(self, tmp_path: Path) -> None:
        columns = published(10)
        old = schema.table_of("records", columns, 10).drop_columns(["gnb", "slice"])
        files.write(layout.place(tmp_path, "records", HOUR_MS, "", 1, 1).path, old.schema, [old])
        put(tmp_path, "records", columns, 2, 2)

        assert ask(tmp_path, "SELECT sum(records) FROM facts WHERE gnb = ''") == [(10,)]

    def test_a_store_without_files_has_all_tables_and_no_rows(self, tmp_path: Path) -> None:
        for table in schema.TABLES:
            assert ask(tmp_path, f"SELECT count(*) FROM {table}") == [(0,)]

    def test_a_folder_with_a_quote_in_its_name_is_read(self, tmp_path: Path) -> None:
        put(tmp_path / "it's", "records", published(10), 1, 1)

        assert ask(tmp_path / "it's", "SELECT count(*) FROM records") == [(10,)]
