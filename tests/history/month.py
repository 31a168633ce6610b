"""A month of history with planted truths, made from numbers alone and written as the store writes it.

    gNB 192.0.2.2     turns bad on day 9: delay on the access side, scores near 2
    the roll-out      of day 17 (a mark) costs the slice 2-0000ab half a score; its people, applications, DNN and gNBs
                      are its own
    OPTED_OUT         opts out on day 20
    probe-2           is down for an hour of day 12; its gap is told

Everything else is noise around each subscriber's own level. Sums are made by Arrow from one record a minute, with
nothing of the product but the names of its columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feed.buckets import number
from history.tables import DIMENSIONS, MEASURES, SUMS, TABLES

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START_MS = round(datetime(2026, 10, 1, tzinfo=UTC).timestamp() * 1000)
DAYS = 30
HOURS = (12, 20)  # of the day that have traffic; 20 has most
BAD_GNB, BAD_DAY = "192.0.2.2", 9
ROLLED_SLICE, ROLLED_DNN, ROLLED_DAY, ROLLED_BY = "2-0000ab", "fwa", 17, 0.5
GNBS = {"internet": ("192.0.2.1", BAD_GNB, "192.0.2.3", "192.0.2.4"), ROLLED_DNN: ("192.0.2.5", "192.0.2.6")}
APPS = {
    "internet": (("video", "youtube"), ("live-video", "twitch"), ("conferencing", "zoom"), ("web", "news's")),
    ROLLED_DNN: (("video", "netflix"), ("gaming", "fortnite"), ("web", "")),
}
OPT_OUT_DAY, GAP_DAY, GAP_HOURS = 20, 12, (20,)
MARK_MS = START_MS + ROLLED_DAY * DAY + 10 * HOUR + 17 * MINUTE
SUSPECTS = ("access", "n3", "upf", "core", "loss", "server", "device", "app")
_HEIGHTS = np.array([360, 720, 1080, 2160])


@dataclass(frozen=True)
class Month:
    """Records, one a minute, and names of subscribers by number; the first one opts out."""

    records: dict[str, np.ndarray]
    names: list[str]

    @property
    def opted_out(self) -> str:
        return self.names[0]


def month(subscribers: int = 72, seed: int = 17, days: int = DAYS, planted: bool = True) -> Month:
    """Return a month: subscribers of gNBs in turn, each with a level of his own and an hour of each application."""
    r = np.random.default_rng(seed)
    names = [r.bytes(16).hex() for _ in range(subscribers)]
    dnn_of = np.where(np.arange(subscribers) % 6 < 4, "internet", ROLLED_DNN)
    runs = _runs(r, subscribers, days, dnn_of)
    length = runs.pop("length")
    rows = {name: np.repeat(values, length) for name, values in runs.items()}
    rows["t_ms"] = rows.pop("begin") + MINUTE * (
        np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    )
    rows["sessions"] = (np.arange(length.sum()) == np.repeat(np.cumsum(length) - length, length)).astype(np.int64)
    level = r.normal(4.1, 0.15, subscribers)[rows["who"]]
    _measure(r, rows, level, planted)
    keep = np.ones(len(rows["t_ms"]), bool)
    if planted:
        day, hour = _day(rows), (rows["t_ms"] - START_MS) % DAY // HOUR
        keep &= ~((rows["who"] == 0) & (day >= OPT_OUT_DAY))
        keep &= ~((rows["nf"] == "probe-2") & (day == GAP_DAY) & np.isin(hour, GAP_HOURS))
    order = np.argsort(rows["t_ms"][keep], kind="stable")
    return Month({name: values[keep][order] for name, values in rows.items()}, names)


def _runs(r: np.random.Generator, subscribers: int, days: int, dnn_of: np.ndarray) -> dict[str, np.ndarray]:
    """Return stretches of use: subscriber, application, begin and minutes, at least ten minutes apart in an hour."""
    shape = (subscribers, days, len(HOURS))
    who, day, hour = (axis.ravel() for axis in np.indices(shape))
    active = r.random(who.size) < np.array([0.75, 0.95])[hour]
    who, day, hour = who[active], day[active], hour[active]
    dnn = dnn_of[who]
    pick = r.integers(0, 12, who.size)
    kinds = {name: np.array(apps, object) for name, apps in APPS.items()}
    chosen = np.where(dnn == "internet", pick % len(APPS["internet"]), pick % len(APPS[ROLLED_DNN]))
    app = np.array([kinds[d][c] for d, c in zip(dnn.tolist(), chosen.tolist(), strict=True)], object)
    site = np.array([GNBS[d][w // 6 % len(GNBS[d])] for d, w in zip(dnn.tolist(), who.tolist(), strict=True)], object)
    begin = START_MS + day * DAY + np.array(HOURS)[hour] * HOUR + r.integers(11, 30, who.size) * MINUTE
    return {
        "who": who,
        "nf": np.where(np.isin(site, ("192.0.2.4", "192.0.2.6")), "probe-2", "probe-1").astype(object),
        "app_class": app[:, 0],
        "app": app[:, 1],
        "gnb": site,
        "slice": np.where(dnn == "internet", "1", ROLLED_SLICE).astype(object),
        "dnn": dnn.astype(object),
        "begin": begin,
        "length": r.integers(4, 19, who.size),  # ends before the hour does, with ten minutes to spare
    }


def _day(rows: dict[str, np.ndarray]) -> np.ndarray:
    return (rows["t_ms"] - START_MS) // DAY


def _measure(r: np.random.Generator, rows: dict[str, np.ndarray], level: np.ndarray, planted: bool) -> None:
    n, t = len(level), rows["t_ms"]
    bad = planted & (rows["gnb"] == BAD_GNB) & (_day(rows) >= BAD_DAY)
    rolled = planted & (rows["slice"] == ROLLED_SLICE) & (t >= MARK_MS)
    score = np.where(bad, r.normal(2.1, 0.3, n), level + r.normal(0, 0.25, n) - ROLLED_BY * rolled)
    scored = r.random(n) < 0.9
    values: dict[str, np.ndarray] = {name: np.full(n, np.nan) for name in MEASURES}
    values["mos"] = np.where(scored, np.clip(score, 1, 5), np.nan)
    values["rtt_access_ms"] = r.lognormal(np.log(30), 0.2, n) * np.where(bad, 8, 1)
    values["rtt_core_ms"] = r.lognormal(np.log(15), 0.2, n)
    values["loss_dl"] = r.beta(1, 200, n)
    pictures = np.isin(rows["app_class"], ("video", "live-video"))
    known = pictures & (r.random(n) < 0.8)
    values["video_height"] = np.where(known, _HEIGHTS[r.integers(0, 4, n)], np.nan)
    down = (r.lognormal(np.log(2e6), 0.5, n) * np.where(t % DAY // HOUR == 20, 3, 1)).astype(np.int64)
    rows.update(values)
    rows["records"] = np.ones(n, np.int64)
    rows["active_ms"] = np.full(n, MINUTE)
    rows["ul_bytes"], rows["dl_bytes"] = down // 30, down
    rows["peak_dl_bps"] = down * 8 / 60 * 1.5
    rows["stalled_s"] = np.where(pictures & bad, 4.0, 0.0)
    rows["stalls"] = np.where(pictures & bad, 1.0, 0.0)
    rows["freezes"] = np.zeros(n)
    low = np.nan_to_num(values["mos"], nan=5) < 3
    rows["bad"] = low.astype(np.int64)
    cause = np.where(bad, 0, r.integers(0, len(SUSPECTS), n))
    rows |= {f"suspect_{name}": (low & (cause == i)).astype(np.int64) for i, name in enumerate(SUSPECTS)}


def table(month: Month) -> pa.Table:
    """Return the sums of each record, by the names of the store."""
    rows, n = month.records, len(month.records["t_ms"])
    columns: dict[str, Any] = {name: rows[name].tolist() if name in rows else [""] * n for name in DIMENSIONS}
    columns["subscriber"] = [month.names[i] for i in rows["who"].tolist()]
    columns["t_ms"] = rows["t_ms"]
    for name in MEASURES:
        columns[f"{name}_sum"] = np.nan_to_num(rows[name])
        columns[f"{name}_n"] = (~np.isnan(rows[name])).astype(np.int64)
    height, least = np.nan_to_num(rows["video_height"]), 0
    for lines in (480, 720, 1080, 2160):
        columns[f"level_{lines}_ms"] = np.where((height > least) & (height <= lines), rows["active_ms"], 0)
        least = lines
    columns |= {name: rows[name] for name in SUMS if name not in columns}
    return pa.table(columns)


def published(month: Month) -> pa.Table:
    """Return the records as they were published: messages of a function and class, of at most 200 rows each."""
    rows, n = month.records, len(month.records["t_ms"])
    key, of = np.unique(
        np.array([f"{a}/{b}" for a, b in zip(rows["nf"], rows["app_class"], strict=True)]), return_inverse=True
    )
    hour = (rows["t_ms"] - START_MS) // HOUR  # a message is of one hour
    seq = np.zeros(n, np.int64)
    for each in range(len(key)):
        mine = np.flatnonzero(of == each)
        seq[mine] = hour[mine] * 1000 + np.arange(len(mine)) // 200 % 1000
    suspect = np.full(n, "", object)
    for side in SUSPECTS:
        suspect[rows[f"suspect_{side}"] > 0] = side
    columns: dict[str, Any] = {
        name: rows[name] for name in (*DIMENSIONS, *MEASURES, "ul_bytes", "dl_bytes") if name in rows
    }
    columns |= {name: rows[name] for name in ("stalled_s", "stalls", "freezes")}
    columns |= {"boot": ["b"] * n, "seq": seq, "suspect": suspect, "interval_ms": rows["active_ms"]}
    columns |= {"t_ms": rows["t_ms"] + MINUTE, "dl_bps": rows["peak_dl_bps"]}
    columns["subscriber"] = [month.names[i] for i in rows["who"].tolist()]
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def sums(records: pa.Table, span_ms: int, by_subscriber: bool) -> pa.Table:
    """Return `facts` (by subscriber) or `minutes` of a span."""
    t = records["t_ms"].to_numpy()
    spans = records.set_column(records.column_names.index("t_ms"), "t_ms", pa.array(t - t % span_ms))
    keys = ["t_ms", *(["subscriber"] if by_subscriber else []), *DIMENSIONS]
    wanted = [(name, "max" if name.startswith("peak") else "sum") for name in SUMS]
    if not by_subscriber:
        wanted.append(("subscriber", "count_distinct"))
    found = spans.group_by(keys, use_threads=False).aggregate(wanted)
    names = {f"{name}_{how}": name for name, how in wanted} | {"subscriber_count_distinct": "subscribers"}
    found = found.rename_columns([names.get(name, name) for name in found.column_names])
    found = found.append_column("span_ms", pa.array(np.full(len(found), span_ms)))
    return _typed("facts" if by_subscriber else "minutes", found)


def buckets(month: Month, records: pa.Table) -> pa.Table:
    """Return counts of scores by bucket of an hour."""
    scored = ~np.isnan(month.records["mos"])
    t = month.records["t_ms"]
    counted = records.select([*DIMENSIONS]).append_column("t_ms", pa.array(t - t % HOUR)).filter(pa.array(scored))
    counted = counted.append_column("bucket", pa.array(number(month.records["mos"][scored], "1..5")))
    found = counted.group_by(counted.column_names, use_threads=False).aggregate([([], "count_all")])
    found = found.rename_columns([*found.column_names[:-1], "n"])
    found = found.append_column("span_ms", pa.array(np.full(len(found), HOUR)))
    return _typed("buckets", found.append_column("measure", pa.array(["mos"] * len(found))))


def _typed(name: str, found: pa.Table) -> pa.Table:
    """Return the columns of a table in its order and types; text as dictionaries."""
    kinds = {"u4": pa.uint32(), "u8": pa.uint64(), "i4": pa.int32(), "f4": pa.float32(), "f8": pa.float64()}
    columns = {}
    for column, what in TABLES[name].items():
        values = found[column]
        columns[column] = pc.cast(values, kinds[what.dtype]) if what.dtype in kinds else values.dictionary_encode()
    return pa.table(columns)


def tables(month: Month) -> dict[str, pa.Table]:
    """Return the tables of a month: facts by hours, minutes, buckets, gaps and marks."""
    records = table(month)
    gap = START_MS + GAP_DAY * DAY + GAP_HOURS[0] * HOUR
    told = {"nf": "probe-2", "boot": "b1", "seq": 7, "t_ms": gap + HOUR, "topic": "qoe.v1/probe-2/video/"}
    told |= {"messages": 0, "since_ms": gap, "until_ms": gap + HOUR, "why": "restart"}
    mark = {"nf": "probe-1", "boot": "a1", "seq": 1, "t_ms": MARK_MS, "text": "release 7", "who": "alice"}
    mark |= {"app": "", "gnb": "", "dnn": "", "slice": ""}
    return {
        "facts": sums(records, HOUR, by_subscriber=True),
        "minutes": sums(records, MINUTE, by_subscriber=False),
        "buckets": buckets(month, records),
        "gaps": _typed("gaps", pa.Table.from_pylist([told])),
        "marks": _typed("marks", pa.Table.from_pylist([mark])),
    }


def write(folder: Path, made: dict[str, pa.Table]) -> None:
    """Write tables as closed files of hours: `facts` and `minutes` with their span in the name."""
    for name, rows in made.items():
        t = rows["t_ms"].to_numpy().astype(np.int64)
        order = np.argsort(t // HOUR, kind="stable")
        hours, first = np.unique(t[order] // HOUR, return_index=True)
        ordered = rows.take(pa.array(order))
        for hour, begin, end in zip(hours.tolist(), first.tolist(), [*first.tolist()[1:], len(order)], strict=True):
            when = datetime.fromtimestamp(hour * 3600, UTC)
            place = folder / name / f"date={when:%Y-%m-%d}" / f"hour={when:%H}"
            place.mkdir(parents=True, exist_ok=True)
            span = {"facts": "hour-", "minutes": "minute-"}.get(name, "")
            pq.write_table(
                ordered.slice(begin, end - begin), place / f"{span}0000000001-0000000001.parquet", compression="zstd"
            )
