"""Subscribers whose experience with an application is bad for long: raised once and cleared once each.

    records of an interval ── `see` ── those that are bad, or were ── `turn` ── rows of alarm.v1, alarms that stand

The records are compared with the thresholds in columns. What is remembered is of those alone who were bad lately:
MOST_TRACKED at most, some 200 bytes each. A score between the two thresholds ends neither way: it is not bad for the
alarm that is about to be raised, and not good for the one that stands. So many alarms stand as the configuration says,
the longest degradations first; those beyond are counted, as one alarm.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feed.records import ALARM_COLUMNS, Columns, RecordBatch
from nf.apply.transaction import Undo
from nf.settings import Degradation, Degradations, Settings
from nf.subscribers.suspect import SUSPECTS

__all__ = ["MOST_TRACKED", "OTHERS_CLEAR_S", "SILENT_S", "Change", "Degraded", "Standing", "columns_of"]

MOST_TRACKED = 65_536
SILENT_S = 300.0  # without a score: as long as a flow without packets is kept (RFC 4787, REQ-5)
OTHERS_CLEAR_S = 60.0  # without one beyond the bound

_NUMBERS = np.dtype(
    [
        *(("key", "i8"), ("rule", "i2"), ("stands", "?"), ("again", "?")),
        *(("low_s", "f8"), ("high_s", "f8"), ("seen_s", "f8"), ("raised_s", "f8")),
        *(("sum", "f8"), ("n", "u4"), ("mos", "f4"), ("value", "f4"), ("suspects", "u2", (len(SUSPECTS),))),
    ]
)
_TEXTS = ("subscriber", "app", "app_class", "gnb", "slice", "suspect_by")
_SUBSCRIBER, _APP, _CLASS, _GNB, _SLICE, _BY = range(len(_TEXTS))
_CODES = {str(name): code for code, name in enumerate(SUSPECTS)}
_GONE = -1  # number of a threshold that is there no more


@dataclass(frozen=True, slots=True)
class Standing:
    """An alarm that stands. Times are seconds of the function's clock."""

    subscriber: str  # the published name
    app: str
    app_class: str
    gnb: str
    slice: str
    mos: float  # mean of the scores that raised it
    suspect: str
    suspect_by: str
    suspect_value: float
    since_s: float
    raised_s: float
    threshold: float
    raise_s: int
    again: bool = False  # it stood before this process began


@dataclass(frozen=True, slots=True)
class Change:
    """An alarm that was raised or cleared; ``others`` are those beyond the bound, in a row without a name."""

    raised: bool
    alarm: Standing
    others: int = 0


_OTHERS = Standing("", "", "", "", "", np.nan, "", "", np.nan, 0.0, 0.0, np.nan, 0)


