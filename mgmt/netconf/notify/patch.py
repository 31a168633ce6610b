"""The difference of two trees of data as a YANG patch (RFC 8072), for an update on change (RFC 8641)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from lxml import etree

from mgmt.netconf.model.schema import Kind, SchemaNode, list_keys
from mgmt.netconf.xml_names import elements

__all__ = ["Edit", "edits", "yang_patch"]

_PATCH = "urn:ietf:params:xml:ns:yang:ietf-yang-push"
_Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True, slots=True)
class Edit:
    """One node that differs: ``create``, ``replace`` with its element, or ``delete``; *target* is a RESTCONF path."""

    operation: str
    target: str
    element: etree._Element | None = None


def edits(old: etree._Element, new: etree._Element, nodes: Mapping[str, SchemaNode], path: str = "") -> Iterator[Edit]:
    """Yield the edits that lead from *old* to *new*; what is below a created or deleted node goes with it."""
    was, now = _children(old, nodes), _children(new, nodes)
    for key, element in now.items():
        node, target = nodes[element.tag], _target(path, nodes[element.tag], key)
        before = was.get(key)
        if before is None:
            yield Edit("create", target, element)
        elif node.kind in (Kind.CONTAINER, Kind.LIST):
            yield from edits(before, element, node.children, target)
        elif (before.text or "") != (element.text or ""):
            yield Edit("replace", target, element)
    for key, element in was.items():
        if key not in now:
            yield Edit("delete", _target(path, nodes[element.tag], key))


def _children(parent: etree._Element, nodes: Mapping[str, SchemaNode]) -> dict[_Key, etree._Element]:
    found: dict[_Key, etree._Element] = {}
    for child in elements(parent):
        node = nodes.get(child.tag)
        if node is None:
            continue
        keys: tuple[tuple[str, str], ...] = ()
        if node.kind is Kind.LEAF_LIST or node.keys:
            keys = list_keys(node, child)
        elif node.kind is Kind.LIST:
            # A list of state without keys: an entry is known by its place.
            keys = (("", str(sum(tag == child.tag for tag, _ in found) + 1)),)
        found[child.tag, keys] = child
    return found


def _target(path: str, node: SchemaNode, key: _Key) -> str:
    """Return the path of RESTCONF (RFC 8040, 3.5.3)."""
    name = f"{node.module_if_new}:{node.name}" if node.module_if_new else node.name
    values = ",".join(quote(value, safe="") for _, value in key[1])
    return f"{path}/{name}={values}" if key[1] else f"{path}/{name}"


def yang_patch(number: int, changes: list[Edit]) -> etree._Element:
    """Return the content of datastore-changes of a push-change-update."""
    patch = etree.Element(f"{{{_PATCH}}}yang-patch", nsmap={None: _PATCH})
    _add(patch, "patch-id", str(number))
    for at, change in enumerate(changes, 1):
        edit = _add(patch, "edit")
        _add(edit, "edit-id", str(at))
        _add(edit, "operation", change.operation)
        _add(edit, "target", change.target)
        if change.element is not None:
            _add(edit, "value").append(copy.deepcopy(change.element))
    return patch


def _add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{_PATCH}}}{name}")
    element.text = text
    return element
