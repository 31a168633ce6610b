"""Export: the place where records are published, and the name of the function in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from nf.apply.transaction import Undo
from nf.errors import BadSettings, SnfError
from nf.publish import Publisher, bindable
from nf.settings import Settings

__all__ = ["apply", "apply_nf_id", "prepare", "started"]

_EXPORTER = "/snf-export:exporter"
_ENDPOINT = "/snf-export:exporter/endpoint"
_SNAPSHOTS = "/snf-export:exporter/snapshot-endpoint"


def prepare(publisher: Publisher, old: Settings, new: Settings) -> None:
    """Raise BadSettings when the new endpoint, or that of snapshots, cannot be bound."""
    asked = (
        (_ENDPOINT, old.export.endpoint, new.export.endpoint, publisher.endpoint),
        (_SNAPSHOTS, old.export.snapshot_endpoint, new.export.snapshot_endpoint, publisher.snapshot_endpoint),
    )
    for path, before, wanted, bound in asked:
        if wanted not in ("", before):
            try:
                bindable.check(wanted, bound)
            except SnfError as error:
                raise BadSettings(error.what, path, error.remedy) from None


@contextmanager
def started(publisher: Publisher, new: Settings) -> Iterator[None]:
    """Start a publisher that was not: its first bind is of *new*'s endpoint. It is stopped when what is within fails.

    Raises BadSettings when the export settings cannot be used.
    """
    if publisher.started:
        yield
        return
    before = publisher.export, publisher.nf_id
    publisher.reconfigure(new.export)
    publisher.rename(new.nf_id)
    with ExitStack() as undo:
        undo.callback(publisher.rename, before[1])
        undo.callback(publisher.reconfigure, before[0])
        try:
            publisher.start()
        except SnfError as error:
            raise _refused(error, new) from None
        undo.callback(publisher.stop)
        yield
        undo.pop_all()


def apply(publisher: Publisher, old: Settings, new: Settings) -> Undo:
    """Publish as the new export settings say; raises BadSettings when they cannot be used."""
    try:
        publisher.reconfigure(new.export)
    except SnfError as error:
        raise _refused(error, new) from None
    return lambda: publisher.reconfigure(old.export)


def _refused(error: SnfError, new: Settings) -> BadSettings:
    named = {_SNAPSHOTS: new.export.snapshot_endpoint, _ENDPOINT: new.export.endpoint}
    path = next((p for p, endpoint in named.items() if endpoint and f"{endpoint}:" in error.what), _EXPORTER)
    return BadSettings(error.what, path, error.remedy)


def apply_nf_id(publisher: Publisher, old: Settings, new: Settings) -> Undo:
    """Publish under the new name of the function."""
    publisher.rename(new.nf_id)
    return lambda: publisher.rename(old.nf_id)
