"""A change of the configuration: valid, applied and stored as a whole, or nothing changed.

    valid      YANG, and what the settings mean together
    prepared   the data plane was asked, without touching traffic
    written    the revision is on disk, and the journal says that it is not in force
    applied    data plane and publisher are as the new settings say
    verified   what the kernel has was read back
    renamed    the next start begins with the new revision

Whichever step fails, the steps before it are undone in reverse and the client gets one rpc-error. Whenever the process
is killed, the next start has the old revision or the new one (`mgmt.netconf.store.config_file`). Each step is a line in
the log of level DEBUG.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from lxml import etree

from mgmt.bind import bind
from mgmt.netconf.model.touched import Since
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.rpcerror import RpcError
from mgmt.netconf.store.config_file import Revision, Store
from nf.errors import BadSettings, SnfError
from nf.settings import Settings

__all__ = ["BULK", "Applier", "Transaction", "check"]

_SUBSCRIBERS = "{urn:supernetflow:yang:snf-subscribers}"
BULK = f"{_SUBSCRIBERS}subscribers", f"{_SUBSCRIBERS}static-session"  # the list that may have thousands of entries

log = logging.getLogger(__name__)


class Applier(Protocol):
    """The part that puts settings in force: the service."""

    def prepare(self, old: Settings, new: Settings) -> None:
        """Check whether *new* could be put in force now, without touching traffic.

        Raises BadSettings with the path, or SnfError.
        """

    def apply(self, old: Settings, new: Settings) -> None:
        """Change from *old* to *new*, wholly or not at all.

        Raises BadSettings with the path, or SnfError, after having undone its part.
        """

    def restore(self, old: Settings, new: Settings) -> None:
        """Change to what was in force before: as `apply`, but what is not there now is waited for."""

    def verify(self, old: Settings, new: Settings) -> Sequence[str]:
        """Read back what the kernel has of what differs from *old*; return what is not as *new* says, in sentences."""


def check(model: Model, tree: etree._Element, since: Since | None = None, before: Settings | None = None) -> Settings:
    """Validate *tree* and return its settings. Raises RpcError with the path.

    With *since*, settings *before* are those of that tree, and static sessions that were not touched are taken from it.
    """
    values = model.validate(tree, since)
    touched = None if since is None or before is None else since.touched.entries(*since.bulk)
    kept = () if touched is None or before is None else [s for s in before.sessions if s.name not in touched]
    try:
        settings = bind(values, kept)
    except BadSettings as error:
        raise _refused(error) from None
    log.debug("a configuration is: valid")
    return settings


class Transaction:
    """Changes what is in force; one at a time, which is the caller's concern."""

    def __init__(self, applier: Applier, store: Store) -> None:
        self._applier, self._store = applier, store

    def prepare(self, old: Settings, new: Settings) -> None:
        """Ask the data plane whether *new* can be put in force. Raises RpcError."""
        if new != old:
            _asked(lambda: self._applier.prepare(old, new), "checked")
        log.debug("a configuration is: prepared")

    def start(self, new: Settings) -> None:
        """Put what is stored in force, at a start; what is not there is waited for. Raises RpcError."""
        _asked(lambda: self._applier.restore(Settings(), new), "applied")
        for said in self._applier.verify(Settings(), new):
            log.error("after the start: %s", said)

    def await_confirmation(self, back_to: int) -> None:
        """Note the revision to go back to unless a confirmation comes. Raises RpcError."""
        try:
            self._store.await_confirmation(back_to)
        except OSError as error:
            raise _not_stored(error) from None

    def change(
        self, old: Settings, new: Settings, revision: Revision, body: bytes, *, back: bool = False, confirm: int | None
    ) -> None:
        """Put *new* in force as *revision*, whose document is *body*. Raises RpcError; then *old* is in force.

        *back*: it was in force before. *confirm*: the revision to go back to unless a confirmation comes.
        """
        if confirm is not None:
            self.await_confirmation(confirm)
        try:
            self._store.write(revision, body)
        except OSError as error:
            raise _not_stored(error) from None
        _step(revision, "written")
        try:
            self._apply(old, new, revision, back=back)
        except RpcError:
            self._store.abandon(revision.number)
            raise
        try:
            self._store.put_in_force()
        except OSError as error:
            failed = _not_stored(error)
            self._store.abandon(revision.number)
            self._undo(old, new)
            raise failed from None
        _step(revision, "renamed")
        self._store.done()

    def _apply(self, old: Settings, new: Settings, revision: Revision, *, back: bool) -> None:
        if new == old:
            return
        put = self._applier.restore if back else self._applier.apply
        _asked(lambda: put(old, new), "applied")
        _step(revision, "applied")
        found = self._applier.verify(old, new)
        if found:
            for said in found:
                log.error("revision %d was applied, but %s", revision.number, said)
            self._undo(old, new)
            raise RpcError("operation-failed", "The kernel did not take it, so nothing was changed. See the log.")
        _step(revision, "verified")

    def _undo(self, old: Settings, new: Settings) -> None:
        if new == old:
            return
        try:
            self._applier.restore(new, old)
        except Exception as error:
            log.error("going back to the configuration before failed with %s", type(error).__name__)
            raise RpcError(
                "rollback-failed",
                "The change failed, and going back failed as well: restart the function.",
            ) from None


def _step(revision: Revision, name: str) -> None:
    log.debug("revision %d: %s", revision.number, name)


def _asked(ask: Callable[[], object], what: str) -> None:
    """Call *ask*; what it raises becomes an RpcError."""
    try:
        ask()
    except SnfError as error:
        raise _refused(error) from None
    except Exception as error:
        # Its text may name a subscriber, so neither the log nor the client gets it.
        log.error("a configuration could not be %s: %s", what, type(error).__name__)
        why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
        raise RpcError(
            "operation-failed", f"The configuration could not be {what}{why}; nothing was changed."
        ) from None


def _not_stored(error: OSError) -> RpcError:
    log.error("the configuration could not be stored: %s", error.strerror)
    return RpcError(
        "operation-failed",
        f"The configuration could not be stored, so it was not changed: {error.strerror}.",
    )


def _refused(error: SnfError) -> RpcError:
    path = error.path if isinstance(error, BadSettings) else ""
    return RpcError("operation-failed", str(error), path=path)
