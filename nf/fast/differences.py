"""The pass that compares two states of each flow (``differences.h``)."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.fast.library import Library, address

__all__ = ["differences", "takes"]


def takes(library: Library, flows: np.dtype[np.void]) -> bool:
    """Say whether states of this type are those of the build."""
    return flows.itemsize == library.number("snf_flow_bytes")


def differences(
    library: Library,
    flows: NDArray[np.void],
    keys: NDArray[np.void],
    rows: NDArray[np.intp],
    places: NDArray[np.intp],
    known: NDArray[np.bool_],
    before: NDArray[np.void],
) -> dict[str, NDArray[Any]]:
    """Return the columns of `nf.flows.batch.FlowBatch` that follow from two states of flows, and remember the later.

    *rows* (n,) of *flows* (``struct flow``) and *keys* (``struct flow_key``) are compared with the states that *before*
    has at *places* of them, where *known* (n,) says that they were there, and written there one after another.
    """
    n = len(rows)
    out = library.columns("snf_difference_columns").empty(n)
    pointers, _ = library.columns("snf_difference_columns").pointers(out, n)
    given = [
        np.ascontiguousarray(flows),
        np.ascontiguousarray(keys),
        np.ascontiguousarray(rows, np.int64),
        np.ascontiguousarray(places, np.int64),
        np.ascontiguousarray(known, np.uint8),
        before,
    ]
    at = [ctypes.c_void_p(address(array)) for array in given]
    library.function("snf_differences")(*at, ctypes.c_uint64(n), ctypes.byref(pointers))
    return out
