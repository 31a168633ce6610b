"""Access control where it is asked: what a session may call, read and change, and what an error may tell it.

The rules are those of running. A change of them holds from the next request on, also for the session that made it.
"""

from __future__ import annotations

import copy
import logging
import re
import threading
from collections.abc import Callable, Iterable

from lxml import etree

from mgmt.netconf.caller import Caller
from mgmt.netconf.model.schema import SchemaNode
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.nacm.guard import Guard, Writer
from mgmt.netconf.nacm.places import Place, asked, place_of, way_to_action
from mgmt.netconf.nacm.prune import prune, readable
from mgmt.netconf.nacm.rights import Rights
from mgmt.netconf.nacm.rules import ACM, Access, Nacm, read_nacm
from mgmt.netconf.rpcerror import RpcError, RpcErrors
from mgmt.netconf.xml_names import NC, elements, local, with_prefixes

__all__ = ["ADMIN", "AccessControl"]

log = logging.getLogger(__name__)

ADMIN = "admin"  # the group of the users file whose sessions are recovery sessions (RFC 8341, 2.1 and 3.1)

_ALARMS = "{urn:ietf:params:xml:ns:yang:ietf-alarms}"
_MOST_RIGHTS = 256  # users whose rights are remembered
_SHORT = 4  # characters: a value of less is part of other words
_WORD = re.compile(r"[^\s\[\]'\"=,;()]+")


