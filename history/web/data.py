"""Answers of the page's views, as rows of plain values, from texts of SQL over the tables of `history.tables`."""

from __future__ import annotations

from typing import Any

from feed.change import DIMENSIONS, Mark
from feed.errors import SnfError
from history.questions import text as questions
from history.tables import SUMS
from history.web.asked import FILTERS, Asked
from history.web.files import Files

__all__ = ["change", "gaps", "health", "marks", "names", "newest_ms", "places", "subscriber", "timeline", "worst"]

Rows = list[dict[str, Any]]

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_POINTS = 240  # of a line: about one for four pixels of a wide screen
_STEPS_MS = tuple(60_000 * n for n in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440))
_WORST_INTERVALS, _SPANS, _GAPS = 50, 100, 200  # rows

_SUSPECTS = tuple(name for name in SUMS if name.startswith("suspect_"))


def _mean(name: str, kind: str = "") -> str:
    return f"sum({name}_sum) / nullif(sum({name}_n), 0) as {kind or name}"


_EXPERIENCE = ", ".join(
    [
        _mean("mos", "score"),
        "sum(mos_n)::bigint as scored",
        "sum(bad) / nullif(sum(mos_n), 0) as bad_share",
        "sum(active_ms)::bigint as active_ms",
        "sum(ul_bytes)::bigint as ul_bytes",
        "sum(dl_bytes)::bigint as dl_bytes",
        "(sum(ul_bytes) + sum(dl_bytes))::bigint as bytes",
        "sum(stalled_s)::double as stalled_s",
        "sum(stalls)::double as stalls",
        *(_mean(name) for name in ("rtt_access_ms", "rtt_core_ms", "loss_ul", "loss_dl", "video_height")),
    ]
)
_BLAME = ", ".join(f"sum({name})::bigint as {name}" for name in _SUSPECTS)
_WAY = ", ".join(_mean(name) for name in ("n3_rtt_ms", "ran_ul_ms", "ran_dl_ms", "upf_ul_ms", "upf_dl_ms"))


def _where(asked: Asked, more: str = "") -> str:
    """Return the condition of a range and its filters; the values are parameters of the question."""
    parts = ["t_ms >= $since and t_ms < $until", *(f"{name} = ${name}" for name in asked.only), *filter(None, [more])]
    return " and ".join(parts)


def _words(asked: Asked, **more: Any) -> dict[str, Any]:
    return {"since": asked.since_ms, "until": asked.until_ms, **asked.only, **more}


def _ask(files: Files, sql: str, table: str, asked: Asked, **words: Any) -> Rows:
    named = {name: value for name, value in _words(asked, **words).items() if f"${name}" in sql}
    return files.rows(sql, (table,), asked.since_ms, asked.until_ms, named)


def newest_ms(files: Files) -> int | None:
    """Return the end of the newest span of the folder; None when there is nothing yet."""
    last = [hours[-1] for table in ("facts", "records") if (hours := files.hours(table))]
    if not last:
        return None
    since = max(last)
    (row,) = files.rows("select max(t_ms + span_ms) as t from facts", ("facts",), since, since + HOUR_MS)
    return int(row["t"]) if row["t"] else since + HOUR_MS


def step_ms(asked: Asked) -> int:
    """Return the distance of points of a line over the range."""
    length = asked.until_ms - asked.since_ms
    return next((step for step in _STEPS_MS if length <= step * _POINTS), _STEPS_MS[-1])


def _question(asked: Asked, **more: Any) -> questions.Asked:
    return questions.Asked(asked.since_ms, asked.until_ms, **({"filters": asked.only} | more))


def worst(files: Files, asked: Asked) -> Rows:
    """Return who or what had the worst mean score, first."""
    return files.ask("worst", _question(asked, by=asked.by, numbers={"limit": asked.limit}))


def _blamed(row: dict[str, Any]) -> dict[str, Any]:
    """Put the suspect that was named most often in the place of the counts of all."""
    counts = {name.removeprefix("suspect_"): row.pop(name) or 0 for name in _SUSPECTS}
    most = max(counts, key=lambda name: counts[name])
    return row | {"suspect": most if counts[most] else "", "suspect_share": counts[most] / max(sum(counts.values()), 1)}


def timeline(files: Files, asked: Asked) -> Rows:
    """Return score and load of all over the range."""
    step = step_ms(asked)
    sql = (
        f"select (t_ms // {step}) * {step} as t, {_mean('mos', 'score')}, sum(mos_n)::bigint as scored, "
        f"sum(ul_bytes + dl_bytes)::bigint as bytes from minutes where {_where(asked)} group by 1 order by 1"
    )
    return _ask(files, sql, "minutes", asked)


def names(files: Files, asked: Asked) -> dict[str, list[str]]:
    """Return the values that each column of the filters has in the range."""
    lists = ", ".join(f"list_sort(list(distinct {name})) as {name}" for name in FILTERS)
    (row,) = _ask(files, f"select {lists} from minutes where t_ms >= $since and t_ms < $until", "minutes",
                  Asked(asked.since_ms, asked.until_ms))  # fmt: skip
    return {name: [v for v in row[name] or [] if v] for name in FILTERS}


