"""``snf query``, and the runner behind it: reads a folder, nothing else, and never writes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from feed.errors import SnfError
from history.collect import upkeep
from history.questions.run import History
from history.questions.text import Asked
from history.store import layout
from mgmt.cli import answers
from mgmt.cli.main import main, snf
from tests.feed.samples import records
from tests.history import web_folder
from tests.history.month import DAY, START_MS, month, tables, write
from tests.history.written import HOUR_MS, published, put

DAYS = 3
SNF = str(Path(sys.executable).parent / "snf")
END_MS = START_MS + DAYS * DAY
SPAN = ("--since", "2026-10-01T00:00:00+00:00", "--until", "2026-10-04T00:00:00+00:00")


@pytest.fixture(scope="module")
def made():
    return month(subscribers=24, days=DAYS)


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    place = tmp_path_factory.mktemp("history")
    write(place, tables(made))
    return place


def asked(folder: Path, *words: str):
    return CliRunner().invoke(snf, ["query", "--folder", str(folder), *words])


def refused(capsys, *words: str) -> str:
    """Return the sentence of a command that ends with 2."""
    with pytest.raises(SystemExit) as ended:
        main(["query", *words])
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


class TestCommand:
    """Rows as a table, JSON lines, CSV or Parquet; a sentence where there are none."""

    def test_the_four_forms_have_the_same_rows(self, folder, tmp_path):
        words = ("worst", *SPAN, "--by", "gnb")
        lines = [json.loads(line) for line in asked(folder, *words, "--output", "json").stdout.splitlines()]
        text = csv.DictReader(io.StringIO(asked(folder, *words, "--output", "csv").stdout))
        (tmp_path / "a").write_bytes(asked(folder, *words, "--output", "parquet").stdout_bytes)
        shown = asked(folder, *words).stdout

        assert len(lines) == 6
        assert [row["value"] for row in text] == [row["value"] for row in lines]
        for row, line in zip(pq.read_table(tmp_path / "a").to_pylist(), lines, strict=True):
            assert row == pytest.approx(line)  # sums of floats of two threads differ in their last digits
        for row in lines:
            assert row["value"] in shown
            assert f"{row['score']:.2f}" in shown

    def test_without_a_name_the_questions_are_listed(self, folder):
        listed = asked(folder).stdout

        assert [line.split()[0] for line in listed.splitlines()] == [
            *("worst", "subscriber", "busy", "change", "apps", "habits", "churn", "gaps"),
        ]

    def test_a_question_without_rows_says_so_and_ends_well(self, folder):
        done = asked(folder, "gaps", *SPAN)

        assert (done.exit_code, done.stdout) == (0, "")
        assert done.stderr == "snf: Nothing is missing in this time.\n"

    def test_scores_that_are_too_few_to_judge_are_not_told_as_none(self, tmp_path):
        put(tmp_path, "records", published(20, 10), 1, 1)
        span = ("--since", "2026-07-25T00:00:00+00:00", "--until", "2026-07-26T00:00:00+00:00")

        few = asked(tmp_path, "worst", *span)

        assert few.stderr == "snf: Nothing has 10 scores in this time, which it needs to be judged (--least).\n"
        assert asked(tmp_path, "worst", *span, "--least", "1").stdout

    def test_own_sql_reads_the_tables(self, folder, tmp_path):
        (tmp_path / "q.sql").write_text("select count(*) as n, sum(records) as r from facts where gnb = '192.0.2.1'")
        (row,) = asked(folder, "--sql", str(tmp_path / "q.sql"), "--output", "json").stdout.splitlines()

        found = tables(month(subscribers=24, days=DAYS))["facts"].filter(pa.compute.field("gnb") == "192.0.2.1")
        assert json.loads(row) == {"n": len(found), "r": pa.compute.sum(found["records"]).as_py()}

    def test_a_name_is_whole_in_a_narrow_terminal(self, folder, made, monkeypatch):
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.setenv("FORCE_COLOR", "1")
        shown = asked(folder, "worst", *SPAN, "--limit", "50").stdout

        assert all(name in shown for name in made.names)
        assert "This terminal is too narrow for: " in shown

    def test_what_is_shown_is_whole_in_a_terminal_of_any_width(self, monkeypatch, capsys):
        columns = ("subscriber", "scored", "score", "bad_share", "suspect", "rtt_access_ms", "loss_dl", "bytes")
        rows = [(f"{n:032x}", 1234, 4.25, 0.5, "access", 20.0, 0.01, 1000) for n in range(3)]
        monkeypatch.setenv("FORCE_COLOR", "1")
        for width in range(20, 140):
            monkeypatch.setenv("COLUMNS", str(width))
            answers.show(columns, rows, "t", {})
            shown = capsys.readouterr().out
            assert all(row[0] in shown for row in rows)
            assert shown.count("4.25") == 3
            assert "…" not in shown

    def test_a_pipe_gets_all_columns_however_many(self, monkeypatch, capsys):
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        columns = [f"column_{n}" for n in range(150)]
        answers.show(columns, [[f"{n} of a row" for n in range(150)]], "t", {})

        shown = capsys.readouterr().out
        assert all(column in shown for column in columns)
        assert all(f" {n} of a row" in shown for n in range(150))

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("best",), "There is no question best. Questions are worst, subscriber"),
            (("worst", "--since", "yesterday"), "--since yesterday is no time. Write it as 6h, 2d,"),
            (("worst", "--since", "1h", "--until", "2h"), "The time ends before it begins."),
            (("subscriber",), "is about one subscriber. Name it: --subscriber NAME."),
            (("gaps", "--app", "x"), "The question gaps has no filter app. It has nf."),
            (("worst", "--at", "2026-10-01T00:00:00"), "The question worst has no mark."),
            (("change", "--until", "2026-10-04T00:00:00+00:00"), "There is no mark of a change in the history."),
            (("worst", "--sql", "pyproject.toml"), "There are a question and SQL."),
        ],
    )
    def test_what_cannot_be_asked_is_told_in_a_sentence(self, folder, capsys, words, said):
        assert said in refused(capsys, "--folder", str(folder), *words)

    def test_a_folder_that_is_none_or_empty_is_told_in_a_sentence(self, tmp_path, capsys):
        (tmp_path / "file").write_text("")
        (tmp_path / "empty").mkdir()

        assert "none is not there." in refused(capsys, "--folder", str(tmp_path / "none"), "worst")
        assert "file is no folder." in refused(capsys, "--folder", str(tmp_path / "file"), "worst")
        assert "empty has no history yet." in refused(capsys, "--folder", str(tmp_path / "empty"), "worst")

    @pytest.mark.parametrize("question", ["gaps", "worst"])
    def test_tables_that_this_user_may_not_read_are_not_told_as_empty(self, question):
        with tempfile.TemporaryDirectory() as place:
            os.chmod(place, 0o755)
            for table in ("gaps", "facts", "records"):
                Path(place, table).mkdir(mode=0o700)
            command = [str(Path(sys.executable).parent / "snf"), "query", question, "--folder", place]
            done = subprocess.run(command, user="nobody", capture_output=True, text=True, check=False)

        assert done.returncode == 2
        assert done.stderr == (
            f"snf: {place}/records cannot be read: Permission denied. Ask its owner, or run as root.\n"
        )

    def test_where_the_history_is_not_installed_it_says_so(self):
        program = (
            "import sys; sys.modules['duckdb'] = None\n"
            "import importlib.util as u; find = u.find_spec\n"
            "u.find_spec = lambda name, *a: None if name == 'duckdb' else find(name, *a)\n"
            "from mgmt.cli.main import main; main(['query', 'worst'])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("snf: The history is not installed here. Install supernetflow-collector")


WRITES = [
    "copy facts to 'FOLDER/stolen.parquet'",
    "copy (select 1) to '/tmp/snf-stolen.csv'",
    "attach 'FOLDER/new.db'",
    "install httpfs",
    "load httpfs",
    "set threads = 64",
    "set enable_external_access = true",
    "reset lock_configuration",
    "pragma memory_limit = '9GB'",
    "export database 'FOLDER/export'",
    "import database 'FOLDER'",
    "create table own as select * from facts",
    "insert into facts select * from facts",
    "delete from facts",
    "drop view facts",
    "call enable_logging()",
    "checkpoint",
    "prepare own as select 1",
    "explain analyze copy (select 1) to 'FOLDER/explained.csv'",
    "select 1; copy (select 1) to 'FOLDER/second.csv'",
    "create secret own (type s3)",
    "",
]
READS = [
    "select * from read_csv('/etc/passwd')",
    "select * from read_text('/etc/passwd')",
    "select * from read_blob('/proc/self/environ')",
    "select * from sniff_csv('/etc/passwd')",
    "select * from '/etc/passwd.csv'",
    "select * from read_parquet('BESIDE')",
    "select * from read_parquet('FOLDER/../BESIDE_NAME')",
    "select * from glob('/etc/*')",
    "select * from read_csv('file:///etc/passwd')",
    "select * from read_csv('https://192.0.2.1/x.csv')",
    "select * from query('copy (select 1) to ''FOLDER/q.csv''')",
    "select * from query_table('/etc/passwd')",
    "select getenv('HOME')",
]


class TestSavedFeed:
    """A question to what `snf watch --output json` wrote has the rows that it has of the collector's files."""

    def lines(self) -> list[dict]:
        columns = records(400, 8) | {"nf": ["nf1"] * 400, "class": ["video"] * 400}
        plain = {name: column if isinstance(column, list) else column.tolist() for name, column in columns.items()}
        rows = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
        return json.loads(json.dumps(rows).replace("NaN", "null"))

    @pytest.mark.parametrize("question", ["worst", "apps", "busy", "habits", "churn"])
    def test_of_a_file_and_of_standard_input(self, tmp_path, question):
        saved = "".join(json.dumps(row) + "\n" for row in self.lines())
        wild = [{"t_ms": 1 << 61}, {"t_ms": -5}, {"t_ms": None}, {"flows": -1}]  # rows that no file has room for
        lines = self.lines()
        middle = [json.dumps(lines[0] | each) for each in wild]
        text = "\n".join(["no row", *map(json.dumps, lines[:200]), *middle, *map(json.dumps, lines[200:]), ""])
        (tmp_path / "feed.jsonl").write_text(text)
        put(tmp_path, "records", published(400, 8), 1, 1)
        for table in ("records", "facts", "buckets"):
            upkeep.tend(tmp_path, table, HOUR_MS, HOUR_MS + 3 * layout.HOUR_MS)
        words = ["query", question, "--output", "json"]
        span = ["--since", "2026-07-25T00:00:00+00:00", "--until", "2026-07-26T00:00:00+00:00"]

        of_files = CliRunner().invoke(snf, [*words, *span, "--folder", str(tmp_path)]).stdout
        of_saved = [
            subprocess.run([SNF, *words, *span, "--feed", feed], input=saved, stdout=-1, text=True, check=True).stdout
            for feed in (str(tmp_path / "feed.jsonl"), "-")
        ]

        assert of_files or question == "churn"
        assert of_saved == [of_files, of_files]

    def test_its_time_is_that_of_its_records(self, tmp_path):
        feed = tmp_path / "feed.jsonl"
        feed.write_text("".join(json.dumps(row) + "\n" for row in self.lines()))
        answer = CliRunner().invoke(snf, ["query", "apps", "--output", "json", "--feed", str(feed)])
        assert sum(json.loads(line)["records"] for line in answer.stdout.splitlines()) == 400

    @pytest.mark.parametrize(
        ("words", "said"), [(("gaps",), "does not say what is missing"), (("worst",), "There are no records")]
    )
    def test_what_cannot_be_asked(self, tmp_path, capsys, words, said):
        (tmp_path / "feed.jsonl").write_text("{}\n")
        with pytest.raises(SystemExit) as ended:
            main(["query", *words, "--feed", str(tmp_path / "feed.jsonl")])
        assert ended.value.code == 2
        assert said in capsys.readouterr().err


