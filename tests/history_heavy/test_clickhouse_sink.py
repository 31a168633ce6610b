"""The ClickHouse sink: servers are killed in the middle; no message is there twice, and none is lost."""

from __future__ import annotations

import math
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feed.consumer import key_pair
from feed.errors import SnfError
from history.collect import upkeep
from history.collect.erasing import erase
from history.questions.run import History
from history.questions.text import QUESTIONS, Asked, fill
from history.sinks.clickhouse import ClickHouse
from history.store.layout import HOUR_MS, hours, place
from history.tables import TABLES
from lab.wait import comes_true, wait_until
from nf.publish import Publisher
from nf.settings import Curve, Export
from tests.feed.samples import batch
from tests.history.month import DAY, START_MS
from tests.history_heavy.clickhouse_cluster import CLUSTER, Cluster, Failed

MESSAGES, ROWS = 12, 400  # of a file, and of a message


def write(folder, number: int, seed: int = 1) -> None:
    """Write a closed file of records: messages of two functions and two classes, around midnight."""
    r = np.random.default_rng(seed + number)
    n = MESSAGES * ROWS
    message = np.repeat(np.arange(MESSAGES), ROWS)
    columns = {
        "nf": np.array(["a", "b"], object)[message % 2],
        "boot": np.array(["boot'1", "boot\\2"], object)[message % 2],
        "seq": number * MESSAGES + message,
        "app_class": np.array(["video", "web"], object)[message // 2 % 2],
        "t_ms": START_MS + DAY + r.integers(-5000, 5000, n),
        "interval_ms": np.full(n, 1000),
        "subscriber": np.array([f"s{i}" for i in range(50)], object)[r.integers(0, 50, n)],
        "app": np.array(["tab\there", "line\nthere", "back\\slash", "it's"], object)[message % 4],
        "ul_bytes": r.integers(0, 10**6, n),
        "mos": pa.array(r.uniform(1, 5, n), mask=r.random(n) < 0.2),
    }
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    path = place(folder, "records", START_MS + DAY, "", number, number).path
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.tmp")
    pq.write_table(table, aside)
    aside.rename(path)


def written(folder) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted(folder.glob("records/**/*.parquet")))


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path / "servers") as servers:
        yield servers


@pytest.fixture
def folder(tmp_path):
    place_ = tmp_path / "history"
    place_.mkdir()
    return place_


def sink(folder, cluster, said=None):
    return ClickHouse(folder, [cluster.url(0), cluster.url(1)], (said if said is not None else []).append)


def assert_all_there_once(folder, cluster) -> None:
    wanted = written(folder)
    keys = Counter(zip(*(wanted[name].to_pylist() for name in ("nf", "boot", "app_class", "seq")), strict=True))
    rows = cluster.rows("select nf, boot, app_class, seq, count() as n from records group by nf, boot, app_class, seq")

    assert {(r["nf"], r["boot"], r["app_class"], r["seq"]): r["n"] for r in rows} == dict(keys)
    (sums,) = cluster.rows(
        "select sum(ul_bytes) as b, sum(mos) as m, count(mos) as n, uniqExact(app) as a from records"
    )
    assert sums["b"] == pa.compute.sum(wanted["ul_bytes"]).as_py()
    assert sums["m"] == pytest.approx(pa.compute.sum(wanted["mos"]).as_py())
    assert sums["n"] == pa.compute.count(wanted["mos"]).as_py()
    assert {r["app"] for r in cluster.rows("select distinct app from records")} == set(wanted["app"].to_pylist())


