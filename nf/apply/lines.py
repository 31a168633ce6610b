"""Gateways of fixed lines: the programs are told by which Ethernet addresses they know the frames of lines."""

from __future__ import annotations

from collections.abc import Sequence

from nf.apply.engine import Tables
from nf.apply.transaction import Undo
from nf.sessions.lines import gateway_value
from nf.settings import LineGateway, Settings

__all__ = ["apply", "put"]


def apply(engine: Tables, old: Settings, new: Settings) -> Undo:
    """Tell the programs of other gateways; it holds from the next packet on."""
    put(engine, new.line_gateways)
    return lambda: put(engine, old.line_gateways)


def put(engine: Tables, gateways: Sequence[LineGateway]) -> None:
    """Tell the programs of these gateways and of no others."""
    engine.plane.set_gateways(
        {mac: gateway_value(each.name, by_session=each.pppoe_sessions) for each in gateways for mac in each.macs}
    )
