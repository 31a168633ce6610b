"""The engine that settings are put in force on: data plane, sessions and pipeline, sized by the limits, with locks.

Other limits make all three anew, so a holder of an `Engine` asks it for them each time. Locks are taken in the order
interfaces, `sweeping`, `tables`.
"""

from __future__ import annotations

import threading
from typing import Protocol

from nf.apps.signatures import Signatures
from nf.errors import Unsupported
from nf.kernel.clock import Clock
from nf.kernel.dataplane import DataPlane
from nf.naming.inference import TURN_S
from nf.pipeline import Distribution, Pipeline, Shards, Sink
from nf.privacy import Pseudonymiser
from nf.sessions import BindingStore
from nf.sessions.restart.statedir import StateDir
from nf.sessions.restart.takeover import Takeover
from nf.settings import Limits, Settings

__all__ = ["Engine", "Tables"]


class Tables(Protocol):
    """A data plane, its sessions and its stages: those of the function, or of a replay."""

    @property
    def plane(self) -> DataPlane:
        """The data plane."""

    @property
    def store(self) -> BindingStore:
        """The sessions."""

    @property
    def pipeline(self) -> Pipeline | Shards:
        """The stages."""


class Engine:
    """Data plane, sessions and pipeline of one function. *held* is its state directory, *sink* gets the records."""

    plane: DataPlane
    store: BindingStore
    pipeline: Pipeline | Shards
    distribution: Distribution

    def __init__(self, sink: Sink, clock: Clock, held: StateDir | None) -> None:
        self._sink, self._clock, self._held = sink, clock, held
        self.takeover: Takeover | None = None
        self.sweeping = threading.Lock()  # a sweep, or a change of what it uses
        self.tables = threading.Lock()  # store and kernel tables change together
        self.random = Pseudonymiser(b"", 0)  # names while no key is configured
        self.pseudonymiser = self.random
        self.build(Settings())

    def build(self, settings: Settings) -> None:
        """Make all three; the caller has closed those before them."""
        self.limits = settings.limits  # in force
        self.plane = _plane(settings.limits)
        if self.plane.taken_over:
            self.takeover = Takeover(self._clock, self._held, self.plane)
        self.plane.economy = True
        self.store = BindingStore(settings.limits.sessions, self.plane.first_session, pseudonymiser=self.pseudonymiser)
        self.distribution = Distribution(self.plane, self.store)
        self.pipeline = self._pipeline(settings)
        self.pipeline.set_profiles(settings.profiles)

    def _pipeline(self, settings: Settings) -> Pipeline | Shards:
        parts = self.plane, Signatures.load(settings.applications), self.store, self.pseudonymiser, self._sink
        offset_s = self._clock.offset_s
        if settings.limits.shards > 1:
            return Shards(settings.limits.shards, *parts, clock_offset_s=offset_s, turn_s=TURN_S)
        pipeline = Pipeline(*parts, clock_offset_s=offset_s)
        pipeline.naming.inference.turn_s = TURN_S
        if settings.naming_workers:
            pipeline.read_names_in(settings.naming_workers)
        return pipeline


def _plane(limits: Limits) -> DataPlane:
    """Return a data plane with tables of these sizes. Raises SnfError."""
    try:
        return DataPlane(limits, tails_later=True)
    except OSError as error:
        said = f"No tables are made for {limits.flows:,} flows and {limits.sessions:,} sessions: {error.strerror}."
        remedy = "Lower limits/flows and limits/sessions, or give it more memory and tasks (MemoryMax=, TasksMax=)."
        raise Unsupported(said, remedy) from None
