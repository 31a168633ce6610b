"""Limits: the sizes of the kernel's tables, and the rate at which flows without a session may begin.

Sizes and shards are fixed once traffic or sessions are in the tables: a change then waits for the next start.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from nf.apply import lines, memory, policies
from nf.apply.engine import Engine
from nf.apply.interfaces import Interfaces
from nf.apply.transaction import Undo
from nf.errors import BadSettings, SnfError
from nf.settings import Limits, Settings

__all__ = ["apply"]

log = logging.getLogger(__name__)


def apply(engine: Engine, interfaces: Interfaces, old: Settings, new: Settings) -> Undo:
    """Put limits in force, as far as possible now; raises BadSettings when the kernel refuses the sizes."""
    if replace(old.limits, unknown_flows_per_s=new.limits.unknown_flows_per_s) != new.limits:
        memory.check(new.limits)
        if said := memory.complaint(new.limits, memory.allowed_bytes()):
            log.warning("%s", said)
        if not engine.plane.attached and not interfaces.waiting and not len(engine.store):
            _resize(engine, interfaces, old, new.limits)
            return lambda: _resize(engine, interfaces, old, old.limits)
        log.warning("the table sizes and the number of shards take effect at the next start")
    _limit_unknown(engine, new.limits)
    return lambda: _limit_unknown(engine, old.limits)


def _limit_unknown(engine: Engine, limits: Limits) -> None:
    """Put the rate of *limits* in force; by default it is a share of the table that there is."""
    engine.limits = replace(engine.limits, unknown_flows_per_s=limits.unknown_flows_per_s)
    engine.plane.limit_unknown(engine.limits)


def _resize(engine: Engine, interfaces: Interfaces, settings: Settings, limits: Limits) -> None:
    """Make tables of the sizes of *limits*, with all else by *settings*; if they are refused, its limits hold again."""
    with interfaces.lock, engine.sweeping, engine.tables:
        engine.pipeline.close()
        engine.plane.close(leave_behind=True)
        try:
            engine.build(replace(settings, limits=limits))
        except SnfError as error:
            engine.build(settings)
            raise BadSettings(error.what, "/snf-function:network-function/limits", error.remedy) from None
        finally:
            interfaces.plane = engine.plane
            policies.put(engine.pipeline, settings.policies, settings.groups)
            lines.put(engine, settings.line_gateways)
            engine.plane.set_monitor(settings.monitor)
