"""Naming: the operator's applications, and the processes that read names."""

from __future__ import annotations

from nf.apply.engine import Engine
from nf.apply.transaction import Undo
from nf.apps.signatures import Signatures
from nf.settings import Application, Settings

__all__ = ["apply_applications", "apply_workers"]


def apply_applications(engine: Engine, old: Settings, new: Settings) -> Undo:
    """Name by other signatures. Going back loads the old ones again: flows may carry numbers of a refused change."""
    _use(engine, new.applications)
    return lambda: _use(engine, old.applications)


def _use(engine: Engine, applications: tuple[Application, ...]) -> None:
    signatures = Signatures.load(applications, before=engine.pipeline.signatures)
    with engine.sweeping:
        engine.pipeline.use(signatures)


def apply_workers(engine: Engine, old: Settings, new: Settings) -> Undo:
    """Read names in so many processes."""

    def read_in(workers: int) -> None:
        with engine.sweeping:
            engine.pipeline.read_names_in(workers)

    read_in(new.naming_workers)
    return lambda: read_in(old.naming_workers)
