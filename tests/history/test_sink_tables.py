"""Tables of a ClickHouse cluster are those of the history, and a collector refuses a sink that is none."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from history.collect.erasing import STATE_OF_SINK, erase, handed_on, names_of
from history.collect.rolling import facts_of_facts, facts_of_records
from history.sinks.schema import creates
from history.tables import TABLES
from mgmt.cli.main import main
from tests.test_house import ROOT

HOUR, MINUTE = 3_600_000, 60_000


class TestTables:
    """The statements of deploy/clickhouse are made from the tables."""

    def test_the_file_is_what_the_sink_makes(self):
        lines = (ROOT / "deploy" / "clickhouse" / "tables.sql").read_text().split("\n\n", 1)[1]

        assert [text.strip() for text in lines.split(";") if text.strip()] == creates("snf")

    def test_each_table_has_one_of_a_server_and_one_over_all(self):
        made = "\n".join(creates("other"))

        for table in TABLES.keys() - {"facts", "minutes", "buckets"}:
            assert f"CREATE TABLE IF NOT EXISTS {table}_local (" in made
            assert f"Distributed(other, currentDatabase(), {table}_local," in made

    def test_sums_are_views_with_the_columns_of_their_tables(self):
        views = {text.split()[5]: text for text in creates("other") if text.startswith("CREATE VIEW")}

        assert views.keys() == {"facts", "minutes", "buckets"}
        for table, text in views.items():
            outer = text.partition("SELECT\n")[2].partition("\nFROM (")[0]
            names = [re.split(r" AS |\s", each.strip())[-1] for each in outer.split(",")]
            assert names == list(TABLES[table])


class TestErasing:
    """A folder whose files a sink sends leaves it the names of who was erased; no other one keeps them."""

    @pytest.mark.parametrize("sent", [True, False])
    def test_names_are_left_for_a_sink_alone(self, tmp_path, sent):
        if sent:
            (tmp_path / STATE_OF_SINK).write_text("{}")
        erase(tmp_path, {"one": 1, "two": 2})

        left = handed_on(tmp_path)
        assert [names_of(path) for path in left] == ([{"one": 1, "two": 2}] if sent else [])


class TestCollector:
    """The options of a sink are checked before anything begins."""

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("--sink", "clickhouse"), "A sink has servers, and servers a sink."),
            (("--server", "http://127.0.0.1:1"), "A sink has servers, and servers a sink."),
            (("--sink", "clickhouse", "--server", "127.0.0.1:8123"), "is no address of a ClickHouse server."),
            (
                ("--sink", "clickhouse", "--server", "http://127.0.0.1:1", "--cluster", "a b"),
                "is no name of a cluster.",
            ),
        ],
    )
    def test_what_is_none_is_told_in_a_sentence(self, tmp_path, capsys, words, said):
        with pytest.raises(SystemExit) as ended:
            main(["collect", "--from", f"ipc://{tmp_path}/bus", "--folder", str(tmp_path / "history"), *words])

        assert ended.value.code == 2
        assert said in capsys.readouterr().err


class TestHabitSums:
    """Time at each level and sessions that began, as the roll-up makes them."""

    def rolled(self, tmp_path, records):
        pq.write_table(pa.table(records), tmp_path / "records.parquet")
        (minutes,) = facts_of_records(tmp_path / "records.parquet")
        pq.write_table(minutes, tmp_path / "minutes.parquet")
        (hours,) = facts_of_facts([tmp_path / "minutes.parquet"], HOUR)
        return {row["subscriber"]: row for row in hours.to_pylist()}

    def test_sums_of_an_hour(self, tmp_path):
        seen = [("a", 3, 360), ("a", 4, 720), ("a", 14, 1080), ("a", 26, 4320), ("b", 0, None), ("b", 12, 480)]
        records = {
            "t_ms": [10 * HOUR + minute * MINUTE + 30_000 for _, minute, _ in seen],
            "interval_ms": pa.array([1000] * len(seen), pa.uint32()),
            "subscriber": pa.array([who for who, _, _ in seen]).dictionary_encode(),
            "app": pa.array(["netflix"] * len(seen)).dictionary_encode(),
            "video_height": pa.array([height for *_, height in seen], pa.float32()),
        }

        found = self.rolled(tmp_path, records)

        levels = {who: [row[f"level_{n}_ms"] for n in (480, 720, 1080, 2160)] for who, row in found.items()}
        assert levels == {"a": [1000, 1000, 1000, 1000], "b": [1000, 0, 0, 0]}
        # Minute 14 is nine whole minutes after minute 4, minute 26 eleven; b goes on from the hour before, and pauses.
        assert {who: row["sessions"] for who, row in found.items()} == {"a": 2, "b": 1}
