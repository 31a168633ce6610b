"""Events as notifications: of the server by RFC 6470, alarms by RFC 8632, what waits for a restart by snf-function."""

from __future__ import annotations

from collections.abc import Callable

from lxml import etree

from mgmt.netconf.alarms import alarm_notification
from mgmt.netconf.caller import Caller
from mgmt.netconf.events import (
    AlarmChange,
    ConfigChange,
    ConfirmedCommit,
    Event,
    RestartNeeded,
    SessionEnd,
    SessionStart,
)
from mgmt.netconf.model.schema import Kind
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.rpcerror import Namespaces
from mgmt.netconf.store.changes import Changed
from mgmt.netconf.xml_names import qualified_path

__all__ = ["element_of"]

_SPACE = "urn:ietf:params:xml:ns:yang:ietf-netconf-notifications"
_EDITS = 200  # of more, only the top-level nodes are named
_OPERATIONS = {"create": "create", "delete": "delete", "update": "replace"}  # of a change, as of edit-config


def element_of(event: Event, caller_of: Callable[[int], Caller], model: Model) -> etree._Element | None:
    """Return the notification of an event, None when it has none."""
    if isinstance(event, RestartNeeded):
        return _restart_needed(model, event)
    if isinstance(event, AlarmChange):
        return alarm_notification(event.alarm, model.namespace)
    return _of_rfc_6470(event, caller_of, model)


def _restart_needed(model: Model, event: RestartNeeded) -> etree._Element:
    space = model.namespace("snf-function")
    root = etree.Element(f"{{{space}}}restart-needed", nsmap={None: space})
    for name in event.leaves:
        etree.SubElement(root, f"{{{space}}}leaf-name").text = name
    return root


def _of_rfc_6470(event: Event, caller_of: Callable[[int], Caller], model: Model) -> etree._Element | None:
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
        _add_edits(root, event.changes, model.namespace)
    elif isinstance(event, ConfirmedCommit):
        root = _root("netconf-confirmed-commit")
        if event.session is not None:
            _add_session(root, caller_of(event.session))
        _add(root, "confirm-event", event.event)
        if event.timeout_s is not None:
            _add(root, "timeout", str(event.timeout_s))
    else:
        return None
    return root


def _add_session(parent: etree._Element, caller: Caller) -> None:
    _add(parent, "username", caller.user)
    _add(parent, "session-id", str(caller.session))
    if caller.peer:
        _add(parent, "source-host", caller.peer)


def _add_edits(root: etree._Element, changes: tuple[Changed, ...], namespaces: Namespaces) -> None:
    # Of a leaf-list the node above is named, which more may read: it would tell of what is hidden from them.
    told = [change for change in changes if change.node.kind is not Kind.LEAF_LIST or not change.node.deny_all]
    edits = list(dict.fromkeys(map(_edit, told)))
    if len(edits) > _EDITS:
        told = [change for change in told if not change.node.deny_all]
        edits = list(dict.fromkeys((f"/{change.path.split('/')[1]}", "merge") for change in told))
    for path, operation in edits:
        edit = _add(root, "edit")
        target, prefixes = qualified_path(path, namespaces)
        etree.SubElement(edit, f"{{{_SPACE}}}target", nsmap=prefixes).text = target
        _add(edit, "operation", operation)


def _edit(change: Changed) -> tuple[str, str]:
    """Return path and operation; that of an entry of a leaf-list would hold its value."""
    if change.node.kind is Kind.LEAF_LIST:
        # The first of its kind: a value can have anything in it.
        return change.path[: change.path.index(f"{change.node.name}[.=")].rpartition("/")[0], "merge"
    return change.path, _OPERATIONS.get(change.operation, "merge")


def _root(name: str) -> etree._Element:
    return etree.Element(f"{{{_SPACE}}}{name}", nsmap={None: _SPACE})


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{_SPACE}}}{name}")
    element.text = text
    return element
