"""Naming: the operator's applications, and the processes that read names."""

from __future__ import annotations

from nf.apply import policies
from nf.apply.engine import Engine
from nf.apply.transaction import Undo
from nf.apps.signatures import Signatures
from nf.settings import Application, Settings

__all__ = ["apply_applications", "apply_workers"]


def apply_applications(engine: Engine, old: Settings, new: Settings) -> Undo:
    """Name by the signatures of the new applications; the policies are put in force after them.

    Going back loads the old signatures again, because flows may carry numbers of a refused change, and then puts the
    old policies in force: a policy of a class is written for each application of that class.
    """
    _use(engine, new.applications)

    def go_back() -> None:
        _use(engine, old.applications)
        with engine.sweeping:
            policies.put(engine.pipeline, old.policies, old.groups)

    return go_back


def _use(engine: Engine, applications: tuple[Application, ...]) -> None:
    signatures = Signatures.load(applications, before=engine.pipeline.signatures)
    with engine.sweeping:
        engine.pipeline.use(signatures)


def apply_workers(engine: Engine, old: Settings, new: Settings) -> Undo:
    """Read names in the configured number of processes."""

    def read_in(workers: int) -> None:
        with engine.sweeping:
            engine.pipeline.read_names_in(workers)

    read_in(new.naming_workers)
    return lambda: read_in(old.naming_workers)
