"""A folder of the history as the page's tests want it: days of facts, one bad gNB, a mark, and hostile names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feed.records import RECORD_COLUMNS
from history.store.layout import HOUR_MS, place
from history.tables import DIMENSIONS, MEASURES, SUMS, TABLES

END_MS = int(datetime(2026, 11, 29, 8, tzinfo=UTC).timestamp() * 1000)  # a morning
HOSTILE_APP = "<img src=x onerror=document.title='owned'>"
HOSTILE_DNN = "</script><script>document.title='owned'</script>"
BAD_GNB = "10.100.3.9"
_ARROW = {
    **{"str": pa.string(), "u1": pa.uint8(), "u4": pa.uint32(), "u8": pa.uint64(), "i4": pa.int32()},
    **{"f4": pa.float32(), "f8": pa.float64()},
}
_APPS = (
    *(("video", "youtube"), ("video", "netflix"), ("web", "wikipedia"), ("conferencing", "zoom")),
    *(("gaming", "roblox"), ("social", HOSTILE_APP)),
)
_SUSPECTS = ("access", "core", "server")


@dataclass(frozen=True)
class Shape:
    """The amount: the last hours have minutes as well, the last one records."""

    subscribers: int = 60
    gnbs: int = 6
    hours: int = 54
    functions: int = 2
    seed: int = 17


def write(folder: Path, table: str, t_ms: int, columns: dict[str, Any], span: str = "") -> None:
    """Write rows as one closed file of the hour that *t_ms* is in."""
    known = TABLES[table]
    arrays = {
        n: pa.array(values, _ARROW[known[n].dtype] if n in known else None, from_pandas=True)
        for n, values in columns.items()
    }
    text = [n for n, a in arrays.items() if pa.types.is_string(a.type)]
    first = (t_ms - END_MS) // HOUR_MS * 10 + 10**6  # numbers of the collector: an hour stands for its records
    path = place(folder, table, t_ms, span, first, first + (9 if span else 0)).path
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), path, compression="zstd", use_dictionary=text)


def pseudonym(number: int) -> str:
    """Return a name as the function publishes one."""
    return f"{(number + 1) * 2654435761 % 2**32:08x}" * 4


def make(folder: Path, shape: Shape | None = None) -> Path:
    """Write all tables: scores behind one gNB are bad, and those of YouTube better since the mark, a day ago."""
    shape = shape or Shape()
    draw = np.random.default_rng(shape.seed)
    for hour in range(shape.hours):
        begin = END_MS - (shape.hours - hour) * HOUR_MS
        facts = _facts(draw, shape, begin)
        write(folder, "facts", begin, facts, "hour")
        write(folder, "minutes", begin, _over_all(facts), "hour")
    begin = END_MS - HOUR_MS
    write(folder, "records", begin, _records(shape, begin))
    write(folder, "marks", END_MS - 24 * HOUR_MS, _mark())
    write(folder, "health", begin, _health(shape))
    write(folder, "gaps", begin, _gap())
    return folder


# fmt: off
def _facts(draw: np.random.Generator, shape: Shape, begin: int) -> dict[str, Any]:
    person = np.repeat(np.arange(shape.subscribers), 2)
    app = (person + np.tile([0, 1], shape.subscribers) * 3) % len(_APPS)
    rows = len(person)
    gnb = person % shape.gnbs
    bad_place = gnb == 0
    better = np.where((app == 0) & (begin >= END_MS - 24 * HOUR_MS), 0.6, 0.0)
    mos = np.clip(np.where(bad_place, 2.2, 3.7) + better + draw.normal(0, 0.25, rows), 1, 4.9)
    n = draw.integers(40, 360, rows)
    day = 0.6 + 0.4 * np.sin((begin / HOUR_MS % 24 - 9) / 24 * 2 * np.pi)
    columns: dict[str, Any] = {
        "t_ms": np.full(rows, begin), "span_ms": np.full(rows, HOUR_MS), "subscriber": [pseudonym(p) for p in person],
        "nf": [f"upf{1 + p % shape.functions}" for p in person], "app_class": [_APPS[a][0] for a in app],
        "app": [_APPS[a][1] for a in app], "gnb": [BAD_GNB if g == 0 else f"10.100.3.{20 + g}" for g in gnb],
        "slice": [("1", "1-00000a")[p % 2] for p in person],
        "dnn": [("internet", HOSTILE_DNN)[int(p % 5 == 4)] for p in person],
        "rat": ["NR"] * rows, "tai": [""] * rows, "cell": [""] * rows,
    }
    sums = {name: np.zeros(rows) for name in SUMS}
    sums |= {"records": n, "active_ms": n * 10_000, "bad": np.round(n * np.clip((3.4 - mos) / 2, 0, 1))}
    sums |= {"dl_bytes": np.round(n * 3e5 * day * draw.lognormal(0, 0.5, rows)), "ul_bytes": np.round(n * 2e4 * day)}
    sums["peak_dl_bps"] = draw.uniform(2e6, 3e7, rows)
    video = np.array([_APPS[a][0] == "video" for a in app])
    sums["stalls"] = np.where(video, np.round((4.5 - mos) * 2), 0)
    sums["stalled_s"] = sums["stalls"] * 3.5
    sums["suspect_access"] = np.where(bad_place, sums["bad"], 0)
    sums["suspect_core"] = np.where(bad_place, 0, sums["bad"])
    means = {"mos": mos, "rtt_access_ms": np.where(bad_place, 95.0, 28.0) * draw.lognormal(0, 0.15, rows),
             "rtt_core_ms": 18 * draw.lognormal(0, 0.2, rows), "loss_ul": 0.002 * draw.lognormal(0, 0.5, rows),
             "loss_dl": np.where(bad_place, 0.03, 0.004) * draw.lognormal(0, 0.4, rows)}
    means |= {"upf_ul_ms": np.full(rows, 0.2), "upf_dl_ms": np.full(rows, 0.3)}
    for name in MEASURES:
        has = n if name in means else np.where(video, n, 0) if name == "video_height" else np.zeros(rows)
        value = means.get(name, np.where(mos < 3, 480.0, 1080.0))
        sums[f"{name}_n"], sums[f"{name}_sum"] = has, value * has
    return columns | sums


def _over_all(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the facts of an hour without their subscribers."""
    keys = ("t_ms", "span_ms", *DIMENSIONS)
    grouped = pa.table({n: pa.array(v) for n, v in facts.items()}).group_by(keys).aggregate(
        [("subscriber", "count_distinct"), *((n, "max" if n.startswith("peak") else "sum") for n in SUMS)]
    )
    names = {"subscriber_count_distinct": "subscribers"} | {f"{n}_{k}": n for n in SUMS for k in ("sum", "max")}
    return {names.get(n, n): grouped.column(n).to_pylist() for n in grouped.column_names}


