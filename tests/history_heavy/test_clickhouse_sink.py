"""The ClickHouse sink: servers are killed in the middle; no message is there twice, and none is lost."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feed.errors import SnfError
from history.sinks.clickhouse import ClickHouse
from history.store.layout import place
from history.tables import TABLES
from lab.wait import comes_true
from tests.history.month import DAY, START_MS
from tests.history_heavy.clickhouse_cluster import CLUSTER, Cluster

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

    def test_an_address_that_is_none_is_refused(self, folder):
        with pytest.raises(SnfError, match="is no address of a ClickHouse server"):
            ClickHouse(folder, ["localhost:8123"], print)

    def test_columns_that_it_sends_are_those_of_the_table(self, cluster):
        ClickHouse(cluster._folders[0], [cluster.url(0)], print).make_tables(CLUSTER)
        (made,) = cluster.rows("select groupArray(name) as names from system.columns where table = 'records_local'")

        assert made["names"] == list(TABLES["records"])
