"""A question, or somebody's own SQL, asked of a folder: DuckDB in memory over closed files, while a collector writes.

    with History(Path("/var/lib/supernetflow-collector")) as history:
        for row in history.ask("worst", Asked(since_ms, until_ms, by="gnb")).rows: ...

DuckDB reads the folder and nothing else: no other file, no extension, no host; its settings are locked. Own SQL is one
statement that selects, as any other could write to the folder.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa

from feed.change import Mark
from feed.errors import SnfError
from history.questions import files
from history.questions.text import QUESTIONS, Asked, fill
from history.store import views
from history.tables import TABLES

__all__ = ["Answer", "History"]

# A file that was listed may be merged or deleted before it is read, or be replaced by one without somebody who is
# erased: DuckDB opens it twice, and reads the second one by the first one's places. It has no kind of error for that.
_PAUSES_S = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
_HOPELESS = (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.ConversionException)
_MEMORY_MB = 400  # of DuckDB's own 500, with what Python and its libraries take
_THREADS = 2
_SPILL = "2GB"


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of an answer, as a table of Arrow."""

    table: pa.Table

    @property
    def columns(self) -> list[str]:
        """Return the names."""
        return list(self.table.column_names)

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Return the rows as tuples; missing values are None."""
        return list(zip(*(column.to_pylist() for column in self.table.columns), strict=True))


class History:
    """A folder that answers. Not for several threads at once; one of these costs some milliseconds."""

    def __init__(self, folder: Path, memory_mb: int = _MEMORY_MB, threads: int = _THREADS) -> None:
        self._folder = folder.resolve()
        files.check(folder)
        self._spill = tempfile.mkdtemp(prefix="snf-query-")
        self._connection = duckdb.connect()
        for setting in (
            f"memory_limit = '{memory_mb}MB'",
            f"threads = {threads}",
            "preserve_insertion_order = false",
            "parquet_metadata_cache = true",  # a question looks at each file twice: what it has, and what is in it
            f"temp_directory = {_literal(self._spill)}",
            f"max_temp_directory_size = '{_SPILL}'",
            "autoinstall_known_extensions = false",
            "autoload_known_extensions = false",
            f"allowed_directories = [{_literal(str(self._folder))}]",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            self._connection.execute(f"set {setting}")

    def __enter__(self) -> History:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End DuckDB, and delete what it had no memory for."""
        self._connection.close()
        shutil.rmtree(self._spill, ignore_errors=True)

    def ask(self, name: str, asked: Asked) -> Answer:
        """Answer a question. Raises SnfError in one sentence."""
        return self._run(fill(name, asked), QUESTIONS[name].tables, asked.since_ms, asked.until_ms, own=False)

    def sql(self, text: str, since_ms: int | None = None, until_ms: int | None = None) -> Answer:
        """Answer somebody's own select over the tables, of files from a span of time. Raises SnfError."""
        try:
            statements = duckdb.extract_statements(text)
        except duckdb.Error as error:
            raise SnfError(f"The SQL cannot be read: {_said(error)}") from None
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise SnfError("The SQL is not one select.", "Only one statement that selects is run, as others can write.")
        words = set(re.findall(r"\w+", text.lower()))  # a table that is not named is not looked for
        return self._run(text, tuple(table for table in TABLES if table in words), since_ms, until_ms)

    def marks(self, since_ms: int, until_ms: int) -> list[Mark]:
        """Return the changes that were marked in a span of time, the newest first, each once."""
        columns = ", ".join(("t_ms", "text", "who", "app", "gnb", "dnn", "slice"))
        text = f"select distinct {columns} from marks where t_ms >= {since_ms} and t_ms < {until_ms} order by t_ms desc"
        return [Mark(row[0] / 1000, *row[1:]) for row in self._run(text, ("marks",), None, None).rows]

    def _run(
        self, text: str, tables: tuple[str, ...], since_ms: int | None, until_ms: int | None, *, own: bool = True
    ) -> Answer:
        alike = not own  # own SQL may name columns that only some files have
        for left, pause_s in zip(reversed(range(len(_PAUSES_S))), _PAUSES_S, strict=True):
            time.sleep(pause_s)
            try:
                made = [s for s in views.statements(self._folder, since_ms, until_ms) if _table(s) in tables]
                # A view looks into all files when it is made, a table of the text itself when it is read.
                heads = ", ".join(f"{_table(s)} as not materialized ({s.partition(' AS ')[2]})" for s in made)
                for statement in made if own else ():
                    self._connection.execute(statement)
                if alike:
                    heads, alike = views.of_one_kind(self._folder, heads), False
                asked = text if own else f"with {heads} {text}"
                return Answer(_plain(self._connection.sql(asked).to_arrow_table()))
            except duckdb.OutOfMemoryException:
                raise SnfError("There is not enough memory for this question.", "Ask for less time.") from None
            except duckdb.IOException as error:
                if not left:
                    raise SnfError(f"A file of the history cannot be read: {_said(error)}") from None
            except duckdb.Error as error:
                if not left or isinstance(error, _HOPELESS):
                    raise SnfError(f"The question cannot be answered: {_said(error)}") from None
            except OSError as error:  # duckdb.IOException is none
                raise files.unreadable(error) from None
        raise AssertionError("unreachable")


def _table(statement: str) -> str:
    """Return the name in CREATE OR REPLACE VIEW name."""
    return statement.split(maxsplit=5)[4]


def _plain(table: pa.Table) -> pa.Table:
    """Return a table whose sums of whole numbers are whole numbers of 64 bits again, not decimals; or floats."""
    for i, column in enumerate(table.schema):
        if pa.types.is_decimal(column.type) and column.type.scale == 0:
            sums = table.column(i)
            try:
                sums = sums.cast(pa.int64())
            except pa.ArrowInvalid:  # one has no room there: as a function of nonsense publishes it
                sums = sums.cast(pa.float64())
            table = table.set_column(i, column.name, sums)
    return table


def _said(error: Exception) -> str:
    first = str(error).strip().splitlines()[0]
    return first if first.endswith(".") else f"{first}."


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
