"""Behaviour of flows without a name, interval by interval, until a model can give their class.

    FlowBatch ── rows of unnamed flows ── sums by flow number ── (when due) the forest of nf.naming.class_model

A flow is judged after 3 intervals with packets, and again each time it has had twice as many. Bounded: when there
is no room, new flows are counted and not watched; those that were not seen for a minute leave.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nf.flows.batch import FlowBatch
from nf.flows.search import at
from nf.kernel.rows import joined, opaque, rows_at
from nf.naming.class_model import LEAST_INTERVALS, LEAST_PACKETS, PATTERN, Forest, add_interval

__all__ = ["Patterns", "interval_of"]

_MOST = 65_536
_AT_ONCE = 2048  # flows judged in an interval, some 40 ms; the others wait for the next one
_GONE_S = 60.0
_UDP = 17
_NOBODY = np.zeros(0, np.uint64), np.zeros(0, np.intp), np.zeros(0, np.uint8)


def interval_of(batch: FlowBatch, rows: NDArray[np.intp]) -> NDArray[np.void]:
    """Return rows of a batch as the sums of one interval (`PATTERN`)."""
    out = np.zeros(len(rows), PATTERN)
    out["number"] = batch.flow_id[rows]
    out["octets"], out["packets"] = batch.octets[rows], batch.packets[rows]
    out["payload_packets"], out["gap_n"] = batch.payload_packets[rows], batch.gap_n[rows]
    out["gap_sum_s"] = batch.gap_sum_us[rows] / 1e6
    out["gap_sq_s2"] = batch.gap_sq_us2[rows] / 1e12
    out["gap_max_s"] = np.minimum(batch.gap_max_us[rows] / 1e6, 1.0)
    out["udp"] = batch.proto[rows] == _UDP
    out["rtp"] = batch.rtp_expected[rows].sum(axis=1) > 0
    return out


class Patterns:
    """Sums by flow number, sorted; ``refused`` counts flows that found no room."""

    def __init__(self, forest: Forest | None = None, most: int = _MOST) -> None:
        self.rows = np.zeros(0, PATTERN)
        self.refused = 0
        self.everything = False  # watch flows that have a name as well: to measure the model
        self._forest = forest or Forest()
        self._most = most

    def update(
        self, batch: FlowBatch, unnamed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.uint64], NDArray[np.intp], NDArray[np.uint8]]:
        """Add an interval; return (flow number, index of CLASSES or -1, confidence) of the flows judged now."""
        watched = np.flatnonzero(unnamed | self.everything)
        watched = watched[batch.packets[watched].sum(axis=1) > 0]
        if not len(watched) and not len(self.rows):
            return _NOBODY
        interval = interval_of(batch, watched)
        interval = rows_at(interval, np.argsort(interval["number"]))
        self._admit(interval["number"], batch.t_end_s)
        if not len(self.rows):
            return _NOBODY
        rows, known = at(self.rows["number"], interval["number"])
        rows, interval = rows[known], rows_at(interval, known)
        grown = add_interval(rows_at(self.rows, rows), interval, (batch.t_start_s, batch.t_end_s))
        opaque(self.rows)[rows] = opaque(grown)
        return self._judge()

    def _admit(self, numbers: NDArray[np.uint64], now_s: float) -> None:
        gone = self.rows["last_s"] < now_s - _GONE_S
        if gone.any() and not self.everything:
            self.rows = rows_at(self.rows, ~gone)
        new = numbers[~np.isin(numbers, self.rows["number"])]
        room = max(self._most - len(self.rows), 0)
        self.refused += max(len(new) - room, 0)
        if not len(new[:room]):
            return
        fresh = np.zeros(len(new[:room]), PATTERN)
        fresh["number"], fresh["due"] = new[:room], LEAST_INTERVALS
        rows = joined([self.rows, fresh])
        self.rows = rows_at(rows, np.argsort(rows["number"], kind="stable"))

    def _judge(self) -> tuple[NDArray[np.uint64], NDArray[np.intp], NDArray[np.uint8]]:
        p = self.rows
        due = np.flatnonzero((p["intervals"] >= p["due"]) & (p["packets"].sum(axis=1) >= LEAST_PACKETS))[:_AT_ONCE]
        if not len(due):
            return _NOBODY
        classes, confidence = self._forest.classify(p[due])
        self.rows["due"][due] = 2 * p["intervals"][due]
        return p["number"][due], classes, confidence
