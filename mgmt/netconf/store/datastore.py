"""The datastores running and candidate, their locks, and the right to change them (RFC 6241, 5 and 8.3).

Trees are elements as `mgmt.netconf.store.edit` makes them and are never changed in place, so a reader can keep
the one it got. Every method can be called from any thread.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from lxml import etree

from mgmt.netconf.events import ConfigChange, Events
from mgmt.netconf.model.yang_model import Model, default_model
from mgmt.netconf.rpcerror import RpcError, RpcErrors
from mgmt.netconf.store.changes import changes
from mgmt.netconf.store.config_file import Store, Stored
from mgmt.netconf.store.edit import apply_edit, empty_tree
from mgmt.netconf.store.transaction import Applier, change, check
from mgmt.netconf.xml_names import Doctype, local, parse
from nf.errors import BadSettings, SnfError
from nf.settings import Settings

__all__ = ["TARGETS", "Applier", "Datastore", "check_start", "settings_of"]

TARGETS = ("running", "candidate")


def check_start(state_dir: Path, startup: bytes | None) -> None:
    """Check what a `Datastore` of these would put in force at its start, without an applier. Raises SnfError."""
    _, body, origin = _first(Store(state_dir), startup)
    if body is not None:
        settings_of(body, origin)


def settings_of(document: bytes, origin: str) -> Settings:
    """Return the settings of a configuration in XML, put in force by nobody. Raises SnfError, which names *origin*."""
    model = default_model()
    with _told_of(origin):
        return check(model, _tree_from(model, document))


def _first(store: Store, startup: bytes | None) -> tuple[Stored | None, bytes | None, str]:
    """Return the stored configuration, the document to begin with, and its name in messages."""
    stored = store.load()
    return (stored, stored.body, str(store.running)) if stored else (None, startup, "the startup configuration")


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
        self._applier = applier
        self._store = Store(state_dir)
        self._mutex = threading.RLock()
        self.events = Events()
        self._sessions: set[int] = set()
        self._last_session = 0
        self._locks: dict[str, int] = {}
        self._locked_since: dict[str, str] = {}
        self._settings = Settings()
        self._running = self._candidate = empty_tree()
        self.revision = 0
        self._start(startup)

    def _start(self, startup: bytes | None) -> None:
        stored, body, origin = _first(self._store, startup)
        self.revision = stored.revision if stored else 0
        if body is None:
            return
        with _told_of(origin):
            tree = self.tree_from(body)
            self._settings = change(
                self.model,
                self._applier,
                Settings(),
                tree,
                (lambda: None) if stored else (lambda: self._save(tree, 1)),
            )
        self._running = self._candidate = tree
        self.revision = max(self.revision, 1)

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

    def open_session(self) -> int:
        """Return the number of a new session."""
        with self._mutex:
            self._last_session += 1
            self._sessions.add(self._last_session)
            return self._last_session

    def close_session(self, session: int) -> None:
        """End a session: its further requests are refused, its locks are released as by `unlock`."""
        with self._mutex:
            self._sessions.discard(session)
            for target in [t for t, owner in self._locks.items() if owner == session]:
                self._release(target)

    def has_session(self, session: int) -> bool:
        """Say if a session is open."""
        return session in self._sessions

    @contextmanager
    def _by(self, session: int, *targets: str) -> Iterator[None]:
        """Give *session* alone the right to change *targets*. Raises RpcError (in-use) if another one holds a lock."""
        with self._mutex:
            if session not in self._sessions:
                raise RpcError("operation-failed", "The session has ended.", kind="protocol")
            for target in targets:
                owner = self._locks.get(target, session)
                if owner != session:
                    raise RpcError("in-use", f"Session {owner} has locked {target}.", kind="protocol")
            yield

    # -- reading -----------------------------------------------------------

    def read(self, source: str) -> etree._Element:
        """Return a copy of a datastore for a reply, without secrets."""
        tree = copy.deepcopy(self._tree(source))
        for tag in self.model.secret_tags:
            for element in list(tree.iter(tag)):
                element.getparent().remove(element)
        return tree

    def _tree(self, name: str) -> etree._Element:
        with self._mutex:
            return self._candidate if name == "candidate" else self._running

    # -- changing ----------------------------------------------------------

    def edit(
        self,
        session: int,
        config: etree._Element,
        default_operation: str = "merge",
        *,
        test_option: str = "set",
        continue_on_error: bool = False,
    ) -> None:
        """Edit candidate. Raises RpcError; then it is as it was, but for continue-on-error.

        With ``test-then-set`` the result has to be valid; with ``test-only`` nothing is set. With
        ``set`` only the edit itself is checked: constraints between nodes wait for the commit.
        """
        with self._by(session, "candidate"):
            tree, errors = apply_edit(
                self.model, self._candidate, config, default_operation, continue_on_error=continue_on_error
            )
            if test_option != "set":
                check(self.model, tree)
            if test_option != "test-only":
                self._candidate = tree
            if errors:
                raise RpcErrors(errors)

    def copy_to_candidate(self, session: int, source: str | etree._Element) -> None:
        """Replace candidate by running, or by the configuration in an element."""
        with self._by(session, "candidate"):
            if isinstance(source, str):
                self._candidate = self._tree(source)
            else:
                self._candidate = apply_edit(self.model, empty_tree(), source)[0]

    def validate(self, source: str | etree._Element) -> None:
        """Validate a datastore, or the configuration in an element. Raises RpcError with the path."""
        if isinstance(source, str):
            check(self.model, self._tree(source))
        else:
            check(self.model, apply_edit(self.model, empty_tree(), source)[0])

    def commit(self, session: int) -> None:
        """Make candidate the running configuration. Raises RpcError; then nothing has changed."""
        with self._by(session, "running", "candidate"):
            old, tree, revision = self._running, self._candidate, self.revision + 1
            if tree is old:
                return
            self._settings = change(self.model, self._applier, self._settings, tree, lambda: self._save(tree, revision))
            self._running, self.revision = tree, revision
            self.events.tell(ConfigChange(session, revision, changes(self.model, old, tree)))

    def discard(self, session: int) -> None:
        """Replace candidate by running."""
        with self._by(session, "candidate"):
            self._candidate = self._running

    def _save(self, tree: etree._Element, revision: int) -> None:
        self._store.save(revision, etree.tostring(tree))

    # -- locks -------------------------------------------------------------

    def lock(self, session: int, target: str) -> None:
        """Lock a datastore (RFC 6241, 7.5). Raises RpcError (lock-denied) with the session that holds it."""
        with self._by(session):
            owner = self._locks.get(target)
            if owner is not None:
                raise _denied(owner, f"Session {owner} has locked {target}.")
            if target == "candidate" and self._candidate is not self._running:
                raise _denied(0, "The candidate has changes: commit or discard them first.")
            self._locks[target] = session
            self._locked_since[target] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def unlock(self, session: int, target: str) -> None:
        """Release a lock; with its own, changes in candidate are discarded. Raises RpcError when another one has it."""
        with self._by(session):
            owner = self._locks.get(target)
            if owner is None:
                raise RpcError("operation-failed", f"{target} is not locked.", kind="protocol")
            if owner != session:
                raise _denied(owner, f"Session {owner} has locked {target}.")
            self._release(target)

    def _release(self, target: str) -> None:
        del self._locks[target]
        if target == "candidate":
            # RFC 6241, 8.3.5.2: when the lock goes, its changes go; nobody else could have made them.
            self._candidate = self._running

    def lock_owner(self, target: str) -> tuple[int | None, str]:
        """Return the session that has locked a datastore and since when (RFC 3339), None when nobody has."""
        return self._locks.get(target), self._locked_since.get(target, "")


def _denied(owner: int, message: str) -> RpcError:
    return RpcError("lock-denied", message, kind="protocol", info=[("session-id", str(owner))])