class TestOwnSql:
    """Own SQL reads the tables of the folder: it writes nothing, and reads no other file."""

    @pytest.fixture
    def beside(self, folder):
        place = folder.parent / "beside.parquet"
        pq.write_table(pa.table({"secret": [1]}), place)
        return place

    def files(self, folder):
        return {(path, path.stat().st_mtime_ns) for path in folder.rglob("*")}

    @pytest.mark.parametrize("sql", WRITES)
    def test_what_is_no_select_is_refused(self, folder, sql):
        before = self.files(folder)
        with History(folder) as history, pytest.raises(SnfError, match=r"not one select|cannot be read"):
            history.sql(sql.replace("FOLDER", str(folder)))

        assert self.files(folder) == before
        assert not Path("/tmp/snf-stolen.csv").exists()

    @pytest.mark.parametrize("sql", READS)
    def test_other_files_are_not_read(self, folder, beside, sql):
        before = self.files(folder)
        text = sql.replace("FOLDER", str(folder)).replace("BESIDE_NAME", beside.name).replace("BESIDE", str(beside))
        with History(folder) as history, pytest.raises(SnfError) as said:
            history.sql(text)

        assert self.files(folder) == before
        assert "\n" not in str(said.value)
        assert "root:" not in str(said.value)

    def test_the_same_file_in_the_folder_is_read(self, folder):
        name = next(folder.glob("facts/**/*.parquet"))
        with History(folder) as history:
            assert history.sql(f"select count(*) as n from read_parquet('{name}')").rows[0][0] > 0

    def test_a_sum_beyond_64_bits_is_a_float(self, folder):
        with History(folder) as history:
            (row,) = history.sql("select sum(9223372036854775807) as n from range(4)").rows
        assert row == (pytest.approx(2.0**65),)

    def test_a_question_beyond_its_memory_is_told_in_a_sentence(self, folder):
        text = "select string_agg(repeat('x', 1000000), '') as n from range(200)"
        with History(folder, memory_mb=30) as history, pytest.raises(SnfError, match="not enough memory"):
            history.sql(text)


