"""The distribution of delays: to the kernel the place of each session, from it counts by place, measure and length.

    sessions that changed ── `turn` ── places ──► session table (bpf/histogram.h) ── `rows` ──► the bus

Where nothing is measured, no session gets a place: that costs an entry of the table each. Once something is, all get
theirs, some thousands a turn.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np

from feed.records import DELAY_MEASURES, Columns
from nf.kernel.dataplane import DataPlane
from nf.sessions import BindingStore
from nf.sessions.places import NOWHERE, Places

__all__ = ["Distribution"]

_STEP = 2048  # sessions that get their place in one turn, 50 ms apart: a million in half a minute
_GNBS, _GNBS_MOST = 64, 65_536  # sessions a turn, and that wait, to name gNBs alone where echoes are all there is


class Distribution:
    """The places of the sessions of a store, and the delays that a data plane counts for them.

    One thread calls `turn`, `look` and `rows`, and keeps others from the tables meanwhile.
    """

    def __init__(self, plane: DataPlane, store: BindingStore) -> None:
        self.places = Places(len(plane.histograms))
        self._plane, self._store = plane, store
        self._ways = self._echoes = False  # what is measured: ways of packets of sessions, echoes of gNBs
        self._lock = threading.Lock()  # of the next one
        self._due: dict[int, None] = {}  # sessions whose place may be another
        self._echo_places: dict[str, int] = {}
        store.on_relabelled(self._note)

    def _note(self, sessions: list[int]) -> None:
        if self._ways or self._echoes:
            with self._lock:
                self._due.update(dict.fromkeys(sessions))

    def look(self, counters: Mapping[str, int]) -> None:
        """Look at what is measured by now, as the counters of all ports say it."""
        before = self._ways, self._echoes
        self._ways |= self._plane.follow or counters["psc_measured"] > 0
        self._echoes |= counters["gtpu_echo_response"] > 0
        if (self._ways, self._echoes) != before:
            self._note(self._store.numbers())

    def turn(self) -> None:
        """Give sessions that changed their places."""
        most = _STEP if self._ways else _GNBS
        with self._lock:
            due = [number for number, _ in zip(self._due, range(most), strict=False)]
            for number in due:
                del self._due[number]
            if not self._ways and len(self._due) > _GNBS_MOST:  # others will be of the same gNBs
                self._due.clear()
        if not due:
            return
        labels = [self._store.label(number) for number in due]
        if self._ways:
            place = self.places.number
            where = [place((label.gnb, label.slice)) if label else NOWHERE for label in labels]
            self._plane.sessions.put_places(dict(zip(due, where, strict=True)))
        if self._echoes:
            for gnb in {label.gnb for label in labels if label and label.gnb}:
                self._echo_places[gnb] = self.places.number((gnb, ""))
                self._plane.sessions.put_echo_place(gnb, self._echo_places[gnb])

    def rows(self) -> Columns:
        """Return gNB, slice, measure, bucket and number of the delays that were counted since the last call."""
        place, measure, bucket, n = self._plane.histograms.grown(len(self.places))
        numbers, at = np.unique(place, return_inverse=True)
        names = np.array(self.places.names(numbers.tolist()), object).reshape(-1, 2)[at]
        columns: Columns = {
            "gnb": names[:, 0].tolist(),
            "slice": names[:, 1].tolist(),
            "measure": np.array(DELAY_MEASURES, object)[measure].tolist(),
            "bucket": bucket.astype(np.int32),
            "n": n,
        }
        if self.places.is_scarce:
            self._give_back(set(numbers.tolist()))
        return columns

    def _give_back(self, used: set[int]) -> None:
        """Free the numbers of places that no session and no gNB has, and of which nothing was counted."""
        sessions = self._plane.sessions
        self._echo_places = {g: place for g, place in self._echo_places.items() if sessions.put_echo_place(g, place)}
        self.places.give_back(used | {*sessions.places().tolist(), *self._echo_places.values()})
