"""Entries of `gtp.table` in columns: a million claims in the time of some thousand single ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gtp.table import FIRST_SLOTS, GOLDEN, SEGMENT_SHIFT, WITHIN_MASK, WITHIN_SHIFT, NumberTable

__all__ = ["claim_all", "entries"]

Keys = NDArray[np.uint64]
Numbers = NDArray[np.uint32]

_FEW = 256  # claims for which the whole table is not laid out anew
_SEGMENTS = 1 << 64 - SEGMENT_SHIFT
_FULL = 0.75  # of the slots of a segment that was laid out


def entries(table: NumberTable) -> tuple[Keys, Numbers]:
    """Return (keys, numbers) of all entries of a table, in no order."""
    parts = [(np.frombuffer(k, np.uint64), np.frombuffer(n, np.uint32)) for k, n in table.columns()]
    keys = np.concatenate([k for k, _ in parts] or [np.zeros(0, np.uint64)])
    numbers = np.concatenate([n for _, n in parts] or [np.zeros(0, np.uint32)])
    there = numbers > 0
    return keys[there], numbers[there]


def claim_all(table: NumberTable, keys: Keys, numbers: Numbers) -> Numbers:
    """Do for each key in turn what `NumberTable.claim` does; return the number that each had before, else 0."""
    if len(keys) < _FEW:
        return np.array([table.claim(*pair) for pair in zip(keys.tolist(), numbers.tolist(), strict=True)], np.uint32)
    had_keys, had_numbers = entries(table)
    # Those that were there come first, then the claims in their order: the first of equal keys has it.
    all_keys, all_numbers = np.concatenate([had_keys, keys]), np.concatenate([had_numbers, numbers])
    order = np.argsort(all_keys, kind="stable")
    begins = np.concatenate([[True], np.diff(all_keys[order]) != 0])
    first = order[np.flatnonzero(begins)[np.cumsum(begins) - 1]]  # the row that has the key of each
    holder = np.empty(len(order), np.intp)
    holder[order] = first
    rows = np.arange(len(order))
    known = np.where(holder == rows, np.uint32(0), all_numbers[holder])[len(had_keys) :]
    has = holder == rows
    _lay_out(table, all_keys[has], all_numbers[has])
    return known


def _lay_out(table: NumberTable, keys: Keys, numbers: Numbers) -> None:
    """Give a table these entries and no others; each key is there once.

    In the order of their hashes, each entry is in its own slot or in the first that those before it leave free.
    """
    with np.errstate(over="ignore"):
        spread = keys * np.uint64(GOLDEN)
    order = np.argsort(spread)
    spread, keys, numbers = spread[order], keys[order], numbers[order]
    segment = (spread >> np.uint64(SEGMENT_SHIFT)).astype(np.intp)
    used = np.bincount(segment, minlength=_SEGMENTS)
    slots = np.where(used > 0, np.maximum(FIRST_SLOTS, (used / _FULL).astype(np.intp) + 1), 0)
    within = spread >> np.uint64(WITHIN_SHIFT) & np.uint64(WITHIN_MASK)
    home = (within * slots[segment].astype(np.uint64) >> np.uint64(32)).astype(np.intp)
    apart = np.cumsum(2 * slots) - 2 * slots  # no segment pushes entries into the next one
    rows = np.arange(len(keys))
    place = rows + np.maximum.accumulate(apart[segment] + home - rows) - apart[segment]
    fits = place < slots[segment]  # those pushed beyond the end go to the beginning, one by one
    begin = np.cumsum(slots) - slots
    at = begin[segment[fits]] + place[fits]
    all_keys, all_numbers = np.zeros(slots.sum(), np.uint64), np.zeros(slots.sum(), np.uint32)
    all_keys[at], all_numbers[at] = keys[fits], numbers[fits]
    counts = np.bincount(segment[fits], minlength=_SEGMENTS)
    table.load([_piece(all_keys, all_numbers, b, n, c) for b, n, c in zip(begin, slots, counts, strict=True)])
    for key, number in zip(keys[~fits].tolist(), numbers[~fits].tolist(), strict=True):
        table.put(key, number)


def _piece(keys: Keys, numbers: Numbers, begin: Any, slots: Any, used: Any) -> tuple[bytes, bytes, int] | None:
    if not slots:
        return None
    return keys[begin : begin + slots].tobytes(), numbers[begin : begin + slots].tobytes(), int(used)
