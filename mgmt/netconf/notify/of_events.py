"""Events of the server as notifications of ietf-netconf-notifications (RFC 6470)."""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from mgmt.netconf.caller import Caller
from mgmt.netconf.events import ConfigChange, Event, SessionEnd, SessionStart
from mgmt.netconf.model.schema import Kind
from mgmt.netconf.rpcerror import Namespaces
from mgmt.netconf.store.changes import Changed
from mgmt.netconf.xml_names import qualified_path

__all__ = ["element_of"]

_SPACE = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"
_EDITS = 200  # of more, only the top-level nodes are named
_OPERATIONS = {"create": "create", "delete": "delete", "update": "replace"}  # of a change, as of edit-config


def element_of(event: Event, caller_of: Callable[[int], Caller], namespaces: Namespaces) -> etree._Element | None:
    """Return the notification of an event, None when it has none."""
    if isinstance(event, SessionStart):
        root = _root("netconf-session-start")
        _add_session(root, caller_of(event.session))
    elif isinstance(event, SessionEnd):
        root = _root("netconf-session-end")
        _add_session(root, caller_of(event.session))
        if event.killed_by is not None:
            _add(root, "killed-by", str(event.killed_by))
        _add(root, "termination-reason", event.reason)
    elif isinstance(event, ConfigChange):
        root = _root("netconf-config-change")
        by = _add(root, "changed-by")
        if event.session is None:
            _add(by, "server")
        else:
            _add_session(by, caller_of(event.session))
        _add(root, "datastore", "running")
        _add_edits(root, event.changes, namespaces)
    else:
        return None
    return root


def _add_session(parent: etree._Element, caller: Caller) -> None:
    _add(parent, "username", caller.user)
    _add(parent, "session-id", str(caller.session))
    if caller.peer:
        _add(parent, "source-host", caller.peer)


def _add_edits(root: etree._Element, changes: tuple[Changed, ...], namespaces: Namespaces) -> None:
    edits = list(dict.fromkeys(_edit(change) for change in changes))
    if len(edits) > _EDITS:
        edits = list(dict.fromkeys((f"/{change.path.split('/')[1]}", "merge") for change in changes))
    for path, operation in edits:
        edit = _add(root, "edit")
        target, prefixes = qualified_path(path, namespaces)
        etree.SubElement(edit, f"{{{_SPACE}}}target", nsmap=prefixes).text = target
        _add(edit, "operation", operation)


def _edit(change: Changed) -> tuple[str, str]:
    """Return path and operation; that of an entry of a leaf-list would hold its value."""
    if change.node.kind is Kind.LEAF_LIST:
        return change.path[: change.path.rindex("[.=")].rpartition("/")[0], "merge"
    return change.path, _OPERATIONS.get(change.operation, "merge")


def _root(name: str) -> etree._Element:
    return etree.Element(f"{{{_SPACE}}}{name}", nsmap={None: _SPACE})


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{_SPACE}}}{name}")
    element.text = text
    return element
