"""The list of alarms (RFC 8632): readings of conditions in, alarms out, each raised once and cleared once.

An alarm is raised when its condition was there for as long as its kind says, without a look that found it over, and
cleared likewise. A cleared alarm stays in the list until it is purged or many newer ones are.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from mgmt.vitals.conditions import KINDS, Kind, Reading

__all__ = ["SEVERITIES", "Alarm", "Alarms"]

SEVERITIES = ("indeterminate", "warning", "minor", "major", "critical")  # RFC 8632, in their order
_MOST_CLEARED = 1000  # that are kept; an interface that is configured and removed has a resource of its own

Key = tuple[str, str]  # resource and kind


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm as it is in the list. Times are since the epoch, by the clock on the wall."""

    resource: str
    kind: str
    severity: str
    text: str
    created_s: float
    raised_s: float
    changed_s: float
    cleared: bool = False


@dataclass(slots=True)
class _Since:
    """A condition that is about to change the alarm, and since when it is so, by a clock that goes on evenly."""

    there: bool
    at_s: float


class Alarms:
    """The alarms of one function. May be asked from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alarms: dict[Key, Alarm] = {}
        self._since: dict[Key, _Since] = {}
        self.changed_s: float | None = None

    def __len__(self) -> int:
        return len(self._alarms)

    def all(self) -> list[Alarm]:
        """Return all alarms, the oldest first."""
        with self._lock:
            return list(self._alarms.values())

    def look(self, readings: Iterable[Reading], now_s: float, label_s: float) -> list[Alarm]:
        """Take the readings of one look and return the alarms that it raised, cleared, or gave another text.

        A condition that is not read any more is over: its resource is gone. *label_s* is the time by the clock on the
        wall.
        """
        with self._lock:
            read = {(each.resource, each.kind): each for each in readings}
            gone = [key for key, alarm in self._alarms.items() if not alarm.cleared and key not in read]
            changed = [self._put(replace(self._alarms[key], cleared=True), label_s) for key in gone]
            self._since = {key: since for key, since in self._since.items() if key in read}
            changed += [alarm for each in read.values() if (alarm := self._judge(each, now_s, label_s))]
            self._drop_oldest()
            return changed

    def _judge(self, reading: Reading, now_s: float, label_s: float) -> Alarm | None:
        key, kind = (reading.resource, reading.kind), KINDS[reading.kind]
        alarm = self._alarms.get(key)
        stands = alarm is not None and not alarm.cleared
        if reading.there is None or reading.there == stands:
            self._since.pop(key, None)
            if alarm is None or not stands or reading.there is None or _says(alarm.text) == _says(reading.text):
                return None
            return self._put(replace(alarm, text=reading.text), label_s)
        since = self._since.setdefault(key, _Since(reading.there, now_s))
        if now_s - since.at_s < (kind.raise_s if reading.there else kind.clear_s):
            return None
        del self._since[key]
        if alarm is not None and stands:
            return self._put(replace(alarm, cleared=True), label_s)
        raised = self._put(_raised(alarm, reading, kind, label_s), label_s)
        return None if reading.silent else raised

    def _put(self, alarm: Alarm, label_s: float) -> Alarm:
        alarm = replace(alarm, changed_s=label_s)
        self._alarms[alarm.resource, alarm.kind] = alarm
        self.changed_s = label_s
        return alarm

    def forget(self, which: Callable[[Alarm], bool], label_s: float) -> list[Alarm]:
        """Delete the alarms that *which* names; return those that stood, as cleared."""
        with self._lock:
            stood = [alarm for alarm in self._alarms.values() if which(alarm) and not alarm.cleared]
            cleared = [self._put(replace(alarm, cleared=True), label_s) for alarm in stood]
        self.purge(which)
        return cleared

    def _drop_oldest(self) -> None:
        cleared = sorted((a.changed_s, key) for key, a in self._alarms.items() if a.cleared)
        for _, key in cleared[: max(0, len(cleared) - _MOST_CLEARED)]:
            del self._alarms[key]

    def purge(self, which: Callable[[Alarm], bool]) -> int:
        """Delete the alarms that *which* names and return how many; one whose condition lasts is raised anew."""
        with self._lock:
            keys = [key for key, alarm in self._alarms.items() if which(alarm)]
            for key in keys:
                del self._alarms[key]
            return len(keys)


def _says(text: str) -> str:
    """Return what a text says without its figures, which are others with each look."""
    return re.sub(r"\d+(\.\d+)?", "", text)


def _raised(before: Alarm | None, reading: Reading, kind: Kind, label_s: float) -> Alarm:
    created_s = before.created_s if before is not None else label_s
    return Alarm(reading.resource, reading.kind, kind.severity, reading.text, created_s, label_s, label_s)
