"""Records of rows that stand still: a call, a game or a player of which nothing passes, and that waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import RecordBatch
from nf.flows.search import at, distinct
from nf.subscribers.blame import Blame, one_way
from nf.subscribers.estimators import HORIZON_S, Estimators
from nf.subscribers.fading import KeyTable
from nf.subscribers.labels import PLACES, WORDS, Labels, Teller
from nf.subscribers.lately import APP_BITS
from nf.subscribers.records import Span, records, silent_columns

__all__ = ["Silent"]

_TOLD = ("subscriber", *WORDS, "app_basis", "app_confidence")
_SENT = ("ul_packets", "dl_packets")
_WHO = np.dtype([*((name, "O") for name in _TOLD[:-1]), ("app_confidence", "f8"), ("session", "i8"), ("way", "u1")])


@dataclass(frozen=True, slots=True)
class _Noted:
    """Rows of an interval: their sorted keys, whose they are, and when it ended. Most are there in the next one too."""

    keys: NDArray[np.int64]
    columns: Mapping[str, NDArray[Any]]
    at_s: float


class Silent:
    """The memory of whose the rows are that models remember (`Estimators`), and the records of those that are due."""

    def __init__(self, estimators: Estimators, blame: Blame, capacity: int) -> None:
        self._estimators, self._blame = estimators, blame
        self._who = KeyTable(np.zeros(0, _WHO), HORIZON_S, capacity)
        self._last: _Noted | None = None
        self._class_of_app: NDArray[np.uint8] | None = None

    def use(self, class_of_app: NDArray[np.uint8]) -> None:
        """Forget what is remembered by the numbers of applications when these are others."""
        before, self._class_of_app = self._class_of_app, class_of_app
        if before is not None and before is not class_of_app and not np.array_equal(before, class_of_app):
            self._estimators.forget()
            self._last = None

    def note(self, keys: NDArray[np.int64], columns: Mapping[str, NDArray[Any]], session: NDArray[Any] | None) -> None:
        """Remember whose rows are, by their sorted *keys*: of those that models know."""
        told: dict[str, NDArray[Any]] = {name: columns[name] for name in (*_TOLD, *_SENT)}
        told["session"] = np.zeros(len(keys), np.int64) if session is None else session
        before, self._last = self._last, _Noted(keys, told, float(columns["t_ms"][0]) / 1000)
        if before is not None:
            self._leave(before, keys)

    def _leave(self, noted: _Noted, present: NDArray[np.int64]) -> None:
        """Write down whose the rows of an interval were that are not *present* in the next one."""
        left = np.flatnonzero(~at(present, noted.keys)[1])
        left = left[self._estimators.knows(noted.keys[left])]
        rows = np.zeros(len(left), _WHO)
        for name in (*_TOLD, "session"):
            rows[name] = noted.columns[name][left]
        rows["way"] = one_way(np.stack([noted.columns[name][left] for name in _SENT], axis=1))
        self._who.put(noted.keys[left], rows, noted.at_s)

    def forget_subscriber(self, subscriber: str) -> None:
        """Forget that rows were a subscriber's."""
        mine = np.flatnonzero(self._who.rows_of(np.arange(len(self._who)), "subscriber") == subscriber)
        self._who.drop(mine)
        if self._last is not None and (self._last.columns["subscriber"] == subscriber).any():
            self._last = None

    def records(
        self,
        span_s: Span,
        present: NDArray[np.int64],
        class_of_app: NDArray[np.uint8],
        app_names: Sequence[str],
        labels: Labels,
        teller: Teller | None,
    ) -> list[RecordBatch]:
        """Return the records of rows that are due and not *present* in an interval."""
        due = self._estimators.silent(span_s[1], present)
        if due and self._last is not None and not len(present):
            self._leave(self._last, present)
            self._last = None
        out = []
        for name, wanted in due.items():
            known, who, _ = self._who.get(wanted)
            whose, here = _whose(who, labels, teller)
            keys = wanted[known][here]
            if not len(keys):
                continue
            judged = self._estimators.stand(name, keys, span_s)
            columns = silent_columns(span_s, len(keys)) | {column: values[here] for column, values in whose.items()}
            columns["app"] = np.array(app_names, object)[keys & ((1 << APP_BITS) - 1)]
            out += records(
                span_s,
                {name: np.arange(len(keys))},
                columns,
                lambda _name, _part, judged=judged: judged,  # type: ignore[misc]
                np.ones(len(keys), np.bool_),
                lambda mos, _, keys=keys, way=who["way"][here]: self._blame.standing(  # type: ignore[misc]
                    keys, way, present, mos, span_s[1]
                ),
            )
        return out


def _whose(
    who: NDArray[np.void], labels: Labels, teller: Teller | None
) -> tuple[dict[str, NDArray[Any]], NDArray[np.bool_]]:
    """Return the columns of whose rows are, as it is told now, and which of them are still here.

    A session that ended took its call along.
    """
    columns: dict[str, NDArray[Any]] = {name: who[name] for name in _TOLD}
    bound = who["session"] > 0
    if teller is None or not bound.any():
        return columns, np.ones(len(who), np.bool_)
    sessions, place = distinct(who["session"])
    names = labels.of(sessions, teller)
    for name in ("subscriber", "identity_source", "dnn"):
        columns[name] = np.where(bound, np.asarray(getattr(names, name), object)[place], columns[name])
    for name in PLACES:  # which signalling may not tell any more, or packets said: where the row was last
        told = np.asarray(getattr(names, name), object)[place]
        columns[name] = np.where(bound & (told != ""), told, columns[name])
    return columns, ~bound | (columns["identity_source"] != "none")
