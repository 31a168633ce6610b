"""Keys that a person presses while a screen is live, without a return behind them."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Keyboard"]

_MOST = 64  # bytes that are read at once: an arrow key sends three


class Keyboard:
    """The terminal that commands are typed in; without one no key is ever pressed."""

    def __init__(self) -> None:
        self.there = sys.stdin is not None and sys.stdin.isatty() and _in_front(sys.stdin.fileno())

    @contextmanager
    def opened(self) -> Iterator[Keyboard]:
        """Take single keys without showing them; the terminal is as before at the end. Ctrl-C interrupts as ever."""
        if not self.there:
            yield self
            return
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)
            yield self
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

    def pressed(self) -> str:
        """Return the keys since the last call; those that send an escape sequence are none."""
        if not self.there or not select.select([sys.stdin], [], [], 0)[0]:
            return ""
        read = os.read(sys.stdin.fileno(), _MOST)
        return "" if read.startswith(b"\x1b") else read.decode(errors="ignore")


def _in_front(descriptor: int) -> bool:
    """Say whether this process may ask the terminal: one in the background, as of timeout(1), would be stopped."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:  # a terminal of another session
        return False
