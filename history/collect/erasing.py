"""Subscribers out of all files: each file that has a row of one is written anew without it, under its name.

What is left of them are sums over all subscribers, in which nobody can be found. A reader sees the file before or the
one after. Broken off, it is done again from the beginning: a file without a row of them is only looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from history.store.files import write
from history.store.layout import files_of_hour, hours
from history.tables import TABLES

__all__ = ["erase"]


def erase(folder: Path, until_ms: Mapping[str, int]) -> tuple[int, int]:
    """Erase the rows of subscribers up to a time for each; return the rows that went and the files that they were in.

    Also from files that another one stands for, and from those that were set aside as damaged, which are removed:
    nobody can say whose rows they have. A sum over a time goes if it began before.
    """
    rows = files = 0
    for table in TABLES:
        for hour_ms, where in list(hours(folder, table)):
            for damaged in where.glob(".damaged-*"):
                damaged.unlink()
            for file in files_of_hour(folder, table, hour_ms):
                gone = _erase_from(file.path, until_ms)
                rows += gone
                files += gone > 0
    return rows, files


def _erase_from(path: Path, until_ms: Mapping[str, int]) -> int:
    try:
        source = pq.ParquetFile(path)
        if not {"subscriber", "t_ms"} <= set(source.schema_arrow.names):
            return 0
        found = [_hits(source, number, until_ms) for number in range(source.num_row_groups)]
        gone = sum(int(hits.sum()) for hits in found)
        if gone:
            write(path, source.schema_arrow, _others(source, found))
    except FileNotFoundError:
        return 0
    except (pa.ArrowException, ValueError):  # damaged
        path.unlink(missing_ok=True)
        return 0
    return gone


def _hits(source: Any, number: int, until_ms: Mapping[str, int]) -> NDArray[np.bool_]:
    """Return for each row of a group whether it is to go; of the names the distinct ones alone are compared."""
    table = source.read_row_group(number, columns=["subscriber", "t_ms"], use_threads=False)
    names = table.column("subscriber")
    if not pa.types.is_dictionary(names.type):
        names = names.dictionary_encode()
    limits = [
        np.array([until_ms.get(name, -1) for name in chunk.dictionary.to_pylist()] or [-1], np.int64)[
            chunk.indices.fill_null(0).to_numpy()
        ]
        for chunk in names.chunks
    ]
    limit = np.concatenate(limits) if limits else np.zeros(0, np.int64)
    if not (limit >= 0).any():
        return np.zeros(len(limit), np.bool_)
    at_ms: NDArray[np.int64] = np.nan_to_num(table.column("t_ms").to_numpy()).astype(np.int64)
    hits: NDArray[np.bool_] = at_ms <= limit
    return hits


def _others(source: Any, found: Sequence[NDArray[np.bool_]]) -> Iterator[Any]:
    for number, hits in enumerate(found):
        yield source.read_row_group(number, use_threads=False).filter(pa.array(~hits))
