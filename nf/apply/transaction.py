"""From one configuration to another, wholly or not at all.

A part of the settings puts itself in force and returns its inverse. When a later part fails, the inverses run from the
last to the first, so that the function is either as the new settings say or as it was. Before that a part can be asked
whether it could, and afterwards whether the kernel has what was written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from nf.errors import SnfError
from nf.settings import Settings, diff

__all__ = ["Part", "Undo", "change", "go_back", "prepare", "verify"]

log = logging.getLogger(__name__)

Undo = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Part:
    """One part: the fields of `Settings` that concern it, and the function that puts them in force.

    *apply* takes the old and the new settings and returns the inverse. It raises SnfError, BadSettings where the path
    is known, and then it has changed nothing. *prepare* raises what *apply* would, as far as that can be known without
    touching traffic; *verify* reads back what the kernel has and returns what differs, in sentences.
    """

    fields: frozenset[str]
    apply: Callable[[Settings, Settings], Undo]
    prepare: Callable[[Settings, Settings], object] | None = None
    verify: Callable[[Settings, Settings], Iterable[str]] | None = None


def go_back(inverse: Undo) -> None:
    """Undo a step of a refused change; an SnfError is logged, so that the other steps are undone as well."""
    try:
        inverse()
    except SnfError as error:
        log.error("a part of a refused configuration stays: %s", error)


def change(parts: Sequence[Part], old: Settings, new: Settings, at_last: Callable[[], object]) -> None:
    """Put the parts that differ in force, in their order, then call *at_last*; raises what one of them raises."""
    changed = diff(old, new).keys()
    with ExitStack() as undo:
        for part in parts:
            if part.fields & changed:
                undo.callback(go_back, part.apply(old, new))
        at_last()
        undo.pop_all()


def prepare(parts: Sequence[Part], old: Settings, new: Settings) -> None:
    """Ask the parts that differ whether they could be put in force; raises what one of them raises."""
    changed = diff(old, new).keys()
    for part in parts:
        if part.prepare is not None and part.fields & changed:
            part.prepare(old, new)


def verify(parts: Sequence[Part], old: Settings, new: Settings) -> list[str]:
    """Return what the kernel has not as *new* says, of the parts that differ from *old*."""
    changed = diff(old, new).keys()
    asked = [part.verify for part in parts if part.verify is not None and part.fields & changed]
    return [said for ask in asked for said in ask(old, new)]