def _records(shape: Shape, begin: int) -> dict[str, Any]:
    """Return records of one subscriber behind the bad gNB, every 10 s of the last hour."""
    rows = 360
    t = begin + np.arange(rows) * 10_000 + 10_000
    columns: dict[str, Any] = {
        n: [""] * rows if c.dtype == "str" else np.full(rows, np.nan) if c.dtype[0] == "f" else np.zeros(rows, int)
        for n, c in {**{k: TABLES["records"][k] for k in ("nf", "boot", "seq", "app_class")}, **RECORD_COLUMNS}.items()
    }
    columns |= {"t_ms": t, "interval_ms": np.full(rows, 10_000), "subscriber": [pseudonym(0)] * rows,
                "nf": ["upf1"] * rows,
                "app_class": ["video"] * rows, "app": ["youtube"] * rows, "gnb": [BAD_GNB] * rows,
                "mos": 2.2 + 0.5 * np.sin(np.arange(rows) / 20), "suspect": ["access"] * rows,
                "suspect_by": ["delay"] * rows,
                "suspect_value": 90 + np.arange(rows) % 40, "rtt_access_ms": np.full(rows, 95.0),
                "video_height": np.full(rows, 480.0), "stalled_s": (np.arange(rows) % 30 == 0) * 3.5,
                "dl_bytes": np.full(rows, 3_000_000), "ul_bytes": np.full(rows, 200_000)}
    return columns


def _mark() -> dict[str, Any]:
    return {"nf": ["upf1"], "boot": ["b1"], "seq": [0], "t_ms": [END_MS - 24 * HOUR_MS],
            "text": ["New cache for <b>YouTube</b>"],
            "who": ["alice"], "app": [""], "gnb": [""], "dnn": [""], "slice": [""]}


def _health(shape: Shape) -> dict[str, Any]:
    rows = shape.functions
    last = [
        END_MS - 1000 - 900_000 * (n == 1) for n in range(rows)
    ]  # the second has been silent for a quarter of an hour
    return {"nf": [f"upf{n + 1}" for n in range(rows)], "boot": ["b1"] * rows, "seq": [900] * rows, "t_ms": last,
            "uptime_ms": [86_400_000 * 3] * rows, "sessions": [12_000 + n for n in range(rows)],
            "partial_sessions": [40] * rows,
            "dropped_messages": [0] * rows, "dropped_rows": [0] * rows, "dropped_frames": [0, 812][:rows],
            "ring_lost": [0] * rows,
            "flows": [410_000] * rows, "flow_room": [1_048_576, 425_000][:rows], "evicted_flows": [0] * rows,
            "recorded_bytes": [10**12] * rows, "unowned_bytes": [10**10] * rows, "records": [10**8] * rows,
            "not_read": [""] * rows}


def _gap() -> dict[str, Any]:
    return {"nf": ["upf2"], "boot": ["b1"], "seq": [880], "t_ms": [END_MS - 900_000], "topic": ["qoe.v1/upf2/video/"],
            "messages": [3], "since_ms": [END_MS - 920_000],
            "until_ms": [END_MS - 900_000], "why": ["lost"]}
# fmt: on