class TestFiles:
    """Files of an older collector are read, damaged ones are told, records count where nothing is rolled up yet."""

    @pytest.mark.parametrize("which", [min, max], ids=["the oldest", "the newest"])
    def test_columns_that_one_file_has_not_are_read_of_the_others(self, tmp_path, which):
        """Collectors of several versions wrote there, of which the older one knew fewer columns."""
        folder = web_folder.make(tmp_path, web_folder.Shape(subscribers=66, hours=3))
        file = which((folder / "facts").rglob("*.parquet"))
        pq.write_table(pq.read_table(file).drop_columns(["slice"]), file)

        with History(folder) as history:
            rows = history.ask(
                "worst", Asked(web_folder.END_MS - 3 * web_folder.HOUR_MS, web_folder.END_MS, by="slice")
            )

        assert {row[0] for row in rows.rows} >= {"1", "1-00000a"}

    def test_records_that_are_not_rolled_up_are_summed_with_their_levels(self, tmp_path, made):
        n = 4
        records = {
            "t_ms": pa.array([START_MS + 60_000] * n, pa.uint64()),
            "interval_ms": pa.array([10_000] * n, pa.uint32()),
            "subscriber": ["a", "a", "b", "b"],
            "app_class": ["video"] * n,
            "app": ["netflix"] * n,
            "video_height": pa.array([360, 1080, 4320, None], pa.float32()),
            "mos": pa.array([2.5, 4, 4, None], pa.float32()),
        }
        place = tmp_path / "records/date=2026-10-01/hour=00"
        place.mkdir(parents=True)
        pq.write_table(pa.table(records), place / "0000000001-0000000001.parquet")

        with History(tmp_path) as history:
            (whole,) = history.ask("worst", Asked(START_MS, END_MS, by="app", numbers={"least": 1})).rows
            levels = history.ask("habits", Asked(START_MS, END_MS, by="level"))

        assert whole[:5] == ("netflix", 2, 3, pytest.approx(10.5 / 3), pytest.approx(1 / 3))
        hours = {row[1]: row[3] * 3600 for row in levels.rows}
        assert hours == {level: pytest.approx(10) for level in (0, 480, 1080, 2160)}

    def test_the_share_of_a_suspect_is_of_all_that_have_one(self, tmp_path):
        mos, suspect = np.array([3.5] * 3 + [2.0, 4.5], np.float32), ["access"] * 3 + ["core", ""]
        put(tmp_path, "records", published(5, 1, mos=mos, suspect=suspect, app=["youtube"] * 5), 0, 1)

        with History(tmp_path) as history:
            asked = Asked(HOUR_MS, HOUR_MS + 3_600_000, by="app", numbers={"least": 1})
            (row,) = history.ask("worst", asked).rows

        assert row[4:7] == (pytest.approx(1 / 5), "access", pytest.approx(3 / 4))

    def test_a_file_of_an_older_collector_lacks_a_column(self, tmp_path, made):
        new = tables(made)["facts"]
        old = new.drop_columns(["sessions", "cell"])
        write(tmp_path, {"facts": old.filter(pa.compute.field("t_ms") < START_MS + DAY)})
        write(tmp_path, {"facts": new.filter(pa.compute.field("t_ms") >= START_MS + DAY)})
        newer = new.filter(pa.compute.field("t_ms") >= START_MS + DAY)

        with History(tmp_path) as history:
            (row,) = history.sql("select sum(sessions) as s, sum(records) as r from facts").rows

        assert row == (pa.compute.sum(newer["sessions"]).as_py(), pa.compute.sum(new["records"]).as_py())

    def test_a_damaged_file_is_told_in_a_sentence(self, tmp_path, made):
        write(tmp_path, {"facts": tables(made)["facts"]})
        next(tmp_path.glob("facts/**/*.parquet")).write_bytes(b"PAR1 and no more")

        with History(tmp_path) as history, pytest.raises(SnfError) as said:
            history.ask("worst", Asked(START_MS, END_MS))

        assert "\n" not in str(said.value)

    def test_one_that_is_replaced_meanwhile_is_read_as_it_was_or_as_it_is(self, tmp_path):
        long = put(tmp_path, "records", published(3000), 0, 1)
        versions = [long.read_bytes()]
        long.unlink()
        versions.append(put(tmp_path, "records", published(200), 0, 1).read_bytes())
        with History(tmp_path) as history:
            before = {self.records(history)}
            long.write_bytes(versions[0])
            before.add(self.records(history))

            def replace() -> None:  # as an erasure does it
                for number in range(12):
                    aside = long.with_name(".aside.tmp")
                    aside.write_bytes(versions[number % 2])
                    os.replace(aside, long)
                    time.sleep(0.02)

            replacing = threading.Thread(target=replace)
            replacing.start()
            found = {self.records(history)}
            while replacing.is_alive():
                found.add(self.records(history))
            replacing.join()

        assert found <= before

    @staticmethod
    def records(history: History) -> float:
        return sum(row[2] for row in history.ask("worst", Asked(HOUR_MS, HOUR_MS + 3_600_000, by="app")).rows)
