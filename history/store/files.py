"""A file of the store, written: aside under a hidden name, made safe on the disk, and only then given its name.

Readers take names that end in .parquet and do not begin with a dot, so that none ever sees half a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["ROWS_TOGETHER", "Draft", "sync_folder", "write"]

ROWS_TOGETHER = 131_072  # rows of a group: of twice as many a byte in fifty is saved, for twice the memory
_LEVEL = 3  # zstd: 6 saves one byte in two hundred, for a fifth more time
# Columns with another value in each row; of all others, floats of three digits among them, a dictionary is smaller.
_DELTAS = frozenset({"ul_bytes", "dl_bytes"})
_SPLIT = frozenset({"ul_bps", "dl_bps", "peak_dl_bps"})


class Draft:
    """A file that is being written beside its name. Raises OSError when the disk is full or does not work."""

    def __init__(self, path: Path, schema: Any) -> None:
        self.path, self.rows = path, 0
        self._aside = path.with_name(f".{path.name}.tmp")
        path.parent.mkdir(parents=True, exist_ok=True)
        split = {name: "DELTA_BINARY_PACKED" for name in schema.names if name in _DELTAS}
        split |= {name: "BYTE_STREAM_SPLIT" for name in schema.names if name in _SPLIT}
        split |= {field.name: "BYTE_STREAM_SPLIT" for field in schema if field.name.endswith("_sum")}
        try:
            self._writer = pq.ParquetWriter(
                self._aside,
                schema,
                compression="zstd",
                compression_level=_LEVEL,
                use_dictionary=[name for name in schema.names if name not in split],
                column_encoding=split,
            )
        except OSError:
            self._aside.unlink(missing_ok=True)
            raise

    def write(self, table: Any) -> None:
        """Write rows, as a group of their own."""
        self._writer.write_table(table, row_group_size=ROWS_TOGETHER)
        self.rows += table.num_rows
        pa.default_memory_pool().release_unused()  # what it took, and what the rows came from

    def close(self) -> None:
        """End the file and have it on the disk, still without its name."""
        self._writer.close()
        descriptor = os.open(self._aside, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def publish(self) -> None:
        """Give the closed file its name; the folder is the caller's to make safe (`sync_folder`)."""
        self._aside.rename(self.path)

    def discard(self) -> None:
        """Remove what was written; never raises."""
        with suppress(Exception):
            self._writer.close()
        with suppress(OSError):
            self._aside.unlink()


def write(path: Path, schema: Any, tables: Iterable[Any]) -> int:
    """Write a file of several tables, each a group of rows; return their number. What fails leaves nothing behind."""
    draft = Draft(path, schema)
    try:
        for table in tables:
            draft.write(table)
            del table  # before the next one is made
        draft.close()
        draft.publish()
    except BaseException:
        draft.discard()
        raise
    sync_folder(path.parent)
    pa.default_memory_pool().release_unused()  # what it took is not needed until the next one, minutes later
    return draft.rows


def sync_folder(path: Path) -> None:
    """Have the names of a folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
