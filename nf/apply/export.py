"""Export: the place where records are published, and the name of the function in them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from nf.apply.transaction import Undo
from nf.errors import BadSettings, SnfError
from nf.publish import Publisher, bindable
from nf.settings import Settings

__all__ = ["apply", "apply_nf_id", "prepare", "started"]

_ENDPOINT = "/snf-export:exporter/endpoint"


def prepare(publisher: Publisher, old: Settings, new: Settings) -> None:
    """Raise BadSettings when the new endpoint cannot be bound."""
    if new.export.endpoint != old.export.endpoint:
        try:
            bindable.check(new.export.endpoint, publisher.endpoint)
        except SnfError as error:
            raise BadSettings(error.what, _ENDPOINT, error.remedy) from None


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
            raise _refused(error, before[0].endpoint, new) from None
        undo.callback(publisher.stop)
        yield
        undo.pop_all()


def apply(publisher: Publisher, old: Settings, new: Settings) -> Undo:
    """Publish as the new export settings say; raises BadSettings when they cannot be used."""
    try:
        publisher.reconfigure(new.export)
    except SnfError as error:
        raise _refused(error, old.export.endpoint, new) from None
    return lambda: publisher.reconfigure(old.export)


def _refused(error: SnfError, before: str, new: Settings) -> BadSettings:
    path = _ENDPOINT if new.export.endpoint != before else "/snf-export:exporter"
    return BadSettings(error.what, path, error.remedy)


def apply_nf_id(publisher: Publisher, old: Settings, new: Settings) -> Undo:
    """Publish under the new name of the function."""
    publisher.rename(new.nf_id)
    return lambda: publisher.rename(old.nf_id)
