"""``snf memory``: what the limits of a configuration take, and the lines of the unit that follow from them."""

from __future__ import annotations

import click

from nf.apply.memory import table_bytes, unit_bytes
from nf.settings import Limits

__all__ = ["drop_in", "show"]

_DROP_IN = "/etc/systemd/system/supernetflow.service.d/memory.conf"


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
    click.echo(f"to set it:  snf memory FILE --unit >{_DROP_IN}; systemctl daemon-reload")