class Degraded:
    """The alarms of single subscribers. Records and turns come from one thread, settings from any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted = self._used = Degradations()
        self._numbers: NDArray[np.void] = np.zeros(0, _NUMBERS)  # by key
        self._texts = np.zeros((0, len(_TEXTS)), object)
        self._names: set[object] = set()  # of the subscribers among them
        self._others_since_s: float | None = None
        self._others_seen_s = 0.0
        self.standing: tuple[Standing, ...] = ()  # replaced as a whole, so that other threads may read it
        self.others = 0  # beyond the bound, while that alarm stands
        self._use(Degradations())

    # -- settings ----------------------------------------------------------

    def apply(self, _old: Settings, new: Settings) -> Undo:
        """Judge by the thresholds of *new* from now on; alarms of one that goes are cleared with the interval."""
        before, self._wanted = self._wanted, new.degradations

        def undo() -> None:
            self._wanted = before

        return undo

    def _use(self, wanted: Degradations) -> None:
        """Put thresholds in force; entries keep theirs, by what it is for."""
        number = {(rule.app_class, rule.application): n for n, rule in enumerate(wanted.thresholds)}
        moved = [number.get((rule.app_class, rule.application), _GONE) for rule in self._used.thresholds]
        if len(self._numbers):
            self._numbers["rule"] = np.array([*moved, _GONE], np.int16)[self._numbers["rule"]]
        self._used = wanted
        self._by_class = {rule.app_class: n for n, rule in enumerate(wanted.thresholds) if rule.app_class}
        self._by_app = {rule.application: n for n, rule in enumerate(wanted.thresholds) if rule.application}

        def column(read: Callable[[Degradation], float]) -> NDArray[np.float64]:
            return np.array([*map(read, wanted.thresholds), np.nan])

        self._score, self._clear = column(lambda rule: rule.score), column(lambda rule: rule.clear_score)
        self._raise_s, self._clear_s = column(lambda rule: rule.raise_s), column(lambda rule: rule.clear_s)
        self._least = column(lambda rule: rule.least_bps)

    def recall(self, alarms: Iterable[Standing], now_s: float, *, valid: bool) -> None:
        """Take the alarms that stood when the process before ended; they are not raised again.

        They are cleared with the next interval when they are not *valid*: names are others now.
        """
        with self._lock:
            self._use(self._wanted)
            rules = {(rule.app_class, rule.application): n for n, rule in enumerate(self._used.thresholds)}
            kept = list(alarms)
            numbers, texts = np.zeros(len(kept), _NUMBERS), np.zeros((len(kept), len(_TEXTS)), object)
            for at, alarm in enumerate(kept):
                rule = rules.get(("", alarm.app), rules.get((alarm.app_class, ""), _GONE)) if valid else _GONE
                texts[at] = [getattr(alarm, name) for name in _TEXTS]
                numbers[at]["suspects"][_CODES.get(alarm.suspect, 0)] = 1
                for name, value in {
                    **{"key": _key(*texts[at, : _CLASS + 1]), "rule": rule, "stands": True, "again": True},
                    **{"low_s": alarm.since_s, "high_s": np.nan, "seen_s": now_s, "raised_s": alarm.raised_s},
                    **{"mos": alarm.mos, "value": alarm.suspect_value},
                }.items():
                    numbers[name][at] = value
            self._add(numbers, texts)
            self._stand()

    # -- an interval -------------------------------------------------------

    def see(self, batch: RecordBatch) -> None:
        """Compare the records of a class with its thresholds."""
        with self._lock:
            if self._wanted is not self._used:
                self._use(self._wanted)
            default = self._by_class.get(batch.app_class, _GONE)
            if (default == _GONE and not self._by_app) or "mos" not in batch.columns:
                return
            names, apps = batch.columns["subscriber"], batch.columns["app"]
            rules = np.fromiter(map(self._by_app.get, apps, repeat(default)), np.int16, len(batch))
            mos = np.asarray(batch.columns["mos"], np.float64)
            bps = sum(np.asarray(batch.columns[name], np.float64) for name in ("ul_bps", "dl_bps"))
            judged = (rules != _GONE) & np.isfinite(mos) & (bps >= self._least[rules])
            low = judged & (mos < self._score[rules])
            tracked = np.fromiter(map(self._names.__contains__, names), np.bool_, len(batch))
            rows = np.flatnonzero(low | (judged & tracked))
            if len(rows):
                self._take(batch, rows, rules[rows], mos[rows], low[rows])

    def _take(
        self,
        batch: RecordBatch,
        rows: NDArray[np.intp],
        rules: NDArray[np.int16],
        mos: NDArray[np.float64],
        low: NDArray[np.bool_],
    ) -> None:
        """Take the scores of rows that are bad, or of somebody who is tracked."""
        apps, names = batch.columns["app"], batch.columns["subscriber"]
        keys = np.array([_key(names[row], apps[row], batch.app_class) for row in rows.tolist()], np.int64)
        fresh = np.flatnonzero(low & ~self._has(keys))[: MOST_TRACKED - len(self._numbers)]
        if len(fresh):
            numbers, texts = np.zeros(len(fresh), _NUMBERS), np.zeros((len(fresh), len(_TEXTS)), object)
            numbers["key"], numbers["rule"] = keys[fresh], rules[fresh]
            numbers["low_s"], numbers["high_s"], numbers["value"] = batch.t_start_s, np.nan, np.nan
            for entry, row in enumerate(rows[fresh].tolist()):
                texts[entry] = names[row], apps[row], batch.app_class, "", "", ""
            self._add(numbers, texts)
        ours = self._has(keys)
        rows, rules, mos, low = rows[ours], rules[ours], mos[ours], low[ours]
        at = np.searchsorted(self._numbers["key"], keys[ours])
        of = self._numbers
        of["seen_s"][at], of["rule"][at] = batch.t_end_s, rules
        stands, good = of["stands"][at], mos >= self._clear[of["rule"][at]]
        of["rule"][at[~stands & ~low]] = _GONE  # what was about to be raised is over
        begins = stands & good & np.isnan(of["high_s"][at])
        of["high_s"][at[begins]] = batch.t_start_s
        of["high_s"][at[stands & ~good]] = np.nan
        restart = at[begins | (stands & ~good)]
        of["sum"][restart] = of["n"][restart] = 0
        counts = np.where(stands, good, low)
        of["sum"][at[counts]] += mos[counts]
        of["n"][at[counts]] += 1
        self._evidence(batch, rows, at, low & ~stands)

    def _evidence(
        self, batch: RecordBatch, rows: NDArray[np.intp], at: NDArray[np.intp], bad: NDArray[np.bool_]
    ) -> None:
        """Note where the rows are, and of what is about to be raised where it was lost, and by which measure."""
        for name, column in (("gnb", _GNB), ("slice", _SLICE)):
            if name in batch.columns:
                self._texts[at, column] = [batch.columns[name][row] for row in rows.tolist()]
        if "suspect" not in batch.columns:
            return
        by, value = batch.columns.get("suspect_by"), batch.columns.get("suspect_value")
        for row, entry in zip(rows[bad].tolist(), at[bad].tolist(), strict=True):
            code = _CODES.get(batch.columns["suspect"][row], 0)
            if code:
                counts = self._numbers["suspects"][entry]
                counts[code] += 1
                if by is not None and value is not None and counts[code] == counts.max():
                    self._texts[entry, _BY], self._numbers["value"][entry] = by[row], value[row]

    def turn(self, now_s: float) -> list[Change]:
        """End the interval and return what was raised and cleared in it, what was cleared first."""
        with self._lock:
            if self._wanted is not self._used:
                self._use(self._wanted)
            changes = self._end(now_s)
            of = self._numbers
            lasted = of["seen_s"] - of["low_s"] >= self._raise_s[of["rule"]]
            due = np.flatnonzero(~of["stands"] & lasted)
            due = due[np.argsort(of["low_s"][due], kind="stable")]
            room = max(0, self._used.most - int(of["stands"].sum()))
            for at in due[:room].tolist():
                mos = of["sum"][at] / of["n"][at]
                for name, value in {"stands": True, "raised_s": now_s, "mos": mos, "sum": 0, "n": 0}.items():
                    of[name][at] = value
                changes.append(Change(True, self._at(at)))
            changes += self._count_others(len(due) - min(room, len(due)), now_s)
            if changes:
                self._stand()
            return changes

    def _end(self, now_s: float) -> list[Change]:
        """Forget what is over, and return the alarms that are cleared by that."""
        of = self._numbers
        over = (of["rule"] == _GONE) | (now_s - of["seen_s"] >= SILENT_S)
        good = of["stands"] & (of["seen_s"] - of["high_s"] >= self._clear_s[of["rule"]])
        cleared = np.flatnonzero(of["stands"] & (over | good)).tolist()
        changes = []
        for at in cleared:
            mos = of["sum"][at] / of["n"][at] if good[at] else np.nan
            threshold = float(self._clear[of["rule"][at]])
            changes.append(Change(False, replace(self._at(at), mos=float(mos), threshold=threshold)))
        self._leave(over | good)
        return changes

    def _count_others(self, others: int, now_s: float) -> list[Change]:
        """Return the change of the one alarm of those beyond the bound, if there is one."""
        if others:
            self._others_seen_s = now_s
            self.others = max(self.others, others)
            if self._others_since_s is None:
                self._others_since_s = now_s
                return [Change(True, replace(_OTHERS, since_s=now_s, raised_s=now_s), others)]
        elif self._others_since_s is not None and now_s - self._others_seen_s >= OTHERS_CLEAR_S:
            alarm = replace(_OTHERS, since_s=self._others_since_s, raised_s=self._others_since_s)
            self._others_since_s, self.others = None, 0
            return [Change(False, alarm)]
        return []

    # -- forgetting --------------------------------------------------------

    def forget(self, names: Collection[str] | None = None) -> list[Change]:
        """Forget subscribers by their published names, None: all; return the alarms that are cleared by that."""
        with self._lock:
            gone = np.array([names is None or name in names for name in self._texts[:, _SUBSCRIBER]], np.bool_)
            stood = np.flatnonzero(gone & self._numbers["stands"]).tolist()
            changes = [Change(False, replace(self._at(at), mos=np.nan, threshold=np.nan)) for at in stood]
            self._leave(gone)
            self._stand()
            return changes

    # -- entries -----------------------------------------------------------

    def _has(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        at = np.searchsorted(self._numbers["key"], keys)
        inside = at < len(self._numbers)
        inside[inside] = self._numbers["key"][at[inside]] == keys[inside]
        return inside

    def _add(self, numbers: NDArray[np.void], texts: NDArray[np.object_]) -> None:
        numbers, texts = np.concatenate([self._numbers, numbers]), np.concatenate([self._texts, texts])
        _, order = np.unique(numbers["key"], return_index=True)
        self._numbers, self._texts = numbers[order], texts[order]
        self._names.update(texts[:, _SUBSCRIBER].tolist())

    def _leave(self, over: NDArray[np.bool_]) -> None:
        if over.any():
            self._numbers, self._texts = self._numbers[~over], self._texts[~over]
            self._names = set(self._texts[:, _SUBSCRIBER].tolist())

    def _stand(self) -> None:
        self.standing = tuple(map(self._at, np.flatnonzero(self._numbers["stands"]).tolist()))

    def _at(self, at: int) -> Standing:
        of, texts = self._numbers[at], self._texts[at]
        rule = of["rule"]
        return Standing(
            **dict(zip(_TEXTS, texts.tolist(), strict=True)),
            mos=float(of["mos"]),
            suspect=str(SUSPECTS[of["suspects"].argmax()]) if of["suspects"].any() else "",
            suspect_value=float(of["value"]),
            since_s=float(of["low_s"]),
            raised_s=float(of["raised_s"]),
            threshold=float(self._score[rule]),
            raise_s=0 if rule == _GONE else int(self._raise_s[rule]),
            again=bool(of["again"]),
        )


def _key(subscriber: object, app: object, app_class: object) -> int:
    """Return what tells a subscriber with an application from 65,536 others, but for a chance of one in 10^10."""
    return hash((subscriber, app, app_class))


def columns_of(changes: Sequence[Change], at_s: float | None, label_s: Callable[[float], float]) -> Columns:
    """Return the rows of changes at a time, as ALARM_COLUMNS; None: each when its alarm was raised.

    *label_s* gives the time by the clock on the wall.
    """

    def ms(times_s: Iterable[float]) -> NDArray[np.uint64]:
        return np.array([max(0, round(label_s(time_s) * 1e3)) for time_s in times_s], np.uint64)

    told: dict[str, NDArray[Any] | list[str]] = {
        "t_ms": ms(change.alarm.raised_s if at_s is None else at_s for change in changes),
        "state": ["raised" if change.raised else "cleared" for change in changes],
        "since_ms": ms(change.alarm.since_s for change in changes),
        "others": np.array([change.others for change in changes], np.uint32),
    }

    def column(name: str) -> NDArray[np.float32] | list[str]:
        values = [getattr(change.alarm, name) for change in changes]
        return values if ALARM_COLUMNS[name].dtype == "str" else np.array(values, np.float32)

    return {name: told[name] if name in told else column(name) for name in ALARM_COLUMNS}