class AccessControl:
    """The rules in force, and how often they denied. *tree* gives running or candidate, not to be changed."""

    def __init__(self, model: Model, tree: Callable[[str], etree._Element]) -> None:
        self._model, self._tree = model, tree
        self._lock = threading.Lock()
        self._read_from: etree._Element | None = None
        self._nacm = Nacm()
        self._rights: dict[tuple[str, frozenset[str] | None], Rights] = {}
        self._denied = {"denied-operations": 0, "denied-data-writes": 0, "denied-notifications": 0}

    def rights(self, caller: Caller) -> Rights:
        """Return the rights of a session now."""
        running = self._tree("running")
        with self._lock:
            if running is not self._read_from:
                self._nacm, self._read_from = read_nacm(running), running
                self._rights.clear()
            found = self._rights.get((caller.user, caller.groups))
            if found is None:
                if len(self._rights) >= _MOST_RIGHTS:
                    self._rights.clear()
                found = self._rights[caller.user, caller.groups] = self._rights_of(caller)
            return found

    def _rights_of(self, caller: Caller) -> Rights:
        nacm = self._nacm
        # A users file in which nobody has a group, and a configuration without rules: both are from before there were
        # any, and everybody may do everything as he could then.
        recovery = not nacm.configured if caller.groups is None else ADMIN in caller.groups
        return Rights(nacm, nacm.groups_of(caller.user, caller.groups or ()), recovery)

    # -- operations --------------------------------------------------------

    def execute(self, caller: Caller, operation: etree._Element) -> None:
        """Raise RpcError (access-denied) when the session may not call an operation."""
        module, name = self._model.module_of(etree.QName(operation).namespace) or "", local(operation)
        if not self.rights(caller).may_execute(module, name, operation.tag in self._model.guarded):
            self._count(caller, "denied-operations", f"{module}:{name}")
            said = f"You have no right to call {name}."
            raise RpcError("access-denied", said, kind="protocol", path=f"/ietf-netconf:rpc/{module}:{name}")

    def act(self, caller: Caller, request: etree._Element) -> None:
        """Raise RpcError (access-denied) when the session may not ask for the action that *request* leads to.

        A way to it of which a node may not be read is refused before anything looks if that is there.
        """
        rights = self.rights(caller)
        place, action = way_to_action(self._model.top, request)
        nodes = place.nodes if action is None else (*place.nodes, action.node)
        known = readable(rights, place) == len(place.nodes)
        if not known or (action is not None and not rights.verdict(action.node, Access.EXEC).at(place.key_of)):
            name = nodes[-1].name
            self._count(caller, "denied-operations", f"{nodes[-1].module.name}:{name}")
            raise RpcError("access-denied", f"You have no right to ask for {name}.", path=place.path(len(place.nodes)))

    # -- reading -----------------------------------------------------------

    def prune(self, caller: Caller, tree: etree._Element) -> etree._Element:
        """Take out of *tree*, whose children are top-level nodes, what the session may not read; return it."""
        rights = self.rights(caller)
        if prune(rights, tree, self._model.top):
            for alarm in list(tree.iter(f"{_ALARMS}alarm")):
                if self._is_about_hidden(rights, alarm.find(f"{_ALARMS}resource")):
                    alarm.getparent().remove(alarm)
        return tree

    def reads(self, caller: Caller, path: str) -> bool:
        """Say if the session may read an instance, if any, of the node of a path without keys."""
        rights, place = self.rights(caller), place_of(self._model.top, path)
        return place.complete and not any(rights.none(node, Access.READ) for node in place.nodes)

    def add_counters(self, tree: etree._Element) -> None:
        """Add to *tree* how often the rules denied."""
        nacm = tree.find(f"{{{ACM}}}nacm")
        if nacm is None:
            nacm = etree.SubElement(tree, f"{{{ACM}}}nacm", nsmap={None: ACM})
        with self._lock:
            counted = dict(self._denied)
        for name, value in counted.items():
            etree.SubElement(nacm, f"{{{ACM}}}{name}").text = str(value)

    def seen(self, caller: Caller, event: etree._Element) -> etree._Element | None:
        """Return a notification as the session may see it: None when it may not; no path that it may not read."""
        rights = self.rights(caller)
        module, name = self._model.module_of(etree.QName(event).namespace) or "", local(event)
        if not rights.may_be_told(module, name, event.tag in self._model.guarded):
            self._count(caller, "denied-notifications")
            return None
        if self._is_about_hidden(rights, event.find(f"{_ALARMS}resource")):
            return None
        if rights.unlimited or not any(self._is_hidden(rights, edit) for edit in event.iterchildren("{*}edit")):
            return event
        less = copy.deepcopy(event)
        for edit in list(less.iterchildren("{*}edit")):
            if self._is_hidden(rights, edit):
                less.remove(edit)
        return less

    def _is_about_hidden(self, rights: Rights, leaf: etree._Element | None) -> bool:
        """Say if the path in a leaf, if it is one, is of a node that may not be read."""
        path = self._path_in(leaf) if leaf is not None and not rights.unlimited else None
        if path is None:
            return False
        place = place_of(self._model.top, path)
        return readable(rights, place) < len(place.nodes)

    def _path_in(self, leaf: etree._Element) -> str | None:
        return with_prefixes(leaf.text or "", lambda prefix: self._model.module_of(leaf.nsmap.get(prefix or None)))

    def _is_hidden(self, rights: Rights, edit: etree._Element) -> bool:
        """Say if the target of an edit of netconf-config-change may not be read (RFC 6470)."""
        target = edit.find("{*}target")
        if target is None:
            return False
        return self._path_in(target) is None or self._is_about_hidden(rights, target)

    # -- changing ----------------------------------------------------------

    def guard(self, caller: Caller) -> Guard:
        """Return the rights of a session over what it changes."""

        def denied(access: str, node: SchemaNode) -> None:
            self._count(caller, "denied-data-writes", f"{access} of {node.module.name}:{node.name}")

        return Writer(self._model, self.rights(caller), denied)

    def _count(self, caller: Caller, counter: str, what: str = "") -> None:
        with self._lock:
            self._denied[counter] = (self._denied[counter] + 1) & 0xFFFFFFFF  # zero-based-counter32
        if what:
            log.warning("session %d of %s was denied: %s", caller.session, caller.user, what, extra=caller.logged)

    # -- errors ------------------------------------------------------------

    def veil(self, caller: Caller, error: RpcError, operation: etree._Element) -> RpcError:
        """Return an error as the session may hear it: nothing in it tells what it may not read.

        What the request itself named is told back to it, but not if it is there.
        """
        rights = self.rights(caller)
        if rights.unlimited or error.tag == "access-denied" or error.kind != "application":
            return error  # those of the protocol, as of a lock, are about sessions
        if isinstance(error, RpcErrors):
            return RpcErrors([self.veil(caller, each, operation) for each in error.errors])
        place = place_of(self._model.top, error.path)
        shown = readable(rights, place)
        named = self._named(place, operation)
        if shown < len(place.nodes):
            if not named:
                return _veiled(place.path(shown))
            if error.tag in ("data-exists", "data-missing"):
                return RpcError("access-denied", "You have no right to read this node.", path=error.path)
        said = [error.message, *(text for _, text in error.info), *([] if named else [error.path])]
        if _tells(" ".join(said), self._hidden(rights)):
            return _veiled(error.path if named else place.path(shown))
        return error

    def _named(self, place: Place, operation: etree._Element) -> bool:
        """Say if a request names the node of a place."""
        config = next(operation.iter(f"{NC}config"), None)
        if config is None or not place.nodes:
            return False
        return any(each.place == place.above(len(place.nodes)) for each in asked(self._model.top, elements(config), ""))

    def _hidden(self, rights: Rights) -> frozenset[str]:
        """Return the values in running and candidate that may not be read, and stand nowhere where they may."""
        trees = self._tree("running"), self._tree("candidate")
        if rights.hidden is None or any(a is not b for a, b in zip(rights.hidden[0], trees, strict=True)):
            seen = [copy.deepcopy(tree) for tree in trees]
            for tree in seen:
                prune(rights, tree, self._model.top)
            rights.hidden = trees, frozenset(_values(trees) - _values(seen))
        return rights.hidden[1]


def _tells(said: str, hidden: frozenset[str]) -> bool:
    """Say if a text has one of the values in it; a short one as a word."""
    words = {word.strip(".:") for word in _WORD.findall(said)}
    return any(value in (words if len(value) < _SHORT else said) for value in hidden)


def _values(trees: Iterable[etree._Element]) -> set[str]:
    return {element.text for tree in trees for element in tree.iter() if element.text and not len(element)}


def _veiled(path: str) -> RpcError:
    said = "The configuration is not valid in a part that you may not read."
    return RpcError("operation-failed", said, path=path)
