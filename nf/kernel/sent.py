"""Packets that a port sends, read by the same programs as those it receives, at its clsact hook (clsact.py)."""

from __future__ import annotations

import contextlib
from typing import IO

from nf.abi import NEXT_MONITOR
from nf.kernel import clsact, links, objects
from nf.kernel.left import PREFIX
from nf.kernel.programs import SENT, TAILS, Program, Programs

__all__ = ["begin", "end", "load", "on_it"]

_QDISC = "clsact"  # noted in the lock: the qdisc was made for us


def load(programs: Programs, program: str, tail: int | None = None) -> Program:
    """Return the program on what is sent that does as *program* does on what is received, with all its tails.

    *tail*: its own place among these.
    """
    for slot, name in TAILS.items():
        if slot != NEXT_MONITOR:  # nothing that goes out is copied
            programs.load(_name(name), tail=slot)
    return programs.load(_name(program), tail)


def _name(program: str) -> str:
    return SENT + program.removeprefix(PREFIX)


def begin(lock: IO[str], link: links.Link, program: Program) -> int:
    """Read what a port sends, in the place of a program of ours that is there; return the number of the program.

    Raises AttachRefused, and then nothing has changed.
    """
    if clsact.put_on(link.ifindex, link.name, program.fd, program.name):
        links.remember(lock, _QDISC)
    return objects.program_info(program.fd).id


def end(lock: IO[str], link: links.Link) -> None:
    """Leave what a port sends as it was before, also where a process did it that was killed."""
    with contextlib.suppress(OSError):  # the device may be gone
        clsact.take_off(link.ifindex, qdisc=links.remembers(lock, _QDISC))


def on_it(link: links.Link) -> int:
    """Return the number of the program of ours on what a port sends, 0 when there is none."""
    with contextlib.suppress(OSError):
        if (found := clsact.ours(link.ifindex)) is not None:
            return found.program
    return 0
