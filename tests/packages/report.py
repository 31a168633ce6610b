"""The report: each thing that was shown, told while it comes and as a table at the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lab.net import LabError
from nf.errors import SnfError

__all__ = ["Report", "Stopped"]


class Stopped(Exception):
    """Nothing more can be shown."""


class Report:
    """Rows of what was shown, with the seconds that it took; a row that does not hold makes the whole not well."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._rows: list[tuple[bool, str, float, str]] = []

    @property
    def ok(self) -> bool:
        """True if something was shown, and all of it holds."""
        return bool(self._rows) and all(holds for holds, *_ in self._rows)

    def say(self, text: str) -> None:
        """Print a line of progress."""
        print(f"{time.monotonic() - self._begun:6.1f} s  {text}", flush=True)

    def row(self, what: str, holds: object, text: str, seconds: float = 0.0) -> None:
        """Note and print a row."""
        self._rows.append((bool(holds), what, seconds, text))
        self.say(f"{what}: {text}{'' if holds else '  WRONG'}")

    @contextmanager
    def step(self, what: str, *, needed: bool = False) -> Iterator[list[str]]:
        """Do a step, the text of whose row is what is appended to the list. One that fails is a row, too.

        Raises Stopped when it failed and is *needed* for what follows.
        """
        self.say(f"{what} ...")
        begun, said = time.monotonic(), list[str]()
        try:
            yield said
        except (AssertionError, LabError, SnfError, OSError, ValueError) as why:
            self.row(what, False, "; ".join([*said, str(why) or "does not hold"]), time.monotonic() - begun)
            if needed:
                raise Stopped from None
        else:
            self.row(what, True, "; ".join(said), time.monotonic() - begun)

    def show(self) -> None:
        """Print the table."""
        print(f"\n{'all well' if self.ok else 'NOT WELL'} after {time.monotonic() - self._begun:.0f} s")
        for holds, what, seconds, text in self._rows:
            lines = text.splitlines() or [""]
            print(f"  {'ok' if holds else 'WRONG':6}{what:34}{f'{seconds:7.1f} s' if seconds else '':11}{lines[0]}")
            for line in lines[1:]:
                print(f"{'':51}{line}")
