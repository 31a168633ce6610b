"""The monitor port, which gets what mirror ports receive."""

from __future__ import annotations

from nf.apply.engine import Engine
from nf.apply.transaction import Undo
from nf.errors import BadSettings, SnfError
from nf.settings import Settings

__all__ = ["apply"]


def apply(engine: Engine, old: Settings, new: Settings) -> Undo:
    """Send packets to another port; raises BadSettings when it cannot be used."""
    try:
        engine.plane.set_monitor(new.monitor)
    except SnfError as error:
        raise BadSettings(error.what, "/snf-policies:policies/monitor/interface", error.remedy) from None
    return lambda: engine.plane.set_monitor(old.monitor)
