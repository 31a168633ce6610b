"""Words to the service manager: phases of start and stop, that the function answers, and that it goes on.

A unit's time limits are for what hangs. While a start or a stop makes progress, which is to use the processor, the
manager is asked for more time; so a machine of a tenth of the speed starts as well. Once the function runs, the
watchdog hears of it only while rings are read, intervals end and the publisher turns.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from nf.kernel import manager
from nf.service import Service

__all__ = ["Reporter"]

log = logging.getLogger(__name__)

_EVERY_S = 5.0  # between two looks, at most
_MORE_S = 60  # that the manager is asked to wait for the next word
_BUSY_S = 0.05  # of the processor between two looks; what waits for something uses less
_LONGEST_S = 1800.0  # of one phase: a start under emulation takes minutes
_STATUS_S = 60.0
_BEATS = 4  # words to the watchdog in its time


class Reporter:
    """Tells the service manager, in a thread of its own from `start` until the process ends."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._since_s, self._used_s = time.monotonic(), 0.0
        self._told_s = float("-inf")
        self._where = ""
        every_s = (manager.watchdog_s() or _EVERY_S * _BEATS) / _BEATS
        self._every_s = min(_EVERY_S, every_s)
        self._wake = threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="reporter", daemon=True).start()

    @contextmanager
    def phase(self, what: str) -> Iterator[None]:
        """Tell a phase of the start, and that it takes longer as long as it goes on."""
        self._begin(what)
        yield

    def runs(self, service: Service, where: str) -> None:
        """Tell that the function answers; *where*: how it is reached."""
        self._where = where
        manager.tell(READY=1, STATUS=where)
        self._told_s, self._service = time.monotonic(), service

    def stops(self, what: str) -> None:
        """Tell that the function is about to end."""
        self._service = None
        self._begin(what, STOPPING=1)

    @contextmanager
    def reload(self) -> Iterator[None]:
        """Tell that files are read again, and then that it is done."""
        manager.tell(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)
        try:
            yield
        finally:
            manager.tell(READY=1)

    def _begin(self, what: str, **words: int) -> None:
        self._since_s = time.monotonic()
        manager.tell(STATUS=what, **words, EXTEND_TIMEOUT_USEC=_MORE_S * 1_000_000)

    def _run(self) -> None:
        while True:
            self._wake.wait(self._every_s)
            try:
                self._look(time.monotonic())
            except Exception as error:
                # Nothing is told then, and the watchdog decides; the text may hold a name of the configuration.
                log.error("the service manager could not be told: %s", type(error).__name__)

    def _look(self, now_s: float) -> None:
        service = self._service
        if service is None:
            used_s = time.process_time()
            if used_s - self._used_s >= _BUSY_S and now_s - self._since_s < _LONGEST_S:
                manager.tell(EXTEND_TIMEOUT_USEC=_MORE_S * 1_000_000, WATCHDOG=1)
            self._used_s = used_s
            return
        watchdog_s = manager.watchdog_s()
        if watchdog_s is not None and service.goes_on(watchdog_s / _BEATS):
            manager.tell(WATCHDOG=1)
        if now_s - self._told_s >= _STATUS_S:
            self._told_s = now_s
            manager.tell(STATUS=f"{service.counted()}; {self._where}")
