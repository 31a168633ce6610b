"""The tables of the history: names, columns and units. Files, engines and questions agree by this module alone.

    records   what was published, as it was, for days
    facts     sums of a subscriber's records over a minute or an hour, for weeks or years
    minutes   sums over all subscribers of a minute, by application and place
    buckets   counts of values by bucket of an hour, by application and place: percentiles come from them
    delays    counts of delays by bucket, as the function measured each of them
    gaps      what was published and did not arrive, or was not written
    marks     changes that somebody marked
    alarms    degradations that the function raised and cleared
    health    what functions said of themselves

A dimension that nobody told is empty text. Sums have a count beside them where not every record has the value, so that
a mean is a sum over a count in each engine; there is no mean of means.
"""

from __future__ import annotations

from collections.abc import Mapping

from feed.records import (
    ALARM_COLUMNS,
    CHANGE_COLUMNS,
    DELAY_DISTRIBUTION_COLUMNS,
    HEALTH_COLUMNS,
    RECORD_COLUMNS,
    Column,
)

__all__ = ["DIMENSIONS", "FUNCTION", "LEVELS", "MEASURES", "PLACES", "SUMS", "TABLES"]

FUNCTION: Mapping[str, Column] = {
    "nf": Column("str", "", "the function that published it"),
    "boot": Column("str", "", "its start"),
    "seq": Column("u8", "", "sequence number of the message in its topic"),
}
"""Where a row came from: columns of the header, in each row of what was published."""

PLACES: Mapping[str, Column] = {
    name: Column("str", "", what)
    for name, what in {
        "gnb": "far end of the tunnel on the access side",
        "slice": "S-NSSAI",
        "dnn": "data network name",
        "rat": "radio access technology",
        "tai": "tracking area",
        "cell": "cell",
    }.items()
}

DIMENSIONS: Mapping[str, Column] = {
    "nf": FUNCTION["nf"],
    "app_class": Column("str", "", "application class: the topic"),
    "app": Column("str", "", "application, empty when not named"),
    **PLACES,
}
"""Columns that sums are grouped by, beside time and subscriber."""

_MEANS = {
    "mos": "1..5",
    "rtt_access_ms": "ms",
    "rtt_core_ms": "ms",
    "loss_ul": "ratio",
    "loss_dl": "ratio",
    "jitter_dl_ms": "ms",
    "ran_ul_ms": "ms",
    "ran_dl_ms": "ms",
    "n3_rtt_ms": "ms",
    "upf_ul_ms": "ms",
    "upf_dl_ms": "ms",
    "video_height": "pixel",
    "startup_s": "s",
    "fps": "1/s",
    "lag_ms": "ms",
    "page_s": "s",
    "speed_bps": "bit/s",
}
LEVELS: Mapping[int, str] = {
    480: "of active_ms with a picture of at most 480 lines",
    720: "of more, at most 720",
    1080: "of more, at most 1080",
    2160: "of more",
}
"""Levels of a picture (`video_height`), by their most lines; time with none of them is without a known level."""
MEASURES = tuple(_MEANS)
"""Columns of a record whose mean is of interest; `facts` has ``NAME_sum`` and ``NAME_n`` of each, `buckets` counts."""

SUMS: Mapping[str, Column] = {
    "records": Column("u4", "", "rows of records"),
    "active_ms": Column("u8", "ms", "lengths of the intervals together"),
    "ul_bytes": Column("u8", "byte", ""),
    "dl_bytes": Column("u8", "byte", ""),
    "peak_dl_bps": Column("f4", "bit/s", "of the interval with most"),
    "stalled_s": Column("f4", "s", ""),
    "stalls": Column("f4", "", ""),
    "freezes": Column("f4", "", ""),
    "bad": Column("u4", "", "records with a score below 3: poor or bad on the scale of P.800"),
    "sessions": Column("u4", "", "that began: minutes with records after ten or more without, of one application"),
    **{f"level_{lines}_ms": Column("u8", "ms", what) for lines, what in LEVELS.items()},
    **{f"suspect_{side}": Column("u4", "", f"records whose suspect is {side}")
       for side in ("access", "n3", "upf", "core", "loss", "server", "device", "app")},
    **{f"{name}_{kind}": Column("f8" if kind == "sum" else "u4", unit if kind == "sum" else "", "")
       for name, unit in _MEANS.items() for kind in ("sum", "n")},
}  # fmt: skip

_TIME = {
    "t_ms": Column("u8", "ms", "begin of the span, a multiple of it, since the epoch"),
    "span_ms": Column("u4", "ms", "60,000 or 3,600,000"),
}
_SUBSCRIBER = {"subscriber": RECORD_COLUMNS["subscriber"]}
_BUCKET = {
    "measure": Column("str", "", "one of MEASURES, or dl_bps"),
    "bucket": Column("i4", "", "number of the bucket, as feed.buckets counts"),
    "n": Column("u4", "", "values in it"),
}

TABLES: Mapping[str, Mapping[str, Column]] = {
    "records": {**FUNCTION, "app_class": DIMENSIONS["app_class"], **RECORD_COLUMNS},
    "facts": {**_TIME, **_SUBSCRIBER, **DIMENSIONS, **SUMS},
    "minutes": {**_TIME, **DIMENSIONS, "subscribers": Column("u4", "", "with records"), **SUMS},
    "buckets": {**_TIME, **DIMENSIONS, **_BUCKET},
    "delays": {**FUNCTION, **DELAY_DISTRIBUTION_COLUMNS},
    "gaps": {
        **FUNCTION,
        "t_ms": Column("u8", "ms", "when it was noticed"),
        "topic": Column("str", "", "topic, or folder of files that were lost"),
        "messages": Column("u8", "", "that are missing; 0 when their number is not known"),
        "since_ms": Column("u8", "ms", "end of what was there before"),
        "until_ms": Column("u8", "ms", "begin of what was there after"),
        "why": Column("str", "", "lost, restart, silent, full, damaged, foreign"),
    },
    "marks": {**FUNCTION, **CHANGE_COLUMNS},
    "alarms": {**FUNCTION, **ALARM_COLUMNS},
    "health": {**FUNCTION, "t_ms": Column("u8", "ms", "of the heartbeat, since the epoch"), **HEALTH_COLUMNS},
}
"""Columns by table. Columns that a publisher has beside these are kept, behind them."""
