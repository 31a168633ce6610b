"""The look of rows: their order, groups and words; options and keys in, a value out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import click

__all__ = ["KEYS", "SORTS", "View", "view_options"]

SORTS: Mapping[str, tuple[str, bool]] = {
    "score": ("mos", False),
    "time": ("t_ms", True),
    "up": ("ul_bps", True),
    "down": ("dl_bps", True),
    "access": ("rtt_access_ms", True),
    "core": ("rtt_core_ms", True),
    "loss": ("loss", True),
    "subscriber": ("subscriber", False),
    "application": ("app", False),
    "class": ("class", False),
    "gnb": ("gnb", False),
    "slice": ("slice", False),
    "function": ("nf", False),
}
"""Keys to sort by: the column, and whether the largest comes first. Rows that have none come last."""

GROUPS = ("class", "application", "gnb", "slice", "function")

KEYS = {
    "s": "sort",
    "g": "group",
    "w": "whole names",
    "?": "why -",
    "q": "quit",
}
"""Keys of the live screen, and what they are for."""


@dataclass(frozen=True, slots=True)
class View:
    """The look of the rows."""

    sort: str = "subscriber"
    group: str | None = None
    whole: bool = False  # keys of subscribers are never shortened
    why: bool = False  # reasons of what is missing stand below
    limit: int | None = None  # most rows

    def press(self, key: str) -> View:
        """Return the view after a key."""
        if key in "sS":
            return replace(self, sort=_next([*SORTS], self.sort, 1 if key == "s" else -1))
        if key == "g":
            groups = [None, *GROUPS]
            return replace(self, group=groups[(groups.index(self.group) + 1) % len(groups)])
        if key == "w":
            return replace(self, whole=not self.whole)
        return replace(self, why=not self.why) if key in "?-" else self


def _next(names: Sequence[str], name: str, step: int) -> str:
    return names[(names.index(name) + step) % len(names)]


def view_options(sort: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of a view, which begins with an order; the command gets them as ``view``."""

    def add(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*words: Any, **given: Any) -> None:
            taken = {each.name: given.pop(each.name) for each in fields(View)}
            command(*words, view=View(**taken), **given)

        for option in reversed(_options(sort)):
            run = option(run)
        return run

    return add


def _options(sort: str) -> Sequence[Callable[[Callable[..., None]], Callable[..., None]]]:
    return (
        click.option(
            "--sort",
            type=click.Choice(list(SORTS)),
            default=sort,
            show_default=True,
            help="Order of the rows: the worst, largest or newest first.",
        ),
        click.option("--group", type=click.Choice(GROUPS), help="Rows of one of these together, under a heading."),
        click.option("--limit", type=click.IntRange(1), help="Most rows to show."),
        click.option("--whole", is_flag=True, help="Whole names of subscribers; short ones keep them apart."),
        click.option("--why", is_flag=True, help="Say below why a - stands for a value."),
    )
