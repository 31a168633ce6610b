"""Metrics: what a scrape says is what was published, added up, and nobody's series."""

from __future__ import annotations

import math
import subprocess
import sys
import tracemalloc
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from feed import wire
from feed.buckets import number
from feed.errors import SnfError
from feed.records import DELAY_DISTRIBUTION_COLUMNS
from history.metrics.exporter import Exporter, serve
from history.metrics.series import MAX_APPS, MAX_PLACES, OTHER, Series

HEALTH = {"topic": ["qoe.v1/nf1/video/"], "next_seq": np.array([1], np.uint64)}


def coded(topic: str, schema: str, columns: Mapping[str, object], boot: str = "b") -> wire.CodedMessage:
    frames = wire.encode(topic.encode(), wire.Header(schema, "nf1", boot, 0, 0.0, 1.0), columns)
    return wire.decode_coded(frames)


def records(n: int, **columns: object) -> dict[str, object]:
    return {
        "subscriber": [f"{i:032x}" for i in range(n)],
        "app": ["YouTube"] * n,
        "gnb": ["10.0.0.1"] * n,
        "slice": ["1"] * n,
        "suspect": [""] * n,
        "ul_bytes": np.arange(n, dtype=np.uint64),
        "dl_bytes": np.full(n, 1000, np.uint64),
        "mos": np.full(n, 4.0, np.float32),
        **columns,
    }


