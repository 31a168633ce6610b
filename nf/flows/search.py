"""Search in columns: where each wanted key is, and whether it is there at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nf.fast import group as compiled
from nf.fast import search
from nf.fast.library import loaded

__all__ = ["at", "distinct", "one_of", "reference", "values_at"]

_Value = TypeVar("_Value", bound=np.generic)
_MANY = 64  # keys, from which on the compiled pass is faster than numpy in spite of what its call costs


def one_of(values: Iterable[int], most: int = 0xFF) -> NDArray[np.bool_]:
    """Return a table that says of each number up to *most* whether it is one of *values*: ``table[column]``.

    np.isin sorts or counts for each call, which costs more than a look into a table for columns of any length.
    """
    table = np.zeros(most + 1, np.bool_)
    table[list(values)] = True
    return table


def distinct(keys: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return the sorted distinct values of *keys* (n,), of at most 63 bits, and the place of each key among them."""
    library = loaded()
    if library is not None:
        values, place = compiled.distinct(library, keys.astype(np.int64))
        return values, place.astype(np.intp)
    values, where = np.unique(keys.astype(np.int64), return_inverse=True)
    return values, where


def at(sorted_keys: NDArray[Any], wanted: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the row of each of *wanted* (n,) in *sorted_keys*, and whether it is there.

    The row of a key that is not there is some row of *sorted_keys*, so that columns can be read before the mask is
    applied; it is 0 where there are no keys. Of equal keys the first row counts.
    """
    if not len(sorted_keys):
        return np.zeros(len(wanted), np.intp), np.zeros(len(wanted), np.bool_)
    library = loaded() if len(wanted) >= _MANY and search.takes(sorted_keys, wanted) else None
    return reference(sorted_keys, wanted) if library is None else search.places(library, sorted_keys, wanted)


def reference(sorted_keys: NDArray[Any], wanted: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Do what `at` says in numpy; there are keys."""
    rows = np.minimum(np.searchsorted(sorted_keys, wanted), len(sorted_keys) - 1)
    known: NDArray[np.bool_] = sorted_keys[rows] == wanted
    return rows, known


def values_at(
    sorted_keys: NDArray[Any], values: NDArray[_Value], wanted: NDArray[Any], missing: float = 0
) -> NDArray[_Value]:
    """Return the value of each of *wanted* in the column *values* (k,) or (k, m) beside *sorted_keys* (k,).

    A key that is not there has the value *missing*.
    """
    if not len(sorted_keys):
        return np.full((len(wanted), *values.shape[1:]), missing, values.dtype)
    rows, known = at(sorted_keys, wanted)
    mask = known if values.ndim == 1 else known[:, None]
    return np.where(mask, values[rows], values.dtype.type(missing))
