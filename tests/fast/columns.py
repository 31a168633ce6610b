"""Columns of flows of any make, for both kinds of passes, and the comparison of what they say."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from nf.apps.basis import Basis
from nf.fast import group as compiled
from nf.fast import search as compiled_search
from nf.fast.library import Library
from nf.fast.memory import Memory
from nf.flows import deltas
from nf.flows.batch import FlowBatch
from nf.flows.deltas import FlowDeltas
from nf.subscribers import lately, stage, sums
from nf.subscribers.fading import Remembered, horizon_s

_MOST = 1 << 40


def any_flows(rng: np.random.Generator, n: int, length_s: float) -> FlowBatch:
    """Return flows whose columns have nothing to do with one another: more than the kernel can give."""

    def column(dtype: type, high: int, *, width: int = 2) -> NDArray[Any]:
        shape = (n, width) if width > 1 else (n,)
        sizes = 10.0 ** rng.uniform(0, np.log10(high), shape)
        return np.where(rng.random(shape) < 0.3, 0, np.minimum(sizes, high - 1)).astype(dtype)

    one = {
        "session": column(np.uint32, 1 << 20, width=1),
        "app": rng.integers(0, 9, n).astype(np.uint16),
        "basis": rng.integers(0, len(Basis), n).astype(np.uint8),
        "confidence": rng.integers(0, 101, n).astype(np.uint8),
        "proto": rng.choice([6, 17, 1], n).astype(np.uint8),
    }
    wide = {
        **dict.fromkeys(("octets", "gap_sum_us", "rtt_sum_us"), (np.uint64, _MOST)),
        **dict.fromkeys(("packets", "payload_packets"), (np.uint64, 1 << 31)),
        "gap_sq_us2": (np.uint64, 1 << 62),
        **dict.fromkeys(
            ("retrans", "spurious", "filled", "rtt_n", "gap_n", "rtp_expected", "rtp_received"), (np.uint32, 1 << 31)
        ),
        **dict.fromkeys(("rtt_min_us", "rtt_high_us", "gap_max_us"), (np.uint32, 1 << 32)),
        "qfi": (np.uint8, 64),
    }
    none = {f.name: np.zeros(n, np.uint32) for f in fields(FlowBatch) if f.name.startswith("dns_")}
    begun = 1_700_000_000.0
    return FlowBatch(begun, begun + length_s, np.arange(n, dtype=np.uint64), **one, **none,
                     **{name: column(*kind) for name, kind in wide.items()})  # fmt: skip


def any_keys(rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Return keys of flows: few, many, or all different, as a subject and an application make them."""
    keys: NDArray[np.int64] = rng.integers(0, max(int(n ** rng.uniform(0, 1.2)), 1), n) << 16 | rng.integers(0, 9, n)
    return keys


def rows_differ(library: Library, flows: FlowBatch, key: NDArray[np.int64], interval_s: float) -> list[str]:
    """Return the columns in which the compiled rows are not those of the reference, to the last bit."""
    keys, expected = sums.reference(flows, key, interval_s)
    got_keys, got = sums.by_library(library, flows, key, interval_s)
    wrong = [] if np.array_equal(keys, got_keys) else ["keys"]
    for f in fields(expected):
        a, b = getattr(expected, f.name), getattr(got, f.name)
        if a.dtype != b.dtype or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            wrong.append(f.name)
    return wrong


