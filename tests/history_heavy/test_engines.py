"""The same texts on DuckDB, on two ClickHouse servers with Distributed tables, and on Spark give the same rows."""

from __future__ import annotations

import json
import math
import subprocess
from typing import Any

import pytest

from history.questions.run import History
from history.questions.text import QUESTIONS, Asked, fill
from history.sinks.clickhouse import ClickHouse
from history.tables import DIMENSIONS, TABLES
from tests.history.month import BAD_DAY, BAD_GNB, DAY, DAYS, MARK_MS, START_MS, month, published, tables, write
from tests.history_heavy.clickhouse_cluster import CLUSTER, Cluster
from tests.stacks.validators import environment
from tests.test_house import ROOT

END_MS = START_MS + DAYS * DAY
MARKED = {"since_ms": MARK_MS - 7 * DAY, "until_ms": END_MS, "mark_ms": MARK_MS}
ALL = {"since_ms": START_MS, "until_ms": END_MS}
MADE = month()
CASES = [
    *(("worst", ALL | {"by": by}) for by in QUESTIONS["worst"].by),
    ("worst", ALL | {"by": "app", "filters": {"app": "news's", "gnb": BAD_GNB}}),
    ("subscriber", ALL | {"filters": {"subscriber": MADE.opted_out}}),
    ("subscriber", ALL | {"filters": {"subscriber": MADE.names[1]}, "numbers": {"limit": 7}}),
    *(("busy", ALL | {"by": by}) for by in ("gnb", "slice", "app")),
    *(("busy", ALL | {"measure": measure}) for measure in ("rtt_access_ms", "loss_dl", "video_height", "startup_s")),
    ("change", MARKED),
    ("change", MARKED | {"filters": {"slice": "1"}}),
    ("change", MARKED | {"mark_ms": START_MS + BAD_DAY * DAY, "since_ms": START_MS, "numbers": {"least": 13}}),
    ("apps", ALL),
    *(("habits", ALL | {"by": by}) for by in QUESTIONS["habits"].by),
    ("churn", ALL | {"numbers": {"least": 5}}),
    ("gaps", ALL),
]
IDS = [f"{name}-{number}" for number, (name, _) in enumerate(CASES)]


def text_of(number: int, engine: str) -> str:
    name, words = CASES[number]
    return fill(name, Asked(**words), engine)


@pytest.fixture(scope="module")
def made():
    return tables(MADE)


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    place = tmp_path_factory.mktemp("history")
    write(place, made)
    return place


@pytest.fixture(scope="module")
def duckdb_rows(folder):
    with History(folder) as history:
        answers = [history.ask(name, Asked(**words)) for name, words in CASES]
        return [(answer.columns, answer.rows) for answer in answers]


@pytest.fixture(scope="module")
def cluster(made, tmp_path_factory):
    """Give servers to which the sink sent what was published; they make the sums."""
    folder = tmp_path_factory.mktemp("published")
    write(folder, {"records": published(MADE), "gaps": made["gaps"], "marks": made["marks"]})
    with Cluster(tmp_path_factory.mktemp("clickhouse")) as servers:
        said: list[str] = []
        sink = ClickHouse(folder, [servers.url(0), servers.url(1)], said.append)
        sink.make_tables(CLUSTER)
        assert sink.send() == 0, said
        yield servers


@pytest.fixture(scope="module")
def spark_rows(folder):
    kinds = {"str": "string", "f4": "double", "f8": "double"}
    case = {
        "tables": {
            name: [str(path) for path in sorted((folder / name).rglob("*.parquet"))]
            for name in ("facts", "minutes", "buckets", "gaps")
        },
        "columns": {
            name: {column: kinds.get(what.dtype, "bigint") for column, what in columns.items()}
            for name, columns in TABLES.items()
        },
        "texts": [text_of(number, "spark") for number in range(len(CASES))],
    }
    python = environment("spark") / "bin" / "python"
    script = ROOT / "tests" / "history_heavy" / "spark_engine.py"
    done = subprocess.run([python, script], input=json.dumps(case), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads(done.stdout.rpartition("----\n")[2])
    return found


def assert_equal(rows, wanted) -> None:
    assert len(rows) == len(wanted)
    for row, want in zip(rows, wanted, strict=True):
        for one, other in zip(row, want, strict=True):
            if isinstance(one, (int, float)) and isinstance(other, (int, float)):
                assert math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9), (row, want)
            else:
                assert one == other, (row, want)


class TestClickHouse:
    """Two servers of 18.16, each with a part of the rows."""

    def test_each_server_has_a_part_and_both_see_all(self, cluster, made):
        parts = [cluster.rows("select count() as n from records_local", number)[0]["n"] for number in (0, 1)]

        assert min(parts) > 0.3 * sum(parts)
        assert sum(parts) == len(MADE.records["t_ms"])
        for name, rows in made.items():
            if name != "buckets":
                assert [cluster.rows(f"select count() as n from {name}", n)[0]["n"] for n in (0, 1)] == [len(rows)] * 2

    @pytest.mark.parametrize("name", ["facts", "minutes", "buckets"])
    def test_sums_are_those_of_the_files(self, cluster, made, name):
        """Each row of a sum, and each number of it; the month counts scores by bucket alone."""
        key = [n for n in TABLES[name] if n in ("t_ms", "span_ms", "subscriber", "measure", "bucket", *DIMENSIONS)]
        only = "where measure = 'mos'" if name == "buckets" else ""
        skipped = ("sessions",) if name == "minutes" else ()  # of a minute nobody asks for them
        found = {tuple(row[n] for n in key): row for row in cluster.rows(f"select * from {name} {only}")}
        wanted = {tuple(row[n] for n in key): row for row in made[name].to_pylist()}

        assert found.keys() == wanted.keys()
        for at, row in wanted.items():
            for column, value in row.items():
                if column not in skipped:
                    same = found[at][column] == value
                    assert same or math.isclose(found[at][column], value, rel_tol=1e-6), (at, column)

    @pytest.mark.parametrize("number", range(len(CASES)), ids=IDS)
    def test_it_gives_the_rows_of_duckdb(self, cluster, duckdb_rows, number):
        columns, wanted = duckdb_rows[number]
        found = cluster.rows(text_of(number, "clickhouse"), number % 2)

        assert_equal([tuple(row.values()) for row in found], wanted)
        assert not found or list(found[0]) == columns


class TestSpark:
    """Spark in one process, over the same files."""

    @pytest.mark.parametrize("number", range(len(CASES)), ids=IDS)
    def test_it_gives_the_rows_of_duckdb(self, spark_rows, duckdb_rows, number):
        columns, wanted = duckdb_rows[number]
        found = spark_rows[number]

        assert "error" not in found, found["error"]
        assert found["columns"] == columns
        assert_equal(found["rows"], wanted)


class TestCases:
    """The comparison is one of rows: no question is compared by an empty answer alone, and a wrong row is seen."""

    def test_each_question_has_rows(self, duckdb_rows):
        with_rows = {name for (name, _), (_, rows) in zip(CASES, duckdb_rows, strict=True) if rows}

        assert with_rows == QUESTIONS.keys()

    def test_another_row_is_seen(self):
        with pytest.raises(AssertionError):
            assert_equal([("a", 1.0)], [("a", 1.0001)])
