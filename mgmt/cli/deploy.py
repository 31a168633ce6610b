"""Commands of a first port: ``snf config check``.

Each looks at all that it was given before it changes anything, and says in one sentence what it does not take.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from mgmt.cli.options import EXISTING

__all__ = ["COMMANDS"]


@click.group()
def config() -> None:
    """Look at configuration files."""


@config.command()
@click.argument("file", type=EXISTING)
@click.option("--users", type=EXISTING, help="Users file; the one beside FILE, when there is one.")
@click.option("--here", is_flag=True, help="What this host lacks is wrong: without, it is a warning.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def check(file: Path, users: Path | None, here: bool, output: str) -> None:
    """Say all that is wrong with a startup configuration, and change nothing.

    With the users file and the keys beside it. Ends with 1 when it cannot be used.
    """
    from mgmt.cli import check as checks

    beside = file.parent / "users"
    report = checks.look(file)
    if report.settings is not None:
        report.faults += checks.look_at_ports(report, warning=not here)
    known = checks.look_beside(report, users or (beside if beside.is_file() else None), file.parent / "keys")
    if output == "json":
        told = [checks.as_json(fault) for fault in report.faults]
        click.echo(json.dumps({"file": str(file), "ok": not report.errors, "faults": told}))
    else:
        for line in checks.lines(report, str(file), known):
            click.echo(line)
    sys.exit(1 if report.errors else 0)


COMMANDS: Sequence[Any] = (config,)
