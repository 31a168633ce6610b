"""The datastores running and candidate, their locks, and the right to change them (RFC 6241, 5, 8.3 and 8.4).

Trees are elements as `mgmt.netconf.store.edit` makes them and are never changed in place, so a reader can keep
the one it got. Every method can be called from any thread: changes wait for one another, reading waits for none.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lxml import etree

from mgmt.netconf.events import ConfigChange, ConfirmedCommit, Events
from mgmt.netconf.model.touched import Since, Touched
from mgmt.netconf.model.yang_model import Model, default_model
from mgmt.netconf.nacm.guard import UNGUARDED, Guard
from mgmt.netconf.nacm.order import moved
from mgmt.netconf.rpcerror import RpcError, RpcErrors
from mgmt.netconf.store.changes import Changed, changes
from mgmt.netconf.store.config_file import Revision, Store, Stored
from mgmt.netconf.store.confirmed import Before, Confirm, Pending, check_persist_id
from mgmt.netconf.store.edit import apply_edit, empty_tree
from mgmt.netconf.store.locks import Locks, denied, now
from mgmt.netconf.store.transaction import BULK, Applier, Transaction, check
from mgmt.netconf.xml_names import Doctype, local, parse
from nf.errors import BadSettings, SnfError
from nf.settings import Settings

__all__ = ["TARGETS", "Applier", "Datastore", "check_start", "settings_of"]

log = logging.getLogger(__name__)

TARGETS = ("running", "candidate")
_AGAIN_S = 10.0  # until going back to what was not confirmed is tried again


def check_start(state_dir: Path) -> bool:
    """Check what is stored for the start of a `Datastore`, without an applier; False: nothing is. Raises SnfError."""
    store = Store(state_dir)
    _, body, origin = _first(store, store.load(), None)
    if body is None:
        return False
    settings_of(body, origin)
    return True


def settings_of(document: bytes, origin: str) -> Settings:
    """Return the settings of a configuration in XML, put in force by nobody. Raises SnfError, which names *origin*."""
    model = default_model()
    with _told_of(origin):
        return check(model, _tree_from(model, document))


def _first(store: Store, stored: Stored | None, startup: bytes | None) -> tuple[int | None, bytes | None, str]:
    """Return the stored revision to begin with (None: none), its document or the startup one, and its name in messages.

    After a confirmed commit that nobody confirmed it is the one before that.
    """
    if stored is None:
        return None, startup, "the startup configuration"
    back = store.awaits()
    if back is not None and back != stored.revision:
        before = Stored(Revision(0), etree.tostring(empty_tree())) if back == 0 else store.revision(back)
        if before is not None:
            return back, before.body, f"revision {back}"
        log.error("revision %d, to which a confirmed commit is to go back, is not there or damaged", back)
    return stored.revision, stored.body, str(store.running)


@contextmanager
def _told_of(origin: str) -> Iterator[None]:
    try:
        yield
    except RpcError as error:
        where = f" ({error.path})" if error.path else ""
        raise BadSettings(f"{origin} cannot be used: {error.message}{where}", error.path) from None


def _tree_from(model: Model, document: bytes) -> etree._Element:
    try:
        root = parse(document, huge=True)
    except (etree.XMLSyntaxError, Doctype) as error:
        line = getattr(error, "lineno", None)
        raise SnfError(f"The configuration is not well-formed XML{f', line {line}' if line else ''}.") from None
    if local(root) not in ("config", "data"):
        wrapper = empty_tree()
        wrapper.append(root)
        root = wrapper
    return apply_edit(model, empty_tree(), root)[0]


class Datastore:
    """The datastores running and candidate of one function.

    At start the stored running is put in force, at a first start *startup* (XML: an element
    ``config`` or ``data`` around the nodes), else nothing. Raises SnfError when that cannot be done.
    """

    def __init__(
        self, state_dir: Path, applier: Applier, startup: bytes | None = None, *, model: Model | None = None
    ) -> None:
        self.model = model or default_model()
        self.state_dir = state_dir
        self._store = Store(state_dir)
        self._transaction = Transaction(applier, self._store)
        self._writer = threading.RLock()  # of all changes, and of the locks
        self.events = Events()
        self._locks = Locks()
        self._settings = Settings()
        self._running = self._candidate = empty_tree()
        self._touched = Touched()  # in which candidate may differ from running
        self._checked: tuple[etree._Element, Settings] | None = None  # the tree that was found valid last
        self._pending: Pending | None = None
        self.revision = 0
        self._start(startup)

    def _start(self, startup: bytes | None) -> None:
        stored = self._store.recover()
        number, body, origin = _first(self._store, stored, startup)
        if body is None:
            return
        with _told_of(origin):
            tree = self.tree_from(body)
            settings = check(self.model, tree)
            if stored is None:
                self._transaction.change(Settings(), settings, Revision(1, now()), etree.tostring(tree), confirm=None)
                self.revision = 1
            else:
                self._transaction.start(settings)
                self.revision = stored.revision
                if number != stored.revision:
                    self._went_back(number or 0, settings, tree)
        with suppress(OSError):
            self._store.confirmed()
        self._running = self._candidate = tree
        self._settings = settings

    def _went_back(self, number: int, settings: Settings, tree: etree._Element) -> None:
        """Store the configuration before a confirmed commit as a new revision."""
        unconfirmed, self.revision = self.revision, self._store.next_number
        revision = Revision(self.revision, now())
        self._transaction.change(settings, settings, revision, etree.tostring(tree), confirm=None)
        said = "revision %d was not confirmed before the function ended: revision %d is in force again, as revision %d"
        log.warning(said, unconfirmed, number, self.revision)

    def close(self) -> None:
        """End the time of a confirmed commit; the next start goes back to what was before."""
        with self._writer:
            if self._pending is not None:
                self._pending.stop()

    def tree_from(self, document: bytes) -> etree._Element:
        """Return the tree of an XML document: ``config`` or ``data`` around the nodes, or one top-level node.

        Raises SnfError when it is not XML, RpcError when it is not in the schema.
        """
        return _tree_from(self.model, document)

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    # -- sessions ----------------------------------------------------------

    def open_session(self, user: str = "") -> int:
        """Return the number of a new session."""
        return self._locks.open(user)

    def close_session(self, session: int) -> None:
        """End a session: its further requests are refused, its locks are released as by `unlock`.

        What it committed and did not confirm is undone (RFC 6241, 8.4.1), unless it was to persist.
        """
        self._locks.end(session)
        with self._writer:
            for target in self._locks.of(session):
                self._release(target)
            pending = self._pending
            if pending is not None and pending.persist is None and pending.session == session:
                with suppress(RpcError):
                    self._go_back(pending, session, "cancel")

    def has_session(self, session: int) -> bool:
        """Say if a session is open."""
        return self._locks.has(session)

    @contextmanager
    def _by(self, session: int, *targets: str) -> Iterator[None]:
        """Give *session* alone the right to change *targets*. Raises RpcError (in-use) if another one holds a lock."""
        with self._writer:
            self._locks.check(session, *targets)
            yield

    # -- reading -----------------------------------------------------------

    def read(self, source: str) -> etree._Element:
        """Return a copy of a datastore, with its secrets: who shows it to a session prunes it by the rights of that."""
        return copy.deepcopy(self.tree(source))

    def tree(self, name: str) -> etree._Element:
        """Return a datastore itself, which is not to be changed."""
        return self._candidate if name == "candidate" else self._running

    def revisions(self) -> list[Revision]:
        """Return the revisions that are kept, the newest, which is in force, first."""
        return self._store.revisions()

    # -- changing candidate ------------------------------------------------

    def edit(
        self,
        session: int,
        config: etree._Element,
        default_operation: str = "merge",
        *,
        test_option: str = "set",
        continue_on_error: bool = False,
        guard: Guard = UNGUARDED,
    ) -> None:
        """Edit candidate. Raises RpcError; then it is as it was, but for continue-on-error.

        With ``test-then-set`` the result has to be valid; with ``test-only`` nothing is set. With
        ``set`` only the edit itself is checked: constraints between nodes wait for the commit.
        """
        with self._by(session, "candidate"):
            guard.asks(config, default_operation)
            tree, errors = apply_edit(
                self.model,
                self._candidate,
                config,
                default_operation,
                continue_on_error=continue_on_error,
                touched=self._touched,
            )
            guard.edited(self._candidate, tree, config, default_operation, self._touched)
            if test_option != "set":
                self._check(tree, edited=True)
            if test_option != "test-only":
                self._candidate = tree
            if errors:
                raise RpcErrors(errors)

    def copy_to_candidate(self, session: int, source: str | etree._Element, guard: Guard = UNGUARDED) -> None:
        """Replace candidate by running, or by the configuration in an element."""
        with self._by(session, "candidate"):
            if isinstance(source, str):
                self._candidate = guard.copied(self._candidate, self._running)
                if self._candidate is self._running:
                    self._reset()
                else:
                    self._touched.mark()
            else:
                guard.asks(source, "replace")
                tree = apply_edit(self.model, empty_tree(), source)[0]
                guard.edited(self._candidate, tree, empty_tree(), "replace")
                self._candidate = tree
                self._touched.mark()

    def discard(self, session: int) -> None:
        """Replace candidate by running."""
        with self._by(session, "candidate"):
            self._reset()

    def _reset(self) -> None:
        self._candidate, self._touched = self._running, Touched()

    # -- changing running --------------------------------------------------

    def validate(self, source: str | etree._Element) -> None:
        """Validate a datastore, or the configuration in an element, as a commit does. Raises RpcError with the path."""
        with self._writer:
            named = isinstance(source, str)
            self._check(self.tree(source) if named else apply_edit(self.model, empty_tree(), source)[0])

    def _check(self, tree: etree._Element, *, edited: bool = False) -> Settings:
        """Return the settings of a tree that could be put in force now. Raises RpcError with the path.

        *edited*: it differs from running where candidate was touched, and nowhere else.
        """
        if self._checked is None or self._checked[0] is not tree:
            here = edited or tree is self._candidate
            since = Since(self._running, self._touched, BULK) if here else None
            self._checked = tree, check(self.model, tree, since, self._settings)
        settings = self._checked[1]
        self._transaction.prepare(self._settings, settings)
        return settings

    def commit(
        self,
        session: int,
        confirm: Confirm | None = None,
        persist_id: str | None = None,
        guard: Guard = UNGUARDED,
    ) -> None:
        """Make candidate the running configuration. Raises RpcError; then nothing has changed.

        With *confirm* it is undone unless a commit without it follows in time: of the same session, or of any that
        knows the persist-id.
        """
        with self._by(session, "running", "candidate"):
            pending = self._pending
            check_persist_id(pending, persist_id)
            if pending is not None:
                pending.check(session, persist_id)
            before = pending.before if pending else Before(self.revision, self._running, self._settings)
            try:
                self._become(session, self._candidate, guard, before.revision if confirm else None)
            except RpcError:
                if pending is None:
                    self._forget_pending()
                raise
            if confirm is not None:
                self._await(session, confirm, before)
            elif pending is not None:
                self._forget_pending()
                self.events.tell(ConfirmedCommit(session, "complete"))

    def copy_to_running(self, session: int, guard: Guard = UNGUARDED) -> None:
        """Replace running by candidate, as a commit does that confirms nothing. Raises RpcError."""
        with self._by(session, "running", "candidate"):
            self._refuse_while_pending()
            self._become(session, self._candidate, guard)

    def roll_back(self, session: int, number: int, guard: Guard = UNGUARDED) -> None:
        """Put one of the last revisions in force, as a new one. Raises RpcError; then nothing has changed."""
        with self._by(session, "running", "candidate"):
            self._refuse_while_pending()
            if number == self.revision:
                return
            stored = self._store.revision(number)
            if stored is None:
                info = [("bad-element", "revision")]
                raise RpcError("invalid-value", "This revision is not kept.", kind="application", info=info)
            self._become(session, self.tree_from(stored.body), guard)

    def _become(self, session: int, tree: etree._Element, guard: Guard, confirm: int | None = None) -> None:
        """Make *tree* the running configuration, as *guard* allows. Raises RpcError; then nothing has changed."""
        old = self._running
        found = changes(self.model, old, tree, self._touched if tree is self._candidate else None)
        if found or next(moved(self.model.top, old, tree), None) is not None:
            guard.commits(old, tree, found)
            self._put_in_force(session, tree, self._check(tree), found, confirm)
            return
        if tree is self._candidate:
            self._reset()
        if confirm is not None:
            self._transaction.await_confirmation(confirm)

    def _put_in_force(
        self,
        session: int | None,
        tree: etree._Element,
        settings: Settings,
        found: tuple[Changed, ...],
        confirm: int | None = None,
        *,
        back: bool = False,
    ) -> None:
        paths = tuple(dict.fromkeys(change.schema_path for change in found))
        revision = Revision(self._store.next_number, now(), self._locks.user(session), paths)
        self._transaction.change(self._settings, settings, revision, etree.tostring(tree), back=back, confirm=confirm)
        follows = self._candidate in (self._running, tree)
        self._running, self._settings, self.revision = tree, settings, revision.number
        if follows:
            self._reset()
        else:
            self._touched.mark()
        self.events.tell(ConfigChange(session, revision.number, found))

    # -- confirmed commits -------------------------------------------------

    def cancel(self, session: int, persist_id: str | None = None) -> None:
        """Undo a confirmed commit (RFC 6241, 8.4.4.1). Raises RpcError."""
        with self._by(session, "running"):
            pending = self._pending
            check_persist_id(pending, persist_id)
            if pending is None:
                raise RpcError("operation-failed", "No confirmed commit waits for its confirmation.", kind="protocol")
            pending.check(session, persist_id)
            self._go_back(pending, session, "cancel")

    def _await(self, session: int, confirm: Confirm, before: Before) -> None:
        pending, event = self._pending, "extend"
        if pending is None:
            pending, event = Pending(session, None, before, self._late), "start"
            self._pending = pending
        if confirm.persist is not None:
            pending.persist = confirm.persist
        pending.wait(confirm.timeout_s)
        self.events.tell(ConfirmedCommit(session, event, confirm.timeout_s))

    def _late(self, pending: Pending) -> None:
        with self._writer:
            if self._pending is pending and pending.is_over:
                with suppress(RpcError):
                    self._go_back(pending, None, "timeout")

    def _go_back(self, pending: Pending, session: int | None, event: str) -> None:
        """Put the configuration before a confirmed commit in force. Raises RpcError, and tries again later."""
        before = pending.before
        try:
            if before.tree is not self._running:
                found = changes(self.model, self._running, before.tree)
                self._put_in_force(session, before.tree, before.settings, found, back=True)
        except RpcError as error:
            log.error("going back to revision %d failed, and is tried again: %s", before.revision, error.message)
            pending.wait(_AGAIN_S)
            raise
        log.warning("a confirmed commit was not confirmed: revision %d is in force again", before.revision)
        self._forget_pending()
        self.events.tell(ConfirmedCommit(session, event))

    def _forget_pending(self) -> None:
        if self._pending is not None:
            self._pending.stop()
            self._pending = None
        with suppress(OSError):
            self._store.confirmed()

    def _refuse_while_pending(self) -> None:
        if self._pending is not None:
            said = f"A confirmed commit of session {self._pending.session} waits: confirm or cancel it first."
            raise RpcError("in-use", said, kind="protocol")

    # -- locks -------------------------------------------------------------

    def lock(self, session: int, target: str) -> None:
        """Lock a datastore (RFC 6241, 7.5). Raises RpcError (lock-denied) with the session that holds it."""
        with self._by(session):
            if target == "candidate" and self._candidate is not self._running and self._locks.owner(target)[0] is None:
                raise denied(0, "The candidate has changes: commit or discard them first.")
            if target == "running" and self._pending is not None and self._pending.session != session:
                raise denied(self._pending.session, "Another session's confirmed commit is not confirmed.")
            self._locks.take(session, target)

    def unlock(self, session: int, target: str) -> None:
        """Release a lock; with its own, changes in candidate are discarded. Raises RpcError when another one has it."""
        with self._by(session):
            self._locks.check_owner(session, target)
            self._release(target)

    def _release(self, target: str) -> None:
        self._locks.release(target)
        if target == "candidate":
            # RFC 6241, 8.3.5.2: when the lock goes, its changes go; nobody else could have made them.
            self._reset()

    def lock_owner(self, target: str) -> tuple[int | None, str]:
        """Return the session that has locked a datastore and since when (RFC 3339), None when nobody has."""
        return self._locks.owner(target)
