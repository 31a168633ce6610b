"""The closed files of a folder, asked by DuckDB through the views of the store, while a collector writes others."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from feed.errors import SnfError
from history.questions.files import unreadable
from history.questions.text import QUESTIONS, Asked, fill
from history.store.layout import hours
from history.store.views import of_one_kind, statements

__all__ = ["Files"]

_SETTINGS = {
    "memory_limit": "400MB",
    "threads": 2,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_AT_ONCE = 2  # questions; others wait
_LONGEST_S = 30.0
_VIEW = "CREATE OR REPLACE VIEW "  # the begin of what the store says of a table
_TRIES = 3  # a file that was listed may be merged away before it is read


class Files:
    """One folder of tables, for several threads: each question has a cursor and views of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._engine = duckdb.connect(":memory:", config=_SETTINGS)
        self._engine.execute("set parquet_metadata_cache = true")
        self._places = threading.BoundedSemaphore(_AT_ONCE)

    def hours(self, table: str) -> list[int]:
        """Return the begins of the hours that a table has files of, in ms since the epoch, in order."""
        try:
            return sorted(hour for hour, _ in hours(self._folder, table))
        except OSError as error:
            raise unreadable(error) from None

    def columns(self, table: str, since_ms: int, until_ms: int) -> set[str]:
        """Return the names of the columns that a table has in a range."""
        head = f"select * from (describe {table})"
        return {str(row["column_name"]) for row in self.rows(head, (table,), since_ms, until_ms)}

    def ask(self, name: str, asked: Asked) -> list[dict[str, Any]]:
        """Return the answer to one of the questions that `snf query` asks, too. Raises SnfError."""
        return self.rows(fill(name, asked), QUESTIONS[name].tables, asked.since_ms, asked.until_ms)

    def rows(
        self, sql: str, tables: Sequence[str], since_ms: int, until_ms: int, words: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return the rows of a question about *tables*, of which it sees those of a range. Raises SnfError."""
        if not self._places.acquire(timeout=_LONGEST_S):
            raise SnfError("The page is busy with other questions.", "Try again in a minute.", passing=True)
        try:
            alike = True  # all files have the columns of the first one, which spares looking into each of them before
            for left in reversed(range(_TRIES)):
                try:
                    return self._rows(sql, tables, (since_ms, until_ms), words or {}, alike=alike)
                except (duckdb.InterruptException, duckdb.OutOfMemoryException):
                    raise
                except duckdb.Error:
                    if not left:
                        raise
                    alike = False
            raise AssertionError("unreachable")
        except duckdb.InterruptException:
            raise SnfError(f"This took longer than {_LONGEST_S:.0f} s.", "Choose a shorter range.") from None
        except duckdb.OutOfMemoryException:
            raise SnfError("This takes more memory than the page has.", "Choose a shorter range, or filters.") from None
        except OSError as error:  # duckdb.IOException is none
            raise unreadable(error) from None
        except duckdb.IOException:
            raise SnfError("A file of the history cannot be read.", "Look at its owner, and at the disk.") from None
        finally:
            self._places.release()

    def _rows(
        self, sql: str, tables: Sequence[str], span: tuple[int, int], words: Mapping[str, Any], *, alike: bool
    ) -> list[dict[str, Any]]:
        # A view is bound when it is made and when it is used; a table of the question itself is bound once.
        named = [statement.removeprefix(_VIEW).partition(" AS ") for statement in statements(self._folder, *span)]
        heads = ", ".join(f"{table} as ({select})" for table, _, select in named if table in tables)
        if alike:
            heads = of_one_kind(self._folder, heads)
        cursor = self._engine.cursor()
        late = threading.Timer(_LONGEST_S, cursor.interrupt)
        late.start()
        try:
            found = cursor.execute(f"with {heads} {sql}", dict(words))
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
        finally:
            late.cancel()
            cursor.close()
