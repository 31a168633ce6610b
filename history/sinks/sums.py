"""The sums of a ClickHouse cluster: `facts`, `minutes` and `buckets` as views of the records of all its servers.

A view is counted anew by each question, so there is no sum that could miss a record, or have one twice, whatever is
killed. Servers sum their own rows and one puts these together. What a sum is, is what `history.store.views` and
`history.collect.rolling` make of the files: hours ten minutes after their end and minutes before, sessions for hours.

Names inside are others than outside, since ClickHouse reads a name as its alias everywhere in a select.
"""

from __future__ import annotations

from collections.abc import Mapping

from feed.buckets import UNITS
from feed.records import RECORD_COLUMNS
from history.tables import DIMENSIONS, LEVELS, MEASURES, SUMS

__all__ = ["VIEWS"]

_MINUTE_MS, _HOUR_MS = 60_000, 3_600_000
_LATE_S = 600  # after the end of an hour until it is summed as one
_PAUSE_MS = 600_000  # as `sessions` of history/tables.py says
_POOR = 3  # a score below it is poor or bad (ITU-T P.800)
_DIMENSIONS = ", ".join(DIMENSIONS)
_PLACES = ", ".join(name for name in DIMENSIONS if name not in ("app_class", "app"))
_MINUTE = f"intDiv(t_ms - 1, {_MINUTE_MS}) * {_MINUTE_MS}"
_HOUR = f"intDiv(t_ms - 1, {_HOUR_MS}) * {_HOUR_MS}"
_LENGTH = f"if(t_ms - 1 < intDiv(toUnixTimestamp(now()) - {_LATE_S}, 3600) * {_HOUR_MS}, {_HOUR_MS}, {_MINUTE_MS})"


def _of_records(name: str) -> str:
    """Return the aggregate that makes a column of SUMS, but sessions, out of records."""
    measure, _, kind = name.rpartition("_")
    if measure in MEASURES:
        return f"count({measure})" if kind == "n" else f"ifNull(sum({measure}), 0)"
    if name.startswith("suspect_"):
        return f"countIf(suspect = '{name.removeprefix('suspect_')}')"
    below = 0
    for lines in LEVELS:
        if name == f"level_{lines}_ms":
            most = f" AND video_height <= {lines}" if lines < max(LEVELS) else ""
            return f"sum(CASE WHEN video_height > {below}{most} THEN interval_ms ELSE 0 END)"
        below = lines
    made = {
        "records": "count()",
        "active_ms": "sum(interval_ms)",
        "peak_dl_bps": "ifNull(max(dl_bps), 0)",
        "bad": f"sum(CASE WHEN mos < {_POOR} THEN 1 ELSE 0 END)",
    }
    return made.get(name) or f"ifNull(sum({name}), 0)"


def _sums(sessions: str) -> tuple[str, str]:
    """Return what is summed, by inner names, and these by their names."""
    inner = {name: sessions if name == "sessions" else _of_records(name) for name in SUMS}
    kinds = {name: "toFloat64" if SUMS[name].dtype[0] == "f" else "toInt64" for name in SUMS}
    return (
        ",\n    ".join(f"{text} AS sum_{name}" for name, text in inner.items()),
        ",\n    ".join(f"{kinds[name]}(sum_{name}) AS {name}" for name in SUMS),
    )


def _facts() -> str:
    # Minutes of a subscriber and application in an hour, each with its place; of two places in a minute the first one.
    there = f"arraySort(groupUniqArray(({_MINUTE}, {_PLACES})))"
    places = _PLACES.split(", ")
    names = ", ".join(["begun.1", *(f"begun.{number}" for number in range(2, len(places) + 2))])
    first = f"number = 1 AND each.1 % {_HOUR_MS} >= {_MINUTE_MS}"
    begun = f"arrayFilter((each, before, number) -> ({first}) OR each.1 - before.1 > {_PAUSE_MS}, there, "
    begun += "arrayPopBack(arrayPushFront(there, there[1])), arrayEnumerate(there))"
    begins = (
        f"SELECT subscriber, app_class, app, {names} FROM (\n"
        f"        SELECT subscriber, app_class, app, {_HOUR} AS hour_ms, {there} AS there\n"
        "        FROM records GROUP BY subscriber, app_class, app, hour_ms\n"
        f"    ) ARRAY JOIN {begun} AS begun"
    )
    row = f"(subscriber, app_class, app, {_MINUTE}, {_PLACES})"
    sessions = f"uniqExactIf({_MINUTE}, length_ms = {_HOUR_MS} AND {row} GLOBAL IN (\n        {begins}\n    ))"
    inner, outer = _sums(sessions)
    return (
        f"SELECT\n    begin_ms AS t_ms,\n    length_ms AS span_ms,\n    subscriber,\n    {_DIMENSIONS},\n    {outer}\n"
        f"FROM (\n    SELECT {_LENGTH} AS length_ms, intDiv(t_ms - 1, length_ms) * length_ms AS begin_ms,\n"
        f"    subscriber, {_DIMENSIONS},\n    {inner}\n"
        f"    FROM records GROUP BY length_ms, begin_ms, subscriber, {_DIMENSIONS}\n)"
    )


def _minutes() -> str:
    inner, outer = _sums("0")
    return (
        f"SELECT\n    begin_ms AS t_ms,\n    toInt64({_MINUTE_MS}) AS span_ms,\n    {_DIMENSIONS},\n"
        f"    toInt64(people) AS subscribers,\n    {outer}\n"
        f"FROM (\n    SELECT {_MINUTE} AS begin_ms, {_DIMENSIONS}, uniqExact(subscriber) AS people,\n    {inner}\n"
        f"    FROM records GROUP BY begin_ms, {_DIMENSIONS}\n)"
    )


def _buckets() -> str:
    """Return the counts of values by bucket: `feed.buckets.number` in SQL."""
    names = (*MEASURES, "dl_bps")
    units = ", ".join(f"{UNITS[RECORD_COLUMNS[name].unit]}" for name in names)
    whole = "toInt64(floor(greatest(assumeNotNull(each_value), 0) * each_unit + 0.000001))"
    shift = "toInt64(greatest(floor(log2(greatest(whole, 1))) - 4, 0))"
    return (
        f"SELECT\n    begin_ms AS t_ms,\n    toInt64({_HOUR_MS}) AS span_ms,\n    {_DIMENSIONS},\n"
        "    each_measure AS measure,\n    number AS bucket,\n    toInt64(amount) AS n\n"
        f"FROM (\n    SELECT {_HOUR} AS begin_ms, {_DIMENSIONS}, each_measure, {whole} AS whole, {shift} AS shift,\n"
        "    if(each_measure = 'mos' OR whole < 16, whole, shift * 16 + bitShiftRight(whole, shift)) AS number,\n"
        "    count() AS amount\n    FROM records\n"
        f"    ARRAY JOIN [{', '.join(repr(name) for name in names)}] AS each_measure,\n"
        f"    [{', '.join(names)}] AS each_value,\n    [{units}] AS each_unit\n"
        f"    WHERE isNotNull(each_value) GROUP BY begin_ms, {_DIMENSIONS}, each_measure, whole, shift, number\n)"
    )


VIEWS: Mapping[str, str] = {"facts": _facts(), "minutes": _minutes(), "buckets": _buckets()}
"""The select of each view, over ``records``."""
