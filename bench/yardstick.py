"""The yardstick: what a fixed piece of work costs on this machine, so that goals mean the same on another one.

The same code begins 38,000 flows a second on one processor and 17,000 on another. Goals in seconds, a second and Gbit/s
are those of the machine that docs/performance.md was measured on; the bench measures this first, and scales them. Half
of it is C (bench/yardstick.c: a hash table beyond the cache), half Python and numpy (names of flows; sorting, gathering
and adding up columns): the two that the function is made of. The scale is the geometric mean of both ratios.
"""

from __future__ import annotations

import ctypes
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import rig
from bench.cc import library
from bench.figure import Figure

__all__ = ["Scale", "Yardstick", "documented", "in_c", "in_python", "measure"]

ROUNDS = 9
_NOISE = 0.05  # two runs on one machine differ by less, which would only make goals look odd
_BITS = 21  # of the number of places: 16 MB, more than the cache that a core has for itself
_NAMES, _ROWS, _FLOWS = 60_000, 300_000, 4096
_ROW = np.dtype([("number", "u8"), ("octets", "u4", 2), ("packets", "u4", 2), ("rest", "V40")])
_TIMES, _RATES = frozenset({"s", "ms", "us"}), frozenset({"1/s", "Gbit/s"})


@dataclass(frozen=True, slots=True)
class Yardstick:
    """Milliseconds of CPU that either piece takes, the least of the rounds."""

    c_ms: float
    python_ms: float

    def __str__(self) -> str:
        return f"C {self.c_ms:.3g} ms, Python and numpy {self.python_ms:.3g} ms"


def in_c(bits: int = _BITS) -> Callable[[], int]:
    """Return the C piece; it returns the sum that its table of 2^bits places ends with."""
    work = ctypes.CDLL(str(library(Path(__file__).with_suffix(".c")))).yardstick
    work.argtypes, work.restype = (ctypes.c_void_p, ctypes.c_uint32), ctypes.c_uint64
    table = np.zeros(1 << bits, np.uint64)

    def once() -> int:
        table[:] = 0
        return int(work(table.ctypes.data, bits))

    return once


def in_python(names: int = _NAMES, rows: int = _ROWS) -> Callable[[], int]:
    """Return the Python and numpy piece; it returns the sum of what it counted: *names* and three times *rows*."""
    rng = np.random.default_rng(29281)
    table = np.zeros(rows, _ROW)
    table["number"] = rng.permutation(rows)
    table["packets"] = 1
    owner = rng.integers(0, _FLOWS, rows)
    asked = rng.permutation(rows).astype(np.uint64)
    hosts = [f"host{n % 977}.example{n % 50}.net".encode() for n in range(names)]

    def once() -> int:
        seen: dict[str, int] = {}
        for host in hosts:
            suffix = host.rpartition(b".example")[2].decode()
            seen[suffix] = seen.get(suffix, 0) + 1
        order = np.argsort(table["number"], kind="stable")
        found = order[np.searchsorted(table["number"][order], asked)]
        moved = table.view("V64")[found].view(_ROW)  # opaque, or numpy copies field by field
        up = np.bincount(owner, moved["packets"][:, 0], _FLOWS)
        down = np.bincount(owner, moved["packets"][:, 1], _FLOWS)
        return sum(seen.values()) + int(up.sum() + down.sum()) + len(found)

    return once


def measure() -> Yardstick:
    """Measure both pieces, in turns; raises SnfError when the C piece cannot be built."""
    pieces = {"c": in_c(), "python": in_python()}

    def timed(piece: Callable[[], int]) -> Callable[[], float]:
        def once() -> float:
            begun = time.thread_time_ns()
            piece()
            return (time.thread_time_ns() - begun) / 1e6

        return once

    ms = rig.interleave({name: timed(piece) for name, piece in pieces.items()}, ROUNDS)
    return Yardstick(ms["c"], ms["python"])


def documented(rows: Sequence[Mapping[str, Any]]) -> Yardstick | None:
    """Return the yardstick of the machine of the first row; None while no row of that machine has one."""
    for row in rows:
        if row["machine"] == rows[0]["machine"] and row.get("yardstick"):
            return Yardstick(**row["yardstick"])
    return None


@dataclass(frozen=True, slots=True)
class Scale:
    """This machine's yardstick beside that of the documents' machine, where they are known."""

    here: Yardstick | None = None
    documents: Yardstick | None = None

    @property
    def factor(self) -> float:
        """The time of this machine over that of the documents' machine; 1 while either is unknown."""
        if self.here is None or self.documents is None:
            return 1.0
        c, python = self.here.c_ms / self.documents.c_ms, self.here.python_ms / self.documents.python_ms
        factor = math.sqrt(c * python)
        return 1.0 if abs(factor - 1) < _NOISE else factor

    def apply(self, figure: Figure) -> Figure:
        """Return the figure with the goal of this machine; one that is no time and no rate keeps its own."""
        factor = self.factor
        if factor == 1.0 or figure.unit not in _TIMES | _RATES:
            return figure
        goal = figure.goal * factor if figure.unit in _TIMES else figure.goal / factor
        return dataclasses.replace(figure, goal=goal, stated=figure.goal)

    def __str__(self) -> str:
        if self.here is None:
            return "yardstick: not measured; goals are as stated"
        if self.documents is None:
            return (
                f"yardstick: {self.here}; that of the documents' machine is not known, so goals in seconds, a second "
                "and Gbit/s are as stated (x 1.0)"
            )
        return (
            f"yardstick: {self.here}; the documents' machine: {self.documents}; goals in seconds x {self.factor:.2f}, "
            f"a second and in Gbit/s / {self.factor:.2f}"
        )
