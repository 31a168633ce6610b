"""A change of the configuration: valid, applied and stored as a whole, or nothing changed.

    validate (YANG) -> bind (settings) -> apply (data plane, publisher) -> store -> swap

Whichever step fails, the steps before it are undone in reverse and the client gets one rpc-error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from lxml import etree

from mgmt.bind import bind
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.rpcerror import RpcError
from nf.errors import BadSettings, SnfError
from nf.settings import Settings

__all__ = ["Applier", "change", "check"]

log = logging.getLogger(__name__)


class Applier(Protocol):
    """The part that puts settings in force: the service."""

    def apply(self, old: Settings, new: Settings) -> None:
        """Change from *old* to *new*, wholly or not at all.

        Raises BadSettings with the path, or SnfError, after having undone its part.
        """


def check(model: Model, tree: etree._Element) -> Settings:
    """Validate *tree* and return its settings. Raises RpcError with the path."""
    values = model.validate(tree)
    try:
        return bind(values)
    except BadSettings as error:
        raise _refused(error) from None


def change(model: Model, applier: Applier, old: Settings, tree: etree._Element, store: Callable[[], None]) -> Settings:
    """Put *tree* in force and return its settings; *store* makes it last and raises OSError when it cannot.

    Raises RpcError; then *old* is in force.
    """
    new = check(model, tree)
    if new != old:
        _apply(applier, old, new)
    try:
        store()
    except OSError as error:
        log.error("the configuration could not be stored: %s", error.strerror)
        if new != old:
            _undo(applier, new, old)
        raise RpcError(
            "operation-failed",
            "The configuration could not be stored, so it was not changed. See the log of the function.",
        ) from None
    return new


def _apply(applier: Applier, old: Settings, new: Settings) -> None:
    try:
        applier.apply(old, new)
    except SnfError as error:
        raise _refused(error) from None
    except Exception as error:
        # Its text may name a subscriber, so neither the log nor the client gets it.
        log.error("applying a configuration failed with %s", type(error).__name__)
        raise RpcError("operation-failed", "The configuration could not be applied; nothing was changed.") from None


def _undo(applier: Applier, new: Settings, old: Settings) -> None:
    try:
        applier.apply(new, old)
    except Exception as error:
        log.error("going back to the configuration before failed with %s", type(error).__name__)
        raise RpcError(
            "rollback-failed",
            "The configuration could not be stored, and going back failed: restart the function.",
        ) from None


def _refused(error: SnfError) -> RpcError:
    path = error.path if isinstance(error, BadSettings) else ""
    return RpcError("operation-failed", str(error), path=path)
