"""``snf memory``: what the limits of a configuration take, and the lines of the unit that follow from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import click

from mgmt.cli.inputs import configuration
from nf.apply.memory import complaint, service_bytes, table_bytes, unit_bytes
from nf.doctor import Check
from nf.errors import SnfError
from nf.settings import Limits, Settings

__all__ = ["checks", "drop_in", "show"]

# Of the service: the first that is there counts.
_CONFIGURATIONS = (Path("/var/lib/supernetflow/running.xml"), Path("/etc/supernetflow/startup.xml"))

_DROP_INS = "/etc/systemd/system/supernetflow.service.d"
_SET = f"mkdir -p {_DROP_INS}; snf memory FILE --unit >{_DROP_INS}/memory.conf; systemctl daemon-reload"


def drop_in(limits: Limits) -> str:
    """Return the text of a drop-in that gives the unit the memory for *limits*."""
    head = f"# For {limits.flows:,} flows, {limits.sessions:,} sessions and {limits.shards} shards: snf memory --unit"
    return f"{head}\n[Service]\nMemoryMax={unit_bytes(limits) >> 20}M\n"


def show(limits: Limits | None, *, unit: bool) -> None:
    """Print the memory of *limits*, by default those of the function, or with *unit* the drop-in alone."""
    limits = limits or Limits()
    if unit:
        click.echo(drop_in(limits), nl=False)
        return
    click.echo(f"tables of the kernel   {table_bytes(limits) / 1e6:,.0f} MB for {limits.flows:,} flows, ", nl=False)
    click.echo(f"{limits.sessions:,} sessions")
    click.echo(f"all that a unit needs  MemoryMax={unit_bytes(limits) >> 20}M, with user space and room to spare")
    click.echo(f"to set it:  {_SET}")


def checks(places: Sequence[Path] = _CONFIGURATIONS) -> Iterator[Check]:
    """Yield a check of the installed service's memory, when it has a limit, against its tables."""
    allowed = service_bytes()
    if allowed is None:
        return
    settings = None
    with suppress(SnfError, OSError):  # what is wrong with a configuration is for snf config check
        settings = configuration(next((path for path in places if path.exists()), None))
    said = complaint((settings or Settings()).limits, allowed)
    fact = said or f"{allowed / 1e6:,.0f} MB"
    yield Check("memory of the service", not said, fact, f"Run: {_SET}", required=False)
