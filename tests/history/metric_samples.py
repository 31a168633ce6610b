"""One message of each schema that metrics are made of, with all columns that they read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from feed import wire
from feed.records import ALARM_COLUMNS, DELAY_DISTRIBUTION_COLUMNS, DELAY_MEASURES, HEALTH_COLUMNS, Column

PLACES = 4


def _columns(table: dict[str, Column], rows: int, **known: object) -> dict[str, object]:
    made = {
        name: [""] * rows if column.dtype == "str" else np.ones(rows, column.dtype) for name, column in table.items()
    }
    return made | known


def published() -> Iterator[wire.CodedMessage]:
    """Yield records of two applications at four gNBs, delays, a heartbeat and an alarm."""
    n = 40
    records = {
        "subscriber": [f"{i:032x}" for i in range(n)],
        "app": ["YouTube", "Netflix"] * (n // 2),
        "gnb": [f"10.0.0.{i % PLACES}" for i in range(n)],
        "slice": ["1-00000a"] * n,
        "suspect": ["access", ""] * (n // 2),
        "ul_bytes": np.arange(n, dtype=np.uint64),
        "dl_bytes": np.arange(n, dtype=np.uint64) * 100,
        "mos": np.linspace(1, 5, n, dtype=np.float32),
        "stalls": np.ones(n, np.float32),
        "stalled_s": np.ones(n, np.float32),
    }
    measures = list(DELAY_MEASURES)
    delays = _columns(DELAY_DISTRIBUTION_COLUMNS, len(measures), gnb=["10.0.0.1"] * len(measures), measure=measures)
    alarm = _columns(ALARM_COLUMNS, 1, state=["raised"], app_class=["video"])
    for family, schema, columns in (
        ("qoe.v1/nf1/video/", wire.QOE_SCHEMA, records),
        ("delay.v1/nf1/", wire.DELAY_SCHEMA, delays),
        ("health.v1/nf1/", wire.HEALTH_SCHEMA, _columns(HEALTH_COLUMNS, 1)),
        ("alarm.v1/nf1/", wire.ALARM_SCHEMA, alarm),
    ):
        frames = wire.encode(family.encode(), wire.Header(schema, "nf1", "b", 0, 0.0, 1.0), columns)
        yield wire.decode_coded(frames)
