"""The pass that finds keys in a sorted column (``search.h``)."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.fast.library import Library, address

__all__ = ["places", "takes"]

_FUNCTIONS = {np.dtype(np.int64): "snf_at_signed", np.dtype(np.uint64): "snf_at_unsigned"}


def takes(keys: NDArray[Any], wanted: NDArray[Any]) -> bool:
    """Say whether both columns are of one type, and of one that the pass knows."""
    return keys.dtype == wanted.dtype and keys.dtype in _FUNCTIONS


def places(library: Library, keys: NDArray[Any], wanted: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the place of each of *wanted* (n,) among sorted *keys*, of which there are some, and whether it is there.

    The place of one that is not there is that of the next key, or of the last one.
    """
    keys, wanted = np.ascontiguousarray(keys), np.ascontiguousarray(wanted)
    place, there = np.empty(len(wanted), np.intp), np.empty(len(wanted), np.bool_)
    library.function(_FUNCTIONS[keys.dtype])(
        ctypes.c_void_p(address(keys)), ctypes.c_uint64(len(keys)), ctypes.c_void_p(address(wanted)),
        ctypes.c_uint64(len(wanted)), ctypes.c_void_p(address(place)), ctypes.c_void_p(address(there)),
    )  # fmt: skip
    return place, there
