"""From one configuration to another, wholly or not at all.

A part of the settings puts itself in force and returns its inverse. When a later part fails, the inverses run from the
last to the first, so that the function is either as the new settings say or as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from nf.errors import SnfError
from nf.settings import Settings, diff

__all__ = ["Part", "Undo", "change", "go_back"]

log = logging.getLogger(__name__)

Undo = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Part:
    """One part: the fields of `Settings` that concern it, and the function that puts them in force.

    *apply* takes the old and the new settings and returns the inverse. It raises SnfError, BadSettings where the path
    is known, and then it has changed nothing.
    """

    fields: frozenset[str]
    apply: Callable[[Settings, Settings], Undo]


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
