"""The compiled passes, loaded: which build there is, why it is not used, and how arrays go in and out."""

from __future__ import annotations

import ctypes
import functools
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nf.errors import SnfError
from nf.fast import build

__all__ = ["ENVIRONMENT", "ColumnSet", "Library", "NotUsed", "address", "load", "loaded", "status"]

log = logging.getLogger(__name__)

ENVIRONMENT, NUMPY = "SNF_FAST", "numpy"  # SNF_FAST=numpy: the references; SNF_FAST=PATH: that build

_Arrays = Mapping[str, NDArray[Any]]


class NotUsed(SnfError):
    """The compiled passes are not used; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class ColumnSet:
    """A list of columns as ``face.h`` declares it: name, type and width of each, in the order of the C struct."""

    columns: tuple[tuple[str, np.dtype[Any], int], ...]

    @staticmethod
    def of(text: str) -> ColumnSet:
        """Read what AS_TEXT wrote."""
        parts = (column.split(":") for column in text.split())
        return ColumnSet(tuple((name, np.dtype(kind.removesuffix("_t")), int(width)) for name, kind, width in parts))

    def pointers(self, arrays: _Arrays, rows: int) -> tuple[Any, list[NDArray[Any]]]:
        """Return the struct of pointers, and the arrays that it points to, which are to be kept as long.

        Raises ValueError for an array of another length. One of another type or order is copied, so it cannot be
        written to.
        """
        kept = []
        for name, dtype, width in self.columns:
            array = np.ascontiguousarray(arrays[name], dtype)
            if array.size != rows * width:
                raise ValueError(f"column {name} has {array.size} values, not {rows} x {width}")
            kept.append(array)
        return (ctypes.c_void_p * len(kept))(*map(address, kept)), kept

    def empty(self, rows: int) -> dict[str, NDArray[Any]]:
        """Return arrays to be filled."""
        return {name: np.empty(rows if width == 1 else (rows, width), dtype) for name, dtype, width in self.columns}

    def numbers(self, values: Mapping[str, float]) -> NDArray[np.float64]:
        """Return the struct of numbers, all of them doubles."""
        return np.array([values[name] for name, _, _ in self.columns], np.float64)


def address(array: NDArray[Any]) -> int:
    """Return the address of an array's memory."""
    return int(array.__array_interface__["data"][0])


class Library:
    """A build, loaded. Its functions are attributes by their names in C; integers are 64 bits wide."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._c = ctypes.CDLL(str(path))
        self.build = self.text("snf_fast_build")
        self.compiler = self.text("snf_fast_compiler")
        self._scratch = np.empty(0, np.uint8)

    def text(self, name: str) -> str:
        """Return a text of the build."""
        value = ctypes.c_char_p.in_dll(self._c, name).value
        return value.decode("ascii") if value else ""

    def number(self, name: str) -> int:
        """Return a number of the build."""
        return int(ctypes.c_uint64.in_dll(self._c, name).value)

    def scratch(self, size: int) -> NDArray[np.uint8]:
        """Return *size* bytes for the inside of one pass: the next one gets the same ones, of which the kernel need
        not make pages anew."""
        if size > len(self._scratch):
            self._scratch = np.empty(size, np.uint8)
        return self._scratch

    @functools.cache  # noqa: B019  # a library is never unloaded
    def columns(self, name: str) -> ColumnSet:
        """Return a list of columns of the build."""
        return ColumnSet.of(self.text(name))

    @functools.cache  # noqa: B019
    def function(self, name: str) -> Any:
        """Return a function: its arguments are addresses, integers of 64 bits and floats, its result an integer."""
        found = self._c[name]
        found.restype = ctypes.c_uint64
        return found


def load(path: Path) -> Library:
    """Load a build and check that it is one of this text; raises NotUsed."""
    mend = "run: python3 -m nf.fast.build"
    if not path.exists():
        raise NotUsed(f"{path} was not built; {mend}")
    try:
        library = Library(path)
    except (OSError, ValueError) as error:
        raise NotUsed(f"{path} cannot be loaded ({error}); {mend}") from None
    if library.build != build.digest():
        raise NotUsed(f"{path} is a build of another text of nf/fast/columns.c or bpf/abi.h; {mend}")
    return library


@functools.cache
def _tried(wanted: str) -> Library | NotUsed:
    if wanted == NUMPY:
        return NotUsed(f"{ENVIRONMENT}={NUMPY} asks for the references in numpy")
    try:
        return load(Path(wanted) if wanted else build.SHARED_OBJECT)
    except NotUsed as error:
        log.warning("The passes over columns run in numpy, several times slower: %s.", error)
        return error


def loaded() -> Library | None:
    """Return the library, None where the references are to run."""
    found = _tried(os.environ.get(ENVIRONMENT, ""))
    return found if isinstance(found, Library) else None


def status() -> tuple[bool, str]:
    """Return whether the compiled passes run, and which build, or why not."""
    found = _tried(os.environ.get(ENVIRONMENT, ""))
    if isinstance(found, Library):
        return True, f"{found.path.name} {found.build[:12]}, by compiler {found.compiler}"
    return False, str(found)