def subscriber(files: Files, asked: Asked, name: str) -> dict[str, Any]:
    """Return one subscriber from score to inputs: over time, by application, and his worst intervals with evidence."""
    step, him = step_ms(asked), _where(asked, "subscriber = $name")
    over = f"select (t_ms // {step}) * {step} as t, {_EXPERIENCE}, {_WAY}, {_BLAME} from facts where {him} group by 1"
    apps = (
        f"select app_class, app, {_EXPERIENCE}, {_BLAME} from facts where {him} group by 1, 2 order by score nulls last"
    )
    total = f"select {_EXPERIENCE}, {_WAY}, {_BLAME} from facts where {him} having count(*) > 0"
    found = _ask(files, total, "facts", asked, name=name)
    if not found:
        raise SnfError("Nothing is known of this subscriber in this range.", "Choose a longer one, or fewer filters.")
    return {
        "total": _blamed(found[0]),
        "step_ms": step,
        "series": [_blamed(row) for row in _ask(files, f"{over} order by 1", "facts", asked, name=name)],
        "apps": [_blamed(row) for row in _ask(files, apps, "facts", asked, name=name)],
        "intervals": _intervals(files, asked, name),
        "spans": files.ask(
            "subscriber", _question(asked, filters={**asked.only, "subscriber": name}, numbers={"limit": _SPANS})
        ),
    }


_EVIDENCE = (
    *("t_ms", "interval_ms", "app_class", "app", "mos", "suspect", "suspect_by", "suspect_value", "video_height"),
    *("stalled_s", "frozen_s", "rtt_access_ms", "rtt_core_ms", "loss_ul", "loss_dl", "ul_bytes", "dl_bytes", "gnb"),
)


def _intervals(files: Files, asked: Asked, name: str) -> Rows:
    """Return the intervals with the worst scores, as long as records are kept."""
    there = files.columns("records", asked.since_ms, asked.until_ms)
    columns = ", ".join(c if c in there else f"null as {c}" for c in _EVIDENCE)
    sql = (
        f"select {columns} from records where {_where(asked, 'subscriber = $name')} and mos is not null "
        f"order by mos, t_ms desc limit {_WORST_INTERVALS}"
    )
    return _ask(files, sql, "records", asked, name=name)


def places(files: Files, asked: Asked) -> dict[str, Rows]:
    """Return what is between gNBs and functions, and between functions and data networks: load, delay, loss, score."""
    edge = f"{_EXPERIENCE}, {_WAY}"

    def edges(one: str, two: str) -> Rows:
        ends = f'{one} as "from", {two} as "to"'
        sql = f"select {ends}, {edge} from minutes where {_where(asked)} group by 1, 2 order by 1, 2"
        return _ask(files, sql, "minutes", asked)

    return {"access": edges("gnb", "nf"), "core": edges("nf", "dnn")}


def marks(files: Files, asked: Asked) -> Rows:
    """Return the marks of changes in the range, the newest first."""
    names = "t_ms, text, who, app, gnb, dnn, slice"
    sql = f"select distinct {names} from marks where t_ms >= $since and t_ms < $until order by t_ms desc, text"
    return _ask(files, sql, "marks", Asked(0, asked.until_ms))


def change(files: Files, asked: Asked, mark: Mark, reach_ms: int) -> dict[str, Any]:
    """Return the effects of a change: the same hours of the day on both sides, *reach_ms* (whole days) of each."""
    at, newest = int(mark.at_s * 1000), newest_ms(files) or asked.until_ms
    scope = {name: value for name in DIMENSIONS if (value := getattr(mark, name))}
    around = Asked(max(at - reach_ms, 0), max(min(at + reach_ms, newest), at), only={**asked.only, **scope})
    effects = files.ask("change", _question(around, mark_ms=at))
    return {"since_ms": around.since_ms, "until_ms": around.until_ms, "effects": effects}


def gaps(files: Files, asked: Asked) -> Rows:
    """Return what is missing from the range, the newest first."""
    only = {name: value for name, value in asked.only.items() if name == "nf"}
    return files.ask("gaps", _question(asked, filters=only, numbers={"limit": _GAPS}))


def health(files: Files, asked: Asked) -> Rows:
    """Return the last heartbeat of each function before the end of the range, and its gaps in it."""
    hours = files.hours("health")
    last = min(hours[-1] + HOUR_MS, asked.until_ms) if hours else asked.until_ms
    near = Asked(max(asked.since_ms, last - DAY_MS), asked.until_ms)
    columns = files.columns("health", near.since_ms, near.until_ms)
    named = [c for c in columns if c not in {"nf", "t_ms", "topic", "next_seq", "seq"}]
    picked = [f'arg_max("{c}", t_ms) as "{c}"' for c in sorted(named)]
    columns_of_it = ", ".join(["nf, max(t_ms) as t_ms", *picked])
    sql = f"select {columns_of_it} from health where t_ms < $until group by nf order by nf"
    counted = (
        "select nf, count(*)::bigint as gaps, sum(messages)::bigint as missing from gaps "
        "where t_ms >= $since and t_ms < $until group by nf"
    )
    missing = {row["nf"]: row for row in _ask(files, counted, "gaps", Asked(asked.since_ms, asked.until_ms))}
    found = files.rows(sql, ("health",), near.since_ms, near.until_ms, {"until": near.until_ms})
    return [row | {"gaps": 0, "missing": 0} | missing.get(row["nf"], {}) for row in found]
