"""Metrics of the collector: what a scrape takes, how many series there are, what a record costs to add up.

At 100,000 subscribers: messages of 1,000 records, more applications, gNBs and functions than are told apart, and
delays of each place.
"""

from __future__ import annotations

import time

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest

from bench.figure import Figure
from feed import wire
from feed.records import DELAY_MEASURES, Columns
from history.metrics.exporter import Exporter
from history.metrics.series import MAX_APPS, MAX_FUNCTIONS, MAX_PLACES, Series

_SUBSCRIBERS, _ROWS = 100_000, 1000
_SCRAPES = 9
_MOST_MS, _MOST_SERIES = 50.0, 5000


def _message(topic: str, schema: str, columns: Columns) -> wire.CodedMessage:
    frames = wire.encode(topic.encode(), wire.Header(schema, topic.split("/")[1], "b", 0, 0.0, 1.0), columns)
    return wire.decode_coded(frames)


def _records(rng: np.random.Generator, first: int) -> wire.CodedMessage:
    n = _ROWS
    return _message(
        "qoe.v1/nf1/video/",
        wire.QOE_SCHEMA,
        {
            "subscriber": [f"{first + i:032x}" for i in range(n)],
            "app": [f"app{i}" for i in rng.integers(0, 2 * MAX_APPS, n).tolist()],
            "gnb": [f"10.0.0.{i}" for i in rng.integers(0, 2 * MAX_PLACES, n).tolist()],
            "slice": ["1-00000a"] * n,
            "suspect": [("", "access", "core")[i] for i in rng.integers(0, 3, n).tolist()],
            "ul_bytes": rng.integers(0, 10**6, n).astype(np.uint64),
            "dl_bytes": rng.integers(0, 10**7, n).astype(np.uint64),
            "mos": rng.uniform(1, 5, n).astype(np.float32),
        },
    )


def _filled() -> tuple[Series, float]:
    """Return series with all that there can be, and the processor time of a record in microseconds."""
    rng, series = np.random.default_rng(5), Series()
    messages = [_records(rng, first) for first in range(0, _SUBSCRIBERS, _ROWS)]
    begun = time.process_time()
    for message in messages:
        series.take(message)
    used_us = (time.process_time() - begun) / _SUBSCRIBERS * 1e6
    for gnb in range(2 * MAX_PLACES):
        n = 100 * len(DELAY_MEASURES)
        columns: Columns = {
            "gnb": [f"10.0.0.{gnb}"] * n,
            "slice": ["1-00000a"] * n,
            "measure": list(DELAY_MEASURES) * 100,
            "bucket": np.arange(n, dtype=np.int64) % 300,
            "n": np.ones(n, np.uint32),
        }
        series.take(_message("delay.v1/nf1/", wire.DELAY_SCHEMA, columns))
    one = np.array([1], np.uint64)
    numbers = dict.fromkeys(("next_seq", "sessions", "flows", "flow_room", "inspected_bytes"), one)
    heartbeat: Columns = {"topic": ["qoe.v1/nf1/video/"], **numbers}
    for nf in range(MAX_FUNCTIONS):
        series.take(_message(f"health.v1/nf{nf}/", wire.HEALTH_SCHEMA, heartbeat))
    return series, used_us


def measure() -> list[Figure]:
    """Return the figures."""
    series, used_us = _filled()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Exporter(series, dict))
    times, text = [], b""
    for _ in range(_SCRAPES):
        begun = time.process_time()
        text = generate_latest(registry)
        times.append(1e3 * (time.process_time() - begun))
    count = sum(not line.startswith(b"#") for line in text.splitlines())
    cases = {"subscribers": float(_SUBSCRIBERS), "kB": len(text) / 1e3}
    return [
        Figure("metrics, a scrape", float(np.median(times)), "ms", _MOST_MS, cases, "processor time"),
        Figure("metrics, series", float(count), "", _MOST_SERIES, cases),
        Figure("metrics, adding a record up", used_us, "us", 10.0, {}, "messages of 1,000; 100,000 a core"),
    ]
