"""Forgetting a subscriber: sessions, what trackers know of them, names, and the flows that were the subscriber's.

The configuration is not touched: a session that it has stays. Nor is the subscriber kept from coming back: with the
next attach a session is known again, under the same name while the key is the same. An opt-out is a setting.

What is published already is the consumers', who are told to erase it, by the names in `Purged`. A flow that goes on is
one of an unknown user from its next packet on.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from nf.apply import sessions
from nf.apply.engine import Engine
from nf.apply.interfaces import Interfaces

__all__ = ["Purged", "purge"]


@dataclass(frozen=True, slots=True)
class Purged:
    """The sessions that are forgotten, those that the configuration has, which stay, and names with their epochs."""

    sessions: int
    configured: int
    names: Mapping[str, int] = field(default_factory=dict)


def purge(engine: Engine, interfaces: Interfaces, imsi: str, now_s: float) -> Purged:
    """Forget all of the subscriber *imsi* but what is configured. The caller keeps changes of interfaces out."""
    listeners = list(interfaces.listeners.values())
    with ExitStack() as held:
        # A listener's turn first: its thread has it while it waits for the tables.
        for lock in (*(each.turn for each in listeners), interfaces.lock, engine.sweeping, engine.tables):
            held.enter_context(lock)
        name = engine.pseudonymiser.name(imsi)
        forgotten = engine.store.purge(imsi, now_s)
        for listener in listeners:
            listener.purge(imsi, forgotten.keys)
        sessions.write(engine, forgotten.changes)
        numbers = np.fromiter(forgotten.numbers, np.uint32, len(forgotten.numbers))
        flows = engine.plane.flows
        places = flows.present()
        flows.hold(places[np.isin(flows.at(places)[1]["session"], numbers)])
        engine.pipeline.forget_subscriber(name)
        engine.pseudonymiser.forget(imsi)
        return Purged(len(forgotten.numbers), forgotten.configured, engine.pseudonymiser.names(imsi))
