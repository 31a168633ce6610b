"""The difference of two configurations, node by node: for the rights of a change, its events and the log of who did it.

A path is written as everywhere (`mgmt.netconf.xml_names`). It holds the keys of lists, so it can name a subscriber:
the log takes ``schema_path``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree

from mgmt.netconf.model.schema import Key, Kind, SchemaNode, identity, instances_of
from mgmt.netconf.model.touched import Touched
from mgmt.netconf.model.yang_model import Model
from mgmt.netconf.xml_names import step

__all__ = ["Changed", "changes"]

_FEW = 8  # nodes that are looked for one by one: an index of a list costs as much as some searches


@dataclass(frozen=True, slots=True)
class Changed:
    """One node that differs: ``create``, ``delete``, or ``update`` of a leaf; what is below a created or deleted one
    goes with it and is not told apart."""

    operation: str
    path: str
    node: SchemaNode

    @property
    def schema_path(self) -> str:
        """The path without keys and values."""
        above = self.node.parent
        names = [_name(self.node)]
        while above is not None:
            names.append(_name(above))
            above = above.parent
        return "/" + "/".join(reversed(names))


def _name(node: SchemaNode) -> str:
    return f"{node.module_if_new}:{node.name}" if node.module_if_new else node.name


def changes(
    model: Model, old: etree._Element, new: etree._Element, within: Touched | None = None
) -> tuple[Changed, ...]:
    """Return the nodes in which two trees in canonical form differ, in the order of the schema of *new*, deleted last.

    A container without presence is no node of its own: its content is told. *within* says where to look, when that is
    known; the nodes come in its order then.
    """
    return () if old is new else tuple(_below(model.top, old, new, "", within))


def _below(
    nodes: dict[str, SchemaNode], old: etree._Element, new: etree._Element, path: str, within: Touched | None
) -> Iterator[Changed]:
    if within is not None and not within.all:
        pairs = zip(*(instances_of(nodes, tree, within.below) for tree in (old, new)), strict=True)
        for ((tag, keys), inner), (was_one, one) in zip(within.below.items(), pairs, strict=True):
            node = nodes[tag]
            yield from _between(node, was_one, one, step(path, node.name, node.module_if_new, keys), inner)
        return
    was, now = _children(nodes, old), _children(nodes, new)
    for key, element in now.items():
        node = nodes[element.tag]
        yield from _between(node, was.get(key), element, step(path, node.name, node.module_if_new, key[1]), None)
    for key, element in was.items():
        if key not in now:
            node = nodes[element.tag]
            yield from _whole("delete", node, element, step(path, node.name, node.module_if_new, key[1]))


def _between(
    node: SchemaNode, was: etree._Element | None, now: etree._Element | None, path: str, within: Touched | None
) -> Iterator[Changed]:
    if was is None or now is None:
        if now is not None:
            yield from _whole("create", node, now, path)
        elif was is not None:
            yield from _whole("delete", node, was, path)
    elif node.kind in (Kind.CONTAINER, Kind.LIST):
        yield from _below(node.children, was, now, path, within)
    elif (now.text or "") != (was.text or ""):
        yield Changed("update", path, node)


def _whole(operation: str, node: SchemaNode, element: etree._Element, path: str) -> Iterator[Changed]:
    if node.kind is not Kind.CONTAINER or node.presence:
        yield Changed(operation, path, node)
        return
    for key, child in _children(node.children, element).items():
        inner = node.children[child.tag]
        yield from _whole(operation, inner, child, step(path, inner.name, inner.module_if_new, key[1]))


def _children(nodes: dict[str, SchemaNode], parent: etree._Element) -> dict[Key, etree._Element]:
    """Return the children by tag and keys."""
    return {(child.tag, identity(nodes[child.tag], child)): child for child in parent}