class States:
    """States of flows of any make, in types that the kernel gives them, read in intervals by both kinds of passes."""

    def __init__(self, rng: np.random.Generator, types: Mapping[str, np.dtype[np.void]], places: int) -> None:
        self.rng, self.types, self.places, self.number = rng, types, places, 1
        self.now = self.any_of("flow", places)
        self.now["number"] = np.arange(1, places + 1)
        self.number = places + 1
        self.keys = self.any_of("flow_key", places)
        dns = int.from_bytes((53).to_bytes(2, "big"), sys.byteorder)
        self.keys["proto"] = rng.choice([6, 17, 17, 1], places)
        self.keys["port_b"] = np.where(rng.random(places) < 0.3, dns, self.keys["port_b"])
        self.deltas = [FlowDeltas(places), FlowDeltas(places)]

    def any_of(self, name: str, n: int) -> NDArray[np.void]:
        """Return structures of random bytes, of which a third are zero."""
        dtype = self.types[name]
        made = self.rng.integers(0, 256, n * dtype.itemsize, np.uint8) * (self.rng.random(n * dtype.itemsize) > 0.3)
        found = made.astype(np.uint8).view(dtype)
        if name == "flow":
            found["ue_end"] = self.rng.integers(0, 3, n)
        return found

    def pass_an_interval(self) -> tuple[NDArray[np.intp], NDArray[np.void], NDArray[np.void]]:
        """Return (places, keys, flows) of those that moved, and behind them of some that left their place meanwhile."""
        moved = np.flatnonzero(self.rng.random(self.places) < self.rng.choice([0.01, 0.5, 1.0]))
        ended = moved[self.rng.random(len(moved)) < 0.2]
        after = self.any_of("flow", len(moved))
        after["number"] = self.now["number"][moved]
        self.now[moved] = after
        left = self.now[ended].copy()
        began = self.any_of("flow", len(ended))
        began["number"] = self.number + self.rng.permutation(len(ended))
        self.number += len(ended)
        self.now[ended] = began
        places = np.concatenate([moved, ended])
        return places, self.keys[places], np.concatenate([self.now[moved], left])

    def differ(self, library: Library) -> list[str]:
        """Return the columns of an interval in which the compiled differences are not those of the reference."""
        places, keys, flows = self.pass_an_interval()
        told = []
        for one, use in zip(self.deltas, (None, library), strict=True):
            with mock.patch("nf.flows.deltas.loaded", return_value=use):
                told.append(one.update(places, keys, flows, _no_names, (1.0, 2.0)))
        wrong = [] if np.array_equal(told[0][1], told[1][1]) else ["rows"]
        for f in fields(FlowBatch):
            a, b = (getattr(batch, f.name) for batch, _ in told)
            if not np.array_equal(a, b) or np.asarray(a).dtype != np.asarray(b).dtype:
                wrong.append(f.name)
        a, b = (one._before.tobytes() for one in self.deltas)
        return wrong if a == b else [*wrong, "what is remembered"]


def _no_names(numbers: NDArray[np.uint64]) -> tuple[NDArray[np.uint16], NDArray[np.uint8], NDArray[np.uint8]]:
    none = np.zeros(len(numbers), np.uint8)
    return none.astype(np.uint16), none, none


def numbers_differ(library: Library, key: NDArray[np.int64]) -> bool:
    """Say whether the compiled numbers of distinct keys are not those of numpy."""
    expected, got = np.unique(key, return_inverse=True), compiled.distinct(library, key)
    return not all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True))


def places_differ(library: Library, keys: NDArray[Any], wanted: NDArray[Any]) -> bool:
    """Say whether the compiled search finds other places of *wanted* among sorted *keys* than numpy does."""
    expected = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    place, there = compiled_search.places(library, keys, wanted)
    return not (np.array_equal(place, expected) and np.array_equal(there, keys[expected] == wanted))


class Both:
    """A memory of both kinds; raises AssertionError when they differ."""

    def __init__(self, library: Library, tau_s: NDArray[np.float64], window_s: float, capacity: int) -> None:
        self.reference = Remembered(tau_s, window_s, capacity)
        self.compiled = Memory(library, tau_s, window_s, horizon_s(tau_s, window_s), capacity)

    def add(self, *new: Any) -> Any:
        expected, got = self.reference.add(*new), self.compiled.add(*new)
        for name, a, b in zip(("sums", "least", "samples"), expected, got, strict=True):
            assert np.array_equal(a, b), name
        assert len(self.reference) == len(self.compiled)
        assert self.reference.evicted == self.compiled.evicted
        return got

    def __len__(self) -> int:
        return len(self.compiled)

    @property
    def evicted(self) -> int:
        return self.compiled.evicted

    @property
    def keys(self) -> NDArray[np.int64]:
        assert np.array_equal(self.reference.keys, self.compiled.keys)
        return self.compiled.keys


