"""Export: the place where records are published, and the name of the function in them."""

from __future__ import annotations

from nf.apply.transaction import Undo
from nf.errors import BadSettings, SnfError
from nf.publish import Publisher, bindable
from nf.settings import Settings

__all__ = ["apply", "apply_nf_id", "prepare"]

_ENDPOINT = "/snf-export:exporter/endpoint"


def prepare(publisher: Publisher, old: Settings, new: Settings) -> None:
    """Raise BadSettings when the new endpoint cannot be bound."""
    if new.export.endpoint != old.export.endpoint:
        try:
            bindable.check(new.export.endpoint, publisher.endpoint)
        except SnfError as error:
            raise BadSettings(error.what, _ENDPOINT, error.remedy) from None


def apply(publisher: Publisher, old: Settings, new: Settings) -> Undo:
    """Publish as the new export settings say; raises BadSettings when they cannot be used."""
    try:
        publisher.reconfigure(new.export)
    except SnfError as error:
        path = _ENDPOINT if new.export.endpoint != old.export.endpoint else "/snf-export:exporter"
        raise BadSettings(error.what, path, error.remedy) from None
    return lambda: publisher.reconfigure(old.export)


def apply_nf_id(publisher: Publisher, old: Settings, new: Settings) -> Undo:
    """Publish under the new name of the function."""
    publisher.rename(new.nf_id)
    return lambda: publisher.rename(old.nf_id)
