"""``snf watch`` and ``snf top``: the commands; `mgmt.cli.watch` does what they say."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from mgmt.cli import inputs
from mgmt.cli.filters import Filters, filter_options
from mgmt.cli.options import bus_options
from mgmt.cli.view import view_options
from nf.errors import SnfError

__all__ = ["COMMANDS"]

_EPILOG = "The words of the screen are explained in docs/words.md (/usr/share/doc/supernetflow)."
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
_FEED = click.argument("feed", required=False, type=_FILE)


def _screen(sort: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in (view_options(sort), filter_options, bus_options, _FEED):
            command = option(command)
        return command

    return add


@click.command(epilog=_EPILOG)
@_screen("subscriber")
def watch(feed: Path | None, endpoint: str, curve_file: Path | None, **options: Any) -> None:
    """Show what a running function publishes; with --subscriber one subscriber in detail, flow by flow.

    FEED is a saved feed instead: a file that snf watch --output json wrote, or - for standard input.
    """
    _run("watch", feed, endpoint, curve_file, **options)


@click.command(epilog=_EPILOG)
@_screen("score")
def top(feed: Path | None, endpoint: str, curve_file: Path | None, **options: Any) -> None:
    """Show the subscribers with the worst experience first.

    FEED is a saved feed instead: a file that snf watch --output json wrote, or - for standard input.
    """
    _run("top", feed, endpoint, curve_file, **options)


def _run(
    name: str, feed: Path | None, endpoint: str, curve_file: Path | None, *, filters: Filters, **options: Any
) -> None:
    if feed is not None:
        from mgmt.cli import watch as view

        with _opened(feed) as descriptor:
            sys.exit(view.replayed(descriptor, filters=filters, title=f"snf {name}", **options))
    curve = inputs.curve_keys(curve_file)
    from mgmt.cli import watch as view

    if name == "top":
        sys.exit(view.top(endpoint, curve=curve, filters=filters, **options))
    sys.exit(view.watch(endpoint, curve=curve, filters=filters, subscriber=filters.subscriber, **options))


@contextmanager
def _opened(feed: Path) -> Iterator[int]:
    """Give a descriptor of a saved feed; raises SnfError when there is none."""
    if str(feed) == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise SnfError("There is no feed on standard input.", "Give one, as in: snf top - < records.jsonl")
        yield sys.stdin.fileno()
        return
    descriptor = os.open(feed, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


COMMANDS = (watch, top)