def a_history(library: Library, rng: np.random.Generator, intervals: int, keys: int) -> int:
    """Take some intervals of a few keys into both memories, which are too small at times; return how many rows."""
    tau_s = rng.uniform(1, 20, int(rng.integers(0, 12)))
    memory = Both(library, tau_s, float(rng.uniform(0.5, 8)), int(keys * rng.uniform(0.2, 2)) + 1)
    now_s, rows = float(rng.uniform(0, 1e9)), 0
    for _ in range(intervals):
        now_s += float(rng.choice([1.0, rng.uniform(0, 3), 40.0, -rng.uniform(0, 90)], p=[0.7, 0.2, 0.05, 0.05]))
        some = np.flatnonzero(rng.random(keys) < rng.choice([0.05, 0.5, 1.0])).astype(np.int64) * 7 - 3
        samples = rng.integers(0, 4, len(some)).astype(np.float64)
        least = np.where(samples > 0, rng.uniform(0, 1e3, len(some)), np.nan)
        memory.add(some, now_s, rng.uniform(0, 1e6, (len(some), len(tau_s))), least, samples)
        rows += len(some)
    assert memory.keys.size == len(memory)
    return rows


@dataclass
class Met:
    """The inputs of the passes that both kinds took."""

    swept: int = 0  # intervals in which states were compared
    moved: int = 0  # flows of these
    flows: list[int] = field(default_factory=list)  # of each interval that became rows
    keys: int = 0  # that were numbered


def _same(expected: Mapping[str, NDArray[Any]], got: Mapping[str, NDArray[Any]]) -> list[str]:
    return [name for name in expected if not np.array_equal(expected[name], got[name]) or expected.keys() != got.keys()]


def differences_differ(told: Mapping[str, NDArray[Any]], after: NDArray[np.void], **given: Any) -> list[str]:
    """Return the columns of the compiled differences that are not those of the reference, from the same states.

    *after* is what the compiled pass remembers, *given* what it was given, ``before`` as that was.
    """
    places, known, before = given["places"], given["known"], given["before"]
    reference = FlowDeltas(len(before))
    reference._before = before
    at = places[given["rows"]]
    packets = given["flows"]["packets"][given["rows"]] - np.where(known[:, None], before["packets"][at], np.uint32(0))
    expected = reference.reference(given["flows"], given["keys"], given["rows"], places, known, packets)
    wrong = _same(expected, told)
    return wrong if after[at].tobytes() == before[at].tobytes() else [*wrong, "what is remembered"]


@contextmanager
def compared(library: Library) -> Iterator[Met]:
    """Make the stages run both kinds, and compare them; yields what they met. They raise AssertionError."""
    met, of_states, numbered = Met(), deltas.differences, compiled.distinct

    def differences(used: Library, flows: Any, keys: Any, rows: Any, places: Any, known: Any, before: Any) -> Any:
        was = before.copy()
        told = of_states(used, flows, keys, rows, places, known, before)
        given = {"flows": flows, "keys": keys, "rows": rows, "places": places, "known": known, "before": was}
        wrong = differences_differ(told, before, **given)
        assert not wrong, f"differences of {len(rows)} flows: {wrong}"
        met.swept += 1
        met.moved += len(rows)
        return told

    def distinct(used: Library, key: NDArray[np.int64]) -> Any:
        expected, got = np.unique(key, return_inverse=True), numbered(used, key)
        assert all(np.array_equal(a, b) for a, b in zip(expected, got, strict=True)), f"numbers of {len(key)} keys"
        met.keys += len(key)
        return got

    def group(flows: FlowBatch, key: NDArray[np.int64], interval_s: float) -> Any:
        wrong = rows_differ(library, flows, key, interval_s)
        assert not wrong, f"rows of {len(flows)} flows: {wrong}"
        met.flows.append(len(flows))
        return sums.by_library(library, flows, key, interval_s)

    def memory(*make: Any) -> Both:
        return Both(library, *make)

    with (
        mock.patch.object(deltas, "differences", differences),
        mock.patch.object(compiled, "distinct", distinct),
        mock.patch.object(stage, "group", group),
        mock.patch.object(lately, "memory", memory),
    ):
        yield met
