"""The monitor port, which gets what mirror ports receive."""

from __future__ import annotations

from nf.apply.engine import Engine
from nf.apply.transaction import Undo
from nf.errors import BadSettings, SnfError
from nf.kernel.links import find
from nf.settings import Interface, Role, Settings

__all__ = ["apply", "prepare"]


_PATH = "/snf-policies:policies/monitor/interface"


def prepare(_old: Settings, new: Settings) -> None:
    """Raise BadSettings when there is no such port, or when it is one that is read."""
    if new.monitor is None:
        return
    try:
        link = find(Interface(new.monitor.interface, Role.N6))
    except SnfError as error:
        raise BadSettings(error.what, _PATH, error.remedy) from None
    for port in new.interfaces:
        if port.role.counts and (port.mac.lower() == link.mac if port.mac else port.name == link.name):
            said = f"Interface {link.name} is read already."
            raise BadSettings(said, _PATH, "Choose another one for the monitor port.")


def apply(engine: Engine, old: Settings, new: Settings) -> Undo:
    """Send packets to another port; raises BadSettings when it cannot be used."""
    try:
        engine.plane.set_monitor(new.monitor)
    except SnfError as error:
        raise BadSettings(error.what, _PATH, error.remedy) from None
    return lambda: engine.plane.set_monitor(old.monitor)
