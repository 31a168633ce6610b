"""``snf health``: what a running function says of its own parts, as supervisors and people ask for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from dataclasses import dataclass

import click
from lxml import etree

from mgmt.cli.options import Access, netconf_options

__all__ = ["COMMANDS"]

_SPACE = "urn:supernetflow:yang:snf-function"


@dataclass(frozen=True, slots=True)
class Check:
    """One part of the function."""

    name: str
    good: bool
    text: str


@click.command()
@click.option(
    "--check", "names", multiple=True, metavar="NAME", help="Only this one decides; may be given several times."
)
@click.option("--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@netconf_options
def health(access: Access, names: tuple[str, ...], output: str) -> None:
    """Ask a running function for its health. Ends with 1 when a check is bad, with 2 when nothing answers."""
    with access.open() as client:
        found = client.call(f'<health-check xmlns="{_SPACE}"/>')
    checks = [_read(entry) for entry in found.iter(f"{{{_SPACE}}}check")]
    _refuse_unknown(names, {each.name for each in checks})
    asked = [each for each in checks if not names or each.name in names]
    if output == "json":
        told = [{"name": each.name, "good": each.good, "text": each.text} for each in asked]
        click.echo(json.dumps({"healthy": all(each.good for each in asked), "checks": told}))
    else:
        width = max(len(each.name) for each in asked)
        for each in asked:
            click.echo(f"{each.name.ljust(width)}  {'ok ' if each.good else 'BAD'}  {each.text}")
    sys.exit(0 if all(each.good for each in asked) else 1)


def _read(entry: etree._Element) -> Check:
    name, good, text = (entry.findtext(f"{{{_SPACE}}}{leaf}") or "" for leaf in ("name", "good", "text"))
    return Check(name, good == "true", text)


def _refuse_unknown(names: Collection[str], there: Collection[str]) -> None:
    for name in names:
        if name not in there:
            raise click.BadParameter(f"{name} is none of {', '.join(sorted(there))}.", param_hint="--check")


COMMANDS = (health,)
