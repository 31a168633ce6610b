"""Tables of a ClickHouse cluster, from the tables of the history: one of each server, and one over all servers.

Servers hold ``NAME_local``; ``NAME`` is Distributed over a cluster, and what questions go to. Sums (`facts`, `minutes`,
`buckets`) are views of the records. Whole numbers are signed with 64 bits, as Spark and DuckDB see them. The words are
those of ClickHouse 18.16 and newer.
"""

from __future__ import annotations

from collections.abc import Mapping

from feed.records import Column
from history.sinks.sums import VIEWS
from history.tables import TABLES

__all__ = ["SENT", "creates"]

SENT = tuple(table for table in TABLES if table not in VIEWS)
"""Tables that rows are sent to."""

_ORDER: Mapping[str, str] = {
    "records": "subscriber, t_ms",
    "delays": "measure, t_ms",
}


def creates(cluster: str) -> list[str]:
    """Return the statements that make the tables on one server of a cluster; each server gets all of them."""
    made = []
    for table in SENT:
        columns = TABLES[table]
        kinds = ",\n".join(f"    {name} {_kind(table, column)}" for name, column in columns.items())
        key = "cityHash64(subscriber)" if table == "records" else "rand()"
        day = "PARTITION BY toYYYYMMDD(toDateTime(intDiv(t_ms, 1000), 'UTC'))\n" if "t_ms" in columns else ""
        made.append(
            f"CREATE TABLE IF NOT EXISTS {table}_local (\n{kinds}\n) ENGINE = MergeTree\n{day}"
            f"ORDER BY ({_ORDER.get(table, 't_ms' if 't_ms' in columns else 'nf')})"
        )
        made.append(
            f"CREATE TABLE IF NOT EXISTS {table} AS {table}_local\n"
            f"ENGINE = Distributed({cluster}, currentDatabase(), {table}_local, {key})"
        )
    return made + [f"CREATE VIEW IF NOT EXISTS {table} AS\n{select}" for table, select in VIEWS.items()]


def _kind(table: str, column: Column) -> str:
    if column.dtype == "str":
        return "String"
    if column.dtype.startswith("f"):
        return "Nullable(Float64)" if table == "records" else "Float64"
    return "Int64"