class TestSink:
    """Closed files go to the servers, each message to one of them."""

    def test_what_is_written_is_there_once_however_often_it_is_sent(self, folder, cluster):
        first = sink(folder, cluster)
        first.make_tables(CLUSTER)
        for number in range(3):
            write(folder, number)

        assert first.send() == 0
        assert_all_there_once(folder, cluster)
        assert min(cluster.rows("select count() as n from records_local", n)[0]["n"] for n in (0, 1)) > 0
        (folder / "clickhouse.json").unlink()  # as if the sink had been killed before it wrote down what it had sent
        assert sink(folder, cluster).send() == 0
        assert_all_there_once(folder, cluster)

    def test_a_server_that_is_down_gets_its_part_when_it_is_back(self, folder, cluster):
        said: list[str] = []
        one = sink(folder, cluster, said)
        one.make_tables(CLUSTER)
        write(folder, 0)
        cluster.kill(1)

        assert one.send() == 1
        assert [s for s in said if "takes nothing" in s and "What waits is kept." in s] == said
        cluster.start(1)
        assert one.send() == 0
        assert said[-1].endswith("takes rows again.")
        assert_all_there_once(folder, cluster)

    def test_servers_that_are_killed_in_the_middle_lose_and_double_nothing(self, folder, cluster):
        one = sink(folder, cluster)
        one.make_tables(CLUSTER)
        stop = threading.Event()

        def send() -> None:
            while not stop.is_set():
                one.send()

        thread = threading.Thread(target=send)
        thread.start()
        try:
            for number in range(12):
                write(folder, number)
                if number % 4 == 2:
                    cluster.kill(number // 4 % 2)
                if number % 4 == 3:
                    cluster.start(number // 4 % 2)
        finally:
            stop.set()
            thread.join()

        assert comes_true(lambda: one.send() == 0, 30)
        assert_all_there_once(folder, cluster)

    def test_a_file_of_a_writing_that_did_not_come_to_its_end_is_not_sent(self, folder, cluster):
        """The collector removes it at its next start and tells a gap, and then gives its number to another file."""
        one = sink(folder, cluster)
        one.make_tables(CLUSTER)
        write(folder, 1)
        (folder / "state.json").write_text('{"number": 0, "sequences": {}, "erasing": {}}')

        assert one.send() == 0
        assert cluster.rows("select count() as n from records") == [{"n": 0}]
        (folder / "state.json").write_text('{"number": 1, "sequences": {}, "erasing": {}}')
        assert one.send() == 0
        assert_all_there_once(folder, cluster)

    def test_an_address_that_is_none_is_refused(self, folder):
        with pytest.raises(SnfError, match="is no address of a ClickHouse server"):
            ClickHouse(folder, ["localhost:8123"], print)

    def test_columns_that_it_sends_are_those_of_the_table(self, cluster):
        ClickHouse(cluster._folders[0], [cluster.url(0)], print).make_tables(CLUSTER)
        (made,) = cluster.rows("select groupArray(name) as names from system.columns where table = 'records_local'")

        assert made["names"] == list(TABLES["records"])


GONE = {"s1": START_MS + DAY, "s2": START_MS + 2 * DAY}  # erased, and until when


class TestErasing:
    """Whoever is erased from the files is erased on each server, up to the same time, and nobody else is."""

    def left(self, cluster) -> dict[str, int]:
        found = cluster.rows("select subscriber, count() as n from records group by subscriber")
        return {row["subscriber"]: row["n"] for row in found}

    def wanted(self, folder) -> dict[str, int]:
        return dict(Counter(written(folder)["subscriber"].to_pylist()))

    def test_also_on_a_server_that_was_down_and_by_a_sink_that_was_killed(self, folder, cluster):
        said: list[str] = []
        one = sink(folder, cluster, said)
        one.make_tables(CLUSTER)
        for number in range(3):
            write(folder, number)
        assert one.send() == 0
        assert self.left(cluster) == self.wanted(folder)
        cluster.kill(1)

        for name, until_ms in GONE.items():  # one after the other, which a server may not take for one
            rows, _ = erase(folder, {name: until_ms})
            assert rows > 0
        (folder / ".erased-1.json").write_text("[1]")  # damaged; it keeps nobody from being erased
        assert one.send() == 2
        assert any("erases nobody" in text and "It is tried again." in text for text in said)
        cluster.start(1)
        again = sink(folder, cluster)  # as if the sink had been killed, too
        assert comes_true(lambda: again.send() == 0, 30)

        assert comes_true(lambda: self.left(cluster) == self.wanted(folder), 60)
        assert "s2" not in self.left(cluster)
        assert self.left(cluster)["s1"] > 0  # what came after the time
        assert not list(folder.glob(".erased-*"))

    def test_rows_of_a_file_that_is_sent_later_are_gone_as_well(self, folder, cluster):
        one = sink(folder, cluster)
        one.make_tables(CLUSTER)
        write(folder, 0)
        assert one.send() == 0
        cluster.kill(1)
        write(folder, 1)
        one.send()
        erase(folder, GONE)
        cluster.start(1)

        assert comes_true(lambda: one.send() == 0, 30)
        assert comes_true(lambda: self.left(cluster) == self.wanted(folder), 60)


SERVER, CLIENT = key_pair(), key_pair()
BATCHES, TOGETHER = 30, 120
BEGIN_MS = (round(time.time() * 1000) // HOUR_MS - 3) * HOUR_MS  # hours that are over


def publish(publisher: Publisher, number: int) -> int:
    """Publish one interval of a class, some minutes of two hours that are over; return its bytes."""
    some = batch(TOGETHER, ("video", "web", "gaming")[number % 3], seed=number % 4)
    t_ms = BEGIN_MS + (number * 4 + np.arange(TOGETHER) % 4) * 60_000 + 30_000
    some.columns.update(t_ms=t_ms, gnb=[f"192.0.2.{i % 3}" for i in range(TOGETHER)], slice=["1"] * TOGETHER)
    publisher.publish(type(some)(some.app_class, t_ms.min() / 1000, t_ms.max() / 1000, some.columns))
    return int(np.sum(some.columns["dl_bytes"]))


class TestCollector:
    """From the feed through `snf collect --sink` to two servers, of which each is killed once on the way."""

    @pytest.fixture
    def publisher(self):
        curve = Curve(secret_key=SERVER[1], public_key=SERVER[0], clients=(CLIENT[0],))
        found = Publisher(Export(endpoint="tcp://127.0.0.1:*", batch_rows=1, curve=curve), "nf1")
        found.start()
        yield found
        found.stop()

    def collecting(self, tmp_path: Path, endpoint: str, cluster: Cluster) -> subprocess.Popen[bytes]:
        keys = tmp_path / "keys"
        keys.touch(0o600)
        lines = zip(("server_key", "public_key", "secret_key"), (SERVER[0], *CLIENT), strict=True)
        keys.write_text("".join(f"{name}={key}\n" for name, key in lines))
        words = [
            "--from",
            endpoint,
            "--curve",
            str(keys),
            "--folder",
            str(tmp_path / "history"),
            "--write-every",
            "0.5",
        ]
        words += ["--sink", "clickhouse", "--server", cluster.url(0), "--server", cluster.url(1)]
        with (tmp_path / "log").open("ab") as log:
            snf = Path(sys.executable).with_name("snf")
            return subprocess.Popen([str(snf), "collect", *words], stdout=log, stderr=log)

    def assert_equal_rows(self, folder: Path, cluster: Cluster) -> None:
        """Ask each question of DuckDB over the files, and of the servers. Floats of the files have four bytes."""
        since_ms, until_ms = BEGIN_MS, BEGIN_MS + 2 * HOUR_MS + 60_000
        with History(folder) as history:
            name = history.sql("select min(subscriber) as s from facts").rows[0][0]
            asked_of = {
                "worst": Asked(since_ms, until_ms, by="subscriber", numbers={"least": 1, "limit": 1000}),
                "subscriber": Asked(since_ms, until_ms, filters={"subscriber": name}),
                "churn": Asked(since_ms, until_ms, numbers={"least": 1, "days": 1, "limit": 1000}),
                "gaps": Asked(0, round(time.time() * 1000) + HOUR_MS),
            }
            for question in QUESTIONS.keys() - {"change"}:  # which wants a day before the mark
                asked = asked_of.get(question, Asked(since_ms, until_ms))
                wanted = history.ask(question, asked).rows
                found = [tuple(row.values()) for row in cluster.rows(fill(question, asked, "clickhouse"))]
                assert len(found) == len(wanted), question
                assert wanted or question in ("churn", "gaps"), question
                for one, other in zip(found, wanted, strict=True):
                    for a, b in zip(one, other, strict=True):
                        assert a == b or math.isclose(a, b, rel_tol=1e-6), (question, one, other)

    def test_what_was_published_is_there_once_and_questions_have_equal_rows(self, tmp_path, publisher, cluster):
        folder, sent = tmp_path / "history", 0
        process = self.collecting(tmp_path, publisher.endpoint, cluster)
        try:
            wait_until(lambda: "is heard." in (tmp_path / "log").read_text(), "the collector hears the function", 60)
            for number in range(BATCHES):
                sent += publish(publisher, number)
                time.sleep(random.uniform(0, 0.3))
                if number % 10 == 3:
                    cluster.kill(number // 10 % 2)
                if number % 10 == 8:
                    cluster.start(number // 10 % 2)
                if number == 14:  # the collector, too, in the middle of whatever it does
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    process = self.collecting(tmp_path, publisher.endpoint, cluster)

            def arrived() -> bool:
                try:
                    (there,) = cluster.rows("select uniqExact(boot, app_class, seq) as m from records")
                    (missing,) = cluster.rows("select sum(messages) as n from gaps where topic like 'qoe%'")
                except Failed:  # tables are made when all servers are there for the first time
                    return False
                return there["m"] + missing["n"] == BATCHES

            assert comes_true(arrived, 60), (tmp_path / "log").read_text()
        finally:
            process.terminate()
            assert process.wait(60) in (0, -signal.SIGTERM)
        assert ClickHouse(folder, [cluster.url(0), cluster.url(1)], print).send() == 0
        assert_all_there_once(folder, cluster)
        (lost,) = cluster.rows("select sum(messages) as n from gaps where topic like 'qoe%'")
        (there,) = cluster.rows("select sum(dl_bytes) as b, count() as n from records")
        assert there["n"] == (BATCHES - lost["n"]) * TOGETHER
        assert there["b"] == sent if not lost["n"] else there["b"] < sent

        for table in ("records", "facts", "minutes", "buckets"):
            for hour_ms, _ in list(hours(folder, table)):
                upkeep.tend(folder, table, hour_ms, hour_ms + 3 * HOUR_MS)
        self.assert_equal_rows(folder, cluster)
