"""Alarms of single subscribers, told on the bus, and kept over a restart: what stands is not raised again.

The file has published names and what is in alarm.v1, in the state directory, for its owner alone; and a word under the
key of the pseudonyms, by which the next process sees whether its names are the same. Without a key names die with the
process, and nothing is kept.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from feed.records import RecordBatch
from nf.apply.degraded import Change, Degraded, Standing, columns_of
from nf.apply.engine import Engine
from nf.apply.transaction import Undo
from nf.apps.signatures import Signatures
from nf.errors import BadSettings
from nf.kernel.clock import Clock
from nf.privacy import Pseudonymiser
from nf.publish import Publisher
from nf.settings import Settings

__all__ = ["Alarming", "prepare"]

log = logging.getLogger(__name__)

_FILE = "alarms.json"
_WORD = "alarms"  # no IMSI
_NONE = Standing("", "", "", "", "", 0.0, "", "", 0.0, 0.0, 0.0, 0.0, 0)
_MOST_BYTES = 1 << 22  # of a file that is read: a thousand alarms have 400 kB


def prepare(engine: Engine, old: Settings, new: Settings) -> None:
    """Raise BadSettings when a threshold is for an application that does not exist with the new ones."""
    wanted = [each.application for each in new.degradations.thresholds if each.application]
    if not wanted:
        return
    signatures = engine.pipeline.signatures
    if new.applications != old.applications:
        signatures = Signatures.load(new.applications, before=signatures)
    for name in wanted:
        if not signatures.number(name):
            raise BadSettings(
                f"No application is named {name}.",
                f"/snf-alarms:subscriber-alarms/application[name='{name}']",
                "Add it under applications, or use a name of the signature file.",
            )


class Alarming:
    """The alarms of one function; *folder* None: nothing is kept."""

    def __init__(self, publisher: Publisher, clock: Clock, folder: Path | None) -> None:
        self.degraded = Degraded()
        self._publisher, self._clock = publisher, clock
        self._path = folder / _FILE if folder is not None else None
        self._recalled = False
        self._names: Pseudonymiser | None = None  # while there is a key

    def apply(self, old: Settings, new: Settings) -> Undo:
        """Judge by the thresholds of *new* from now on."""
        return self.degraded.apply(old, new)

    def see(self, batch: RecordBatch) -> None:
        """Compare the records of a class with its thresholds."""
        self.degraded.see(batch)

    def turn(self, now_s: float) -> None:
        """End the interval."""
        self._tell(self.degraded.turn(now_s))

    def forget(self, names: Collection[str]) -> None:
        """Forget subscribers by their published names."""
        self._tell(self.degraded.forget(names))

    def named_by(self, before: Pseudonymiser, now: Pseudonymiser, *, lasting: bool) -> None:
        """Follow the names of the function; *lasting*: the next process will have them, too.

        Alarms under other names are over. With the first names that last, those of the process before are taken back.
        """
        if not now.names_as(before):
            self._tell(self.degraded.forget())
        self._names = now if lasting else None
        if self._names is not None and not self._recalled:
            self._recalled = True
            self._recall(self._names)

    def _tell(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        self._publish(changes)
        self._keep()

    def _publish(self, changes: Sequence[Change]) -> None:
        standing = [Change(True, alarm) for alarm in self.degraded.standing]
        now_s, label_s = self._clock.now_s(), self._clock.label_s
        told, stands = columns_of(changes, now_s, label_s), columns_of(standing, None, label_s)
        self._publisher.publish_alarms(told, stands, label_s(now_s))

    # -- over a restart ----------------------------------------------------

    def _keep(self) -> None:
        if self._path is None or self._names is None:
            return
        kept = {"names": f"{self._names.tag(_WORD):016x}", "alarms": [asdict(each) for each in self.degraded.standing]}
        fresh = self._path.with_suffix(".new")
        try:
            with suppress(FileNotFoundError):
                fresh.unlink()
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(kept, file)
            fresh.replace(self._path)
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error.strerror)

    def _recall(self, names: Pseudonymiser) -> None:
        if self._path is None or not self._path.exists():
            return
        try:
            with self._path.open(encoding="utf-8") as file:
                kept = json.loads(file.read(_MOST_BYTES))
            alarms = [_alarm(row) for row in kept["alarms"]]
            valid = kept["names"] == f"{names.tag(_WORD):016x}"
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s is not read, alarms that stood are raised again: %s", self._path, type(error).__name__)
            return
        self.degraded.recall(alarms, self._clock.now_s(), valid=valid)
        if alarms:
            self._publish([])


def _alarm(row: dict[str, object]) -> Standing:
    """Return an alarm that was kept. Raises TypeError, ValueError or KeyError when it is none."""
    return Standing(**{name: type(value)(row[name]) for name, value in asdict(_NONE).items()})
