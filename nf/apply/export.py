"""Export: the place where records are published, and the name of the function in them."""

from __future__ import annotations

from nf.apply.transaction import Undo
from nf.publish import Publisher
from nf.settings import Settings

__all__ = ["apply", "apply_nf_id"]


def apply(publisher: Publisher, old: Settings, new: Settings) -> Undo:
    """Publish as the new export settings say."""
    publisher.reconfigure(new.export)
    return lambda: publisher.reconfigure(old.export)


def apply_nf_id(publisher: Publisher, old: Settings, new: Settings) -> Undo:
    """Publish under the new name of the function."""
    publisher.nf_id = new.nf_id
    return lambda: setattr(publisher, "nf_id", old.nf_id)
