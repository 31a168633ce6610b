"""Waits: for a condition, while the process that would fulfil it lives, by the clock of a machine that has time.

    wait_until(file.exists, "gnb is up", check=lab.check)     returns what became true
    comes_true(file.exists, 5)                                the same, said instead of raised
    Patience(180)                                             a deadline that a busy machine moves
    slowness()                                                how many times slower than an undisturbed CPU we are now

A fixed number of seconds says nothing: the same start takes six seconds on a quiet machine and forty beside
six busy loops. So a deadline here is the most that a quiet machine would need, times `slowness`, which is
measured when the wait begins and again before it is given up. It is there for a part that hangs; one that died
is told at once by *check*, with its last words.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO, TypeVar

from lab.net import LabError

__all__ = ["Patience", "Progress", "comes_true", "slowness", "wait_until"]

_T = TypeVar("_T")

PATIENCE_S = 60.0  # of a quiet machine; the slowest single start, a cold `snf run`, takes 6
_STEPS = 200_000  # of the loop that is timed
_STEPS_S = 0.018  # they take on an undisturbed CPU: Python 3.11, AMD EPYC family 26 at 2.5 GHz
_VALID_S = 5.0  # time that a measurement is believed: one costs 20 ms
_QUICK_S = 0.005  # between two looks that cost little
_AGAIN_S = 0.03  # between two looks
_PLAIN_EVERY_S = 10.0  # between two lines of progress where lines cannot be overwritten

_measured = (-_VALID_S, 1.0)  # time of the measurement, and its result


def slowness() -> float:
    """Return how many times longer than on an undisturbed CPU a fixed piece of work takes now; at least 1.

    Counts a slow processor, other processes and other guests of the machine alike: wall time of a loop.
    """
    global _measured  # noqa: PLW0603  (the machine is one, and so is what is known of it)
    begun = time.monotonic()
    if begun - _measured[0] >= _VALID_S:
        total = 0
        for i in range(_STEPS):
            total += i * i & 7
        ended = time.monotonic()
        _measured = ended, max(1.0, (ended - begun) / _STEPS_S)
    return _measured[1]


class Patience:
    """A deadline of *seconds* on a quiet machine, from now on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun = time.monotonic()
        self._allowed = seconds * slowness()

    @property
    def passed_s(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._begun

    def left_s(self) -> float:
        """Return the seconds that are left now, at least 0; before it says 0 it asks the machine again."""
        if self.passed_s >= self._allowed:
            self._allowed = max(self._allowed, self._seconds * slowness())
        return max(0.0, self._allowed - self.passed_s)


class Progress:
    """Tells a person the phase and its time so far: one line that changes, or one line now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._drawn_s = time.monotonic()
        self._every_s = 0.2 if self._stream.isatty() else _PLAIN_EVERY_S

    def update(self, text: str, passed_s: float) -> None:
        """Say that *text* goes on."""
        if time.monotonic() - self._drawn_s >= self._every_s:
            self._drawn_s = time.monotonic()
            self._write(f"  {text} ... {passed_s:.0f} s", "\r\033[K" if self._stream.isatty() else "", "")

    def done(self, text: str, passed_s: float) -> None:
        """Say that *text* is over."""
        self._write(f"  {text}: {passed_s:.1f} s", "\r\033[K" if self._stream.isatty() else "", "\n")

    def _write(self, text: str, before: str, after: str) -> None:
        self._stream.write(f"{before}{text}{after if self._stream.isatty() else chr(10)}")
        self._stream.flush()


def comes_true(holds: Callable[[], object], seconds: float = PATIENCE_S) -> bool:
    """Wait until *holds*, and say if it did before a quiet machine would have needed *seconds*."""
    patience = Patience(seconds)
    while not holds():
        if not patience.left_s():
            return False
        time.sleep(_QUICK_S)
    return True


def wait_until(
    holds: Callable[[], _T],
    what: str,
    seconds: float = PATIENCE_S,
    *,
    check: Callable[[], object] = lambda: None,
    last_words: Callable[[], str] = lambda: "",
    progress: Progress | None = None,
    phase: Callable[[], str] = lambda: "",
) -> _T:
    """Wait until *holds* returns something true, and return that.

    *check* raises when a process that is needed has ended. *phase* says how far it is, for *progress*.
    Raises LabError with *last_words* when a quiet machine would have needed less than *seconds*.
    """
    patience = Patience(seconds)
    while not (found := holds()):
        check()
        if not patience.left_s():
            raise LabError(f"Not within {patience.passed_s:.0f} s: {what}. {last_words()}".strip())
        if progress:
            progress.update(": ".join(filter(None, (what, phase()))), patience.passed_s)
        time.sleep(_AGAIN_S)
    if progress:
        progress.done(what, patience.passed_s)
    return found