@contextmanager
def served(series: Series, counters: Mapping[str, float] | None = None) -> Iterator[str]:
    server, thread, port = serve(Exporter(series, lambda: dict(counters or {})), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def scraped(series: Series, counters: Mapping[str, float] | None = None) -> dict[tuple[str, frozenset], float]:
    with served(series, counters) as url, urllib.request.urlopen(url) as answer:
        text = answer.read().decode()
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(found: dict, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


class TestSums:
    """Records are added up by class and application, and by gNB and slice."""

    def test_of_two_messages(self):
        series = Series()
        series.take(coded("qoe.v1/nf1/video/", wire.QOE_SCHEMA, records(10)))
        mos = np.array([math.nan, 2.0, 2.9, 3.0], np.float32)
        places = {"gnb": ["10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.2"], "suspect": ["", "access", "access", ""]}
        series.take(coded("qoe.v1/nf1/video/", wire.QOE_SCHEMA, records(4, mos=mos, **places)))

        found = scraped(series)

        app = {"app_class": "video", "app": "YouTube"}
        assert value(found, "snf_records_by_app_total", **app) == 14
        assert value(found, "snf_ul_bytes_by_app_total", **app) == sum(range(10)) + sum(range(4))
        assert value(found, "snf_scores_by_app_total", **app) == 13
        assert value(found, "snf_score_points_by_app_total", **app) == pytest.approx(40 + 2.0 + 2.9 + 3.0, rel=1e-3)
        assert value(found, "snf_bad_scores_by_app_total", **app) == 2
        place = {"gnb": "10.0.0.2", "slice": "1"}
        assert value(found, "snf_records_by_place_total", **place) == 3
        assert value(found, "snf_suspects_total", **place, suspect="access") == 2
        assert value(found, "snf_suspects_total", gnb="10.0.0.1", slice="1", suspect="access") == 0

    def test_text_of_others_is_a_label_and_nothing_else(self):
        series, name = Series(), 'a"} 1\n# HELP evil\\'
        series.take(coded("qoe.v1/nf1/web/", wire.QOE_SCHEMA, records(1, app=[name])))

        assert value(scraped(series), "snf_records_by_app_total", app_class="web", app=name) == 1

    def test_no_series_is_of_a_subscriber(self):
        series = Series()
        series.take(coded("qoe.v1/nf1/video/", wire.QOE_SCHEMA, records(50)))

        labels = {label for _, pairs in scraped(series) for label in pairs}
        assert not {v for _, v in labels if len(v) == 32}
        assert "subscriber" not in {n for n, _ in labels}


class TestCrowds:
    """The number of different subscribers who are badly served is told, and their names are not."""

    def test_of_a_minute(self):
        now = [100.0]
        series = Series(lambda: now[0])
        for at_s, mos, suspect in ((100.0, 2.0, "access"), (130.0, 3.5, "core"), (140.0, 4.5, "")):
            now[0] = at_s
            few = records(5, mos=np.full(5, mos, np.float32), suspect=[suspect] * 5)
            series.take(coded("qoe.v1/nf1/video/", wire.QOE_SCHEMA, few))
        app, place = {"app_class": "video", "app": "YouTube"}, {"gnb": "10.0.0.1", "slice": "1"}

        told = []
        for at_s in (159.0, 161.0, 191.0):
            now[0] = at_s
            found = scraped(series)
            told += [(value(found, "snf_bad_subscribers", **app), value(found, "snf_suspect_subscribers", **place))]

        assert told == [(5, 5), (0, 5), (0, 0)]

    def test_of_many_it_is_right_to_a_tenth(self):
        series = Series()
        for first in range(0, 1000, 100):
            many = records(100, mos=np.full(100, 1.5, np.float32), subscriber=[f"{first + i:032x}" for i in range(100)])
            for _ in range(3):
                series.take(coded("qoe.v1/nf1/video/", wire.QOE_SCHEMA, many))

        found = scraped(series)

        assert value(found, "snf_bad_subscribers", app_class="video", app="YouTube") == pytest.approx(1000, rel=0.1)

    def test_of_what_is_beyond_the_bound(self):
        series, n = Series(), MAX_PLACES + 9
        gnbs = [f"10.0.0.{i}" for i in range(n)]
        series.take(coded("qoe.v1/nf1/web/", wire.QOE_SCHEMA, records(n, gnb=gnbs, suspect=["n3"] * n)))

        found = scraped(series)

        assert value(found, "snf_suspect_subscribers", gnb=OTHER, slice=OTHER) == 9


class TestBound:
    """There are at most so many series, whatever is published."""

    def test_what_is_beyond_is_added_to_others(self):
        series, n = Series(), 3 * MAX_PLACES
        apps = [f"app{i}" for i in range(n)]
        gnbs = [f"10.0.{i // 250}.{i % 250}" for i in range(n)]
        series.take(coded("qoe.v1/nf1/web/", wire.QOE_SCHEMA, records(n, app=apps, gnb=gnbs)))
        for nf in range(3):
            series.take(coded(f"health.v1/nf{nf}/", wire.HEALTH_SCHEMA, HEALTH))

        found = scraped(series)

        assert len(found) <= 5000
        assert value(found, "snf_records_by_app_total", app_class=OTHER, app=OTHER) == n - MAX_APPS
        assert value(found, "snf_records_by_place_total", gnb=OTHER, slice=OTHER) == n - MAX_PLACES
        total = sum(v for (name, _), v in found.items() if name == "snf_records_by_place_total")
        assert total == n


class TestDelays:
    """A percentile comes from counts by bucket, and is right to 5 %."""

    def test_against_numpy(self):
        delay_ms = np.random.default_rng(1).lognormal(1.0, 0.8, 20_000)
        bucket, n = np.unique(number(delay_ms, "ms"), return_counts=True)
        columns = {
            "t_ms": np.full(len(n), 1, np.uint64),
            "interval_ms": np.full(len(n), 60_000, np.uint32),
            "gnb": ["10.0.0.1"] * len(n),
            "slice": ["1-00000a"] * len(n),
            "measure": ["upf_dl_ms"] * len(n),
            "bucket": bucket.astype(np.int64),
            "n": n.astype(np.uint32),
        }
        assert columns.keys() == DELAY_DISTRIBUTION_COLUMNS.keys()
        series = Series()
        series.take(coded("delay.v1/nf1/", wire.DELAY_SCHEMA, columns))

        found = scraped(series)

        place = {"gnb": "10.0.0.1", "slice": "1-00000a", "measure": "upf_dl"}
        for percentile in (50, 99):
            wanted = np.percentile(delay_ms, percentile) / 1e3
            assert value(found, "snf_delay_seconds", **place, percentile=str(percentile)) == pytest.approx(
                wanted, rel=0.05
            )

    def test_those_of_before_are_forgotten_after_five_minutes(self):
        now = [0.0]
        series = Series(lambda: now[0])
        columns = {"gnb": ["g"], "slice": [""], "measure": ["upf_ul_ms"], "bucket": np.array([50]), "n": np.array([9])}
        series.take(coded("delay.v1/nf1/", wire.DELAY_SCHEMA, columns))
        before = len(series.delays())
        now[0] = 301.0

        assert (before, len(series.delays())) == (1, 0)


class TestFunctions:
    """A function has its numbers, and whether its heart beats; a new boot is a start that was seen."""

    def test_of_two_starts(self):
        series = Series()
        for boot in ("a", "a", "b"):
            columns = HEALTH | {"sessions": np.array([7], np.uint64), "dropped_frames": np.array([3], np.uint64)}
            series.take(coded("health.v1/nf1/", wire.HEALTH_SCHEMA, columns, boot))

        found = scraped(series)

        assert value(found, "snf_function_up", nf="nf1") == 1
        assert value(found, "snf_function_starts_total", nf="nf1") == 1
        assert value(found, "fivegs_upffunction_upf_sessionnbr", nf="nf1") == 7
        assert value(found, "snf_dropped_frames_total", nf="nf1") == 3
        assert ("snf_ring_lost_total", frozenset({("nf", "nf1")})) not in found

    def test_of_the_collector(self):
        assert value(scraped(Series(), {"messages": 5.0}), "snf_collector_messages_total") == 5


class TestDamage:
    """A message whose columns are not those of its schema is counted, and changes nothing."""

    def test_numbers_that_are_no_amounts_leave_the_sums_as_they_were(self):
        series = Series()
        message = coded("qoe.v1/nf1/video/", wire.QOE_SCHEMA, records(2))
        wild = {"ul_bytes": [np.nan, np.inf], "dl_bytes": [-5.0, 7.0], "mos": [np.inf, 4.0]}
        earlier = {name: column for name, column in message.columns.items() if name != "ul_bytes"}
        series.take(message)
        series.take(wire.CodedMessage(message.topic, message.header, earlier))
        wild = message.columns | {name: np.array(column) for name, column in wild.items()}
        series.take(wire.CodedMessage(message.topic, message.header, wild))
        found = scraped(series)

        assert value(found, "snf_ul_bytes_by_app_total", app_class="video", app="YouTube") == 1
        assert value(found, "snf_dl_bytes_by_app_total", app_class="video", app="YouTube") == 4007
        assert value(found, "snf_score_points_by_app_total", app_class="video", app="YouTube") == 20

    def test_as_many_places_as_rows_take_no_room_for_their_pairs(self):
        series, n = Series(), 20_000
        names = [f"{i}" for i in range(n)]
        tracemalloc.start()
        series.take(coded("qoe.v1/nf1/video/", wire.QOE_SCHEMA, records(n, gnb=names, slice=names)))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()

        assert len(series.places) == MAX_PLACES + 1
        assert most < 200 << 20  # 400 million pairs would be 20 GB

    def test_text_where_numbers_are(self):
        series = Series()
        series.take(coded("qoe.v1/nf1/web/", wire.QOE_SCHEMA, records(2, mos=["a", "b"])))

        assert series.damaged == 1
        assert not series.apps


class TestServe:
    """A place that cannot be had is refused in a sentence."""

    def test_a_port_that_is_held(self):
        with served(Series()) as url, pytest.raises(SnfError, match=r"Metrics cannot be served at 127\.0\.0\.1:"):
            serve(Exporter(Series(), dict), "127.0.0.1", int(url.split(":")[2].split("/")[0]))


class TestCommand:
    """``snf collect --metrics`` says where they are, and refuses a place that is none."""

    def test_a_place_that_is_none(self, tmp_path):
        words = ["collect", "--from", "tcp://127.0.0.1:1", "--folder", str(tmp_path), "--metrics", "here"]
        done = subprocess.run(
            [sys.executable, "-m", "mgmt.cli.main", *words], capture_output=True, text=True, check=False
        )

        assert (done.returncode, done.stderr) == (2, "snf: here is not ADDRESS:PORT. Write it as 127.0.0.1:830.\n")

    def test_it_says_where_and_serves(self, tmp_path):
        words = ["collect", "--from", "tcp://127.0.0.1:1", "--folder", str(tmp_path), "--metrics", "127.0.0.1:0"]
        with subprocess.Popen(
            [sys.executable, "-m", "mgmt.cli.main", *words], stdout=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout is not None
            url = running.stdout.readline().removeprefix("Metrics are at ").strip().removesuffix(".")
            with urllib.request.urlopen(url) as answer:
                text = answer.read().decode()
            running.terminate()
            said, _ = running.communicate()

        assert said.endswith("0 rows were written; 0 messages were lost.\n")
        assert "snf_collector_written_rows_total 0.0" in text
        assert "snf_collector_damaged_total 0.0" in text  # before the first: of that one increase() tells as well
        assert running.returncode == 0
