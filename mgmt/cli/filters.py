"""Filters of records that several commands share: the options, and what they say. `mgmt.cli.sieve` applies them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import click

__all__ = ["EVERYTHING", "Filters", "filter_options"]

_SAID = {"app": "application", "app_class": "class", "gnb": "gNB", "slice": "slice", "subscriber": "subscriber"}


@dataclass(frozen=True, slots=True)
class Filters:
    """Values that a record has to have; None: any. Upper and lower case of an application are one."""

    app: str | None = None
    app_class: str | None = None
    gnb: str | None = None
    slice: str | None = None
    subscriber: str | None = None  # the name, or its beginning
    score_below: float | None = None

    def __bool__(self) -> bool:
        """Say whether there is a filter at all."""
        return any(getattr(self, each.name) is not None for each in fields(self))

    def words(self) -> str:
        """Return the filters as a person reads them."""
        given = [f"{said} {value}" for name, said in _SAID.items() if (value := getattr(self, name)) is not None]
        return ", ".join([*given, *([f"score below {self.score_below:g}"] if self.score_below is not None else [])])


EVERYTHING = Filters()


def filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of the filters; the command gets them as ``filters``."""

    @functools.wraps(command)
    def run(*words: Any, **given: Any) -> None:
        taken = {each.name: given.pop(each.name) for each in fields(Filters)}
        command(*words, filters=Filters(**{name: value or None for name, value in taken.items()}), **given)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


class _AppClass(click.ParamType[str]):
    """A class of applications; their names are looked up when one is given."""

    name = "class"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name of a class, as it is published."""
        from feed.records import APP_CLASSES

        if str(value) not in APP_CLASSES:
            self.fail(f"{value} is no class; there are {', '.join(APP_CLASSES)}.", param, ctx)
        return str(value)


_OPTIONS = (
    click.option("--subscriber", help="Only this subscriber: its name, or the beginning of it."),
    click.option("--app", help="Only this application."),
    click.option("--class", "app_class", type=_AppClass(), help="Only this class of applications."),
    click.option("--slice", help="Only this slice: SST or SST-SD."),
    click.option("--gnb", help="Only this gNB, by its address."),
    click.option("--score-below", type=click.FloatRange(1, 5), help="Only scores below this one, as in 3."),
)
