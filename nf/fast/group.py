"""The passes that number distinct keys, and make rows of flows (``group.h``)."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.fast.library import Library, address

__all__ = ["distinct", "group"]


def distinct(library: Library, key: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Return the sorted distinct keys of *key* (n,), and the place of each key among them."""
    n, key = len(key), np.ascontiguousarray(key, np.int64)
    size = 1 << (2 * n).bit_length()  # places; half of them are taken at most
    table, row_of, found = np.zeros(size, np.uint32), np.empty(n, np.uint32), np.empty(n, np.int64)
    count = library.function("snf_group_find")(
        _at(key), _u64(n), _at(table), ctypes.c_uint32(size - 1), _at(row_of), _at(found)
    )
    found = found[:count]
    order = np.argsort(found)
    place = np.empty(count, np.uint32)
    place[order] = np.arange(count, dtype=np.uint32)
    return found[order], place[row_of]


def group(
    library: Library,
    flows: Any,
    key: NDArray[np.int64],
    rules: Mapping[str, float],
    rank: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Return the sorted distinct keys of n flows, and the columns of their rows; ``of_flow`` is the row of each flow.

    *flows* has the columns of `nf.flows.batch.FlowBatch` as attributes, *key* (n,) says whose each is; *rules* are the
    constants that ``RULES`` names, *rank* the place of each ground by its number. Raises ValueError when a column has
    another length.
    """
    n = len(key)
    wanted = library.columns("snf_flow_columns")
    columns = {name: getattr(flows, name) for name, _, _ in wanted.columns}
    given, kept = wanted.pointers(columns, n)
    keys, row_of = distinct(library, key)
    count = len(keys)
    numbers = library.columns("snf_rules").numbers(rules)
    ranks = np.ascontiguousarray(rank, np.uint8)
    sums = library.scratch(count * library.number("snf_sum_bytes"))
    library.function("snf_group_add")(
        ctypes.byref(given), _u64(n), _at(row_of), _u64(count), _at(numbers), _at(ranks), _u64(len(ranks)), _at(sums)
    )
    out = library.columns("snf_row_columns").empty(count)
    rows, _ = library.columns("snf_row_columns").pointers(out, count)
    library.function("snf_group_rows")(_at(sums), _u64(count), _at(numbers), ctypes.byref(rows))
    del kept
    return keys, out | {"of_flow": row_of.astype(np.intp)}


def _at(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(address(array))


def _u64(value: int) -> ctypes.c_uint64:
    return ctypes.c_uint64(value)
