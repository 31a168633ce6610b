"""``snf web``: the page over the files of the collector."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import click

from mgmt.cli import beside, inputs, journal
from mgmt.cli.options import PATH

__all__ = ["COMMANDS"]


@click.command()
@click.option(
    "--folder",
    type=PATH,
    default=Path("/var/lib/supernetflow-collector"),
    show_default=True,
    help="That of snf collect.",
)
@click.option(
    "--listen",
    default="127.0.0.1:8080",
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Where the page is; port 0 takes a free one.",
)
@click.option(
    "--token-file", type=PATH, help="File with the token that readers show; needed on any but the loopback address."
)
@click.option("--name", "names", multiple=True, help="Name of this host that browsers may use, beside its addresses.")
def web(folder: Path, listen: str, token_file: Path | None, names: tuple[str, ...]) -> None:
    """Show the files of snf collect on a page for a browser, until SIGTERM or Ctrl-C."""
    beside.needed()
    address, port = inputs.endpoint(listen)
    logging.basicConfig(level=logging.WARNING, handlers=[journal.handler()])
    from history.web.serve import serve
    from nf.kernel import manager

    def ready(where: str) -> None:
        said = f"The page is at {where}"
        click.echo(said)
        manager.tell(READY=1, STATUS=said)

    manager.begin()
    serve(folder, address, port, token_file, names, ready)


COMMANDS: Sequence[click.Command] = (web,)
