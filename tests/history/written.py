"""Files of a store, written and asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from history.store import files, layout, schema, views
from tests.feed.samples import records

HOUR_MS = 1_785_000_000_000 // layout.HOUR_MS * layout.HOUR_MS


def put(
    folder: Path, table: str, columns: dict[str, Any], first: int, last: int, span: str = "", hour: int = 0
) -> Path:
    """Write a file of a table into the hour with this number."""
    rows = len(next(iter(columns.values())))
    made = schema.table_of(table, columns, rows)
    file = layout.place(folder, table, HOUR_MS + hour * layout.HOUR_MS, span, first, last)
    files.write(file.path, made.schema, [made])
    return file.path


def published(rows: int = 300, subscribers: int = 7, **more: Any) -> dict[str, Any]:
    """Return records with the columns that the collector adds."""
    source = {
        "nf": ["nf1"] * rows,
        "boot": ["b"] * rows,
        "seq": np.zeros(rows, np.uint64),
        "app_class": ["video"] * rows,
    }
    return {**records(rows, subscribers), **source, **more}


def ask(folder: Path, question: str, *span: int) -> list[tuple[Any, ...]]:
    """Return the rows of a question to the views that it names."""
    with duckdb.connect(config={"threads": 1}) as engine:
        for statement in views.statements(folder, *span):
            if re.search(rf"\b{statement.split()[4]}\b", question):
                engine.execute(statement)
        return engine.execute(question).fetchall()
