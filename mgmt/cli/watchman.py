"""The watch over the running function: a look at its state each second, whose alarms are told as events."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from mgmt.netconf.events import AlarmChange, Events
from mgmt.vitals.alarms import Alarm, Alarms
from mgmt.vitals.conditions import read
from nf.apply.vitals import Vitals
from nf.service import Service

__all__ = ["Watchman"]

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_TRIAL_S = 60.0  # between two files that are made in the state directory to see if it takes them


class Watchman:
    """Looks at *service*, keeps *alarms*, and tells *events*, in a thread of its own from `start` to `stop`."""

    def __init__(
        self, service: Service, alarms: Alarms, events: Events, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._service, self._alarms, self._events, self._now_s = service, alarms, events, now_s
        self._before: Vitals | None = None
        self._tried_s = now_s()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for the look that is under way."""
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Look once."""
        vitals = self._vitals(self._now_s())
        for alarm in self._alarms.look(read(vitals, self._before), self._now_s(), time.time()):
            self._events.tell(AlarmChange(alarm))
        self._before = vitals

    def erase(self, names: Collection[str]) -> None:
        """Forget the alarms of subscribers by their published names; those that stand are told to be cleared."""
        named = re.compile(r"\[subscriber=(['\"])(.*?)\1\]")

        def is_theirs(alarm: Alarm) -> bool:
            found = named.search(alarm.resource)
            return found is not None and found[2] in names

        for alarm in self._alarms.forget(is_theirs, time.time()):
            self._events.tell(AlarmChange(alarm))

    def _vitals(self, now_s: float) -> Vitals:
        if now_s - self._tried_s >= _TRIAL_S:
            self._tried_s = now_s
            return self._service.vitals(trial=True)
        unwritable = self._before.unwritable if self._before is not None else ""
        return replace(self._service.vitals(trial=False), unwritable=unwritable)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self.look()
            except Exception as error:
                # The next look may be better; the text may hold a name of the configuration.
                log.error("a look for alarms failed with %s", type(error).__name__)
