"""Subscribers out of all files: each file that has a row of one is written anew without it, under its name.

What is left of them are sums over all subscribers, in which nobody can be found. A reader sees the file before or the
one after. Broken off, it is done again from the beginning: a file without a row of them is only looked at.

A sink that sends the files to servers erases there what was erased here: it is left a file with the names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from history.store.files import sync_folder, write
from history.store.layout import files_of_hour, hours
from history.tables import TABLES

__all__ = ["STATE_OF_SINK", "erase", "handed_on", "later", "names_of", "write_names"]

STATE_OF_SINK = "clickhouse.json"
"""The file by which a sink says that it sends the files of a folder."""

_HANDED_ON = ".erased-"  # begin of the name of a file for the sink
_MOST_MS = 2**63 - 1  # of a time in a file


def later(some: Mapping[str, int], others: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the names of both, each with the later of its times: who is told twice is erased up to that one."""
    found = dict(some)
    for name, until_ms in others:
        found[name] = max(until_ms, found.get(name, until_ms))
    return found


def erase(folder: Path, until_ms: Mapping[str, int]) -> tuple[int, int]:
    """Erase the rows of subscribers up to a time for each; return the rows that went and the files that they were in.

    Also from files that another one stands for, and from those that were set aside as damaged, which are removed:
    nobody can say whose rows they have. A sum over a time goes if it began before. A sink is left the names.
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
    _hand_on(folder, until_ms)
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
        np.array([min(until_ms.get(name, -1), _MOST_MS) for name in chunk.dictionary.to_pylist()] or [-1], np.int64)[
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


# -- for the sink --------------------------------------------------------------


def _hand_on(folder: Path, until_ms: Mapping[str, int]) -> None:
    """Leave the sink of a folder, where it has one, who was erased. Raises OSError."""
    if not until_ms or not (folder / STATE_OF_SINK).exists():
        return
    path = folder / f"{_HANDED_ON}{os.urandom(8).hex()}.json"
    write_names(path, until_ms)


def handed_on(folder: Path) -> list[Path]:
    """Return the files with the names of who was erased here, and not by the sink yet."""
    return sorted(folder.glob(f"{_HANDED_ON}*.json"))


def write_names(path: Path, until_ms: Mapping[str, int]) -> None:
    """Write a file that says who is to be erased, and until when; it is there as a whole. Raises OSError."""
    aside = path.with_suffix(".new")
    with aside.open("w", encoding="utf-8") as file:
        json.dump(dict(until_ms), file)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    sync_folder(path.parent)


def names_of(path: Path) -> dict[str, int]:
    """Return names and until when, of a file of `write_names`. Raises ValueError, TypeError or AttributeError."""
    return {str(name): int(until_ms) for name, until_ms in json.loads(path.read_text(encoding="utf-8")).items()}
