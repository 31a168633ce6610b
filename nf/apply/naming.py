"""Naming: the operator's applications, and the processes that read names."""

from __future__ import annotations

from nf.apply import policies
from nf.apply.engine import Engine
from nf.apply.transaction import Undo
from nf.apps.signatures import Signatures
from nf.settings import Application, Settings

__all__ = ["apply_applications", "apply_workers", "reload"]


def apply_applications(engine: Engine, old: Settings, new: Settings) -> Undo:
    """Name by the signatures of the new applications; the new policies are put in force after them.

    Going back loads the old signatures again, because flows may carry numbers of a refused change.
    """
    _use(engine, new.applications, old)
    return lambda: _use(engine, old.applications, old)


def reload(engine: Engine, settings: Settings) -> int:
    """Name by the signature files as they are now, and return how many applications these know.

    Raises BadSignatures with file and line, or BadSettings when a policy names an application that is not in them; then
    nothing has changed.
    """
    signatures = Signatures.load(settings.applications, before=engine.pipeline.signatures)
    policies.check(settings.policies, signatures)
    _name_by(engine, signatures, settings)
    return len(signatures)


def _use(engine: Engine, applications: tuple[Application, ...], in_force: Settings) -> None:
    """Name by other signatures, with the policies *in_force*: a sweep knows one for each application, and one of a
    class is for each application of that."""
    _name_by(engine, Signatures.load(applications, before=engine.pipeline.signatures), in_force)


def _name_by(engine: Engine, signatures: Signatures, in_force: Settings) -> None:
    with engine.sweeping:
        engine.pipeline.use(signatures)
        policies.put(engine.pipeline, in_force.policies, in_force.groups)


def apply_workers(engine: Engine, old: Settings, new: Settings) -> Undo:
    """Read names in the configured number of processes."""

    def read_in(workers: int) -> None:
        with engine.sweeping:
            engine.pipeline.read_names_in(workers)

    read_in(new.naming_workers)
    return lambda: read_in(old.naming_workers)
